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
        self.reopen(now, ahead, turn);
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

    /// Opens again what was decided about a time that has not come.
    pub(super) fn reopen(&mut self, now: DateTime<Utc>, ahead: Vec<Ahead>, turn: &mut Turn) {
        for Ahead { schedule, reopen_after, redefine, tried } in ahead {
            self.tried_ahead.remove(&schedule);
            if !tried.is_empty() {
                self.tried_ahead.insert(schedule.clone(), tried.into_iter().collect());
            }
            let Some(after) = reopen_after else { continue };
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
