//! What can go wrong with the history, what can be done about it, and whether waiting helps.

use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::ids::OccurrenceKey;

/// A failure of the history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Another process has it. Exit code 4.
    #[error("{} is in use by another skycron{}", path.display(), pid.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked {
        /// The state folder.
        path: PathBuf,
        /// Who; `None` where the lock file does not say.
        pid: Option<u32>,
    },
    /// There is no database, and this was a request to read one.
    #[error("there is no history in {}", .0.display())]
    Absent(PathBuf),
    /// Written by a later version of this program.
    #[error("the history was written by a newer skycron (its shape is {found}, this version knows {known})")]
    Newer {
        /// The version in the file.
        found: i64,
        /// The latest that this program knows.
        known: usize,
    },
    /// Written by an earlier version, and a reader does not change it.
    #[error("the history was written by an older skycron (its shape is {found}, this version needs {known})")]
    Older {
        /// The version in the file.
        found: usize,
        /// The one that this program needs.
        known: usize,
    },
    /// A SQLite database of another program.
    #[error("the database is not a history of skycron")]
    Foreign,
    /// It does not pass SQLite's check, or a value in it cannot be read.
    #[error("the history is damaged: {0}")]
    Damaged(String),
    /// The state folder cannot be made, opened or used.
    #[error("cannot {doing} {}", path.display())]
    Folder {
        /// What was tried.
        doing: &'static str,
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Everybody may write to the state folder.
    #[error("{} can be written by every user of this machine (mode {mode:o})", path.display())]
    Exposed {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The shape could not be brought up to date.
    #[error("cannot migrate the history: {0}")]
    Migration(String),
    /// A change names something that the history does not have.
    #[error("the history has no {what} of {name}")]
    Missing {
        /// What.
        what: &'static str,
        /// Of which occurrence or schedule.
        name: String,
    },
    /// An occurrence that is there already.
    #[error("{0} is in the history already")]
    Duplicate(OccurrenceKey),
    /// Everything else that SQLite refuses.
    #[error("cannot {doing} the history: {cause}")]
    Sqlite {
        /// What was tried: open, read, write.
        doing: &'static str,
        /// What SQLite said. Part of the message, which is also logged and shown where there is no room for a chain.
        cause: rusqlite::Error,
    },
    /// The writer thread has ended: it was closed, or it met an error that cannot pass.
    #[error("the history is closed")]
    Closed,
    /// The system gives no thread.
    #[error("cannot start the thread of the history")]
    Thread(#[source] std::io::Error),
}

impl HistoryError {
    /// For `map_err`. SQLite's words for a file that it cannot make sense of become our own.
    pub(super) fn sqlite(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |cause| match cause.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(cause.to_string()),
            _ => Self::Sqlite { doing, cause },
        }
    }

    /// Whether the same may succeed later without anything being changed in the database or the program: the disk is full
    /// or read-only, somebody holds the write lock, an I/O error.
    #[must_use]
    pub fn can_pass(&self) -> bool {
        let Self::Sqlite { cause, .. } = self else {
            return false;
        };
        matches!(
            cause.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::OutOfMemory
                    | ErrorCode::ReadOnly
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::DiskFull
                    | ErrorCode::CannotOpen
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::PermissionDenied
            )
        )
    }

    /// What to do about it; a sentence without its full stop, apart from the message.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Locked { .. } => "stop that one first, or give this one a state folder of its own with --state-dir",
            Self::Absent(_) => {
                "the daemon makes it when it starts; --state-dir or SKYCRON_STATE_DIR name another folder"
            }
            Self::Newer { .. } => "run the skycron that wrote it, or a later one",
            Self::Older { .. } => "start the daemon of this version once: it brings the history up to date",
            Self::Foreign => "give skycron a state folder of its own with --state-dir",
            Self::Damaged(_) => {
                "stop the daemon, copy the files history.db* away, then try sqlite3's .recover or restore a backup"
            }
            Self::Folder { .. } => {
                "make it a folder that belongs to the user that runs skycron, or name another with --state-dir"
            }
            Self::Exposed { .. } => "take the permission away (chmod o-w), or name another folder with --state-dir",
            Self::Sqlite { cause, .. } => match cause.sqlite_error_code()? {
                ErrorCode::DiskFull => "make room on the disk",
                ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                    "the state folder and the files in it must be writable for the user that runs skycron"
                }
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                    "another program holds the database: look for an open transaction in sqlite3"
                }
                ErrorCode::SystemIoFailure => "look at the disk: the system's log (dmesg) says more",
                _ => return None,
            },
            Self::Migration(_) | Self::Missing { .. } | Self::Duplicate(_) | Self::Closed | Self::Thread(_) => {
                return None;
            }
        })
    }
}
