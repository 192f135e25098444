//! What signals do to the real daemon, also to one that hangs or panics.

use std::{process::Command, time::Duration};

use skycron::sandbox::{Behaviour, Sandbox, SandboxOptions};

use crate::{daemon_rig::Daemon, support::Project};

const FILE: &str = "[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 1 7 *\"\n";

#[test]
fn term_and_int_stop_in_order() {
    for name in ["TERM", "INT"] {
        let project = Project::with_file(FILE);
        let mut daemon = Daemon::start(&project);
        daemon.signal(name);
        assert_eq!(daemon.end(), Some(0), "{name}: {}", daemon.log());
        assert!(daemon.log().contains("stopped in order"), "{name}: {}", daemon.log());
    }
}

#[test]
fn a_second_one_ends_it_at_once_even_where_the_stop_hangs() {
    let check = |first: &str, second: &str| {
        let project = Project::with_file(FILE);
        let mut daemon = Daemon::start_with(&project, &[("SKYCRON_CRASH_AT", "in-stop:1:hang")], &[]);
        daemon.signal(first);
        // The first one is not over before it arrived: signals of one kind that come together are one.
        assert_eq!(daemon.signal_until_it_ends(second), Some(1), "{first} {second}: {}", daemon.log());
        assert!(!daemon.log().contains("stopped in order"), "{first} {second}: {}", daemon.log());
        project.run(&["audit", "--state-dir", "state"]).code(0);
    };
    check("TERM", "TERM");
    check("INT", "TERM");
    check("TERM", "INT");
}

#[test]
fn usr1_tells_what_is_next_what_runs_and_what_waits() {
    let behaviour = Behaviour { run_time: Duration::from_secs(3600), ..Behaviour::default() };
    let faults = "start:2=delay:1h".parse().unwrap();
    let sandbox = Sandbox::start(SandboxOptions { behaviour, faults, ..SandboxOptions::default() }).unwrap();
    let head = format!("[api]\nbase_url = {:?}\n", sandbox.base_url());
    let project = Project::with_file(&format!("{head}{FILE}")).variable("SKYVERN_API_KEY", sandbox.key().expose());
    let mut daemon = Daemon::start_with(&project, &[("SKYVERN_API_KEY", sandbox.key().expose())], &[]);
    project.run(&["trigger", "a", "--state-dir", "state"]).code(0);
    let mut waiting = project.command().args(["trigger", "a", "--state-dir", "state"]).spawn().unwrap();
    daemon.wait_for("due ", 2);
    let before = daemon.state();
    assert!(before.contains("schedules=1 open=2 next=\"a at "), "{before}");
    let state = daemon.wait_for("state: open", 2);
    assert!(state.contains("stage=\"running\" run_id=\"wr_"), "{state}");
    assert!(state.contains("stage=\"launching\""), "its start waits for its answer: {state}");
    assert_eq!(daemon.signal_until_it_ends("TERM"), Some(1));
    waiting.kill().unwrap();
    waiting.wait().unwrap();
}

#[test]
fn a_panic_is_in_the_log_without_the_key() {
    let project = Project::with_file(FILE);
    let mut daemon = Daemon::start_with(&project, &[("SKYCRON_CRASH_AT", "in-state:1:panic")], &[]);
    daemon.signal("USR1");
    assert_ne!(daemon.end(), Some(0), "{}", daemon.log());
    let log = daemon.wait_for("ERROR panicked, which is a mistake in skycron: in-state, with [secret]", 1);
    assert!(log.contains("place=\"src/crash_point.rs:"), "{log}");
    assert!(!log.contains("k-1234"), "{log}");
}

#[test]
fn no_core_and_no_look_inside() {
    let project = Project::with_file(FILE);
    let daemon = Daemon::start(&project);
    let limits = Command::new("cat").arg(format!("/proc/{}/limits", daemon.pid())).output().unwrap();
    let limits = String::from_utf8(limits.stdout).unwrap();
    let core: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max core")).unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{limits}");
    // What belongs to root in /proc cannot be read by another process of the same user.
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(format!("/proc/{}/environ", daemon.pid())).unwrap().uid(), 0);
}
