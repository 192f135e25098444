//! `audit` on the real binary: a history that adds up, and then one in which somebody deleted a row, made one twice, or moved
//! one.

use chrono::{DateTime, TimeDelta, Utc};
use skycron::{
    engine::{Change, Reason, ReasonCode, Status, Trigger, change::NewOccurrence},
    history::{HistoryOptions, Store},
    ids::{Instance, OccurrenceKey, ScheduleId, WorkflowId},
    schedule::Definition,
};

use crate::support::Project;

/// An hourly schedule that was known from 10:30 on, with single rows for 11:00 and 12:00, and one row for 13:00 to 15:00.
fn history(project: &Project, first: DateTime<Utc>) {
    let (id, workflow_id) = (ScheduleId::new("hourly").unwrap(), WorkflowId::new("wpid_1").unwrap());
    let hour = |n: i32| first + TimeDelta::hours(1) * n;
    let definition = Definition {
        cron_expression: Some("0 * * * *".to_owned()),
        timezone: "UTC".to_owned(),
        gap: "shift".to_owned(),
        fold: "auto".to_owned(),
        enabled: true,
        ..Definition::default()
    };
    let row = |at: DateTime<Utc>, status, count, through| {
        Change::Occurred(Box::new(NewOccurrence {
            key: OccurrenceKey {
                instance: Instance::new("main").unwrap(),
                schedule: id.clone(),
                scheduled_for: at,
                suffix: String::new(),
            },
            workflow_id: workflow_id.clone(),
            trigger: Trigger::Schedule,
            status,
            reason: Some(Reason::new(ReasonCode::Overlap, "a test")),
            at,
            count,
            through,
            parameters: None,
        }))
    };
    let changes = [
        Change::Defined {
            schedule: id.clone(),
            at: first - TimeDelta::minutes(30),
            definition: Some(Box::new((definition, workflow_id.clone()))),
        },
        row(hour(0), Status::Skipped, 1, None),
        row(hour(1), Status::Skipped, 1, None),
        row(hour(2), Status::Missed, 3, Some(hour(4))),
        Change::AccountedThrough { schedule: id.clone(), through: hour(4) },
    ];
    let mut store = Store::open(&project.path("state"), &HistoryOptions::default()).unwrap();
    store.apply(&changes).unwrap();
    store.close().unwrap();
}

#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    let first: DateTime<Utc> = "2026-11-02T11:00:00Z".parse().unwrap();
    let project = Project::with_file("");
    history(&project, first);
    project
        .run(&["audit", "--state-dir", "state"])
        .code(0)
        .stdout_has("5 occurrences of 1 schedules: all accounted for");

    let database = rusqlite::Connection::open(project.path("state").join("history.db")).unwrap();
    assert_eq!(database.execute(sql, []).unwrap(), 1, "{sql}");
    drop(database);
    let ran = project.run(&["audit", "--state-dir", "state", "--format", "json"]).code(1);
    let found: Vec<String> = ran
        .objects()
        .iter()
        .map(|o| format!("{} {}", o["finding"].as_str().unwrap(), o["scheduled_for"].as_str().unwrap()))
        .collect();
    assert_eq!(found, expected, "{sql}");
}

#[test]
fn what_was_changed_by_hand_is_found() {
    let of = |time: &str| format!("scheduled_for = '2026-11-02T{time}:00Z'");
    check(&format!("DELETE FROM occurrence WHERE {}", of("12:00")), &["missing 2026-11-02T12:00:00Z"]);
    check(&format!("DELETE FROM occurrence WHERE {}", of("13:00")), &["missing 2026-11-02T13:00:00Z"]);
    check(
        &format!(
            "INSERT INTO occurrence (instance, schedule, scheduled_for, suffix, workflow_id, trigger, status, decided_at)
             SELECT 'other', schedule, scheduled_for, suffix, workflow_id, trigger, status, decided_at
               FROM occurrence WHERE {}",
            of("12:00")
        ),
        &["twice 2026-11-02T12:00:00Z"],
    );
    check(
        &format!("UPDATE occurrence SET scheduled_for = '2026-11-02T12:30:00Z' WHERE {}", of("12:00")),
        &["not_due 2026-11-02T12:30:00Z", "missing 2026-11-02T12:00:00Z"],
    );
    check(&format!("UPDATE occurrence SET count = 2 WHERE {}", of("13:00")), &["miscounted 2026-11-02T13:00:00Z"]);
}
