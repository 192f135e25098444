//! Connections: whom to trust, how long to wait, how much to read, and closing what is idle.
//!
//! Not for the meaning of an answer. One exchange is one request on the wire: nothing is retried, and no redirect is
//! followed (the key would travel with it).

use std::{error::Error as _, sync::Arc, time::Duration};

use chrono::DateTime;
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
/// a request on a connection that is just being closed would end unknown. Once all are closed, nothing of them wakes up.
const IDLE_SECONDS_MAX: u64 = 4;

/// How much of an error's words is read.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Why no complete answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection: the request surely did not leave. `hint` says what to look at.
    Connect { text: String, hint: &'static str },
    /// The time was over; the request may have been carried out.
    Timeout { text: String },
    /// The connection broke after the request had begun to leave.
    Broken { text: String },
    /// The head of a good answer came, its body did not, or not in time.
    BodyLost { status: u16, text: String },
    /// The body of a good answer is larger than the limit, and was not read to its end.
    TooLarge { status: u16, bytes_max: usize },
}

/// The connections to one server.
pub(super) struct Transport {
    http: reqwest::Client,
    request_timeout: Duration,
    response_bytes_max: usize,
}

impl Transport {
    pub(super) fn new(
        base_url: &Url,
        connect_timeout: Duration,
        request_timeout: Duration,
        response_bytes_max: usize,
        connections_max: usize,
    ) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("skycron/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls(base_url)?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tcp_nodelay(true)
            .connect_timeout(connect_timeout)
            .pool_max_idle_per_host(connections_max)
            .pool_idle_timeout(Duration::from_secs(IDLE_SECONDS_MAX));
        if is_loopback(base_url) {
            // No proxy can reach this machine's own loopback.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| ClientError::Setup(cause(&error)))?;
        Ok(Self { http, request_timeout, response_bytes_max })
    }

    /// Sends one request and reads its answer, whatever the status.
    pub(super) async fn exchange(
        &self,
        method: reqwest::Method,
        url: Url,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, Failure> {
        let mut request = self.http.request(method, url).headers(headers).timeout(self.request_timeout);
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
        let date = header(DATE).and_then(|text| DateTime::parse_from_rfc2822(text).ok()).map(|date| date.to_utc());
        let location = header(LOCATION).map(str::to_owned);
        let success = response.status().is_success();
        // Of an error the status says most; a part of its words will do, and none will do too.
        let bytes_max = if success { self.response_bytes_max } else { ERROR_BYTES_MAX };
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        if success && announced > bytes_max {
            return Err(Failure::TooLarge { status, bytes_max });
        }
        let mut body = Vec::with_capacity(announced.min(bytes_max));
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > bytes_max => {
                    if success {
                        return Err(Failure::TooLarge { status, bytes_max });
                    }
                    break;
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) if success => return Err(Failure::BodyLost { status, text: cause(&error) }),
                Err(_) => break,
            }
        }
        Ok(Answer { status, retry_after, date, location, body })
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
        let hint = match tls_failure(error) {
            Some(rustls::Error::InvalidCertificate(_)) => {
                "the server's certificate is not accepted: check base_url, this machine's clock and its ca-certificates"
            }
            Some(_) => "the server does not speak TLS here: check base_url: host, port, http or https",
            None if error.is_timeout() => {
                "nothing answers at base_url: check the address, and the network and firewalls on the way"
            }
            None if error.is_dns() => {
                "the host in base_url cannot be found: check its spelling and this machine's name resolution"
            }
            None => "check that the server is up, and base_url: host, port, http or https",
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

/// The TLS failure among the causes.
fn tls_failure(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut next = error.source();
    while let Some(source) = next {
        if let Some(found) = source.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An io::Error passes its `source` over what it wraps, which can be another io::Error.
        let mut wrapped = source.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        while let Some(inner) = wrapped {
            if let Some(found) = inner.downcast_ref::<rustls::Error>() {
                return Some(found);
            }
            wrapped = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        }
        next = source.source();
    }
    None
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
