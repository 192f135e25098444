//! `skycron next`: which instants, in which form. The rules themselves have their own tests; these see that the real binary
//! gives the same.

use crate::support::Project;

const FILE: &str = r#"
[defaults]
timezone = "America/New_York"

[[schedule]]
id = "weekday-report"
workflow_id = "wpid_1"
cron_expression = "0 9 * * 1-5"

[[schedule]]
id = "every-six-hours"
workflow_id = "wpid_1"
interval_seconds = 21600
first_fire_at = 2026-11-02T02:00:00Z
timezone = "UTC"

[[schedule]]
id = "once"
workflow_id = "wpid_1"
run_at = 2026-11-02T14:00:00Z
timezone = "Asia/Tokyo"

[[schedule]]
id = "bounded"
workflow_id = "wpid_1"
cron_expression = "0 12 * * *"
starts_at = 2026-11-03T17:00:00Z
ends_at = 2026-11-04T17:00:00Z

[[schedule]]
id = "off"
workflow_id = "wpid_1"
cron_expression = "0 * * * *"
enabled = false
"#;

/// The occurrences as `schedule scheduled_for local`.
#[track_caller]
fn check(args: &[&str], expected: &[&str]) {
    let ran = Project::with_file(FILE).run(&[&["next", "--format", "json"], args].concat()).code(0);
    let text = |object: &serde_json::Value, key: &str| object[key].as_str().unwrap_or("-").to_owned();
    let lines: Vec<_> = ran
        .objects()
        .iter()
        .map(|o| format!("{} {} {}", text(o, "schedule"), text(o, "scheduled_for"), text(o, "local")))
        .collect();
    assert_eq!(lines, expected, "{args:?}");
}

#[test]
fn schedules_are_merged_in_the_order_of_time() {
    check(
        &["--after", "2026-11-02", "--until", "2026-11-02T15:00:00Z"],
        &[
            "every-six-hours 2026-11-02T02:00:00Z 2026-11-02T02:00:00+00:00",
            "every-six-hours 2026-11-02T08:00:00Z 2026-11-02T08:00:00+00:00",
            "weekday-report 2026-11-02T14:00:00Z 2026-11-02T09:00:00-05:00",
            "every-six-hours 2026-11-02T14:00:00Z 2026-11-02T14:00:00+00:00",
            "once 2026-11-02T14:00:00Z 2026-11-02T23:00:00+09:00",
        ],
    );
}

#[test]
fn after_is_exclusive_and_until_is_inclusive() {
    let at = "2026-11-02T14:00:00Z";
    check(&["once", "--after", at], &[]);
    check(
        &["once", "--after", "2026-11-02T13:59:59Z", "--until", at],
        &["once 2026-11-02T14:00:00Z 2026-11-02T23:00:00+09:00"],
    );
    check(&["once", "--after", "2026-11-02", "--until", "2026-11-02T13:59:59Z"], &[]);
}

#[test]
fn a_schedule_is_due_between_its_ends_only() {
    check(
        &["bounded", "--after", "2026-11-01"],
        &[
            "bounded 2026-11-03T17:00:00Z 2026-11-03T12:00:00-05:00",
            "bounded 2026-11-04T17:00:00Z 2026-11-04T12:00:00-05:00",
        ],
    );
}

#[test]
fn an_expression_needs_no_file() {
    let expression = |cron: &str, zone: &str, after: &str, expected: &[&str]| {
        let count = expected.len().to_string();
        let ran = Project::new()
            .run(&["next", "--cron", cron, "--timezone", zone, "--after", after, "--count", &count, "-f", "json"])
            .code(0);
        let instants: Vec<_> = ran.objects().iter().map(|o| o["scheduled_for"].as_str().unwrap().to_owned()).collect();
        assert_eq!(instants, expected, "{cron} {zone}");
        assert!(ran.objects().iter().all(|object| object["schedule"].is_null()));
    };
    // A local time that the clock change skips, one that it repeats, and an hourly one through the repeated hour.
    expression("30 2 * * *", "America/New_York", "2026-03-08", &["2026-03-08T07:30:00Z", "2026-03-09T06:30:00Z"]);
    expression("30 1 * * *", "America/New_York", "2026-11-01", &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]);
    expression(
        "0 * * * *",
        "America/New_York",
        "2026-11-01T04:30:00Z",
        &["2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"],
    );
    expression("0 0 29 2 *", "UTC", "2026-11-01", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
}

#[test]
fn text_is_a_table_with_local_time_and_offset() {
    let ran = Project::with_file(FILE).run(&["next", "weekday-report", "--after", "2026-10-30T13:00:00Z", "-n", "1"]);
    let ran = ran.code(0).stderr_is("");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "weekday-report: At 09:00 on weekdays, New York time (0 9 * * 1-5)");
    assert!(lines[1].starts_with("SCHEDULE        LOCAL TIME "), "{}", ran.stdout);
    let row = "weekday-report  Mon 2026-11-02 09:00:00 -05:00  America/New_York  2026-11-02T14:00:00Z";
    assert!(lines[2].starts_with(row), "{}", ran.stdout);
    assert_eq!(lines.len(), 3);
}

#[test]
fn what_is_not_due_is_said() {
    let project = Project::with_file(FILE);
    project.run(&["next", "off"]).code(0).stdout_is("").stderr_is("off is disabled: it is not due\nnothing is due\n");
    let once = "once: Once, on 2026-11-02 23:00, Tokyo time (run_at)\n";
    project.run(&["next", "once", "--after", "2030-01-01"]).code(0).stdout_is(once).stderr_is("nothing is due\n");
}

#[test]
fn wrong_names_and_expressions() {
    let project = Project::with_file(FILE);
    project
        .run(&["next", "weekday-reports"])
        .code(2)
        .stdout_is("")
        .stderr_has("schedules.toml has no schedule \"weekday-reports\"")
        .stderr_has("did you mean \"weekday-report\"?");
    project
        .run(&["next", "--after", "2026-11-02", "--until", "2026-11-01"])
        .code(2)
        .stderr_has("--until is before --after");
    let expression = |cron: &str, zone: &str, parts: &[&str]| {
        let ran = project.run(&["next", "--cron", cron, "--timezone", zone]).code(2).stdout_is("");
        parts.iter().fold(ran, |ran, part| ran.stderr_has(part));
    };
    expression("0 22-2 * * *", "UTC", &["[--cron:1:3]", "runs backwards", "did you mean `0 22-23,0-2 * * *`?"]);
    expression("*/7 * * * *", "UTC", &["due at 00:56 and again at 01:00", "five minutes"]);
    expression("0 9 * *", "UTC", &["[--cron:1:1]", "a cron expression has five"]);
    expression("0 0 30 2 *", "UTC", &["bad_cron"]);
    expression("0 9 * * *", "America/New_Yrok", &["[--timezone:1:1]", "did you mean `America/New_York`?"]);
}
