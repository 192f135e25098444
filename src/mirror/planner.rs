//! From what the file wants and what was seen to a plan. Pure.
//!
//! # Whose is a schedule of the server?
//!
//! 1. A marker with another installation's name: not ours (unless the database knows it under that name: then this
//!    installation was renamed). Not touched.
//! 2. The file names it (`server_schedule_id`): that schedule's.
//! 3. The database knows it: that row's.
//! 4. A marker with our name: the schedule's of the file that it names. If the file has no such schedule, nobody can tell a
//!    lost database from another installation with the same name, so it is said and not touched.
//! 5. Everything else: not ours.
//!
//! # Order
//!
//! Adopt, create, update, disable, enable, delete, forget. Everything is created disabled. What is to fire no more is
//! disabled before what takes its place is enabled, and deleted last: nothing fires twice, however far an apply gets.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::{
    content::{Content, FieldChange},
    handover::CopyName,
    marker::Marker,
    plan::{Blocked, CopyState, Deed, Observed, Origin, Plan, PlanSettings, Remark, RemarkKind, Step},
    remarks,
};
use crate::{
    engine::change::MirrorCopy,
    ids::{ScheduleId, ServerScheduleId, WorkflowId},
    schedule::{Fires, Schedule},
    skyvern::{ServerCadence, ServerSchedule},
};

/// Compares what the file wants with what was seen.
#[must_use]
pub fn plan(wanted: &[Arc<Schedule>], observed: &Observed, settings: &PlanSettings, now: DateTime<Utc>) -> Plan {
    let mut planner = Planner {
        observed,
        settings,
        now,
        wanted: wanted.iter().map(|schedule| (&schedule.id, schedule.as_ref())).collect(),
        rows: observed.rows.iter().map(|row| (&row.server_schedule_id, row)).collect(),
        lost: lost(observed),
        blocked: HashSet::new(),
        rivals: HashSet::new(),
        plan: Plan::default(),
    };
    let mut ours = planner.sort_out();
    for schedule in wanted {
        let copies = ours.remove(&schedule.id).unwrap_or_default();
        planner.one(schedule, copies);
    }
    for (id, copies) in ours {
        planner.gone(&id, copies);
    }
    planner.vanished();
    let mut plan = planner.plan;
    // Stable: within a deed, the order of the file.
    plan.steps.sort_by_key(|step| step.deed);
    remarks::add(&mut plan, wanted, observed, now);
    plan
}

/// A schedule of the server that is ours.
#[derive(Clone, Copy)]
struct Ours<'a> {
    server: &'a ServerSchedule,
    row: Option<&'a MirrorCopy>,
    /// The file names it.
    named: bool,
}

impl Ours<'_> {
    fn name(&self) -> CopyName {
        CopyName { id: self.server.id.clone(), workflow_id: self.server.workflow_id.clone() }
    }

    /// What it was like when it was last as it should be.
    fn applied(&self) -> Option<Content> {
        self.row.and_then(|row| Content::from_json(&row.applied))
    }
}

struct Planner<'a> {
    observed: &'a Observed,
    settings: &'a PlanSettings,
    now: DateTime<Utc>,
    wanted: HashMap<&'a ScheduleId, &'a Schedule>,
    rows: HashMap<&'a ServerScheduleId, &'a MirrorCopy>,
    /// Rows whose copy is not at the server any more.
    lost: HashMap<(&'a ScheduleId, &'a WorkflowId), &'a MirrorCopy>,
    blocked: HashSet<ScheduleId>,
    /// Schedules of which something fires that carries their marker, and is not ours to touch.
    rivals: HashSet<ScheduleId>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    /// What is ours, by schedule.
    fn sort_out(&mut self) -> BTreeMap<ScheduleId, Vec<Ours<'a>>> {
        let named: HashMap<&ServerScheduleId, &Schedule> = self
            .wanted
            .values()
            .filter_map(|schedule| Some((schedule.server_schedule_id.as_ref()?, *schedule)))
            .collect();
        let mut ours: BTreeMap<ScheduleId, Vec<Ours<'a>>> = BTreeMap::new();
        let observed: &'a Observed = self.observed;
        for server in &observed.server {
            let marker = Marker::find(server.description.as_deref());
            let row = self.rows.get(&server.id).copied();
            let namer = named.get(&server.id).copied();
            if let Some(marker) = &marker
                && marker.instance != self.settings.instance
                && row.is_none_or(|row| row.instance != marker.instance)
            {
                self.plan.foreign += 1;
                self.taken_over(server, marker, row, namer);
                continue;
            }
            let known_by_marker = marker.as_ref().map(|marker| &marker.schedule);
            let owner = match (namer, row, known_by_marker) {
                (Some(schedule), ..) if schedule.workflow_id != server.workflow_id => {
                    let reason = format!("{} is a schedule of {}, not of its workflow", server.id, server.workflow_id);
                    self.block(schedule, reason, "take server_schedule_id out: the mirror makes a copy of its own");
                    self.plan.foreign += 1;
                    continue;
                }
                (Some(schedule), ..) if is_once(&Content::of_server(server)) => {
                    let reason = format!("{} is due once, which is not mirrored", server.id);
                    self.block(schedule, reason, "take server_schedule_id out");
                    self.plan.foreign += 1;
                    continue;
                }
                (Some(schedule), ..) => Some(schedule.id.clone()),
                (None, None, _) if is_once(&Content::of_server(server)) => None,
                (None, Some(row), _) => Some(row.schedule.clone()),
                (None, None, Some(schedule)) if self.wanted.contains_key(schedule) => Some(schedule.clone()),
                (None, None, Some(schedule)) => {
                    self.remark(RemarkKind::Unclaimed, Some(schedule), unclaimed(server, schedule));
                    None
                }
                (None, None, None) => None,
            };
            match owner {
                Some(id) => ours.entry(id).or_default().push(Ours { server, row, named: namer.is_some() }),
                None => self.plan.foreign += 1,
            }
        }
        ours
    }

    /// A copy that carries another installation's marker.
    fn taken_over(
        &mut self,
        server: &ServerSchedule,
        marker: &Marker,
        row: Option<&MirrorCopy>,
        namer: Option<&Schedule>,
    ) {
        if let Some(schedule) = namer {
            let reason = format!("{} belongs to another skycron, instance {}", server.id, marker.instance);
            self.block(schedule, reason, "take server_schedule_id out, or the marker out of the description there");
        }
        if let Some(row) = row {
            let reason =
                format!("its marker says now that it belongs to another skycron, instance {}", marker.instance);
            self.step(Deed::Forget, &row.schedule, &name_of(row), reason, Origin::File, Content::of_server(server));
        }
    }

    /// One schedule of the file.
    fn one(&mut self, schedule: &Schedule, copies: Vec<Ours<'a>>) {
        let fires = schedule.enabled
            && schedule.policies.fires == Fires::Server
            && !self.observed.paused.contains(&schedule.id);
        let wanted = Content::of_file(schedule, fires);
        if is_once(&wanted) {
            if schedule.policies.fires == Fires::Server {
                let reason = "it is due once, and the server cannot switch such a schedule off and on".to_owned();
                self.block(schedule, reason, "fires = \"local\" starts it");
            }
            for copy in copies {
                self.see(&schedule.id, copy, false);
                self.remove(&schedule.id, copy, "it is due once now, which is not mirrored");
            }
            return;
        }
        let fits = |copy: &&Ours<'_>| copy.server.workflow_id == schedule.workflow_id;
        let kept = copies.iter().filter(fits).min_by_key(|copy| {
            let age = copy.server.created_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
            (!copy.named, copy.row.is_none(), age, &copy.server.id)
        });
        for copy in &copies {
            if kept.is_none_or(|kept| kept.server.id != copy.server.id) {
                self.surplus(schedule, *copy, kept.is_some(), fits(&copy), &wanted);
            }
        }
        match (kept, &schedule.server_schedule_id) {
            (Some(copy), _) => self.compare(schedule, *copy, &wanted),
            (None, _) if self.is_blocked(&schedule.id) => {}
            (None, Some(id)) => {
                let reason = format!("the server has no schedule {id}");
                self.block(schedule, reason, "take server_schedule_id out: the mirror makes a copy of its own");
            }
            (None, None) => self.create(schedule, &wanted),
        }
    }

    fn create(&mut self, schedule: &Schedule, wanted: &Content) {
        if let Some((reason, hint)) = remarks::impossible(schedule, self.observed) {
            return self.block(schedule, reason, hint);
        }
        let (reason, origin) = match self.lost.get(&(&schedule.id, &schedule.workflow_id)) {
            Some(row) => (format!("its copy {} was deleted at the server", row.server_schedule_id), Origin::Server),
            None => ("the server has no copy of it".to_owned(), Origin::File),
        };
        let mut step = Step {
            deed: Deed::Create,
            schedule: schedule.id.clone(),
            workflow_id: schedule.workflow_id.clone(),
            server_id: None,
            reason,
            origin,
            changes: Vec::new(),
            content: Box::new(Content { enabled: false, ..wanted.clone() }),
            fires: false,
            prevents_twice: false,
        };
        self.plan.steps.push(step.clone());
        if wanted.enabled && self.may_fire(schedule) {
            step.deed = Deed::Enable;
            "fires = \"server\"".clone_into(&mut step.reason);
            step.content.enabled = true;
            self.plan.steps.push(step);
        }
    }

    /// The copy that a schedule has.
    fn compare(&mut self, schedule: &Schedule, copy: Ours<'_>, wanted: &Content) {
        let (now, content) = (self.now, Content::of_server(copy.server));
        self.see(&schedule.id, copy, true);
        let marker = Marker { instance: self.settings.instance.clone(), schedule: schedule.id.clone() };
        let known = copy.row.is_some_and(|row| row.schedule == schedule.id);
        let mut changes = content.differences(wanted, now);
        let applied = copy.applied().filter(|_| known);
        // The file is ahead where it wants something else than was applied; else somebody changed the copy.
        let untouched_file = |applied: &Content| applied.differences(wanted, now).is_empty();
        let mut origin = if applied.as_ref().is_some_and(untouched_file) { Origin::Server } else { Origin::File };
        let found = Marker::find(copy.server.description.as_deref());
        if found.as_ref() != Some(&marker)
            && (copy.row.is_some() || found.is_some())
            && !(copy.named && found.is_none())
        {
            // Nothing but the marker differs: by hand, or because this installation or the schedule was renamed.
            if changes.is_empty() {
                origin = if known && found.is_none() { Origin::Server } else { Origin::File };
            }
            let text = |marker: &Marker| serde_json::Value::String(marker.to_string());
            let before = found.as_ref().map(text).unwrap_or_default();
            changes.push(FieldChange { field: "marker", before, after: text(&marker) });
        }
        if !known {
            if copy.named {
                self.plan.claims.push(self.row(schedule, copy.server, &content));
            } else {
                let reason = format!("its description has the marker {marker}, and the history does not know it");
                self.step(Deed::Adopt, &schedule.id, &copy.name(), reason, Origin::File, content.clone());
            }
        }
        if !changes.is_empty() {
            if let Some((reason, hint)) = remarks::impossible(schedule, self.observed) {
                self.block(schedule, reason, hint);
            } else {
                let reason = match origin {
                    Origin::Server => "it was changed at the server",
                    Origin::File => "the file wants it otherwise",
                };
                // Whether it fires is a step of its own.
                let enabled = applied.as_ref().map_or(content.enabled, |applied| applied.enabled);
                let wanted = Content { enabled, ..wanted.clone() };
                let step = self.step(Deed::Update, &schedule.id, &copy.name(), reason.to_owned(), origin, wanted);
                step.changes = changes;
                step.fires = content.enabled;
            }
        }
        self.compare_firing(schedule, copy, wanted, applied.as_ref());
    }

    fn compare_firing(&mut self, schedule: &Schedule, copy: Ours<'_>, wanted: &Content, applied: Option<&Content>) {
        if copy.server.enabled == wanted.enabled || self.is_blocked(&schedule.id) {
            return;
        }
        if wanted.enabled && !self.may_fire(schedule) {
            return;
        }
        let by_hand =
            applied.is_some_and(|applied| applied.enabled != copy.server.enabled && applied.enabled == wanted.enabled);
        let origin = if by_hand { Origin::Server } else { Origin::File };
        let local = schedule.policies.fires == Fires::Local;
        let reason = match (wanted.enabled, by_hand) {
            (true, true) => "it was disabled at the server",
            (true, false) => "fires = \"server\"",
            (false, true) if local => "it was enabled at the server, and this daemon fires it",
            (false, _) if !schedule.enabled => "enabled = false",
            (false, _) if local => "fires = \"local\"",
            (false, _) => "it is paused",
        };
        let deed = if wanted.enabled { Deed::Enable } else { Deed::Disable };
        let applied = applied.cloned().unwrap_or_else(|| Content::of_server(copy.server));
        let content = Content { enabled: wanted.enabled, ..applied };
        let step = self.step(deed, &schedule.id, &copy.name(), reason.to_owned(), origin, content);
        step.prevents_twice = deed == Deed::Disable && local;
    }

    /// Whether its copy may be enabled: not where something else with its marker fires.
    fn may_fire(&mut self, schedule: &Schedule) -> bool {
        let rival = self.rivals.contains(&schedule.id);
        if rival {
            let reason = "something else that carries its marker fires at the server (see below): it would fire twice";
            self.block(schedule, reason.to_owned(), "delete that there, or take the marker out of its description");
        }
        !rival
    }

    /// A copy of a schedule of the file that is not the one that is kept. What is surely ours is removed: a row in the
    /// database, or a copy like the wanted one that does not fire, which is what a create with a lost answer leaves. Anything
    /// else may be somebody's own variation, made by copying ours together with its marker.
    fn surplus(&mut self, schedule: &Schedule, copy: Ours<'_>, has_kept: bool, second: bool, wanted: &Content) {
        let content = Content::of_server(copy.server);
        let alike = second && content.differences(wanted, self.now).is_empty() && !copy.server.enabled;
        // Without a copy that is kept, the marker alone names the one that was: the database is gone, and the schedule moved.
        if copy.row.is_none() && !alike && has_kept {
            let state = if copy.server.enabled { "fires as well" } else { "does not fire" };
            let message = format!(
                "{} at the server carries its marker and is not its copy; it {state}: delete it there, or take the marker \
                 out of its description",
                copy.server.id
            );
            self.plan.foreign += 1;
            if copy.server.enabled {
                self.rivals.insert(schedule.id.clone());
            }
            return self.remark(RemarkKind::Duplicate, Some(&schedule.id), message);
        }
        let reason = if second {
            "a second copy of it, as an unanswered create leaves one".to_owned()
        } else {
            format!("its workflow is {} now", schedule.workflow_id)
        };
        self.see(&schedule.id, copy, false);
        self.remove(&schedule.id, copy, &reason);
    }

    /// Copies of a schedule that the file does not have.
    fn gone(&mut self, id: &ScheduleId, copies: Vec<Ours<'_>>) {
        for copy in copies {
            self.see(id, copy, false);
            if self.settings.prune {
                self.remove(id, copy, "it is gone from the file");
            } else if copy.server.enabled {
                self.disable(id, copy, "it is gone from the file".to_owned());
            } else {
                let message = format!(
                    "gone from the file; its copy {} is kept, disabled (prune = true deletes it)",
                    copy.server.id
                );
                self.remark(RemarkKind::Kept, Some(id), message);
            }
        }
    }

    fn disable(&mut self, id: &ScheduleId, copy: Ours<'_>, reason: String) {
        let content = Content { enabled: false, ..Content::of_server(copy.server) };
        self.step(Deed::Disable, id, &copy.name(), reason, Origin::File, content).prevents_twice = true;
    }

    fn remove(&mut self, id: &ScheduleId, copy: Ours<'_>, reason: &str) {
        if copy.server.enabled {
            self.disable(id, copy, reason.to_owned());
        }
        let content = Content::of_server(copy.server);
        self.step(Deed::Delete, id, &copy.name(), reason.to_owned(), Origin::File, content);
    }

    /// Rows whose schedule is not at the server any more.
    fn vanished(&mut self) {
        let there: HashSet<&ServerScheduleId> = self.observed.server.iter().map(|server| &server.id).collect();
        let replaced: HashSet<ScheduleId> = self
            .plan
            .steps
            .iter()
            .filter(|step| step.deed == Deed::Create && step.origin == Origin::Server)
            .map(|step| step.schedule.clone())
            .collect();
        for row in self.observed.rows.iter().filter(|row| !there.contains(&row.server_schedule_id)) {
            // With the new copy, where one is wanted: until then, the row says that it was deleted by hand.
            let origin = if replaced.contains(&row.schedule) { Origin::Server } else { Origin::File };
            let content = Content::from_json(&row.applied).unwrap_or_default();
            self.step(
                Deed::Forget,
                &row.schedule,
                &name_of(row),
                "it is not at the server any more".to_owned(),
                origin,
                content,
            );
        }
    }

    fn see(&mut self, id: &ScheduleId, copy: Ours<'_>, current: bool) {
        self.plan.copies.push(CopyState {
            schedule: id.clone(),
            copy: copy.name(),
            enabled: copy.server.enabled,
            modified_at: copy.server.modified_at,
            content: Content::of_server(copy.server),
            current,
        });
    }

    fn row(&self, schedule: &Schedule, server: &ServerSchedule, content: &Content) -> MirrorCopy {
        MirrorCopy {
            server_schedule_id: server.id.clone(),
            instance: self.settings.instance.clone(),
            schedule: schedule.id.clone(),
            workflow_id: server.workflow_id.clone(),
            applied: content.to_json(),
        }
    }

    fn step(
        &mut self,
        deed: Deed,
        id: &ScheduleId,
        copy: &CopyName,
        reason: String,
        origin: Origin,
        content: Content,
    ) -> &mut Step {
        let at = self.plan.steps.len();
        self.plan.steps.push(Step {
            deed,
            schedule: id.clone(),
            workflow_id: copy.workflow_id.clone(),
            server_id: Some(copy.id.clone()),
            reason,
            origin,
            changes: Vec::new(),
            fires: content.enabled,
            content: Box::new(content),
            prevents_twice: false,
        });
        &mut self.plan.steps[at]
    }

    fn block(&mut self, schedule: &Schedule, reason: String, hint: &'static str) {
        self.blocked.insert(schedule.id.clone());
        self.plan.blocked.push(Blocked { schedule: schedule.id.clone(), reason, hint });
    }

    fn is_blocked(&self, id: &ScheduleId) -> bool {
        self.blocked.contains(id)
    }

    fn remark(&mut self, kind: RemarkKind, schedule: Option<&ScheduleId>, message: String) {
        self.plan.remarks.push(Remark { kind, schedule: schedule.cloned(), message });
    }
}

fn is_once(content: &Content) -> bool {
    matches!(content.cadence, Some(ServerCadence::Once { .. }))
}

/// Rows without a copy at the server.
fn lost(observed: &Observed) -> HashMap<(&ScheduleId, &WorkflowId), &MirrorCopy> {
    let there: HashSet<&ServerScheduleId> = observed.server.iter().map(|server| &server.id).collect();
    let lost = observed.rows.iter().filter(|row| !there.contains(&row.server_schedule_id));
    lost.map(|row| ((&row.schedule, &row.workflow_id), row)).collect()
}

fn name_of(row: &MirrorCopy) -> CopyName {
    CopyName { id: row.server_schedule_id.clone(), workflow_id: row.workflow_id.clone() }
}

fn unclaimed(server: &ServerSchedule, schedule: &ScheduleId) -> String {
    let state = if server.enabled { "fires" } else { "does not fire" };
    format!(
        "{} at the server carries this installation's marker, and neither the file nor the history knows {schedule}; it \
         {state}: delete it there, or name another `instance` if another skycron made it",
        server.id
    )
}
