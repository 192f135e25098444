//! The policies of a schedule: closed lists, with their defaults. Values only; `engine` acts on them.

use std::time::Duration;

use crate::{ids::ChannelName, words::words};

words! {
    /// Who starts the runs.
    #[derive(Default)]
    Fires {
        /// This daemon.
        #[default]
        Local = "local",
        /// Skyvern's own scheduler.
        Server = "server",
    }
}

words! {
    /// What happens to an occurrence that Skyvern's own scheduler, whose it is, did not start in time.
    #[derive(Default)]
    Failover {
        /// It is `missed`.
        #[default]
        None = "none",
        /// The schedule is taken back from the server, this daemon starts it, and hands the schedule over again.
        Local = "local",
    }
}

words! {
    /// What happens when an occurrence is due while a run of its schedule is still going.
    #[derive(Default)]
    Overlap {
        /// The new one is not started.
        #[default]
        Skip = "skip",
        /// One waits until the run ends; while one waits, further ones are not started.
        BufferOne = "buffer_one",
        /// The run is cancelled, then the new one is started.
        CancelRunning = "cancel_running",
        /// Both run.
        Allow = "allow",
    }
}

words! {
    /// What happens to occurrences that passed while nothing could fire.
    #[derive(Default)]
    CatchUp {
        /// The latest one is started, those before it are recorded as missed.
        #[default]
        Latest = "latest",
        /// All are started, oldest first, up to a bound.
        All = "all",
        /// None is started.
        None = "none",
    }
}

words! {
    /// What happens when it cannot be known whether a start reached the server.
    #[derive(Default)]
    OnUnknown {
        /// The occurrence is held as `unknown`; a person decides.
        #[default]
        Hold = "hold",
        /// It is started again: twice rather than never.
        Retry = "retry",
    }
}

words! {
    /// A local time that a clock change skips.
    #[derive(Default)]
    Gap {
        /// Later by the length of the gap, that is, read with the offset from before it (RFC 5545).
        #[default]
        Shift = "shift",
        /// Not due that day.
        Skip = "skip",
    }
}

words! {
    /// A local time that a clock change repeats.
    #[derive(Default)]
    Fold {
        /// `both` where the hour field is `*` or `*/n`, `first` elsewhere.
        #[default]
        Auto = "auto",
        /// Due at the first of the two only.
        First = "first",
        /// Due at both.
        Both = "both",
    }
}

/// Starting a run again after it ended badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRetry {
    /// Starts in all, the first included; 2 to 10.
    pub max_attempts: u32,
    /// The final statuses that lead to another start, in the API's words.
    pub on: Vec<String>,
    /// Wait before the second start; it doubles from one to the next.
    pub delay: Duration,
    /// The longest wait.
    pub max_delay: Duration,
}

/// The policies of one schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// Who starts the runs.
    pub fires: Fires,
    /// With `fires = "server"`: how late the server may be; past it, the occurrence is `missed`.
    pub server_grace: Duration,
    /// With `fires = "server"`: what happens to an occurrence that the server did not start in time.
    pub failover: Failover,
    /// Due while a run is still going.
    pub overlap: Overlap,
    /// Passed while nothing could fire.
    pub catch_up: CatchUp,
    /// How late a start may be; past it, the occurrence is `missed`.
    pub catch_up_window: Duration,
    /// Each occurrence is started this much later at most, by an amount that its key decides; never past the next one.
    pub jitter: Duration,
    /// A run that goes on longer is cancelled.
    pub run_timeout: Option<Duration>,
    /// Starting again after a bad end.
    pub retry: Option<RunRetry>,
    /// What to do where the API leaves it unknowable whether a run was started.
    pub on_unknown: OnUnknown,
    /// Who is told of it: the channels of `[notify]`.
    pub notify: Vec<ChannelName>,
    /// Not started so long after it was due: worth an alarm.
    pub late_after: Option<Duration>,
    /// So many bad ends in a row: worth an alarm of their own.
    pub failures_in_a_row: Option<u32>,
    /// No completed run for so long: worth an alarm.
    pub no_success_for: Option<Duration>,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            fires: Fires::default(),
            server_grace: Duration::from_secs(5 * 60),
            failover: Failover::default(),
            overlap: Overlap::default(),
            catch_up: CatchUp::default(),
            catch_up_window: Duration::from_secs(24 * 3600),
            jitter: Duration::ZERO,
            run_timeout: None,
            retry: None,
            on_unknown: OnUnknown::default(),
            notify: Vec::new(),
            late_after: None,
            failures_in_a_row: None,
            no_success_for: None,
        }
    }
}
