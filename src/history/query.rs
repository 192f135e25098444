//! The questions that readers ask, as SQL, and the rows of the answers as values. On which connection is `reader`'s
//! business.
//!
//! Every list is bounded, and every question is answered from an index however long the history is: a filter with several
//! schedules or statuses is several walks along one index, put together here, since SQLite would sort all their rows first.

use std::{cmp::Reverse, collections::BTreeSet};

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, Params, Row, named_params, params_from_iter, types::Value};
use serde_json::value::RawValue;

use super::{
    AttemptRow, DefinitionRow, HistoryError, HistoryRow, NoteRow, OccurrenceDetail, RunRow, ScheduleRow,
    memory::{key, pause},
    text::{get, instant, optional, optional_instant, optional_json, parsed},
};
use crate::{
    clock::{rfc3339, rfc3339_millis},
    engine::{
        ReasonCode, Status, Trigger,
        audit::LedgerRow,
        change::{AttemptOutcome, MirrorCopy, NoteKind},
    },
    ids::{Instance, OccurrenceKey, RunId, ScheduleId, ServerScheduleId, WorkflowId},
};

/// Notes and related occurrences that are shown with one occurrence, at most.
const DETAIL_ROWS_MAX: u32 = 100;

/// Which lines of the history are asked for. Empty lists and `None` do not filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// These schedules.
    pub schedules: Vec<ScheduleId>,
    /// Due at or after this instant, to the second; a stretch that ends at or after it belongs to the answer.
    pub since: Option<DateTime<Utc>>,
    /// Due at or before this instant, to the second.
    pub until: Option<DateTime<Utc>>,
    /// These statuses.
    pub statuses: Vec<Status>,
    /// At most so many lines, the newest.
    pub limit: u32,
}

pub(super) const HISTORY_COLUMNS: &str =
    "o.id, o.instance, o.schedule, o.scheduled_for, o.suffix, o.trigger, o.status, o.reason,
    o.attempts, o.run_id, o.launched_at, o.finished_at, r.failure_reason, o.count, o.through";

/// One walk along one index, which is named: the planner would now and then take another, along which it meets all rows.
struct Walk {
    index: &'static str,
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Walk {
    fn along(index: &'static str) -> Self {
        Self { index, conditions: Vec::new(), values: Vec::new() }
    }

    fn with(mut self, condition: &str, value: &str) -> Self {
        self.conditions.push(condition.to_owned());
        self.values.push(Value::from(value.to_owned()));
        self
    }

    /// A column that must have one of these values; none do not filter.
    fn with_any<'a>(mut self, column: &str, words: impl Iterator<Item = &'a str>) -> Self {
        let before = self.values.len();
        self.values.extend(words.map(|word| Value::from(word.to_owned())));
        if self.values.len() > before {
            let marks = vec!["?"; self.values.len() - before].join(", ");
            self.conditions.push(format!("{column} IN ({marks})"));
        }
        self
    }

    fn sql(&self) -> String {
        let filter =
            if self.conditions.is_empty() { String::new() } else { format!("WHERE {}", self.conditions.join(" AND ")) };
        format!(
            "SELECT {HISTORY_COLUMNS} FROM occurrence AS o INDEXED BY {} LEFT JOIN run AS r ON r.occurrence = o.id
             {filter} ORDER BY o.scheduled_for DESC, o.id DESC LIMIT ?",
            self.index
        )
    }
}

/// The walks whose first `limit` rows, put together, have the answer in them.
fn walks(filter: &HistoryFilter) -> Vec<Walk> {
    let statuses: BTreeSet<&str> = filter.statuses.iter().map(|status| status.word()).collect();
    let schedules: BTreeSet<&str> = filter.schedules.iter().map(ScheduleId::as_str).collect();
    let mut walks: Vec<Walk> = if !schedules.is_empty() {
        let of = |id| Walk::along("occurrence_once").with("o.schedule = ?", id);
        schedules.iter().map(|id| of(id).with_any("o.status", statuses.iter().copied())).collect()
    } else if !statuses.is_empty() {
        statuses.iter().map(|status| Walk::along("occurrence_status").with("o.status = ?", status)).collect()
    } else {
        vec![Walk::along("occurrence_scheduled_for")]
    };
    if let Some(since) = filter.since {
        walks = walks.into_iter().map(|walk| walk.with("o.scheduled_for >= ?", &bound(since))).collect();
        // The stretches that began before and were not over then.
        walks.push(
            Walk::along("occurrence_through")
                .with("o.through >= ?", &bound(since))
                .with("o.scheduled_for < ?", &bound(since))
                .with_any("o.status", statuses.iter().copied())
                .with_any("o.schedule", schedules.iter().copied()),
        );
    }
    if let Some(until) = filter.until.and_then(|until| until.checked_add_signed(TimeDelta::seconds(1))) {
        walks = walks.into_iter().map(|walk| walk.with("o.scheduled_for < ?", &bound(until))).collect();
    }
    walks
}

/// The text before all texts of instants in the second of `instant`, with and without milliseconds. Years that have no four
/// digits, which nothing stored has, are before or after everything.
fn bound(instant: DateTime<Utc>) -> String {
    match instant.year() {
        0..=9999 => instant.format("%Y-%m-%dT%H:%M:%S").to_string(),
        year if year < 0 => String::new(),
        _ => "~".to_owned(),
    }
}

/// The history, newest first.
pub(super) fn history(connection: &Connection, filter: &HistoryFilter) -> Result<Vec<HistoryRow>, HistoryError> {
    let mut found: Vec<(i64, HistoryRow)> = Vec::new();
    for walk in walks(filter) {
        let mut values = walk.values.clone();
        values.push(Value::from(i64::from(filter.limit)));
        found.extend(collect(connection, &walk.sql(), params_from_iter(values), |row| {
            Ok((get(row, "id")?, history_row(row)?))
        })?);
        // What cannot be in the answer any more need not be kept.
        found.sort_by_cached_key(|(id, row)| Reverse((rfc3339(row.scheduled_for), *id)));
        found.truncate(filter.limit as usize);
    }
    Ok(found.into_iter().map(|(_, row)| row).collect())
}

pub(super) fn history_row(row: &Row<'_>) -> Result<HistoryRow, HistoryError> {
    let occurrence = key(row)?;
    Ok(HistoryRow {
        schedule: occurrence.schedule.clone(),
        scheduled_for: occurrence.scheduled_for,
        occurrence,
        trigger: parsed(row, "trigger", Trigger::from_word)?,
        status: parsed(row, "status", Status::from_word)?,
        reason: get(row, "reason")?,
        attempts: get(row, "attempts")?,
        run_id: optional(row, "run_id", |text| RunId::new(text).ok())?,
        launched_at: optional_instant(row, "launched_at")?,
        finished_at: optional_instant(row, "finished_at")?,
        failure_reason: get(row, "failure_reason")?,
        count: get(row, "count")?,
        through: optional_instant(row, "through")?,
    })
}

/// The row id of an occurrence.
pub(super) fn by_key(connection: &Connection, key: &OccurrenceKey) -> Result<Option<i64>, HistoryError> {
    connection
        .query_row(
            "SELECT id FROM occurrence
              WHERE schedule = :schedule AND scheduled_for = :scheduled_for AND suffix = :suffix AND instance = :instance",
            named_params! {
                ":schedule": key.schedule.as_str(),
                ":scheduled_for": rfc3339(key.scheduled_for),
                ":suffix": key.suffix,
                ":instance": key.instance.as_str(),
            },
            |row| row.get(0),
        )
        .optional()
        .map_err(HistoryError::sqlite("read"))
}

/// The row id of the occurrence of a run; of the latest one, should a server have handed out an id twice.
pub(super) fn by_run(connection: &Connection, run_id: &RunId) -> Result<Option<i64>, HistoryError> {
    connection
        .query_row("SELECT max(id) FROM occurrence WHERE run_id = ?", [run_id.as_str()], |row| row.get(0))
        .map_err(HistoryError::sqlite("read"))
}

/// Everything about the occurrence of a row id.
pub(super) fn detail(connection: &Connection, id: i64) -> Result<OccurrenceDetail, HistoryError> {
    let sql = format!(
        "SELECT {HISTORY_COLUMNS}, o.workflow_id, o.decided_at, o.parameters
           FROM occurrence AS o LEFT JOIN run AS r ON r.occurrence = o.id WHERE o.id = ?"
    );
    let mut detail = one(connection, &sql, [id], |row| {
        let row_of_history = history_row(row)?;
        Ok(OccurrenceDetail {
            count: row_of_history.count,
            through: row_of_history.through,
            row: row_of_history,
            workflow_id: parsed(row, "workflow_id", |text| WorkflowId::new(text).ok())?,
            decided_at: instant(row, "decided_at")?,
            parameters: optional_json(row, "parameters")?,
            attempt_list: Vec::new(),
            run: None,
            related: Vec::new(),
            notes: Vec::new(),
        })
    })?
    .ok_or_else(|| HistoryError::Missing { what: "row", name: format!("number {id}") })?;
    detail.attempt_list = collect(
        connection,
        "SELECT number, begun_at, ended_at, outcome, http_status, message, run_id FROM attempt WHERE occurrence = ?
          ORDER BY number",
        [id],
        attempt_row,
    )?;
    detail.run = one(connection, "SELECT * FROM run WHERE occurrence = ?", [id], run_row)?;
    detail.related = collect(
        connection,
        "SELECT instance, schedule, scheduled_for, suffix FROM occurrence
          WHERE schedule = :schedule AND scheduled_for = :scheduled_for AND id <> :id ORDER BY id LIMIT :limit",
        named_params! {
            ":schedule": detail.row.schedule.as_str(),
            ":scheduled_for": rfc3339(detail.row.scheduled_for),
            ":id": id,
            ":limit": DETAIL_ROWS_MAX,
        },
        key,
    )?;
    detail.notes = collect(
        connection,
        "SELECT at, kind, text FROM note WHERE at >= :from AND (:until IS NULL OR at <= :until) ORDER BY at, id LIMIT :limit",
        named_params! {
            ":from": rfc3339_millis(detail.row.scheduled_for),
            ":until": detail.row.finished_at.or((!detail.row.status.is_open()).then_some(detail.decided_at)).map(rfc3339_millis),
            ":limit": DETAIL_ROWS_MAX,
        },
        note_row,
    )?;
    Ok(detail)
}

fn attempt_row(row: &Row<'_>) -> Result<AttemptRow, HistoryError> {
    Ok(AttemptRow {
        number: get(row, "number")?,
        begun_at: instant(row, "begun_at")?,
        ended_at: optional_instant(row, "ended_at")?,
        outcome: optional(row, "outcome", AttemptOutcome::from_word)?,
        http_status: get(row, "http_status")?,
        message: get(row, "message")?,
        run_id: optional(row, "run_id", |text| RunId::new(text).ok())?,
    })
}

fn run_row(row: &Row<'_>) -> Result<RunRow, HistoryError> {
    Ok(RunRow {
        status: get(row, "status")?,
        run_type: get(row, "run_type")?,
        retry_pending: get(row, "retry_pending")?,
        attempt: get(row, "attempt")?,
        next_attempt_at: optional_instant(row, "next_attempt_at")?,
        created_at: optional_instant(row, "created_at")?,
        modified_at: optional_instant(row, "modified_at")?,
        queued_at: optional_instant(row, "queued_at")?,
        started_at: optional_instant(row, "started_at")?,
        finished_at: optional_instant(row, "finished_at")?,
        browser_session_id: get(row, "browser_session_id")?,
        reported_at: instant(row, "reported_at")?,
        truncated: get(row, "truncated")?,
        app_url: get(row, "app_url")?,
        recording_url: get(row, "recording_url")?,
        failure_reason: get(row, "failure_reason")?,
        screenshot_urls: optional_json(row, "screenshot_urls")?.unwrap_or_default(),
        errors: optional(row, "errors", raw)?,
        downloaded_files: optional(row, "downloaded_files", raw)?,
        output: optional(row, "output", raw)?,
    })
}

/// JSON as it is; a text that is none (it was cut) as a JSON text.
fn raw(text: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(text.to_owned()).or_else(|_| serde_json::value::to_raw_value(text)).ok()
}

fn note_row(row: &Row<'_>) -> Result<NoteRow, HistoryError> {
    Ok(NoteRow { at: instant(row, "at")?, kind: parsed(row, "kind", NoteKind::from_word)?, text: get(row, "text")? })
}

/// The latest notes, newest first.
pub(super) fn notes(connection: &Connection, limit: u32) -> Result<Vec<NoteRow>, HistoryError> {
    collect(connection, "SELECT at, kind, text FROM note ORDER BY at DESC, id DESC LIMIT ?", [limit], note_row)
}

/// For each schedule, its last occurrence that was started or should have been: what `v_last_run` shows.
pub(super) fn last_runs(connection: &Connection) -> Result<Vec<HistoryRow>, HistoryError> {
    let sql = format!(
        "SELECT {HISTORY_COLUMNS} FROM schedule AS s
           JOIN occurrence AS o ON o.id = (
                SELECT l.id FROM occurrence AS l
                 WHERE l.schedule = s.id AND l.status NOT IN ('skipped', 'pending')
                 ORDER BY l.scheduled_for DESC, l.id DESC LIMIT 1)
           LEFT JOIN run AS r ON r.occurrence = o.id
          ORDER BY s.id"
    );
    collect(connection, &sql, [], history_row)
}

/// Every schedule that was ever seen.
pub(super) fn schedules(connection: &Connection) -> Result<Vec<ScheduleRow>, HistoryError> {
    collect(
        connection,
        "SELECT s.id, d.definition IS NULL AS gone, s.accounted_through, s.paused_since, s.paused_until, s.pause_note
           FROM schedule AS s JOIN definition AS d ON d.id = s.definition ORDER BY s.id",
        [],
        |row| {
            Ok(ScheduleRow {
                id: parsed(row, "id", |text| ScheduleId::new(text).ok())?,
                gone: get(row, "gone")?,
                accounted_through: instant(row, "accounted_through")?,
                pause: pause(row)?,
            })
        },
    )
}

/// What is ours at the server.
pub(super) fn mirror(connection: &Connection) -> Result<Vec<MirrorCopy>, HistoryError> {
    collect(
        connection,
        "SELECT server_schedule_id, instance, schedule, workflow_id, applied FROM mirror ORDER BY server_schedule_id",
        [],
        |row| {
            Ok(MirrorCopy {
                server_schedule_id: parsed(row, "server_schedule_id", |text| ServerScheduleId::new(text).ok())?,
                instance: parsed(row, "instance", |text| Instance::new(text).ok())?,
                schedule: parsed(row, "schedule", |text| ScheduleId::new(text).ok())?,
                workflow_id: parsed(row, "workflow_id", |text| WorkflowId::new(text).ok())?,
                applied: get(row, "applied")?,
            })
        },
    )
}

/// The definitions of a schedule, oldest first.
pub(super) fn definitions(connection: &Connection, id: &ScheduleId) -> Result<Vec<DefinitionRow>, HistoryError> {
    collect(
        connection,
        "SELECT at, definition, workflow_id FROM definition WHERE schedule = ? ORDER BY id",
        [id.as_str()],
        |row| {
            Ok(DefinitionRow {
                at: instant(row, "at")?,
                definition: optional_json(row, "definition")?,
                workflow_id: optional(row, "workflow_id", |text| WorkflowId::new(text).ok())?,
            })
        },
    )
}

/// What the schedule's own rows account for. Retries and starts by hand are no part of the timetable.
pub(super) fn ledger(
    connection: &Connection,
    id: &ScheduleId,
    after: Option<DateTime<Utc>>,
) -> Result<Vec<LedgerRow>, HistoryError> {
    collect(
        connection,
        "SELECT scheduled_for, through, count, reason FROM occurrence
          WHERE schedule = ? AND suffix = '' AND scheduled_for > ? ORDER BY scheduled_for",
        [id.as_str(), &after.map(rfc3339).unwrap_or_default()],
        |row| {
            let reason: Option<String> = get(row, "reason")?;
            let code = reason.as_deref().map(|reason| reason.split(':').next().unwrap_or_default());
            Ok(LedgerRow {
                scheduled_for: instant(row, "scheduled_for")?,
                through: optional_instant(row, "through")?,
                count: get(row, "count")?,
                reason: code.and_then(ReasonCode::from_word),
            })
        },
    )
}

/// The end of the stretch that a schedule's row stands for at an instant, if there is one that begins by then and ends later.
pub(super) fn covered_through(
    connection: &Connection,
    id: &ScheduleId,
    at: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, HistoryError> {
    let through = one(
        connection,
        "SELECT through FROM occurrence WHERE schedule = ? AND suffix = '' AND scheduled_for <= ?
          ORDER BY scheduled_for DESC LIMIT 1",
        [id.as_str(), &rfc3339(at)],
        |row| optional_instant(row, "through"),
    )?;
    Ok(through.flatten().filter(|through| *through > at))
}

/// Runs that more than one occurrence is told to have.
pub(super) fn runs_of_several(connection: &Connection) -> Result<Vec<(String, Vec<String>)>, HistoryError> {
    collect(
        connection,
        "SELECT run_id, group_concat(key, ' ') AS keys FROM occurrence
          WHERE run_id IS NOT NULL GROUP BY run_id HAVING count(*) > 1 ORDER BY run_id",
        [],
        |row| Ok((get(row, "run_id")?, get::<String>(row, "keys")?.split(' ').map(str::to_owned).collect())),
    )
}

/// How many occurrences stand where; stretches count as many as they have.
pub(super) fn counts(connection: &Connection) -> Result<Vec<(Status, u64)>, HistoryError> {
    collect(connection, "SELECT status, sum(count) AS n FROM occurrence GROUP BY status", [], |row| {
        let count: i64 = get(row, "n")?;
        Ok((parsed(row, "status", Status::from_word)?, count.unsigned_abs()))
    })
}

/// A single fact.
pub(super) fn meta_instant(connection: &Connection, name: &str) -> Result<Option<DateTime<Utc>>, HistoryError> {
    let value = one(connection, "SELECT value FROM meta WHERE name = ?", [name], |row| instant(row, "value"))?;
    Ok(value)
}

/// Reads all rows of an answer.
pub(super) fn collect<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, HistoryError>,
) -> Result<Vec<T>, HistoryError> {
    let mut statement = connection.prepare(sql).map_err(HistoryError::sqlite("read"))?;
    let mut rows = statement.query(values).map_err(HistoryError::sqlite("read"))?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(HistoryError::sqlite("read"))? {
        all.push(read(row)?);
    }
    Ok(all)
}

fn one<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, HistoryError>,
) -> Result<Option<T>, HistoryError> {
    Ok(collect(connection, sql, values, read)?.into_iter().next())
}

/// The SQL of every walk of a filter, for tests of the query plans.
#[cfg(test)]
pub(super) fn history_sql(filter: &HistoryFilter) -> Vec<(String, usize)> {
    walks(filter).into_iter().map(|walk| (walk.sql(), walk.values.len() + 1)).collect()
}
