//! Retention: removing old occurrences, a slice at a time, so that nothing that is due waits for it.
//!
//! Old by when they were decided, not by when they were due: a backfill of last year that was made today is new. What is open
//! is never removed. Definitions that were replaced, notes and alarms go by the same age.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, TransactionBehavior, named_params};

use super::HistoryError;
use crate::clock::rfc3339_millis;

/// What is kept. Both bounds hold; without any, everything is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// What was decided before this instant goes.
    pub before: Option<DateTime<Utc>>,
    /// Of all schedules together, at most about this many occurrences stay, the newest.
    pub occurrences_max: Option<u64>,
}

/// What one slice did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Occurrences that were removed.
    pub occurrences: u32,
    /// Whether there may be more to remove.
    pub more: bool,
}

/// Rows are decided in the order of their ids, but for a clock that was set. After this many rows that must stay by their
/// age, the rest is taken to be newer still.
const STAYING_ROWS_MAX: u32 = 1000;

/// One slice, in one transaction.
pub(super) fn prune(connection: &mut Connection, retention: &Retention, rows_max: u32) -> Result<Pruned, HistoryError> {
    run(connection, retention, rows_max).map_err(HistoryError::sqlite("prune"))
}

fn run(connection: &mut Connection, retention: &Retention, rows_max: u32) -> rusqlite::Result<Pruned> {
    let before = retention.before.map(rfc3339_millis);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let last_id: i64 = transaction.query_row("SELECT coalesce(max(id), 0) FROM occurrence", [], |row| row.get(0))?;
    // Ids are given in order and only this module takes any away, from the front: they count the rows.
    let last_id_to_go = match retention.occurrences_max {
        Some(kept) => last_id.saturating_sub(i64::try_from(kept).unwrap_or(i64::MAX)),
        None => 0,
    };
    let (ids, pruned_through) = victims(&transaction, before.as_deref(), last_id_to_go, rows_max)?;
    {
        let mut delete = transaction.prepare_cached("DELETE FROM occurrence WHERE id = :id")?;
        for id in &ids {
            delete.execute(named_params! { ":id": id })?;
        }
    }
    if let Some(through) = pruned_through {
        transaction.execute(
            "INSERT INTO meta (name, value) VALUES ('pruned_through', :through)
                 ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
            named_params! { ":through": through },
        )?;
    }
    let notes = transaction.execute(
        "DELETE FROM note WHERE id IN (SELECT id FROM note WHERE at < :before ORDER BY at LIMIT :rows_max)",
        named_params! { ":before": before, ":rows_max": rows_max },
    )?;
    let alarms = super::alarms::prune(&transaction, before.as_deref(), rows_max)?;
    transaction.commit()?;
    let occurrences = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    Ok(Pruned { occurrences, more: occurrences >= rows_max || notes.max(alarms) >= rows_max as usize })
}

/// The rows of the next slice, and the last instant that they account for.
fn victims(
    connection: &Connection,
    before: Option<&str>,
    last_id_to_go: i64,
    rows_max: u32,
) -> rusqlite::Result<(Vec<i64>, Option<String>)> {
    let mut ids = Vec::new();
    let mut pruned_through: Option<String> = None;
    let mut staying = 0;
    let mut statement = connection.prepare_cached(
        "SELECT id, decided_at, status IN ('pending', 'launching', 'running') AS open, coalesce(through, scheduled_for)
           FROM occurrence ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let decided_at: String = row.get(1)?;
        let open: bool = row.get(2)?;
        if open {
            continue;
        }
        if id > last_id_to_go && before.is_none_or(|before| decided_at.as_str() >= before) {
            staying += 1;
            if staying >= STAYING_ROWS_MAX {
                break;
            }
            continue;
        }
        pruned_through = pruned_through.max(Some(row.get(3)?));
        ids.push(id);
        if ids.len() >= rows_max as usize {
            break;
        }
    }
    Ok((ids, pruned_through))
}
