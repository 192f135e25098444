//! The one connection that writes: opening it safely, and its functions, all synchronous.
//!
//! What the changes become is in `apply`; in which thread this runs is `writer`'s business.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags};

use super::{
    DATABASE_FILE, HistoryError, HistoryOptions, Pruned, Retention, alarms, apply, lock::Lock, memory, prune, query,
    schema,
};
use crate::{
    crash_point::crash_point,
    engine::{
        Change,
        change::{Ahead, Memory, MirrorCopy},
    },
};

/// The history, to be written. There is one for each state folder: it holds the folder's lock.
#[derive(Debug)]
pub struct Store {
    // Before the lock: fields are dropped in this order, and the connection's last checkpoint needs the lock held.
    connection: Connection,
    options: HistoryOptions,
    _lock: Option<Lock>,
}

impl Store {
    /// Opens the history of a state folder, making both if they are not there, and brings its shape up to date.
    ///
    /// If the process dies during or after this, the next call finishes what is left: folder, file, lock and each migration
    /// are made whole or not at all.
    ///
    /// # Errors
    /// [`HistoryError::Locked`]: another process has it. Otherwise: the folder cannot be made or is open to everybody, the
    /// database is damaged, not ours or of a newer skycron, or the disk is full or read-only.
    pub fn open(dir: &Path, options: &HistoryOptions) -> Result<Self, HistoryError> {
        make_folder(dir)?;
        let lock = Lock::take(dir)?;
        let path = dir.join(DATABASE_FILE);
        make_file(dir, &path)?;
        // Something in the log: the last writer did not close the database in order.
        let log_bytes = fs::metadata(dir.join(format!("{DATABASE_FILE}-wal"))).map_or(0, |meta| meta.len());
        let database_bytes = fs::metadata(&path).map_or(0, |meta| meta.len());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(HistoryError::sqlite("open"))?;
        let mut store = Self::set_up(connection, options, Some(lock))?;
        if log_bytes > 0 && log_bytes + database_bytes <= options.check_bytes_max {
            store.quick_check()?;
        }
        store.checkpoint()?;
        Ok(store)
    }

    /// A history in memory, for tests and the simulation: the same statements, without files, lock and durability.
    ///
    /// # Errors
    /// None that is expected.
    pub fn in_memory(options: &HistoryOptions) -> Result<Self, HistoryError> {
        let connection = Connection::open_in_memory().map_err(HistoryError::sqlite("open"))?;
        Self::set_up(connection, options, None)
    }

    fn set_up(connection: Connection, options: &HistoryOptions, lock: Option<Lock>) -> Result<Self, HistoryError> {
        let mut store = Self { connection, options: *options, _lock: lock };
        // Before the first write, so that a foreign or newer database is left as it was.
        schema::check(&store.connection)?;
        schema::set_up_writer(&store.connection).map_err(HistoryError::sqlite("open"))?;
        crash_point("before-migrate");
        schema::migrate(&mut store.connection)?;
        Ok(store)
    }

    /// Writes all of these changes, in this order, or none of them.
    ///
    /// If the process dies after this returned `Ok`, all of them are there. If it dies before, or this returned an error
    /// that [can pass](HistoryError::can_pass), either all or none are there: a failed `fsync` may have reached the disk all
    /// the same. Applying the same list once more on this store is right, since its rollback is then done.
    ///
    /// # Errors
    /// The disk, or changes that contradict the history: an occurrence that is there already, one that is not.
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), HistoryError> {
        self.apply_all(&[changes])
    }

    /// [`Store::apply`] for several lists at once, in one transaction.
    ///
    /// # Errors
    /// As for [`Store::apply`].
    pub fn apply_all(&mut self, lists: &[&[Change]]) -> Result<(), HistoryError> {
        apply::apply(&mut self.connection, &self.options, lists)
    }

    /// What is remembered, for an engine that starts. Reads only; nothing depends on when the process dies.
    ///
    /// # Errors
    /// The database cannot be read, or has a value that skycron did not write.
    pub fn memory(&self) -> Result<Memory, HistoryError> {
        memory::memory(&self.connection)
    }

    /// What is remembered for the sake of alarms: JSON by schedule; `""` is the daemon. Reads only.
    ///
    /// # Errors
    /// As [`Store::memory`].
    pub fn alarm_memories(&self) -> Result<BTreeMap<String, String>, HistoryError> {
        alarms::memories(&self.connection)
    }

    /// What there is about the time after `now`, where the clock was ahead. Reads only.
    ///
    /// # Errors
    /// As [`Store::memory`].
    pub fn ahead(&self, now: DateTime<Utc>) -> Result<Vec<Ahead>, HistoryError> {
        memory::ahead(&self.connection, now)
    }

    /// What is ours among the server's own schedules. Reads only.
    ///
    /// # Errors
    /// As [`Store::memory`].
    pub fn mirror(&self) -> Result<Vec<MirrorCopy>, HistoryError> {
        query::mirror(&self.connection)
    }

    /// Removes up to `rows_max` occurrences that the retention no longer keeps, oldest first, in one transaction. To be called
    /// until [`Pruned::more`] is false.
    ///
    /// If the process dies after this, the rows are gone and `pruned_through` says so; before, neither.
    ///
    /// # Errors
    /// The disk.
    pub fn prune(&mut self, retention: &Retention, rows_max: u32) -> Result<Pruned, HistoryError> {
        prune::prune(&mut self.connection, retention, rows_max)
    }

    /// Moves what is in the log into the database, as far as readers allow. Nothing is lost without it: the log only grows.
    ///
    /// # Errors
    /// The disk.
    pub fn checkpoint(&mut self) -> Result<(), HistoryError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .map_err(HistoryError::sqlite("write"))
    }

    /// Rows written since the store was opened; tells the writer when a checkpoint is due.
    pub(super) fn rows_written(&self) -> u64 {
        self.connection.total_changes()
    }

    /// Closes in order: everything is moved from the log into the database, and the log is removed.
    ///
    /// If the process dies instead, the log stays, and the next opening (a reader's too) takes it over.
    ///
    /// # Errors
    /// The disk. Everything that was applied is durable all the same.
    pub fn close(mut self) -> Result<(), HistoryError> {
        self.checkpoint()?;
        self.connection.close().map_err(|(_, error)| HistoryError::Sqlite { doing: "close", cause: error })
    }

    /// SQLite's own check of the pages, without that of every index entry.
    fn quick_check(&self) -> Result<(), HistoryError> {
        let answer: String = self
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(HistoryError::sqlite("read"))?;
        if answer == "ok" { Ok(()) } else { Err(HistoryError::Damaged(answer)) }
    }

    /// The connection, for tests that look at or disturb what is stored.
    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// Makes the state folder with mode 0700, or looks at the one that is there.
fn make_folder(dir: &Path) -> Result<(), HistoryError> {
    let error = |doing| move |source| HistoryError::Folder { doing, path: dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(error("make"))?;
    let mode = fs::metadata(dir).map_err(error("look at"))?.mode() & 0o7777;
    // Whoever may write to the folder can put another database in place of this one.
    if mode & 0o002 != 0 { Err(HistoryError::Exposed { path: dir.to_owned(), mode }) } else { Ok(()) }
}

/// Makes the database file with mode 0600 before SQLite does it with the umask's; the log files take over its mode.
fn make_file(dir: &Path, path: &Path) -> Result<(), HistoryError> {
    let error = |doing| move |source| HistoryError::Folder { doing, path: path.to_owned(), source };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => {
            // The name of a new file is durable when its folder is.
            File::open(dir).and_then(|folder| folder.sync_all()).map_err(error("make"))
        }
        Err(found) if found.kind() == std::io::ErrorKind::AlreadyExists => {
            let mode = fs::metadata(path).map_err(error("look at"))?.mode();
            if mode & 0o077 == 0 {
                return Ok(());
            }
            // It may hold what runs returned. Not ours to change (another owner): SQLite says next whether it can be used.
            let _ = fs::set_permissions(path, Permissions::from_mode(0o600));
            Ok(())
        }
        Err(source) => Err(error("make")(source)),
    }
}
