//! What no server would do, or not on order: every status, bytes that are not HTTP, connections that end at bad moments; and
//! what the client puts on the wire.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpListener,
    time::Duration,
};

use serde_json::{Map, Value, json};
use skycron::{
    ids::{RunId, WorkflowId},
    secret::Secret,
    skyvern::{ApiErrorKind, Client, ClientError, ClientOptions, Detail, StartReply, StartRun},
};

use crate::{
    block_on, client, message,
    script::{Act, Script},
    sorted, start,
};

const KEY: &str = "key-that-nobody-may-see";

/// One start that is answered so.
fn check(act: Act, expected: &str, says: &str) {
    let script = Script::start(vec![act]);
    let reply = block_on(start(&client(&script.url, KEY), "wpid_1"));
    assert_eq!(sorted(&reply), expected, "{reply:?}");
    assert!(message(&reply).contains(says), "{says:?} is not in {reply:?}");
    assert!(!format!("{reply:?}").contains(KEY), "{reply:?}");
    assert_eq!(script.asked().len(), 1, "a start is sent once: {reply:?}");
}

#[test]
fn every_status_is_sorted() {
    let run = r#"{"run_id":"wr_1","status":"created"}"#;
    let detail = r#"{"detail":"words of the server"}"#;
    for status in [200, 201, 202] {
        check(Act::json(status, run), "started", "");
    }
    check(Act::Say(b"HTTP/1.1 204 X\r\n\r\n".to_vec()), "unknown 204", "breaks off");
    check(Act::json(200, "{}"), "unknown 200", "names no run");
    check(Act::json(200, r#"{"run_id":"wr_1"}"#), "unknown 200", "names no run");
    check(Act::json(200, r#"{"run_id":"../../x","status":"created"}"#), "unknown 200", "names no run");
    check(Act::json(200, "[1]"), "unknown 200", "names no run");
    check(Act::json(200, "\"created\""), "unknown 200", "another shape");
    check(Act::json(200, ""), "unknown 200", "breaks off");
    for status in [301, 302, 307, 308] {
        let act = Act::answer(status, "location: https://elsewhere.example/\r\n", "");
        check(act, &format!("not_started {status}"), "https://elsewhere.example/");
    }
    check(Act::json(303, detail), "unknown 303", "words of the server");
    for status in [400, 405, 406, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 422, 423, 424, 426, 428, 431, 451] {
        check(Act::json(status, detail), &format!("refused {status}"), "words of the server");
    }
    for status in [401, 402, 403, 407, 421, 425, 429] {
        check(Act::json(status, detail), &format!("not_started {status}"), "words of the server");
    }
    for status in [408, 500, 501, 502, 503, 504, 505, 507, 511, 520, 524, 599] {
        check(Act::json(status, detail), &format!("unknown {status}"), "words of the server");
    }
    check(Act::json(404, r#"{"detail":"Workflow not found. workflow_permanent_id=wpid_1"}"#), "refused 404", "wpid_1");
    check(Act::json(404, r#"{"detail":"Not Found"}"#), "refused 404", "Not Found");
    check(Act::json(404, "404 page not found\n"), "not_started 404", "404 page not found");
    // The gate's words with the gate's status only.
    let gate = r#"{"detail":"The server is busy dispatching other runs. No run was created; retry this request."}"#;
    check(Act::answer(503, "retry-after: 5\r\n", gate), "not_started 503 after 5", "No run was created");
    check(Act::json(503, gate), "not_started 503", "No run was created");
    check(Act::json(500, gate), "unknown 500", "No run was created");
    check(Act::json(503, "No run was created, says a proxy that cannot know"), "unknown 503", "a proxy");
}

#[test]
fn bytes_that_are_no_answer() {
    check(Act::SayAndClose(vec![]), "unknown", "broke before the answer");
    check(Act::SayAndClose(b"HTTP/1.1 20".to_vec()), "unknown", "broke before the answer");
    check(Act::SayAndClose(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), "unknown", "broke before the answer");
    check(Act::Hang, "unknown", "did not answer in time");
    check(Act::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{".to_vec()), "unknown 200", "broke within");
    check(Act::SayAndClose(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{".to_vec()), "unknown 200", "broke within");
    check(
        Act::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{".to_vec()),
        "unknown 200",
        "larger than 65536",
    );
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(70_000));
    check(Act::Say(endless.into_bytes()), "unknown 200", "larger than 65536");
    // Of an error the status says enough, whatever becomes of its words.
    let endless = format!("HTTP/1.1 400 X\r\n\r\n{}", " ".repeat(70_000));
    check(Act::Say(endless.into_bytes()), "refused 400", "");
    check(Act::Say(b"HTTP/1.1 422 X\r\ncontent-length: 99999999\r\n\r\n{".to_vec()), "refused 422", "");
    check(Act::SayAndClose(b"HTTP/1.1 403 X\r\ncontent-length: 50\r\n\r\nhalf".to_vec()), "not_started 403", "half");
    check(Act::SayAndClose(b"HTTP/1.1 503 X\r\ncontent-length: 50\r\n\r\n{\"deta".to_vec()), "unknown 503", "");
    // Without a length the end of the connection is the end of the body.
    check(
        Act::SayAndClose(b"HTTP/1.0 200 OK\r\n\r\n{\"run_id\":\"wr_1\",\"status\":\"created\"}".to_vec()),
        "started",
        "",
    );
}

#[test]
fn what_the_server_repeats_is_not_shown() {
    check(Act::json(400, &format!(r#"{{"detail":"bad key {KEY}"}}"#)), "refused 400", "bad key [secret]");
    check(Act::answer(302, &format!("location: /?k={KEY}\r\n"), ""), "not_started 302", "/?k=[secret]");
    let sent = format!(r#"{{"detail":[{{"loc":["body","parameters"],"msg":"not valid","input":{{"k":"{KEY}"}}}}]}}"#);
    check(Act::json(422, &sent), "refused 422", "body.parameters: not valid");
}

/// A start at an address where nothing answers, and what is advised.
fn check_no_connection(url: &str, says: &str, advises: &str) {
    let reply = block_on(start(&client(url, KEY), "wpid_1"));
    assert_eq!(sorted(&reply), "not_started", "{url}: {reply:?}");
    let StartReply::NotStarted { message, hint, .. } = &reply else { unreachable!() };
    assert!(message.contains(says) && hint.contains(advises), "{url}: {reply:?}");
}

#[test]
fn no_connection() {
    // A port that was free a moment ago; nobody is told about it.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    check_no_connection(&format!("http://{free}"), "refused", "check that the server is up");
    // Other ends that do not speak TLS: one that waits, one that goes, one that says something else.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    check_no_connection(&url, "no connection to the server", "nothing answers at base_url");
    let other_end = |says: &'static [u8]| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut hello = [0; 1024];
                let _ = stream.read(&mut hello);
                let _ = stream.write_all(says);
            }
        });
        url
    };
    check_no_connection(&other_end(b""), "no connection to the server", "http or https");
    check_no_connection(&other_end(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "no connection", "does not speak TLS");
    // By RFC 6761 nothing has this name.
    check_no_connection("https://skycron.invalid", "no connection to the server", "");
}

#[test]
fn a_start_on_the_wire() {
    let script = Script::start(vec![Act::json(200, r#"{"run_id":"wr_1","status":"created"}"#)]);
    let client = client(&format!("{}/behind/a/proxy/", script.url), KEY);
    let workflow_id = WorkflowId::new("wpid_1").unwrap();
    let options = json!({"title": "t", "workflow_id": "wpid_other", "run_metadata": {"team": "a", "mine": "no"}});
    let start = StartRun {
        workflow_id: &workflow_id,
        parameters: &Map::new(),
        run_options: options.as_object().unwrap(),
        run_metadata: &BTreeMap::from([("mine".to_owned(), "yes".to_owned())]),
        secrets: &[],
    };
    assert_eq!(sorted(&block_on(client.start_run(&start))), "started");
    let asked = script.asked().remove(0);
    assert_eq!(asked.line, "POST /behind/a/proxy/v1/run/workflows HTTP/1.1");
    let has = |line: &str| asked.headers.iter().any(|header| header == line);
    assert!(has(&format!("x-api-key: {KEY}")) && has("content-type: application/json"), "{:?}", asked.headers);
    assert!(has(concat!("user-agent: skycron/", env!("CARGO_PKG_VERSION"))), "{:?}", asked.headers);
    assert!(
        !asked.headers.iter().any(|header| header.starts_with("x-user-agent")),
        "it would look like a manual start"
    );
    assert!(
        !asked.headers.iter().any(|header| header.starts_with("accept-encoding")),
        "a bound on bytes is no bound then"
    );
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    let expected = json!({
        "title": "t", "workflow_id": "wpid_1", "parameters": {}, "proxy_location": null,
        "run_metadata": {"team": "a", "mine": "yes"},
    });
    assert_eq!(body, expected);
}

#[test]
fn the_proxy_location_of_the_file_is_sent() {
    let script = Script::start(vec![Act::json(200, r#"{"run_id":"wr_1","status":"created"}"#)]);
    let options = json!({"proxy_location": "RESIDENTIAL_DE"});
    let start = StartRun {
        workflow_id: &WorkflowId::new("wpid_1").unwrap(),
        parameters: &Map::new(),
        run_options: options.as_object().unwrap(),
        run_metadata: &BTreeMap::new(),
        secrets: &[],
    };
    block_on(client(&script.url, KEY).start_run(&start));
    let body: Value = serde_json::from_str(&script.asked()[0].body).unwrap();
    assert_eq!(body, json!({"proxy_location": "RESIDENTIAL_DE", "workflow_id": "wpid_1", "parameters": {}}));
}

#[test]
fn secrets_of_parameters_are_taken_out_of_errors() {
    let words = "Invalid workflow parameter. Expected parameter type: integer. Value: pin-4711-pin.";
    let script = Script::start(vec![Act::json(400, &json!({"detail": words}).to_string())]);
    let parameters = json!({"pin": "pin-4711-pin"});
    let start = StartRun {
        workflow_id: &WorkflowId::new("wpid_1").unwrap(),
        parameters: parameters.as_object().unwrap(),
        run_options: &Map::new(),
        run_metadata: &BTreeMap::new(),
        secrets: &[Secret::new("pin-4711-pin".to_owned())],
    };
    let reply = block_on(client(&script.url, KEY).start_run(&start));
    assert!(message(&reply).ends_with("Value: [secret]."), "{reply:?}");
}

#[test]
fn a_request_on_a_connection_that_was_closed_is_not_doubled() {
    let run = r#"{"run_id":"wr_1","status":"created"}"#;
    let Act::Say(whole) = Act::json(200, run) else { unreachable!() };
    // The server closes after its first answer; then answers nothing to a request that it has read.
    let script =
        Script::start(vec![Act::SayAndClose(whole), Act::Say(vec![]), Act::SayAndClose(vec![]), Act::json(200, run)]);
    let client = client(&script.url, KEY);
    block_on(async {
        assert_eq!(sorted(&start(&client, "wpid_1").await), "started");
        // At the very moment of closing nobody can tell; a moment later the client knows, and takes another connection.
        while !script.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(sorted(&start(&client, "wpid_1").await), "unknown");
        assert_eq!(sorted(&start(&client, "wpid_1").await), "unknown");
        assert_eq!(sorted(&start(&client, "wpid_1").await), "started");
    });
    assert_eq!(script.asked().len(), 4);
}

#[test]
fn older_paths_are_asked_for_a_run() {
    let gone = |words: &str| Act::json(404, &json!({"detail": words}).to_string());
    // The acts, the paths that were asked, and what came of it.
    let check = |acts: Vec<Act>, paths: &[&str], expected: Result<&str, ApiErrorKind>| {
        let script = Script::start(acts);
        let client = client(&script.url, KEY);
        let found = block_on(client.get_run(&RunId::new("wr_1").unwrap(), Detail::Brief));
        let found = found.map(|report| report.status.word().to_owned()).map_err(|error| error.kind);
        assert_eq!(found, expected.map(str::to_owned));
        let asked: Vec<String> = script.asked().iter().map(|asked| asked.line.clone()).collect();
        let paths: Vec<String> = paths.iter().map(|path| format!("GET {path} HTTP/1.1")).collect();
        assert_eq!(asked, paths);
        let as_ui = script.asked().iter().all(|asked| asked.headers.contains(&"x-user-agent: skyvern-ui".to_owned()));
        assert!(as_ui, "in brief");
    };
    let (new, older, oldest) = ("/v1/runs/wr_1", "/v1/workflows/runs/wr_1", "/api/v1/workflows/runs/wr_1");
    let run = || Act::json(200, r#"{"workflow_run_id":"wr_1","status":"running"}"#);
    check(vec![run()], &[new], Ok("running"));
    check(vec![gone("Task run not found wr_1"), run()], &[new, older], Ok("running"));
    check(vec![gone("Task run not found wr_1"), gone("Not Found"), run()], &[new, older, oldest], Ok("running"));
    let all = vec![gone("Task run not found wr_1"), gone("Not Found"), gone("WorkflowRun wr_1 not found")];
    check(all, &[new, older, oldest], Err(ApiErrorKind::NotFound));
    // No path of that name, or a proxy's 404: nothing is known about the run.
    check(vec![gone("Not Found")], &[new], Err(ApiErrorKind::Nonsense));
    check(vec![Act::json(404, "no such host")], &[new], Err(ApiErrorKind::Unavailable));
    let broken = vec![gone("Task run not found wr_1"), Act::json(500, "")];
    check(broken, &[new, older], Err(ApiErrorKind::Unavailable));
}

#[test]
fn options_that_are_refused() {
    let check = |url: &str, key: &str, plain: bool, expected: Option<&str>| {
        let mut options = ClientOptions::new(url.parse().unwrap(), Secret::new(key.to_owned()));
        options.allow_plain_http = plain;
        let error = Client::new(&options).err();
        assert_eq!(error.as_ref().map(ClientError::to_string).as_deref(), expected, "{url}");
        if let Some(error) = error {
            assert!(!error.hint().is_empty() && !format!("{error:?}").contains("secret-key"), "{error:?}");
        }
    };
    check("http://127.0.0.1:8000", "secret-key", false, None);
    check("http://[::1]:8000/api", "secret-key", false, None);
    check("https://api.skyvern.com", "secret-key", false, None);
    check("http://10.0.0.7:8000", "secret-key", true, None);
    let plain = "base_url http://10.0.0.7:8000/ is plain http, which shows the API key to everybody on the way";
    check("http://10.0.0.7:8000", "secret-key", false, Some(plain));
    check("ftp://127.0.0.1", "secret-key", false, Some("base_url begins with ftp:, not with https:"));
    let user = "base_url holds a user name or a password; the key goes into api_key";
    check("https://me:secret-key@example.com", "secret-key", false, Some(user));
    let query = "base_url has a query or a fragment, which no path can follow";
    check("https://example.com/?a=1", "secret-key", false, Some(query));
    check("https://example.com", "", false, Some("the API key is empty"));
    let key =
        "the API key has a character that a header cannot carry (a line break, a control or a non-ASCII character)";
    check("https://example.com", "secret-key\n", false, Some(key));
    check("https://example.com", "secret-kéy", false, Some(key));
}

#[test]
fn idle_connections_are_closed() {
    let script = Script::start(vec![Act::json(200, r#"{"run_id":"wr_1","status":"created"}"#)]);
    let client = client(&script.url, KEY);
    block_on(async {
        assert_eq!(sorted(&start(&client, "wpid_1").await), "started");
        // Nor does anything go on that would wake an idle process: not a task is left.
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let mut closed = false;
        for _ in 0..2000 {
            closed = closed || script.is_closed();
            if closed && tasks() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("closed: {closed}, {} tasks go on while the client lives on", tasks());
    });
    drop(client);
}

#[test]
fn no_more_starts_at_a_time_than_allowed() {
    let script = Script::start(vec![]);
    let mut options = ClientOptions::new(script.url.parse().unwrap(), Secret::new(KEY.to_owned()));
    options.connections_max = 3;
    options.request_timeout = Duration::from_secs(30);
    let client = Client::new(&options).unwrap();
    block_on(async {
        let starts = tokio::task::LocalSet::new();
        for _ in 0..10 {
            let client = client.clone();
            starts.spawn_local(async move { start(&client, "wpid_1").await });
        }
        let run = RunId::new("wr_1").unwrap();
        // None of the starts is answered; a poll gets through all the same.
        let poll = client.clone();
        starts.spawn_local(async move { poll.get_run(&run, Detail::Brief).await });
        let enough = async {
            while script.asked().len() < 4 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // Time for a fourth start to appear, if it were let through.
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        starts.run_until(enough).await;
    });
    let asked = script.asked();
    let starts = asked.iter().filter(|asked| asked.line.starts_with("POST")).count();
    assert_eq!((starts, asked.len()), (3, 4), "{asked:#?}");
}
