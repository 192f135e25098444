//! Watching what Skyvern's own scheduler starts: which run belongs to which occurrence, and which occurrence has none.
//!
//! One look serves all schedules of a workflow. A run belongs to the occurrence that its id is made from, where the server makes
//! ids so; else to the latest one, at or before its making, that has no run yet: the server makes up the newest missed
//! occurrence only. That one was not started is only concluded from a look that began after it had its time. Does not look.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    clock::rfc3339,
    engine::{
        Action, Change, Engine, Reason, ReasonCode, RunReport, Status, Timer, Trigger, Turn,
        change::{NewOccurrence, Owner, ServerCopy},
        event::{Look, ServerRun, ServerRuns},
        flight::{Flight, Stage, start_by},
        handover::proof_after,
        span,
    },
    ids::{OccurrenceKey, RunId, ScheduleId, WorkflowId},
    schedule::{Failover, Schedule, Timetable},
};

/// Of the occurrences of a schedule that passed unwatched, so many are looked for; older ones are `unknown`.
pub(super) const WATCHED_MAX: usize = 500;
/// Looks that are without an answer at one time.
const LOOKS_IN_FLIGHT_MAX: usize = 4;
/// With many workflows to look at, each is looked at more rarely: all together this many times a second.
const LOOKS_PER_SECOND_MAX: i64 = 10;
/// The first look after an occurrence is due, and the wait between two looks: a tenth of the time that passed, within bounds.
const FIRST_LOOK_SECONDS: i64 = 3;
const LOOK_AGAIN_SECONDS: i64 = 10;
const LOOK_AGAIN_SECONDS_MAX: i64 = 60;
/// One that is `missed` may still be started by the server, which makes up the newest one without a limit of age.
const LOOK_FOR_MISSED_SECONDS: i64 = 300;
/// Looks go back further than the occurrence: the server reads a local time that a clock change skips as up to an hour earlier.
const LOOK_BACK_MINUTES: i64 = 65;
/// While the server cannot be looked at, it is not known what it started; after so long that is the last word.
const GIVE_UP_HOURS: i64 = 24;
/// Runs that are remembered as taken, so that no other occurrence claims them.
const CLAIMED_MAX: usize = 4096;

/// What is watched of the server.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Open occurrences that the server is to start, by the workflow of its schedule.
    watched: BTreeMap<WorkflowId, BTreeSet<OccurrenceKey>>,
    /// All of these.
    keys: BTreeSet<OccurrenceKey>,
    /// The newest occurrence of each schedule that is `missed` and may yet be started.
    pub(super) late: BTreeMap<ScheduleId, (OccurrenceKey, ServerCopy)>,
    looks: BTreeMap<WorkflowId, Looking>,
    /// Looks without an answer.
    pub(super) in_flight: usize,
    /// Workflows whose look is due and waits for a place.
    queue: BTreeSet<WorkflowId>,
    /// In the order in which they were taken.
    claimed: std::collections::VecDeque<RunId>,
}

/// How far the looks at one workflow are.
#[derive(Debug, Default)]
struct Looking {
    /// When the look that is out was asked for: it shows everything from before.
    asked_at: Option<DateTime<Utc>>,
    next_at: Option<DateTime<Utc>>,
    failures: u32,
}

impl Engine {
    /// Opens rows for occurrences that the server starts: those of `timetable` from `first` to `last`.
    pub(super) fn watch(
        &mut self,
        now: DateTime<Utc>,
        (id, workflow_id, timetable): (&ScheduleId, &WorkflowId, &Timetable),
        schedule: Option<&Arc<Schedule>>,
        copy: &ServerCopy,
        (first, last): (DateTime<Utc>, DateTime<Utc>),
        turn: &mut Turn,
    ) {
        let mut from = last;
        for _ in 1..WATCHED_MAX {
            match timetable.previous_before(from).filter(|previous| *previous >= first) {
                Some(previous) => from = previous,
                None => break,
            }
        }
        if let Some(before) = timetable.previous_before(from).filter(|before| *before >= first) {
            let reason = Reason::new(
                ReasonCode::Limit,
                format!(
                    "they were the server's to start, and only the {WATCHED_MAX} latest are looked for: see its runs"
                ),
            );
            let stretch = super::due::Stretch { id, workflow_id, timetable, first, last: before };
            self.record_stretch(now, &stretch, Status::Unknown, &reason, turn);
        }
        self.watch.late.remove(id);
        let mut next = Some(from);
        while let Some(scheduled_for) = next.filter(|at| *at <= last) {
            let key = self.key(id, scheduled_for, String::new());
            turn.changes.push(Change::Occurred(Box::new(NewOccurrence {
                key: key.clone(),
                workflow_id: copy.workflow_id.clone(),
                trigger: Trigger::Server,
                status: Status::Pending,
                reason: None,
                at: now,
                count: 1,
                through: None,
                parameters: None,
            })));
            self.watch_one(now, key, schedule.cloned(), copy);
            next = timetable.next_after(scheduled_for);
        }
    }

    /// Watches one whose row is there.
    pub(super) fn watch_one(
        &mut self,
        now: DateTime<Utc>,
        key: OccurrenceKey,
        schedule: Option<Arc<Schedule>>,
        copy: &ServerCopy,
    ) {
        let until = schedule.as_ref().map_or(now, |schedule| start_by(Trigger::CatchUp, schedule, key.scheduled_for));
        let flight = Flight {
            schedule,
            workflow_id: copy.workflow_id.clone(),
            trigger: Trigger::Server,
            stage: Stage::Watching { copy: copy.clone() },
            attempt: 0,
            first_attempt_at: None,
            last_attempt_at: None,
            start_by: until,
            parameters: None,
            cancel: None,
            ready_rank: None,
            warning: None,
            timer: None,
        };
        self.flights.insert(key.clone(), flight);
        self.watch.keys.insert(key.clone());
        self.watch.watched.entry(copy.workflow_id.clone()).or_default().insert(key.clone());
        let first = now.max(key.scheduled_for) + TimeDelta::seconds(FIRST_LOOK_SECONDS);
        self.want_look(&key, first);
    }

    /// Goes on watching for one that an earlier process gave up as `missed`.
    pub(super) fn watch_late(&mut self, now: DateTime<Utc>, key: OccurrenceKey, copy: ServerCopy) {
        let workflow_id = copy.workflow_id.clone();
        self.watch.late.insert(key.schedule.clone(), (key, copy));
        self.look_at(&workflow_id, now + TimeDelta::seconds(FIRST_LOOK_SECONDS));
    }

    /// The occurrences of a schedule that the server is to start and has not, oldest first.
    pub(super) fn watched_of(&self, id: &ScheduleId) -> impl Iterator<Item = &OccurrenceKey> {
        let from = self.key(id, DateTime::<Utc>::MIN_UTC, String::new());
        self.watch.keys.range(from..).take_while(move |key| key.schedule == *id)
    }

    pub(super) fn unwatch(&mut self, key: &OccurrenceKey) {
        self.watch.keys.remove(key);
        let Some(flight) = self.flights.get(key) else { return };
        if let Some(watched) = self.watch.watched.get_mut(&flight.workflow_id) {
            watched.remove(key);
            if watched.is_empty() {
                self.watch.watched.remove(&flight.workflow_id);
            }
        }
    }

    /// The clock was set: what was to be looked at is looked at now.
    pub(super) fn look_at_everything(&mut self, now: DateTime<Utc>) {
        let late = self.watch.late.values().map(|(_, copy)| copy.workflow_id.clone());
        let all: BTreeSet<WorkflowId> = self.watch.watched.keys().cloned().chain(late).collect();
        for workflow_id in all {
            if let Some(looking) = self.watch.looks.get_mut(&workflow_id)
                && let Some(at) = looking.next_at.take()
            {
                self.timers.remove(&(at, Timer::Look(workflow_id.clone())));
            }
            self.look_at(&workflow_id, now + TimeDelta::seconds(FIRST_LOOK_SECONDS));
        }
    }

    pub(super) fn want_look(&mut self, key: &OccurrenceKey, at: DateTime<Utc>) {
        if let Some(workflow_id) = self.flights.get(key).map(|flight| flight.workflow_id.clone()) {
            self.look_at(&workflow_id, at);
        }
    }

    /// Plans a look at this instant, unless one comes sooner or is out.
    fn look_at(&mut self, workflow_id: &WorkflowId, at: DateTime<Utc>) {
        let looking = self.watch.looks.entry(workflow_id.clone()).or_default();
        if looking.asked_at.is_some() || looking.next_at.is_some_and(|next| next <= at) {
            return;
        }
        if let Some(next) = looking.next_at.replace(at) {
            self.timers.remove(&(next, Timer::Look(workflow_id.clone())));
        }
        self.timers.insert((at, Timer::Look(workflow_id.clone())));
    }

    /// The moment of a look has come.
    pub(super) fn look_due(&mut self, now: DateTime<Utc>, workflow_id: &WorkflowId, turn: &mut Turn) {
        if let Some(looking) = self.watch.looks.get_mut(workflow_id) {
            looking.next_at = None;
            self.watch.queue.insert(workflow_id.clone());
        }
        self.look(now, turn);
    }

    /// Gives places to the looks that are due.
    fn look(&mut self, now: DateTime<Utc>, turn: &mut Turn) {
        while self.watch.in_flight < LOOKS_IN_FLIGHT_MAX && !self.stopping {
            let Some(workflow_id) = self.watch.queue.pop_first() else { break };
            let Some(look) = self.look_for(&workflow_id) else {
                self.watch.looks.remove(&workflow_id);
                continue;
            };
            let Some(looking) = self.watch.looks.get_mut(&workflow_id).filter(|looking| looking.asked_at.is_none())
            else {
                continue;
            };
            looking.asked_at = Some(now);
            self.watch.in_flight += 1;
            turn.actions.push(Action::Look(Box::new(look)));
        }
    }

    /// Everything of a workflow that waits for a run; `None`: nothing does.
    fn look_for(&self, workflow_id: &WorkflowId) -> Option<Look> {
        let mut expected: BTreeMap<(_, _), Vec<DateTime<Utc>>> = BTreeMap::new();
        for (key, copy) in self.wanted(workflow_id) {
            expected.entry((copy.id, key.schedule)).or_default().push(key.scheduled_for);
        }
        let oldest = expected.values().flatten().min().copied()?;
        Some(Look {
            workflow_id: workflow_id.clone(),
            since: oldest - TimeDelta::minutes(LOOK_BACK_MINUTES),
            expected: expected.into_iter().map(|((copy, id), at)| (copy, id, at)).collect(),
        })
    }

    fn wanted(&self, workflow_id: &WorkflowId) -> Vec<(OccurrenceKey, ServerCopy)> {
        let copy_of = |key: &OccurrenceKey| match &self.flights.get(key)?.stage {
            Stage::Watching { copy } => Some((key.clone(), copy.clone())),
            _ => None,
        };
        let open = self.watch.watched.get(workflow_id).into_iter().flatten().filter_map(copy_of);
        let late = self.watch.late.values().filter(|(_, copy)| copy.workflow_id == *workflow_id);
        open.chain(late.cloned()).collect()
    }

    /// A look was answered.
    pub(super) fn looked(
        &mut self,
        now: DateTime<Utc>,
        workflow_id: &WorkflowId,
        seen: Result<ServerRuns, String>,
        turn: &mut Turn,
    ) {
        let Some(looking) = self.watch.looks.get_mut(workflow_id) else { return };
        let Some(asked_at) = looking.asked_at.take() else { return };
        self.watch.in_flight = self.watch.in_flight.saturating_sub(1);
        match seen {
            Ok(seen) => {
                looking.failures = 0;
                self.claim(now, workflow_id, seen.runs, turn);
                self.judge(now, workflow_id, asked_at, seen.complete_since, turn);
            }
            Err(why) => {
                looking.failures = looking.failures.saturating_add(1);
                self.give_up_looking(now, workflow_id, &why, turn);
            }
        }
        self.plan_look(now, workflow_id);
        self.look(now, turn);
    }

    /// Gives the runs that nobody has to the occurrences that have none.
    fn claim(&mut self, now: DateTime<Utc>, workflow_id: &WorkflowId, mut runs: Vec<ServerRun>, turn: &mut Turn) {
        let running: BTreeSet<&RunId> = self
            .flights
            .values()
            .filter_map(|flight| match &flight.stage {
                Stage::Running { run_id } => Some(run_id),
                _ => None,
            })
            .collect();
        runs.retain(|run| !running.contains(&run.run_id) && !self.watch.claimed.contains(&run.run_id));
        runs.sort_by(|a, b| (a.created_at, &a.run_id).cmp(&(b.created_at, &b.run_id)));
        let mut wanted: BTreeMap<OccurrenceKey, ServerCopy> = self.wanted(workflow_id).into_iter().collect();
        let mut claims: Vec<(OccurrenceKey, ServerRun)> = Vec::new();
        runs.retain(|run| {
            let named = run.of.as_ref().map(|(schedule, at)| self.key(schedule, *at, String::new()));
            match named.filter(|key| wanted.remove(key).is_some()) {
                Some(key) => {
                    claims.push((key, run.clone()));
                    false
                }
                None => true,
            }
        });
        for run in runs {
            let fits = |key: &OccurrenceKey, copy: &ServerCopy| {
                run.copy.as_ref() == Some(&copy.id) && key.scheduled_for <= run.created_at
            };
            let latest = wanted
                .iter()
                .filter(|(key, copy)| fits(key, copy))
                .map(|(key, _)| key)
                .max_by_key(|key| key.scheduled_for);
            if let Some(key) = latest.cloned() {
                wanted.remove(&key);
                claims.push((key, run));
            }
        }
        claims.sort_by(|a, b| a.0.scheduled_for.cmp(&b.0.scheduled_for).then_with(|| a.0.cmp(&b.0)));
        for (key, run) in claims {
            self.found(now, &key, run, turn);
        }
    }

    /// The server started it.
    fn found(&mut self, now: DateTime<Utc>, key: &OccurrenceKey, run: ServerRun, turn: &mut Turn) {
        if self.watch.claimed.len() >= CLAIMED_MAX {
            self.watch.claimed.pop_front();
        }
        self.watch.claimed.push_back(run.run_id.clone());
        if let Some((_, copy)) = self.watch.late.get(&key.schedule).filter(|(late, _)| late == key).cloned() {
            self.watch.late.remove(&key.schedule);
            let schedule = self.entries.get(&key.schedule).map(|entry| Arc::clone(&entry.schedule));
            self.watch_one(now, key.clone(), schedule, &copy);
        }
        self.unwatch(key);
        if let Some(entry) = self.entries.get_mut(&key.schedule) {
            entry.live.insert(key.clone());
        }
        if let Some(flight) = self.flights.get_mut(key) {
            flight.first_attempt_at = Some(run.created_at.min(now));
            let late = run.created_at - key.scheduled_for;
            let grace =
                flight.schedule.as_ref().map_or(TimeDelta::MAX, |s| crate::clock::delta(s.policies.server_grace));
            if late > grace {
                let detail = format!("the server started it {} after it was due", span(late));
                flight.warning = Some(Reason::new(ReasonCode::Late, detail));
            }
        }
        let report = RunReport {
            created_at: Some(run.created_at),
            retry_pending: run.retry_pending,
            ..RunReport::bare(run.run_id, run.status)
        };
        self.started(now, key, Box::new(report), turn);
    }

    /// What follows for those that have no run, from a look that was asked for at `asked_at`.
    fn judge(
        &mut self,
        now: DateTime<Utc>,
        workflow_id: &WorkflowId,
        asked_at: DateTime<Utc>,
        complete_since: Option<DateTime<Utc>>,
        turn: &mut Turn,
    ) {
        let waiting: Vec<OccurrenceKey> = self.watch.watched.get(workflow_id).into_iter().flatten().cloned().collect();
        let mut taken: BTreeSet<ScheduleId> = BTreeSet::new();
        for key in waiting {
            let unseen = complete_since.is_some_and(|since| since > key.scheduled_for);
            let entry = self.entries.get(&key.schedule);
            let proof_from = match entry {
                Some(entry) => match entry.ownership.owner {
                    Owner::TakingBack => entry.proof_from(),
                    _ => Some(key.scheduled_for + entry.server_grace()),
                },
                None if self.orphans.contains_key(&key.schedule) && self.options.mirrors => {
                    self.orphans_taken.get(&key.schedule).map(|at| proof_after(*at).max(key.scheduled_for))
                }
                None => Some(key.scheduled_for + TimeDelta::seconds(LOOK_FOR_MISSED_SECONDS)),
            };
            if proof_from.is_none_or(|from| asked_at < from) {
                continue;
            }
            let late = now - key.scheduled_for;
            match entry {
                _ if unseen => {
                    let detail =
                        "the server lists more runs than are looked through: see its runs of that time".to_owned();
                    self.unwatch(&key);
                    self.end(now, &key, Status::Unknown, Some(Reason::new(ReasonCode::Limit, detail)), turn);
                }
                None => {
                    let detail = "the server did not start it, and the schedule was removed from the file".to_owned();
                    self.unwatch(&key);
                    self.end(now, &key, Status::Skipped, Some(Reason::new(ReasonCode::Superseded, detail)), turn);
                }
                Some(entry) if entry.ownership.owner == Owner::TakingBack => {
                    taken.insert(key.schedule.clone());
                }
                Some(entry)
                    if entry.ownership.owner == Owner::Server
                        && entry.schedule.policies.failover == Failover::Local
                        && self.options.mirrors =>
                {
                    let why = format!("it did not start {} within {}", key.scheduled_for.format("%H:%MZ"), span(late));
                    let id = key.schedule.clone();
                    self.take_back(now, &id, &why, turn);
                }
                Some(entry) => {
                    let copy = entry.ownership.copy.clone();
                    let detail = format!("the server had not started it {} after it was due", span(late));
                    self.unwatch(&key);
                    self.end(now, &key, Status::Missed, Some(Reason::new(ReasonCode::NotFired, detail)), turn);
                    let newest = self
                        .watch
                        .late
                        .get(&key.schedule)
                        .is_none_or(|(other, _)| other.scheduled_for < key.scheduled_for);
                    let later =
                        self.entries.get(&key.schedule).is_some_and(|e| e.accounted_through > key.scheduled_for);
                    if let Some(copy) = copy.filter(|_| newest && !later) {
                        self.watch.late.insert(key.schedule.clone(), (key, copy));
                    }
                }
            }
        }
        for id in taken {
            self.give_back(now, &id, turn);
        }
        self.forget_orphans(now, turn);
    }

    /// For so long that it will not be known any more.
    fn give_up_looking(&mut self, now: DateTime<Utc>, workflow_id: &WorkflowId, why: &str, turn: &mut Turn) {
        let old: Vec<OccurrenceKey> = self
            .watch
            .watched
            .get(workflow_id)
            .into_iter()
            .flatten()
            .filter(|key| now - key.scheduled_for > TimeDelta::hours(GIVE_UP_HOURS))
            // What is being taken back is held until it is known.
            .filter(|key| {
                self.entries.get(&key.schedule).is_none_or(|entry| entry.ownership.owner != Owner::TakingBack)
            })
            .cloned()
            .collect();
        for key in old {
            let detail = format!(
                "whether the server started it is not known: it could not be asked for {GIVE_UP_HOURS} h ({why}); due {}",
                rfc3339(key.scheduled_for)
            );
            self.unwatch(&key);
            self.end(now, &key, Status::Unknown, Some(Reason::new(ReasonCode::NoAnswer, detail)), turn);
        }
    }

    /// The next look at a workflow, if anything of it is still waited for.
    fn plan_look(&mut self, now: DateTime<Utc>, workflow_id: &WorkflowId) {
        let soon = now + TimeDelta::seconds(1);
        let open = self.watch.watched.get(workflow_id).into_iter().flatten().map(|key| {
            let again =
                ((now - key.scheduled_for).num_seconds() / 10).clamp(LOOK_AGAIN_SECONDS, LOOK_AGAIN_SECONDS_MAX);
            // One that was opened under a clock that was ahead has not come yet.
            let again =
                (now + TimeDelta::seconds(again)).max(key.scheduled_for + TimeDelta::seconds(FIRST_LOOK_SECONDS));
            let entry = self.entries.get(&key.schedule);
            let proof = entry.and_then(|entry| match entry.ownership.owner {
                Owner::TakingBack => entry.proof_from(),
                _ => Some(key.scheduled_for + entry.server_grace()),
            });
            proof.filter(|proof| *proof > now).map_or(again, |proof| again.min(proof.max(soon)))
        });
        let late = self
            .watch
            .late
            .values()
            .filter(|(_, copy)| copy.workflow_id == *workflow_id)
            .map(|_| now + TimeDelta::seconds(LOOK_FOR_MISSED_SECONDS));
        let Some(next) = open.chain(late).min() else {
            self.watch.looks.remove(workflow_id);
            return;
        };
        let failures = self.watch.looks.get(workflow_id).map_or(0, |looking| looking.failures);
        let backoff = if failures == 0 { 0 } else { (1_i64 << failures.min(6)).min(LOOK_AGAIN_SECONDS_MAX) };
        let crowd = i64::try_from(self.watch.looks.len()).unwrap_or(i64::MAX / 1000) * 1000 / LOOKS_PER_SECOND_MAX;
        let next = next.max(now + TimeDelta::seconds(backoff)).max(now + TimeDelta::milliseconds(crowd));
        self.look_at(workflow_id, next);
    }
}
