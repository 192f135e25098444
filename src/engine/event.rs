//! What the engine is told, and what it asks for: the two closed lists at its boundary. Values only.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::{
    engine::{
        change::{Ahead, Change, Memory, Pause, ServerCopy},
        run::RunReport,
    },
    ids::{OccurrenceKey, RunId, ScheduleId, ServerScheduleId, WorkflowId},
    schedule::{Schedule, Timetable},
};

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// The process starts. The first event, and once.
    Boot {
        /// The file's schedules.
        schedules: Vec<Arc<Schedule>>,
        /// What the history remembers.
        memory: Memory,
        /// For each remembered schedule whose definition is not the file's any more (changed, or gone): when it was due by the
        /// one that was in force, made from `memory`. Zone rules are looked up outside; one that cannot be looked up is absent.
        former: BTreeMap<ScheduleId, Timetable>,
        /// What the history has about the time to come.
        ahead: Vec<Ahead>,
    },
    /// The time that `next_wake` named has come, or may have.
    Wake,
    /// The file was read again and is good.
    Reload {
        /// Its schedules, all of them.
        schedules: Vec<Arc<Schedule>>,
    },
    /// The file was read again and is not good: the one before goes on.
    ReloadRefused {
        /// What is wrong with it.
        text: String,
    },
    /// A start was answered, or will not be.
    LaunchEnded {
        /// The occurrence.
        key: OccurrenceKey,
        /// Which attempt.
        attempt: u32,
        /// The answer, sorted.
        reply: LaunchReply,
    },
    /// A start without a clear answer was looked into.
    Settled {
        /// The occurrence.
        key: OccurrenceKey,
        /// What was found.
        verdict: Verdict,
    },
    /// A run that is followed has news.
    RunReported {
        /// The occurrence.
        key: OccurrenceKey,
        /// The news.
        report: Box<RunReport>,
    },
    /// A run that is followed stands still for so long that its server must have left it behind.
    RunStalled {
        /// The occurrence.
        key: OccurrenceKey,
        /// Where it stands, and since when.
        text: String,
        /// It will surely not go on: it is to be cancelled, so that it does not stand in the way for ever.
        dead: bool,
    },
    /// A run that is followed cannot be found any more.
    RunGone {
        /// The occurrence.
        key: OccurrenceKey,
        /// What the server said.
        message: String,
    },
    /// The server dropped parameters of a start, since the workflow does not declare them.
    ParametersDropped {
        /// The occurrence.
        key: OccurrenceKey,
        /// Which, and what to do.
        text: String,
    },
    /// A person asks for a start now.
    Trigger {
        /// To be given back with the answer.
        request: RequestId,
        /// The schedule.
        schedule: ScheduleId,
        /// Parameters that replace the schedule's, one by one.
        parameters: Map<String, Value>,
    },
    /// A person asks for occurrences of the past.
    Backfill {
        /// To be given back with the answer.
        request: RequestId,
        /// The schedule.
        schedule: ScheduleId,
        /// From this instant on, itself included.
        from: DateTime<Utc>,
        /// Up to this instant, itself included; not later than now.
        to: DateTime<Utc>,
    },
    /// A person pauses a schedule, or (`None`) lets it go on.
    Pause {
        /// To be given back with the answer.
        request: RequestId,
        /// The schedule.
        schedule: ScheduleId,
        /// The pause.
        pause: Option<Pause>,
    },
    /// A step of handing a schedule over to the server, or of taking it back. Answered with [`Action::Handover`], once what
    /// follows is durable.
    Handover {
        /// To be given back with the answer.
        request: RequestId,
        /// The schedule, also one that is gone from the file.
        schedule: ScheduleId,
        /// The step.
        step: HandoverStep,
    },
    /// The runs that the server's schedules of a workflow started were looked at.
    Looked {
        /// The workflow.
        workflow_id: WorkflowId,
        /// What was seen, or why nothing could be.
        seen: Result<ServerRuns, String>,
    },
    /// The wall clock was set, or the machine slept: it moved by `by` more than the monotonic clock did.
    ClockStepped {
        /// By how much; negative: backwards.
        by: TimeDelta,
        /// What the history has about the time to come; asked for where the clock went backwards.
        ahead: Vec<Ahead>,
    },
    /// The process is to end: nothing new is started.
    Stop,
}

/// Which question an answer belongs to. Chosen by whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// The answer to a start, sorted by what can be concluded from it. How an HTTP answer becomes one of these is `skyvern`'s work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchReply {
    /// There is a run.
    Started(Box<RunReport>),
    /// The server said no, and would again.
    Refused {
        /// The HTTP status.
        http_status: Option<u16>,
        /// In one line.
        message: String,
    },
    /// Surely no run was made.
    NotStarted {
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
        /// The HTTP status, where one came.
        http_status: Option<u16>,
        /// In one line.
        message: String,
    },
    /// The request left, and no clear answer came.
    Unknown {
        /// The HTTP status, where one came.
        http_status: Option<u16>,
        /// In one line.
        message: String,
    },
}

/// One step of moving a schedule from here to the server or back. Each is told before the request leaves, or after what came
/// of it is sure: in between, the intent is in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandoverStep {
    /// A request is about to leave that enables the server's copy. Only after [`HandoverAnswer::Go`].
    Give {
        /// The copy, which is there and surely disabled.
        copy: ServerCopy,
    },
    /// The copy of a schedule that is new in the file was found to be enabled already.
    Found {
        /// The copy.
        copy: ServerCopy,
    },
    /// The copy is surely enabled.
    Given {
        /// The server's own word: it starts no occurrence from before.
        modified_at: DateTime<Utc>,
    },
    /// The copy is surely disabled, and no request that enables it is on its way.
    NotGiven {
        /// Why.
        why: String,
    },
    /// A request is about to leave that disables or deletes the copy.
    Take,
    /// The copy is surely disabled or gone.
    Taken,
    /// A request is about to leave that changes the copy and leaves it as enabled as it is: it makes the server forget what it
    /// has not started yet.
    Touch,
}

/// The answer to a [`HandoverStep`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandoverAnswer {
    /// It is written down: the request may leave, or what came of it is settled.
    Go,
    /// Not now, since an occurrence is too near.
    Postponed {
        /// Until this instant; `None`: until something else happens.
        until: Option<DateTime<Utc>>,
        /// Why.
        why: String,
    },
}

/// Runs of a workflow that the server's own schedules started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerRuns {
    /// The runs.
    pub runs: Vec<ServerRun>,
    /// The look went back to this instant of the server's clock, or (`None`) to where it was asked to.
    pub complete_since: Option<DateTime<Utc>>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRun {
    /// The run.
    pub run_id: RunId,
    /// Where it stands.
    pub status: crate::engine::RunStatus,
    /// The server will run it again under the same id.
    pub retry_pending: bool,
    /// The server's schedule that started it, where the list tells.
    pub copy: Option<ServerScheduleId>,
    /// The occurrence that its id is made from, on servers that make it so.
    pub of: Option<(ScheduleId, DateTime<Utc>)>,
    /// When the server made it.
    pub created_at: DateTime<Utc>,
}

/// What looking for a run brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The start made this run: it says so itself.
    Found(Box<RunReport>),
    /// This run is the only one that could be the start's, as far as the server tells. Another start without an answer could
    /// have made it as well.
    Likely(Box<RunReport>),
    /// The start surely made no run.
    Absent {
        /// What was looked at.
        evidence: String,
    },
    /// Neither can be said.
    Undetermined {
        /// Why not.
        evidence: String,
    },
}

/// A deed. Done only after every change of the same turn is durable.
#[derive(Debug)]
pub enum Action {
    /// Start a run.
    Launch(Box<Launch>),
    /// Look for the run of a start that was not clearly answered.
    Settle(Box<Settle>),
    /// Watch a run until it is over.
    Follow {
        /// The occurrence.
        key: OccurrenceKey,
        /// The run.
        run_id: RunId,
        /// When its start was asked for.
        since: DateTime<Utc>,
    },
    /// Cancel a run.
    Cancel {
        /// The occurrence.
        key: OccurrenceKey,
        /// The run.
        run_id: RunId,
    },
    /// Look at the runs that the server's own schedules of a workflow started.
    Look(Box<Look>),
    /// Answer a step of a handover.
    Handover {
        /// Which.
        request: RequestId,
        /// The answer; or why it cannot be.
        result: Result<HandoverAnswer, String>,
    },
    /// The mirror has something to do: a schedule is to be taken back, or may be handed over again.
    Mirror,
    /// Answer a person's question.
    Answer {
        /// Which question.
        request: RequestId,
        /// The occurrences that came of it; or why none did.
        result: Result<Vec<OccurrenceKey>, String>,
    },
}

/// One start to be tried once.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The occurrence.
    pub key: OccurrenceKey,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The schedule as it was when the occurrence was decided.
    pub schedule: Arc<Schedule>,
    /// The parameters of this start.
    pub parameters: Map<String, Value>,
}

/// A look at a workflow's runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// Only runs that the server made at or after this instant of its clock.
    pub since: DateTime<Utc>,
    /// The server's schedules that are looked for, each with ours and its occurrences: on servers that make a run's id from
    /// them, it says whose it is.
    pub expected: Vec<(ServerScheduleId, ScheduleId, Vec<DateTime<Utc>>)>,
}

/// One start to be looked for.
#[derive(Debug, Clone)]
pub struct Settle {
    /// The occurrence.
    pub key: OccurrenceKey,
    /// Whose runs to look through.
    pub workflow_id: WorkflowId,
    /// Its schedule, where that is still there, and the parameters before their templates were filled in: for servers that
    /// cannot search by tag.
    pub asked: Option<(Arc<Schedule>, Map<String, Value>)>,
    /// Whether it was surely started with these: after a restart, the file may say something else than it did then.
    pub parameters_are_sure: bool,
    /// When its first attempt began; a run made earlier is another's.
    pub since: DateTime<Utc>,
    /// When its last attempt began: looking goes on for a while after this, since the request may still be on its way.
    pub last_attempt_at: DateTime<Utc>,
}

/// What one turn of the engine asks for.
#[derive(Debug, Default)]
pub struct Turn {
    /// To be written, all or nothing, in this order.
    pub changes: Vec<Change>,
    /// To be done once the changes are durable.
    pub actions: Vec<Action>,
}
