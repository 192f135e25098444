//! What a starting engine is told: the schedules, what is open, and the latest instant. Reading only.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, Row, named_params};

use super::{
    HistoryError,
    apply::whole_second,
    query::{collect, meta_instant},
    text::{get, instant, optional, optional_instant, optional_json, parsed},
};
use crate::{
    clock::{is_surely_wrong, rfc3339_millis},
    engine::change::{
        Ahead, AttemptOutcome, Memory, OpenOccurrence, Owner, Ownership, Pause, ScheduleMemory, ServerCopy,
    },
    engine::{Status, Trigger},
    ids::{Instance, OccurrenceKey, RunId, ScheduleId, ServerScheduleId, WorkflowId},
};

/// Reads everything.
pub(super) fn memory(connection: &Connection) -> Result<Memory, HistoryError> {
    let schedules = collect(
        connection,
        "SELECT s.id, d.definition, d.workflow_id, s.accounted_through, s.paused_since, s.paused_until, s.pause_note,
                s.owner, s.owner_since, s.server_schedule, s.server_workflow,
                -- The latest one that the server was to start, if it was not.
                iif(s.owner = 'local', NULL, (
                    SELECT iif(o.trigger = 'server' AND o.status = 'missed' AND o.attempts = 0, o.scheduled_for, NULL)
                      FROM occurrence AS o WHERE o.schedule = s.id AND o.suffix = ''
                     ORDER BY o.scheduled_for DESC LIMIT 1)) AS late
           FROM schedule AS s JOIN definition AS d ON d.id = s.definition
          WHERE d.definition IS NOT NULL
          ORDER BY s.id",
        [],
        schedule,
    )?;
    let open = collect(
        connection,
        "SELECT o.instance, o.schedule, o.scheduled_for, o.suffix, o.workflow_id, o.trigger, o.status, o.decided_at,
                o.attempts, o.run_id, o.parameters, first.begun_at AS first_begun_at, last.begun_at, last.outcome
           FROM occurrence AS o
           LEFT JOIN attempt AS first ON first.occurrence = o.id AND first.number = 1
           LEFT JOIN attempt AS last ON last.occurrence = o.id AND last.number = o.attempts
          WHERE o.status IN ('pending', 'launching', 'running')
          ORDER BY o.scheduled_for, o.id",
        [],
        open,
    )?;
    let orphans = collect(
        connection,
        "SELECT s.id, s.owner, s.owner_since, s.server_schedule, s.server_workflow
           FROM schedule AS s JOIN definition AS d ON d.id = s.definition
          WHERE d.definition IS NULL AND s.owner != 'local'
          ORDER BY s.id",
        [],
        |row| Ok((parsed(row, "id", |text| ScheduleId::new(text).ok())?, ownership(row)?)),
    )?;
    let latest_instant = meta_instant(connection, "latest_instant")?;
    Ok(Memory { schedules, open, orphans, latest_instant })
}

/// What there is about the time after `now`, and what was tried beyond what is accounted for: both come of a clock that was
/// ahead once.
pub(super) fn ahead(connection: &Connection, now: DateTime<Utc>) -> Result<Vec<Ahead>, HistoryError> {
    // From the first stretch that reaches beyond the present on, else from the present on.
    let reopened = collect(
        connection,
        "SELECT s.id, s.accounted_through, d.definition, d.workflow_id, d.at AS defined_at,
                (SELECT min(o.scheduled_for) FROM occurrence AS o
                  WHERE o.schedule = s.id AND o.suffix = '' AND o.attempts = 0
                    AND o.status IN ('skipped', 'missed', 'unknown')
                    AND o.through > :second AND o.scheduled_for <= :second) AS stretch
           FROM schedule AS s JOIN definition AS d ON d.id = s.definition
          WHERE s.accounted_through > :now",
        named_params! { ":now": rfc3339_millis(now), ":second": whole_second(now) },
        |row| {
            let stretch = optional_instant(row, "stretch")?;
            let after = stretch.map_or(now, |first| first - TimeDelta::seconds(1));
            let workflow_id: Option<WorkflowId> = optional(row, "workflow_id", |text| WorkflowId::new(text).ok())?;
            let definition = optional_json(row, "definition")?.zip(workflow_id).map(Box::new);
            let redefine = (instant(row, "defined_at")? > after).then_some(definition);
            let id = parsed(row, "id", |text| ScheduleId::new(text).ok())?;
            let reopen_after = (!is_surely_wrong(now)).then_some(after);
            let accounted_through = instant(row, "accounted_through")?;
            Ok(Ahead { schedule: id, accounted_through, reopen_after, redefine, tried: Vec::new() })
        },
    )?;
    let mut all: BTreeMap<ScheduleId, Ahead> =
        reopened.into_iter().map(|ahead| (ahead.schedule.clone(), ahead)).collect();
    for ahead in all.values_mut() {
        ahead.tried = collect(
            connection,
            "SELECT scheduled_for FROM occurrence
              WHERE schedule = :schedule AND scheduled_for > :after AND suffix = ''
                AND (scheduled_for > :through OR NOT (
                        attempts = 0 AND (status IN ('skipped', 'missed') OR (status = 'unknown' AND through IS NOT NULL))))",
            named_params! {
                ":schedule": ahead.schedule.as_str(),
                ":after": whole_second(ahead.reopen_after.unwrap_or(ahead.accounted_through)),
                ":through": whole_second(ahead.accounted_through),
            },
            |row| instant(row, "scheduled_for"),
        )?;
    }
    let tried = collect(
        connection,
        "SELECT s.id, s.accounted_through, o.scheduled_for
           FROM schedule AS s JOIN occurrence AS o
             ON o.schedule = s.id AND o.scheduled_for > substr(s.accounted_through, 1, 19) || 'Z' AND o.suffix = ''
          WHERE s.accounted_through <= :now",
        named_params! { ":now": rfc3339_millis(now) },
        |row| {
            let id = parsed(row, "id", |text| ScheduleId::new(text).ok())?;
            Ok((id, instant(row, "accounted_through")?, instant(row, "scheduled_for")?))
        },
    )?;
    for (schedule, accounted_through, at) in tried {
        let none = Ahead {
            schedule: schedule.clone(),
            accounted_through,
            reopen_after: None,
            redefine: None,
            tried: Vec::new(),
        };
        all.entry(schedule).or_insert(none).tried.push(at);
    }
    Ok(all.into_values().collect())
}

fn schedule(row: &Row<'_>) -> Result<ScheduleMemory, HistoryError> {
    Ok(ScheduleMemory {
        id: parsed(row, "id", |text| ScheduleId::new(text).ok())?,
        definition: parsed(row, "definition", |text| serde_json::from_str(text).ok())?,
        workflow_id: parsed(row, "workflow_id", |text| WorkflowId::new(text).ok())?,
        accounted_through: instant(row, "accounted_through")?,
        pause: pause(row)?,
        ownership: ownership(row)?,
        late: optional_instant(row, "late")?,
    })
}

/// Who fires a schedule, from its four columns.
pub(super) fn ownership(row: &Row<'_>) -> Result<Ownership, HistoryError> {
    let id: Option<ServerScheduleId> = optional(row, "server_schedule", |text| ServerScheduleId::new(text).ok())?;
    let workflow_id: Option<WorkflowId> = optional(row, "server_workflow", |text| WorkflowId::new(text).ok())?;
    Ok(Ownership {
        owner: parsed(row, "owner", Owner::from_word)?,
        since: optional_instant(row, "owner_since")?.unwrap_or_default(),
        copy: id.zip(workflow_id).map(|(id, workflow_id)| ServerCopy { id, workflow_id }),
    })
}

/// The pause of a schedule, from its three columns.
pub(super) fn pause(row: &Row<'_>) -> Result<Option<Pause>, HistoryError> {
    let Some(since) = optional_instant(row, "paused_since")? else {
        return Ok(None);
    };
    Ok(Some(Pause { since, until: optional_instant(row, "paused_until")?, note: get(row, "pause_note")? }))
}

fn open(row: &Row<'_>) -> Result<OpenOccurrence, HistoryError> {
    Ok(OpenOccurrence {
        key: key(row)?,
        workflow_id: parsed(row, "workflow_id", |text| WorkflowId::new(text).ok())?,
        trigger: parsed(row, "trigger", Trigger::from_word)?,
        status: parsed(row, "status", Status::from_word)?,
        at: instant(row, "decided_at")?,
        attempt_number: get(row, "attempts")?,
        first_attempt_at: optional_instant(row, "first_begun_at")?,
        attempt_begun_at: optional_instant(row, "begun_at")?,
        attempt_outcome: optional(row, "outcome", AttemptOutcome::from_word)?,
        run_id: optional(row, "run_id", |text| RunId::new(text).ok())?,
        parameters: optional_json(row, "parameters")?,
    })
}

/// The name of an occurrence, from its four columns.
pub(super) fn key(row: &Row<'_>) -> Result<OccurrenceKey, HistoryError> {
    Ok(OccurrenceKey {
        instance: parsed(row, "instance", |text| Instance::new(text).ok())?,
        schedule: parsed(row, "schedule", |text| ScheduleId::new(text).ok())?,
        scheduled_for: instant(row, "scheduled_for")?,
        suffix: get(row, "suffix")?,
    })
}
