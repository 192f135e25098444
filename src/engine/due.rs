//! A schedule is due: one occurrence on time, or a stretch of them that passed while nothing could fire.
//!
//! Decides which are started, which wait, and which are only recorded, by `catch_up` and `overlap`. Does not start anything.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    clock::{delta, rfc3339},
    engine::{
        Action, CATCH_UP_RUNS_MAX, Change, Engine, Entry, ON_TIME_SECONDS_MAX, Reason, ReasonCode, Status, Trigger,
        Turn,
        change::{NewOccurrence, Ownership, Pause},
        fire_at,
        flight::{Admission, Stage, start_by},
        span,
    },
    ids::{Instance, OccurrenceKey, ScheduleId, WorkflowId},
    schedule::{CatchUp, Overlap, Schedule, Timetable},
};

impl Engine {
    /// Accounts for everything of the schedule that is due by `now`, and arms its next occurrence.
    pub(super) fn due(&mut self, now: DateTime<Utc>, id: &ScheduleId, turn: &mut Turn) {
        let Some(entry) = self.entries.get(id) else { return };
        if entry.settling_from_before > 0 {
            // Its timer comes back when the last of these is settled.
            return;
        }
        let Some(due) = entry.due else { return };
        if due.fire_at > now {
            self.arm(id);
            return;
        }
        if entry.holds(due.scheduled_for) {
            // Its timer comes back when it is known whose it is.
            return;
        }
        let schedule = Arc::clone(&entry.schedule);
        let (accounted_through, pause) = (entry.accounted_through, entry.pause.clone());
        let ownership = entry.ownership.clone();
        let first = due.scheduled_for;
        let tried = self.tried_ahead(id, first, now);
        let mut last = last_due(&self.options.instance, entry, first, now);
        if let Some(tried) = tried.first() {
            let before = schedule.timetable.previous_before(*tried).unwrap_or(first);
            last = last.min(before).max(first);
        }

        self.record_dropped(now, &Stretch::of(&schedule, accounted_through, last), turn);
        // What was tried while the clock was ahead has its row.
        if tried.first() != Some(&first) {
            let (ours, servers) = split(&schedule.timetable, &ownership, first, last);
            let to_start = match (&pause, ours) {
                (Some(pause), Some(ours)) => self.record_paused(now, &schedule, pause, ours, turn),
                (_, ours) => ours,
            };
            if let Some(stretch) = to_start {
                self.start_or_record(now, &schedule, stretch, turn);
            }
            if let (Some(stretch), Some(copy)) = (servers, &ownership.copy) {
                let of = (id, &schedule.workflow_id, &schedule.timetable);
                self.watch(now, of, Some(&schedule), copy, stretch, turn);
            }
        }
        self.forget_tried_ahead(id, last);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.accounted_through = last;
        }
        turn.changes.push(Change::AccountedThrough { schedule: id.clone(), through: last });
        self.arm(id);
    }

    /// Records what a pause keeps from starting, and what passed before it while nothing could fire; answers with what was
    /// due after its end.
    pub(super) fn record_paused(
        &mut self,
        now: DateTime<Utc>,
        schedule: &Schedule,
        pause: &Pause,
        (first, last): (DateTime<Utc>, DateTime<Utc>),
        turn: &mut Turn,
    ) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let moment = TimeDelta::milliseconds(1);
        let timetable = &schedule.timetable;
        if first < pause.since
            && let Some(before) = timetable.previous_before(pause.since.min(last + moment))
        {
            let detail = format!(
                "nothing could fire when it was due, {} ago, and the schedule is paused now",
                span(now - before)
            );
            let reason = Reason::new(ReasonCode::Late, detail);
            self.record_stretch(now, &Stretch::of(schedule, first, before), Status::Missed, &reason, turn);
        }
        let end = pause.until.filter(|until| *until < last);
        let paused_first = if first < pause.since { timetable.next_after(pause.since - moment) } else { Some(first) };
        let paused_last = end.map_or(Some(last), |end| timetable.previous_before(end + moment));
        if let (Some(from), Some(to)) = (paused_first, paused_last)
            && from <= to
        {
            let note = pause.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
            let reason = Reason::new(ReasonCode::Paused, format!("paused since {}{note}", rfc3339(pause.since)));
            self.record_stretch(now, &Stretch::of(schedule, from, to), Status::Skipped, &reason, turn);
        }
        let after = timetable.next_after(end?.max(pause.since - moment)).filter(|after| *after <= last)?;
        Some((after.max(first), last))
    }

    fn start_or_record(
        &mut self,
        now: DateTime<Utc>,
        schedule: &Arc<Schedule>,
        (first, last): (DateTime<Utc>, DateTime<Utc>),
        turn: &mut Turn,
    ) {
        let late = now - fire_at(&self.options.instance, schedule, last);
        let on_time = late < TimeDelta::seconds(ON_TIME_SECONDS_MAX);
        let in_window = late <= delta(schedule.policies.catch_up_window);
        let policy = schedule.policies.catch_up;
        // From here on, occurrences are started; those before it are recorded.
        let start_from = match policy {
            _ if on_time && first == last => Some(first),
            CatchUp::None if on_time => Some(last),
            CatchUp::Latest if on_time || in_window => Some(last),
            CatchUp::All if on_time || in_window => {
                let oldest = now - delta(schedule.policies.catch_up_window);
                Some(nth_back(&schedule.timetable, first.max(oldest), last))
            }
            _ => None,
        };
        let Some(start_from) = start_from else {
            let reason = late_reason(now, schedule, last);
            self.record_stretch(now, &Stretch::of(schedule, first, last), Status::Missed, &reason, turn);
            return;
        };
        if let Some(before) = schedule.timetable.previous_before(start_from)
            && before >= first
        {
            let reason = if policy == CatchUp::Latest {
                let detail = format!(
                    "nothing could fire when it was due, {} ago; {} is started in its place (catch_up = \"latest\")",
                    span(now - before),
                    rfc3339(last)
                );
                Reason::new(ReasonCode::CaughtUp, detail)
            } else {
                late_reason(now, schedule, before)
            };
            self.record_stretch(now, &Stretch::of(schedule, first, before), Status::Missed, &reason, turn);
        }
        let mut next = Some(start_from);
        while let Some(scheduled_for) = next.filter(|at| *at <= last) {
            let due_for = now - fire_at(&self.options.instance, schedule, scheduled_for);
            let late = due_for >= TimeDelta::seconds(ON_TIME_SECONDS_MAX);
            self.admit(now, schedule, scheduled_for, if late { Trigger::CatchUp } else { Trigger::Schedule }, turn);
            next = schedule.timetable.next_after(scheduled_for);
        }
    }

    /// Applies the overlap rule to one occurrence of the timetable, and opens or records it.
    fn admit(
        &mut self,
        now: DateTime<Utc>,
        schedule: &Arc<Schedule>,
        scheduled_for: DateTime<Utc>,
        trigger: Trigger,
        turn: &mut Turn,
    ) {
        let Some(entry) = self.entries.get(&schedule.id) else { return };
        let backlog = schedule.policies.catch_up == CatchUp::All
            && entry
                .waiting
                .iter()
                .chain(&entry.live)
                .any(|key| self.flights.get(key).is_some_and(|flight| flight.trigger == Trigger::CatchUp));
        let behind_backfill = self.only_backfill_is_live(entry);
        let admission = admission(entry, schedule, trigger, backlog, behind_backfill);
        let key = self.key(&schedule.id, scheduled_for, String::new());
        let until = start_by(trigger, schedule, scheduled_for);
        if schedule.policies.overlap == Overlap::CancelRunning && matches!(admission, Admission::Wait(_)) {
            self.make_room(now, &key, turn);
        }
        self.open(now, key, schedule, trigger, admission, until, None, turn);
    }

    /// Whether everything that is live of a schedule was asked for by a person, as a backfill: that keeps what is due by the
    /// timetable waiting, but not from starting.
    fn only_backfill_is_live(&self, entry: &Entry) -> bool {
        let of_backfill =
            |key: &OccurrenceKey| self.flights.get(key).is_some_and(|flight| flight.trigger == Trigger::Backfill);
        !entry.live.is_empty() && entry.live.iter().all(of_backfill) && entry.waiting.front().is_none_or(of_backfill)
    }

    /// `cancel_running`: the live ones are cancelled, and one that waits already is superseded.
    pub(super) fn make_room(&mut self, now: DateTime<Utc>, for_key: &OccurrenceKey, turn: &mut Turn) {
        let Some(entry) = self.entries.get(&for_key.schedule) else { return };
        let (live, waiting): (Vec<_>, Vec<_>) =
            (entry.live.iter().cloned().collect(), entry.waiting.iter().cloned().collect());
        for key in waiting {
            let reason = Reason::new(ReasonCode::Superseded, format!("{for_key} was due before it could start"));
            self.end(now, &key, Status::Skipped, Some(reason), turn);
        }
        for key in live {
            let why = format!("{for_key} was due while it was going (overlap = \"cancel_running\")");
            match self.flights.get_mut(&key) {
                Some(flight) if matches!(flight.stage, Stage::Ready | Stage::Later) => {
                    let reason = Reason::new(ReasonCode::Superseded, why);
                    self.end(now, &key, Status::Skipped, Some(reason), turn);
                }
                Some(flight) => {
                    if let Stage::Running { run_id } = &flight.stage
                        && flight.cancel.is_none()
                    {
                        turn.actions.push(Action::Cancel { key: key.clone(), run_id: run_id.clone() });
                    }
                    flight.cancel.get_or_insert(why);
                }
                None => {}
            }
        }
    }

    /// One row for a stretch of occurrences that share their fate: the key is the first one's.
    pub(super) fn record_stretch(
        &mut self,
        now: DateTime<Utc>,
        stretch: &Stretch<'_>,
        status: Status,
        reason: &Reason,
        turn: &mut Turn,
    ) {
        let Stretch { id, workflow_id, timetable, first, last } = *stretch;
        let count = timetable.count_between(first - TimeDelta::seconds(1), last);
        turn.changes.push(Change::Occurred(Box::new(NewOccurrence {
            key: self.key(id, first, String::new()),
            workflow_id: workflow_id.clone(),
            trigger: Trigger::Schedule,
            status,
            reason: Some(reason.clone()),
            at: now,
            count: u32::try_from(count).unwrap_or(u32::MAX).max(1),
            through: (last > first).then_some(last),
            parameters: None,
        })));
    }

    /// Rows for occurrences that a clock change brought within five minutes of the one before them: those after the stretch's
    /// first instant, up to its last.
    pub(super) fn record_dropped(&self, now: DateTime<Utc>, stretch: &Stretch<'_>, turn: &mut Turn) {
        for at in stretch.timetable.dropped_between(stretch.first, stretch.last) {
            let detail = "a clock change brings it within five minutes of the occurrence before it".to_owned();
            turn.changes.push(Change::Occurred(Box::new(NewOccurrence {
                key: self.key(stretch.id, at, String::new()),
                workflow_id: stretch.workflow_id.clone(),
                trigger: Trigger::Schedule,
                status: Status::Skipped,
                reason: Some(Reason::new(ReasonCode::ClockChange, detail)),
                at: now,
                count: 1,
                through: None,
                parameters: None,
            })));
        }
    }

    /// A pause that had an end is over.
    pub(super) fn pause_ends(&mut self, now: DateTime<Utc>, id: &ScheduleId, turn: &mut Turn) {
        let ended =
            |entry: &Entry| entry.pause.as_ref().and_then(|pause| pause.until).is_some_and(|until| until <= now);
        if self.entries.get(id).is_some_and(ended) {
            // What was due while it lasted is recorded under it, even if its own moment was missed.
            self.due(now, id, turn);
            if let Some(entry) = self.entries.get_mut(id) {
                entry.pause = None;
                turn.changes.push(Change::Paused { schedule: id.clone(), at: now, pause: None });
                self.may_be_handed_over(id, turn);
            }
        }
    }
}

/// The last occurrence, from `first` on, whose moment to fire has come by `now`.
fn last_due(instance: &Instance, entry: &Entry, first: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    let timetable = &entry.schedule.timetable;
    let bound = now + TimeDelta::seconds(1);
    // What is held stays for later.
    let bound = if entry.holds(bound) { entry.ownership.since } else { bound };
    let Some(last) = timetable.previous_before(bound) else { return first };
    // Jitter may hold the very last one back; the one before it has had its moment, since jitter never passes the next.
    let last = if last > now || entry.fire_at(instance, last) > now {
        timetable.previous_before(last).unwrap_or(first)
    } else {
        last
    };
    last.max(first)
}

/// First and last of a stretch.
type Ends = (DateTime<Utc>, DateTime<Utc>);

/// Of a stretch, what is ours to start, and what is the server's.
pub(super) fn split(
    timetable: &Timetable,
    ownership: &Ownership,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
) -> (Option<Ends>, Option<Ends>) {
    if !ownership.is_servers(last) || ownership.copy.is_none() {
        return (Some((first, last)), None);
    }
    let ours = timetable.previous_before(ownership.since).filter(|before| *before >= first);
    let theirs = match ours {
        Some(before) => timetable.next_after(before),
        None => Some(first),
    };
    (ours.map(|before| (first, before)), theirs.filter(|theirs| *theirs <= last).map(|theirs| (theirs, last)))
}

/// Occurrences in a row, by the timetable that was in force: `first` and `last` are both occurrences.
pub(super) struct Stretch<'a> {
    pub id: &'a ScheduleId,
    pub workflow_id: &'a WorkflowId,
    pub timetable: &'a Timetable,
    pub first: DateTime<Utc>,
    pub last: DateTime<Utc>,
}

impl<'a> Stretch<'a> {
    fn of(schedule: &'a Schedule, first: DateTime<Utc>, last: DateTime<Utc>) -> Self {
        Self { id: &schedule.id, workflow_id: &schedule.workflow_id, timetable: &schedule.timetable, first, last }
    }
}

/// What the overlap rule says to one more occurrence.
fn admission(entry: &Entry, schedule: &Schedule, trigger: Trigger, backlog: bool, behind_backfill: bool) -> Admission {
    let Some(live) = entry.live_one() else { return Admission::Start };
    let blocked = || Reason::new(ReasonCode::Overlap, format!("{live} is still going"));
    match schedule.policies.overlap {
        Overlap::Allow => Admission::Start,
        _ if behind_backfill => Admission::Wait(blocked()),
        // What `catch_up = "all"` asks for is started one after the other, whatever the overlap rule says to single ones.
        _ if trigger == Trigger::CatchUp && schedule.policies.catch_up == CatchUp::All => Admission::Wait(blocked()),
        _ if backlog && entry.waiting.len() < CATCH_UP_RUNS_MAX => Admission::Wait(blocked()),
        Overlap::BufferOne if entry.waiting.is_empty() => Admission::Wait(blocked()),
        Overlap::CancelRunning => Admission::Wait(blocked()),
        Overlap::BufferOne => Admission::Skip(Reason::new(
            ReasonCode::Overlap,
            format!("{live} is still going, and one occurrence waits already"),
        )),
        Overlap::Skip => Admission::Skip(blocked()),
    }
}

fn late_reason(now: DateTime<Utc>, schedule: &Schedule, last: DateTime<Utc>) -> Reason {
    let late = now - last;
    let why = if late > delta(schedule.policies.catch_up_window) {
        format!("longer than catch_up_window, {}", span(delta(schedule.policies.catch_up_window)))
    } else if schedule.policies.catch_up == CatchUp::None {
        "catch_up = \"none\"".to_owned()
    } else {
        format!("more than the {CATCH_UP_RUNS_MAX} latest")
    };
    Reason::new(ReasonCode::Late, format!("nothing could fire when it was due, {} ago ({why})", span(late)))
}

/// The occurrence that has [`CATCH_UP_RUNS_MAX`] `- 1` others between itself and `last`, or the first one from `first` on.
fn nth_back(timetable: &Timetable, first: DateTime<Utc>, last: DateTime<Utc>) -> DateTime<Utc> {
    let mut at = last;
    for _ in 1..CATCH_UP_RUNS_MAX {
        match timetable.previous_before(at).filter(|previous| *previous >= first) {
            Some(previous) => at = previous,
            None => break,
        }
    }
    at
}
