//! The views for people, through the queries that the README shows.

use super::*;

/// A day of two schedules: `daily` completed, failed and was skipped; `hourly` waited long and was missed for a while.
fn day() -> (tempfile::TempDir, Store) {
    let (failed, skipped) = (key("daily", "15:00:00"), key("daily", "16:00:00"));
    let mut report = RunReport::bare(run("wr_2"), RunStatus::Failed);
    report.failure_reason = Some("no button".to_owned());
    report.finished_at = Some(at("15:00:30"));
    let late = key("hourly", "14:00:00");
    stored(
        &[
            vec![defined("hourly", "00:00:00"), defined("never", "00:00:00")],
            completed(&key("daily", "14:00:00"), "wr_1"),
            vec![
                occurred(&failed, Status::Pending),
                begun(&failed, 1, "15:00:00.010"),
                ended(&failed, 1, "15:00:00.020", AttemptOutcome::Started, Some("wr_2")),
                Change::RunReported { key: failed.clone(), report: Box::new(report), at: at("15:00:31") },
                status(&failed, Status::Failed, "15:00:31"),
                occurred(&skipped, Status::Skipped),
                occurred(&late, Status::Pending),
                begun(&late, 1, "14:02:30"),
                status(&late, Status::Unknown, "14:03:00"),
                missed(&key("hourly", "15:00:00"), "19:00:00", 5),
                occurred(&key("hourly", "20:00:00"), Status::Pending),
            ],
        ]
        .concat(),
    )
}

/// Runs a query as sqlite3 would: columns by `|`, NULL as nothing.
fn check(sql: &str, expected: &[&str]) {
    let (dir, _store) = day();
    let reader = reader(&dir);
    let mut statement = reader.connection().prepare(sql).unwrap();
    let columns = statement.column_count();
    let lines: Vec<String> = statement
        .query_map([], |row| {
            let values = (0..columns).map(|column| match row.get_unwrap(column) {
                rusqlite::types::Value::Null => String::new(),
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Real(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Blob(_) => unreachable!(),
            });
            Ok(values.collect::<Vec<_>>().join("|"))
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(lines, expected, "{sql}");
}

#[test]
fn what_went_wrong_lately() {
    check(
        "SELECT occurrence, status, coalesce(failure_reason, reason) FROM v_history
          WHERE status IN ('failed', 'terminated', 'timed_out', 'missed', 'refused', 'unknown')
            AND scheduled_for >= '2026-11-02'
          ORDER BY scheduled_for DESC LIMIT 20",
        &[
            "main/daily@2026-11-02T15:00:00Z|failed|no button",
            "main/hourly@2026-11-02T15:00:00Z|missed|late: nothing could fire",
            "main/hourly@2026-11-02T14:00:00Z|unknown|",
        ],
    );
}

#[test]
fn how_each_schedule_stands() {
    check(
        "SELECT schedule, scheduled_for, status, run_id, seconds FROM v_last_run ORDER BY schedule",
        &["daily|2026-11-02T15:00:00Z|failed|wr_2|30", "hourly|2026-11-02T15:00:00Z|missed||"],
    );
}

#[test]
fn a_schedules_days() {
    check(
        "SELECT * FROM v_daily WHERE day >= '2026-11-01'",
        &["2026-11-02|daily|3|1|1|1|0|0|0", "2026-11-02|hourly|7|0|0|0|6|1|150"],
    );
}

#[test]
fn how_long_the_runs_of_a_schedule_take() {
    check(
        "SELECT count(*), round(avg((julianday(finished_at) - julianday(launched_at)) * 86400), 1) AS seconds
           FROM v_history WHERE schedule = 'daily' AND status = 'completed'",
        &["1|60"],
    );
}

#[test]
fn what_was_tried_to_start_an_occurrence() {
    check(
        "SELECT number, begun_at, outcome, attempt.run_id FROM attempt JOIN occurrence ON occurrence.id = attempt.occurrence
          WHERE key = 'main/daily@2026-11-02T15:00:00Z' AND schedule = 'daily'",
        &["1|2026-11-02T15:00:00.010Z|started|wr_2"],
    );
}

#[test]
fn the_columns_that_the_readme_names() {
    check(
        "SELECT name FROM pragma_table_info('v_history')",
        &[
            "occurrence",
            "schedule",
            "scheduled_for",
            "trigger",
            "status",
            "reason",
            "count",
            "through",
            "attempts",
            "run_id",
            "launched_at",
            "finished_at",
            "failure_reason",
            "workflow_id",
            "app_url",
        ],
    );
    check(
        "SELECT name FROM pragma_table_info('v_last_run')",
        &[
            "schedule",
            "occurrence",
            "scheduled_for",
            "status",
            "reason",
            "run_id",
            "launched_at",
            "finished_at",
            "seconds",
            "failure_reason",
        ],
    );
    check(
        "SELECT name FROM pragma_table_info('v_daily')",
        &[
            "day",
            "schedule",
            "occurrences",
            "completed",
            "failed",
            "skipped",
            "not_run",
            "open",
            "latest_start_seconds",
        ],
    );
}
