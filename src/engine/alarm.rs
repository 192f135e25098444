//! The words for alarms: what can be told, for whom, and what became of it. Values only: what follows from which change is
//! decided by `alarm`, and the engine itself raises none.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::{
    ids::{ChannelName, ScheduleId},
    words::words,
};

words! {
    /// What an alarm tells.
    AlarmEvent {
        /// An occurrence has its run. Only where it is asked for, and for pings.
        Started = "started",
        /// A run completed. Only where it is asked for, and for pings.
        Completed = "completed",
        /// A run ended badly: failed, terminated, timed out, or cancelled by somebody else than skycron's own rules; and it is
        /// not started again by `retry`.
        Failed = "failed",
        /// An occurrence was not started, because nothing could start it in time.
        Missed = "missed",
        /// The server refused to start an occurrence.
        Refused = "refused",
        /// It cannot be known whether an occurrence was started, or how its run ended.
        Unknown = "unknown",
        /// An occurrence had not started `late_after` after it was due.
        Late = "late",
        /// `failures_in_a_row` of them.
        FailuresInARow = "failures_in_a_row",
        /// No run of the schedule completed for `no_success_for`.
        NoSuccess = "no_success",
        /// What was told to be wrong is well again.
        Recovered = "recovered",
        /// The daemon refused a changed file and goes on with the old one.
        FileRefused = "file_refused",
        /// The API does not accept the key.
        KeyRefused = "key_refused",
        /// The history cannot be written: nothing is started.
        HistoryStalled = "history_stalled",
        /// Many alarms in one.
        Summary = "summary",
        /// A person tries the channel out.
        Test = "test",
    }
}

impl AlarmEvent {
    /// Whether a channel can be asked to tell it, or not to.
    #[must_use]
    pub fn can_be_chosen(self) -> bool {
        !matches!(self, Self::Summary | Self::Test)
    }

    /// Whether it is told where nothing is said: everything that is not as it should be, and that it is well again.
    #[must_use]
    pub fn is_default(self) -> bool {
        self.can_be_chosen() && !matches!(self, Self::Started | Self::Completed)
    }

    /// Whether it is about the daemon and not about one schedule. These are rare, and never folded away.
    #[must_use]
    pub fn is_of_daemon(self) -> bool {
        matches!(self, Self::FileRefused | Self::KeyRefused | Self::HistoryStalled)
    }
}

words! {
    /// What became of an alarm that is not waiting any more.
    AlarmEnd {
        /// The channel took it.
        Sent = "sent",
        /// It was given up.
        Dropped = "dropped",
        /// It is part of a summary.
        Folded = "folded",
    }
}

/// An alarm for one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAlarm {
    /// Its name: the same thing told again, after a crash too, has the same.
    pub id: String,
    /// For whom.
    pub channel: ChannelName,
    /// What.
    pub event: AlarmEvent,
    /// About which schedule; `None`: the daemon, or several.
    pub schedule: Option<ScheduleId>,
    /// When it was raised.
    pub at: DateTime<Utc>,
    /// What is told, field by field; never a secret.
    pub facts: Map<String, Value>,
}

/// What every alarm tells, by name; what does not apply is null.
pub const FACTS: &[&str] = &[
    "id",
    "event",
    "at",
    "instance",
    "schedule",
    "name",
    "workflow_id",
    "occurrence",
    "scheduled_for",
    "status",
    "reason",
    "run_id",
    "app_url",
    "count",
    "events",
    "text",
];

/// Made-up alarms of every form, for trying out a template: one of an occurrence, one of the daemon, a summary.
#[must_use]
pub fn samples() -> Vec<Map<String, Value>> {
    let all = |given: Value| {
        let blank = FACTS.iter().map(|name| ((*name).to_owned(), Value::Null));
        blank.chain(given.as_object().cloned().unwrap_or_default()).collect()
    };
    let (at, text) = ("2026-11-02T14:00:01.500Z", "a \"text\"");
    vec![
        all(json!({
            "id": "main/daily@2026-11-02T14:00:00Z:failed", "event": "failed", "at": at, "instance": "main", "schedule": "daily",
            "name": "Daily report", "workflow_id": "wpid_1", "occurrence": "main/daily@2026-11-02T14:00:00Z",
            "scheduled_for": "2026-11-02T14:00:00Z", "status": "failed", "reason": "run_failed: why", "run_id": "wr_1",
            "app_url": "https://app.example/wr_1", "count": 1, "text": text,
        })),
        all(
            json!({ "id": "main@x:file_refused", "event": "file_refused", "at": at, "instance": "main", "reason": "why", "count": 1, "text": text }),
        ),
        all(json!({
            "id": "main:summary-1-2", "event": "summary", "at": at, "instance": "main", "count": 12,
            "events": { "failed": 10, "missed": 2 }, "text": text,
        })),
    ]
}
