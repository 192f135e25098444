//! `status` on the real binary: without a daemon, with one that is at work, and kept current.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use skycron::{
    sandbox::{Behaviour, Sandbox, SandboxOptions},
    secret::Secret,
};

use crate::{daemon_rig::Daemon, support::Project, terminal::Person};

/// Longest wait for what takes milliseconds on a machine with nothing else to do: so many looks, each a process.
const LOOKS_MAX: usize = 300;

const SCHEDULES: &str = r#"
[[schedule]]
id = "yearly"
workflow_id = "wpid_1"
cron_expression = "0 9 1 1 *"
timezone = "America/New_York"

[[schedule]]
id = "off"
workflow_id = "wpid_2"
cron_expression = "0 9 1 1 *"
enabled = false
"#;

/// A server whose runs take an hour, and a project for it.
fn at_work() -> (Sandbox, Project) {
    let behaviour = Behaviour { run_time: Duration::from_secs(3600), ..Behaviour::default() };
    let key = Secret::new("k-1234".to_owned());
    let server = Sandbox::start(SandboxOptions { behaviour, key, ..SandboxOptions::default() }).unwrap();
    let project = Project::with_file(&format!("[api]\nbase_url = {:?}\n{SCHEDULES}", server.base_url()));
    (server, project)
}

#[track_caller]
fn status(project: &Project, args: &[&str]) -> Value {
    let all = [&["status", "--state-dir", "state", "--format", "json"], args].concat();
    project.run(&all).code(0).objects().remove(0)
}

#[test]
fn without_a_daemon_it_says_so() {
    let project = Project::with_file(SCHEDULES);
    project
        .run(&["status"])
        .code(0)
        .stderr_is("")
        .stdout_has("daemon  none runs: nothing is started")
        .stdout_has("file    schedules.toml: 2 schedules")
        .stdout_has("zones   tzdata 2025b")
        .stdout_has("api     https://api.skyvern.com/: not known; --online asks now")
        .stdout_has("nothing runs: there is no history yet")
        .stdout_has("0 9 1 1 *  At 09:00 on the 1st of January, New York time");
    Project::new().run(&["status"]).code(0).stdout_has("file    there is none").stdout_has("skycron init");
    Project::with_file("nonsense").run(&["status"]).code(0).stdout_has("error").stdout_has("skycron check");
}

#[test]
fn a_daemon_at_work() {
    let (server, project) = at_work();
    let daemon = Daemon::start(&project);
    // The log is ahead of the history.
    let known = |seen: &Value| seen["file"]["current"].is_boolean();
    let seen = (0..LOOKS_MAX).map(|_| status(&project, &[])).find(known).expect("the start is in the history");
    assert_eq!((&seen["daemon"]["running"], &seen["daemon"]["schedules"]), (&Value::Bool(true), &2.into()), "{seen:#}");
    assert_eq!((&seen["api"]["reachable"], &seen["file"]["current"]), (&Value::Null, &Value::Bool(true)), "{seen:#}");
    assert!(seen["daemon"]["since"].as_str().unwrap().ends_with('Z'), "{seen:#}");

    let variable = |project: Project| project.variable("SKYVERN_API_KEY", "k-1234");
    project.run(&["trigger", "yearly", "--state-dir", "state"]).code(0);
    let seen = status(&project, &[]);
    assert_eq!(seen["api"]["reachable"], true, "{seen:#}");
    let running = &seen["running"][0];
    assert_eq!((&running["schedule"], &running["status"]), (&"yearly".into(), &"running".into()), "{seen:#}");
    assert!(running["seconds"].is_u64() && running["usual_seconds"].is_null(), "{seen:#}");
    assert_eq!(running["run_id"], server.runs()[0].run_id.as_str(), "{seen:#}");
    project.run(&["status", "--state-dir", "state"]).code(0).stdout_has("up since").stdout_has("not known  wr_");

    // The file is changed and not taken over; a schedule is paused; the server goes away.
    project.run(&["pause", "yearly", "--state-dir", "state", "--note", "holidays\u{1b}[2J"]).code(0);
    let file = std::fs::File::options().write(true).open(project.path("schedules.toml")).unwrap();
    let later = file.metadata().unwrap().modified().unwrap() + Duration::from_secs(3600);
    file.set_modified(later).unwrap();
    let seen = status(&project, &[]);
    assert_eq!(seen["file"]["current"], false, "{seen:#}");
    assert_eq!(seen["paused"][0]["schedule"], "yearly", "{seen:#}");
    project
        .run(&["status", "--state-dir", "state"])
        .stdout_has("reload it")
        .stdout_has("holidays")
        .never_shows("\u{1b}");
    drop(daemon);

    let project = variable(project);
    assert_eq!(status(&project, &["--online"])["api"]["reachable"], true);
    drop(server);
    let seen = status(&project, &["--online"]);
    assert_eq!((&seen["api"]["reachable"], &seen["daemon"]["running"]), (&Value::Bool(false), &Value::Bool(false)));
    // What runs is still in the history.
    assert_eq!(seen["running"][0]["schedule"], "yearly", "{seen:#}");
}

#[test]
fn what_failed_and_is_not_recovered() {
    let behaviour = Behaviour { run_time: Duration::ZERO, failed_fraction: 1.0, ..Behaviour::default() };
    let server = Sandbox::start(SandboxOptions { behaviour, ..SandboxOptions::default() }).unwrap();
    let api = format!("[api]\nbase_url = {:?}\npoll_interval = \"1s\"\n", server.base_url());
    let project = Project::with_file(&(api + SCHEDULES)).variable("SKYVERN_API_KEY", server.key().expose());
    project.run(&["trigger", "yearly", "--state-dir", "state", "--wait"]).code(1);
    let seen = status(&project, &[]);
    assert_eq!((&seen["failed"][0]["schedule"], &seen["failed"][0]["status"]), (&"yearly".into(), &"failed".into()));
    project
        .run(&["status", "--state-dir", "state"])
        .stdout_has("failed and not recovered")
        .stdout_has("the sandbox was told to let this run fail")
        .stdout_has("skycron why SCHEDULE");
}

#[test]
fn it_is_kept_current() {
    let project = Project::with_file(SCHEDULES);
    let mut command = project.command();
    command.args(["status", "--watch", "--interval", "1s", "--format", "json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut at = || {
        let object: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        object["at"].as_str().unwrap().to_owned()
    };
    let (first, second) = (at(), at());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(first < second, "{first} {second}");
}

/// What takes long shows that it goes on, and leaves no trace; without a terminal it is silent.
#[test]
fn waiting_is_shown_in_a_terminal() {
    let behaviour = Behaviour { run_time: Duration::from_secs(2), ..Behaviour::default() };
    let server = Sandbox::start(SandboxOptions { behaviour, ..SandboxOptions::default() }).unwrap();
    let api = format!("[api]\nbase_url = {:?}\npoll_interval = \"1s\"\n", server.base_url());
    let project = Project::with_file(&(api + SCHEDULES)).variable("SKYVERN_API_KEY", server.key().expose());
    let trigger = ["trigger", "yearly", "--state-dir", "state", "--wait"];
    let shown = Person::at(&project, &trigger).ends();
    assert!(shown.contains("yearly: waiting for the end of its run"), "{shown}");
    assert!(shown.contains("completed"), "{shown}");
    project.run(&trigger).code(0).stderr_is("").stdout_has("completed");
    let backfill = ["backfill", "yearly", "--state-dir", "state", "--from", "2024-12-31", "--to", "2025-01-02"];
    let shown = Person::at(&project, &backfill).ends();
    assert!(shown.contains("0/1 occurrences over"), "{shown}");
}
