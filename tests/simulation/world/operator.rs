//! What happens to the machine, its clock, its file and the server from outside.

use super::*;

/// Something that is done to the machine or the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Kill,
    Stop,
    Edit,
    EditWrongly,
    Pause,
    Resume,
    Trigger,
    SetClock(i64),
    Sleep(i64),
    ServerDown,
    ServerCrash,
    OtherRun,
    RetryByHand,
}

impl World {
    pub(super) fn any_operation(&mut self) -> Operation {
        let dice = &mut self.dice;
        let clock = self.profile.clock;
        loop {
            return match dice.range(0, 14) {
                0 | 1 => Operation::Kill,
                2 => Operation::Stop,
                3 | 4 => Operation::Edit,
                5 => Operation::EditWrongly,
                6 => Operation::Pause,
                7 => Operation::Resume,
                8 => Operation::Trigger,
                9 if clock => Operation::SetClock(dice.pick(&[-1, 1]) * dice.skewed(6 * HOUR)),
                10 if clock => Operation::SetClock(i64::MAX),
                11 if self.profile.sleep => Operation::Sleep(dice.skewed(10 * HOUR)),
                12 => Operation::ServerDown,
                13 if self.profile.server_crashes => Operation::ServerCrash,
                14 if self.profile.others => dice.pick(&[Operation::OtherRun, Operation::RetryByHand]),
                _ => continue,
            };
        }
    }

    pub(super) fn operate(&mut self, operation: Operation) -> Verdict {
        tell!(self, "{operation:?}");
        match operation {
            Operation::Kill => return self.kill(),
            Operation::Stop => {
                if let Some(process) = &mut self.process
                    && !process.stopping
                {
                    process.stopping = true;
                    let process = process.number;
                    self.at(self.t + STOP_GRACE_MS, Item::Stopped { process });
                    return self.turn(vec![Event::Stop]);
                }
            }
            // Nobody edits on a machine that sleeps.
            Operation::Edit if self.t < self.asleep_until => {}
            Operation::Edit => {
                let edits = self.dice.range(1, 3);
                for _ in 0..edits {
                    self.file.edit(&mut self.dice, self.t);
                }
                self.note_policies();
                let schedules = self.file.schedules.clone();
                if let Some(process) =
                    self.process.as_ref().map(|process| process.number).filter(|_| self.profile.mirrors)
                {
                    self.mirror_wanted(process);
                }
                return self.ask(|_, _| Event::Reload { schedules });
            }
            Operation::EditWrongly => return self.ask(|_, _| Event::ReloadRefused { text: "wrong".to_owned() }),
            Operation::Pause | Operation::Resume | Operation::Trigger => {
                let name = ScheduleId::new(&format!("s{}", self.dice.range(0, 5))).unwrap();
                let until = self.dice.chance(500).then(|| TimeDelta::milliseconds(self.dice.skewed(8 * HOUR)));
                return self.ask(|request, now| match operation {
                    Operation::Pause => {
                        let pause = Pause { since: now, until: until.map(|wait| now + wait), note: None };
                        Event::Pause { request, schedule: name, pause: Some(pause) }
                    }
                    Operation::Resume => Event::Pause { request, schedule: name, pause: None },
                    _ => Event::Trigger { request, schedule: name, parameters: serde_json::Map::new() },
                });
            }
            Operation::SetClock(by) => {
                let by = if by == i64::MAX { -self.clock_error } else { by };
                self.clock_error += by;
                self.numbers.steps_of_the_clock += u64::from(by != 0);
                // The kernel cancels the wait.
                if let Some(process) = &mut self.process {
                    process.armed += 1;
                    let (process, armed) = (process.number, process.armed);
                    self.at(self.t, Item::Timer { process, armed });
                }
            }
            Operation::Sleep(for_ms) => {
                if self.t >= self.asleep_until {
                    self.asleep_until = self.t + for_ms;
                    self.slept += for_ms;
                }
            }
            Operation::ServerDown => self.api.down_until = self.t + self.dice.skewed(3 * HOUR),
            Operation::ServerCrash => self.api.crash(self.t, self.t + self.dice.range(1_000, 10 * MINUTE)),
            Operation::OtherRun => {
                let workflow = files::any_workflow(&mut self.dice);
                self.api.start(self.t, &mut self.dice, Effect::Run, workflow, serde_json::Map::new(), None);
            }
            Operation::RetryByHand => {
                if let Some(id) = self.api.runs.last().map(|run| run.id.clone()) {
                    self.api.retry_by_hand(self.t, &mut self.dice, &id);
                }
            }
        }
        Ok(())
    }

    /// Something is asked of the running process, if there is one that is not ending.
    pub(super) fn ask(&mut self, event: impl FnOnce(RequestId, DateTime<Utc>) -> Event) -> Verdict {
        let now = self.now();
        if self.t < self.asleep_until {
            return Ok(());
        }
        let Some(process) = self.process.as_mut().filter(|process| !process.stopping) else { return Ok(()) };
        process.requests += 1;
        let event = event(RequestId(process.requests), now);
        self.turn(vec![event])
    }

    pub(super) fn note_policies(&mut self) {
        for schedule in &self.file.schedules {
            let window = TimeDelta::from_std(schedule.policies.catch_up_window).unwrap();
            let most = self.ledger.window_max.entry(schedule.id.clone()).or_insert(window);
            *most = window.max(*most);
            if schedule.policies.overlap == Overlap::Allow {
                self.ledger.parallel.insert(schedule.id.clone());
            }
            if schedule.policies.on_unknown == OnUnknown::Retry && !self.retries_unknown.contains(&schedule.id) {
                self.retries_unknown.push(schedule.id.clone());
            }
        }
    }
}
