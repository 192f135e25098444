//! The server's own scheduler, and the mirror between it and the process: who enables and disables the server's copies, as the
//! daemon does it, over requests that get lost, arrive late, or are answered to nobody.

use skycron::{
    engine::{
        Change, Status, Trigger,
        change::{Owner, ServerCopy},
        event::{HandoverAnswer, HandoverStep, Look, ServerRun, ServerRuns},
    },
    ids::{ServerScheduleId, WorkflowId},
    schedule::Fires,
};

use super::*;

/// How often the server looks for what is due.
const SERVER_POLL_MS: i64 = MINUTE;
/// How often the mirror makes a round by itself.
const ROUND_MS: i64 = 5 * MINUTE;

/// One of the server's schedules.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub(super) name: ServerCopy,
    pub(super) timetable: skycron::schedule::Timetable,
    pub(super) enabled: bool,
    /// By the server's clock.
    pub(super) modified_at: DateTime<Utc>,
}

/// A step of the mirror's work on one schedule.
#[derive(Debug, Clone)]
pub(super) enum MirrorStep {
    /// A round begins.
    Round,
    /// The time of the next round has come, unless there was one meanwhile.
    Timer(u64),
    /// The next schedule of the round.
    Next,
    /// A request to enable or disable the copy was answered, or not.
    Answered { id: ScheduleId, enable: bool, modified_at: Option<DateTime<Utc>>, refused: bool },
}

/// The mirror of one process.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    busy: bool,
    again: bool,
    todo: Vec<ScheduleId>,
    /// What was asked of the engine last.
    asked: Option<(RequestId, ScheduleId, HandoverStep)>,
    /// Until then, a request of which nothing was heard may still arrive; also one of a process before this one.
    doubt_until: BTreeMap<ScheduleId, Millis>,
    born: Millis,
    rounds: u64,
    /// Something asks for the next round by then.
    next_at: Millis,
}

impl Mirror {
    pub(super) fn new(born: Millis) -> Self {
        Self { born, ..Self::default() }
    }
}

impl World {
    /// The server looks for what is due, and starts the newest of each.
    pub(super) fn server_polls(&mut self) -> Verdict {
        self.at(self.t + SERVER_POLL_MS, Item::ServerPoll);
        // Busy with a run of another schedule, or away.
        if self.api.is_down(self.t) || (!self.calm && self.dice.chance(self.profile.server_misses)) {
            return Ok(());
        }
        let clock = instant(self.t) + TimeDelta::milliseconds(self.api.skew_ms);
        let copies: Vec<(ScheduleId, Copy)> =
            self.copies.iter().filter(|(_, copy)| copy.enabled).map(|(id, copy)| (id.clone(), copy.clone())).collect();
        for (id, copy) in copies {
            let Some(due) = copy.timetable.previous_before(clock + TimeDelta::milliseconds(1)) else { continue };
            if due < copy.modified_at || self.api.fired_since(&copy.name.id, due) {
                continue;
            }
            // It read the list; what happens to the copy from now on does not matter any more.
            let at = self.t + self.dice.skewed(5_000);
            self.at(at, Item::ServerStart { schedule: id, copy: copy.name, due });
        }
        Ok(())
    }

    pub(super) fn server_starts(&mut self, schedule: &ScheduleId, copy: &ServerCopy, due: DateTime<Utc>) -> Verdict {
        if self.api.is_down(self.t) {
            return Ok(());
        }
        let key = OccurrenceKey {
            instance: skycron::ids::Instance::new(INSTANCE).unwrap(),
            schedule: schedule.clone(),
            scheduled_for: due,
            suffix: String::new(),
        };
        let scheduled = Some((copy.id.clone(), key.clone()));
        let Some(id) = self.api.start_scheduled(self.t, &mut self.dice, copy.workflow_id.clone(), scheduled) else {
            return Ok(());
        };
        self.numbers.servers += 1;
        tell!(self, "the server starts {key}: {id}");
        self.once(&key, &id)
    }

    /// A look at the runs of the server's schedules, as dispatch makes it.
    pub(super) fn look_at_runs(&mut self, process: u64, look: &Look) {
        let seen = if self.fails() || self.api.is_down(self.t) {
            Err("the server is away".to_owned())
        } else {
            let taken = |run: &RunId| self.ledger.runs.contains_key(run);
            let expected = |copy: &ServerScheduleId, at: DateTime<Utc>| {
                let found = look.expected.iter().find(|(id, _, all)| id == copy && all.contains(&at));
                found.map(|(_, schedule, _)| (schedule.clone(), at)).filter(|_| self.api.names_ids)
            };
            let runs = self.api.scheduled(self.t, &look.workflow_id, look.since);
            let runs = runs.filter(|(run, ..)| !taken(run)).map(|(run, copy, due, created_at, status)| ServerRun {
                run_id: run.clone(),
                status: status.0,
                retry_pending: status.1,
                of: expected(copy, due),
                copy: Some(copy.clone()),
                created_at,
            });
            Ok(ServerRuns { runs: runs.collect(), complete_since: None })
        };
        let at = self.t + self.dice.range(1, 200);
        let workflow_id = look.workflow_id.clone();
        self.at(at, Item::Tell { process, event: Event::Looked { workflow_id, seen } });
    }

    /// A request reaches the server's copy.
    pub(super) fn copy_changes(&mut self, id: &ScheduleId, copy: &ServerScheduleId, enable: bool) {
        if self.api.is_down(self.t) {
            return;
        }
        let now = instant(self.t) + TimeDelta::milliseconds(self.api.skew_ms);
        if let Some(found) = self.copies.get_mut(id).filter(|found| found.name.id == *copy) {
            found.enabled = enable;
            found.modified_at = now;
            tell!(self, "at the server: the copy of {id} is {}", if enable { "enabled" } else { "disabled" });
        }
    }

    pub(super) fn mirror_wanted(&mut self, process: u64) {
        let at = self.t + self.dice.range(1, 500);
        self.at(at, Item::Mirror { process, step: MirrorStep::Round });
    }

    pub(super) fn mirror(&mut self, number: u64, step: MirrorStep) -> Verdict {
        if self.process(number).is_none_or(|process| process.stopping) || !self.profile.mirrors {
            return Ok(());
        }
        if self.crashes("in the mirror") {
            return self.kill();
        }
        match step {
            MirrorStep::Round => {
                let ids: Vec<ScheduleId> =
                    self.file.schedules.iter().map(|s| s.id.clone()).chain(self.copies.keys().cloned()).collect();
                let Some(process) = self.process(number) else { return Ok(()) };
                if process.mirror.busy {
                    process.mirror.again = true;
                    return Ok(());
                }
                process.mirror.busy = true;
                process.mirror.rounds += 1;
                process.mirror.next_at = Millis::MAX;
                process.mirror.todo = ids;
                process.mirror.todo.sort();
                process.mirror.todo.dedup();
                self.mirror_next(number, 1);
                Ok(())
            }
            MirrorStep::Timer(round) => {
                let due = self.process(number).is_some_and(|process| process.mirror.rounds == round);
                if due { self.mirror(number, MirrorStep::Round) } else { Ok(()) }
            }
            MirrorStep::Next => self.mirror_one(number),
            MirrorStep::Answered { id, enable, modified_at, refused } => {
                let t = self.t;
                let Some(process) = self.process(number) else { return Ok(()) };
                let step = match (modified_at, enable) {
                    (None, true) if refused => HandoverStep::NotGiven { why: "the server said no".to_owned() },
                    (None, _) => {
                        // Nothing was heard: a later round looks.
                        if let Some(process) = self.process(number) {
                            process.mirror.doubt_until.insert(id, t + GRACE_MS);
                        }
                        self.mirror_next(number, 1);
                        return Ok(());
                    }
                    (Some(modified_at), true) => HandoverStep::Given { modified_at },
                    (Some(_), false) => {
                        let born = process.mirror.born + GRACE_MS;
                        let doubt = process.mirror.doubt_until.get(&id).copied().unwrap_or_default().max(born);
                        if t < doubt {
                            // Disabled early; that it stays so is seen when no request can be on its way any more.
                            process.mirror.next_at = process.mirror.next_at.min(doubt + 1);
                            self.mirror_next(number, 1);
                            return Ok(());
                        }
                        HandoverStep::Taken
                    }
                };
                self.mirror_asks(number, id, step)
            }
        }
    }

    fn mirror_next(&mut self, number: u64, after: Millis) {
        let at = self.t + after;
        self.at(at, Item::Mirror { process: number, step: MirrorStep::Next });
    }

    /// What there is to do about the next schedule of the round.
    fn mirror_one(&mut self, number: u64) -> Verdict {
        let Some(process) = self.process(number) else { return Ok(()) };
        let Some(id) = process.mirror.todo.pop() else {
            process.mirror.busy = false;
            let again = std::mem::take(&mut process.mirror.again);
            let (round, next_at) = (process.mirror.rounds, process.mirror.next_at);
            let at = (self.t + if again { 1_000 } else { ROUND_MS }).min(next_at).max(self.t + 100);
            self.at(at, Item::Mirror { process: number, step: MirrorStep::Timer(round) });
            return Ok(());
        };
        let unsettled = process.engine.unsettled().into_iter().find(|(other, _)| *other == id).map(|(_, o)| o);
        if self.fails() || self.api.is_down(self.t) {
            self.mirror_next(number, 10);
            return Ok(());
        }
        let clock = instant(self.t) + TimeDelta::milliseconds(self.api.skew_ms);
        let schedule = self.file.schedules.iter().find(|schedule| schedule.id == id).cloned();
        let wanted = schedule.as_ref().is_some_and(|s| s.enabled && s.policies.fires == Fires::Server);
        let now = self.now();
        let copy = self.copies.get(&id).cloned();
        match (unsettled, copy, schedule) {
            // New in the file.
            (Some(ownership), copy, _) if ownership.owner == Owner::HandingOver && ownership.copy.is_none() => {
                let step = match copy.filter(|copy| copy.enabled) {
                    Some(copy) => HandoverStep::Found { copy: copy.name },
                    None => HandoverStep::NotGiven { why: "it is not enabled".to_owned() },
                };
                self.mirror_asks(number, id, step)
            }
            (Some(ownership), Some(copy), _) if ownership.owner == Owner::HandingOver => {
                if copy.enabled {
                    return self.mirror_asks(number, id, HandoverStep::Given { modified_at: copy.modified_at });
                }
                if wanted && self.dice.chance(300) {
                    return self.mirror_asks(number, id, HandoverStep::Give { copy: copy.name });
                }
                if now < ownership.since + TimeDelta::milliseconds(GRACE_MS) {
                    let at = self.t + GRACE_MS;
                    if let Some(process) = self.process(number) {
                        process.mirror.next_at = process.mirror.next_at.min(at);
                    }
                    self.mirror_next(number, 10);
                    return Ok(());
                }
                self.mirror_asks(number, id, HandoverStep::Take)
            }
            (Some(_), Some(_), _) => self.mirror_asks(number, id, HandoverStep::Take),
            (Some(_), None, _) => self.mirror_asks(number, id, HandoverStep::Taken),
            (None, None, Some(schedule)) => {
                self.make_copy(&schedule, clock);
                self.mirror_next(number, 10);
                Ok(())
            }
            (None, Some(copy), Some(schedule))
                if copy.timetable != schedule.timetable || copy.name.workflow_id != schedule.workflow_id =>
            {
                if copy.enabled {
                    return self.mirror_asks(number, id, HandoverStep::Take);
                }
                self.make_copy(&schedule, clock);
                self.mirror_next(number, 10);
                Ok(())
            }
            (None, Some(copy), _) if copy.enabled && !wanted => self.mirror_asks(number, id, HandoverStep::Take),
            (None, Some(copy), Some(_)) if !copy.enabled && wanted => {
                let give = HandoverStep::Give { copy: copy.name };
                if self.mistake == Mistake::EnableUnannounced {
                    self.copy_request(number, id, true);
                    return Ok(());
                }
                self.mirror_asks(number, id, give)
            }
            _ => {
                self.mirror_next(number, 1);
                Ok(())
            }
        }
    }

    /// A new one, or the one that is there made anew; disabled.
    fn make_copy(&mut self, schedule: &skycron::schedule::Schedule, clock: DateTime<Utc>) {
        self.ids += 1;
        let id = ServerScheduleId::new(&format!("wfs_{}", self.ids)).unwrap();
        let workflow_id: WorkflowId = schedule.workflow_id.clone();
        let kept = self.copies.get(&schedule.id).filter(|copy| copy.name.workflow_id == workflow_id);
        let name = kept.map_or(ServerCopy { id, workflow_id }, |copy| copy.name.clone());
        let copy = Copy { name, timetable: schedule.timetable.clone(), enabled: false, modified_at: clock };
        self.copies.insert(schedule.id.clone(), copy);
    }

    fn mirror_asks(&mut self, number: u64, id: ScheduleId, step: HandoverStep) -> Verdict {
        if self.crashes("before the engine is asked") {
            return self.kill();
        }
        let Some(process) = self.process(number) else { return Ok(()) };
        process.requests += 1;
        let request = RequestId(process.requests);
        process.mirror.asked = Some((request, id.clone(), step.clone()));
        self.turn(vec![Event::Handover { request, schedule: id, step }])
    }

    /// The engine's answer is durable.
    pub(super) fn mirror_answered(
        &mut self,
        number: u64,
        request: RequestId,
        result: Result<HandoverAnswer, String>,
    ) -> Verdict {
        let Some(process) = self.process(number) else { return Ok(()) };
        let Some((_, id, step)) = process.mirror.asked.take_if(|(asked, ..)| *asked == request) else { return Ok(()) };
        tell!(self, "mirror: {id} {step:?}: {result:?}");
        match (step, result) {
            (HandoverStep::Give { .. }, Ok(HandoverAnswer::Go)) => self.copy_request(number, id, true),
            (HandoverStep::Take, Ok(HandoverAnswer::Go)) => {
                if self.mistake == Mistake::NotReallyDisabled {
                    return self.mirror_asks(number, id, HandoverStep::Taken);
                }
                self.copy_request(number, id, false);
            }
            (HandoverStep::Give { .. } | HandoverStep::Take, Ok(HandoverAnswer::Postponed { until, .. })) => {
                if let Some(until) = until {
                    let wait = (until - self.now()).num_milliseconds().clamp(1_000, ROUND_MS);
                    let at = self.t + wait;
                    if let Some(process) = self.process(number) {
                        process.mirror.next_at = process.mirror.next_at.min(at);
                    }
                }
                self.mirror_next(number, 1);
            }
            _ => self.mirror_next(number, 1),
        }
        Ok(())
    }

    /// What is said not to have been started by the server was not, some moments ago.
    pub(super) fn truly_missed(&self, changes: &[Change]) -> Verdict {
        for change in changes {
            let Change::StatusChanged { key, status: Status::Missed | Status::Skipped, reason, .. } = change else {
                continue;
            };
            if !self.ledger.rows.get(key).is_some_and(|row| row.trigger == Trigger::Server && row.attempts.is_empty()) {
                continue;
            }
            let there = self.api.asked_for(key).find(|run| run.scheduled.is_some() && run.created_at < self.t - 10_000);
            ensure!(there.is_none(), "{key} is not started ({reason:?}), and the server has {there:?}");
        }
        Ok(())
    }

    fn copy_request(&mut self, number: u64, id: ScheduleId, enable: bool) {
        let Some(name) = self.copies.get(&id).map(|copy| copy.name.id.clone()) else { return };
        let arrives = self.dice.range(1, 500);
        let answered = self.t + arrives + self.dice.range(1, 300);
        let faulty = !self.calm && self.dice.chance(self.profile.start_faults / 2);
        let (arrives, heard, refused) = match (faulty, self.dice.range(0, 3)) {
            _ if self.api.is_down(self.t) => (None, false, false),
            (false, _) => (Some(arrives), true, false),
            (true, 0) => (None, false, true),
            (true, 1) => (None, false, false),
            (true, 2) => (Some(arrives), false, false),
            (true, _) => (Some(self.dice.range(REQUEST_TIMEOUT_MS, GRACE_MS - 1_000)), false, false),
        };
        let answered = if heard || refused { answered } else { self.t + REQUEST_TIMEOUT_MS };
        if let Some(after) = arrives {
            self.at(self.t + after, Item::CopyChanges { id: id.clone(), copy: name, enable });
        }
        self.at(answered, Item::CopyAnswered { process: number, id, enable, heard, refused });
    }

    pub(super) fn copy_answered(
        &mut self,
        process: u64,
        id: ScheduleId,
        enable: bool,
        heard: bool,
        refused: bool,
    ) -> Verdict {
        // What the server says is what it has; away meanwhile, it says nothing.
        let copy = self.copies.get(&id).filter(|copy| heard && copy.enabled == enable && !self.api.is_down(self.t));
        let modified_at = copy.map(|copy| copy.modified_at);
        self.mirror(process, MirrorStep::Answered { id, enable, modified_at, refused })
    }
}
