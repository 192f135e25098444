//! The client: its options, and the requests that all calls are made of.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use reqwest::{
    Method,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use url::Url;

use super::{
    answer::{Answer, Said, one_line},
    error::{ApiError, ApiErrorKind, ClientError},
    pulse::{Pulse, RequestPurpose},
    transport::{Failure, Transport, is_loopback},
};
use crate::secret::Secret;

/// How to reach a server.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The server's address; a path is kept as the prefix of all paths.
    pub base_url: Url,
    /// The value of the header `x-api-key`.
    pub api_key: Secret,
    /// Allows `http://` to hosts other than this machine.
    pub allow_plain_http: bool,
    /// How long a connection may take, name resolution and TLS included; at most half of `request_timeout`.
    pub connect_timeout: Duration,
    /// How long a call may take, from looking for a connection to the last byte of the answer.
    pub request_timeout: Duration,
    /// The largest answer that is read.
    pub response_bytes_max: usize,
    /// The most starts in flight at a time; all other calls together have a quarter of it to themselves, so that no start
    /// waits behind a poll.
    pub connections_max: usize,
}

impl ClientOptions {
    /// The defaults: 10 s to connect, 60 s for an answer (a busy server waits 20 s before it says so), 4 MiB, 64 starts.
    #[must_use]
    pub fn new(base_url: Url, api_key: Secret) -> Self {
        Self {
            base_url,
            api_key,
            allow_plain_http: false,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            response_bytes_max: 4 * 1024 * 1024,
            connections_max: 64,
        }
    }
}

/// A client of one server with one key. A clone is the same client.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    base_url: Url,
    api_key: Secret,
    key_header: HeaderValue,
    transport: Transport,
    /// Places for starts, and for everything else.
    starts: Semaphore,
    others: Semaphore,
    pulse: Pulse,
    newer_names: AtomicBool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base_url", &self.inner.base_url.as_str()).finish_non_exhaustive()
    }
}

/// The header by which the server knows its own web page, to which it sends large values cut short.
const USER_AGENT_OF_THE_UI: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-user-agent"), HeaderValue::from_static("skyvern-ui"));

impl Client {
    /// Checks the options and makes a client. Nothing is sent.
    ///
    /// # Errors
    /// What is wrong with the address, the key, or this machine's certificates.
    pub fn new(options: &ClientOptions) -> Result<Self, ClientError> {
        let base_url = check_base_url(&options.base_url, options.allow_plain_http)?;
        let key = options.api_key.expose();
        if key.is_empty() {
            return Err(ClientError::NoKey);
        }
        if !key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(ClientError::Key);
        }
        let mut key_header = HeaderValue::from_str(key).map_err(|_| ClientError::Key)?;
        key_header.set_sensitive(true);
        let connections_max = options.connections_max.max(1);
        let others_max = connections_max.div_ceil(4).max(2);
        let transport = Transport::new(
            &base_url,
            // Well before the whole time is over: a connection that was not made is surely no start, a time-out may be one.
            options.connect_timeout.min(options.request_timeout / 2),
            options.request_timeout,
            options.response_bytes_max,
            connections_max + others_max,
        )?;
        let inner = Inner {
            base_url,
            api_key: options.api_key.clone(),
            key_header,
            transport,
            starts: Semaphore::new(connections_max),
            others: Semaphore::new(others_max),
            pulse: Pulse::default(),
            newer_names: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The server's address.
    #[must_use]
    pub fn base_url(&self) -> &Url {
        &self.inner.base_url
    }

    /// How the server took the latest requests of this client and its clones.
    #[must_use]
    pub fn pulse(&self) -> &Pulse {
        &self.inner.pulse
    }

    /// How long ago the server was last heard of, on any call, and what was wrong with its answer or the lack of one; `None`:
    /// never.
    #[must_use]
    pub fn heard(&self) -> Option<(Duration, Option<String>)> {
        let beat = self.inner.pulse.latest()?;
        let trouble = (!beat.is_good()).then_some(beat.text);
        Some((beat.watch.elapsed(), trouble))
    }

    /// The key, for taking it out of texts.
    pub(super) fn key(&self) -> &Secret {
        &self.inner.api_key
    }

    /// Whether the server was found to have schedules under the newer names of the paths only.
    pub(super) fn newer_names(&self) -> &AtomicBool {
        &self.inner.newer_names
    }

    /// The address of a path, whose parts are encoded as needed.
    pub(super) fn url(&self, path: &[&str]) -> Url {
        let mut url = self.inner.base_url.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        url
    }

    /// POSTs a start. The caller sorts what comes of it.
    pub(super) async fn post_start(&self, url: Url, body: Vec<u8>) -> Result<Answer, Failure> {
        // The semaphore is never closed; if it were, going without a place is the lesser harm.
        let _place = self.inner.starts.acquire().await.ok();
        let headers = self.headers_for(Some(&body));
        self.exchange(RequestPurpose::Start, Method::POST, url, headers, Some(body)).await
    }

    /// Any call but a start, with a body where it has one. The caller sorts what comes of it.
    pub(super) async fn send(&self, method: Method, url: Url, body: Option<Vec<u8>>) -> Result<Answer, Failure> {
        let _place = self.inner.others.acquire().await.ok();
        self.exchange(RequestPurpose::Other, method, url, self.headers_for(body.as_ref()), body).await
    }

    /// Any call without a body.
    pub(super) async fn call(&self, method: Method, url: Url, as_ui: bool) -> Result<Answer, Failure> {
        let _place = self.inner.others.acquire().await.ok();
        let mut headers = self.headers();
        if as_ui {
            let (name, value) = USER_AGENT_OF_THE_UI;
            headers.insert(name, value);
        }
        self.exchange(RequestPurpose::Other, method, url, headers, None).await
    }

    /// One request on the wire, and a word about it for the pulse.
    async fn exchange(
        &self,
        purpose: RequestPurpose,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, Failure> {
        let came = self.inner.transport.exchange(method, url, headers, body).await;
        let sorted = came.as_ref().ok().filter(|answer| !answer.is_success()).map(|answer| self.sort_answer(answer));
        self.inner.pulse.note(purpose, &came, sorted.as_ref());
        came
    }

    /// GETs and reads a JSON answer.
    pub(super) async fn get<T: DeserializeOwned>(&self, url: Url, as_ui: bool) -> Result<T, ApiError> {
        let answer = self.call(Method::GET, url, as_ui).await;
        let answer = self.expect_success(answer)?;
        read(&answer)
    }

    /// The answer if it is a 2xx, else the sorted error.
    pub(super) fn expect_success(&self, answer: Result<Answer, Failure>) -> Result<Answer, ApiError> {
        match answer {
            Ok(answer) if answer.is_success() => Ok(answer),
            Ok(answer) => Err(self.sort_answer(&answer)),
            Err(failure) => Err(sort_failure(failure)),
        }
    }

    fn headers_for(&self, body: Option<&Vec<u8>>) -> HeaderMap {
        let mut headers = self.headers();
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(HeaderName::from_static("x-api-key"), self.inner.key_header.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers
    }

    fn sort_answer(&self, answer: &Answer) -> ApiError {
        use ApiErrorKind::{Nonsense, NotFound, RateLimited, Refused, Unauthorized, Unavailable};
        let said = answer.said(&[self.key()]);
        let (kind, hint) = match (answer.status, &said) {
            (300..=399, _) => (Nonsense, "base_url is answered by a redirect: set it to where the API itself is"),
            (401 | 403 | 407, _) => (Unauthorized, HINT_KEY),
            (404, Said::Skyvern(_)) => {
                (NotFound, "check the id, and that the key belongs to the organisation that owns it")
            }
            (404 | 405, Said::NoRoute | Said::Skyvern(_)) => {
                (Nonsense, "this server does not have this call: check base_url and the server's version")
            }
            // A proxy whose server is being replaced says so too.
            (404, Said::Other(_)) => {
                (Unavailable, "the answer is not Skyvern's: check base_url and the proxy before it")
            }
            (429, _) => (RateLimited, "the server asks for fewer requests; the next try comes later by itself"),
            (400..=499, _) => (Refused, "the server refuses the request: its words say why"),
            _ => (Unavailable, "the server has a problem of its own: see its log; the next try comes by itself"),
        };
        let message = describe(answer.status, &said);
        ApiError { kind, http_status: Some(answer.status), retry_after: answer.retry_after, message, hint }
    }
}

/// What to do about a key that is not accepted.
pub(super) const HINT_KEY: &str = "check the API key: that it is whole, has not expired, and belongs to this server";

/// What to do about a server that has no schedules.
pub(super) const HINT_NO_SCHEDULES: &str = "this server has no schedules of its own: they are switched off there \
     (ENABLE_WORKFLOW_SCHEDULES), or it is older than 1.0.38; or base_url is not the API's";

/// `the server answered 404: Workflow not found`.
pub(super) fn describe(status: u16, said: &Said) -> String {
    let reason = reqwest::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("");
    let text = if said.text().is_empty() { reason } else { said.text() };
    if text.is_empty() {
        format!("the server answered {status}")
    } else {
        format!("the server answered {status}: {text}")
    }
}

/// Reads the body of a 2xx.
pub(super) fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, ApiError> {
    serde_json::from_slice(&answer.body).map_err(|error| ApiError {
        kind: ApiErrorKind::Nonsense,
        http_status: Some(answer.status),
        retry_after: None,
        message: unreadable(&error),
        hint: "the answer is not what Skyvern sends: check base_url",
    })
}

/// Says that an answer cannot be read, and where, but not with its words, which can be anything.
pub(super) fn unreadable(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "JSON of another shape",
        serde_json::error::Category::Eof => "JSON that breaks off",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "not JSON",
    };
    format!("the server's answer is {what} (line {}, column {})", error.line(), error.column())
}

fn sort_failure(failure: Failure) -> ApiError {
    let error = |kind, http_status, message, hint| ApiError { kind, http_status, retry_after: None, message, hint };
    match failure {
        Failure::Connect { text, hint } => {
            error(ApiErrorKind::Unavailable, None, format!("no connection to the server: {text}"), hint)
        }
        Failure::Timeout { .. } => error(
            ApiErrorKind::Unavailable,
            None,
            "the server did not answer in time".to_owned(),
            "the server is slow or does not answer: see its log, or raise request_timeout",
        ),
        Failure::Broken { text } => error(
            ApiErrorKind::Unavailable,
            None,
            format!("the connection broke before the answer: {text}"),
            "the server or a proxy before it closed the connection: see their logs",
        ),
        Failure::BodyLost { status, text } => error(
            ApiErrorKind::Unavailable,
            Some(status),
            format!("the connection broke within the answer: {text}"),
            "the server or a proxy before it closed the connection: see their logs",
        ),
        Failure::TooLarge { status, bytes_max } => error(
            ApiErrorKind::Nonsense,
            Some(status),
            format!("the answer is larger than {bytes_max} bytes"),
            "raise response_bytes_max if this server's answers are that large",
        ),
    }
}

fn check_base_url(url: &Url, allow_plain_http: bool) -> Result<Url, ClientError> {
    let wrong = |what: &str| Err(ClientError::BaseUrl(what.to_owned()));
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("holds a user name or a password; the key goes into api_key");
    }
    match url.scheme() {
        "https" => {}
        "http" if allow_plain_http || is_loopback(url) => {}
        "http" => return Err(ClientError::PlainHttp(one_line(url.as_str()))),
        other => return wrong(&format!("begins with {other}:, not with https:")),
    }
    if url.host().is_none() {
        return wrong("names no host");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("has a query or a fragment, which no path can follow");
    }
    Ok(url.clone())
}
