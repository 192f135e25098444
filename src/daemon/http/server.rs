//! A listening server with a limit on everything: headers, bodies, connections, time, and who may be meant by `Host`. Plain
//! HTTP/1.1: TLS is the work of a reverse proxy.
//!
//! What is answered is the router's business. Nothing here knows what a status page or a webhook is.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, Version, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http_body_util::Limited;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, watch},
};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 128;
/// The pause after a connection that could not be accepted: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a client can take up, at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The request line and all headers; more is answered with 431.
    pub header_bytes_max: usize,
    /// Headers of one request; more is answered with 431.
    pub headers_max: usize,
    /// The body of a request; more is answered with 413, or breaks off if it was not announced.
    pub body_bytes_max: usize,
    /// Connections that are served at one time; more wait in the kernel.
    pub connections_max: usize,
    /// How long the head of a request may take, and how long a connection may be silent before the next one.
    pub header_time_max: Duration,
    /// How long an answer may take; longer is answered with 503.
    pub request_time_max: Duration,
    /// After this long, a connection is closed as soon as its answer is out; who reads slower than that is cut off.
    pub connection_time_max: Duration,
    /// How long a server that is told to end waits for the answers that are under way.
    pub stop_time_max: Duration,
}

impl Default for Limits {
    /// Generous for people, scrapers and webhooks; tight for everybody else.
    fn default() -> Self {
        Self {
            header_bytes_max: 16 << 10,
            headers_max: 64,
            body_bytes_max: 64 << 10,
            connections_max: 64,
            header_time_max: Duration::from_secs(10),
            request_time_max: Duration::from_secs(15),
            connection_time_max: Duration::from_secs(60),
            stop_time_max: Duration::from_secs(2),
        }
    }
}

/// Which names a request may give this server in `Host`. A page of another site that has its own name resolve to this
/// machine (DNS rebinding) could otherwise read what is answered here.
#[derive(Debug, Clone)]
pub enum Hosts {
    /// Every name: for a server whose every answer is safe in anybody's hands.
    Any,
    /// Addresses, which no name stands for, `localhost`, and these names.
    Named(Arc<[String]>),
}

impl Hosts {
    /// Whether a request that names this host and, perhaps, port is meant for this server.
    fn allow(&self, authority: &str) -> bool {
        let Self::Named(names) = self else { return true };
        let host = without_port(authority).trim_end_matches('.').to_ascii_lowercase();
        let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&host);
        address.parse::<IpAddr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || names.iter().any(|name| name.eq_ignore_ascii_case(&host))
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        // The colons of an IPv6 address are within its brackets.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.contains(']') => host,
        _ => authority,
    }
}

/// A bound server that does not answer yet. Whoever connects meanwhile waits.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    limits: Limits,
    hosts: Hosts,
}

impl Server {
    /// Takes the address; port 0: a free one. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address is taken, or not this machine's.
    pub fn bind(listen: SocketAddr, limits: Limits, hosts: Hosts) -> io::Result<Self> {
        let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // So that the port can be used again at once after a restart.
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        Ok(Self { listener: socket.listen(BACKLOG)?, limits, hosts })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` resolves; then no further connection is taken, and what is under way is waited for within the
    /// limit.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>) {
        let Self { listener, limits, hosts } = self;
        let router = router.layer(middleware::from_fn_with_state(Arc::new((limits, hosts)), guard));
        let places = Arc::new(Semaphore::new(limits.connections_max.max(1)));
        let (ending, ended) = watch::channel(false);
        let accepting = async {
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (router, ended) = (router.clone(), ended.clone());
                        tokio::spawn(async move {
                            connection(stream, router, limits, ended).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        tracing::debug!(%error, "http: a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            () = stop => {}
        }
        drop(listener);
        let _ = ending.send(true);
        let all = u32::try_from(limits.connections_max.max(1)).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(limits.stop_time_max, places.acquire_many(all)).await;
    }
}

/// One connection, from its first byte to its last. How it ended is the client's business.
async fn connection(stream: TcpStream, router: Router, limits: Limits, mut ended: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time_max)
        .max_header_size(limits.header_bytes_max)
        // Room for one request's head, and no more: what follows stays with the kernel, and so with the client. Less than
        // 8 KiB the library does not take.
        .max_buf_size(limits.header_bytes_max.max(8 << 10))
        .max_headers(limits.headers_max)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(serving);
    tokio::select! {
        _ = &mut serving => return,
        () = tokio::time::sleep(limits.connection_time_max) => {}
        _ = ended.wait_for(|ended| *ended) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(limits.request_time_max, serving).await;
}

/// Refuses what is not meant for this server and what is too large, and gives up on what takes too long.
async fn guard(State(rules): State<Arc<(Limits, Hosts)>>, request: Request, next: Next) -> Response {
    let (limits, hosts) = &*rules;
    let named = match authority(request.uri(), request.headers()) {
        Ok(Some(authority)) => hosts.allow(authority),
        // Browsers always name one; what does not is old, and no browser.
        Ok(None) => request.version() < Version::HTTP_11,
        Err(()) => false,
    };
    if !named {
        let text = "this server does not go by the name in the Host header: see `hosts` in the file of skycron\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    if request.body().size_hint().lower() > limits.body_bytes_max as u64 {
        return (StatusCode::PAYLOAD_TOO_LARGE, [(header::CONNECTION, "close")], "the body is too large\n")
            .into_response();
    }
    let request = request.map(|body| Body::new(Limited::new(body, limits.body_bytes_max)));
    match tokio::time::timeout(limits.request_time_max, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "this took too long\n").into_response(),
    }
}

/// The host that a request names. More than one, or one that is no text, is an error.
fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Option<&'a str>, ()> {
    if let Some(authority) = uri.authority() {
        return Ok(Some(authority.as_str()));
    }
    let mut named = headers.get_all(header::HOST).iter();
    match (named.next(), named.next()) {
        (None, _) => Ok(None),
        (Some(host), None) => host.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

#[cfg(test)]
mod tests;
