//! The answer to a start, sorted by what it says about the run: there is one, there is none and never will be, there is none
//! yet, or nobody can tell. Pure.
//!
//! | what came | sorted | because |
//! |---|---|---|
//! | 2xx with a `run_id` | started | |
//! | 2xx without, unreadable, cut off, too large | unknown | a run was probably made, its name is lost |
//! | no connection (refused, DNS, TLS, connect time-out) | not started | the request did not leave |
//! | time-out, connection lost after sending | unknown | the server goes on without us |
//! | 3xx but 303 | not started | whoever redirects has not carried it out; another address may |
//! | 303 | unknown | "done, look there" |
//! | 401, 402, 403, 407 | not started | key, plan or proxy can be repaired |
//! | 404 in another program's words | not started | a proxy whose server is away says so |
//! | 408 | unknown | some proxies say it after they passed the request on |
//! | 421, 425, 429 | not started | asked to come again |
//! | every other 4xx | refused | the same request gets the same answer |
//! | 503 that says that no run was created | not started | the server's own words |
//! | every other 5xx | unknown | a 500 may come after the run was made; a proxy's 502 or 504 says nothing |

use std::time::Duration;

use super::{
    answer::{Answer, Said, one_line},
    client::{HINT_KEY, describe, unreadable},
    transport::Failure,
    wire,
};
use crate::{engine::RunReport, secret::Secret};

/// Whether this status of an answer says that the key is not accepted.
#[must_use]
pub fn refuses_the_key(http_status: u16) -> bool {
    matches!(http_status, 401 | 403)
}

/// Whether a start was refused because of the address for its webhook: older servers take no address of a private network.
/// No run was made.
#[must_use]
pub fn refuses_the_webhook(reply: &StartReply) -> bool {
    matches!(reply, StartReply::Refused { http_status: 400 | 422, message, .. } if message.contains("webhook_url"))
}

/// What came of a start. Every message is one line, bounded, and without the key; every hint says what an operator can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartReply {
    /// There is a run.
    Started(Box<RunReport>),
    /// There is none, and the same request would be refused again.
    Refused {
        /// The HTTP status.
        http_status: u16,
        /// What the server said.
        message: String,
        /// What an operator can do.
        hint: &'static str,
    },
    /// There is surely none; a later try may succeed.
    NotStarted {
        /// How long the server asked to wait.
        retry_after: Option<Duration>,
        /// The HTTP status, where one came.
        http_status: Option<u16>,
        /// What happened.
        message: String,
        /// What an operator can do.
        hint: &'static str,
    },
    /// The request left, and no clear answer came: there may be a run.
    Unknown {
        /// The HTTP status, where one came.
        http_status: Option<u16>,
        /// What happened.
        message: String,
        /// What an operator can do.
        hint: &'static str,
    },
}

const HINT_LOOK: &str =
    "look at the workflow's runs at Skyvern for one that began at this time, before starting it again";

/// Sorts what came of the request. `secrets` are taken out of the server's words.
pub(super) fn sort_start(outcome: Result<Answer, Failure>, secrets: &[&Secret]) -> StartReply {
    match outcome {
        Ok(answer) if answer.is_success() => started(&answer),
        Ok(answer) => sort_status(&answer, secrets),
        Err(failure) => sort_failure(failure),
    }
}

fn started(answer: &Answer) -> StartReply {
    let unknown = |message| StartReply::Unknown { http_status: Some(answer.status), message, hint: HINT_LOOK };
    match serde_json::from_slice::<wire::Run>(&answer.body) {
        Ok(run) => match run.into_report() {
            Some(report) => StartReply::Started(Box::new(report)),
            None => unknown("the server accepted the start, but its answer names no run".to_owned()),
        },
        Err(error) => unknown(format!("the server accepted the start, but {}", unreadable(&error))),
    }
}

fn sort_status(answer: &Answer, secrets: &[&Secret]) -> StartReply {
    let http_status = answer.status;
    let said = answer.said(secrets);
    let message = describe(http_status, &said);
    let refused = |message, hint| StartReply::Refused { http_status, message, hint };
    let not_started = |message, hint| StartReply::NotStarted {
        retry_after: answer.retry_after,
        http_status: Some(http_status),
        message,
        hint,
    };
    let unknown = |message, hint| StartReply::Unknown { http_status: Some(http_status), message, hint };
    match (http_status, &said) {
        (303, _) => unknown(message, HINT_LOOK),
        (300..=399, _) => {
            let to = answer.location.as_deref().map(one_line).unwrap_or_default();
            let to = secrets.iter().fold(to, |text, secret| secret.redact(&text));
            let message = format!("the server answered {http_status}, a redirect to {to:?}, which is not followed");
            not_started(message, "set base_url to where the API itself is (often https instead of http)")
        }
        (401 | 403, _) => not_started(message, HINT_KEY),
        (402, _) => not_started(message, "check the plan and the credits of the organisation at Skyvern"),
        (407, _) => not_started(message, "the proxy wants a name and a password: check HTTPS_PROXY"),
        (404, Said::Other(_)) => {
            not_started(message, "the answer is not Skyvern's: check base_url and the proxy before the server")
        }
        (404, Said::NoRoute) | (405, _) => refused(
            message,
            "this server does not have this call: check base_url, and that its version is 0.1.71 or newer",
        ),
        (404, Said::Skyvern(_)) => {
            refused(message, "check workflow_id, and that the workflow exists in the organisation of the API key")
        }
        (408, _) => unknown(message, HINT_LOOK),
        (421 | 425, _) => not_started(message, "a proxy asks to send it again, which happens by itself"),
        (429, _) => not_started(message, "the server asks for fewer starts: spread the schedules, or raise the plan"),
        (413, _) => refused(message, "the request is too large: shorten the parameters"),
        (400 | 422, _) => {
            refused(message, "check the schedule's parameters and options against what the workflow declares")
        }
        (400..=499, _) => refused(message, "the server refuses the request: its words say why"),
        // Both the gate's words and its status: the same status can mean that the database went away while writing.
        (503, Said::Skyvern(text)) if text.to_ascii_lowercase().contains("no run was created") => {
            not_started(message, "the server is busy; the next try comes by itself")
        }
        _ => unknown(message, HINT_LOOK),
    }
}

fn sort_failure(failure: Failure) -> StartReply {
    let unknown = |http_status, message| StartReply::Unknown { http_status, message, hint: HINT_LOOK };
    match failure {
        Failure::Connect { text, hint } => StartReply::NotStarted {
            retry_after: None,
            http_status: None,
            message: format!("no connection to the server: {text}"),
            hint,
        },
        Failure::Timeout { .. } => unknown(None, "the server did not answer in time".to_owned()),
        Failure::Broken { text } => unknown(None, format!("the connection broke before the answer: {text}")),
        Failure::BodyLost { status, text } => {
            unknown(Some(status), format!("the connection broke within the answer (status {status}): {text}"))
        }
        Failure::TooLarge { status, bytes_max } => {
            unknown(Some(status), format!("the answer (status {status}) is larger than {bytes_max} bytes"))
        }
    }
}
