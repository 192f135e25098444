//! The plan of the mirror: what is to be done, as values that are printed, sent, and carried out. How it comes about is told
//! in `planner`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::{
    content::{Content, FieldChange},
    handover::CopyName,
};
use crate::{
    config::OnDrift,
    engine::change::MirrorCopy,
    ids::{Instance, ScheduleId, ServerScheduleId, WorkflowId},
    skyvern::ServerSchedule,
    words::words,
};

/// What was seen at the server and in the database.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// All schedules of the server, ours and others'.
    pub server: Vec<ServerSchedule>,
    /// What the database knows to be ours.
    pub rows: Vec<MirrorCopy>,
    /// Schedules that an operator paused.
    pub paused: BTreeSet<ScheduleId>,
    /// The server's own previews, where they were asked for.
    pub next_runs: BTreeMap<ServerScheduleId, Vec<DateTime<Utc>>>,
    /// Whether the server has intervals and one-time schedules (from 1.0.55 on); `None`: it does not tell.
    pub has_newer_cadences: Option<bool>,
}

/// What decides about a plan beside the file's schedules.
#[derive(Debug, Clone)]
pub struct PlanSettings {
    /// This installation.
    pub instance: Instance,
    /// Copies of schedules that are gone from the file are deleted, not only disabled.
    pub prune: bool,
}

words! {
    /// What a step does.
    Deed {
        /// The database learns that a schedule of the server is ours. Nothing is sent.
        Adopt = "adopt",
        /// A copy is made, disabled.
        Create = "create",
        /// A copy is rewritten.
        Update = "update",
        /// A copy fires no more.
        Disable = "disable",
        /// A copy fires from now on.
        Enable = "enable",
        /// A copy is removed.
        Delete = "delete",
        /// The database forgets a copy that is not there, or not ours any more. Nothing is sent.
        Forget = "forget",
    }
}

words! {
    /// Where the difference comes from that a step settles.
    Origin {
        /// The file was changed, or its wish has not been carried out yet.
        File = "file",
        /// Somebody changed the copy at the server.
        Server = "server",
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What.
    pub deed: Deed,
    /// The schedule of the file, or that was in it.
    pub schedule: ScheduleId,
    /// The workflow of the copy.
    pub workflow_id: WorkflowId,
    /// The copy; `None`: it is made by an earlier step.
    pub server_id: Option<ServerScheduleId>,
    /// Why, for people.
    pub reason: String,
    /// Where the difference comes from.
    pub origin: Origin,
    /// `update`: what differs.
    pub changes: Vec<FieldChange>,
    /// What is written down once it is done: what the copy is like then, as far as it is as it should be.
    pub content: Box<Content>,
    /// `update`: whether the copy fires, which stays as it is.
    pub fires: bool,
    /// Left undone, the schedule would be started twice.
    pub prevents_twice: bool,
}

/// Something that the file wants and that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The schedule of the file.
    pub schedule: ScheduleId,
    /// Why.
    pub reason: String,
    /// What to do.
    pub hint: &'static str,
}

/// A copy of ours as it was seen at the server.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyState {
    /// The schedule of the file, or that was in it.
    pub schedule: ScheduleId,
    /// The copy.
    pub copy: CopyName,
    /// Whether it fires.
    pub enabled: bool,
    /// When it was last changed, by the server's word.
    pub modified_at: Option<DateTime<Utc>>,
    /// What it is like.
    pub content: Content,
    /// It is what the file's schedule is mirrored to; else it is to be removed, or its schedule is gone.
    pub current: bool,
}

/// What is to be done, and what is to be known.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In the order in which they are done.
    pub steps: Vec<Step>,
    /// What cannot be had.
    pub blocked: Vec<Blocked>,
    /// What the database is to learn although nothing has to be done: copies that the file names.
    pub claims: Vec<MirrorCopy>,
    /// Every copy of ours, as it was seen.
    pub copies: Vec<CopyState>,
    /// What is worth knowing.
    pub remarks: Vec<Remark>,
    /// Schedules of the server that are not ours.
    pub foreign: usize,
}

impl Plan {
    /// Whether the server has what the file wants.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.steps.is_empty() && self.blocked.is_empty()
    }

    /// The steps of this deed.
    #[must_use]
    pub fn count(&self, deed: Deed) -> usize {
        self.steps.iter().filter(|step| step.deed == deed).count()
    }

    /// The part that a daemon carries out by itself. With `report`, what was changed at the server stays as it is, but for a
    /// copy that somebody enabled although this daemon fires: never twice comes first.
    #[must_use]
    pub fn for_daemon(mut self, on_drift: OnDrift) -> Self {
        if on_drift == OnDrift::Report {
            self.steps.retain(|step| step.origin == Origin::File || step.prevents_twice);
        }
        self
    }

    /// What was changed at the server.
    pub fn drift(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.origin == Origin::Server)
    }
}

words! {
    /// What a remark is about.
    RemarkKind {
        /// How the server's scheduler works, where it is to fire.
        Scheduler = "scheduler",
        /// A policy or an option that the server's schedules do not have.
        NotCarried = "not_carried",
        /// The server evaluates the timetable differently.
        Evaluation = "evaluation",
        /// Its own preview differs from ours.
        Preview = "preview",
        /// A template that stands in the server's copy as it is.
        Template = "template",
        /// A copy whose schedule is gone from the file is kept.
        Kept = "kept",
        /// A schedule carries the marker of one of ours, and is not its copy.
        Duplicate = "duplicate",
        /// A schedule carries this installation's marker, and nothing here knows it.
        Unclaimed = "unclaimed",
    }
}

impl RemarkKind {
    /// Whether somebody has to look after it.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        matches!(self, Self::Duplicate | Self::Unclaimed)
    }
}

/// Something worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What it is about.
    pub kind: RemarkKind,
    /// The schedule; `None`: all of them.
    pub schedule: Option<ScheduleId>,
    /// For people.
    pub message: String,
}
