//! Who fires a schedule: handing it over to Skyvern's own scheduler, and taking it back.
//!
//! The rule that both directions rest on: the server starts no occurrence from before its copy was last changed, by its own
//! clock and word. So once the copy is known to be enabled since an instant, what was due before is ours and what is due from
//! then on is the server's, however late either learns of it. In between, an intent is in the history, and what is due is held.
//!
//! Sends nothing: the mirror does, and tells each step.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    clock::rfc3339,
    engine::{
        Action, Change, Engine, Entry, ON_TIME_SECONDS_MAX, Reason, ReasonCode, Status, Timer, Turn,
        change::{NoteKind, Owner, Ownership, ServerCopy},
        event::{HandoverAnswer, HandoverStep, RequestId},
        flight::{Admission, Stage},
        span,
    },
    ids::{OccurrenceKey, ScheduleId},
    schedule::{CatchUp, Failover, Fires, Overlap, Schedule},
};

/// How much the server's clock may differ from ours.
pub(super) const CLOCK_SKEW_SECONDS_MAX: i64 = 60;
/// An occurrence that comes this soon is waited for: the answer to a request may take a while, and what is due is held.
const NEAR_SECONDS: i64 = 30;
/// After the copy is surely disabled, a run that the server had already begun to make may still appear for so long.
const TAKEN_GRACE_SECONDS: i64 = 60;
/// A request to enable the copy that was done at all was done by then. What was changed later was changed by others, and when
/// the copy was enabled cannot be told.
const GIVEN_WITHIN_MINUTES: i64 = 10;
/// After the server's clock was found to be far behind ours, it is not tried again for so long.
const CLOCKS_DIFFER_MINUTES: i64 = 10;

type Answer = Result<HandoverAnswer, String>;

impl Engine {
    /// One step, and its answer.
    pub(super) fn handover(
        &mut self,
        now: DateTime<Utc>,
        request: RequestId,
        id: &ScheduleId,
        step: HandoverStep,
        turn: &mut Turn,
    ) {
        // What was due a moment ago was due to whoever had the schedule.
        self.run_timers(now, turn);
        let result = match step {
            HandoverStep::Give { copy } => self.give(now, id, copy, turn),
            HandoverStep::Found { copy } => self.found_enabled(now, id, copy, turn),
            HandoverStep::Given { modified_at } => self.given(now, id, modified_at, turn),
            HandoverStep::NotGiven { why } => Ok(self.not_given(now, id, &why, turn)),
            HandoverStep::Take => Ok(self.take(now, id, turn)),
            HandoverStep::Taken => Ok(self.taken(now, id, turn)),
            HandoverStep::Touch => Ok(self.touch(now, id)),
        };
        turn.actions.push(Action::Handover { request, result });
    }

    /// Schedules of which it is not settled who fires them: for the mirror, which settles it.
    #[must_use]
    pub fn unsettled(&self) -> Vec<(ScheduleId, Ownership)> {
        let entries = self.entries.iter().map(|(id, entry)| (id, &entry.ownership));
        // One that was taken and waits for its last look is in nobody's hands but ours.
        let open = entries.filter(|(id, ownership)| match ownership.owner {
            Owner::Local | Owner::Server => false,
            Owner::HandingOver => true,
            Owner::TakingBack => self.entries.get(*id).is_some_and(|entry| entry.taken_at.is_none()),
        });
        let orphans = self.orphans.iter().filter(|(id, _)| !self.orphans_taken.contains_key(*id));
        open.chain(orphans).map(|(id, ownership)| (id.clone(), ownership.clone())).collect()
    }

    /// Schedules that this daemon fires although the server is to, as yet: an enabled copy of one of these is disabled first.
    #[must_use]
    pub fn not_handed_over(&self) -> BTreeSet<ScheduleId> {
        let ours = |entry: &Entry| matches!(entry.ownership.owner, Owner::Local | Owner::TakingBack);
        let wanted = |entry: &Entry| entry.schedule.policies.fires == Fires::Server && ours(entry);
        self.entries.iter().filter(|(_, entry)| wanted(entry)).map(|(id, _)| id.clone()).collect()
    }

    fn give(&mut self, now: DateTime<Utc>, id: &ScheduleId, copy: ServerCopy, turn: &mut Turn) -> Answer {
        let entry = self.entries.get(id).ok_or_else(|| format!("there is no schedule {id}"))?;
        let schedule = &entry.schedule;
        if !schedule.enabled || schedule.policies.fires != Fires::Server {
            return Err(format!("the file does not say that the server fires {id}"));
        }
        if let Some(pause) = &entry.pause {
            return Ok(postponed(pause.until, format!("{id} is paused")));
        }
        match entry.ownership.owner {
            Owner::Local => {}
            Owner::Server => return Ok(HandoverAnswer::Go),
            // Once more, since nothing was heard of the first time.
            Owner::HandingOver if entry.ownership.copy.as_ref() == Some(&copy) => {
                if let Some(entry) = self.entries.get_mut(id) {
                    entry.given_again = true;
                }
                return Ok(HandoverAnswer::Go);
            }
            Owner::HandingOver => {
                return Ok(postponed(None, format!("what came of handing {id} over is not known yet")));
            }
            Owner::TakingBack => return Ok(postponed(None, format!("{id} is being taken back from the server"))),
        }
        if let Some(after) = entry.give_after.filter(|after| *after > now) {
            return Ok(postponed(Some(after), "the server's clock is far behind this one: set the clocks".to_owned()));
        }
        let skew = TimeDelta::seconds(CLOCK_SKEW_SECONDS_MAX);
        // Under a clock that was ahead, it was started already; the server would start it when it comes.
        if let Some(tried) = self.tried_ahead.get(id).and_then(|tried| tried.last()) {
            return Ok(postponed(Some(*tried + skew), format!("{} was started already", rfc3339(*tried))));
        }
        // By a clock that is behind ours, the server may still see it as to come.
        let previous = schedule.timetable.previous_before(now + TimeDelta::milliseconds(1));
        if let Some(previous) = previous.filter(|previous| now - *previous < skew) {
            return Ok(postponed(Some(previous + skew), format!("it was due at {}", rfc3339(previous))));
        }
        if let Some(next) = entry.near(now, TimeDelta::seconds(NEAR_SECONDS)) {
            return Ok(postponed(Some(next + skew), format!("it is due at {}", rfc3339(next))));
        }
        self.make_known(now, id, turn);
        let text = format!("{id}: its schedule at the server, {}, is about to be enabled", copy.id);
        self.own(now, id, Ownership { owner: Owner::HandingOver, since: now, copy: Some(copy) }, text, turn);
        Ok(HandoverAnswer::Go)
    }

    fn given(&mut self, now: DateTime<Utc>, id: &ScheduleId, modified_at: DateTime<Utc>, turn: &mut Turn) -> Answer {
        let entry = self.entries.get(id).ok_or_else(|| format!("there is no schedule {id}"))?;
        let ownership = entry.ownership.clone();
        match ownership.owner {
            Owner::HandingOver => {}
            Owner::Server => return Ok(HandoverAnswer::Go),
            Owner::Local | Owner::TakingBack => return Err(format!("nobody was about to hand {id} over")),
        }
        if modified_at < ownership.since - TimeDelta::seconds(CLOCK_SKEW_SECONDS_MAX) {
            let why = format!(
                "the server's clock is {} behind this one, and it could start what was started here: set the clocks",
                span(ownership.since - modified_at)
            );
            self.take_back(now, id, &why, turn);
            if let Some(entry) = self.entries.get_mut(id) {
                entry.give_after = Some(now + TimeDelta::minutes(CLOCKS_DIFFER_MINUTES));
            }
            return Err(why);
        }
        if modified_at > ownership.since + TimeDelta::minutes(GIVEN_WITHIN_MINUTES) {
            let why = "its schedule at the server was changed since by somebody else".to_owned();
            self.take_back(now, id, &why, turn);
            return Err(why);
        }
        // What is accounted for is ours, whatever the server's clock says.
        let enabled_at = if entry.given_again { ownership.since } else { modified_at };
        let since = enabled_at.max(entry.accounted_through + TimeDelta::milliseconds(1));
        let text = format!("{id}: the server fires it, from {} on", rfc3339(since));
        self.own(now, id, Ownership { owner: Owner::Server, since, ..ownership }, text, turn);
        Ok(HandoverAnswer::Go)
    }

    /// A new schedule, which nobody here has fired: the server goes on.
    fn found_enabled(&mut self, now: DateTime<Utc>, id: &ScheduleId, copy: ServerCopy, turn: &mut Turn) -> Answer {
        let entry = self.entries.get(id).ok_or_else(|| format!("there is no schedule {id}"))?;
        if entry.ownership.owner != Owner::HandingOver || entry.ownership.copy.is_some() {
            return Err(format!("{id} is not new"));
        }
        let since = entry.accounted_through + TimeDelta::milliseconds(1);
        let text = format!("{id}: the server fires it already, by {}, and goes on from {} on", copy.id, rfc3339(since));
        self.own(now, id, Ownership { owner: Owner::Server, since, copy: Some(copy) }, text, turn);
        Ok(HandoverAnswer::Go)
    }

    /// A schedule that is new in the file, and that the server is to fire: it may do so already, so nothing is started here
    /// before the mirror has looked.
    pub(super) fn hold_new(&mut self, now: DateTime<Utc>, id: &ScheduleId, turn: &mut Turn) {
        let Some(entry) = self.entries.get(id) else { return };
        let policies = &entry.schedule.policies;
        if !self.options.mirrors || !entry.schedule.enabled || policies.fires != Fires::Server {
            return;
        }
        let since = entry.accounted_through + TimeDelta::milliseconds(1);
        let text = format!("{id}: whether the server fires it already is looked at");
        self.own(now, id, Ownership { owner: Owner::HandingOver, since, copy: None }, text, turn);
        turn.actions.push(Action::Mirror);
    }

    fn not_given(&mut self, now: DateTime<Utc>, id: &ScheduleId, why: &str, turn: &mut Turn) -> HandoverAnswer {
        if self.entries.get(id).is_some_and(|entry| entry.ownership.owner == Owner::HandingOver) {
            let text = format!("{id}: it was not handed over ({why}), and this daemon goes on to fire it");
            self.own(now, id, Ownership::local(now), text, turn);
        }
        HandoverAnswer::Go
    }

    fn take(&mut self, now: DateTime<Utc>, id: &ScheduleId, turn: &mut Turn) -> HandoverAnswer {
        let Some(entry) = self.entries.get(id) else { return HandoverAnswer::Go };
        if entry.ownership.owner == Owner::Server && entry.schedule.enabled {
            if let Some(until) = self.unstarted_until(now, id) {
                return postponed(Some(until), "the server is about to start an occurrence".to_owned());
            }
            let near = TimeDelta::seconds(NEAR_SECONDS + CLOCK_SKEW_SECONDS_MAX);
            if let Some(next) = entry.near(now, near) {
                return postponed(
                    Some(next + TimeDelta::seconds(NEAR_SECONDS)),
                    format!("it is due at {}", rfc3339(next)),
                );
            }
        }
        self.take_back(now, id, "its schedule at the server is about to be disabled", turn);
        HandoverAnswer::Go
    }

    fn touch(&self, now: DateTime<Utc>, id: &ScheduleId) -> HandoverAnswer {
        let Some(entry) = self.entries.get(id).filter(|entry| entry.ownership.owner == Owner::Server) else {
            return HandoverAnswer::Go;
        };
        if let Some(until) = self.unstarted_until(now, id) {
            return postponed(Some(until), "the server has not started what was due, and would forget it".to_owned());
        }
        let near = TimeDelta::seconds(NEAR_SECONDS + CLOCK_SKEW_SECONDS_MAX);
        match entry.near(now, near) {
            Some(next) => {
                postponed(Some(next + TimeDelta::seconds(NEAR_SECONDS)), format!("it is due at {}", rfc3339(next)))
            }
            None => HandoverAnswer::Go,
        }
    }

    /// An occurrence that the server still has time to start: when that time is over.
    fn unstarted_until(&self, now: DateTime<Utc>, id: &ScheduleId) -> Option<DateTime<Utc>> {
        let grace = self.entries.get(id).map(Entry::server_grace)?;
        let unstarted = self.watched_of(id).map(|key| key.scheduled_for + grace).filter(|until| *until > now);
        unstarted.max()
    }

    /// The intent to take a schedule back: what is due from here on is held, until it is known what the server started.
    pub(super) fn take_back(&mut self, now: DateTime<Utc>, id: &ScheduleId, why: &str, turn: &mut Turn) {
        let Some(entry) = self.entries.get(id) else { return };
        let ownership = entry.ownership.clone();
        if !matches!(ownership.owner, Owner::Server | Owner::HandingOver) {
            return;
        }
        let text = format!("{id}: it is taken back from the server: {why}");
        self.own(now, id, Ownership { owner: Owner::TakingBack, ..ownership }, text, turn);
        turn.actions.push(Action::Mirror);
    }

    fn taken(&mut self, now: DateTime<Utc>, id: &ScheduleId, turn: &mut Turn) -> HandoverAnswer {
        if self.orphans.contains_key(id) {
            self.orphans_taken.insert(id.clone(), now);
            self.forget_orphans(now, turn);
            return HandoverAnswer::Go;
        }
        let Some(entry) = self.entries.get_mut(id) else { return HandoverAnswer::Go };
        // Where nothing fires, what the server did not start cannot be fired either: the next daemon finishes this.
        if !self.options.fires && entry.ownership.owner == Owner::TakingBack && entry.settling_from_before == 0 {
            let due = entry.schedule.timetable.next_after(entry.accounted_through);
            if due.is_none_or(|due| due > now + TimeDelta::seconds(CLOCK_SKEW_SECONDS_MAX)) {
                let text = format!("{id}: the server does not fire it any more");
                self.own(now, id, Ownership::local(now), text, turn);
            }
            return HandoverAnswer::Go;
        }
        if entry.ownership.owner != Owner::TakingBack || !self.options.fires {
            return HandoverAnswer::Go;
        }
        entry.taken_at = Some(now);
        let grace = TimeDelta::seconds(TAKEN_GRACE_SECONDS);
        let near = entry.near(now, TimeDelta::seconds(CLOCK_SKEW_SECONDS_MAX)).is_some();
        if !near && entry.settling_from_before == 0 && self.watched_of(id).next().is_none() {
            self.give_back(now, id, turn);
        } else {
            self.timers.insert((now + grace, Timer::Taken(id.clone())));
        }
        HandoverAnswer::Go
    }

    /// A schedule that is gone, disabled at the server, and of which nothing is looked for any more, is nobody's.
    pub(super) fn forget_orphans(&mut self, now: DateTime<Utc>, turn: &mut Turn) {
        let done = |id: &&ScheduleId| self.watched_of(id).next().is_none();
        for id in self.orphans_taken.keys().filter(done).cloned().collect::<Vec<_>>() {
            self.orphans_taken.remove(&id);
            if self.orphans.remove(&id).is_some() {
                let ownership = Ownership::local(now);
                turn.changes.push(Change::OwnerChanged { schedule: id, at: now, ownership });
            }
        }
    }

    /// The time in which a run could still appear is over.
    pub(super) fn taken_settles(&mut self, now: DateTime<Utc>, id: &ScheduleId, turn: &mut Turn) {
        // What came meanwhile is looked for too.
        self.due(now, id, turn);
        let Some(entry) = self.entries.get(id).filter(|entry| entry.ownership.owner == Owner::TakingBack) else {
            return;
        };
        let Some(proof_from) = entry.proof_from() else { return };
        if proof_from > now {
            self.timers.insert((proof_from, Timer::Taken(id.clone())));
            return;
        }
        let watched: Vec<OccurrenceKey> = self.watched_of(id).cloned().collect();
        if watched.is_empty() {
            self.give_back(now, id, turn);
        }
        for key in watched {
            self.want_look(&key, now);
        }
    }

    /// The schedule is ours again, and what the server was looked for in vain is started here, by the rules for what passed
    /// while nothing could fire.
    pub(super) fn give_back(&mut self, now: DateTime<Utc>, id: &ScheduleId, turn: &mut Turn) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let schedule = std::sync::Arc::clone(&entry.schedule);
        entry.taken_at = None;
        let text = format!("{id}: this daemon fires it again");
        self.own(now, id, Ownership::local(now), text, turn);
        let held: Vec<OccurrenceKey> = self.watched_of(id).cloned().collect();
        self.fire_held(now, &schedule, held, turn);
        self.may_be_handed_over(id, turn);
    }

    /// The mirror may hand it over to the server, if the file says so.
    pub(super) fn may_be_handed_over(&mut self, id: &ScheduleId, turn: &mut Turn) {
        if self.entries.get(id).is_some_and(|entry| entry.schedule.policies.fires == Fires::Server) {
            turn.actions.push(Action::Mirror);
        }
    }

    /// Occurrences, oldest first, that the server surely did not start and will not.
    fn fire_held(&mut self, now: DateTime<Utc>, schedule: &Schedule, held: Vec<OccurrenceKey>, turn: &mut Turn) {
        let pause = self.entries.get(&schedule.id).and_then(|entry| entry.pause.clone());
        let on_time = TimeDelta::seconds(ON_TIME_SECONDS_MAX + TAKEN_GRACE_SECONDS);
        let policies = &schedule.policies;
        let policy = match policies.catch_up {
            // That is what it is for.
            CatchUp::None if policies.failover == Failover::Local => CatchUp::Latest,
            policy => policy,
        };
        let newest = held.last().cloned();
        for key in held {
            self.unwatch(&key);
            let Some(flight) = self.flights.get(&key) else { continue };
            let late = now - key.scheduled_for;
            let ended = if flight.schedule.is_none() || !schedule.enabled {
                let detail =
                    "the server did not start it, and the schedule was changed, disabled or removed in the file";
                Some((Status::Skipped, Reason::new(ReasonCode::Superseded, detail)))
            } else if let Some(pause) = pause.as_ref().filter(|pause| key.scheduled_for >= pause.since) {
                let detail = format!("paused since {}", rfc3339(pause.since));
                Some((Status::Skipped, Reason::new(ReasonCode::Paused, detail)))
            } else if now > flight.start_by || (policy == CatchUp::None && late >= on_time) {
                let detail = format!(
                    "the server did not start it, and it is too late to start it here, {} after it was due",
                    span(late)
                );
                Some((Status::Missed, Reason::new(ReasonCode::NotFired, detail)))
            } else if policy != CatchUp::All && newest.as_ref() != Some(&key) {
                let detail = "the server did not start it, and a later one is started in its place".to_owned();
                Some((Status::Missed, Reason::new(ReasonCode::CaughtUp, detail)))
            } else {
                None
            };
            match ended {
                Some((status, reason)) => drop(self.end(now, &key, status, Some(reason), turn)),
                None => self.fire_here(now, &key, late, turn),
            }
        }
    }

    /// An occurrence that was the server's starts here, if the overlap rule lets it.
    fn fire_here(&mut self, now: DateTime<Utc>, key: &OccurrenceKey, late: TimeDelta, turn: &mut Turn) {
        let Some(entry) = self.entries.get(&key.schedule) else { return };
        let grace = entry.server_grace();
        let failover = entry.schedule.policies.failover == Failover::Local && late >= grace;
        let reason = if failover {
            let detail =
                format!("the server had not started it {} after it was due, and this daemon does", span(grace));
            Reason::new(ReasonCode::Failover, detail)
        } else {
            let detail = "the schedule was taken back from the server before that had started it".to_owned();
            Reason::new(ReasonCode::HandedOver, detail)
        };
        let admission = match (entry.live_one(), entry.schedule.policies.overlap) {
            (None, _) | (_, Overlap::Allow) => Admission::Start,
            (Some(live), Overlap::Skip) if entry.schedule.policies.catch_up != CatchUp::All => {
                Admission::Skip(Reason::new(ReasonCode::Overlap, format!("{live} is still going")))
            }
            (Some(live), _) => Admission::Wait(Reason::new(ReasonCode::Overlap, format!("{live} is still going"))),
        };
        if entry.schedule.policies.overlap == Overlap::CancelRunning && matches!(admission, Admission::Wait(_)) {
            self.make_room(now, key, turn);
        }
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.stage = Stage::Waiting;
        flight.warning = Some(reason.clone());
        let told = match &admission {
            Admission::Wait(waits) => waits.clone(),
            _ => reason,
        };
        if let Admission::Skip(reason) = admission {
            self.end(now, key, Status::Skipped, Some(reason), turn);
            return;
        }
        turn.changes.push(Change::StatusChanged {
            key: key.clone(),
            status: Status::Pending,
            reason: Some(told),
            at: now,
        });
        match self.entries.get_mut(&key.schedule) {
            Some(entry) if matches!(admission, Admission::Wait(_)) && !entry.live.is_empty() => {
                entry.waiting.push_back(key.clone());
            }
            _ => self.make_ready(now, key),
        }
    }

    /// Writes down who fires a schedule, and goes on accordingly.
    fn own(&mut self, now: DateTime<Utc>, id: &ScheduleId, ownership: Ownership, text: String, turn: &mut Turn) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.ownership = ownership.clone();
        entry.given_again = false;
        if ownership.owner == Owner::Local {
            self.watch.late.remove(id);
        }
        turn.changes.push(Change::OwnerChanged { schedule: id.clone(), at: now, ownership });
        turn.changes.push(Change::Noted { at: now, kind: NoteKind::Handover, text });
        self.arm(id);
    }
}

impl Entry {
    /// The next occurrence, if it comes this soon.
    fn near(&self, now: DateTime<Utc>, within: TimeDelta) -> Option<DateTime<Utc>> {
        self.schedule.timetable.next_after(now).filter(|next| *next - now < within)
    }

    pub(super) fn server_grace(&self) -> TimeDelta {
        crate::clock::delta(self.schedule.policies.server_grace)
    }

    /// From this instant on, a look that finds nothing proves that the server started nothing.
    pub(super) fn proof_from(&self) -> Option<DateTime<Utc>> {
        self.taken_at.map(proof_after)
    }
}

/// After the copy was surely disabled at `taken_at`: from when on a look that finds nothing is proof.
pub(super) fn proof_after(taken_at: DateTime<Utc>) -> DateTime<Utc> {
    taken_at + TimeDelta::seconds(TAKEN_GRACE_SECONDS)
}

fn postponed(until: Option<DateTime<Utc>>, why: String) -> HandoverAnswer {
    HandoverAnswer::Postponed { until, why }
}
