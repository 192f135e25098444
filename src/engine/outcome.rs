//! Runs: what the API reports of them, until they are over; and starting again after a bad end.
//!
//! Does not ask the API: `dispatch` follows the run and reports.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::{
    clock::delta,
    engine::{
        Action, Change, Engine, Reason, ReasonCode, RunReport, Status, Trigger, Turn,
        change::NewOccurrence,
        flight::{Flight, Stage, start_by},
        retry, span,
    },
    ids::OccurrenceKey,
};

impl Engine {
    pub(super) fn run_reported(
        &mut self,
        now: DateTime<Utc>,
        key: &OccurrenceKey,
        report: Box<RunReport>,
        turn: &mut Turn,
    ) {
        let Some(flight) = self.flights.get(key) else { return };
        let Stage::Running { run_id } = &flight.stage else { return };
        if *run_id != report.run_id {
            return;
        }
        let over = report.is_over();
        let status = report.status.occurrence_status();
        let failure = report.failure_reason.clone();
        turn.changes.push(Change::RunReported { key: key.clone(), report, at: now });
        if !over {
            return;
        }
        let reason = match (&flight.cancel, status) {
            (Some(why), Status::Canceled) => Some(Reason::new(ReasonCode::Canceled, why.clone())),
            (_, Status::Completed) => flight.warning.clone(),
            (_, status) => {
                let detail =
                    failure.unwrap_or_else(|| format!("the run ended {status}, without a reason from the server"));
                Some(Reason::new(ReasonCode::RunFailed, detail))
            }
        };
        if let Some(flight) = self.end(now, key, status, reason, turn) {
            self.retry_run(now, key, &flight, status, turn);
        }
    }

    pub(super) fn run_gone(&mut self, now: DateTime<Utc>, key: &OccurrenceKey, message: &str, turn: &mut Turn) {
        if !self.flights.get(key).is_some_and(|flight| matches!(flight.stage, Stage::Running { .. })) {
            return;
        }
        let detail = format!("how its run ended cannot be learned: {message}");
        self.end(now, key, Status::Unknown, Some(Reason::new(ReasonCode::RunLost, detail)), turn);
    }

    /// Kept with the occurrence to the end, since a run without its parameters may well complete, and be wrong.
    pub(super) fn parameters_dropped(
        &mut self,
        now: DateTime<Utc>,
        key: &OccurrenceKey,
        text: String,
        turn: &mut Turn,
    ) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let warning = Reason::new(ReasonCode::ParametersDropped, text);
        flight.warning = Some(warning.clone());
        turn.changes.push(Change::StatusChanged {
            key: key.clone(),
            status: Status::Running,
            reason: Some(warning),
            at: now,
        });
    }

    /// A run that a crashed server left behind never ends by itself, and would block its schedule for ever.
    pub(super) fn run_stalled(
        &mut self,
        now: DateTime<Utc>,
        key: &OccurrenceKey,
        text: String,
        dead: bool,
        turn: &mut Turn,
    ) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let Stage::Running { run_id } = &flight.stage else { return };
        let run_id = run_id.clone();
        if dead {
            flight.cancel.get_or_insert_with(|| text.clone());
            turn.actions.push(Action::Cancel { key: key.clone(), run_id });
        }
        let reason = Some(Reason::new(ReasonCode::RunStalled, text));
        turn.changes.push(Change::StatusChanged { key: key.clone(), status: Status::Running, reason, at: now });
    }

    pub(super) fn run_timed_out(&mut self, now: DateTime<Utc>, key: &OccurrenceKey, turn: &mut Turn) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let Stage::Running { run_id } = &flight.stage else { return };
        let run_id = run_id.clone();
        let timeout = flight.schedule.as_ref().and_then(|schedule| schedule.policies.run_timeout).unwrap_or_default();
        let why = format!("it went on longer than run_timeout, {}", span(delta(timeout)));
        flight.cancel.get_or_insert_with(|| why.clone());
        turn.changes.push(Change::StatusChanged {
            key: key.clone(),
            status: Status::Running,
            reason: Some(Reason::new(ReasonCode::Canceled, why)),
            at: now,
        });
        turn.actions.push(Action::Cancel { key: key.clone(), run_id });
    }

    /// The `retry` policy: the same occurrence once more, under a key of its own.
    fn retry_run(&mut self, now: DateTime<Utc>, key: &OccurrenceKey, flight: &Flight, status: Status, turn: &mut Turn) {
        let Some(schedule) = &flight.schedule else { return };
        let Some(policy) = &schedule.policies.retry else { return };
        // The schedule may be gone from the file, and what waits behind this one takes precedence over running it again.
        let still_there = self.entries.get(&key.schedule).is_some_and(|entry| entry.live.is_empty());
        let (base, made) = split_suffix(&key.suffix);
        if !still_there
            || made >= policy.max_attempts
            || flight.cancel.is_some()
            || !policy.on.iter().any(|s| s == status.word())
        {
            return;
        }
        let number = made + 1;
        let suffix = if base.is_empty() { format!("retry-{number}") } else { format!("{base}.retry-{number}") };
        let retry_key = self.key(&key.schedule, key.scheduled_for, suffix);
        let at = now + delta(retry::run_delay(made, policy.delay, policy.max_delay));
        let reason = Reason::new(
            ReasonCode::RunFailed,
            format!("{key} ended {status}; start {number} of {} in {}", policy.max_attempts, span(at - now)),
        );
        turn.changes.push(Change::Occurred(Box::new(NewOccurrence {
            key: retry_key.clone(),
            workflow_id: schedule.workflow_id.clone(),
            trigger: Trigger::Retry,
            status: Status::Pending,
            reason: Some(reason),
            at: now,
            count: 1,
            through: None,
            parameters: flight.parameters.clone(),
        })));
        let again = Flight {
            schedule: Some(Arc::clone(schedule)),
            workflow_id: schedule.workflow_id.clone(),
            trigger: Trigger::Retry,
            stage: Stage::Later,
            attempt: 0,
            first_attempt_at: None,
            last_attempt_at: None,
            start_by: start_by(Trigger::Retry, schedule, at),
            parameters: flight.parameters.clone(),
            cancel: None,
            ready_rank: None,
            warning: None,
            timer: None,
        };
        self.flights.insert(retry_key.clone(), again);
        self.make_later(at, &retry_key);
    }
}

/// The part of a suffix that is not about repeating, and how many starts it stands for: `manual-7.retry-3` is the third.
fn split_suffix(suffix: &str) -> (&str, u32) {
    let (base, last) = suffix.rsplit_once('.').unwrap_or(("", suffix));
    match last.strip_prefix("retry-").and_then(|n| n.parse().ok()) {
        Some(number) => (base, number),
        None => (suffix, 1),
    }
}
