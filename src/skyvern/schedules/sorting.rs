//! The answer to a change of a schedule, sorted by what it says about the server's state: changed, surely not, or nobody can
//! tell. Pure.
//!
//! | what came | sorted | because |
//! |---|---|---|
//! | 2xx with the schedule | done | |
//! | 2xx without, unreadable, cut off, too large | unknown | it was probably changed |
//! | no connection (refused, DNS, TLS, connect time-out) | not done | the request did not leave |
//! | time-out, connection lost after sending | unknown | the server goes on without us |
//! | 3xx but 303 | not done | whoever redirects has not carried it out |
//! | 401, 403, 407 | unauthorized | key or proxy can be repaired |
//! | 404 in Skyvern's words | not found | |
//! | 404 without a route, 405, 501 in Skyvern's words | no schedules | an old server, or one where they are switched off |
//! | 404 in another program's words, 421, 425, 429 | not done | a proxy whose server is away; asked to come again |
//! | 409 about a limit | limit reached | |
//! | 409 about one that was started or cancelled | over | |
//! | 303, 408 | unknown | "done, look there"; a proxy may have passed it on |
//! | every other 4xx | refused | the same request gets the same answer |
//! | every other 5xx | unknown | a 500 may mean that it was stored, a 502 that undoing it failed, a 503 that it was committed |

use super::{
    ServerSchedule, WriteError, WriteErrorKind,
    wire::{Deleted, One},
};
use crate::{
    secret::Secret,
    skyvern::{
        answer::{Answer, Said},
        client::{HINT_KEY, HINT_NO_SCHEDULES, describe, unreadable},
        transport::Failure,
    },
};

const HINT_LOOK: &str = "look at the workflow's schedules at Skyvern before changing it again";

/// The schedule in the answer to a successful change.
pub(super) fn written(answer: &Answer, secrets: &[&Secret]) -> Result<ServerSchedule, WriteError> {
    match serde_json::from_slice::<One>(&answer.body) {
        Ok(one) => one.into_schedule().ok_or_else(|| {
            let said = answer.said(secrets);
            unsure(answer, format!("the server accepted the change, but names no schedule: {}", said.text()))
        }),
        Err(error) => Err(unsure(answer, format!("the server accepted the change, but {}", unreadable(&error)))),
    }
}

/// Whether the answer to a successful deletion says so.
pub(super) fn deleted(answer: &Answer) -> Result<(), WriteError> {
    match serde_json::from_slice::<Deleted>(&answer.body) {
        Ok(Deleted { ok: true }) => Ok(()),
        Ok(_) => Err(unsure(answer, "the server accepted the deletion, but says that it is not done".to_owned())),
        Err(error) => Err(unsure(answer, format!("the server accepted the deletion, but {}", unreadable(&error)))),
    }
}

fn unsure(answer: &Answer, message: String) -> WriteError {
    WriteError {
        kind: WriteErrorKind::Unknown,
        http_status: Some(answer.status),
        retry_after: None,
        message,
        hint: HINT_LOOK,
    }
}

/// Sorts an answer that is no 2xx. `secrets` are taken out of the server's words.
pub(super) fn sort_status(answer: &Answer, secrets: &[&Secret]) -> WriteError {
    use WriteErrorKind::{LimitReached, NoSchedules, NotDone, NotFound, Over, Refused, Unauthorized, Unknown};
    let said = answer.said(secrets);
    let words = match &said {
        Said::Skyvern(text) => text.as_str(),
        _ => "",
    };
    let (kind, hint) = match (answer.status, &said) {
        (303 | 408, _) => (Unknown, HINT_LOOK),
        (300..=399, _) => {
            (NotDone, "base_url is answered by a redirect, which is not followed: set it to where the API itself is")
        }
        (401 | 403, _) => (Unauthorized, HINT_KEY),
        (407, _) => (Unauthorized, "the proxy wants a name and a password: check HTTPS_PROXY"),
        (404, Said::Skyvern(_)) => {
            (NotFound, "check the id, and that the key belongs to the organisation that owns it")
        }
        (404, Said::Other(_)) => {
            (NotDone, "the answer is not Skyvern's: check base_url and the proxy before the server")
        }
        (404 | 405, _) | (501, Said::Skyvern(_)) => (NoSchedules, HINT_NO_SCHEDULES),
        (409, _) if words.starts_with("Maximum of ") => {
            (LimitReached, "delete schedules that nobody needs, let this daemon fire some, or raise the plan")
        }
        (409, _) if words.contains("already fired or was canceled") => {
            (Over, "a schedule that was due once cannot change any more: give a new one a new id")
        }
        (421 | 425 | 429, _) => (NotDone, "the server asks for fewer requests; the next try comes later by itself"),
        (400 | 422, _) => {
            (Refused, "the server's words say what it does not accept of the schedule, or of the workflow's parameters")
        }
        (400..=499, _) => (Refused, "the server refuses the request: its words say why"),
        _ => (Unknown, HINT_LOOK),
    };
    let message = describe(answer.status, &said);
    WriteError { kind, http_status: Some(answer.status), retry_after: answer.retry_after, message, hint }
}

/// Sorts a request without a complete answer.
pub(super) fn sort_failure(failure: Failure) -> WriteError {
    let error = |kind, http_status, message, hint| WriteError { kind, http_status, retry_after: None, message, hint };
    let unknown = |http_status, message| error(WriteErrorKind::Unknown, http_status, message, HINT_LOOK);
    match failure {
        Failure::Connect { text, hint } => {
            error(WriteErrorKind::NotDone, None, format!("no connection to the server: {text}"), hint)
        }
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
