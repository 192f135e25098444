//! `init` on the real binary: what it writes, what it refuses, and its questions in a terminal.

use skycron::sandbox::Sandbox;

use crate::{cli_online::server, support::Project, terminal::Person};

fn project(server: &Sandbox) -> Project {
    Project::new().variable("SKYVERN_API_KEY", server.key().expose())
}

#[test]
fn from_nothing_to_a_file_that_passes() {
    let server = server();
    let project = project(&server);
    let url = server.base_url();
    let init = ["init", "--base-url", &url, "--yes", "--timezone", "America/New_York"];
    let chosen = ["-w", "wpid_1", "--cadence", "weekdays at 9", "-w", "wpid_2", "--cadence", "every 15 minutes"];
    project
        .run(&[&init[..], &chosen, &["--parameter", "count=7"]].concat())
        .code(0)
        .stdout_has("schedules.toml is written: invoices-0-title, nothing-to-say")
        .stderr_has("At 09:00 on weekdays, New York time (0 9 * * 1-5), next:")
        .stderr_has("Every 15 minutes, New York time (*/15 * * * *), next:")
        .stderr_has("skycron run")
        .never_shows("\u{7}");
    project
        .run(&["check", "--online"])
        .code(0)
        .stdout_has("2 schedules, no problems")
        .stdout_has("At 09:00 on weekdays, New York time");
    let text = std::fs::read_to_string(project.path("schedules.toml")).unwrap();
    for part in ["# At 09:00 on weekdays", "count = 7", "url = \"https://example.com\"", "# login = ", "sure = false"] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    assert!(!text.contains('\u{1b}') && !text.contains(server.key().expose()), "{text}");
    // It started nothing, and it starts what it wrote.
    assert_eq!(server.starts_received(), 0);
    project.run(&["trigger", "nothing-to-say", "--state-dir", "state"]).code(0);

    // A file that is there stays.
    let again = [&init[..], &["-w", "wpid_2", "--cadence", "hourly"]].concat();
    project.run(&again).code(2).stderr_has("schedules.toml is there already").stderr_has("--force");
    assert_eq!(std::fs::read_to_string(project.path("schedules.toml")).unwrap(), text);
    let ran = project.run(&[&again[..], &["--force", "--format", "json"]].concat()).code(0);
    assert_eq!(ran.objects(), [serde_json::json!({ "file": "schedules.toml", "schedules": ["nothing-to-say"] })]);
    assert!(!std::fs::read_to_string(project.path("schedules.toml")).unwrap().contains("wpid_1"));
}

#[test]
fn what_is_missing_or_wrong_writes_nothing() {
    let server = server();
    let url = server.base_url();
    let check = |args: &[&str], code: i32, part: &str| {
        let project = project(&server);
        project.run(&[&["init", "--base-url", &url], args].concat()).code(code).stderr_has(part);
        assert!(!project.path("schedules.toml").exists(), "{args:?}");
    };
    let good = ["-w", "wpid_1", "--cadence", "hourly", "-p", "count=1"];
    check(&[], 2, "no workflow is named, and there is no terminal");
    check(&["-w", "wpid_1"], 2, "when is not said");
    check(&["-w", "wpid_3", "--cadence", "hourly"], 2, "the server has no workflow wpid_3");
    check(&["-w", "wpid_1", "--cadence", "hourly"], 2, "give --parameter count=…");
    check(&["-w", "wpid_1", "--cadence", "hourly", "-p", "count=x"], 2, "`count` is no integer");
    check(&[&good[..], &["-p", "other=1"]].concat(), 2, "declares a parameter \"other\"");
    check(&["-w", "wpid_2", "--cadence", "now and then"], 2, "`now` is not understood");
    check(&["-w", "wpid_2", "--cadence", "every minute"], 2, "5m is the least");
    check(&["-w", "wpid_2", "--cadence", "hourly", "--timezone", "Mars/Olympus"], 2, "Mars/Olympus");
    check(&["-w", "wpid_2", "--cadence", "hourly", "--cadence", "daily at 9"], 2, "2 cadences for 1 workflows");
    check(&[&good[..], &["-o", "nowhere/a.toml"]].concat(), 1, "nowhere/a.toml could not be written");
    drop(server);
    let project = Project::new().variable("SKYVERN_API_KEY", "k-1");
    project.run(&[&["init", "--base-url", &url], &good[..]].concat()).code(3).stderr_has("no connection");
    assert!(project.names().is_empty());
}

#[test]
fn questions_in_a_terminal() {
    let server = server();
    let project = project(&server);
    let url = server.base_url();
    let mut person = Person::at(&project, &["init", "--base-url", &url]);
    // Over what is proposed: end of the line, and everything before it away.
    let over = |text: &str| format!("{}{text}\r", "\u{7f}".repeat(30));
    person.answers("Which workflows", " \r");
    // The machine's, which is Kathmandu.
    person.answers("Whose clocks", "\r");
    person.answers("is Invoices", &over("now and then"));
    person.answers("`now` is not understood", &over("daily at noon"));
    person.answers("At 12:00 every day, Kathmandu time", "y\r");
    person.answers("requires count (integer)", "x\r");
    person.answers("`x` is no integer", "7\r");
    person.ends();
    project.run(&["check", "--online"]).code(0).stdout_has("At 12:00 every day, Kathmandu time");
}
