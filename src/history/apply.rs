//! What each [`Change`] becomes: one or two statements, all of a list in one transaction.
//!
//! Every statement is prepared once for each connection. A change that contradicts what is stored (a second row for one
//! occurrence, a status for one that is not there) is an error, never passed over: the engine and the history would
//! disagree from then on.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use rusqlite::{Connection, ErrorCode, OptionalExtension, ToSql, Transaction, TransactionBehavior, named_params};

use super::{HistoryError, HistoryOptions, alarms, text::cut};
use crate::{
    clock::{rfc3339, rfc3339_millis},
    crash_point::crash_point,
    engine::{
        Change, Reason, RunReport, Status,
        change::{AttemptOutcome, MirrorCopy, NewOccurrence, NoteKind, Ownership, Pause},
    },
    ids::{OccurrenceKey, RunId, ScheduleId, ServerScheduleId, WorkflowId},
    schedule::Definition,
};

/// Of a text for people (a reason, a message, a note) at most this many bytes are stored.
pub(super) const TEXT_BYTES_MAX: usize = 4096;

/// Applies the lists in their order, in one transaction. On an error the transaction is rolled back.
pub(super) fn apply(
    connection: &mut Connection,
    options: &HistoryOptions,
    lists: &[&[Change]],
) -> Result<(), HistoryError> {
    // Immediate: the write lock is taken at once, so that waiting for it happens here and not in the middle.
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(HistoryError::sqlite("write"))?;
    let writer = Writer { transaction: &transaction, body_bytes_max: options.body_bytes_max };
    let mut latest: Option<DateTime<Utc>> = None;
    let mut stepped = false;
    for change in lists.iter().copied().flatten() {
        writer.change(change)?;
        // From a step of the clock on, what it showed before counts no more.
        let is_step = matches!(change, Change::Noted { kind: NoteKind::ClockStepped, .. });
        stepped |= is_step;
        latest = if is_step { Some(instant_of(change)) } else { latest.max(Some(instant_of(change))) };
    }
    if let Some(latest) = latest {
        writer.execute(
            "INSERT INTO meta (name, value) VALUES ('latest_instant', :at)
                 ON CONFLICT (name) DO UPDATE SET value = iif(:stepped, excluded.value, max(value, excluded.value))",
            named_params! { ":at": rfc3339_millis(latest), ":stepped": stepped },
        )?;
    }
    crash_point("in-transaction");
    transaction.commit().map_err(HistoryError::sqlite("write"))
}

/// When a change happened, by the clock of this machine.
fn instant_of(change: &Change) -> DateTime<Utc> {
    match change {
        Change::AccountedThrough { through, .. } => *through,
        Change::Occurred(new) => new.at,
        Change::AlarmRaised(alarm) | Change::AlarmsFolded { summary: alarm, .. } => alarm.at,
        Change::Reopened { at, .. }
        | Change::Withdrawn { at, .. }
        | Change::Defined { at, .. }
        | Change::StatusChanged { at, .. }
        | Change::AttemptBegun { at, .. }
        | Change::AttemptEnded { at, .. }
        | Change::RunReported { at, .. }
        | Change::Paused { at, .. }
        | Change::AlarmsRemembered { at, .. }
        | Change::AlarmTried { at, .. }
        | Change::OwnerChanged { at, .. }
        | Change::Mirrored { at, .. }
        | Change::Unmirrored { at, .. }
        | Change::Noted { at, .. } => *at,
    }
}

struct Writer<'a> {
    transaction: &'a Transaction<'a>,
    body_bytes_max: usize,
}

impl Writer<'_> {
    fn change(&self, change: &Change) -> Result<(), HistoryError> {
        match change {
            Change::Defined { schedule, at, definition } => self.defined(schedule, *at, definition.as_deref()),
            Change::AccountedThrough { schedule, through } => self.accounted_through(schedule, *through),
            Change::Reopened { schedule, after, .. } => self.reopened(schedule, *after),
            Change::Withdrawn { key, .. } => self.withdrawn(key),
            Change::Occurred(new) => self.occurred(new),
            Change::StatusChanged { key, status, reason, at } => self.status(key, *status, reason.as_ref(), *at),
            Change::AttemptBegun { key, number, at } => self.attempt_begun(key, *number, *at),
            Change::AttemptEnded { key, number, at, outcome, message, http_status, run_id } => self.attempt_ended(
                key,
                *number,
                &AttemptEnd {
                    at: *at,
                    outcome: *outcome,
                    message: message.as_deref(),
                    http_status: *http_status,
                    run_id: run_id.as_ref(),
                },
            ),
            Change::RunReported { key, report, at } => self.run_reported(key, report, *at),
            Change::Paused { schedule, pause, .. } => self.paused(schedule, pause.as_ref()),
            Change::OwnerChanged { schedule, ownership, .. } => self.owner_changed(schedule, ownership),
            Change::Mirrored { copy, at } => self.mirrored(copy, *at),
            Change::Unmirrored { server_schedule_id, .. } => self.unmirrored(server_schedule_id),
            Change::Noted { at, kind, text } => self.noted(*at, *kind, text),
            Change::AlarmRaised(_)
            | Change::AlarmsRemembered { .. }
            | Change::AlarmTried { .. }
            | Change::AlarmsFolded { .. } => alarms::apply(self.transaction, change),
        }
    }

    /// A schedule that is new is accounted for up to this instant: what was due before it was known is not missed.
    fn defined(
        &self,
        schedule: &ScheduleId,
        at: DateTime<Utc>,
        definition: Option<&(Definition, WorkflowId)>,
    ) -> Result<(), HistoryError> {
        let json = definition
            .map(|(definition, _)| serde_json::to_string(definition))
            .transpose()
            .map_err(|error| HistoryError::Damaged(format!("a definition of {schedule} is no JSON: {error}")))?;
        let at = rfc3339_millis(at);
        self.execute(
            "INSERT INTO definition (schedule, at, definition, workflow_id)
             VALUES (:schedule, :at, :definition, :workflow_id)",
            named_params! {
                ":schedule": schedule.as_str(),
                ":at": at,
                ":definition": json,
                ":workflow_id": definition.map(|(_, workflow_id)| workflow_id.as_str()),
            },
        )?;
        self.execute(
            "INSERT INTO schedule (id, definition, accounted_through) VALUES (:schedule, :definition, :at)
                 ON CONFLICT (id) DO UPDATE SET definition = excluded.definition",
            named_params! {
                ":schedule": schedule.as_str(), ":at": at, ":definition": self.transaction.last_insert_rowid(),
            },
        )?;
        // What decided about occurrences that retention removed goes here, where there is more of it, and not in a round of
        // its own over all schedules. The one that was in force at the end of what was removed stays.
        self.execute(
            "DELETE FROM definition
              WHERE schedule = :schedule AND id < (
                    SELECT max(id) FROM definition
                     WHERE schedule = :schedule AND at <= (SELECT value FROM meta WHERE name = 'pruned_through'))",
            named_params! { ":schedule": schedule.as_str() },
        )?;
        Ok(())
    }

    fn accounted_through(&self, schedule: &ScheduleId, through: DateTime<Utc>) -> Result<(), HistoryError> {
        // With milliseconds, although it is an instant of the timetable, so that these texts sort whatever they came from.
        let rows = self.execute(
            "UPDATE schedule SET accounted_through = :through WHERE id = :schedule",
            named_params! { ":schedule": schedule.as_str(), ":through": rfc3339_millis(through) },
        )?;
        found(rows, "definition", schedule)
    }

    fn reopened(&self, schedule: &ScheduleId, after: DateTime<Utc>) -> Result<(), HistoryError> {
        self.execute(
            "DELETE FROM occurrence
              WHERE schedule = :schedule AND suffix = '' AND scheduled_for > :after AND attempts = 0
                AND (status IN ('skipped', 'missed') OR (status = 'unknown' AND through IS NOT NULL))
                -- What lies beyond even that was left when it was taken back before, and has its word already.
                AND scheduled_for <= (SELECT substr(accounted_through, 1, 19) || 'Z' FROM schedule WHERE id = :schedule)",
            named_params! { ":schedule": schedule.as_str(), ":after": whole_second(after) },
        )?;
        self.accounted_through(schedule, after)
    }

    fn withdrawn(&self, key: &OccurrenceKey) -> Result<(), HistoryError> {
        let rows = self.execute(
            "DELETE FROM occurrence
              WHERE schedule = :schedule AND scheduled_for = :scheduled_for AND suffix = :suffix AND instance = :instance
                AND status = 'pending' AND attempts = 0",
            named_params! {
                ":schedule": key.schedule.as_str(),
                ":scheduled_for": rfc3339(key.scheduled_for),
                ":suffix": key.suffix,
                ":instance": key.instance.as_str(),
            },
        )?;
        found(rows, "untouched row", key)
    }

    fn occurred(&self, new: &NewOccurrence) -> Result<(), HistoryError> {
        let parameters =
            new.parameters.as_ref().map(serde_json::to_string).transpose().map_err(|error| {
                HistoryError::Damaged(format!("the parameters of {} are no JSON: {error}", new.key))
            })?;
        self.execute(
            "INSERT INTO occurrence (instance, schedule, scheduled_for, suffix, workflow_id, trigger, status, reason,
                                     decided_at, count, through, parameters)
             VALUES (:instance, :schedule, :scheduled_for, :suffix, :workflow_id, :trigger, :status, :reason,
                     :at, :count, :through, :parameters)",
            named_params! {
                ":instance": new.key.instance.as_str(),
                ":schedule": new.key.schedule.as_str(),
                ":scheduled_for": rfc3339(new.key.scheduled_for),
                ":suffix": new.key.suffix,
                ":workflow_id": new.workflow_id.as_str(),
                ":trigger": new.trigger.word(),
                ":status": new.status.word(),
                ":reason": reason_text(new.reason.as_ref()),
                ":at": rfc3339_millis(new.at),
                ":count": new.count,
                ":through": new.through.map(rfc3339),
                ":parameters": parameters,
            },
        )
        .map_err(|error| match error {
            HistoryError::Sqlite { cause, .. } if is_unique_violation(&cause) => {
                HistoryError::Duplicate(new.key.clone())
            }
            other => other,
        })?;
        Ok(())
    }

    /// The end of a run has an instant even where the server named none; a run that goes on after all has none.
    fn status(
        &self,
        key: &OccurrenceKey,
        status: Status,
        reason: Option<&Reason>,
        at: DateTime<Utc>,
    ) -> Result<(), HistoryError> {
        let rows = self.execute(
            "UPDATE occurrence SET status = :status, reason = :reason, finished_at = CASE
                    WHEN :status IN ('completed', 'failed', 'terminated', 'timed_out', 'canceled')
                        THEN coalesce(finished_at, :at)
                    WHEN :status IN ('pending', 'launching', 'running') THEN NULL
                    ELSE finished_at END
              WHERE schedule = :schedule AND scheduled_for = :scheduled_for AND suffix = :suffix AND instance = :instance",
            named_params! {
                ":status": status.word(),
                ":reason": reason_text(reason),
                ":at": rfc3339_millis(at),
                ":schedule": key.schedule.as_str(),
                ":scheduled_for": rfc3339(key.scheduled_for),
                ":suffix": key.suffix,
                ":instance": key.instance.as_str(),
            },
        )?;
        found(rows, "row", key)
    }

    fn attempt_begun(&self, key: &OccurrenceKey, number: u32, at: DateTime<Utc>) -> Result<(), HistoryError> {
        let at = rfc3339_millis(at);
        let id = self.row_id(
            "UPDATE occurrence SET status = 'launching', attempts = :number, launched_at = :at
              WHERE schedule = :schedule AND scheduled_for = :scheduled_for AND suffix = :suffix AND instance = :instance
             RETURNING id",
            named_params! {
                ":number": number,
                ":at": at,
                ":schedule": key.schedule.as_str(),
                ":scheduled_for": rfc3339(key.scheduled_for),
                ":suffix": key.suffix,
                ":instance": key.instance.as_str(),
            },
            key,
        )?;
        self.execute(
            "INSERT INTO attempt (occurrence, number, begun_at) VALUES (:occurrence, :number, :at)",
            named_params! { ":occurrence": id, ":number": number, ":at": at },
        )?;
        Ok(())
    }

    /// May come twice for one attempt: first as `unknown`, then as what a look at the server found.
    fn attempt_ended(&self, key: &OccurrenceKey, number: u32, end: &AttemptEnd<'_>) -> Result<(), HistoryError> {
        let run_id = end.run_id.map(RunId::as_str);
        // The row is touched where there is a run id to add, else only looked up.
        let sql = if run_id.is_some() {
            "UPDATE occurrence SET run_id = :run_id
              WHERE schedule = :schedule AND scheduled_for = :scheduled_for AND suffix = :suffix AND instance = :instance
             RETURNING id"
        } else {
            "SELECT id FROM occurrence
              WHERE schedule = :schedule AND scheduled_for = :scheduled_for AND suffix = :suffix AND instance = :instance
                AND :run_id IS NULL"
        };
        let id = self.row_id(
            sql,
            named_params! {
                ":run_id": run_id,
                ":schedule": key.schedule.as_str(),
                ":scheduled_for": rfc3339(key.scheduled_for),
                ":suffix": key.suffix,
                ":instance": key.instance.as_str(),
            },
            key,
        )?;
        let rows = self.execute(
            "UPDATE attempt SET ended_at = :at, outcome = :outcome, http_status = :http_status, message = :message,
                                run_id = :run_id
              WHERE occurrence = :occurrence AND number = :number",
            named_params! {
                ":at": rfc3339_millis(end.at),
                ":outcome": end.outcome.word(),
                ":http_status": end.http_status,
                ":message": end.message.map(|text| cut(text, TEXT_BYTES_MAX)),
                ":run_id": run_id,
                ":occurrence": id,
                ":number": number,
            },
        )?;
        found(rows, "such attempt", key)
    }

    fn run_reported(&self, key: &OccurrenceKey, report: &RunReport, at: DateTime<Utc>) -> Result<(), HistoryError> {
        let id = self.row_id(
            "UPDATE occurrence SET run_id = :run_id, launched_at = coalesce(launched_at, :created_at),
                    finished_at = iif(:over, coalesce(:finished_at, finished_at), NULL)
              WHERE schedule = :schedule AND scheduled_for = :scheduled_for AND suffix = :suffix AND instance = :instance
             RETURNING id",
            named_params! {
                ":run_id": report.run_id.as_str(),
                ":created_at": report.created_at.map(rfc3339_millis),
                ":finished_at": report.finished_at.map(rfc3339_millis),
                ":over": report.is_over(),
                ":schedule": key.schedule.as_str(),
                ":scheduled_for": rfc3339(key.scheduled_for),
                ":suffix": key.suffix,
                ":instance": key.instance.as_str(),
            },
            key,
        )?;
        let mut bodies = Bodies { bytes_max: self.body_bytes_max, truncated: report.truncated };
        let screenshot_urls = bodies.list(&report.screenshot_urls);
        let [app_url, recording_url, failure_reason, errors, downloaded_files, output] = [
            &report.app_url,
            &report.recording_url,
            &report.failure_reason,
            &report.errors,
            &report.downloaded_files,
            &report.output,
        ]
        .map(|text| text.as_deref().map(|text| bodies.text(text)));
        self.execute(
            "INSERT OR REPLACE INTO run (occurrence, status, run_type, retry_pending, attempt, next_attempt_at, created_at,
                 modified_at, queued_at, started_at, finished_at, browser_session_id, reported_at, truncated, app_url,
                 recording_url, failure_reason, screenshot_urls, errors, downloaded_files, output)
             VALUES (:occurrence, :status, :run_type, :retry_pending, :attempt, :next_attempt_at, :created_at,
                 :modified_at, :queued_at, :started_at, :finished_at, :browser_session_id, :reported_at, :truncated, :app_url,
                 :recording_url, :failure_reason, :screenshot_urls, :errors, :downloaded_files, :output)",
            named_params! {
                ":occurrence": id,
                ":status": cut(report.status.word(), TEXT_BYTES_MAX),
                ":run_type": report.run_type,
                ":retry_pending": report.retry_pending,
                ":attempt": report.attempt,
                ":next_attempt_at": report.next_attempt_at.map(rfc3339_millis),
                ":created_at": report.created_at.map(rfc3339_millis),
                ":modified_at": report.modified_at.map(rfc3339_millis),
                ":queued_at": report.queued_at.map(rfc3339_millis),
                ":started_at": report.started_at.map(rfc3339_millis),
                ":finished_at": report.finished_at.map(rfc3339_millis),
                ":browser_session_id": report.browser_session_id,
                ":reported_at": rfc3339_millis(at),
                ":app_url": app_url,
                ":recording_url": recording_url,
                ":failure_reason": failure_reason,
                ":screenshot_urls": screenshot_urls,
                ":errors": errors,
                ":downloaded_files": downloaded_files,
                ":output": output,
                ":truncated": bodies.truncated,
            },
        )?;
        Ok(())
    }

    fn paused(&self, schedule: &ScheduleId, pause: Option<&Pause>) -> Result<(), HistoryError> {
        let rows = self.execute(
            "UPDATE schedule SET paused_since = :since, paused_until = :until, pause_note = :note WHERE id = :schedule",
            named_params! {
                ":since": pause.map(|pause| rfc3339_millis(pause.since)),
                ":until": pause.and_then(|pause| pause.until).map(rfc3339_millis),
                ":note": pause.and_then(|pause| pause.note.as_deref()).map(|text| cut(text, TEXT_BYTES_MAX)),
                ":schedule": schedule.as_str(),
            },
        )?;
        found(rows, "definition", schedule)
    }

    fn owner_changed(&self, schedule: &ScheduleId, ownership: &Ownership) -> Result<(), HistoryError> {
        let copy = ownership.copy.as_ref();
        let rows = self.execute(
            "UPDATE schedule SET owner = :owner, owner_since = :since, server_schedule = :copy, server_workflow = :workflow
              WHERE id = :schedule",
            named_params! {
                ":owner": ownership.owner.word(),
                ":since": rfc3339_millis(ownership.since),
                ":copy": copy.map(|copy| copy.id.as_str()),
                ":workflow": copy.map(|copy| copy.workflow_id.as_str()),
                ":schedule": schedule.as_str(),
            },
        )?;
        found(rows, "definition", schedule)
    }

    fn mirrored(&self, copy: &MirrorCopy, at: DateTime<Utc>) -> Result<(), HistoryError> {
        self.execute(
            "INSERT OR REPLACE INTO mirror (server_schedule_id, instance, schedule, workflow_id, applied, applied_at)
             VALUES (:server_schedule_id, :instance, :schedule, :workflow_id, :applied, :at)",
            named_params! {
                ":server_schedule_id": copy.server_schedule_id.as_str(),
                ":instance": copy.instance.as_str(),
                ":schedule": copy.schedule.as_str(),
                ":workflow_id": copy.workflow_id.as_str(),
                ":applied": copy.applied,
                ":at": rfc3339_millis(at),
            },
        )?;
        Ok(())
    }

    /// One that is not known is not known afterwards either.
    fn unmirrored(&self, id: &ServerScheduleId) -> Result<(), HistoryError> {
        self.execute("DELETE FROM mirror WHERE server_schedule_id = :id", named_params! { ":id": id.as_str() })?;
        Ok(())
    }

    fn noted(&self, at: DateTime<Utc>, kind: NoteKind, text: &str) -> Result<(), HistoryError> {
        self.execute(
            "INSERT INTO note (at, kind, text) VALUES (:at, :kind, :text)",
            named_params! { ":at": rfc3339_millis(at), ":kind": kind.word(), ":text": cut(text, TEXT_BYTES_MAX) },
        )?;
        Ok(())
    }

    fn execute(&self, sql: &str, values: &[(&str, &dyn ToSql)]) -> Result<usize, HistoryError> {
        self.transaction
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map_err(HistoryError::sqlite("write"))
    }

    /// Runs a statement that answers with the row id of the occurrence that it found.
    fn row_id(&self, sql: &str, values: &[(&str, &dyn ToSql)], key: &OccurrenceKey) -> Result<i64, HistoryError> {
        self.transaction
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(values, |row| row.get(0)).optional())
            .map_err(HistoryError::sqlite("write"))?
            .ok_or_else(|| HistoryError::Missing { what: "row", name: key.to_string() })
    }
}

/// The parts of [`Change::AttemptEnded`].
struct AttemptEnd<'a> {
    at: DateTime<Utc>,
    outcome: AttemptOutcome,
    message: Option<&'a str>,
    http_status: Option<u16>,
    run_id: Option<&'a RunId>,
}

/// Cuts the bodies of one report to their limit and remembers whether it had to.
struct Bodies {
    bytes_max: usize,
    truncated: bool,
}

impl Bodies {
    fn text<'a>(&mut self, text: &'a str) -> &'a str {
        let kept = cut(text, self.bytes_max);
        self.truncated |= kept.len() < text.len();
        kept
    }

    /// A JSON array, kept whole or not at all; `None` also for an empty list.
    fn list(&mut self, texts: &[String]) -> Option<String> {
        if texts.is_empty() {
            return None;
        }
        let json = serde_json::Value::from(texts.to_vec()).to_string();
        if json.len() > self.bytes_max {
            self.truncated = true;
            return None;
        }
        Some(json)
    }
}

/// The second that an instant lies in, as instants of the timetable are written: these texts sort only among themselves.
pub(super) fn whole_second(instant: DateTime<Utc>) -> String {
    rfc3339(instant.duration_trunc(TimeDelta::seconds(1)).unwrap_or(instant))
}

fn reason_text(reason: Option<&Reason>) -> Option<String> {
    reason.map(|reason| {
        let mut text = reason.to_string();
        text.truncate(cut(&text, TEXT_BYTES_MAX).len());
        text
    })
}

fn found(rows: usize, what: &'static str, name: &dyn std::fmt::Display) -> Result<(), HistoryError> {
    if rows == 1 { Ok(()) } else { Err(HistoryError::Missing { what, name: name.to_string() }) }
}

fn is_unique_violation(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        error.code == ErrorCode::ConstraintViolation && error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
    })
}
