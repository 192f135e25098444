//! The kinds of failure, each with what happened and what an operator can do. Not for starts: those are sorted more finely
//! (`sorting`).

use std::{fmt, time::Duration};

/// Why a client could not be made. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The address cannot carry the API.
    #[error("base_url {0}")]
    BaseUrl(String),
    /// Plain http to another machine would show the key to everybody on the way.
    #[error("base_url {0} is plain http, which shows the API key to everybody on the way")]
    PlainHttp(String),
    /// The key does not fit into a header. The key itself is not shown.
    #[error(
        "the API key has a character that a header cannot carry (a line break, a control or a non-ASCII character)"
    )]
    Key,
    /// No key at all.
    #[error("the API key is empty")]
    NoKey,
    /// The certificates of the system could not be used.
    #[error("the certificates that this machine trusts cannot be used: {0}")]
    Trust(String),
    /// Anything else, in the HTTP library's words.
    #[error("the HTTP client cannot be set up: {0}")]
    Setup(String),
}

impl ClientError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::BaseUrl(_) => "give the server's address alone, as in https://api.skyvern.com",
            Self::PlainHttp(_) => "use https, or set allow_plain_http = true for a network that you trust",
            Self::Key => "check the key's source for quotes, line breaks and other characters that are not part of it",
            Self::NoKey => "give the key that Skyvern shows under Settings, API Keys",
            Self::Trust(_) => "install the system's ca-certificates, or point SSL_CERT_FILE at a bundle",
            Self::Setup(_) => "check the proxy variables of the environment (HTTPS_PROXY, NO_PROXY)",
        }
    }
}

/// What kind of failure a call met: what the caller does next depends on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiErrorKind {
    /// The key is missing, wrong, expired, or may not do this. It can be repaired without a change here.
    Unauthorized,
    /// The server knows no such thing.
    NotFound,
    /// The server has no schedules of its own: an old one, or one where they are switched off.
    NoSchedules,
    /// The server said no, and will say so again.
    Refused,
    /// Too many requests; later.
    RateLimited,
    /// No answer, or one that says nothing about the question (a time-out, a proxy's error page, a 5xx); later.
    Unavailable,
    /// An answer that cannot be read: probably not Skyvern, or larger than the limit.
    Nonsense,
}

/// Why a call did not give what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// What to do next.
    pub kind: ApiErrorKind,
    /// The HTTP status, where one came.
    pub http_status: Option<u16>,
    /// How long the server asked to wait.
    pub retry_after: Option<Duration>,
    /// What happened: one line, bounded, without the key.
    pub message: String,
    /// What an operator can do.
    pub hint: &'static str,
}

impl ApiError {
    /// Whether the same call may succeed later without anybody's help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self.kind, ApiErrorKind::RateLimited | ApiErrorKind::Unavailable)
    }
}

/// The message alone; the hint stands apart.
impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}
