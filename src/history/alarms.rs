//! The queue of alarms, as SQL: rows that wait, what became of them, and what is remembered to decide about them.
//!
//! What is told, when, and how it is sent is `alarm`'s business.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, ToSql, Transaction, named_params};
use serde_json::{Map, Value};

use super::{
    HistoryError,
    apply::TEXT_BYTES_MAX,
    query::collect,
    text::{cut, get, instant, optional_instant, parsed},
};
use crate::{
    clock::rfc3339_millis,
    engine::{
        Change,
        alarm::{AlarmEnd, AlarmEvent, NewAlarm},
    },
    ids::{ChannelName, ScheduleId},
};

/// Alarms that are over and stay for people to look at, at most.
const ENDED_ROWS_MAX: u32 = 100_000;

/// An alarm that waits to be sent, without what it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingAlarm {
    /// Its row.
    pub row: i64,
    /// Its name.
    pub id: String,
    /// For whom.
    pub channel: ChannelName,
    /// What.
    pub event: AlarmEvent,
    /// About which schedule.
    pub schedule: Option<String>,
    /// When it was raised.
    pub raised_at: DateTime<Utc>,
    /// How often it was tried in vain.
    pub tries: u32,
}

/// How a channel stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmChannelRow {
    /// Its name.
    pub channel: String,
    /// Alarms that wait.
    pub waiting: u32,
    /// The oldest of these.
    pub waiting_since: Option<DateTime<Utc>>,
    /// Why the latest try of one that waits failed.
    pub error: Option<String>,
    /// Alarms that were given up since the instant that was asked for.
    pub dropped: u32,
    /// Why the latest of these was.
    pub dropped_error: Option<String>,
}

/// Applies one of the changes that are about alarms.
pub(super) fn apply(transaction: &Transaction<'_>, change: &Change) -> Result<(), HistoryError> {
    match change {
        Change::AlarmRaised(alarm) => raise(transaction, alarm).map(drop),
        Change::AlarmsRemembered { schedule, memory, .. } => {
            let subject = schedule.as_ref().map_or("", ScheduleId::as_str);
            let values: &[(&str, &dyn ToSql)] = named_params! { ":subject": subject, ":memory": memory };
            match memory {
                Some(_) => execute(
                    transaction,
                    "INSERT INTO alarm_memory (subject, memory) VALUES (:subject, :memory)
                         ON CONFLICT (subject) DO UPDATE SET memory = excluded.memory",
                    values,
                ),
                None => execute(
                    transaction,
                    "DELETE FROM alarm_memory WHERE subject = :subject AND :memory IS NULL",
                    values,
                ),
            }
        }
        Change::AlarmTried { row, at, end, error } => execute(
            transaction,
            // One that is over stays as it is: the sender may tell twice.
            "UPDATE alarm SET tries = tries + 1, error = :error, state = coalesce(:end, state),
                    ended_at = iif(:end IS NULL, NULL, :at)
              WHERE id = :row AND state = 'waiting'",
            named_params! {
                ":row": row,
                ":at": rfc3339_millis(*at),
                ":end": end.map(AlarmEnd::word),
                ":error": error.as_deref().map(|text| cut(text, TEXT_BYTES_MAX)),
            },
        ),
        Change::AlarmsFolded { rows, summary } => {
            let into = raise(transaction, summary)?;
            let at = rfc3339_millis(summary.at);
            rows.iter().try_for_each(|row| {
                execute(
                    transaction,
                    "UPDATE alarm SET state = 'folded', ended_at = :at, folded_into = :into
                      WHERE id = :row AND state = 'waiting'",
                    named_params! { ":row": row, ":at": at, ":into": into },
                )
            })
        }
        _ => Ok(()),
    }
}

/// Adds an alarm, unless it is there already; `None` then.
fn raise(transaction: &Transaction<'_>, alarm: &NewAlarm) -> Result<Option<i64>, HistoryError> {
    let facts = Value::Object(alarm.facts.clone()).to_string();
    let sql = "INSERT INTO alarm (name, channel, event, schedule, raised_at, facts)
               VALUES (:name, :channel, :event, :schedule, :at, :facts)
                   ON CONFLICT (channel, name) DO NOTHING
               RETURNING id";
    transaction
        .prepare_cached(sql)
        .and_then(|mut statement| {
            statement
                .query_row(
                    named_params! {
                        ":name": alarm.id,
                        ":channel": alarm.channel.as_str(),
                        ":event": alarm.event.word(),
                        ":schedule": alarm.schedule.as_ref().map(ScheduleId::as_str),
                        ":at": rfc3339_millis(alarm.at),
                        ":facts": facts,
                    },
                    |row| row.get(0),
                )
                .optional()
        })
        .map_err(HistoryError::sqlite("write"))
}

fn execute(transaction: &Transaction<'_>, sql: &str, values: &[(&str, &dyn ToSql)]) -> Result<(), HistoryError> {
    transaction
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(values))
        .map(drop)
        .map_err(HistoryError::sqlite("write"))
}

/// What is remembered for the sake of alarms, by schedule; `""` is the daemon.
pub(super) fn memories(connection: &Connection) -> Result<BTreeMap<String, String>, HistoryError> {
    let rows = collect(connection, "SELECT subject, memory FROM alarm_memory", [], |row| {
        Ok((get::<String>(row, "subject")?, get::<String>(row, "memory")?))
    })?;
    Ok(rows.into_iter().collect())
}

/// What waits to be sent and was raised after this row, oldest first.
pub(super) fn waiting(connection: &Connection, after: i64, rows_max: u32) -> Result<Vec<WaitingAlarm>, HistoryError> {
    collect(
        connection,
        "SELECT id, name, channel, event, schedule, raised_at, tries FROM alarm INDEXED BY alarm_waiting
          WHERE state = 'waiting' AND id > :after ORDER BY id LIMIT :rows_max",
        named_params! { ":after": after, ":rows_max": rows_max },
        |row| {
            Ok(WaitingAlarm {
                row: get(row, "id")?,
                id: get(row, "name")?,
                channel: parsed(row, "channel", |text| ChannelName::new(text).ok())?,
                event: parsed(row, "event", AlarmEvent::from_word)?,
                schedule: get(row, "schedule")?,
                raised_at: instant(row, "raised_at")?,
                tries: get(row, "tries")?,
            })
        },
    )
}

/// What these alarms tell.
pub(super) fn facts(connection: &Connection, rows: &[i64]) -> Result<BTreeMap<i64, Map<String, Value>>, HistoryError> {
    let mut found = BTreeMap::new();
    for row in rows {
        let facts =
            collect(connection, "SELECT facts FROM alarm WHERE id = :row", named_params! { ":row": row }, |row| {
                parsed(row, "facts", |text| serde_json::from_str(text).ok())
            })?;
        found.extend(facts.into_iter().next().map(|facts| (*row, facts)));
    }
    Ok(found)
}

/// How each channel that has something to tell of stands: what waits, and what was given up since `since`.
pub(super) fn channels(connection: &Connection, since: DateTime<Utc>) -> Result<Vec<AlarmChannelRow>, HistoryError> {
    collect(
        connection,
        "SELECT channel,
                sum(state = 'waiting') AS waiting,
                min(iif(state = 'waiting', raised_at, NULL)) AS waiting_since,
                (SELECT w.error FROM alarm AS w INDEXED BY alarm_waiting
                  WHERE w.channel = a.channel AND w.state = 'waiting' AND w.error IS NOT NULL
                  ORDER BY w.id DESC LIMIT 1) AS error,
                sum(state = 'dropped') AS dropped,
                (SELECT d.error FROM alarm AS d
                  WHERE d.channel = a.channel AND d.state = 'dropped' AND d.ended_at >= :since
                  ORDER BY d.ended_at DESC LIMIT 1) AS dropped_error
           FROM (SELECT channel, state, raised_at FROM alarm INDEXED BY alarm_waiting WHERE state = 'waiting'
                 UNION ALL
                 SELECT channel, state, raised_at FROM alarm INDEXED BY alarm_ended
                  WHERE ended_at >= :since AND state = 'dropped') AS a
          GROUP BY channel ORDER BY channel",
        named_params! { ":since": rfc3339_millis(since) },
        |row| {
            Ok(AlarmChannelRow {
                channel: get(row, "channel")?,
                waiting: get(row, "waiting")?,
                waiting_since: optional_instant(row, "waiting_since")?,
                error: get(row, "error")?,
                dropped: get(row, "dropped")?,
                dropped_error: get(row, "dropped_error")?,
            })
        },
    )
}

/// Removes alarms that are over: those that ended before `before`, and the oldest of too many. At most `rows_max` of them.
pub(super) fn prune(transaction: &Transaction<'_>, before: Option<&str>, rows_max: u32) -> rusqlite::Result<usize> {
    let surplus: Option<String> = transaction
        .query_row(
            "SELECT ended_at FROM alarm INDEXED BY alarm_ended WHERE ended_at IS NOT NULL
              ORDER BY ended_at DESC LIMIT 1 OFFSET :kept",
            named_params! { ":kept": ENDED_ROWS_MAX },
            |row| row.get(0),
        )
        .optional()?;
    let Some(before) = before.map(str::to_owned).max(surplus) else { return Ok(0) };
    transaction.execute(
        "DELETE FROM alarm WHERE id IN
             (SELECT id FROM alarm INDEXED BY alarm_ended WHERE ended_at < :before ORDER BY ended_at LIMIT :rows_max)",
        named_params! { ":before": before, ":rows_max": rows_max },
    )
}
