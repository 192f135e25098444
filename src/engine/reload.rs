//! The file was read again and is good: the old set of schedules gives way to the new one.
//!
//! No surprise runs: what is new, changed or enabled again starts from now. What goes on unchanged keeps its place, and takes
//! new parameters and policies with its next occurrence. Runs of what is gone are followed to their end.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    engine::{
        Change, Engine, Entry, Reason, ReasonCode, Status, Timer, Turn,
        change::{NoteKind, ScheduleMemory},
        flight::Stage,
    },
    ids::{OccurrenceKey, ScheduleId},
    schedule::Schedule,
};

impl Engine {
    pub(super) fn reload(&mut self, now: DateTime<Utc>, schedules: Vec<Arc<Schedule>>, turn: &mut Turn) {
        // What was due up to now was due by the old file.
        self.run_timers(now, turn);
        let mut old: BTreeMap<ScheduleId, _> = std::mem::take(&mut self.entries);
        let mut told = Vec::new();
        let mut moved: Vec<ScheduleId> = Vec::new();
        for schedule in schedules {
            let id = schedule.id.clone();
            let Some(mut entry) = old.remove(&id) else {
                told.push(format!("{id} is new"));
                self.enter(now, schedule, None, None, turn);
                self.find_live(&id);
                self.arm(&id);
                continue;
            };
            let definition = entry.schedule.timetable.definition(entry.schedule.enabled);
            if definition == schedule.timetable.definition(schedule.enabled) {
                if entry.schedule.workflow_id != schedule.workflow_id {
                    told.push(format!("{id} runs {}", schedule.workflow_id));
                    let definition = Some(Box::new((definition, schedule.workflow_id.clone())));
                    let at = now.max(entry.accounted_through);
                    turn.changes.push(Change::Defined { schedule: id.clone(), at, definition });
                    moved.push(id.clone());
                } else if differs(&entry.schedule, &schedule) {
                    told.push(format!("{id} is started differently"));
                } else if entry.schedule.timetable != schedule.timetable {
                    told.push(format!("{id} follows other zone rules"));
                }
                entry.schedule = schedule;
                self.entries.insert(id.clone(), entry);
            } else {
                told.push(format!("{id} is due at other times, from now on"));
                self.disarm(&id, entry.due);
                let former = Arc::clone(&entry.schedule);
                let known = known(&entry);
                self.leave(
                    now,
                    &known,
                    Some(&former.timetable),
                    Status::Skipped,
                    "the schedule was changed in the file",
                    turn,
                );
                self.enter(now, schedule, Some(known), None, turn);
                if let Some(new) = self.entries.get_mut(&id) {
                    new.live = entry.live;
                    new.waiting = entry.waiting;
                    new.settling_from_before = entry.settling_from_before;
                    new.taken_at = entry.taken_at;
                }
            }
            self.arm(&id);
        }
        for (id, entry) in old {
            told.push(format!("{id} is gone"));
            self.disarm(&id, entry.due);
            let timetable = &entry.schedule.timetable;
            self.leave(
                now,
                &known(&entry),
                Some(timetable),
                Status::Skipped,
                "the schedule was removed from the file",
                turn,
            );
            let at = now.max(entry.accounted_through);
            turn.changes.push(Change::Defined { schedule: id.clone(), at, definition: None });
            turn.changes.push(Change::AccountedThrough { schedule: id.clone(), through: at });
            self.orphan(now, id.clone(), entry.ownership.clone(), turn);
            for key in self.watched_of(&id).cloned().collect::<Vec<_>>() {
                if let Some(flight) = self.flights.get_mut(&key) {
                    flight.schedule = None;
                }
            }
            let mut unstarted: Vec<OccurrenceKey> = self
                .flights
                .iter()
                .filter(|(key, flight)| {
                    key.schedule == id && matches!(flight.stage, Stage::Waiting | Stage::Later | Stage::Ready)
                })
                .map(|(key, _)| key.clone())
                .collect();
            unstarted.sort();
            for key in unstarted {
                let reason = Reason::new(ReasonCode::Superseded, "its schedule was removed from the file");
                self.end(now, &key, Status::Skipped, Some(reason), turn);
            }
        }
        if self.options.mirrors {
            for id in &moved {
                self.take_back(now, id, "it runs another workflow by the file", turn);
            }
        }
        let text = match told.len() {
            0 => "nothing that matters here changed".to_owned(),
            1..=20 => told.join("; "),
            more => format!("{}; and {} more", told[..20].join("; "), more - 20),
        };
        turn.changes.push(Change::Noted { at: now, kind: NoteKind::Reloaded, text });
    }

    /// A schedule that comes back may still have a run from before it was removed: the overlap rule counts it.
    fn find_live(&mut self, id: &ScheduleId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let of = self.flights.iter().filter(|(key, _)| key.schedule == *id);
        for (key, flight) in of.filter(|(_, flight)| !matches!(flight.stage, Stage::Watching { .. })) {
            entry.live.insert(key.clone());
            entry.settling_from_before += usize::from(flight.stage == Stage::Settling { from_before: true });
        }
    }

    fn disarm(&mut self, id: &ScheduleId, due: Option<super::Due>) {
        if let Some(due) = due {
            self.timers.remove(&(due.fire_at, Timer::Due(id.clone())));
        }
    }
}

/// What a definition that gives way leaves to be accounted for: what its jitter, or a start that is being looked for, held back.
fn known(entry: &Entry) -> ScheduleMemory {
    ScheduleMemory {
        id: entry.schedule.id.clone(),
        definition: entry.schedule.timetable.definition(entry.schedule.enabled),
        workflow_id: entry.schedule.workflow_id.clone(),
        accounted_through: entry.accounted_through,
        pause: entry.pause.clone(),
        ownership: entry.ownership.clone(),
        late: None,
    }
}

fn differs(old: &Schedule, new: &Schedule) -> bool {
    old.parameters != new.parameters || old.run_options != new.run_options || old.policies != new.policies
}
