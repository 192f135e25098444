//! The real binary against a real Skyvern server, which `tests/live/run` installs, starts and stops.
//!
//! Plain `cargo test` leaves them out and says so, since they need Python and a large download. Every test has a history and
//! an instance name of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod first_hour;
mod hooks;
mod kills;
mod mirror;
mod owner;
mod rig;

use rig::{Home, Live, next_minute};

/// Longest wait for a minute to begin, and the start of a run after it.
const FIRE_SECONDS_MAX: u64 = 90;
/// Longest wait for the end of a run that takes a few seconds.
const RUN_SECONDS_MAX: u64 = 90;

/// A schedule that is due on New Year's Day only: what happens comes from the test.
fn on_request(workflow: &str, more: &str) -> String {
    format!("[[schedule]]\nid = \"probe\"\nworkflow_id = {workflow:?}\ncron_expression = \"0 0 1 1 *\"\n{more}\n")
}

/// A schedule that is due at the minute of this expression.
fn due_at(expression: &str, workflow: &str, more: &str) -> String {
    format!("[[schedule]]\nid = \"probe\"\nworkflow_id = {workflow:?}\ncron_expression = {expression:?}\n{more}\n")
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn trigger_waits_for_the_end_and_keeps_the_output() {
    let live = Live::get();
    let workflow = Live::named("WORKFLOW");
    let home = Home::new(&live, "output", &on_request(&workflow, "parameters = { url = \"https://example.com/a\" }"));

    home.skycron(&["trigger", "probe", "--parameter", "url=https://example.com/b", "--wait"]).expect_code(0);

    let rows = home.history();
    assert_eq!(rows.len(), 1, "{rows:#?}");
    let row = &rows[0];
    assert_eq!(row["status"], "completed");
    assert_eq!(row["trigger"], "manual");
    assert_eq!(row["schedule"], "probe");
    assert_eq!(row["attempts"], 1);
    let occurrence = row["occurrence"].as_str().unwrap();
    assert!(occurrence.starts_with("output/probe@") && occurrence.contains("#manual-"), "{occurrence}");
    for instant in ["scheduled_for", "launched_at", "finished_at"] {
        assert!(row[instant].as_str().is_some_and(|text| text.ends_with('Z')), "{instant}: {row:#}");
    }

    let run_id = row["run_id"].as_str().unwrap();
    for name in [run_id, occurrence] {
        let shown = home.skycron(&["show", name, "--format", "json"]).expect_code(0);
        assert!(shown.stdout.contains("w1_output"), "the run's output: {}", shown.stdout);
    }

    // What the server was told: our key as a tag, the parameter of the command line, and no proxy over the workflow's own.
    let runs = live.runs_of(&workflow, occurrence);
    assert_eq!(runs.len(), 1, "{runs:#?}");
    assert_eq!(runs[0]["workflow_run_id"], run_id);
    assert_eq!(runs[0]["proxy_location"], serde_json::Value::Null);
    let detail = live.ask(&format!("/api/v1/workflows/runs/{run_id}"));
    assert_eq!(detail["parameters"]["url"], "https://example.com/b", "{detail:#}");
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn daemon_fires_at_the_minute_and_follows_to_the_end() {
    let live = Live::get();
    let workflow = Live::named("WORKFLOW");
    let (expression, instant) = next_minute();
    let home = Home::new(&live, "fires", &due_at(&expression, &workflow, ""));

    let mut daemon = home.daemon();
    let row = daemon
        .wait_for_occurrence("a completed run", FIRE_SECONDS_MAX + RUN_SECONDS_MAX, |row| row["status"] == "completed");
    daemon.stop();

    let occurrence = format!("fires/probe@{instant}");
    assert_eq!(row["occurrence"], occurrence.as_str());
    assert_eq!(row["scheduled_for"], instant.as_str());
    assert_eq!(row["trigger"], "schedule");
    let runs = live.runs_of(&workflow, &occurrence);
    assert_eq!(runs.len(), 1, "{runs:#?}");
    // The server's own time of creation: at the instant, not a poll later.
    let created = runs[0]["created_at"].as_str().unwrap();
    assert_eq!(created[..17], instant[..17], "created at {created}, due at {instant}");
    let log = home.log();
    assert!(log.contains(&occurrence), "the log names the occurrence:\n{log}");
    let key = std::fs::read_to_string(&live.key_file).unwrap();
    assert!(!log.contains(key.trim()), "the key is in the log");
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn wrong_key_is_said_to_be_wrong() {
    let live = Live::get();
    let home =
        Home::with_key(&live, "wrong-key", &on_request(&Live::named("WORKFLOW"), ""), "eyJhbGciOiJIUzI1NiJ9.e30.wrong");

    let ended = home.skycron(&["trigger", "probe", "--wait"]).expect_code(3);

    assert!(ended.stderr.contains("key"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("eyJhbGciOiJIUzI1NiJ9"), "the key is shown: {}", ended.stderr);
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn refusals_are_said_in_the_servers_words() {
    let live = Live::get();
    let required = Live::named("WORKFLOW_REQUIRED");
    let cases =
        [("no-workflow", on_request("wpid_1", ""), "wpid_1"), ("no-parameter", on_request(&required, ""), "need")];
    for (instance, schedule, named) in cases {
        let home = Home::new(&live, instance, &schedule);
        let ended = home.skycron(&["trigger", "probe", "--wait"]).expect_code(1);
        assert!(ended.stderr.contains(named) || ended.stdout.contains(named), "{instance}: {}", ended.stderr);
        let rows = home.history();
        assert_eq!(rows.len(), 1, "{instance}: {rows:#?}");
        assert_eq!(rows[0]["status"], "refused", "{instance}: {rows:#?}");
        assert!(rows[0]["reason"].as_str().unwrap().contains(named), "{instance}: {rows:#?}");
        assert_eq!(rows[0]["run_id"], serde_json::Value::Null, "{instance}: {rows:#?}");
    }
    assert_eq!(live.ask(&format!("/api/v1/workflows/{required}/runs")), serde_json::json!([]), "no run was made");
}

/// The server answers 200 and drops it; skycron has to look before.
#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn undeclared_parameter_is_said_although_the_server_drops_it() {
    let live = Live::get();
    let home = Home::new(&live, "undeclared", &on_request(&Live::named("WORKFLOW"), "parameters = { ulr = \"typo\" }"));

    let ended = home.skycron(&["trigger", "probe", "--wait"]).expect_code(0);

    assert!(ended.stderr.contains("ulr"), "in the log: {}", ended.stderr);
    assert!(ended.stderr.contains("url"), "names what the workflow does declare: {}", ended.stderr);
    let rows = home.history();
    let reason = rows[0]["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("parameters_dropped: ") && reason.contains("ulr"), "in the history: {rows:#?}");
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn run_that_takes_too_long_is_cancelled() {
    let live = Live::get();
    let workflow = Live::named("WORKFLOW_LONG");
    let (expression, _) = next_minute();
    let home = Home::new(&live, "cancel", &due_at(&expression, &workflow, "run_timeout = \"5s\""));

    let mut daemon = home.daemon();
    let row = daemon
        .wait_for_occurrence("a cancelled run", FIRE_SECONDS_MAX + RUN_SECONDS_MAX, |row| row["status"] == "canceled");
    daemon.stop();

    let runs = live.runs_of(&workflow, row["occurrence"].as_str().unwrap());
    assert_eq!(runs.len(), 1, "{runs:#?}");
    assert_eq!(runs[0]["status"], "canceled", "{runs:#?}");
    assert!(row["reason"].as_str().is_some_and(|reason| reason.starts_with("canceled")), "{row:#}");
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn run_is_followed_through_a_kill_and_a_restart() {
    let live = Live::get();
    let workflow = Live::named("WORKFLOW_MEDIUM");
    let (expression, _) = next_minute();
    let home = Home::new(&live, "restart", &due_at(&expression, &workflow, ""));
    let running = |row: &serde_json::Value| row["status"] == "running" && row["run_id"].is_string();

    let mut daemon = home.daemon();
    let before = daemon.wait_for_occurrence("a run", FIRE_SECONDS_MAX, running);
    daemon.kill();

    let mut daemon = home.daemon();
    daemon.wait_for_occurrence("the run, after kill -9", 30, running);
    daemon.stop();

    let mut daemon = home.daemon();
    let after = daemon
        .wait_for_occurrence("its end, after an orderly restart", RUN_SECONDS_MAX, |row| row["status"] == "completed");
    daemon.stop();

    assert_eq!(before["run_id"], after["run_id"]);
    assert_eq!(after["attempts"], 1);
    let runs = live.runs_of(&workflow, after["occurrence"].as_str().unwrap());
    assert_eq!(runs.len(), 1, "{runs:#?}");
}
