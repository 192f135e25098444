//! Webhooks from Skyvern: what comes in is checked against the address and the signature, and thrown away; what is left is a
//! hint that a run has news.
//!
//! A thread of its own, as the status has: nothing that comes in from outside delays a start. What a hint leads to is
//! `dispatch`'s work.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, TimeDelta, Utc};
use http_body_util::BodyExt;

use super::{
    listener::{Listener, Listening},
    server::{Hosts, Limits},
};
use crate::{clock::Clock, dispatch::Hints};

/// A body holds the run's whole output, twice.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Of what is refused, so much is read.
const REFUSED_BYTES_MAX: usize = 1 << 20;
/// Skyvern gives up after this long.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// How far the time in a webhook may be from ours. It is not signed and so proves nothing, and servers get it wrong by their
/// zone's offset from UTC, which is 14 hours at most; the rest is for clocks. A webhook of another day is a replay.
const TIMESTAMP_HOURS_MAX: i64 = 15;

/// The running listener. It ends when this is dropped.
#[derive(Debug)]
pub(in crate::daemon) struct Hooks {
    _listener: Listener,
}

struct Door {
    hints: Arc<Hints>,
    clock: Arc<dyn Clock>,
}

impl Hooks {
    /// Starts the thread. Until it can listen, runs are looked at as they are without webhooks.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(in crate::daemon) fn start(address: SocketAddr, hints: Arc<Hints>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listening = Listening {
            name: "webhooks",
            trouble: "webhooks cannot come in",
            address,
            limits: Limits { body_bytes_max: BODY_BYTES_MAX, request_time_max: REQUEST_TIME_MAX, ..Limits::default() },
            // Every answer is safe in anybody's hands.
            hosts: Hosts::Any,
        };
        let door = Arc::new(Door { hints, clock });
        let listener = Listener::start(listening, runtime, || Router::new().fallback(take).with_state(door))?;
        Ok(Self { _listener: listener })
    }
}

async fn take(State(door): State<Arc<Door>>, request: Request) -> Response {
    match check(&door, request).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err((status, why)) => {
            // Anybody can send anything: no line for each.
            tracing::debug!(%status, why, "a webhook was not taken");
            (status, [("connection", "close")], format!("{why}\n")).into_response()
        }
    }
}

async fn check(door: &Door, request: Request) -> Result<(), (StatusCode, &'static str)> {
    let (head, mut body) = request.into_parts();
    // Before anything of the body is read.
    let known = match door.hints.occurrence(head.uri.path()) {
        _ if head.method != Method::POST => Err((StatusCode::METHOD_NOT_ALLOWED, "a webhook is a POST")),
        None => Err((StatusCode::NOT_FOUND, "this address was not given out")),
        Some(key) => Ok(key),
    };
    // Whoever is cut off while it sends does not learn why, and comes again: what is short is read nevertheless.
    let bytes_max = if known.is_ok() { BODY_BYTES_MAX } else { REFUSED_BYTES_MAX };
    let mut marking = door.hints.begin_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, "the body broke off, or is too large"))?;
        if let Some(piece) = frame.data_ref() {
            bytes += piece.len();
            marking.add(piece);
        }
        if bytes > bytes_max {
            break;
        }
    }
    let key = known?;
    if !is_timely(&head.headers, door.clock.now()) {
        return Err((StatusCode::BAD_REQUEST, "x-skyvern-timestamp is missing, or of another day"));
    }
    match text(&head.headers, "x-skyvern-signature") {
        None => return Err((StatusCode::UNAUTHORIZED, "there is no x-skyvern-signature")),
        Some(signature) if !marking.is_mark(signature) => {
            return Err((StatusCode::UNAUTHORIZED, "x-skyvern-signature is not of this body and this key"));
        }
        Some(_) => {}
    }
    tracing::debug!(occurrence = %key, "a webhook says that there is news");
    door.hints.tell(&key);
    Ok(())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn is_timely(headers: &HeaderMap, now: DateTime<Utc>) -> bool {
    let seconds = text(headers, "x-skyvern-timestamp").and_then(|text| text.trim().parse::<i64>().ok());
    let at = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    at.is_some_and(|at| (now - at).abs() <= TimeDelta::hours(TIMESTAMP_HOURS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_wrong_zones_are_taken_and_of_other_days_not() {
        let now: DateTime<Utc> = "2026-11-02T14:00:00Z".parse().unwrap();
        let check = |value: Option<&str>, expected: bool| {
            let headers = value.map(|value| ("x-skyvern-timestamp".parse().unwrap(), value.parse().unwrap()));
            assert_eq!(is_timely(&headers.into_iter().collect(), now), expected, "{value:?}");
        };
        let at = |hours: i64| (now + TimeDelta::hours(hours)).timestamp().to_string();
        for hours in [0, -12, 14, -15, 15] {
            check(Some(&at(hours)), true);
        }
        check(Some(&at(-16)), false);
        check(Some(&at(16)), false);
        check(Some("yesterday"), false);
        check(Some("99999999999999999"), false);
        check(None, false);
    }
}
