//! Browser sessions and profiles that a run can be started with: whether there is one of an id.

use reqwest::Method;

use super::{
    client::{Client, read},
    error::{ApiError, ApiErrorKind},
    wire,
};

/// What a server says of a browser session or profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrowserState {
    /// It is there.
    There,
    /// It is there no more: a session that ended with this status.
    Over(String),
    /// The organisation of this key has none of this id.
    Absent,
    /// This server does not have the call.
    NotTold,
}

/// The statuses with which a session is over.
const OVER: [&str; 3] = ["completed", "failed", "timeout"];

impl Client {
    /// Whether a browser session (`pbs_…`) can be used.
    ///
    /// # Errors
    /// See [`ApiError`]; that there is none is an answer.
    pub async fn browser_session(&self, id: &str) -> Result<BrowserState, ApiError> {
        self.browser_state("browser_sessions", id).await
    }

    /// Whether there is a browser profile (`bp_…`).
    ///
    /// # Errors
    /// See [`ApiError`]; that there is none is an answer.
    pub async fn browser_profile(&self, id: &str) -> Result<BrowserState, ApiError> {
        self.browser_state("browser_profiles", id).await
    }

    async fn browser_state(&self, what: &str, id: &str) -> Result<BrowserState, ApiError> {
        let answer = self.call(Method::GET, self.url(&["v1", what, id]), false).await;
        match self.expect_success(answer).and_then(|answer| read::<wire::Browser>(&answer)) {
            Ok(browser) => Ok(match browser.status {
                Some(status) if OVER.contains(&status.as_str()) => BrowserState::Over(status),
                _ => BrowserState::There,
            }),
            Err(error) if error.kind == ApiErrorKind::NotFound => Ok(BrowserState::Absent),
            Err(error) if error.kind == ApiErrorKind::Nonsense && matches!(error.http_status, Some(404 | 405)) => {
                Ok(BrowserState::NotTold)
            }
            Err(error) => Err(error),
        }
    }
}
