//! The wall clock was set: what is measured from the past is moved along, and what was decided about a time that has not come
//! after all is taken back.
//!
//! An instant that was tried stays as it is, and is not tried again when it comes: nothing twice. Everything else ahead of the
//! clock is decided again when it comes: nothing silently lost. Whether the clock moved is found out by whoever reads it.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    engine::{
        Change, Engine, Timer, Turn,
        change::{Ahead, NoteKind},
        span,
    },
    ids::ScheduleId,
};

/// A clock that shows less at boot than the history does is believed after it went on like that for so long.
const CLOCK_TRUSTED_AFTER_MINUTES: i64 = 10;

impl Engine {
    /// Forwards, what was jumped over is caught up like any outage. Backwards, what the history has about the time to come is
    /// opened again. The step is written down either way.
    pub(super) fn clock_stepped(&mut self, now: DateTime<Utc>, by: TimeDelta, ahead: Vec<Ahead>, turn: &mut Turn) {
        let direction = if by < TimeDelta::zero() { "back" } else { "forward" };
        turn.changes.push(Change::Noted {
            at: now,
            kind: NoteKind::ClockStepped,
            text: format!("the clock went {direction} by {}", span(by.abs())),
        });
        self.timers.retain(|(at, timer)| *timer != Timer::Pace || *at <= now);
        self.pace_at = None;
        self.move_along(by);
        if by < TimeDelta::zero() {
            // Somebody set it back, who knew why.
            self.doubted.clear();
            self.reopen(now, ahead, turn);
        }
        self.trust_later(now);
        self.look_at_everything(now);
        let taken: Vec<ScheduleId> =
            self.entries.iter().filter(|(_, entry)| entry.taken_at.is_some()).map(|(id, _)| id.clone()).collect();
        self.timers.retain(|(_, timer)| !matches!(timer, Timer::Taken(_)));
        self.entries.values_mut().for_each(|entry| entry.give_after = None);
        for id in taken {
            // The grace begins anew, and a wake comes for what may be over.
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.taken_at = Some(now);
                let at = entry.proof_from().unwrap_or(now);
                self.timers.insert((at, Timer::Taken(id)));
            }
        }
    }

    /// What is measured from a moment of the past goes on as if the clock had always been right. A step forward may be time
    /// that truly passed (the machine slept): then the careful side is chosen, which is to look for a run from earlier on and
    /// for longer, and to cancel it later.
    fn move_along(&mut self, by: TimeDelta) {
        let back = by < TimeDelta::zero();
        for flight in self.flights.values_mut() {
            let moved = |at: DateTime<Utc>| at.checked_add_signed(by).unwrap_or(at);
            flight.last_attempt_at = flight.last_attempt_at.map(moved);
            if back {
                flight.first_attempt_at = flight.first_attempt_at.map(moved);
            }
            let Some((at, timer)) = flight.timer.clone() else { continue };
            if back || matches!(timer, Timer::RunTimeout(_)) {
                self.timers.remove(&(at, timer.clone()));
                self.timers.insert((moved(at), timer.clone()));
                flight.timer = Some((moved(at), timer));
            }
        }
    }

    /// At boot, either the clock was ahead when the history was written, or it is behind now, which is common on machines
    /// whose clock stops with them. Then the right time comes soon, as a step forward, and nothing must be taken back. So
    /// what is accounted for beyond the present stays silent for a while, and is opened again when the clock is still the same.
    pub(super) fn doubt(&mut self, now: DateTime<Utc>, ahead: Vec<Ahead>) {
        for ahead in ahead {
            let beyond: Tried = ahead.tried.iter().copied().filter(|at| *at > ahead.accounted_through).collect();
            if !beyond.is_empty() {
                self.tried_ahead.insert(ahead.schedule.clone(), beyond);
            }
            if ahead.accounted_through > now {
                self.doubted.insert(ahead.schedule.clone(), ahead);
            }
        }
        self.trust_later(now);
    }

    fn trust_later(&mut self, now: DateTime<Utc>) {
        self.timers.retain(|(_, timer)| *timer != Timer::ClockTrusted);
        if !self.doubted.is_empty() {
            self.timers.insert((now + TimeDelta::minutes(CLOCK_TRUSTED_AFTER_MINUTES), Timer::ClockTrusted));
        }
    }

    /// Opens again what is still in doubt: of one schedule, or of all.
    pub(super) fn reopen_doubted(&mut self, now: DateTime<Utc>, only: Option<&ScheduleId>, turn: &mut Turn) {
        let mut doubted = match only {
            Some(id) => self.doubted.remove(id).into_iter().collect(),
            None => std::mem::take(&mut self.doubted).into_values().collect::<Vec<_>>(),
        };
        for ahead in &mut doubted {
            match self.entries.get(&ahead.schedule) {
                // It is gone from the file, perhaps since the look at the history.
                None => ahead.redefine = Some(None),
                // The time has come meanwhile.
                Some(entry) if entry.accounted_through <= now => {
                    ahead.reopen_after = None;
                    ahead.tried.clear();
                }
                // As it is now, which may be later than the look at the history.
                Some(entry) => {
                    let definition = entry.schedule.timetable.definition(entry.schedule.enabled);
                    ahead.redefine = Some(Some(Box::new((definition, entry.schedule.workflow_id.clone()))));
                }
            }
        }
        self.reopen(now, doubted, turn);
    }

    /// Opens again what was decided about a time that has not come.
    fn reopen(&mut self, now: DateTime<Utc>, ahead: Vec<Ahead>, turn: &mut Turn) {
        for Ahead { schedule, reopen_after, redefine, mut tried, .. } in ahead {
            let Some(after) = reopen_after else { continue };
            // What the server is to start was not tried here: it is opened again when it comes.
            let early = self.watched_of(&schedule).filter(|key| key.scheduled_for > after);
            for key in early.cloned().collect::<Vec<_>>() {
                tried.retain(|at| *at != key.scheduled_for);
                self.unwatch(&key);
                self.flights.remove(&key);
                turn.changes.push(Change::Withdrawn { key, at: now });
            }
            self.tried_ahead.remove(&schedule);
            self.watch.late.remove(&schedule);
            if !tried.is_empty() {
                self.tried_ahead.insert(schedule.clone(), tried.into_iter().collect());
            }
            turn.changes.push(Change::Reopened { schedule: schedule.clone(), after, at: now });
            if let Some(definition) = redefine {
                turn.changes.push(Change::Defined { schedule: schedule.clone(), at: after, definition });
            }
            if let Some(entry) = self.entries.get_mut(&schedule) {
                entry.accounted_through = after;
                self.arm(&schedule);
            }
        }
    }

    /// Instants from `first` to `now` that were tried while the clock was ahead.
    pub(super) fn tried_ahead(&self, id: &ScheduleId, first: DateTime<Utc>, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let tried = self.tried_ahead.get(id).filter(|_| first <= now);
        tried.map(|tried| tried.range(first..=now).copied().collect()).unwrap_or_default()
    }

    /// Instants up to `through` have passed.
    pub(super) fn forget_tried_ahead(&mut self, id: &ScheduleId, through: DateTime<Utc>) {
        if let Some(tried) = self.tried_ahead.get_mut(id) {
            tried.retain(|at| *at > through);
            if tried.is_empty() {
                self.tried_ahead.remove(id);
            }
        }
    }
}

/// Instants that were tried ahead of the clock.
pub(super) type Tried = BTreeSet<DateTime<Utc>>;
