//! The server's own schedules: what they are, and the calls that read and change them. What should be changed is decided by
//! the mirror.
//!
//! | file | what it is |
//! |---|---|
//! | `read` | one schedule, a workflow's, all of them: complete, or an error |
//! | `write` | create, update, enable, disable, delete, cancel |
//! | `sorting` | the answer to a change → [`WriteErrorKind`]; pure |
//! | `run_id` | the id of the run that an occurrence will have |
//! | `path` | the paths, and the newer names of those |
//! | `wire` | the shapes of the JSON |

mod path;
mod read;
mod run_id;
mod sorting;
mod wire;
mod write;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::{
    ids::{RunId, ServerScheduleId, WorkflowId},
    words::words,
};
pub use run_id::scheduled_run_id;

/// When one of the server's schedules is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerCadence {
    /// In the server's dialect, as it is stored: raw, untrimmed.
    Cron(String),
    /// Every so many seconds. Servers from 1.0.55 on.
    Interval {
        /// 300 or more.
        interval_seconds: u64,
        /// The first one; absent in a draft: one interval after the request.
        first_fire_at: Option<DateTime<Utc>>,
    },
    /// Once. Servers from 1.0.55 on.
    Once {
        /// At least a minute ahead when it is made.
        run_at: DateTime<Utc>,
    },
}

words! {
    /// What became of a schedule that is due once.
    DispatchStatus {
        /// Not due yet.
        Pending = "pending",
        /// Its run was started.
        Fired = "fired",
        /// It was cancelled before.
        Canceled = "canceled",
        /// Its run could not be started.
        Failed = "failed",
    }
}

/// One of the server's schedules, as the server tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSchedule {
    /// Its id.
    pub id: ServerScheduleId,
    /// The workflow that it runs.
    pub workflow_id: WorkflowId,
    /// Whether it fires.
    pub enabled: bool,
    /// When it is due; `None`: in a way that this program does not know.
    pub cadence: Option<ServerCadence>,
    /// IANA name.
    pub timezone: String,
    /// For people.
    pub name: Option<String>,
    /// For people, and for the mirror's marker.
    pub description: Option<String>,
    /// What its runs are started with; empty where the server has none.
    pub parameters: Map<String, Value>,
    /// The server's own preview of when it is due. Known to be wrong around clock changes.
    pub next_runs: Vec<DateTime<Utc>>,
    /// Only where it is due once.
    pub dispatch_status: Option<DispatchStatus>,
    /// The run that a schedule which is due once has started.
    pub run_id: Option<RunId>,
    /// When it was made.
    pub created_at: Option<DateTime<Utc>>,
    /// When it was last changed; the server starts no occurrence from before that.
    pub modified_at: Option<DateTime<Utc>>,
}

/// What a schedule is to be like: the whole of it, since an update replaces everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleDraft {
    /// When it is due.
    pub cadence: ServerCadence,
    /// IANA name.
    pub timezone: String,
    /// For people.
    pub name: Option<String>,
    /// For people, and for the mirror's marker.
    pub description: Option<String>,
    /// What its runs are started with.
    pub parameters: Map<String, Value>,
    /// Whether it fires. Always sent: servers before 1.0.47 enable a schedule whose update does not say.
    pub enabled: bool,
}

/// Which of the organisation's schedules. The default: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScheduleFilter {
    /// Only those that fire, or only those that do not; in both cases without those that were due once and are over.
    pub status: Option<ScheduleStatus>,
    /// Only those with this text in their name or in their workflow's title, whatever the case.
    pub search: Option<String>,
}

words! {
    /// Whether a schedule fires.
    ScheduleStatus {
        /// It does.
        Active = "active",
        /// It is switched off.
        Paused = "paused",
    }
}

/// What can be concluded from a change that did not clearly succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteErrorKind {
    /// The server has no schedules: an old one, or one where they are switched off. Nothing changed.
    NoSchedules,
    /// The key is missing, wrong, expired, or may not do this. Nothing changed; it can be repaired without a change here.
    Unauthorized,
    /// The workflow or the schedule is not there.
    NotFound,
    /// The plan's limit of schedules is reached.
    LimitReached,
    /// A schedule that is due once was started or cancelled, and cannot change any more.
    Over,
    /// The server said no, and will say so again.
    Refused,
    /// Surely nothing changed; a later try may succeed without anybody's help.
    NotDone,
    /// It may have changed or not: look before trying again.
    Unknown,
}

/// Why a change did not clearly succeed. The message is one line, bounded, and without the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WriteError {
    /// What to do next.
    pub kind: WriteErrorKind,
    /// The HTTP status, where one came.
    pub http_status: Option<u16>,
    /// How long the server asked to wait.
    pub retry_after: Option<Duration>,
    /// What happened.
    pub message: String,
    /// What an operator can do.
    pub hint: &'static str,
}
