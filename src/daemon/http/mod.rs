//! The daemon's HTTP side: whether it is well, for programs and for people. It only reads: nothing can be changed through it.
//!
//! It has a thread of its own. The event loop is asked for a brief look, the history by readers of its own, so that a page, however
//! often it is loaded, never delays a start; whatever happens to it, schedules are fired.
//!
//! | file | what it is |
//! |---|---|
//! | `server` | listening, with limits; knows nothing of what is answered |
//! | `listener` | a server on a thread of its own |
//! | `hook` | webhooks from Skyvern, on an address and a thread of their own |
//! | `status` | whom the status asks |
//! | `health` | whether the daemon can fire, and why not |
//! | `audits` | the proof that nothing is missing, now and then |
//! | `exposition` | `/metrics` |
//! | `api` | `/api/…` |
//! | `pages`, `views`, `strip`, `templates/` | the page |
//! | `cache` | what is asked for again at once |
//! | `trouble` | why there is no answer |

mod api;
mod audits;
mod cache;
mod exposition;
mod health;
mod hook;
mod listener;
mod pages;
pub mod server;
mod status;
mod strip;
mod trouble;
mod views;

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::{Path, Query, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

pub(super) use hook::Hooks;
pub(super) use status::Sources;

use crate::{config::HttpSettings, engine::OverviewOf};
use cache::Cache;
use listener::{Listener, Listening};
use server::{Hosts, Limits};
use status::Status;
use trouble::Trouble;

/// Questions of the history that are answered at one time; further ones wait.
const READERS_MAX: usize = 2;
const STYLE: &str = include_str!("templates/style.css");
const ICON: &str = include_str!("templates/favicon.svg");

/// What a browser may do with an answer: show it. No script, nothing from elsewhere, in nobody's frame.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// The running HTTP side. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Http {
    _listener: Listener,
}

impl Http {
    /// Starts the thread, if the file says where to listen.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(settings: &HttpSettings, sources: Sources) -> io::Result<Option<Self>> {
        let Some(address) = settings.listen else { return Ok(None) };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(READERS_MAX)
            .thread_name("http-reader")
            .build()?;
        let listening = Listening {
            name: "http",
            trouble: "http: nobody can look",
            address,
            limits: Limits::default(),
            hosts: Hosts::Named(settings.hosts.clone().into()),
        };
        let listener = Listener::start(listening, runtime, || router(Arc::new(Status::new(sources))))?;
        Ok(Some(Self { _listener: listener }))
    }
}

type App = State<Arc<Status>>;

fn router(status: Arc<Status>) -> Router {
    let kept = Router::new()
        .route("/", get(overview))
        .route("/schedule/{id}", get(schedule))
        .route("/occurrence/{*name}", get(occurrence))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/status", get(api_status))
        .route("/api/schedules", get(api_schedules))
        .route("/api/schedules/{id}", get(api_schedule))
        .route("/api/history", get(api_history))
        .route("/api/occurrence/{*name}", get(api_occurrence))
        .layer(middleware::from_fn_with_state(Arc::new(Cache::default()), cache::cached));
    Router::new()
        .route("/healthz", get(healthy))
        .route("/style.css", get(async || text("text/css; charset=utf-8", STYLE)))
        .route("/favicon.svg", get(async || text("image/svg+xml", ICON)))
        .merge(kept)
        .fallback(nothing)
        .layer(middleware::from_fn(with_headers))
        .with_state(status)
}

async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().extend(HEADERS);
    response
}

fn text(content_type: &'static str, body: impl Into<String>) -> Response {
    ([(header::CONTENT_TYPE, content_type)], body.into()).into_response()
}

const PLAIN: &str = "text/plain; charset=utf-8";

// --- for programs ----------------------------------------------------------------------------------------------------

/// Alive: the loop that decides everything answers.
async fn healthy(State(status): App) -> Response {
    match status.sight(OverviewOf::default()).await {
        Ok(_) => text(PLAIN, "ok\n"),
        Err(trouble) => (trouble.status(), text(PLAIN, format!("{trouble}\n"))).into_response(),
    }
}

/// Ready: runs can be started. One line for each thing that it takes.
async fn ready(State(status): App) -> Response {
    let sight = status.sight(OverviewOf::default()).await.ok();
    let checks = status.checks(sight.as_ref()).await;
    let all = checks.iter().all(|check| check.ok);
    let mut lines = String::from(if all { "ready\n" } else { "not ready\n" });
    for check in &checks {
        let word = if check.ok { "ok" } else { "BAD" };
        lines += &format!("{word:<4} {:<11} {}\n", check.what.word(), check.detail.replace('\n', " "));
    }
    let code = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, text(PLAIN, lines)).into_response()
}

async fn metrics(State(status): App) -> Response {
    match exposition::metrics(&status).await {
        Ok(metrics) => text(exposition::CONTENT_TYPE, metrics),
        Err(trouble) => (trouble.status(), text(PLAIN, format!("{trouble}\n"))).into_response(),
    }
}

fn object(answer: Result<Value, Trouble>) -> Response {
    let (code, value) = match answer {
        Ok(value) => (StatusCode::OK, value),
        Err(trouble) => (trouble.status(), json!({ "error": trouble.to_string() })),
    };
    (code, text("application/json", format!("{value}\n"))).into_response()
}

/// What was asked for in the address; what cannot be read is told.
fn asked<T>(query: Result<Query<T>, axum::extract::rejection::QueryRejection>) -> Result<T, Trouble> {
    query.map(|Query(asked)| asked).map_err(|rejection| Trouble::Asked(rejection.body_text()))
}

type Questions<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

async fn api_status(State(status): App) -> Response {
    object(api::status(&status).await)
}

async fn api_schedules(State(status): App, query: Questions<api::Schedules>) -> Response {
    object(match asked(query) {
        Ok(asked) => api::schedules(&status, asked).await,
        Err(trouble) => Err(trouble),
    })
}

async fn api_schedule(State(status): App, Path(id): Path<String>) -> Response {
    object(api::schedule(&status, &id).await)
}

async fn api_history(State(status): App, query: Questions<api::History>) -> Response {
    object(match asked(query) {
        Ok(asked) => api::history(&status, asked).await,
        Err(trouble) => Err(trouble),
    })
}

async fn api_occurrence(State(status): App, Path(name): Path<String>) -> Response {
    object(api::occurrence(&status, name).await)
}

// --- for people ------------------------------------------------------------------------------------------------------

fn page(status: &Status, answer: Result<String, Trouble>, depth: usize) -> Response {
    match answer {
        Ok(page) => Html(page).into_response(),
        Err(trouble) => (trouble.status(), Html(pages::trouble_page(status, &trouble, depth))).into_response(),
    }
}

/// How far below the root an address is.
fn depth(uri: &Uri) -> usize {
    uri.path().matches('/').count().saturating_sub(1)
}

async fn overview(State(status): App, query: Questions<pages::Asked>) -> Response {
    let answer = match asked(query) {
        Ok(asked) => pages::overview(&status, asked).await,
        Err(trouble) => Err(trouble),
    };
    page(&status, answer, 0)
}

async fn schedule(State(status): App, Path(id): Path<String>, query: Questions<pages::PageOf>) -> Response {
    let answer = match asked(query) {
        Ok(asked) => pages::schedule(&status, &id, asked).await,
        Err(trouble) => Err(trouble),
    };
    page(&status, answer, 1)
}

async fn occurrence(State(status): App, uri: Uri, Path(name): Path<String>) -> Response {
    let depth = depth(&uri);
    page(&status, pages::occurrence(&status, &name, depth).await, depth)
}

async fn nothing(State(status): App, uri: Uri) -> Response {
    page(&status, Err(Trouble::Absent("page here".to_owned())), depth(&uri))
}
