//! `skycron check` on what belongs to the mirror: what Skyvern's own scheduler cannot have is said before it fires anything.

use crate::support::Project;

/// Checks a file with the mirror and one schedule with these lines, and compares its problems as `line code message`; the
/// schedule's lines begin at 7.
#[track_caller]
fn check(lines: &str, expected: &[&str]) {
    let text = format!("[mirror]\nenabled = true\n\n[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\n{lines}\n");
    check_file(&text, expected);
}

#[track_caller]
fn check_file(text: &str, expected: &[&str]) {
    let ran = Project::with_file(text).run(&["check", "--format", "json"]);
    let found: Vec<_> = ran
        .objects()
        .iter()
        .map(|o| format!("{} {} {}", o["line"], o["code"].as_str().unwrap(), o["message"].as_str().unwrap()))
        .collect();
    assert_eq!(found, expected, "{text}");
    ran.code(if expected.is_empty() { 0 } else { 2 });
}

#[test]
fn what_the_server_cannot_have() {
    let cron = "cron_expression = \"0 9 * * *\"\nfires = \"server\"\n";
    check(cron, &[]);
    check(&format!("{cron}gap = \"skip\"\njitter = \"5m\"\ntitle = \"x\""), &[]);
    check(
        &format!("{cron}parameters = {{ list = [{{ day = \"{{{{ scheduled_for }}}}\" }}] }}"),
        &["9 conflict fires = \"server\": the server would send templates as they stand"],
    );
    check(
        &format!("{cron}starts_at = 2026-12-01T00:00:00Z"),
        &["9 conflict fires = \"server\": the server's schedules have no beginning and no end"],
    );
    check(
        "fires = \"server\"\nrun_at = 2027-01-01T00:00:00Z",
        &["8 conflict fires = \"server\": the server cannot switch a schedule off and on that is due once"],
    );
    check("run_at = 2027-01-01T00:00:00Z", &[]);
}

#[test]
fn the_server_fires_only_with_the_mirror() {
    let two = "[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 * * *\"\n\
               [[schedule]]\nid = \"b\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 * * *\"\n";
    let needed = "fires = \"server\" needs the mirror, which is not enabled";
    check_file(&format!("[defaults]\nfires = \"server\"\n{two}"), &[&format!("6 conflict {needed}")]);
    check_file(&format!("[mirror]\nprune = true\n{two}"), &[]);
}

#[test]
fn copies_are_named_once() {
    let cron = "cron_expression = \"0 9 * * *\"\n";
    check(&format!("{cron}server_schedule_id = \"wfs_1\""), &[]);
    check(
        &format!("{cron}server_schedule_id = \"wfs/1\""),
        &[
            "8 bad_value `server_schedule_id` is not the id of a schedule at Skyvern: letters, digits, '_' and '-', as in \
           wfs_123456789",
        ],
    );
    check(
        &format!(
            "{cron}server_schedule_id = \"wfs_1\"\n[[schedule]]\nid = \"b\"\nworkflow_id = \"wpid_1\"\n{cron}\
             server_schedule_id = \"wfs_1\""
        ),
        &["13 duplicate_id wfs_1 is the copy of another schedule already"],
    );
}

#[test]
fn settings() {
    let file = |keys: &str| {
        format!(
            "[mirror]\n{keys}\n[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 * * *\"\n"
        )
    };
    check_file(&file("enabled = true\nprune = true\non_drift = \"restore\"\ninterval = \"1h\""), &[]);
    check_file(
        &file("on_drift = \"resort\""),
        &["2 bad_value `on_drift` takes \"report\" or \"restore\", and this is \"resort\""],
    );
    check_file(&file("interval = \"10s\""), &["2 bad_value `interval` is shorter than 1m"]);
    check_file(&file("purge = true"), &["2 unknown_key [mirror] has no key `purge`"]);
}
