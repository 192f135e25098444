//! The words for one run at Skyvern: its status, and what the API reports of it. Values only; reading them off the wire is
//! `skyvern`'s work.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::{engine::occurrence::Status, ids::RunId};

/// The API's status of a run. A word that is not known today is kept as it came, and is not taken for an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunStatus {
    /// Accepted.
    Created,
    /// Waiting for a place at the server.
    Queued,
    /// Going.
    Running,
    /// Waits for a person or a code, perhaps for hours. Not an end.
    Paused,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Ended by the workflow itself, deliberately.
    Terminated,
    /// Ended by the server's time limit.
    TimedOut,
    /// Ended by a request to cancel it.
    Canceled,
    /// A word that this version does not know.
    Other(String),
}

impl RunStatus {
    /// Reads the API's word.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "created" => Self::Created,
            "queued" => Self::Queued,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "completed" => Self::Completed,
            "failed" => Self::Failed,
            "terminated" => Self::Terminated,
            "timed_out" => Self::TimedOut,
            "canceled" => Self::Canceled,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The API's word.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Created => "created",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Terminated => "terminated",
            Self::TimedOut => "timed_out",
            Self::Canceled => "canceled",
            Self::Other(word) => word,
        }
    }

    /// The status of the occurrence whose run stands so: the same word for an end, `running` for everything else.
    #[must_use]
    pub fn occurrence_status(&self) -> Status {
        match self {
            Self::Completed => Status::Completed,
            Self::Failed => Status::Failed,
            Self::Terminated => Status::Terminated,
            Self::TimedOut => Status::TimedOut,
            Self::Canceled => Status::Canceled,
            Self::Created | Self::Queued | Self::Running | Self::Paused | Self::Other(_) => Status::Running,
        }
    }

    /// Whether the word is one of the API's five ends. A run with such a status is over only if no retry of it is pending.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.occurrence_status() != Status::Running
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What the API reports of a run: every field of its response that is kept. Timestamps without a zone were read as UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// `run_id`.
    pub run_id: RunId,
    /// `run_type`, `workflow_run` for a workflow.
    pub run_type: Option<String>,
    /// `status`.
    pub status: RunStatus,
    /// `retry_pending`: the server will run it again under the same id; absent on older servers, which is `false`.
    pub retry_pending: bool,
    /// `attempt`: which of the server's own attempts this is, from 1.
    pub attempt: Option<u32>,
    /// `next_attempt_at`.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// `output`, as JSON text.
    pub output: Option<String>,
    /// `screenshot_urls`.
    pub screenshot_urls: Vec<String>,
    /// `recording_url`.
    pub recording_url: Option<String>,
    /// `failure_reason`.
    pub failure_reason: Option<String>,
    /// `errors`, as JSON text.
    pub errors: Option<String>,
    /// `downloaded_files`, as JSON text.
    pub downloaded_files: Option<String>,
    /// `app_url`: the run's page at Skyvern.
    pub app_url: Option<String>,
    /// `created_at`.
    pub created_at: Option<DateTime<Utc>>,
    /// `modified_at`.
    pub modified_at: Option<DateTime<Utc>>,
    /// `queued_at`, of the latest attempt.
    pub queued_at: Option<DateTime<Utc>>,
    /// `started_at`, of the latest attempt.
    pub started_at: Option<DateTime<Utc>>,
    /// `finished_at`, of the latest attempt.
    pub finished_at: Option<DateTime<Utc>>,
    /// `browser_session_id`.
    pub browser_session_id: Option<String>,
    /// Something was larger than the limit on bodies and is kept in part or not at all.
    pub truncated: bool,
}

impl RunReport {
    /// A report of which only the id and the status are known.
    #[must_use]
    pub fn bare(run_id: RunId, status: RunStatus) -> Self {
        Self {
            run_id,
            run_type: None,
            status,
            retry_pending: false,
            attempt: None,
            next_attempt_at: None,
            output: None,
            screenshot_urls: Vec::new(),
            recording_url: None,
            failure_reason: None,
            errors: None,
            downloaded_files: None,
            app_url: None,
            created_at: None,
            modified_at: None,
            queued_at: None,
            started_at: None,
            finished_at: None,
            browser_session_id: None,
            truncated: false,
        }
    }

    /// Whether nothing more is to come: a final status, and no retry of the server's own pending.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.status.is_final() && !self.retry_pending
    }
}
