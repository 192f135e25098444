//! Tests of the history as a whole, and what they share: instants, keys and changes in short notation.

mod change;
mod crash;
mod mirror;
mod model;
mod opening;
mod plans;
mod reading;
mod retention;
mod status;
mod views;
mod writer;

use chrono::{DateTime, TimeDelta, Utc};

use super::{HistoryOptions, Reader, Store};
use crate::{
    clock::parse_rfc3339,
    engine::{
        Change, Reason, ReasonCode, RunReport, RunStatus, Status, Trigger,
        change::{AttemptOutcome, NewOccurrence},
    },
    ids::{OccurrenceKey, RunId, ScheduleId, WorkflowId},
    schedule::Definition,
};

/// An instant on the day of the tests.
fn at(time: &str) -> DateTime<Utc> {
    parse_rfc3339(&format!("2026-11-02T{time}Z")).unwrap()
}

fn id(text: &str) -> ScheduleId {
    ScheduleId::new(text).unwrap()
}

fn workflow() -> WorkflowId {
    WorkflowId::new("wpid_1").unwrap()
}

fn run(text: &str) -> RunId {
    RunId::new(text).unwrap()
}

/// `key("daily", "14:00:00")`, or with a suffix `key("daily", "14:00:00#retry-2")`.
fn key(schedule: &str, time: &str) -> OccurrenceKey {
    let (time, suffix) = time.split_once('#').unwrap_or((time, ""));
    let key = format!("main/{schedule}@2026-11-02T{time}Z");
    if suffix.is_empty() { key } else { format!("{key}#{suffix}") }.parse().unwrap()
}

fn definition(cron: &str) -> Definition {
    Definition {
        cron_expression: Some(cron.to_owned()),
        timezone: "America/New_York".to_owned(),
        gap: "shift".to_owned(),
        fold: "auto".to_owned(),
        enabled: true,
        ..Definition::default()
    }
}

fn defined(schedule: &str, time: &str) -> Change {
    let definition = Some(Box::new((definition("0 9 * * *"), workflow())));
    Change::Defined { schedule: id(schedule), at: at(time), definition }
}

/// A new row, decided in the second in which it was due.
fn occurred(key: &OccurrenceKey, status: Status) -> Change {
    Change::Occurred(Box::new(NewOccurrence {
        key: key.clone(),
        workflow_id: workflow(),
        trigger: Trigger::Schedule,
        status,
        reason: None,
        at: key.scheduled_for + TimeDelta::milliseconds(4),
        count: 1,
        through: None,
        parameters: None,
    }))
}

/// A stretch of `count` missed ones.
fn missed(key: &OccurrenceKey, through: &str, count: u32) -> Change {
    let Change::Occurred(mut new) = occurred(key, Status::Missed) else { unreachable!() };
    new.reason = Some(Reason::new(ReasonCode::Late, "nothing could fire"));
    new.at = at(through);
    new.through = Some(at(through));
    new.count = count;
    Change::Occurred(new)
}

fn status(key: &OccurrenceKey, status: Status, time: &str) -> Change {
    Change::StatusChanged { key: key.clone(), status, reason: None, at: at(time) }
}

fn begun(key: &OccurrenceKey, number: u32, time: &str) -> Change {
    Change::AttemptBegun { key: key.clone(), number, at: at(time) }
}

fn ended(key: &OccurrenceKey, number: u32, time: &str, outcome: AttemptOutcome, run_id: Option<&str>) -> Change {
    Change::AttemptEnded {
        key: key.clone(),
        number,
        at: at(time),
        outcome,
        message: None,
        http_status: None,
        run_id: run_id.map(run),
    }
}

fn reported(key: &OccurrenceKey, run_id: &str, word: &str, time: &str) -> Change {
    let report = Box::new(RunReport::bare(run(run_id), RunStatus::from_word(word)));
    Change::RunReported { key: key.clone(), report, at: at(time) }
}

/// A start, its run and its end, as the engine asks for them.
fn completed(key: &OccurrenceKey, run_id: &str) -> Vec<Change> {
    vec![
        occurred(key, Status::Pending),
        begun(key, 1, "14:00:00.010"),
        ended(key, 1, "14:00:00.020", AttemptOutcome::Started, Some(run_id)),
        status(key, Status::Running, "14:00:00.020"),
        reported(key, run_id, "completed", "14:01:00"),
        status(key, Status::Completed, "14:01:00"),
    ]
}

/// A folder with a store in which `daily` is defined and the changes are applied.
fn stored(changes: &[Change]) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), &HistoryOptions::default()).unwrap();
    store.apply(&[defined("daily", "00:00:00")]).unwrap();
    store.apply(changes).unwrap();
    (dir, store)
}

fn reader(dir: &tempfile::TempDir) -> Reader {
    Reader::open(dir.path()).unwrap()
}
