//! `skycron doctor`: everything in order, and each thing that can be wrong, told as what it is with what to do.

use std::{
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::Command,
};

use skycron::{
    history::lock::Lock,
    sandbox::{Sandbox, SandboxOptions},
};

use crate::support::{Daemon, Project};

const SCHEDULE: &str = "[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 1 7 *\"\n\
                        timezone = \"America/Vancouver\"\n";
const KEY: &str = "sandbox-key";

/// A file for a server, with the key in the environment.
fn project(base_url: &str, more: &str) -> Project {
    let api = format!("[api]\nbase_url = \"{base_url}\"\nrequest_timeout = \"5s\"\n{more}\n");
    Project::with_file(&format!("{api}{SCHEDULE}")).variable("SKYVERN_API_KEY", KEY)
}

fn sandbox(options: SandboxOptions) -> Sandbox {
    Sandbox::start(options).unwrap()
}

/// A port on which nobody listens.
fn nobody() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

/// Runs it, and compares the exit code and some of its findings: check, status, a part of the message and hint. The findings
/// that are not named must be no problems.
#[track_caller]
fn check(project: &Project, code: i32, expected: &[(&str, &str, &str)]) {
    let before = project.names();
    let ran = project.run(&["doctor", "--state-dir", "state", "--format", "json"]).code(code).never_shows(KEY);
    assert_eq!(project.names(), before, "it touches nothing");
    let objects = ran.objects();
    for object in &objects {
        let fields: Vec<_> = object.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["check", "status", "message", "hint"]);
        let (check, status) = (object["check"].as_str().unwrap(), object["status"].as_str().unwrap());
        assert_eq!(
            status == "ok",
            object["hint"].is_null(),
            "what to do is said where something is to be done: {object}"
        );
        let named = expected.iter().any(|(name, wanted, _)| (*name, *wanted) == (check, status));
        assert!(status != "problem" || named, "{object}");
    }
    for (name, status, part) in expected {
        let is = |object: &&serde_json::Value| object["check"] == *name && object["status"] == *status;
        let found: Vec<String> = objects.iter().filter(is).map(ToString::to_string).collect();
        assert!(found.iter().any(|text| text.contains(part)), "{name} {status} {part:?}\n{}", ran.stdout);
    }
}

#[test]
fn everything_in_order() {
    let sandbox = sandbox(SandboxOptions::default());
    let project = project(&sandbox.base_url(), "");
    let daemon = Daemon::start(&project);
    let ran = project.run(&["doctor", "--state-dir", "state"]).code(0).stderr_is("").never_shows(KEY);
    let checks: Vec<_> =
        ran.stdout.lines().filter_map(|line| line.strip_prefix("ok       ")?.split(' ').next()).collect();
    let all = [
        "file",
        "key",
        "zone_rules",
        "server",
        "access",
        "tag_search",
        "server_clock",
        "clock",
        "database",
        "daemon",
        "reload",
    ];
    assert_eq!(checks, all, "{}", ran.stdout);
    let ran = ran.stdout_has("runs 1 schedules, 0 occurrences are open");
    assert_eq!(ran.stdout.lines().last(), Some("nothing is wrong"));
    assert_eq!(sandbox.starts_received(), 0);
    drop(daemon);
}

#[test]
fn before_the_first_start() {
    let sandbox = sandbox(SandboxOptions::default());
    let project = project(&sandbox.base_url(), "");
    check(&project, 0, &[("database", "warning", "there is no folder state yet"), ("daemon", "warning", "none runs")]);
    project.run(&["doctor", "--state-dir", "state"]).code(0).stdout_has("\nno problem, 2 warnings\n");
    std::fs::create_dir(project.path("state")).unwrap();
    check(&project, 0, &[("database", "warning", "there is no history in state")]);
}

#[test]
fn a_wrong_file_or_key_is_code_2() {
    let project_with = |api: &str| project("http://127.0.0.1:9", api);
    let nothing = Project::new();
    check(&nothing, 2, &[("file", "problem", "there is no file with schedules")]);
    let broken = Project::with_file("[[schedule]]\n");
    check(&broken, 2, &[("file", "problem", "schedules.toml: 3 errors"), ("file", "problem", "skycron check")]);
    let no_key = project_with("api_key = { env = \"NOT_THERE\" }");
    check(&no_key, 2, &[("key", "problem", "NOT_THERE is not set")]);
    let quoted = project_with("").variable("SKYVERN_API_KEY", "'k-1234'");
    check(&quoted, 2, &[("key", "problem", "in quotes")]);
    let credential = project_with("api_key = { credential = \"c\" }");
    check(&credential, 2, &[("key", "problem", "CREDENTIALS_DIRECTORY=/etc/skycron skycron doctor")]);
    let plain = project("http://192.0.2.1", "");
    check(&plain, 2, &[("file", "problem", "1 error")]);
}

#[test]
fn an_api_that_cannot_be_used_is_code_3() {
    let with =
        |faults: &str, options: SandboxOptions| sandbox(SandboxOptions { faults: faults.parse().unwrap(), ..options });
    let check_at = |sandbox: &Sandbox, code: i32, expected: &[(&str, &str, &str)]| {
        check(&project(&sandbox.base_url(), ""), code, expected);
    };
    check(
        &project(&nobody(), ""),
        3,
        &[("server", "problem", "no connection to the server"), ("server", "problem", "check that")],
    );
    let other_key =
        with("", SandboxOptions { key: skycron::secret::Secret::new("other".to_owned()), ..Default::default() });
    check_at(&other_key, 3, &[("server", "ok", "1.0.56"), ("access", "problem", "check the API key")]);
    check_at(&with("any:*=unreadable", SandboxOptions::default()), 3, &[("server", "problem", "not JSON")]);
    check_at(&with("list:*=500-before", SandboxOptions::default()), 3, &[("tag_search", "problem", "answered 500")]);
}

#[test]
fn what_is_worth_a_look_is_no_failure() {
    let old = sandbox(SandboxOptions { version: Some("1.0.46".to_owned()), tags_ignored: true, ..Default::default() });
    check(&project(&old.base_url(), ""), 0, &[("tag_search", "warning", "stays `unknown` until a person does")]);
    let silent = sandbox(SandboxOptions { version: None, ..Default::default() });
    let unproven = project(&silent.base_url(), "");
    check(&unproven, 0, &[("server", "ok", "of unknown version"), ("tag_search", "warning", "after its first run")]);

    let server = sandbox(SandboxOptions::default());
    // Not loopback by its address, and yet this machine.
    let elsewhere = format!("http://0.0.0.0:{}", server.address().port());
    let plain = project(&elsewhere, "allow_plain_http = true");
    check(&plain, 0, &[("server", "warning", "everybody on the way sees the key")]);

    let exposed = project(&server.base_url(), "api_key = { file = \"key\" }");
    exposed.write("key", KEY);
    std::fs::set_permissions(exposed.path("key"), PermissionsExt::from_mode(0o644)).unwrap();
    check(&exposed, 0, &[("key", "warning", "chmod 600")]);

    let zones = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/zoneinfo");
    let moved = project(&server.base_url(), "").variable("TZDIR", zones);
    let moved_text = SCHEDULE.replace("0 9 1 7 *", "0 9 * * *");
    moved.write("schedules.toml", format!("[api]\nbase_url = \"{}\"\n{moved_text}", server.base_url()));
    check(
        &moved,
        0,
        &[
            ("zone_rules", "ok", "tzdata 2026f from"),
            ("zone_rules", "warning", "a: zone rules differ for America/Vancouver: due at "),
        ],
    );
}

/// Answers every question of the doctor, with a clock of its own.
fn server_of_2020() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap();
            let head = String::from_utf8_lossy(&head[..length]);
            let body = match head.split(' ').nth(1).unwrap() {
                "/api/v1/version" => r#"{"version":"1.0.56"}"#,
                "/api/v1/organizations" => r#"{"organizations":[]}"#,
                _ => "[]",
            };
            let date = "date: Sun, 22 Nov 2020 12:00:00 GMT";
            write!(
                stream,
                "HTTP/1.1 200 OK\r\n{date}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
        }
    });
    format!("http://{address}")
}

#[test]
fn everything_else_is_code_1() {
    let late = project(&server_of_2020(), "");
    check(&late, 1, &[("access", "ok", "the key is accepted"), ("server_clock", "problem", "s behind this machine's")]);

    let server = sandbox(SandboxOptions::default());
    let with = |prepare: &dyn Fn(&Project)| {
        let project = project(&server.base_url(), "");
        prepare(&project);
        project
    };
    let folder = |project: &Project| std::fs::create_dir(project.path("state")).unwrap();
    let no_folder = with(&|project| project.write("state", ""));
    check(&no_folder, 1, &[("database", "problem", "is not a folder"), ("daemon", "problem", "")]);
    let exposed = with(&|project| {
        folder(project);
        std::fs::set_permissions(project.path("state"), PermissionsExt::from_mode(0o777)).unwrap();
    });
    check(&exposed, 1, &[("database", "problem", "chmod o-w")]);
    let damaged = with(&|project| {
        folder(project);
        project.write("state/history.db", "not a database, but long enough to be looked at as one: ".repeat(40));
    });
    check(&damaged, 1, &[("database", "problem", "the history is damaged")]);
    let newer = with(&|project| {
        folder(project);
        let connection = rusqlite::Connection::open(project.path("state/history.db")).unwrap();
        connection.execute_batch("PRAGMA application_id = 0x736B7963; PRAGMA user_version = 99").unwrap();
    });
    check(&newer, 1, &[("database", "problem", "a newer skycron")]);
}

#[test]
fn the_worst_decides_the_code() {
    let file_in_place_of_folder = |base_url: &str, more: &str| {
        let project = project(base_url, more);
        project.write("state", "");
        project
    };
    let dead = file_in_place_of_folder(&nobody(), "");
    check(&dead, 3, &[("server", "problem", ""), ("database", "problem", ""), ("daemon", "problem", "")]);
    let keyless = file_in_place_of_folder(&nobody(), "api_key = { file = \"none\" }");
    check(&keyless, 2, &[("key", "problem", "cannot be read"), ("database", "problem", ""), ("daemon", "problem", "")]);
}

#[test]
fn a_daemon_that_did_not_take_over_the_file() {
    let server = sandbox(SandboxOptions::default());
    let project = project(&server.base_url(), "");
    let text = std::fs::read_to_string(project.path("schedules.toml")).unwrap();
    let daemon = Daemon::start(&project);
    project.write("schedules.toml", "[[schedule]]\n");
    daemon.signal("HUP");
    daemon.wait_for("reload_refused: ", 1);
    project.write("schedules.toml", &text);
    check(
        &project,
        2,
        &[("reload", "problem", "the daemon refused the file"), ("reload", "problem", "systemctl reload")],
    );
    daemon.signal("HUP");
    daemon.wait_for("reloaded: ", 1);
    check(&project, 0, &[("reload", "ok", "it was not changed since")]);
    project.write("schedules.toml", text.replace("\"a\"", "\"b\""));
    check(&project, 0, &[("reload", "warning", "after the daemon read it"), ("daemon", "ok", "runs 1 schedules")]);
}

#[test]
fn a_daemon_that_cannot_write() {
    let server = sandbox(SandboxOptions::default());
    let project = project(&server.base_url(), "");
    let daemon = Daemon::start(&project);
    let other = rusqlite::Connection::open(project.path("state/history.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    daemon.signal("HUP");
    daemon.wait_for("the history stands still", 1);
    check(&project, 1, &[("daemon", "problem", "cannot write the history, since ")]);
    other.execute_batch("ROLLBACK").unwrap();
    daemon.wait_for("the history goes on", 1);
    check(&project, 0, &[("daemon", "ok", "")]);
}

#[test]
fn a_process_that_holds_the_history_and_is_no_daemon() {
    let server = sandbox(SandboxOptions::default());
    let project = project(&server.base_url(), "");
    drop(Daemon::start(&project));
    check(&project, 0, &[("daemon", "warning", "none runs"), ("database", "ok", "latest note stopped at")]);
    let _lock = Lock::take(&project.path("state")).unwrap();
    let expected = format!("process {} holds the history", std::process::id());
    check(&project, 0, &[("daemon", "warning", &expected)]);
}

#[test]
fn the_unit_where_there_is_one() {
    let server = sandbox(SandboxOptions::default());
    let with = |answer: &str| {
        let project = project(&server.base_url(), "");
        project.write("systemctl", format!("#!/bin/sh\n[ \"$1\" = show ] && printf '{answer}'\n"));
        let made = Command::new("chmod").arg("+x").arg(project.path("systemctl")).status().unwrap();
        assert!(made.success());
        let path = project.path("").display().to_string();
        project.variable("PATH", &path)
    };
    let failed = with("LoadState=loaded\\nActiveState=failed\\nSubState=failed\\nResult=exit-code\\nNRestarts=0\\n");
    check(&failed, 1, &[("unit", "problem", "journalctl -u skycron")]);
    let active = with("LoadState=loaded\\nActiveState=active\\nSubState=running\\nNRestarts=0\\n");
    check(&active, 0, &[("unit", "ok", "is active (running)")]);
    let none = with("");
    let ran = none.run(&["doctor", "--state-dir", "state", "--format", "json"]).code(0);
    assert!(ran.objects().iter().all(|object| object["check"] != "unit"), "{}", ran.stdout);
}
