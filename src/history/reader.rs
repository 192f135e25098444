//! Reading the history, from any process, at any time, whether a daemon writes or not. Needs no lock and changes nothing.

use std::{collections::BTreeMap, path::Path};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use serde_json::{Map, Value};

use super::{
    AlarmChannelRow, DATABASE_FILE, DefinitionRow, HistoryError, HistoryFilter, HistoryRow, NoteRow, OccurrenceDetail,
    ScheduleRow, WaitingAlarm, alarms, query, schema,
};
use crate::{
    engine::{Status, audit::LedgerRow, change::MirrorCopy},
    ids::{OccurrenceKey, RunId, ScheduleId},
};

/// The history, to be read.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Opens the history of a state folder. It works without a right to write to the folder, too, as long as no log that a
    /// crash left over has to be taken over first.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it was written by a version with another shape.
    pub fn open(dir: &Path) -> Result<Self, HistoryError> {
        let path = dir.join(DATABASE_FILE);
        match std::fs::metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(HistoryError::Absent(dir.to_owned()));
            }
            Err(source) => return Err(HistoryError::Folder { doing: "open", path, source }),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match connect(&path, flags) {
            // Without a log and without the right to make one, SQLite has to be told that nobody writes.
            Err(HistoryError::Sqlite { cause, .. })
                if matches!(cause.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
                    && log_is_empty(dir) =>
            {
                connect(Path::new(&immutable_uri(&path)), flags | OpenFlags::SQLITE_OPEN_URI)
            }
            other => other,
        }?;
        match schema::check(&connection)? {
            version if version == schema::known_version() => Ok(Self { connection }),
            // The daemon makes the file before it fills it.
            0 => Err(HistoryError::Absent(dir.to_owned())),
            found => Err(HistoryError::Older { found, known: schema::known_version() }),
        }
    }

    /// The version of the database's shape.
    #[must_use]
    pub fn shape(&self) -> usize {
        // Another one is not opened.
        schema::known_version()
    }

    /// The history, newest first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn history(&self, filter: &HistoryFilter) -> Result<Vec<HistoryRow>, HistoryError> {
        self.at_one_moment(|| query::history(&self.connection, filter))
    }

    /// Everything about one occurrence; `None`: there is no such.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn occurrence(&self, key: &OccurrenceKey) -> Result<Option<OccurrenceDetail>, HistoryError> {
        self.at_one_moment(|| self.detail(query::by_key(&self.connection, key)?))
    }

    /// Everything about the occurrence of a run; `None`: there is no such. Should a server have handed out an id twice, it
    /// is the latest.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn run(&self, run_id: &RunId) -> Result<Option<OccurrenceDetail>, HistoryError> {
        self.at_one_moment(|| self.detail(query::by_run(&self.connection, run_id)?))
    }

    fn detail(&self, id: Option<i64>) -> Result<Option<OccurrenceDetail>, HistoryError> {
        id.map(|id| query::detail(&self.connection, id)).transpose()
    }

    /// What is open, newest first, at most `limit` lines.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open_occurrences(&self, limit: u32) -> Result<Vec<HistoryRow>, HistoryError> {
        let statuses = Status::ALL.iter().copied().filter(|status| status.is_open()).collect();
        self.history(&HistoryFilter { statuses, limit, ..HistoryFilter::default() })
    }

    /// For each schedule its last occurrence that was started, or should have been and was not.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn last_runs(&self) -> Result<Vec<HistoryRow>, HistoryError> {
        query::last_runs(&self.connection)
    }

    /// Every schedule that was ever seen.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn schedules(&self) -> Result<Vec<ScheduleRow>, HistoryError> {
        query::schedules(&self.connection)
    }

    /// The definitions of a schedule, oldest first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn definitions(&self, id: &ScheduleId) -> Result<Vec<DefinitionRow>, HistoryError> {
        query::definitions(&self.connection, id)
    }

    /// What is ours among the server's own schedules.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn mirror(&self) -> Result<Vec<MirrorCopy>, HistoryError> {
        query::mirror(&self.connection)
    }

    /// What happened to the daemon, newest first, at most `limit` lines.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn notes(&self, limit: u32) -> Result<Vec<NoteRow>, HistoryError> {
        query::notes(&self.connection, limit)
    }

    /// How many occurrences stand where; a stretch counts as many as it has. Looks at every row.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn counts(&self) -> Result<Vec<(Status, u64)>, HistoryError> {
        query::counts(&self.connection)
    }

    /// What the schedule's own rows account for, in the order of time, due after `after`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn ledger(&self, id: &ScheduleId, after: Option<DateTime<Utc>>) -> Result<Vec<LedgerRow>, HistoryError> {
        query::ledger(&self.connection, id, after)
    }

    /// The end of the stretch that a schedule's row stands for at an instant; `None`: no row stands for more than itself there.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn covered_through(&self, id: &ScheduleId, at: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, HistoryError> {
        query::covered_through(&self.connection, id, at)
    }

    /// Runs that more than one occurrence is told to have, each with the names of those.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn runs_of_several(&self) -> Result<Vec<(String, Vec<String>)>, HistoryError> {
        query::runs_of_several(&self.connection)
    }

    /// Alarms that wait to be sent and have a row after this one, oldest first, at most `rows_max`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn waiting_alarms(&self, after: i64, rows_max: u32) -> Result<Vec<WaitingAlarm>, HistoryError> {
        alarms::waiting(&self.connection, after, rows_max)
    }

    /// What these alarms tell, by row.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn alarm_facts(&self, rows: &[i64]) -> Result<BTreeMap<i64, Map<String, Value>>, HistoryError> {
        alarms::facts(&self.connection, rows)
    }

    /// Each channel for which alarms wait, or were given up since `since`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn alarm_channels(&self, since: DateTime<Utc>) -> Result<Vec<AlarmChannelRow>, HistoryError> {
        alarms::channels(&self.connection, since)
    }

    /// Retention removed occurrences up to and including this instant: an account begins after it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn pruned_through(&self) -> Result<Option<DateTime<Utc>>, HistoryError> {
        query::meta_instant(&self.connection, "pruned_through")
    }

    /// Several questions, answered as of one moment, whatever is written meanwhile.
    fn at_one_moment<T>(&self, ask: impl FnOnce() -> Result<T, HistoryError>) -> Result<T, HistoryError> {
        let transaction = self.connection.unchecked_transaction().map_err(HistoryError::sqlite("read"))?;
        let answer = ask()?;
        transaction.finish().map_err(HistoryError::sqlite("read"))?;
        Ok(answer)
    }

    /// The connection, for the questions of `status`, and for tests of the query plans and the views.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// Opens, and reads once: only that shows whether the log can be used.
fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, HistoryError> {
    let connection = Connection::open_with_flags(path, flags).map_err(HistoryError::sqlite("open"))?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(HistoryError::sqlite("open"))?;
    connection.pragma_update(None, "trusted_schema", false).map_err(HistoryError::sqlite("open"))?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(HistoryError::sqlite("open"))?;
    Ok(connection)
}

fn log_is_empty(dir: &Path) -> bool {
    std::fs::metadata(dir.join(format!("{DATABASE_FILE}-wal"))).map_or(true, |meta| meta.len() == 0)
}

/// The path as SQLite's URI for a file that nobody changes.
fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    uri
}
