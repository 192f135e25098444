//! How the server took the latest requests: counted by outcome, and the latest word on whether it can be used.
//!
//! For the status and the metrics; nothing is decided by it, and no request is made for it. None of the server's own words
//! are kept: what they may repeat of a request is nobody's business here.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::{
    answer::Answer,
    error::{ApiError, ApiErrorKind},
    transport::Failure,
};
use crate::{clock::Stopwatch, words::words};

words! {
    /// What came of a request.
    RequestOutcome {
        /// A 2xx with JSON.
        Ok = "ok",
        /// The server said no to this request.
        Refused = "refused",
        /// The server does not take the key.
        Unauthorized = "unauthorized",
        /// Too many requests.
        RateLimited = "rate_limited",
        /// The server, or a proxy before it, has a problem of its own.
        ServerError = "server_error",
        /// No connection was made.
        NoConnection = "no_connection",
        /// The answer did not come in time.
        TimedOut = "timed_out",
        /// The connection broke, or the answer cannot be read.
        Broken = "broken",
    }
}

words! {
    /// What a request was for.
    RequestPurpose {
        /// Starting a run.
        Start = "start",
        /// Everything else.
        Other = "other",
    }
}

/// The latest word on whether the server can be used.
#[derive(Debug, Clone)]
pub struct Beat {
    /// How long ago.
    pub watch: Stopwatch,
    /// What came of that request.
    pub outcome: RequestOutcome,
    /// In one line.
    pub text: String,
}

impl Beat {
    /// Whether the server was reached and took the key.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self.outcome, RequestOutcome::Ok | RequestOutcome::Refused)
    }
}

/// Counts since the process began, and the latest [`Beat`].
#[derive(Debug, Default)]
pub struct Pulse {
    counts: [[AtomicU64; RequestOutcome::ALL.len()]; RequestPurpose::ALL.len()],
    latest: Mutex<Option<Beat>>,
}

impl Pulse {
    /// How many requests for this came to this outcome.
    #[must_use]
    pub fn count(&self, purpose: RequestPurpose, outcome: RequestOutcome) -> u64 {
        self.counts[purpose as usize][outcome as usize].load(Ordering::Relaxed)
    }

    /// The latest word; `None`: nothing was asked yet.
    #[must_use]
    pub fn latest(&self) -> Option<Beat> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes in what came of an exchange; `sorted` is the error that a bad answer amounts to.
    pub(super) fn note(&self, purpose: RequestPurpose, came: &Result<Answer, Failure>, sorted: Option<&ApiError>) {
        let (outcome, text) = sort(came, sorted);
        self.counts[purpose as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
        // Older servers do not have every call; whether this one is none of Skyvern's at all, `Client::check_key` tells.
        if outcome == RequestOutcome::Broken && came.as_ref().is_ok_and(|answer| matches!(answer.status, 404 | 405)) {
            return;
        }
        let beat = Beat { watch: Stopwatch::start(), outcome, text };
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(beat);
    }
}

fn sort(came: &Result<Answer, Failure>, sorted: Option<&ApiError>) -> (RequestOutcome, String) {
    use RequestOutcome::{Broken, NoConnection, Ok as Good, RateLimited, Refused, ServerError, TimedOut, Unauthorized};
    let answered = |answer: &Answer| format!("the server answered {}", answer.status);
    match came {
        // A page of a proxy that asks for a login comes with 200, too.
        Ok(answer) if answer.is_success() && !looks_like_json(&answer.body) => {
            (Broken, format!("{}, and not with JSON", answered(answer)))
        }
        Ok(answer) => {
            let outcome = match sorted.map(|error| error.kind) {
                None => Good,
                Some(ApiErrorKind::NotFound | ApiErrorKind::NoSchedules | ApiErrorKind::Refused) => Refused,
                Some(ApiErrorKind::Unauthorized) => Unauthorized,
                Some(ApiErrorKind::RateLimited) => RateLimited,
                Some(ApiErrorKind::Unavailable) => ServerError,
                Some(ApiErrorKind::Nonsense) => Broken,
            };
            let text = match outcome {
                Unauthorized => format!("the API key is not accepted: {}", answered(answer)),
                Broken => sorted.map_or_else(String::new, |error| format!("{}: {}", answered(answer), error.hint)),
                _ => answered(answer),
            };
            (outcome, text)
        }
        Err(Failure::Connect { text, .. }) => (NoConnection, format!("no connection to the server: {text}")),
        Err(Failure::Timeout { .. }) => (TimedOut, "the server did not answer in time".to_owned()),
        Err(Failure::Broken { text } | Failure::BodyLost { text, .. }) => {
            (Broken, format!("the connection to the server broke: {text}"))
        }
        // It is there, and it took the key.
        Err(Failure::TooLarge { status, .. }) => (Good, format!("the server answered {status}")),
    }
}

fn looks_like_json(body: &[u8]) -> bool {
    body.trim_ascii_start().first().is_none_or(|first| b"{[\"ntf0123456789-".contains(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_sorted() {
        let answer =
            |status, body: &str| Answer { status, retry_after: None, date: None, location: None, body: body.into() };
        let error = |kind| ApiError { kind, http_status: None, retry_after: None, message: String::new(), hint: "" };
        let check = |came: Result<Answer, Failure>, kind: Option<ApiErrorKind>, outcome: RequestOutcome, good: bool| {
            let pulse = Pulse::default();
            assert!(pulse.latest().is_none());
            pulse.note(RequestPurpose::Start, &came, kind.map(error).as_ref());
            let beat = pulse.latest().unwrap();
            assert_eq!((beat.outcome, beat.is_good()), (outcome, good), "{came:?}: {}", beat.text);
            assert_eq!(pulse.count(RequestPurpose::Start, outcome), 1);
            assert_eq!(pulse.count(RequestPurpose::Other, outcome), 0);
        };
        check(Ok(answer(200, "{}")), None, RequestOutcome::Ok, true);
        check(Ok(answer(200, "")), None, RequestOutcome::Ok, true);
        check(Ok(answer(200, "<html>log in</html>")), None, RequestOutcome::Broken, false);
        check(Ok(answer(404, "{}")), Some(ApiErrorKind::NotFound), RequestOutcome::Refused, true);
        check(Ok(answer(403, "{}")), Some(ApiErrorKind::Unauthorized), RequestOutcome::Unauthorized, false);
        check(Ok(answer(429, "{}")), Some(ApiErrorKind::RateLimited), RequestOutcome::RateLimited, false);
        check(Ok(answer(502, "")), Some(ApiErrorKind::Unavailable), RequestOutcome::ServerError, false);
        check(Err(Failure::Timeout { text: String::new() }), None, RequestOutcome::TimedOut, false);
        check(Err(Failure::TooLarge { status: 200, bytes_max: 1 }), None, RequestOutcome::Ok, true);
    }
}
