//! The names of things: schedules, workflows, runs, instances, and the key of an occurrence.
//!
//! Each is checked where it is made, so that code which holds one need not check again. No behaviour beyond that.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};

use crate::clock::{parse_rfc3339, rfc3339};

/// The longest schedule id and instance name, in bytes. With the instant and the longest suffix the key stays below the
/// 256 characters that the API allows for a value of `run_metadata`.
pub const NAME_BYTES_MAX: usize = 64;

/// Why a name was not accepted. The message is a fragment that follows "the id".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing in it.
    #[error("is empty")]
    Empty,
    /// Longer than the bound.
    #[error("is longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// A character outside `[A-Za-z0-9_.-]`.
    #[error("has the character {0:?}; letters, digits, '_', '.' and '-' are possible")]
    Character(char),
    /// First character is punctuation, which commands would read as an option.
    #[error("begins with {0:?}; begin with a letter or a digit")]
    Start(char),
}

fn check_name(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))) {
        return Err(NameError::Character(bad));
    }
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::Start(first));
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:expr, $error:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks and takes the text.
            ///
            /// # Errors
            /// The reason why the text is not such a name.
            pub fn new(text: &str) -> Result<Self, $error> {
                let check: fn(&str) -> Result<(), $error> = $check;
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// The `id` of one `[[schedule]]`: stable, and part of every occurrence's key.
    ScheduleId, check_name, NameError
);
text_id!(
    /// The name of this installation (`instance` in the file): the first part of every occurrence's key, so that two
    /// installations on one organisation tell their runs apart.
    Instance, check_name, NameError
);
text_id!(
    /// The name of a channel that alarms go to: `[notify.NAME]` in the file.
    ChannelName, check_name, NameError
);

/// Why a workflow id was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkflowIdError {
    /// Does not have the form of a permanent id.
    #[error("is not a permanent workflow id: it begins with wpid_, as in wpid_123456789")]
    Form,
    /// A `w_…` id names one version of a workflow; the run endpoint answers 404 to it.
    #[error("names one version of a workflow (w_…); give the permanent id, which begins with wpid_")]
    Version,
}

text_id!(
    /// The permanent id of a workflow, `wpid_…`.
    WorkflowId,
    |text| {
        let rest = text.strip_prefix("wpid_");
        match rest {
            Some(rest) if !rest.is_empty() && rest.len() <= 100 && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') => Ok(()),
            None if text.starts_with("w_") => Err(WorkflowIdError::Version),
            _ => Err(WorkflowIdError::Form),
        }
    },
    WorkflowIdError
);

/// A run id that has no place in a URL path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a run id: letters, digits, '_' and '-', as in wr_123456789")]
pub struct RunIdError;

text_id!(
    /// The id of a run at Skyvern, `wr_…`. It came from a server, and goes into URL paths: only what is harmless there passes.
    RunId,
    |text| {
        let fits = !text.is_empty() && text.len() <= 200 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if fits { Ok(()) } else { Err(RunIdError) }
    },
    RunIdError
);

/// A schedule id of the server that has no place in a URL path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not the id of a schedule at Skyvern: letters, digits, '_' and '-', as in wfs_123456789")]
pub struct ServerScheduleIdError;

text_id!(
    /// The id of one of the server's own schedules, `wfs_…`. Like a run's id it came from a server and goes into URL paths.
    ServerScheduleId,
    |text| RunId::new(text).map(|_| ()).map_err(|_| ServerScheduleIdError),
    ServerScheduleIdError
);

/// The name of one occurrence: `<instance>/<schedule id>@<scheduled_for>`, with a suffix for starts that are not the
/// schedule's own (`#manual-…`, `#backfill-…`) or are repeated (`#retry-2`).
///
/// It is the primary key of the history and travels with the request as `run_metadata`, so that a run can be found by it.
/// ```
/// use skycron::ids::OccurrenceKey;
///
/// let text = "main/weekday-report@2026-11-02T14:00:00Z#retry-2";
/// let key: OccurrenceKey = text.parse()?;
/// assert_eq!((key.schedule.as_str(), key.suffix.as_str()), ("weekday-report", "retry-2"));
/// assert_eq!(key.to_string(), text);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OccurrenceKey {
    /// The installation.
    pub instance: Instance,
    /// The schedule.
    pub schedule: ScheduleId,
    /// The instant at which it was due; for a manual start, the instant of the command.
    pub scheduled_for: DateTime<Utc>,
    /// Empty, or what follows the `#`.
    pub suffix: String,
}

impl fmt::Display for OccurrenceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.instance, self.schedule, rfc3339(self.scheduled_for))?;
        if self.suffix.is_empty() { Ok(()) } else { write!(f, "#{}", self.suffix) }
    }
}

/// A text that is not an occurrence's key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an occurrence: expected <instance>/<schedule>@<instant>, as in main/weekday-report@2026-11-02T14:00:00Z")]
pub struct OccurrenceKeyError;

impl FromStr for OccurrenceKey {
    type Err = OccurrenceKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, suffix) = text.split_once('#').unwrap_or((text, ""));
        let (instance, rest) = name.split_once('/').ok_or(OccurrenceKeyError)?;
        let (schedule, instant) = rest.split_once('@').ok_or(OccurrenceKeyError)?;
        if !suffix.is_empty() {
            check_name(suffix).map_err(|_| OccurrenceKeyError)?;
        }
        Ok(Self {
            instance: Instance::new(instance).map_err(|_| OccurrenceKeyError)?,
            schedule: ScheduleId::new(schedule).map_err(|_| OccurrenceKeyError)?,
            scheduled_for: parse_rfc3339(instant).ok_or(OccurrenceKeyError)?,
            suffix: suffix.to_owned(),
        })
    }
}

impl OccurrenceKey {
    /// A number that depends on nothing but the key: the seed of jitter and backoff (FNV-1a, 64 bits, over the key's text).
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.to_string()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(), NameError>) {
        assert_eq!(ScheduleId::new(text).map(|_| ()), expected, "{text:?}");
    }

    #[test]
    fn schedule_ids() {
        check("weekday-report", Ok(()));
        check("9.to_5", Ok(()));
        check("", Err(NameError::Empty));
        check("-x", Err(NameError::Start('-')));
        check("a b", Err(NameError::Character(' ')));
        check("a#b", Err(NameError::Character('#')));
        check("ä", Err(NameError::Character('ä')));
        check(&"x".repeat(65), Err(NameError::TooLong));
    }

    #[test]
    fn workflow_ids() {
        assert!(WorkflowId::new("wpid_123456789").is_ok());
        assert_eq!(WorkflowId::new("w_123"), Err(WorkflowIdError::Version));
        assert_eq!(WorkflowId::new("wpid_"), Err(WorkflowIdError::Form));
        assert_eq!(WorkflowId::new("wpid_a/../b"), Err(WorkflowIdError::Form));
    }

    #[test]
    fn keys_come_back_as_they_were() {
        for text in ["main/daily@2026-11-02T14:00:00Z", "main/daily@2026-11-02T14:00:00.123Z#manual-1"] {
            let key: OccurrenceKey = text.parse().unwrap();
            assert_eq!(key.to_string(), text);
        }
        for text in
            ["daily@2026-11-02T14:00:00Z", "main/daily", "main/daily@yesterday", "main/daily@2026-11-02T14:00:00Z#a b"]
        {
            assert!(text.parse::<OccurrenceKey>().is_err(), "{text}");
        }
    }
}
