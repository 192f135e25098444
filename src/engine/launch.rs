//! Starts: which of those that wait for a place get one, and what follows from each answer.
//!
//! Does not send anything: it asks for a start, in the same turn as the attempt's row, and is told the answer.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    clock::{delta, rfc3339},
    engine::{
        Action, Change, Engine, Reason, ReasonCode, RunReport, Status, Timer, Trigger, Turn,
        change::AttemptOutcome,
        event::{Launch, LaunchReply, Settle, Verdict},
        flight::{Flight, Stage},
        retry, span,
    },
    ids::{OccurrenceKey, RunId},
    schedule::OnUnknown,
};

impl Engine {
    /// Gives places to those that wait for one, as many as there are.
    pub(super) fn launch_ready(&mut self, now: DateTime<Utc>, turn: &mut Turn) {
        while !self.stopping && self.in_flight < self.options.launches_in_flight_max {
            if self.ready.is_empty() || !self.pace_allows(now) {
                break;
            }
            let Some((_, _, key)) = self.ready.pop_first() else { break };
            self.launch(now, &key, turn);
        }
    }

    /// The generic cell rate algorithm: a burst of one second's worth, then evenly.
    fn pace_allows(&mut self, now: DateTime<Utc>) -> bool {
        let Some(rate) = self.options.launches_per_second_max.filter(|rate| *rate > 0) else { return true };
        let interval = TimeDelta::nanoseconds(1_000_000_000 / i64::from(rate));
        let at = self.pace_at.map_or(now, |at| at.max(now));
        let allowed_from = at - TimeDelta::seconds(1) + interval;
        if allowed_from > now {
            self.timers.insert((allowed_from, Timer::Pace));
            return false;
        }
        self.pace_at = Some(at + interval);
        true
    }

    fn launch(&mut self, now: DateTime<Utc>, key: &OccurrenceKey, turn: &mut Turn) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.ready_rank = None;
        let (Some(schedule), Some(parameters)) = (flight.schedule.clone(), flight.run_parameters()) else { return };
        if now > flight.start_by {
            let detail = format!("it could not be started before {}, the end of its window", rfc3339(flight.start_by));
            self.end(now, key, Status::Missed, Some(Reason::new(ReasonCode::Late, detail)), turn);
            return;
        }
        flight.attempt += 1;
        flight.first_attempt_at.get_or_insert(now);
        flight.last_attempt_at = Some(now);
        flight.stage = Stage::Launching;
        self.in_flight += 1;
        turn.changes.push(Change::AttemptBegun { key: key.clone(), number: flight.attempt, at: now });
        turn.actions.push(Action::Launch(Box::new(Launch {
            key: key.clone(),
            attempt: flight.attempt,
            schedule,
            parameters,
        })));
    }

    pub(super) fn launch_ended(
        &mut self,
        now: DateTime<Utc>,
        key: &OccurrenceKey,
        attempt: u32,
        reply: LaunchReply,
        turn: &mut Turn,
    ) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        if flight.stage != Stage::Launching || flight.attempt != attempt {
            return;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        let mut ended = |outcome, message: Option<String>, http_status, run_id| {
            turn.changes.push(Change::AttemptEnded {
                key: key.clone(),
                number: attempt,
                at: now,
                outcome,
                message,
                http_status,
                run_id,
            });
        };
        match reply {
            LaunchReply::Started(report) => {
                ended(AttemptOutcome::Started, None, Some(200), Some(report.run_id.clone()));
                self.started(now, key, report, turn);
            }
            LaunchReply::Refused { http_status, message } => {
                ended(AttemptOutcome::Refused, Some(message.clone()), http_status, None);
                self.end(now, key, Status::Refused, Some(Reason::new(ReasonCode::Refused, message)), turn);
            }
            LaunchReply::NotStarted { retry_after, http_status, message } => {
                ended(AttemptOutcome::NotStarted, Some(message.clone()), http_status, None);
                self.not_started(now, key, retry_after, &message, turn);
            }
            LaunchReply::Unknown { http_status, message } => {
                ended(AttemptOutcome::Unknown, Some(message.clone()), http_status, None);
                self.settle(now, key, &message, false, turn);
            }
        }
    }

    /// The occurrence has a run: by the answer to its start, or because it was found.
    pub(super) fn started(&mut self, now: DateTime<Utc>, key: &OccurrenceKey, report: Box<RunReport>, turn: &mut Turn) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let run_id = report.run_id.clone();
        flight.stage = Stage::Running { run_id: run_id.clone() };
        let since = flight.first_attempt_at.unwrap_or(now);
        let timeout = flight.schedule.as_ref().and_then(|schedule| schedule.policies.run_timeout);
        let cancel = flight.cancel.is_some();
        let reason = flight.warning.clone();
        turn.changes.push(Change::StatusChanged { key: key.clone(), status: Status::Running, reason, at: now });
        if let Some(timeout) = timeout {
            self.set_timer(key, since + delta(timeout), Timer::RunTimeout(key.clone()));
        }
        if cancel {
            turn.actions.push(Action::Cancel { key: key.clone(), run_id: run_id.clone() });
        }
        // Even a report that says it is over is followed: the last word is read whole, with its output.
        turn.changes.push(Change::RunReported { key: key.clone(), report, at: now });
        turn.actions.push(Action::Follow { key: key.clone(), run_id, since });
    }

    fn not_started(
        &mut self,
        now: DateTime<Utc>,
        key: &OccurrenceKey,
        retry_after: Option<std::time::Duration>,
        message: &str,
        turn: &mut Turn,
    ) {
        let Some(flight) = self.flights.get(key) else { return };
        let at = now + delta(retry::start_delay(key, flight.attempt, retry_after));
        let gives_up = at > flight.start_by || (flight.trigger == Trigger::Manual && retry_after.is_none());
        if let Some(why) = flight.cancel.clone() {
            self.end(now, key, Status::Skipped, Some(Reason::new(ReasonCode::Superseded, why)), turn);
        } else if gives_up {
            let detail = format!("{message} (given up after {} attempts)", flight.attempt);
            self.end(now, key, Status::Missed, Some(Reason::new(ReasonCode::NotStarted, detail)), turn);
        } else {
            let reason = Reason::new(ReasonCode::NotStarted, format!("{message} (tried again in {})", span(at - now)));
            self.wait_for_retry(now, at, key, reason, turn);
        }
    }

    fn wait_for_retry(
        &mut self,
        now: DateTime<Utc>,
        at: DateTime<Utc>,
        key: &OccurrenceKey,
        reason: Reason,
        turn: &mut Turn,
    ) {
        turn.changes.push(Change::StatusChanged {
            key: key.clone(),
            status: Status::Pending,
            reason: Some(reason),
            at: now,
        });
        self.make_later(at, key);
    }

    /// Asks for the run of a start that was not clearly answered to be looked for.
    pub(super) fn settle(
        &mut self,
        now: DateTime<Utc>,
        key: &OccurrenceKey,
        message: &str,
        from_before: bool,
        turn: &mut Turn,
    ) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        flight.stage = Stage::Settling { from_before };
        let settle = Settle {
            key: key.clone(),
            workflow_id: flight.workflow_id.clone(),
            asked: flight.schedule.clone().zip(flight.run_parameters()),
            parameters_are_sure: !from_before,
            since: flight.first_attempt_at.unwrap_or(now),
            last_attempt_at: flight.last_attempt_at.unwrap_or(now),
        };
        let reason = Reason::new(ReasonCode::NoAnswer, format!("{message}; its run is being looked for"));
        turn.changes.push(Change::StatusChanged {
            key: key.clone(),
            status: Status::Launching,
            reason: Some(reason),
            at: now,
        });
        turn.actions.push(Action::Settle(Box::new(settle)));
    }

    pub(super) fn settled(&mut self, now: DateTime<Utc>, key: &OccurrenceKey, verdict: Verdict, turn: &mut Turn) {
        let Some(flight) = self.flights.get(key) else { return };
        let Stage::Settling { from_before } = flight.stage else { return };
        match verdict {
            Verdict::Found(report) | Verdict::Likely(report) if self.has_run(&report.run_id) => {
                let detail = format!("{} was found, but is another occurrence's already", report.run_id);
                self.end(now, key, Status::Unknown, Some(Reason::new(ReasonCode::NoAnswer, detail)), turn);
            }
            Verdict::Found(report) => self.started(now, key, report, turn),
            Verdict::Likely(report) => match self.another_could_own_it(key) {
                None => self.started(now, key, report, turn),
                Some(other) => {
                    let detail = format!(
                        "whether it was started cannot be known: {} may be its run, or that of {other}; look at both at Skyvern",
                        report.run_id
                    );
                    self.end(now, key, Status::Unknown, Some(Reason::new(ReasonCode::NoAnswer, detail)), turn);
                }
            },
            Verdict::Absent { evidence } => self.start_again(now, key, &evidence, turn),
            Verdict::Undetermined { evidence } if on_unknown(flight) == OnUnknown::Retry => {
                self.start_again(now, key, &format!("{evidence} (on_unknown = \"retry\")"), turn);
            }
            Verdict::Undetermined { evidence } => {
                let detail = format!(
                    "whether it was started cannot be known: {evidence}; look at the workflow's runs at Skyvern"
                );
                self.end(now, key, Status::Unknown, Some(Reason::new(ReasonCode::NoAnswer, detail)), turn);
            }
        }
        if from_before && let Some(entry) = self.entries.get_mut(&key.schedule) {
            entry.settling_from_before = entry.settling_from_before.saturating_sub(1);
            if entry.settling_from_before == 0 {
                let id = key.schedule.clone();
                self.arm(&id);
            }
        }
    }

    /// Whether an open occurrence has this run already. (The history was asked about ended ones when the run was found.)
    fn has_run(&self, wanted: &RunId) -> bool {
        self.flights.values().any(|flight| matches!(&flight.stage, Stage::Running { run_id } if run_id == wanted))
    }

    /// Another start that is without an answer and asked the server for the same: a run that does not say whose it is may be
    /// either's.
    fn another_could_own_it(&self, key: &OccurrenceKey) -> Option<OccurrenceKey> {
        let flight = self.flights.get(key)?;
        let asked = flight.run_parameters();
        let alike = |other: &Flight| match (&asked, other.run_parameters()) {
            // After a restart, the file may say something else than it did at the start.
            _ if [&flight.stage, &other.stage].contains(&&Stage::Settling { from_before: true }) => true,
            (Some(asked), Some(theirs)) => {
                theirs.iter().all(|(name, value)| asked.get(name).is_none_or(|a| a == value))
            }
            _ => true,
        };
        let mut others: Vec<&OccurrenceKey> = self
            .flights
            .iter()
            .filter(|(other, flight)| {
                *other != key && matches!(flight.stage, Stage::Launching | Stage::Settling { .. })
            })
            .filter(|(_, other)| other.workflow_id == flight.workflow_id && alike(other))
            .map(|(other, _)| other)
            .collect();
        others.sort();
        others.first().map(|other| (*other).clone())
    }

    fn start_again(&mut self, now: DateTime<Utc>, key: &OccurrenceKey, evidence: &str, turn: &mut Turn) {
        let Some(flight) = self.flights.get(key) else { return };
        let at = now + delta(retry::start_delay(key, flight.attempt.max(1), None));
        if flight.schedule.is_none() {
            let reason = Reason::new(ReasonCode::Superseded, format!("{evidence}; its schedule is gone from the file"));
            self.end(now, key, Status::Skipped, Some(reason), turn);
        } else if at > flight.start_by || flight.cancel.is_some() {
            let reason = Reason::new(ReasonCode::NotStarted, format!("{evidence}; too late to try again"));
            self.end(now, key, Status::Missed, Some(reason), turn);
        } else {
            let reason = Reason::new(ReasonCode::NotStarted, format!("{evidence} (tried again in {})", span(at - now)));
            self.wait_for_retry(now, at, key, reason, turn);
        }
    }
}

fn on_unknown(flight: &Flight) -> OnUnknown {
    flight.schedule.as_ref().map_or(OnUnknown::Hold, |schedule| schedule.policies.on_unknown)
}
