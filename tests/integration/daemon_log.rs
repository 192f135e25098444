//! What the real daemon writes to its log, in which form, and what it never writes.

use std::time::Duration;

use serde_json::Value;
use skycron::sandbox::{Behaviour, Sandbox, SandboxOptions};

use crate::{daemon_rig::Daemon, support::Project};

const DAILY: &str = "[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 * * *\"\n\
                     overlap = \"allow\"\n";

#[test]
fn forms_of_the_log() {
    let project = Project::with_file(DAILY);
    let check = |variables: &[(&str, &str)], options: &[&str], is_json: bool| {
        let daemon = Daemon::start_with(&project, variables, options);
        let log = daemon.wait_for("started: with 1 schedules", 1);
        for line in log.lines() {
            let object = serde_json::from_str::<Value>(line);
            assert_eq!(object.is_ok_and(|object| object["level"].is_string()), is_json, "{options:?}: {line}");
        }
    };
    check(&[], &[], false);
    check(&[], &["--log-format", "text", "--format", "json"], false);
    check(&[], &["--log-format", "json"], true);
    check(&[], &["--format", "json"], true);
    check(&[("SKYCRON_LOG_FORMAT", "json")], &[], true);
    check(&[("SKYCRON_LOG_FORMAT", "json")], &["--log-format", "text"], false);
    // Standard error does not go where systemd said that it goes: text.
    check(&[("JOURNAL_STREAM", "1:1")], &[], false);
    let refused = project.run(&["pause", "a", "--log-format", "xml"]).code(2);
    refused.stderr_has("[possible values: auto, text, json, journald]");
    let project = Project::with_file(DAILY).variable("SKYCRON_LOG_FORMAT", "xml");
    project.run(&["pause", "a"]).code(2).stderr_has("auto, text, json and journald");
}

#[test]
fn a_failure_that_repeats_is_folded_and_each_bad_end_is_told() {
    const TIMES: usize = 12;
    let nobody = Sandbox::start(SandboxOptions::default()).unwrap();
    let url = nobody.base_url();
    drop(nobody);
    let project = Project::with_file(&format!("[api]\nbase_url = {url:?}\n{DAILY}"));
    let mut daemon = Daemon::start(&project);
    for _ in 0..TIMES {
        project.run(&["trigger", "a", "--state-dir", "state"]);
    }
    daemon.signal("TERM");
    assert_eq!(daemon.end(), Some(0));
    let log = daemon.log();
    assert_eq!(log.matches("ERROR missed occurrence=").count(), TIMES, "each of them: {log}");
    assert_eq!(log.matches("WARN the start was not_started").count(), 1, "once: {log}");
    let folded = format!("WARN … {} more like it in ", TIMES - 1);
    let line = log.lines().find(|line| line.contains(&folded)).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("the start was not_started answer=\"no connection to the server"), "{line}");
}

#[test]
fn nothing_that_is_printed_or_stored_has_a_secret() {
    const KEY: &str = "key-4711-very-secret";
    const PIN: &str = "pin-0815-very-secret";
    let behaviour = Behaviour { run_time: Duration::from_millis(100), ..Behaviour::default() };
    let options = SandboxOptions {
        behaviour,
        key: skycron::secret::Secret::new(KEY.to_owned()),
        faults: "start:2=500-before".parse().unwrap(),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).unwrap();
    let file = format!(
        "[api]\nbase_url = {:?}\npoll_interval = \"1s\"\nsettle_grace = \"1s\"\nrequest_timeout = \"1s\"\n[secrets]\npin = {{ env = \"PIN\" }}\n\
         {DAILY}parameters = {{ pin = \"{{{{ secrets.pin }}}}\" }}\n",
        sandbox.base_url()
    );
    let project = Project::with_file(&file).variable("SKYVERN_API_KEY", KEY).variable("PIN", PIN);
    let secret = [("SKYVERN_API_KEY", KEY), ("SKYCRON_LOG", "trace")];
    let mut daemon = Daemon::start_with(&project, &secret, &[]);
    let run = |args: &[&str]| {
        let ran = project.run(&[args, &["--state-dir", "state", "--log", "trace"]].concat());
        ran.never_shows(KEY).never_shows(PIN)
    };
    run(&["trigger", "a", "--wait"]).code(0);
    let key = run(&["history", "--format", "json"]).objects()[0]["occurrence"].as_str().unwrap().to_owned();
    daemon.signal("USR1");
    project.write("schedules.toml", "[[schedule]]\n");
    daemon.signal("HUP");
    daemon.wait_for("reload_refused: ", 1);
    run(&["check"]).code(2);
    project.write("schedules.toml", &file);
    for args in [&["check"][..], &["next"], &["show", &key], &["doctor"], &["audit"], &["run", "--help"], &["--help"]] {
        run(args);
    }
    // A key that the server does not take comes back in no message.
    let other =
        project.command().args(["doctor", "--log", "trace"]).env("SKYVERN_API_KEY", "another-4712").output().unwrap();
    let said = [other.stdout, other.stderr].concat();
    assert!(!String::from_utf8_lossy(&said).contains("another-4712"));
    daemon.signal("TERM");
    assert_eq!(daemon.end(), Some(0), "{}", daemon.log());
    for entry in std::fs::read_dir(project.path("state")).unwrap().chain(std::fs::read_dir(project.path(".")).unwrap())
    {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            for secret in [KEY, PIN] {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{} has {secret}", path.display());
            }
        }
    }
}
