//! The first event: the file and what the history remembers become the engine's state.
//!
//! The order is that of the promise: what an earlier process left unanswered is looked for first; then what passed is caught
//! up; then time goes on. Reading the history is not done here.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    clock::{delta, rfc3339},
    engine::{
        Action, Change, Engine, Entry, Reason, ReasonCode, Status, Timer, Turn,
        change::{AttemptOutcome, Memory, NoteKind, OpenOccurrence, ScheduleMemory},
        due::Stretch,
        flight::{Flight, Stage, start_by},
        span,
    },
    ids::ScheduleId,
    schedule::{Schedule, Timetable},
};

impl Engine {
    pub(super) fn boot(
        &mut self,
        now: DateTime<Utc>,
        schedules: Vec<Arc<Schedule>>,
        memory: Memory,
        former: &BTreeMap<ScheduleId, Timetable>,
        turn: &mut Turn,
    ) {
        if !self.options.fires {
            let mut known: BTreeMap<ScheduleId, ScheduleMemory> =
                memory.schedules.into_iter().map(|known| (known.id.clone(), known)).collect();
            for schedule in schedules {
                let id = schedule.id.clone();
                let entry = match known.remove(&id) {
                    Some(known) => Entry { pause: known.pause, ..Entry::new(schedule, known.accounted_through) },
                    None => Entry { unseen: true, ..Entry::new(schedule, now) },
                };
                self.entries.insert(id, entry);
            }
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
        for schedule in schedules {
            let known = remembered.remove(&schedule.id);
            let former = former.get(&schedule.id);
            self.enter(now, schedule, known, former, turn);
        }
        for gone in remembered.into_values() {
            self.leave(now, &gone, former.get(&gone.id), "the schedule was removed from the file", turn);
            turn.changes.push(Change::Defined { schedule: gone.id, at: now, definition: None });
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
        let mut entry = Entry::new(Arc::clone(&schedule), now);
        let same = known.as_ref().is_some_and(|known| known.definition == definition);
        let same_workflow = known.as_ref().is_some_and(|known| known.workflow_id == schedule.workflow_id);
        if let Some(known) = known {
            entry.pause = known.pause.clone();
            if same {
                entry.accounted_through = known.accounted_through;
            } else {
                self.leave(now, &known, former, "the schedule was changed in the file", turn);
            }
        }
        if !same || !same_workflow {
            let definition = Some(Box::new((definition, schedule.workflow_id.clone())));
            turn.changes.push(Change::Defined { schedule: id.clone(), at: now, definition });
        }
        if !same {
            turn.changes.push(Change::AccountedThrough { schedule: id.clone(), through: now });
        }
        if let Some(until) = entry.pause.as_ref().and_then(|pause| pause.until) {
            self.timers.insert((until, Timer::PauseEnds(id.clone())));
        }
        self.entries.insert(id, entry);
    }

    /// What was due by a definition that is no longer in force, and has no row yet: one row for all of it.
    pub(super) fn leave(
        &mut self,
        now: DateTime<Utc>,
        known: &ScheduleMemory,
        former: Option<&Timetable>,
        why: &str,
        turn: &mut Turn,
    ) {
        let Some(timetable) = former else { return };
        let Some(first) = timetable.next_after(known.accounted_through).filter(|first| *first <= now) else { return };
        let last = timetable.previous_before(now + TimeDelta::seconds(1)).map_or(first, |last| last.clamp(first, now));
        let (status, reason) = if known.definition.enabled {
            let detail = format!("nothing could fire when it was due, {} ago, and {why} since", span(now - last));
            (Status::Missed, Reason::new(ReasonCode::Superseded, detail))
        } else {
            (Status::Skipped, Reason::new(ReasonCode::Disabled, "enabled = false"))
        };
        let stretch = Stretch { id: &known.id, workflow_id: &known.workflow_id, timetable, first, last };
        self.record_stretch(now, &stretch, status, &reason, turn);
    }

    /// An occurrence that was open when the process before this one ended.
    fn take_up(&mut self, now: DateTime<Utc>, open: OpenOccurrence, turn: &mut Turn) {
        let key = open.key;
        let schedule = self.entries.get(&key.schedule).map(|entry| Arc::clone(&entry.schedule));
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
        let since = flight.first_attempt_at.unwrap_or(open.at);
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
        }
    }
}
