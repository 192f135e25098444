//! What is remembered about a schedule, or about the daemon, to know when an alarm is due: stored with the alarms that follow
//! from it, as JSON.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    clock::{parse_rfc3339, rfc3339_millis},
    engine::alarm::AlarmEvent,
};

/// What is remembered. Fields that a later version adds must have defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Remembered {
    /// Bad ends since the last good one.
    pub bad_in_a_row: u32,
    /// Words of what was told to be wrong and not taken back.
    pub told: BTreeSet<String>,
    /// From when on silence counts: the last good end, or when it began to be watched. RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_since: Option<String>,
    /// For the daemon: the file's problem, as it was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl Remembered {
    pub(super) fn tell(&mut self, event: AlarmEvent) {
        self.told.insert(event.word().to_owned());
    }

    pub(super) fn was_told(&self, event: AlarmEvent) -> bool {
        self.told.contains(event.word())
    }

    pub(super) fn take_back(&mut self, event: AlarmEvent) -> bool {
        self.told.remove(event.word())
    }

    /// What was told, as events; a word of another version is passed over.
    pub(super) fn told(&self) -> impl Iterator<Item = AlarmEvent> {
        self.told.iter().filter_map(|word| AlarmEvent::from_word(word))
    }

    pub(super) fn quiet_since(&self) -> Option<DateTime<Utc>> {
        self.quiet_since.as_deref().and_then(parse_rfc3339)
    }

    pub(super) fn be_quiet_since(&mut self, at: DateTime<Utc>) {
        self.quiet_since = Some(rfc3339_millis(at));
    }

    /// The JSON to be stored; `None`: there is nothing to remember.
    pub(super) fn stored(&self) -> Option<String> {
        if *self == Self::default() { None } else { serde_json::to_string(self).ok() }
    }
}
