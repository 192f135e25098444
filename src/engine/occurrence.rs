//! The words for one occurrence: its status, what brought it about, and why it is as it is. Closed lists, values only.

use std::fmt;

use crate::words::words;

words! {
    /// Where an occurrence stands.
    Status {
        /// Due, and waiting for its start (for a place, for the run before it, for the next try).
        Pending = "pending",
        /// A request to start it is out, or was out when the process ended.
        Launching = "launching",
        /// It has a run, which is not over.
        Running = "running",
        /// The run completed.
        Completed = "completed",
        /// The run failed.
        Failed = "failed",
        /// The run was terminated.
        Terminated = "terminated",
        /// The run exceeded its time at the server.
        TimedOut = "timed_out",
        /// The run was cancelled.
        Canceled = "canceled",
        /// Deliberately not started.
        Skipped = "skipped",
        /// Not started, because nothing could start it in time.
        Missed = "missed",
        /// The server refused to start it.
        Refused = "refused",
        /// It cannot be known whether it was started, or how its run ended.
        Unknown = "unknown",
    }
}

impl Status {
    /// Whether something is still to come for it.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Launching | Self::Running)
    }

    /// Whether this is how it should be: under way, completed, or deliberately not started.
    #[must_use]
    pub fn is_good(self) -> bool {
        self.is_open() || matches!(self, Self::Completed | Self::Skipped)
    }
}

words! {
    /// What brought an occurrence about.
    Trigger {
        /// Its timetable, on time.
        Schedule = "schedule",
        /// Its timetable, late: nothing could fire when it was due.
        CatchUp = "catch_up",
        /// A person, by `trigger`.
        Manual = "manual",
        /// A person, by `backfill`.
        Backfill = "backfill",
        /// The `retry` policy, after a run that ended badly.
        Retry = "retry",
        /// Skyvern's own scheduler (`fires = "server"`).
        Server = "server",
    }
}

words! {
    /// The kind of a reason.
    ReasonCode {
        /// A run of the schedule was still going.
        Overlap = "overlap",
        /// The schedule was paused.
        Paused = "paused",
        /// The schedule was disabled while it was due.
        Disabled = "disabled",
        /// It passed while nothing could fire, and was too late to start.
        Late = "late",
        /// A later occurrence was started in its place.
        CaughtUp = "caught_up",
        /// The schedule was changed or removed before it could start.
        Superseded = "superseded",
        /// A clock change brought it within five minutes of the one before.
        ClockChange = "clock_change",
        /// The server said no.
        Refused = "refused",
        /// The start did not happen, and is tried again or was given up.
        NotStarted = "not_started",
        /// No clear answer came to the start.
        NoAnswer = "no_answer",
        /// The server dropped parameters that the workflow does not declare.
        ParametersDropped = "parameters_dropped",
        /// The run stands still for so long that its server must have left it behind.
        RunStalled = "run_stalled",
        /// The run is known, its end cannot be learned.
        RunLost = "run_lost",
        /// skycron cancelled the run.
        Canceled = "canceled",
        /// Skyvern's own scheduler, whose it was, did not start it.
        NotFired = "not_fired",
        /// Skyvern's own scheduler did not start it in time, and this daemon did (`failover = "local"`).
        Failover = "failover",
        /// Who fires the schedule changed just then; it was started by whoever had not done so yet.
        HandedOver = "handed_over",
        /// A bound of this program was reached.
        Limit = "limit",
        /// The run failed at the server; the API's `failure_reason` says more.
        RunFailed = "run_failed",
    }
}

/// Why an occurrence has the status that it has: a word that programs can rely on, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The kind.
    pub code: ReasonCode,
    /// What happened, and what to do where there is something to do. Never a secret.
    pub detail: String,
}

impl Reason {
    /// Puts the two together.
    #[must_use]
    pub fn new(code: ReasonCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// The form in which it is stored and printed: `code: detail`.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() { f.write_str(self.code.word()) } else { write!(f, "{}: {}", self.code, self.detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for status in Status::ALL {
            assert_eq!(Status::from_word(status.word()), Some(*status));
        }
        assert_eq!(Status::from_word("done"), None);
    }
}
