//! The thread, the connections, and how faults are carried out on the wire.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll},
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Semaphore, oneshot},
};

use super::{
    SharedWorld,
    exchange::{Question, Reply},
    fault::Fault,
    hooks,
    routes::{answer, call, disabled, limit_reached},
};

/// The most connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// The pieces in which a huge answer is sent.
const CHUNK_BYTES: u64 = 64 * 1024;
/// How long the first half of a broken answer has to leave.
const BREAK_OFF: Duration = Duration::from_millis(20);

/// Bounds on what a client can ask of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) request_bytes_max: usize,
    pub(super) connections_max: usize,
    pub(super) idle_timeout: Duration,
    /// How often the scheduler looks for what is due; zero: never.
    pub(super) schedule_poll_interval: Duration,
}

/// Binds, and starts the thread. It ends when `stopped` does.
pub(super) fn spawn(
    listen: SocketAddr,
    limits: Limits,
    world: SharedWorld,
    stopped: oneshot::Receiver<()>,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (bound, address) = mpsc::channel();
    let thread = std::thread::Builder::new().name("sandbox".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let listener = match bind(listen) {
                Ok(listener) => listener,
                Err(error) => return drop(bound.send(Err(error))),
            };
            // The receiver waits for it.
            let _ = bound.send(listener.local_addr());
            tokio::select! {
                () = accept(listener, limits, world.clone()) => {}
                () = poll_schedules(limits.schedule_poll_interval, world) => {}
                _ = stopped => {}
            }
        });
    })?;
    let address = address.recv().unwrap_or_else(|_| Err(io::Error::other("the server's thread ended")))?;
    Ok((address, thread))
}

/// As the open-source server's scheduler: at once, and then every so often, whatever the clock on the wall does.
async fn poll_schedules(interval: Duration, world: SharedWorld) {
    if interval.is_zero() {
        return std::future::pending().await;
    }
    loop {
        world.lock().poll_schedules();
        tokio::time::sleep(interval).await;
    }
}

fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // So that a port can be used again at once after a restart.
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, limits: Limits, world: SharedWorld) {
    let places = Arc::new(Semaphore::new(limits.connections_max.max(1)));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: some come back when connections end.
                tracing::warn!(%error, "sandbox: a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let world = world.clone();
        tokio::spawn(async move {
            serve(stream, limits, world).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, limits: Limits, world: SharedWorld) {
    // Latency is what is measured here; without it the answer would only be a little later.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let line = Line { stream, reset: Arc::clone(&reset) };
    let service = service_fn(move |request| handle(request, limits, world.clone(), Arc::clone(&reset)));
    // How a connection ended is the client's business.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .serve_connection(TokioIo::new(line), service)
        .await;
}

async fn handle(
    request: Request<Incoming>,
    limits: Limits,
    world: SharedWorld,
    reset: Arc<AtomicBool>,
) -> Result<Response<Outgoing>, io::Error> {
    let received_at = world.lock().now();
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, limits.request_bytes_max).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(respond(&Reply::detail(413, "Request Entity Too Large"))),
    };
    let question = Question {
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        key: text(&head.headers, "x-api-key"),
        user_agent: text(&head.headers, "x-user-agent"),
        method: head.method,
        body,
        received_at,
    };
    let fault = call(&question.method, &question.path).and_then(|call| world.lock().fault(call));
    let Some(fault) = fault else {
        let reply = asked(&world, &question, None);
        return Ok(respond(&reply));
    };
    if let Some(reply) = in_its_place(&fault, &question) {
        return Ok(respond(&reply));
    }
    if fault == Fault::ResetBefore {
        return reset_now(&reset);
    }
    if let Fault::Stall(late) = fault {
        // On its own, since the client may have gone away by then: it is done nevertheless.
        let done = tokio::spawn(async move {
            tokio::time::sleep(late).await;
            asked(&world, &question, None)
        });
        return done.await.map(|reply| respond(&reply)).map_err(io::Error::other);
    }
    let reply = asked(&world, &question, Some(&fault));
    match fault {
        Fault::Delay(late) => {
            tokio::time::sleep(late).await;
            Ok(respond(&reply))
        }
        Fault::ResetAfter | Fault::CrashRow | Fault::CrashTag => reset_now(&reset),
        Fault::ErrorAfter => Ok(respond(&unexpected())),
        Fault::DatabaseAfter => Ok(respond(&no_database())),
        Fault::SyncAfter => Ok(respond(&sync_failed())),
        Fault::Unreadable => Ok(respond(&Reply::text(200, "<html><title>Welcome</title></html>"))),
        Fault::Truncated => Ok(with_body(&reply, Outgoing::Truncated { bytes: reply.body.clone(), pause: None })),
        Fault::Huge(bytes) => Ok(with_body(&reply, Outgoing::Huge { left: bytes })),
        _ => Ok(respond(&reply)),
    }
}

/// The answer, and what it sets going.
fn asked(world: &SharedWorld, question: &Question, fault: Option<&Fault>) -> Reply {
    let reply = answer(&mut world.lock(), question, fault);
    hooks::begin(world);
    reply
}

/// The answer of a fault in whose place nothing is done.
fn in_its_place(fault: &Fault, question: &Question) -> Option<Reply> {
    Some(match fault {
        Fault::ErrorBefore => unexpected(),
        Fault::DatabaseBefore => no_database(),
        Fault::RateLimited(wait) => {
            let words =
                "Rate limit exceeded for organization o_100000000000000001. Maximum 1 requests per 1 seconds allowed.";
            let reply = Reply::detail(429, words);
            match wait {
                Some(seconds) => reply.with("retry-after", seconds.to_string()),
                None => reply,
            }
        }
        Fault::Busy => {
            Reply::detail(503, "The server is busy dispatching other runs. No run was created; retry this request.")
                .with("retry-after", "5")
        }
        Fault::Disabled => disabled(),
        Fault::NoRoute => Reply::no_route(),
        Fault::Limit(max) => limit_reached(*max),
        Fault::SyncBefore => sync_failed(),
        Fault::Forbidden => Reply::detail(403, "Could not validate credentials"),
        Fault::NotFound if question.path.contains("/schedules") => {
            let last = question.path.rsplit('/').find(|part| part.starts_with("wfs_") || part.starts_with("wpid_"));
            let what = if last.is_some_and(|id| id.starts_with("wfs_")) { "Schedule" } else { "Workflow" };
            Reply::detail(404, format!("{what} {} not found", last.unwrap_or_default()))
        }
        Fault::NotFound => {
            let body = serde_json::from_slice::<serde_json::Value>(&question.body).unwrap_or_default();
            match body["workflow_id"].as_str() {
                Some(id) => Reply::no_workflow(id),
                None => {
                    Reply::detail(404, format!("Task run not found {}", question.path.rsplit('/').next().unwrap_or("")))
                }
            }
        }
        Fault::Status(status @ 300..=399) => Reply::detail(*status, "elsewhere").with("location", "/elsewhere"),
        Fault::Status(status) => Reply::detail(*status, format!("the sandbox was told to answer {status}")),
        Fault::Plain(status) => Reply::text(*status, "<html><head><title>a proxy's page</title></head></html>"),
        _ => return None,
    })
}

fn unexpected() -> Reply {
    Reply::json(500, &json!({"error": "Unexpected error: SandboxFault"}))
}

fn sync_failed() -> Reply {
    Reply::detail(502, "Failed to sync schedule with scheduling service")
}

fn no_database() -> Reply {
    Reply::json(503, &json!({"error": "Database temporarily unavailable"}))
}

fn reset_now(reset: &AtomicBool) -> Result<Response<Outgoing>, io::Error> {
    reset.store(true, Ordering::Relaxed);
    // The error makes hyper drop the connection without an answer.
    Err(io::Error::other("reset on order"))
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn respond(reply: &Reply) -> Response<Outgoing> {
    with_body(reply, Outgoing::Whole(Some(reply.body.clone())))
}

fn with_body(reply: &Reply, body: Outgoing) -> Response<Outgoing> {
    let mut response = Response::new(body);
    if let Ok(status) = hyper::StatusCode::from_u16(reply.status) {
        *response.status_mut() = status;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    for (name, value) in &reply.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(*name, value);
        }
    }
    response
}

/// A body on its way out.
enum Outgoing {
    Whole(Option<Bytes>),
    /// Announces all, sends half, and breaks off a moment later, so that the half is on its way.
    Truncated {
        bytes: Bytes,
        pause: Option<Pin<Box<tokio::time::Sleep>>>,
    },
    /// So many bytes, made as they are sent.
    Huge {
        left: u64,
    },
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = match &mut *self {
            Self::Whole(bytes) => bytes.take(),
            Self::Truncated { pause: Some(pause), .. } => {
                std::task::ready!(pause.as_mut().poll(cx));
                return Poll::Ready(Some(Err(io::Error::other("broken off on order"))));
            }
            Self::Truncated { bytes, pause } => {
                *pause = Some(Box::pin(tokio::time::sleep(BREAK_OFF)));
                Some(bytes.slice(..bytes.len() / 2))
            }
            Self::Huge { left: 0 } => None,
            Self::Huge { left } => {
                let length = (*left).min(CHUNK_BYTES);
                *left -= length;
                Some(Bytes::from(vec![b' '; usize::try_from(length).unwrap_or(0)]))
            }
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None) | Self::Huge { left: 0 })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Truncated { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            // Not announced, so that a reader has to count.
            Self::Huge { .. } => SizeHint::default(),
        }
    }
}

/// A connection that can be reset: closed without the goodbye that a reader would take for an orderly end.
struct Line {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // Without it the client sees an end where it should see a reset, and a test that cares says so.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
