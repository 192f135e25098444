//! Requests on their way to the server and back, as dispatch makes them: starts, looks for a lost run, following, cancelling.

use super::*;

impl World {
    pub(super) fn launch(&mut self, process: u64, launch: Box<Launch>) {
        let fate = match self.calm {
            true => Fate::good(&mut self.dice),
            false => Fate::any(&mut self.dice, &self.profile),
        };
        let mut fate = fate;
        if self.api.is_down(self.t) {
            fate.arrives = None;
            fate.answer = Answer::NotStarted { http_status: None, retry_after: None };
        }
        if fate.answer == Answer::Silence || fate.answered > REQUEST_TIMEOUT_MS {
            (fate.answer, fate.answered) = (Answer::Unknown { http_status: None }, REQUEST_TIMEOUT_MS);
        }
        self.numbers.starts += 1;
        self.numbers.faults += u64::from(fate.answer != Answer::Started);
        tell!(self, "start {} attempt {}: {fate:?}", launch.key, launch.attempt);
        let answered_at = self.t + fate.answered;
        match fate.arrives {
            // An answer that says something was given by the server; silence comes by itself.
            Some(after) if after <= fate.answered || matches!(fate.answer, Answer::Unknown { .. }) => {
                let at = self.t + after;
                if matches!(fate.answer, Answer::Unknown { .. }) {
                    self.answer(process, &launch, None, &fate.answer, answered_at);
                }
                self.at(at, Item::Arrive { process, launch, effect: fate.effect, answer: fate.answer, answered_at });
            }
            _ => self.answer(process, &launch, None, &fate.answer, answered_at),
        }
    }

    pub(super) fn answer(&mut self, process: u64, launch: &Launch, run_id: Option<RunId>, answer: &Answer, at: Millis) {
        let reply = match answer {
            Answer::Started => {
                let report = run_id.and_then(|id| self.api.report(self.t, &id));
                LaunchReply::Started(Box::new(report.unwrap()))
            }
            Answer::Refused(status) => {
                LaunchReply::Refused { http_status: Some(*status), message: "refused".to_owned() }
            }
            Answer::NotStarted { http_status, retry_after } => LaunchReply::NotStarted {
                retry_after: *retry_after,
                http_status: *http_status,
                message: "not now".to_owned(),
            },
            Answer::Unknown { http_status } => {
                LaunchReply::Unknown { http_status: *http_status, message: "no answer".to_owned() }
            }
            Answer::Silence => return,
        };
        let event = Event::LaunchEnded { key: launch.key.clone(), attempt: launch.attempt, reply };
        self.at(at, Item::Tell { process, event });
    }

    /// A start reaches the server: the moment at which it can do harm.
    pub(super) fn arrive(
        &mut self,
        process: u64,
        launch: &Launch,
        effect: Effect,
        answer: Answer,
        answered_at: Millis,
    ) -> Verdict {
        let Launch { key, attempt, schedule, parameters } = launch;
        if self.api.is_down(self.t) {
            if !matches!(answer, Answer::Unknown { .. }) {
                self.answer(process, launch, None, &Answer::Unknown { http_status: None }, answered_at);
            }
            return Ok(());
        }
        let row = self.ledger.rows.get(key);
        ensure!(row.is_some(), "a start of {key} reached the server, and there is no row");
        let begun = row.is_some_and(|row| row.attempts.len() >= *attempt as usize);
        ensure!(begun, "attempt {attempt} of {key} reached the server, and there is no row of it");
        let asked_by = Some((key.clone(), *attempt));
        let id =
            self.api.start(self.t, &mut self.dice, effect, schedule.workflow_id.clone(), parameters.clone(), asked_by);
        tell!(self, "at the server: {key} attempt {attempt} made {id:?} ({effect:?})");
        if !matches!(answer, Answer::Unknown { .. }) {
            self.answer(process, launch, id.clone(), &answer, answered_at);
        }
        if let Some(id) = id {
            self.once(key, &id)?;
        }
        Ok(())
    }

    /// One occurrence, one run. Runs that never ran do not count: the server died, or refused, while it made them.
    pub(super) fn once(&self, key: &OccurrenceKey, id: &RunId) -> Verdict {
        let of: Vec<&RunId> = self.api.asked_for(key).filter(|run| !run.never_ran).map(|run| &run.id).collect();
        // What the server leaves unknowable: a run that does not show its tag is known by the time of its making only, and means
        // nothing where our clock is wrong by more than the two are allowed to differ.
        let untagged =
            |id: &&RunId| self.api.run(id).is_some_and(|run| run.tag_seen_from > self.t || run.scheduled.is_some());
        let excused = self.retries_unknown.contains(&key.schedule) || (self.profile.clock && of.iter().any(untagged));
        ensure!(of.len() <= 1 || excused, "{key} has two runs: {of:?} ({id} just now)");
        Ok(())
    }

    pub(super) fn settle(&mut self, process: u64, settle: Settle) {
        self.numbers.settled += 1;
        let before = settle.last_attempt_at;
        let key = settle.key.clone();
        let lazily = match self.mistake {
            Mistake::RetryOnUnknown => true,
            Mistake::NoSettleAtBoot => {
                self.process(process).is_some_and(|process| process.settled.is_empty() && process.requests == 0)
                    && before < self.now() - TimeDelta::seconds(1)
            }
            _ => false,
        };
        if lazily {
            let event = Event::Settled { key, verdict: Found::Absent { evidence: "a mistake".to_owned() } };
            return self.tell_process(process, event);
        }
        self.ids += 1;
        let (id, now, monotonic) = (self.ids, self.now(), self.t - self.slept);
        if let Some(process) = self.process(process) {
            let parameters = settle.asked.as_ref().map(|(_, parameters)| parameters.clone());
            let inquiry = Inquiry::new(&settle, parameters, now, TimeDelta::milliseconds(GRACE_MS));
            process.inquiries.insert(id, (inquiry, now, monotonic));
            process.settled.insert(id, settle);
        }
        self.at(self.t, Item::Inquire { process, id });
    }

    /// One step of the dialogue, as dispatch makes it.
    pub(super) fn inquire(&mut self, number: u64, id: u64) -> Verdict {
        let monotonic = self.t - self.slept;
        let Some((inquiry, begun, then)) = self.process(number).and_then(|process| process.inquiries.get(&id)) else {
            return Ok(());
        };
        let now = *begun + TimeDelta::milliseconds(monotonic - then);
        match inquiry.step(now) {
            Step::Conclude(verdict) => {
                let Some(process) = self.process(number) else { return Ok(()) };
                process.inquiries.remove(&id);
                let Some(settle) = process.settled.remove(&id) else { return Ok(()) };
                tell!(self, "settled {}: {verdict:?}", settle.key);
                self.tell_process(number, Event::Settled { key: settle.key, verdict });
            }
            Step::WaitUntil(instant) => {
                let wait = (instant - now).num_milliseconds().clamp(1, 5_000);
                self.at(self.t + wait, Item::Inquire { process: number, id });
            }
            step => {
                if self.crashes("before a look") {
                    return self.kill();
                }
                let fails = self.fails();
                let at = self.t + self.dice.range(1, 2_000);
                self.at(at, Item::Look { process: number, id, step, looked_at: now, fails });
            }
        }
        Ok(())
    }

    /// What the server shows, and what the process makes of it with the help of its history.
    pub(super) fn look(&mut self, process: u64, id: u64, step: &Step, fails: bool) -> Option<Seen> {
        let settle = self.process(process)?.settled.get(&id)?.clone();
        if fails || self.api.is_down(self.t) {
            return Some(Seen::Failed("the server is away".to_owned()));
        }
        let (t, workflow_id, key) = (self.t, &settle.workflow_id, &settle.key);
        let mine = |run_id: &RunId| self.ledger.runs.get(run_id).is_none_or(|owner| owner == key);
        Some(match step {
            Step::AskWhetherTagsWork => Seen::TagsWork(self.api.tags),
            Step::SearchByTag => Seen::Tagged(self.api.tagged(t, workflow_id, key)),
            Step::ListSince(since) => {
                let mut runs = self.api.since(t, workflow_id, key, *since);
                runs.iter_mut().for_each(|run| run.taken |= !mine(&run.run_id));
                Seen::Listed(runs)
            }
            Step::WaitUntil(_) | Step::Conclude(_) => return None,
        })
    }

    pub(super) fn poll_later(
        &mut self,
        process: u64,
        key: OccurrenceKey,
        run_id: RunId,
        since: Millis,
        told: Option<String>,
    ) {
        let wait = ((self.t - since) / 20).clamp(5_000, 10 * MINUTE);
        let at = self.t + wait;
        self.at(at, Item::Poll { process, key, run_id, since, told });
    }

    pub(super) fn poll(
        &mut self,
        process: u64,
        key: OccurrenceKey,
        run_id: RunId,
        since: Millis,
        mut told: Option<String>,
    ) {
        if self.process(process).is_none() {
            return;
        }
        let report = if self.fails() || self.api.is_down(self.t) { None } else { self.api.report(self.t, &run_id) };
        if let Some(report) = report {
            let (news, over) = (format!("{} {}", report.status, report.retry_pending), report.is_over());
            if over || told.as_ref() != Some(&news) {
                told = Some(news);
                let at = self.t + self.dice.range(1, 100);
                let event = Event::RunReported { key: key.clone(), report: Box::new(report) };
                self.at(at, Item::Tell { process, event });
            }
            if over {
                return;
            }
        }
        self.poll_later(process, key, run_id, since, told);
    }
}
