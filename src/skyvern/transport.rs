//! Connections: whom to trust, how long to wait, how much to read, and closing what is idle.
//!
//! Not for the meaning of an answer. One exchange is one request on the wire: nothing is retried, and no redirect is
//! followed (the key would travel with it).

use std::{
    error::Error as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::header::{DATE, HeaderMap, LOCATION, RETRY_AFTER};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use rustls_platform_verifier::BuilderVerifierExt;
use url::{Host, Url};

use super::{
    answer::{Answer, one_line, retry_after},
    error::ClientError,
};
use crate::crash_point::crash_point;

/// How long a connection is kept without a request. Servers of this kind close theirs after 5 seconds (uvicorn's default);
/// a request on a connection that is just being closed would end unknown.
const IDLE_SECONDS_MAX: u64 = 4;

/// Why no complete answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection: the request surely did not leave. `hint` says what to look at.
    Connect { text: String, hint: &'static str },
    /// The time was over; the request may have been carried out.
    Timeout { text: String },
    /// The connection broke after the request had begun to leave.
    Broken { text: String },
    /// The head of an answer came, its body did not, or not in time.
    BodyLost { status: u16, text: String },
    /// The body is larger than the limit, and was not read to its end.
    TooLarge { status: u16, bytes_max: usize },
}

/// How connections are made.
#[derive(Clone)]
struct Recipe {
    tls: ClientConfig,
    proxies: bool,
    connect_timeout: Duration,
    connections_max: usize,
}

impl Recipe {
    fn build(&self) -> Result<reqwest::Client, reqwest::Error> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("skycron/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(self.tls.clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tcp_nodelay(true)
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(self.connections_max)
            .pool_idle_timeout(Duration::from_secs(IDLE_SECONDS_MAX));
        if self.proxies { builder } else { builder.no_proxy() }.build()
    }
}

/// The connections to one server.
pub(super) struct Transport {
    recipe: Recipe,
    request_timeout: Duration,
    response_bytes_max: usize,
    slot: Arc<Mutex<Slot>>,
}

/// The library's client, and who uses it. It is replaced when it has been idle: its pool would look for idle connections
/// every few seconds for as long as it lives, and an idle daemon does not wake up.
struct Slot {
    http: reqwest::Client,
    in_flight: usize,
    /// Counts requests, so that the watch sees whether there was one since it last looked.
    used: u64,
    watched: bool,
}

impl Transport {
    pub(super) fn new(
        base_url: &Url,
        connect_timeout: Duration,
        request_timeout: Duration,
        response_bytes_max: usize,
        connections_max: usize,
    ) -> Result<Self, ClientError> {
        let recipe = Recipe {
            tls: tls(base_url)?,
            // No proxy can reach this machine's own loopback.
            proxies: !is_loopback(base_url),
            connect_timeout,
            connections_max,
        };
        let http = recipe.build().map_err(|error| ClientError::Setup(cause(&error)))?;
        let slot = Slot { http, in_flight: 0, used: 0, watched: false };
        Ok(Self { recipe, request_timeout, response_bytes_max, slot: Arc::new(Mutex::new(slot)) })
    }

    /// Sends one request and reads its answer, whatever the status.
    pub(super) async fn exchange(
        &self,
        method: reqwest::Method,
        url: Url,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, Failure> {
        let lease = self.lease();
        let mut request = lease.http.request(method, url).headers(headers).timeout(self.request_timeout);
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.map_err(|error| sort(&error))?;
        crash_point("in-answer");
        self.read(response).await
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Answer, Failure> {
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = retry_after(header(RETRY_AFTER), header(DATE));
        let location = header(LOCATION).map(str::to_owned);
        let bytes_max = self.response_bytes_max;
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        if announced > bytes_max {
            return Err(Failure::TooLarge { status, bytes_max });
        }
        let mut body = Vec::with_capacity(announced);
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > bytes_max => {
                    return Err(Failure::TooLarge { status, bytes_max });
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(Answer { status, retry_after, location, body }),
                Err(error) => return Err(Failure::BodyLost { status, text: cause(&error) }),
            }
        }
    }

    fn lease(&self) -> Lease {
        let mut slot = lock(&self.slot);
        slot.in_flight += 1;
        slot.used += 1;
        Lease { http: slot.http.clone(), slot: Arc::clone(&self.slot), recipe: self.recipe.clone() }
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    // Nothing in here panics half-way: a poisoned slot is as good as a healthy one.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One user of the connections. The last one to leave sees to it that they are closed when nobody comes back.
struct Lease {
    http: reqwest::Client,
    slot: Arc<Mutex<Slot>>,
    recipe: Recipe,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut slot = lock(&self.slot);
        slot.in_flight -= 1;
        if slot.in_flight > 0 || slot.watched {
            return;
        }
        // Outside a runtime (one that is being torn down) there is nothing to close either.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        slot.watched = true;
        runtime.spawn(watch(Arc::clone(&self.slot), self.recipe.clone()));
    }
}

/// Waits until nothing was sent for a while, then puts a fresh client in the place of the used one.
async fn watch(slot: Arc<Mutex<Slot>>, recipe: Recipe) {
    let mut seen = lock(&slot).used;
    loop {
        tokio::time::sleep(Duration::from_secs(IDLE_SECONDS_MAX)).await;
        let mut slot = lock(&slot);
        if slot.in_flight == 0 && slot.used == seen {
            if let Ok(http) = recipe.build() {
                slot.http = http;
            }
            slot.watched = false;
            return;
        }
        if slot.in_flight > 0 {
            // The last of them starts the next watch.
            slot.watched = false;
            return;
        }
        seen = slot.used;
    }
}

/// The trust for this address: the system's for https, none for plain http, which needs none.
fn tls(base_url: &Url) -> Result<ClientConfig, ClientError> {
    let provider: Arc<CryptoProvider> = rustls::crypto::ring::default_provider().into();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Setup(error.to_string()))?;
    let mut config = if base_url.scheme() == "https" {
        builder.with_platform_verifier().map_err(|error| ClientError::Trust(error.to_string()))?.with_no_client_auth()
    } else {
        builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Whether the address is this machine's own.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// Sorts a failure to get the head of an answer.
fn sort(error: &reqwest::Error) -> Failure {
    let text = cause(error);
    if error.is_connect() || error.is_builder() {
        let hint = if error.is_timeout() {
            "nothing answers at base_url: check the address, and the network and firewalls on the way"
        } else if error.is_dns() {
            "the host in base_url cannot be found: check its spelling and this machine's name resolution"
        } else if has_source::<rustls::Error>(error) {
            "the server's certificate is not accepted: check base_url, this machine's clock and its ca-certificates"
        } else {
            "nothing accepts connections at base_url: check that the server is up, and the address"
        };
        return Failure::Connect { text, hint };
    }
    if error.is_timeout() { Failure::Timeout { text } } else { Failure::Broken { text } }
}

/// The innermost cause, which is the one that says something ("Connection refused", not "error sending request").
fn cause(error: &reqwest::Error) -> String {
    let mut text = if error.source().is_none() { error.to_string() } else { String::new() };
    let mut next = error.source();
    while let Some(source) = next {
        text = source.to_string();
        next = source.source();
    }
    one_line(&text)
}

fn has_source<E: std::error::Error + 'static>(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(source) = next {
        if source.is::<E>() {
            return true;
        }
        // io::Error hides what it wraps from `source`.
        if let Some(inner) = source.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && inner.is::<E>()
        {
            return true;
        }
        next = source.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback() {
        let check = |url: &str, expected: bool| assert_eq!(is_loopback(&url.parse().unwrap()), expected, "{url}");
        check("http://localhost:8000", true);
        check("http://api.localhost/", true);
        check("http://127.0.0.1", true);
        check("http://127.8.9.1", true);
        check("http://[::1]:80", true);
        check("http://[::ffff:127.0.0.1]", true);
        check("http://2130706433/", true);
        check("http://localhost.example.com", false);
        check("http://10.0.0.1", false);
        check("http://0.0.0.0", false);
        check("http://example.com", false);
    }
}
