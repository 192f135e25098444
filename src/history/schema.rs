//! The shape of the database: its migrations, and the settings that every connection needs.
//!
//! A migration that was released is never edited; a change of the shape is a new numbered file. What the tables mean is said
//! in those files, beside the tables. Reading and writing rows is not done here.

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

use super::HistoryError;

/// Every migration, in order. Its index plus one is the `user_version` that it leaves.
const STEPS: &[M<'static>] = &[
    M::up(include_str!("migrations/0001_first.sql")),
    M::up(include_str!("migrations/0002_mirror.sql")),
    M::up(include_str!("migrations/0003_owner.sql")),
    M::up(include_str!("migrations/0004_alarms.sql")),
];

/// The migrations as the library wants them.
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// `application_id` of our databases: "skyc".
const APPLICATION_ID: i32 = 0x736B_7963;

/// The version of the shape that this program knows.
pub(super) fn known_version() -> usize {
    STEPS.len()
}

/// Brings an open database to the latest shape. A crash in between leaves the shape before or after a whole step.
///
/// # Errors
/// A database of another program, of a newer skycron, or one that cannot be written.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), HistoryError> {
    check(connection)?;
    MIGRATIONS.to_latest(connection).map_err(|error| match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => HistoryError::sqlite("migrate")(err),
        other => HistoryError::Migration(other.to_string()),
    })
}

/// Whether an open database is one that this program can read; a reader also needs it to be at the latest shape.
///
/// # Errors
/// A database of another program, or of a newer skycron.
pub(super) fn check(connection: &Connection) -> Result<usize, HistoryError> {
    let version: i64 = pragma(connection, "user_version")?;
    let application: i32 = pragma(connection, "application_id")?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(HistoryError::sqlite("read"))?;
    if application != APPLICATION_ID && (tables > 0 || version != 0) {
        return Err(HistoryError::Foreign);
    }
    match usize::try_from(version) {
        Ok(version) if version <= known_version() => Ok(version),
        _ => Err(HistoryError::Newer { found: version, known: known_version() }),
    }
}

fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> Result<T, HistoryError> {
    connection.pragma_query_value(None, name, |row| row.get(0)).map_err(HistoryError::sqlite("read"))
}

/// Sets up the connection that writes. `WAL`, so that readers and the writer do not wait for each other;
/// `synchronous=FULL`, so that a commit is on the disk when it returns.
pub(super) fn set_up_writer(connection: &Connection) -> rusqlite::Result<()> {
    // A person may hold the write lock with sqlite3. A short wait; beyond it the writer thread says that it is stalled.
    connection.busy_timeout(std::time::Duration::from_millis(500))?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Checkpoints cost a sync of the whole file: they are made by `Store::checkpoint`, when nobody waits for a commit.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // After a burst the log shrinks to this many bytes again.
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    // KiB of pages kept in memory, negative by SQLite's convention: the tail of each index, and a burst's new rows.
    connection.pragma_update(None, "cache_size", -8192)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // Every statement of `apply` stays prepared.
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::MIGRATIONS;

    #[test]
    fn every_migration_applies() {
        MIGRATIONS.validate().unwrap();
    }
}
