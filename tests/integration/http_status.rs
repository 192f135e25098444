//! The HTTP side of a running daemon: what it answers, what it refuses, and what it says when something is wrong.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use serde_json::Value;
use skycron::{
    sandbox::{Behaviour, Sandbox, SandboxOptions},
    secret::Secret,
};

use crate::{daemon_rig::Daemon, support::Project};

const SCHEDULE: &str = "[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 1 7 *\"\n";
/// The key that the rig gives the daemon.
const KEY: &str = "k-1234";
/// How long something may take that takes milliseconds on a machine with nothing else to do.
const LOOKS_MAX: usize = 600;

fn sandbox(key: &str) -> Sandbox {
    let behaviour = Behaviour { run_time: Duration::ZERO, ..Behaviour::default() };
    Sandbox::start(SandboxOptions { key: Secret::new(key.to_owned()), behaviour, ..SandboxOptions::default() }).unwrap()
}

fn file(sandbox: &Sandbox, schedules: &str) -> String {
    format!(
        "[api]\nbase_url = \"{}\"\npoll_interval = \"1s\"\n[http]\nlisten = \"127.0.0.1:0\"\nhosts = [\"status.example.com\"]\n{schedules}",
        sandbox.base_url()
    )
}

/// A status and everything after it.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// The daemon's HTTP side, found through its log.
struct Site<'a> {
    daemon: Daemon<'a>,
    address: String,
}

impl<'a> Site<'a> {
    fn start(project: &'a Project) -> Self {
        let daemon = Daemon::start(project);
        let log = daemon.wait_for("http: listening", 1);
        let (_, rest) = log.split_once("http: listening address=\"").unwrap();
        let address = rest.split('"').next().unwrap().to_owned();
        Self { daemon, address }
    }

    fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let _ = stream.write_all(request.as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}\n{text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn ask(&self, method: &str, path: &str) -> Answer {
        self.raw(&format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address))
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path)
    }

    /// What a path answers, once it is as it should be.
    #[track_caller]
    fn wait_for(&self, path: &str, what: &str, fits: impl Fn(&Answer) -> bool) -> Answer {
        for _ in 0..LOOKS_MAX {
            let answer = self.get(path);
            if fits(&answer) {
                return answer;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let answer = self.get(path);
        panic!("{path} never {what}: {} {}", answer.status, answer.body)
    }

    /// The value of a series.
    fn metric(&self, series: &str) -> f64 {
        series_of(&self.get("/metrics").body)
            .into_iter()
            .find(|(name, _)| name == series)
            .map_or(f64::NAN, |(_, value)| value)
    }
}

/// A text in Prometheus' format, read strictly: every series belongs to a family with help and type, and comes once.
fn series_of(text: &str) -> Vec<(String, f64)> {
    let mut families = Vec::new();
    let mut series: Vec<(String, f64)> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            assert!(kind != "counter" || name.ends_with("_total"), "{line}");
            families.push(name.to_owned());
        } else if line.starts_with("# HELP ") {
            assert!(line.split(' ').count() > 4, "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let family = name.split('{').next().unwrap();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| family.strip_suffix(end)).unwrap_or(family);
            assert!(families.iter().any(|known| known == family || known == base), "{line}: a family without a type");
            assert!(series.iter().all(|(known, _)| known != name), "{name} twice");
            series.push((name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}"))));
        }
    }
    assert!(series.len() > 50, "{text}");
    series
}

#[test]
fn it_only_reads_and_only_for_whom_it_is_meant() {
    let sandbox = sandbox(KEY);
    let project = Project::with_file(&file(&sandbox, SCHEDULE));
    let site = Site::start(&project);
    for path in ["/", "/healthz", "/schedule/a", "/metrics", "/api/status", "/style.css", "/nowhere"] {
        let (whole, head) = (site.get(path), site.ask("HEAD", path));
        assert_eq!(whole.status, if path == "/nowhere" { 404 } else { 200 }, "{path}: {}", whole.body);
        assert_eq!((head.status, head.body.as_str()), (whole.status, ""), "{path}");
        for header in [
            "content-security-policy: default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
            "cache-control: no-store",
        ] {
            assert!(whole.head.contains(header), "{path} lacks {header}\n{}", whole.head);
        }
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = site.ask(method, path);
            assert!(matches!(answer.status, 405 | 404), "{method} {path}: {}", answer.status);
            assert!(path == "/nowhere" || answer.head.contains("allow: get,head"), "{}", answer.head);
        }
    }
    let named = |host: &str| site.raw(&format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).status;
    assert_eq!([named("status.example.com"), named("localhost:1"), named("evil.example")], [200, 200, 421]);
    let large = format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(site.raw(&large).status, 431);
    let body = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n";
    assert_eq!(site.raw(body).status, 413);
    let check = |path: &str, status: u16| assert_eq!(site.get(path).status, status, "{path}");
    check("/schedule/b", 404);
    check("/schedule/%3Cscript%3E", 404);
    check("/schedule/a?until=yesterday", 400);
    check("/occurrence/main/a@2026-11-02T14:00:00Z", 404);
    check("/occurrence/..%2f..%2fetc", 404);
    check("/api/schedules/b", 404);
    check("/api/history?colour=red", 400);
    check("/api/history?status=done", 400);
    check("/api/history?schedule=%3Cscript%3E", 400);
    check("/api/history?status=failed,missed&limit=1&since=2026-01-01T00:00:00Z", 200);
    check("/?from=1000000", 200);
    check("/?from=-1", 400);
}

#[test]
fn a_run_is_seen_from_every_side() {
    let sandbox = sandbox(KEY);
    let project = Project::with_file(&file(&sandbox, SCHEDULE));
    let site = Site::start(&project);
    assert_eq!(site.metric("skycron_start_attempts_total{outcome=\"started\"}"), 0.0);
    let triggered =
        project.run(&["trigger", "a", "--wait", "--state-dir", "state", "--format", "json"]).code(0).objects();
    let (key, run_id) = (triggered[0]["occurrence"].as_str().unwrap(), triggered[0]["run_id"].as_str().unwrap());

    let told = site.wait_for("/metrics", "counts the run", |answer| {
        answer.body.contains("skycron_occurrences_total{status=\"completed\"} 1\n")
    });
    let series = series_of(&told.body);
    let value = |name: &str| series.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}")).1;
    assert_eq!(value("skycron_start_attempts_total{outcome=\"started\"}"), 1.0);
    assert_eq!(value("skycron_api_requests_total{outcome=\"ok\",purpose=\"start\"}"), 1.0);
    assert!(value("skycron_api_requests_total{outcome=\"ok\",purpose=\"other\"}") >= 1.0);
    assert!(value("skycron_schedule_last_success_timestamp_seconds{schedule=\"a\"}") > 1.7e9);
    assert_eq!(value("skycron_start_lateness_seconds_count"), 0.0, "a start by hand is never late");
    for (name, expected) in [
        ("skycron_schedules", 1.0),
        ("skycron_schedules_without_series", 0.0),
        ("skycron_schedules_failing", 0.0),
        ("skycron_occurrences_unknown", 0.0),
        ("skycron_occurrences_unaccounted", 0.0),
        ("skycron_occurrences_open{stage=\"running\"}", 0.0),
        ("skycron_file_stale", 0.0),
        ("skycron_history_stalled", 0.0),
        ("skycron_ready{check=\"api\"}", 1.0),
    ] {
        assert_eq!(value(name), expected, "{name}");
    }

    let href = key.replace('#', "%23");
    let page = site.get(&format!("/occurrence/{href}"));
    assert!(page.status == 200 && page.body.contains(run_id) && page.body.contains("completed"), "{}", page.body);
    assert_eq!(site.get(&format!("/occurrence/{run_id}")).status, 200);
    let object = site.get(&format!("/api/occurrence/{href}")).json();
    assert_eq!((object["occurrence"].as_str(), object["run_id"].as_str()), (Some(key), Some(run_id)));
    assert_eq!(object["attempt_list"][0]["outcome"], "started");
    let lines = site.wait_for("/api/history?schedule=a", "has the run", |answer| answer.body.contains(run_id)).json();
    assert_eq!(lines["occurrences"][0]["status"], "completed");
    let status = site.wait_for("/api/status", "has one schedule", |answer| answer.json()["schedules"] == 1).json();
    assert_eq!((&status["ready"], &status["upcoming"][0]["schedule"]), (&Value::Bool(true), &Value::from("a")));
    let schedules = site.get("/api/schedules").json();
    assert_eq!((&schedules["total"], &schedules["next"]), (&Value::from(1), &Value::Null));
    assert_eq!(site.get("/api/schedules/a").json(), schedules["schedules"][0]);
    let words = schedules["schedules"][0]["words"].as_str().unwrap();
    assert!(words.starts_with("At 09:00 on "), "{words}");
    for path in ["/", "/schedule/a"] {
        assert!(site.get(path).body.contains(words), "{path} says {words}");
    }
    for path in ["/", "/schedule/a", "/metrics", "/api/status", "/readyz", &format!("/api/occurrence/{href}")] {
        assert!(!site.get(path).body.contains(KEY), "{path} shows the key");
    }

    // A new process counts from zero; what is true stays true.
    drop(site);
    let site = Site::start(&project);
    assert_eq!(site.metric("skycron_start_attempts_total{outcome=\"started\"}"), 0.0);
    assert_eq!(site.metric("skycron_occurrences_total{status=\"completed\"}"), 0.0);
    assert!(site.metric("skycron_schedule_last_success_timestamp_seconds{schedule=\"a\"}") > 1.7e9);
}

#[test]
fn what_keeps_it_from_firing_is_told() {
    let ours = sandbox(KEY);
    let text = file(&ours, SCHEDULE);
    let project = Project::with_file(&text);
    let site = Site::start(&project);
    let ready = |what: &str, lines: &[&str]| {
        site.wait_for("/readyz", what, |answer| {
            let expected = if lines.is_empty() { 200 } else { 503 };
            answer.status == expected && lines.iter().all(|line| answer.body.contains(line))
        })
    };
    let answer = ready("is ready", &[]);
    assert_eq!(answer.body.matches("\nok ").count(), 5, "{}", answer.body);
    project.write("schedules.toml", text.replace("0 9 1 7 *", "0 10 1 7 *"));
    ready("sees the change", &["BAD  file", "was changed and is not read yet"]);
    site.daemon.signal("HUP");
    ready("has it in force", &[]);
    project.write("schedules.toml", "[[schedule]]\n");
    site.daemon.signal("HUP");
    ready("tells of the refusal", &["BAD  file", "is refused"]);
    assert!(site.get("/").body.contains("is not in force"), "the page says it too");
    assert_eq!(site.wait_for("/healthz", "is alive", |answer| answer.status == 200).body, "ok\n");
    project.write("schedules.toml", text.replace("1s", "2s"));
    site.daemon.signal("HUP");
    ready("asks for a restart", &["BAD  file", "restart"]);
    std::fs::remove_file(project.path("schedules.toml")).unwrap();
    project.write("schedules.toml", &text);
    site.daemon.signal("HUP");
    ready("is as before", &[]);
    drop(site);

    // Another key than the server takes.
    let theirs = sandbox("another-key");
    let project = Project::with_file(&file(&theirs, SCHEDULE));
    let site = Site::start(&project);
    let answer =
        site.wait_for("/readyz", "tells of the key", |answer| answer.status == 503 && answer.body.contains("BAD  api"));
    assert!(answer.body.contains("check the API key"), "{}", answer.body);
    assert!(site.get("/").body.contains("Skyvern cannot be used"));
    assert_eq!(site.metric("skycron_ready{check=\"api\"}"), 0.0);
    assert!(site.metric("skycron_api_requests_total{outcome=\"unauthorized\",purpose=\"other\"}") >= 1.0);
}

#[test]
fn looking_does_not_ask_the_server_each_time() {
    let sandbox = sandbox(KEY);
    let project = Project::with_file(&file(&sandbox, SCHEDULE));
    let site = Site::start(&project);
    for path in ["/readyz", "/", "/metrics", "/api/status"] {
        for n in 0..5 {
            // Another address each time, so that none is an answer that was kept.
            assert_eq!(site.get(&format!("{path}?refresh={n}")).status, 200);
        }
    }
    let asked: f64 = series_of(&site.get("/metrics?x").body)
        .iter()
        .filter(|(name, _)| name.starts_with("skycron_api_requests_total"))
        .map(|(_, value)| value)
        .sum();
    assert_eq!(asked, 1.0, "one look, though twenty asked");
}

#[test]
fn names_are_shown_and_never_obeyed() {
    let sandbox = sandbox(KEY);
    let name = "<script>alert(1)</script>\\\" onmouseover='x' \\u202E{{ 7 * 7 }}";
    let schedules = format!("{SCHEDULE}name = \"{name}\"\ndescription = \"<img src=x onerror=alert(1)>\"\n");
    let project = Project::with_file(&file(&sandbox, &schedules));
    let site = Site::start(&project);
    for path in ["/", "/?q=%3Cscript%3E", "/schedule/a", "/?q=%22%3E%3Cimg%20src=x%3E"] {
        let page = site.get(path).body;
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
        assert!(!page.contains("49") || page.contains("{{ 7 * 7 }}"), "a template in a name is text");
        assert!(path.starts_with("/?q=%22") || page.contains("&lt;script&gt;"), "{page}");
    }
}

#[test]
fn nobody_listens_if_nobody_asks() {
    let sandbox = sandbox(KEY);
    let text = file(&sandbox, SCHEDULE).replace("listen = \"127.0.0.1:0\"", "listen = \"none\"");
    let project = Project::with_file(&text);
    let daemon = Daemon::start(&project);
    let log = daemon.state();
    assert!(!log.contains("http: "), "{log}");
}

#[test]
fn an_address_that_is_taken_keeps_nothing_from_firing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let sandbox = sandbox(KEY);
    let project = Project::with_file(&file(&sandbox, SCHEDULE).replace("127.0.0.1:0", &address));
    let daemon = Daemon::start(&project);
    daemon.wait_for("http: nobody can look", 1);
    project.run(&["trigger", "a", "--wait", "--state-dir", "state"]).code(0);
}

#[test]
fn what_the_file_says_of_it_is_checked() {
    let check = |http: &str, code: i32, said: &str| {
        let project = Project::with_file(&format!("[http]\n{http}\n{SCHEDULE}"));
        project.run(&["check"]).code(code).stdout_has(said);
    };
    check("listen = \"0.0.0.0:8765\"", 2, "`listen` is 0.0.0.0, which other machines reach");
    check("listen = \"[::]:8765\"", 2, "or set allow_remote = true");
    check("listen = \"localhost:8765\"", 2, "`listen` is not an address: \"localhost:8765\"");
    check("listen = 8765", 2, "`listen` takes a string");
    check("listen = \"127.0.0.1:8765\"\nhosts = [\"https://x\"]", 2, "no name of a host");
    check("listen = \"127.0.0.1:8765\"\nhosts = [\"x:80\"]", 2, "no name of a host");
    check("hosts = [\"x\"]", 0, "[http] without `listen` is off");
    check("listne = \"127.0.0.1:8765\"", 2, "did you mean `listen`?");
    for good in ["listen = \"0.0.0.0:8765\"\nallow_remote = true", "listen = \"[::1]:8765\"", "listen = \"none\""] {
        Project::with_file(&format!("[http]\n{good}\n{SCHEDULE}")).run(&["check"]).code(0);
    }
}
