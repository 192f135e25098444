//! The limits, met by a client that speaks plain TCP.

use axum::routing::{get, post};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};

use super::*;

#[test]
fn only_names_of_this_server_are_heeded() {
    let hosts = Hosts::Named(["status.example.com".to_owned()].into());
    let check = |authority: &str, expected: bool| assert_eq!(hosts.allow(authority), expected, "{authority:?}");
    check("127.0.0.1:8765", true);
    check("127.0.0.1", true);
    check("[::1]:8765", true);
    check("[::1]", true);
    check("192.0.2.7:80", true);
    check("localhost:8765", true);
    check("LOCALHOST.", true);
    check("skycron.localhost", true);
    check("status.example.com", true);
    check("Status.Example.com:443", true);
    check("example.com", false);
    check("evil.example:8765", false);
    check("127.0.0.1.evil.example", false);
    check("localhost.evil.example", false);
    check("", false);
    check(":8765", false);
    check("status.example.com:x", false);
    assert!(Hosts::Any.allow("evil.example"));
}

/// Runs a client against a server with these limits, and ends the server in order.
fn with_server(limits: Limits, client: impl AsyncFnOnce(SocketAddr)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), limits, Hosts::Named([].into())).unwrap();
        let address = server.address().unwrap();
        let router = Router::new()
            .route("/", get(async || "here"))
            .route("/slow", get(async || std::future::pending::<String>().await))
            .route("/length", post(async |body: String| body.len().to_string()));
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.serve(router, async { drop(stopped.await) }));
        client(address).await;
        drop(stop);
        serving.await.unwrap();
    });
}

async fn sent(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has seen enough closes before all is sent.
    let _ = stream.write_all(request.as_bytes()).await;
    stream
}

/// All that comes until the server closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

fn request(head: &str, rest: &str) -> String {
    format!("{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{rest}")
}

#[test]
fn what_is_too_much_is_refused() {
    let limits = Limits { header_bytes_max: 8192, headers_max: 10, body_bytes_max: 100, ..Limits::default() };
    let check = |request: &str, expected: &str| {
        with_server(limits, async |address| {
            let answer = rest(sent(address, request).await).await;
            assert!(answer.starts_with(expected), "{request:.80}\n{answer:.200}");
        });
    };
    check(&request("GET /", "\r\n"), "HTTP/1.1 200");
    check(&request("GET /", &format!("x-large: {}\r\n\r\n", "x".repeat(9000))), "HTTP/1.1 431");
    check(&request(&format!("GET /{}", "x".repeat(9000)), "\r\n"), "HTTP/1.1 4");
    check(&request("GET /", &format!("{}\r\n", "x-many: 1\r\n".repeat(11))), "HTTP/1.1 431");
    check(&request("POST /length", &format!("Content-Length: 100\r\n\r\n{}", "x".repeat(100))), "HTTP/1.1 200");
    check(&request("POST /length", &format!("Content-Length: 101\r\n\r\n{}", "x".repeat(101))), "HTTP/1.1 413");
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n65\r\n{}\r\n0\r\n\r\n", "x".repeat(101));
    check(&request("POST /length", &chunked), "HTTP/1.1 413");
    check("nonsense\r\n\r\n", "HTTP/1.1 400");
}

#[test]
fn only_who_names_this_server_is_answered() {
    let check = |request: &str, expected: &str| {
        with_server(Limits::default(), async |address| {
            let answer = rest(sent(address, request).await).await;
            assert!(answer.starts_with(expected), "{request}\n{answer}");
        });
    };
    let get = |headers: &str| format!("GET / HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    check(&get("Host: 127.0.0.1\r\n"), "HTTP/1.1 200");
    check(&get("Host: evil.example\r\n"), "HTTP/1.1 421");
    check(&get("Host: localhost\r\nHost: localhost\r\n"), "HTTP/1.1 421");
    check(&get("Host: \u{fc}\r\n"), "HTTP/1.1 421");
    check(&get(""), "HTTP/1.1 421");
    check("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200");
    check("GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "HTTP/1.1 421");
}

#[test]
fn who_is_slow_is_let_go() {
    let short = Duration::from_millis(50);
    let limits = Limits { header_time_max: short, request_time_max: short, ..Limits::default() };
    with_server(limits, async |address| {
        // Half a head, and nothing more; and a connection that says nothing at all.
        assert!(!rest(sent(address, "GET / HTTP/1.1\r\nHo").await).await.contains("200"));
        assert_eq!(rest(sent(address, "").await).await, "");
        // An answer that never comes, to somebody who waits.
        assert!(rest(sent(address, &request("GET /slow", "\r\n")).await).await.starts_with("HTTP/1.1 503"));
        // A body that never comes.
        let answer = rest(sent(address, &request("POST /length", "Content-Length: 5\r\n\r\nab")).await).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    });
    // One connection with one request after the other comes to an end, too.
    let limits = Limits { connection_time_max: short, ..Limits::default() };
    with_server(limits, async |address| {
        let stream = sent(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(rest(stream).await.starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn who_comes_when_all_places_are_taken_waits() {
    let limits = Limits { connections_max: 2, ..Limits::default() };
    with_server(limits, async |address| {
        let (one, two) = (sent(address, "GET").await, sent(address, "GET").await);
        let mut three = sent(address, &request("GET /", "\r\n")).await;
        let mut byte = [0];
        tokio::select! {
            _ = three.read(&mut byte) => panic!("answered, and there is no place"),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        drop(one);
        assert!(rest(three).await.starts_with("HTTP/1.1 200"));
        drop(two);
    });
}

#[test]
fn an_answer_under_way_is_waited_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let limits = Limits::default();
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), limits, Hosts::Any).unwrap();
        let address = server.address().unwrap();
        let (begun, has_begun) = oneshot::channel();
        let begun = std::sync::Mutex::new(Some(begun));
        let (go_on, may_go_on) = watch::channel(false);
        let handler = async move || {
            let _ = begun.lock().unwrap().take().unwrap().send(());
            let _ = may_go_on.clone().wait_for(|go_on| *go_on).await;
            "done"
        };
        let handler = Arc::new(handler);
        let router = Router::new().route(
            "/",
            get(move || {
                let handler = Arc::clone(&handler);
                async move { handler().await }
            }),
        );
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.serve(router, async { drop(stopped.await) }));
        let stream = sent(address, &request("GET /", "\r\n")).await;
        has_begun.await.unwrap();
        drop(stop);
        // Nobody else is let in: refused, or closed without a word.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        go_on.send(true).unwrap();
        assert!(rest(stream).await.ends_with("done"));
        serving.await.unwrap();
    });
}
