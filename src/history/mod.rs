//! The SQLite history: what happened, kept so that it survives every crash, and read by commands while the daemon writes.
//!
//! The only module that knows SQL. It stores what the engine decided ([`crate::engine::Change`]) and decides nothing about
//! schedules itself.
//!
//! - `schema`: the migrations, and the settings of a connection.
//! - [`Store`]: the one connection that writes, with its lock ([`lock`]).
//! - [`History`]: the one thread that owns the store; the daemon's handle to it.
//! - [`Reader`]: any number of them, at any time, in any process.

mod alarms;
mod apply;
mod error;
pub mod lock;
mod memory;
mod prune;
mod query;
mod reader;
mod rows;
mod schema;
mod status;
mod store;
mod text;
mod writer;

#[cfg(test)]
mod tests;

pub use alarms::{AlarmChannelRow, WaitingAlarm};
pub use error::HistoryError;
pub use prune::{Pruned, Retention};
pub use query::HistoryFilter;
pub use reader::Reader;
pub use rows::{AttemptRow, DefinitionRow, HistoryRow, NoteRow, OccurrenceDetail, RunRow, ScheduleRow};
pub use status::{COUNTED_MAX, LastSuccess, Pieces, StripCell};
pub use store::Store;
pub use writer::{Durable, History, Stall, WriterPulse};

/// The file of the database, in the state folder.
pub const DATABASE_FILE: &str = "history.db";

/// Bounds of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Of each text that a server sent (output, errors, failure reason, …) at most this many bytes are stored.
    pub body_bytes_max: usize,
    /// How many submitted lists of changes may wait for the writer thread; a further one waits until there is room.
    pub queue_batches_max: usize,
    /// How many changes the writer puts into one transaction at most, if they were submitted apart.
    pub group_changes_max: usize,
    /// After an end that was not in order, a database of up to this many bytes is checked before it is used. A larger one is
    /// not: the check reads every page, and a start would take minutes.
    pub check_bytes_max: u64,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self {
            body_bytes_max: 256 << 10,
            queue_batches_max: 1024,
            group_changes_max: 50_000,
            check_bytes_max: 64 << 20,
        }
    }
}
