//! The first event: the file and what the history remembers become the engine's state.
//!
//! The order is that of the promise: what an earlier process left unanswered is looked for first; then what passed is caught
//! up; then time goes on. Reading the history is not done here.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::{
    clock::{delta, rfc3339},
    engine::{
        Action, Change, Engine, Entry, Reason, ReasonCode, Status, Timer, Trigger, Turn,
        change::{
            Ahead, AttemptOutcome, Memory, NoteKind, OpenOccurrence, Owner, Ownership, ScheduleMemory, ServerCopy,
        },
        due::{Stretch, split},
        flight::{Flight, Stage, start_by},
        span,
    },
    ids::ScheduleId,
    schedule::{Schedule, Timetable},
};

/// The run of a start that left at an unknown time is looked for from so long ago on.
const UNKNOWN_SINCE_HOURS: i64 = 24;

impl Engine {
    pub(super) fn boot(
        &mut self,
        now: DateTime<Utc>,
        schedules: Vec<Arc<Schedule>>,
        memory: Memory,
        former: &BTreeMap<ScheduleId, Timetable>,
        ahead: Vec<Ahead>,
        turn: &mut Turn,
    ) {
        if !self.options.fires {
            let mut known: BTreeMap<ScheduleId, ScheduleMemory> =
                memory.schedules.into_iter().map(|known| (known.id.clone(), known)).collect();
            for schedule in schedules {
                let id = schedule.id.clone();
                let entry = match known.remove(&id) {
                    Some(known) => Entry {
                        pause: known.pause,
                        given_again: known.ownership.owner == Owner::HandingOver,
                        ownership: known.ownership,
                        settling_from_before: memory.open.iter().filter(|open| open.key.schedule == id).count(),
                        ..Entry::new(schedule, known.accounted_through)
                    },
                    None => Entry { unseen: true, ..Entry::new(schedule, now) },
                };
                self.entries.insert(id, entry);
            }
            self.orphans = memory.orphans.into_iter().collect();
            return;
        }
        let text = format!("with {} schedules", schedules.len());
        turn.changes.push(Change::Noted { at: now, kind: NoteKind::Started, text });
        if let Some(latest) = memory.latest_instant.filter(|latest| *latest > now) {
            let text = format!("the clock shows {} less than the latest row ({})", span(latest - now), rfc3339(latest));
            turn.changes.push(Change::Noted { at: now, kind: NoteKind::ClockStepped, text });
        }
        let mut remembered: BTreeMap<ScheduleId, ScheduleMemory> =
            memory.schedules.into_iter().map(|schedule| (schedule.id.clone(), schedule)).collect();
        self.orphans = memory.orphans.into_iter().collect();
        self.doubt(now, ahead);
        let late: Vec<(ScheduleId, DateTime<Utc>)> =
            remembered.values().filter_map(|known| Some((known.id.clone(), known.late?))).collect();
        for schedule in schedules {
            let known = remembered.remove(&schedule.id);
            let former = former.get(&schedule.id);
            self.enter(now, schedule, known, former, turn);
        }
        for gone in remembered.into_values() {
            self.leave(
                now,
                &gone,
                former.get(&gone.id),
                Status::Missed,
                "the schedule was removed from the file",
                turn,
            );
            let at = now.max(gone.accounted_through);
            turn.changes.push(Change::Defined { schedule: gone.id.clone(), at, definition: None });
            turn.changes.push(Change::AccountedThrough { schedule: gone.id.clone(), through: at });
            self.orphan(now, gone.id, gone.ownership, turn);
        }
        // Runs before starts, so that what was pending sees what is live.
        let (going, pending): (Vec<_>, Vec<_>) =
            memory.open.into_iter().partition(|open| open.status != Status::Pending);
        for open in going.into_iter().chain(pending) {
            self.take_up(now, open, turn);
        }
        for id in self.entries.keys().cloned().collect::<Vec<_>>() {
            self.arm(&id);
        }
        for (id, at) in late {
            let ownership = self.entries.get(&id).map(|entry| &entry.ownership);
            let copy = ownership.filter(|ownership| ownership.is_servers(at)).and_then(|o| o.copy.clone());
            if let Some(copy) = copy {
                let key = self.key(&id, at, String::new());
                self.watch_late(now, key, copy);
            }
        }
        let told = turn.actions.iter().any(|action| matches!(action, Action::Mirror));
        if !told && !self.unsettled().is_empty() {
            turn.actions.push(Action::Mirror);
        }
    }

    /// A schedule that is gone from the file, and that the server has: it is to be disabled there.
    pub(super) fn orphan(&mut self, now: DateTime<Utc>, id: ScheduleId, ownership: Ownership, turn: &mut Turn) {
        if ownership.owner == Owner::Local {
            return;
        }
        let ownership = Ownership { owner: Owner::TakingBack, ..ownership };
        turn.changes.push(Change::OwnerChanged { schedule: id.clone(), at: now, ownership: ownership.clone() });
        self.orphans.insert(id, ownership);
        turn.actions.push(Action::Mirror);
    }

    /// A schedule of the file: a new one and a changed one start from now, a known one from where it is accounted for.
    pub(super) fn enter(
        &mut self,
        now: DateTime<Utc>,
        schedule: Arc<Schedule>,
        known: Option<ScheduleMemory>,
        former: Option<&Timetable>,
        turn: &mut Turn,
    ) {
        let id = schedule.id.clone();
        let definition = schedule.timetable.definition(schedule.enabled);
        let same = known.as_ref().is_some_and(|known| known.definition == definition);
        let same_workflow = known.as_ref().is_some_and(|known| known.workflow_id == schedule.workflow_id);
        let mut entry = Entry::new(Arc::clone(&schedule), now);
        if let Some(doubted) = self.doubted.get(&id).filter(|_| known.is_none()) {
            // It was in the file before, and is a new one now: what was decided about it ahead of the clock is in its way.
            if doubted.reopen_after.is_none() {
                entry.accounted_through = doubted.accounted_through;
            }
            self.reopen_doubted(now, Some(&id), turn);
        }
        let orphan = self.orphans.remove(&id);
        self.orphans_taken.remove(&id);
        let new = known.is_none() && orphan.is_none();
        if let Some(ownership) = orphan {
            entry.ownership = ownership;
        }
        if let Some(known) = known {
            entry.pause = known.pause.clone();
            entry.ownership = known.ownership.clone();
            entry.given_again = known.ownership.owner == Owner::HandingOver;
            if same {
                entry.accounted_through = known.accounted_through;
            } else {
                self.leave(now, &known, former, Status::Missed, "the schedule was changed in the file", turn);
                // The clock may show a little less than when the last one was decided; nothing is decided twice.
                entry.accounted_through = now.max(known.accounted_through);
            }
        }
        // Never for instants that another definition has decided about, even where the clock shows less than it did then.
        let from = now.max(entry.accounted_through);
        if !same || !same_workflow {
            let definition = Some(Box::new((definition, schedule.workflow_id.clone())));
            turn.changes.push(Change::Defined { schedule: id.clone(), at: from, definition });
        }
        if !same {
            turn.changes.push(Change::AccountedThrough { schedule: id.clone(), through: from });
        }
        if let Some(until) = entry.pause.as_ref().and_then(|pause| pause.until) {
            self.timers.insert((until, Timer::PauseEnds(id.clone())));
        }
        self.entries.insert(id.clone(), entry);
        if new {
            self.hold_new(now, &id, turn);
        } else if !(same && same_workflow) && self.options.mirrors {
            // The server still goes by the one before.
            self.take_back(now, &id, "it was changed in the file", turn);
        }
    }

    /// What was due by a definition that is no longer in force, and was not decided: one row for all of it, but for what was
    /// tried while the clock was ahead.
    pub(super) fn leave(
        &mut self,
        now: DateTime<Utc>,
        known: &ScheduleMemory,
        former: Option<&Timetable>,
        status: Status,
        why: &str,
        turn: &mut Turn,
    ) {
        let Some(timetable) = former else { return };
        let (id, workflow_id) = (&known.id, &known.workflow_id);
        self.record_dropped(
            now,
            &Stretch { id, workflow_id, timetable, first: known.accounted_through, last: now },
            turn,
        );
        // The one that is due in this very second has passed.
        let passed = now.duration_trunc(TimeDelta::seconds(1)).unwrap_or(now) + TimeDelta::seconds(1);
        let Some(last) = timetable.previous_before(passed) else { return };
        let mut next = timetable.next_after(known.accounted_through);
        while let Some(first) = next.filter(|first| *first <= last) {
            let tried = self.tried_ahead(id, first, last);
            let before = tried.first().map(|tried| timetable.previous_before(*tried).unwrap_or(first).max(first));
            let last = before.unwrap_or(last);
            if tried.first() != Some(&first) {
                // What was held meanwhile may have been started by the server too.
                let ownership = match known.ownership.owner {
                    Owner::HandingOver => Ownership { owner: Owner::TakingBack, ..known.ownership.clone() },
                    _ => known.ownership.clone(),
                };
                let (ours, servers) = match known.definition.enabled {
                    true => split(timetable, &ownership, first, last),
                    false => (Some((first, last)), None),
                };
                if let Some((first, last)) = ours {
                    let (status, reason) = if known.definition.enabled {
                        let detail =
                            format!("it was not started when it was due, {} ago, and {why} since", span(now - last));
                        (status, Reason::new(ReasonCode::Superseded, detail))
                    } else {
                        (Status::Skipped, Reason::new(ReasonCode::Disabled, "enabled = false"))
                    };
                    let stretch = Stretch { id, workflow_id, timetable, first, last };
                    self.record_stretch(now, &stretch, status, &reason, turn);
                }
                if let (Some(stretch), Some(copy)) = (servers, &ownership.copy) {
                    self.watch(now, (id, workflow_id, timetable), None, copy, stretch, turn);
                }
            }
            next = timetable.next_after(last);
        }
        self.forget_tried_ahead(id, now);
    }

    /// An occurrence that was open when the process before this one ended.
    fn take_up(&mut self, now: DateTime<Utc>, open: OpenOccurrence, turn: &mut Turn) {
        let key = open.key;
        // The server's to start; without an attempt, it was never ours.
        let ownership = match self.entries.get(&key.schedule) {
            Some(entry) => Some(&entry.ownership),
            None => self.orphans.get(&key.schedule),
        };
        if open.status == Status::Pending
            && open.trigger == Trigger::Server
            && open.attempt_number == 0
            && key.suffix.is_empty()
            && let Some(copy) = ownership.filter(|o| o.is_servers(key.scheduled_for)).and_then(|o| o.copy.clone())
        {
            let schedule = self.entries.get(&key.schedule).map(|entry| Arc::clone(&entry.schedule));
            let copy = ServerCopy { workflow_id: open.workflow_id, ..copy };
            self.watch_one(now, key, schedule, &copy);
            return;
        }
        // The row names the workflow: what may have started of it before is looked for there, so it is started there again,
        // whatever the file says by now.
        let schedule = self.entries.get(&key.schedule).map(|entry| match &entry.schedule {
            schedule if schedule.workflow_id == open.workflow_id => Arc::clone(schedule),
            schedule => Arc::new(Schedule { workflow_id: open.workflow_id.clone(), ..Schedule::clone(schedule) }),
        });
        let flight = Flight {
            start_by: schedule.as_ref().map_or(now, |schedule| start_by(open.trigger, schedule, key.scheduled_for)),
            schedule: schedule.clone(),
            workflow_id: open.workflow_id,
            trigger: open.trigger,
            stage: Stage::Waiting,
            attempt: open.attempt_number,
            first_attempt_at: open.first_attempt_at,
            last_attempt_at: open.attempt_begun_at,
            parameters: open.parameters,
            cancel: None,
            ready_rank: None,
            warning: None,
            timer: None,
        };
        let since = flight.first_attempt_at.unwrap_or(open.at).min(now);
        self.flights.insert(key.clone(), flight);
        match (open.status, open.run_id) {
            (Status::Running, Some(run_id)) => {
                self.live(&key);
                if let Some(flight) = self.flights.get_mut(&key) {
                    flight.stage = Stage::Running { run_id: run_id.clone() };
                }
                if let Some(timeout) = schedule.and_then(|schedule| schedule.policies.run_timeout) {
                    self.set_timer(&key, since + delta(timeout), Timer::RunTimeout(key.clone()));
                }
                turn.actions.push(Action::Follow { key, run_id, since });
            }
            (Status::Pending, _) => {
                if schedule.is_none() {
                    let reason = Reason::new(ReasonCode::Superseded, "its schedule was removed from the file");
                    self.end(now, &key, Status::Skipped, Some(reason), turn);
                } else if let Some(entry) = self.entries.get_mut(&key.schedule).filter(|entry| !entry.live.is_empty()) {
                    entry.waiting.push_back(key);
                } else {
                    self.make_ready(now, &key);
                }
            }
            _ => {
                self.live(&key);
                if let Some(flight) = self.flights.get_mut(&key) {
                    // The clock of the earlier process may have been another one. The request may be on its way for a while
                    // from now on, and if it left in what is the future, it left at a time that is not known.
                    flight.last_attempt_at = Some(now);
                    if flight.first_attempt_at.is_none_or(|at| at > now) {
                        flight.first_attempt_at = Some(now - TimeDelta::hours(UNKNOWN_SINCE_HOURS));
                    }
                }
                if open.attempt_outcome.is_none() {
                    turn.changes.push(Change::AttemptEnded {
                        key: key.clone(),
                        number: open.attempt_number,
                        at: now,
                        outcome: AttemptOutcome::Unknown,
                        message: Some("skycron ended before the answer came".to_owned()),
                        http_status: None,
                        run_id: None,
                    });
                }
                if let Some(entry) = self.entries.get_mut(&key.schedule) {
                    entry.settling_from_before += 1;
                }
                self.settle(now, &key, "skycron ended before the answer to its start came", true, turn);
            }
        }
    }

    fn live(&mut self, key: &crate::ids::OccurrenceKey) {
        if let Some(entry) = self.entries.get_mut(&key.schedule) {
            entry.live.insert(key.clone());
        }
    }
}

impl Entry {
    fn new(schedule: Arc<Schedule>, accounted_through: DateTime<Utc>) -> Self {
        Self {
            schedule,
            accounted_through,
            due: None,
            pause: None,
            live: BTreeSet::new(),
            waiting: VecDeque::new(),
            unseen: false,
            settling_from_before: 0,
            ownership: Ownership::default(),
            taken_at: None,
            give_after: None,
            given_again: false,
        }
    }
}
