//! Why a question of the HTTP side has no answer, and how that is said.

use axum::http::StatusCode;

use crate::history::HistoryError;

/// Why a question has no answer now.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The event loop does not answer.
    #[error("the event loop does not answer: it is stuck, or it is stopping")]
    Loop,
    /// The history cannot be read.
    #[error("the history cannot be read: {0}")]
    History(#[from] HistoryError),
    /// There is no such thing.
    #[error("there is no {0}")]
    Absent(String),
    /// The question itself is wrong.
    #[error("{0}")]
    Asked(String),
    /// A page could not be made.
    #[error("the page could not be made: {0}")]
    Page(#[from] minijinja::Error),
    /// The templates of the pages are wrong, which a test rules out.
    #[error("the templates cannot be used: {0}")]
    Template(String),
    /// The metrics could not be written.
    #[error("the metrics could not be written: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The work was given up, since the server ends.
    #[error("the daemon is stopping")]
    Ended,
}

impl Trouble {
    /// As a status code.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Loop | Self::Ended => StatusCode::SERVICE_UNAVAILABLE,
            // Made by the daemon in a moment, if it is not there yet.
            Self::History(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Absent(_) => StatusCode::NOT_FOUND,
            Self::Asked(_) => StatusCode::BAD_REQUEST,
            Self::Page(_) | Self::Template(_) | Self::Metrics(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
