//! The same questions to the sandbox and to a real Skyvern server, with the same answers expected: what the other tests take
//! for the API is the API.
//!
//! Questions are put over a bare socket, past skycron's own client; they make the workflows that they need. The real server
//! is one that `tests/live/run` started, in a version that is pinned there.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod schedules;

use std::{
    collections::BTreeSet,
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use skycron::{
    clock::{Clock, SystemClock},
    sandbox::{Behaviour, Sandbox, SandboxOptions},
};

/// Longest wait for a run of one second to end.
const RUN_SECONDS_MAX: u64 = 60;

#[test]
fn the_sandbox() {
    let ahead = Arc::new(Ahead(AtomicI64::new(0)));
    let options = SandboxOptions {
        any_workflow: false,
        behaviour: Behaviour::default(),
        clock: Arc::clone(&ahead) as Arc<dyn Clock>,
        schedule_poll_interval: Duration::from_millis(50),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).unwrap();
    contract(&Server { ahead, is_real: false, ..Server::new(&sandbox.base_url(), sandbox.key().expose()) });
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn the_real_server() {
    let named = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is not set: tests/live/run sets it"));
    let key = fs::read_to_string(named("SKYCRON_LIVE_KEY_FILE")).unwrap();
    contract(&Server::new(&named("SKYCRON_LIVE_URL"), key.trim()));
}

fn contract(server: &Server) {
    let probe = server.make_workflow(&json!([
        {"parameter_type": "workflow", "key": "url", "workflow_parameter_type": "string", "default_value": "x"},
        {"parameter_type": "workflow", "key": "need", "workflow_parameter_type": "integer"},
    ]));
    without_a_key(server, &probe);
    paths(server);
    refused_starts(server, &probe);
    refused_lists(server, &probe);
    a_run_to_its_end(server, &probe);
    a_cancelled_run(server, &probe);
    tags(server, &probe);
    a_deleted_workflow(server);
    browsers(server);
    schedules::contract(server);
}

/// Browser sessions and profiles that are not there.
fn browsers(server: &Server) {
    let detail = |path: &str| {
        let (status, body) = server.ask_as(Some(&server.key), "GET", path, "");
        assert_eq!(status, 404, "{path}: {body}");
        body["detail"].as_str().unwrap().to_owned()
    };
    assert_eq!(detail("/v1/browser_sessions/pbs_1"), "Browser session pbs_1 not found");
    let profile = detail("/v1/browser_profiles/bp_1");
    assert!(profile.starts_with("Browser profile bp_1 not found for organization o_"), "{profile}");
}

/// A clock that is ahead by so many seconds: what the sandbox goes by, so that nobody waits for a minute.
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::seconds(self.0.load(Ordering::Relaxed))
    }
}

/// A server, over a bare socket.
struct Server {
    host: String,
    key: String,
    /// The server's clock. A real one's is the machine's, and stays so.
    ahead: Arc<Ahead>,
    is_real: bool,
}

impl Server {
    fn new(url: &str, key: &str) -> Self {
        Self {
            host: url.strip_prefix("http://").unwrap().to_owned(),
            key: key.to_owned(),
            ahead: Arc::new(Ahead(AtomicI64::new(0))),
            is_real: true,
        }
    }

    /// One request on a connection of its own: the status and the JSON (null where it is none).
    fn ask_as(&self, key: Option<&str>, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let key = key.map(|key| format!("x-api-key: {key}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{key}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.ask_as(Some(&self.key), method, path, body)
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, "");
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    /// A workflow that waits for a second.
    fn make_workflow(&self, parameters: &Value) -> String {
        let block = json!({"block_type": "wait", "label": "w1", "wait_sec": 1});
        let inner = json!({"parameters": parameters, "blocks": [block]});
        let body = json!({"json_definition": {"title": "contract", "workflow_definition": inner}});
        let (status, workflow) = self.ask("POST", "/v1/workflows", &body.to_string());
        assert_eq!(status, 200, "{workflow}");
        workflow["workflow_permanent_id"].as_str().unwrap().to_owned()
    }

    fn start(&self, body: &Value) -> Value {
        let (status, run) = self.ask("POST", "/v1/run/workflows", &body.to_string());
        assert_eq!(status, 200, "{body}: {run}");
        run
    }

    /// Asks, and compares status and `detail`; of a list of problems, the kind, place and words of each.
    #[track_caller]
    fn check(&self, method: &str, path: &str, body: &str, status: u16, detail: &Value) {
        let (found_status, found) = self.ask(method, path, body);
        assert_eq!(
            (found_status, essence(&found["detail"])),
            (status, detail.clone()),
            "{method} {path} {body}: {found}"
        );
    }

    /// How many rows a workflow's list has with this query.
    #[track_caller]
    fn rows(&self, workflow: &str, query: &str) -> Vec<String> {
        let rows = self.get(&format!("/api/v1/workflows/{workflow}/runs?{query}"));
        rows.as_array().unwrap().iter().map(|row| row["workflow_run_id"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the run is over.
    fn end_of(&self, run: &str) -> Value {
        for _ in 0..RUN_SECONDS_MAX * 20 {
            let report = self.get(&format!("/v1/runs/{run}"));
            let status = report["status"].as_str().unwrap();
            if !["created", "queued", "running"].contains(&status) {
                return report;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{run} did not end in {RUN_SECONDS_MAX} s");
    }
}

/// What does not repeat the input.
fn essence(detail: &Value) -> Value {
    match detail {
        Value::Array(problems) => {
            let essence = |p: &Value| json!([p["type"], p["loc"], p["msg"]]);
            problems.iter().map(essence).collect()
        }
        other => other.clone(),
    }
}

fn id_of(run: &Value) -> String {
    run["run_id"].as_str().unwrap().to_owned()
}

/// The names of an object's fields are those of a recorded answer.
#[track_caller]
fn check_fields(found: &Value, recorded: &str) {
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let mut recorded: Value = serde_json::from_str(recorded).unwrap();
    if let Value::Array(rows) = &mut recorded {
        recorded = rows.remove(0);
    }
    assert_eq!(names(found), names(&recorded));
}

fn without_a_key(server: &Server, probe: &str) {
    let start = json!({"workflow_id": probe, "parameters": {"need": 1}}).to_string();
    let check = |key: Option<&str>, method: &str, path: &str, expected: (u16, Value)| {
        assert_eq!(server.ask_as(key, method, path, &start), expected, "{key:?} {method} {path}");
    };
    let none = || (403, json!({"detail": "Invalid credentials"}));
    let wrong = || (403, json!({"detail": "Could not validate credentials"}));
    for path in ["/v1/runs/wr_1", "/api/v1/organizations", "/v1/workflows", "/v1/runs"] {
        check(None, "GET", path, none());
        check(Some(""), "GET", path, none());
        check(Some("wrong"), "GET", path, wrong());
    }
    check(None, "POST", "/v1/run/workflows", none());
    check(Some("wrong"), "POST", "/v1/run/workflows", wrong());
    check(None, "GET", "/nothing", (404, json!({"detail": "Not Found"})));
    check(None, "GET", "/v1/run/workflows", (405, json!({"detail": "Method Not Allowed"})));
    check(None, "GET", "/api/v1/version", (200, json!({"version": "1.0.56"})));
    check(None, "GET", "/v1/version", (200, json!({"version": "1.0.56"})));
    assert_eq!(server.ask_as(None, "GET", "/api/v1/heartbeat", "").0, 200);
    assert_eq!(server.rows(probe, ""), Vec::<String>::new(), "no run was made");
}

fn paths(server: &Server) {
    let no_route = json!("Not Found");
    for path in ["/v1/organizations", "/v1/heartbeat", "/api/v1/runs/wr_1", "/v1/nothing", "/v2/runs"] {
        server.check("GET", path, "", 404, &no_route);
    }
    for path in ["/api/v1/run/workflows", "/v1/workflows/runs/wr_1/cancel", "/api/v1/runs/wr_1/cancel"] {
        server.check("POST", path, "{}", 404, &no_route);
    }
    server.check("DELETE", "/v1/runs/wr_1", "", 405, &json!("Method Not Allowed"));
    server.check("GET", "/v1/runs/wr_404", "", 404, &json!("Task run not found wr_404"));
    server.check("GET", "/v1/runs/wr_404/", "", 404, &json!("Task run not found wr_404"));
    server.check("GET", "/v1/workflows/runs/wr_404", "", 404, &json!("Workflow not found for workflow run wr_404"));
    server.check("GET", "/api/v1/workflows/runs/wr_404", "", 404, &json!("WorkflowRun wr_404 not found"));
    server.check("GET", "/v1/runs/wr_404/tags", "", 404, &json!("Workflow run wr_404 not found"));
    server.check("POST", "/v1/runs/wr_404/cancel", "", 404, &json!("Run not found wr_404"));
    server.check("POST", "/api/v1/workflows/runs/wr_404/cancel", "", 404, &json!("Workflow run not found wr_404"));
    let no_workflow = json!("Workflow not found. workflow_permanent_id=wpid_404");
    server.check("GET", "/api/v1/workflows/wpid_404", "", 404, &no_workflow);
    server.check("GET", "/v1/workflows/wpid_404", "", 404, &no_workflow);
    assert_eq!(server.rows("wpid_404", ""), Vec::<String>::new(), "the runs of no workflow are none");
    assert!(server.get("/api/v1/organizations")["organizations"][0]["organization_id"].is_string());
}

fn refused_starts(server: &Server, probe: &str) {
    let check = |body: Value, status: u16, detail: Value| {
        server.check("POST", "/v1/run/workflows", &body.to_string(), status, &detail);
    };
    let start = |more: Value| {
        let mut body = json!({"workflow_id": probe, "parameters": {"need": 1}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let missing = json!([["missing", ["body"], "Field required"]]);
    server.check("POST", "/v1/run/workflows", "", 422, &missing);
    let nonsense = json!([["json_invalid", ["body", 0], "JSON decode error"]]);
    server.check("POST", "/v1/run/workflows", "nonsense", 422, &nonsense);
    let no_object = "Input should be a valid dictionary or object to extract fields from";
    check(json!([]), 422, json!([["model_attributes_type", ["body"], no_object]]));
    check(json!({}), 422, json!([["missing", ["body", "agent_id"], "Field required"]]));
    let no_text = "Input should be a valid string";
    check(json!({"workflow_id": 5}), 422, json!([["string_type", ["body", "workflow_id"], no_text]]));
    for id in ["wpid_404", "w_123"] {
        check(json!({"workflow_id": id}), 404, json!(format!("Workflow not found. workflow_permanent_id={id}")));
    }
    let need = json!(format!("Missing value for parameter need in workflow {probe}"));
    check(json!({"workflow_id": probe}), 400, need.clone());
    check(start(json!({"parameters": {"need": null}})), 400, need.clone());
    check(start(json!({"parameters": {"need": ""}})), 400, need);
    let kind = "Invalid workflow parameter. Expected parameter type: integer. Value: abc.";
    check(start(json!({"parameters": {"need": "abc"}})), 400, json!(kind));
    let no_fields = "Input should be a valid dictionary";
    check(start(json!({"parameters": []})), 422, json!([["dict_type", ["body", "parameters"], no_fields]]));
    let url = "Invalid webhook_url: unsupported scheme. Use an HTTP or HTTPS URL with at most 2083 characters.";
    check(start(json!({"webhook_url": "ftp://example.com"})), 400, json!(url));
    let metadata = |metadata: Value, detail: Value| check(start(json!({"run_metadata": metadata})), 422, detail);
    metadata(json!({"a": 1}), json!([["string_type", ["body", "run_metadata", "a"], no_text]]));
    let value_error = |words: &str| json!([["value_error", ["body", "run_metadata"], format!("Value error, {words}")]]);
    metadata(json!({"a": "x".repeat(257)}), value_error("run_metadata values must be at most 256 characters"));
    metadata(json!({"x".repeat(65): "1"}), value_error("run_metadata keys must be at most 64 characters"));
    let many: Value = (0..21).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    metadata(many, value_error("run_metadata can include at most 20 entries"));
    let reserved = "tag values must not be exactly '__other__' (reserved as an analytics bucket marker)";
    metadata(json!({"a": "__other__"}), value_error(reserved));
    let (status, refused) =
        server.ask("POST", "/v1/run/workflows", &start(json!({"proxy_location": "MARS"})).to_string());
    assert_eq!((status, &refused["detail"][0]["type"]), (422, &json!("enum")));
    assert_eq!(server.rows(probe, ""), Vec::<String>::new(), "no run was made");
}

fn refused_lists(server: &Server, probe: &str) {
    let list = |query: &str| format!("/api/v1/workflows/{probe}/runs?{query}");
    let small = "Input should be greater than or equal to 1";
    server.check("GET", &list("page=0"), "", 422, &json!([["greater_than_equal", ["query", "page"], small]]));
    server.check("GET", &list("page_size=0"), "", 422, &json!([["greater_than_equal", ["query", "page_size"], small]]));
    server.check("GET", "/v1/workflows?page=0", "", 422, &json!([["greater_than_equal", ["query", "page"], small]]));
    let large = "Input should be less than or equal to 100";
    let path = "/v1/runs?page_size=101";
    server.check("GET", path, "", 422, &json!([["less_than_equal", ["query", "page_size"], large]]));
    for term in [":1", "a:"] {
        let words = format!("Invalid tag filter '{term}'; expected 'label', 'key:*', or 'key:value'.");
        server.check("GET", &list(&format!("tags={term}")), "", 400, &json!(words));
    }
    let terms: Vec<String> = (0..21).map(|n| format!("k{n}:v")).collect();
    let words = "Too many tag filter terms; at most 20 distinct terms are allowed.";
    server.check("GET", &list(&format!("tags={}", terms.join(","))), "", 400, &json!(words));
    assert_eq!(server.ask("GET", &list("created_at_start=garbage"), "").0, 422);
}

fn a_run_to_its_end(server: &Server, probe: &str) {
    // The undeclared one is dropped in silence, the default is filled in.
    let parameters = json!({"need": 1, "zzz": 2});
    let metadata = json!({"skycron_occurrence": "main/daily@2026-11-02T14:00:00Z#manual-1"});
    let body = json!({"workflow_id": probe, "parameters": parameters, "proxy_location": null, "run_metadata": metadata, "title": "t"});
    let run = server.start(&body);
    check_fields(&run, include_str!("../client/data/started.json"));
    check_fields(&run["run_request"], &run_request());
    assert_eq!((&run["status"], &run["run_type"]), (&json!("created"), &json!("workflow_run")));
    assert_eq!((&run["run_request"]["parameters"], &run["run_request"]["run_metadata"]), (&parameters, &metadata));
    assert_eq!(run["run_request"]["title"], "contract", "the title of the request is ignored");
    let id = id_of(&run);
    let end = server.end_of(&id);
    check_fields(&end, include_str!("../client/data/run.json"));
    assert_eq!(
        (&end["status"], &end["retry_pending"], &end["attempt"]),
        (&json!("completed"), &json!(false), &json!(1))
    );
    assert!(end["output"].is_object(), "{end}");
    assert_eq!(end["run_request"]["parameters"], json!({"url": "x", "need": 1}));
    assert_eq!(end["run_request"]["run_metadata"], Value::Null, "only the POST repeats it");
    for name in ["created_at", "modified_at", "queued_at", "started_at", "finished_at"] {
        let time = end[name].as_str().unwrap();
        assert!(time.len() >= 19 && !time.ends_with('Z') && !time.contains('+'), "{name} is without a zone: {time}");
    }
    for path in ["/v1/workflows/runs", "/api/v1/workflows/runs"] {
        let older = server.get(&format!("{path}/{id}"));
        assert_eq!((&older["workflow_run_id"], &older["status"]), (&json!(id), &json!("completed")));
        assert_eq!((&older["outputs"], &older["parameters"]), (&end["output"], &json!({"url": "x", "need": 1})));
    }
    check_fields(&server.get(&format!("/api/v1/workflows/runs/{id}")), include_str!("../client/data/older_run.json"));
    let rows = server.get(&format!("/api/v1/workflows/{probe}/runs"));
    check_fields(&rows[0], include_str!("../client/data/rows.json"));
    assert_eq!(rows[0]["trigger_type"], "api");
    let task = server.get("/v1/runs?page_size=1");
    assert_eq!((&task[0]["run_id"], &task[0]["workflow_permanent_id"]), (&json!(id), &json!(probe)));
    // What is over stays as it is.
    assert_eq!(server.ask("POST", &format!("/v1/runs/{id}/cancel"), ""), (200, Value::Null));
    assert_eq!(server.get(&format!("/v1/runs/{id}"))["status"], "completed");
}

fn run_request() -> String {
    let run: Value = serde_json::from_str(include_str!("../client/data/run.json")).unwrap();
    run["run_request"].to_string()
}

fn a_cancelled_run(server: &Server, probe: &str) {
    let run = server.start(&json!({"workflow_id": probe, "parameters": {"need": "7"}}));
    assert_eq!(run["run_request"]["proxy_location"], "RESIDENTIAL", "absent is not null");
    let id = id_of(&run);
    for _ in 0..2 {
        assert_eq!(server.ask("POST", &format!("/v1/runs/{id}/cancel"), ""), (200, Value::Null));
    }
    let end = server.end_of(&id);
    assert_eq!(
        (&end["status"], &end["failure_reason"], &end["output"]),
        (&json!("canceled"), &Value::Null, &Value::Null)
    );
    assert!(end["finished_at"].is_string());
    assert_eq!(server.ask("POST", &format!("/api/v1/workflows/runs/{id}/cancel"), ""), (200, Value::Null));
    assert_eq!(server.rows(probe, "status=canceled"), [id]);
}

fn tags(server: &Server, probe: &str) {
    let before = server.rows(probe, "page_size=100");
    let start = |metadata: Value| {
        id_of(&server.start(&json!({"workflow_id": probe, "parameters": {"need": 1}, "run_metadata": metadata})))
    };
    let both = start(json!({"a": "1", "b": " 2 "}));
    let first = start(json!({"a": "1", "skyvern.mine": "x", "empty": ""}));
    let other = start(json!({"a": "3", "key": "main/daily@2026-11-02T14:00:00Z#manual-1"}));
    let check = |query: &str, expected: &[&String]| {
        let found = server.rows(probe, &format!("page_size=100&tags={query}"));
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query}");
    };
    check("a:1", &[&first, &both]);
    check("b:2", &[&both]);
    check("a:1,b:2", &[&both]);
    check("a:1,a:3", &[&other, &first, &both]);
    check("a:1&tags=b:2", &[&both]);
    check("a:*", &[&other, &first, &both]);
    check("a", &[]);
    check("a:2", &[]);
    check("A:1", &[]);
    check("skyvern.mine:x", &[]);
    check("key:main/daily%402026-11-02T14:00:00Z%23manual-1", &[&other]);
    check("key%3Amain%2Fdaily%402026-11-02T14%3A00%3A00Z%23manual-1", &[&other]);
    check("key:main/daily%402026-11-02T14:00:00Z%23manual-2", &[]);
    check("key:main/daily%402026-11-02T14:00:00Z", &[]);
    // No filter at all.
    let mut all = vec![&other, &first, &both];
    all.extend(&before);
    check("", &all);
    assert_eq!(server.rows(probe, "page_size=2&page=2"), [both.clone(), before[0].clone()]);
    let later = server.get(&format!("/v1/runs/{other}"))["created_at"].as_str().unwrap().to_owned();
    assert_eq!(server.rows(probe, &format!("created_at_start={later}")), std::slice::from_ref(&other));
    assert_eq!(server.rows(probe, &format!("created_at_start={later}Z")), [other]);
    assert_eq!(server.rows(probe, "created_at_start=2099-01-01T00:00:00Z"), Vec::<String>::new());
    let tags = server.get(&format!("/v1/runs/{first}/tags"));
    assert_eq!(tags["workflow_run_id"], first.as_str());
    let manual: Vec<&Value> = tags["tags"].as_array().unwrap().iter().filter(|tag| tag["source"] == "manual").collect();
    assert_eq!(manual.len(), 1, "{tags}");
    assert_eq!((&manual[0]["key"], &manual[0]["value"]), (&json!("a"), &json!("1")));
}

fn a_deleted_workflow(server: &Server) {
    let workflow = server.make_workflow(&json!([]));
    let run = id_of(&server.start(&json!({"workflow_id": workflow})));
    server.end_of(&run);
    for _ in 0..2 {
        let deleted = server.ask("DELETE", &format!("/api/v1/workflows/{workflow}"), "");
        assert_eq!(deleted, (200, Value::Null));
    }
    let gone = json!(format!("Workflow not found. workflow_permanent_id={workflow}"));
    server.check("GET", &format!("/v1/runs/{run}"), "", 404, &gone);
    server.check("GET", &format!("/api/v1/workflows/runs/{run}"), "", 404, &gone);
    server.check("GET", &format!("/api/v1/workflows/{workflow}"), "", 404, &gone);
    server.check("POST", "/v1/run/workflows", &json!({"workflow_id": workflow}).to_string(), 404, &gone);
    assert_eq!(server.get(&format!("/v1/workflows/runs/{run}"))["status"], "completed");
    assert_eq!(server.rows(&workflow, ""), std::slice::from_ref(&run));
    assert_eq!(server.ask("POST", &format!("/v1/runs/{run}/cancel"), ""), (200, Value::Null));
}
