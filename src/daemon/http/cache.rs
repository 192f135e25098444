//! Answers that are asked for again within moments are given again: ten people who reload a page cost as much as one.
//!
//! How long an answer is kept follows from how long it took to make, so that making answers never takes more than a small
//! share of a processor, however long the history is. Where two ask for the same, the second waits for the first's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    middleware::Next,
    response::Response,
};
use http_body_util::{BodyExt, Limited};

use crate::clock::Stopwatch;

/// Answers that are kept at one time, and the largest of them.
const ANSWERS_MAX: usize = 32;
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// An answer is kept for this many times as long as it took.
const KEPT_TIMES: u32 = 20;
const KEPT_MIN: Duration = Duration::from_secs(1);
const KEPT_MAX: Duration = Duration::from_secs(30);

/// The answers that are kept.
#[derive(Default)]
pub(super) struct Cache {
    answers: Mutex<HashMap<String, Place>>,
}

type Place = Arc<tokio::sync::Mutex<Option<Kept>>>;

struct Kept {
    watch: Stopwatch,
    keep: Duration,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Cache {
    fn place(&self, name: String) -> Place {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS_MAX && !answers.contains_key(&name) {
            // Those that nobody waits for.
            answers.retain(|_, place| Arc::strong_count(place) > 1);
        }
        Arc::clone(answers.entry(name).or_default())
    }
}

/// The kept answer, or a new one.
pub(super) async fn cached(State(cache): State<Arc<Cache>>, request: Request, next: Next) -> Response {
    let name = format!("{} {}", request.method(), request.uri());
    let place = cache.place(name);
    let mut kept = place.lock().await;
    if let Some(kept) = kept.as_ref().filter(|kept| kept.watch.elapsed() < kept.keep) {
        return respond(kept);
    }
    *kept = None;
    let watch = Stopwatch::start();
    let (head, body) = next.run(request).await.into_parts();
    let Ok(body) = Limited::new(body, ANSWER_BYTES_MAX).collect().await else {
        let mut response = Response::new(Body::from("the answer is too large\n"));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return response;
    };
    let keep = (watch.elapsed() * KEPT_TIMES).clamp(KEPT_MIN, KEPT_MAX);
    let answer =
        Kept { watch: Stopwatch::start(), keep, status: head.status, headers: head.headers, body: body.to_bytes() };
    let response = respond(&answer);
    *kept = Some(answer);
    response
}

fn respond(kept: &Kept) -> Response {
    let mut response = Response::new(Body::from(kept.body.clone()));
    *response.status_mut() = kept.status;
    *response.headers_mut() = kept.headers.clone();
    response
}
