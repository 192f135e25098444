//! The questions of the status page and the metrics: what failed and is not recovered, the last days at a glance, the last
//! success of each schedule. Each is bounded in what it returns and in the rows that it looks at for one schedule.

use chrono::{DateTime, Utc};
use rusqlite::{named_params, params_from_iter, types::Value};

use super::{
    HistoryError, HistoryRow, Reader,
    query::{HISTORY_COLUMNS, collect, history_row},
    text::{get, instant, optional_instant, parsed},
};
use crate::{clock::rfc3339, engine::Status, ids::ScheduleId};

/// The latest rows of a schedule that are looked at for its last end, and for its last success.
const ROWS_LOOKED_AT_MAX: u32 = 200;
/// Rows of a schedule that are put into one strip; five minutes apart, they are a fortnight and more.
const STRIP_ROWS_MAX: u32 = 5_000;
/// Stretches that are put into strips.
const STRETCHES_MAX: u32 = 2_000;
/// Counting stops here.
pub const COUNTED_MAX: u32 = 10_000;

/// What became of one schedule's occurrences in one piece of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripCell {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The piece, counted from 0.
    pub piece: usize,
    /// Where they stand.
    pub status: Status,
    /// How many; 0: a stretch that began before goes on here.
    pub count: u64,
}

/// Equal pieces of time, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pieces {
    /// When the first begins, to the second.
    pub since: DateTime<Utc>,
    /// How long each is.
    pub seconds: u32,
    /// How many there are.
    pub count: u32,
}

impl Pieces {
    /// When the last one ends.
    #[must_use]
    pub fn until(&self) -> DateTime<Utc> {
        self.begin(self.count)
    }

    /// When one begins.
    #[must_use]
    pub fn begin(&self, piece: u32) -> DateTime<Utc> {
        self.since + chrono::TimeDelta::seconds(i64::from(self.seconds) * i64::from(piece))
    }

    fn of(&self, at: DateTime<Utc>) -> usize {
        let piece = (at - self.since).num_seconds() / i64::from(self.seconds.max(1));
        usize::try_from(piece.clamp(0, i64::from(self.count.max(1)) - 1)).unwrap_or(0)
    }
}

/// A schedule, and when its latest run that completed ended.
pub type LastSuccess = (ScheduleId, Option<DateTime<Utc>>);

impl Reader {
    /// For each schedule of the file whose latest occurrence that came to an end came to a bad one: that occurrence; newest
    /// first, at most `limit`. What was skipped on purpose, and what is still open, decides nothing.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn unrecovered(&self, limit: u32) -> Result<Vec<HistoryRow>, HistoryError> {
        let bad: Vec<String> =
            Status::ALL.iter().filter(|status| !status.is_good()).map(|status| format!("'{status}'")).collect();
        let sql = format!(
            "SELECT {HISTORY_COLUMNS} FROM schedule AS s
               JOIN definition AS d ON d.id = s.definition
               JOIN occurrence AS o ON o.id = (
                    SELECT l.id FROM (
                        SELECT id, status FROM occurrence INDEXED BY occurrence_once WHERE schedule = s.id
                         ORDER BY scheduled_for DESC, id DESC LIMIT {ROWS_LOOKED_AT_MAX}) AS l
                     WHERE l.status NOT IN ('skipped', 'pending', 'launching', 'running') LIMIT 1)
               LEFT JOIN run AS r ON r.occurrence = o.id
              WHERE d.definition IS NOT NULL AND o.status IN ({})
              ORDER BY o.scheduled_for DESC, o.id DESC LIMIT ?",
            bad.join(", ")
        );
        collect(self.connection(), &sql, [limit], history_row)
    }

    /// What became of these schedules' occurrences, piece by piece.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn strips(&self, schedules: &[ScheduleId], pieces: &Pieces) -> Result<Vec<StripCell>, HistoryError> {
        let mut cells = Vec::new();
        let (since, until) = (rfc3339(pieces.since), rfc3339(pieces.until()));
        for schedule in schedules {
            cells.extend(collect(
                self.connection(),
                "SELECT (unixepoch(scheduled_for) - :from) / :seconds AS piece, status, sum(count) AS n FROM (
                    SELECT scheduled_for, status, count FROM occurrence INDEXED BY occurrence_once
                     WHERE schedule = :schedule AND scheduled_for >= :since AND scheduled_for < :until AND through IS NULL
                     ORDER BY scheduled_for DESC LIMIT :rows_max)
                  GROUP BY piece, status ORDER BY piece, status",
                named_params! {
                    ":from": pieces.since.timestamp(),
                    ":seconds": pieces.seconds.max(1),
                    ":schedule": schedule.as_str(),
                    ":since": since,
                    ":until": until,
                    ":rows_max": STRIP_ROWS_MAX,
                },
                |row| {
                    let (piece, count): (i64, i64) = (get(row, "piece")?, get(row, "n")?);
                    Ok(StripCell {
                        schedule: schedule.clone(),
                        piece: usize::try_from(piece).unwrap_or(0),
                        status: parsed(row, "status", Status::from_word)?,
                        count: count.unsigned_abs(),
                    })
                },
            )?);
        }
        self.stretches(schedules, pieces, &mut cells)?;
        Ok(cells)
    }

    /// Rows that stand for many occurrences: counted where they begin, and shown in every piece that they reach into.
    fn stretches(
        &self,
        schedules: &[ScheduleId],
        pieces: &Pieces,
        cells: &mut Vec<StripCell>,
    ) -> Result<(), HistoryError> {
        if schedules.is_empty() {
            return Ok(());
        }
        let marks = vec!["?"; schedules.len()].join(", ");
        let sql = format!(
            "SELECT schedule, scheduled_for, through, status, count FROM occurrence INDEXED BY occurrence_through
              WHERE through >= ? AND scheduled_for < ? AND schedule IN ({marks})
              ORDER BY through DESC LIMIT {STRETCHES_MAX}"
        );
        let bounds = [rfc3339(pieces.since), rfc3339(pieces.until())].map(Value::from);
        let values = bounds.into_iter().chain(schedules.iter().map(|id| Value::from(id.as_str().to_owned())));
        let stretches = collect(self.connection(), &sql, params_from_iter(values), |row| {
            let count: i64 = get(row, "count")?;
            Ok((
                parsed(row, "schedule", |text| ScheduleId::new(text).ok())?,
                instant(row, "scheduled_for")?,
                instant(row, "through")?,
                parsed(row, "status", Status::from_word)?,
                count.unsigned_abs(),
            ))
        })?;
        for (schedule, begin, through, status, count) in stretches {
            let (first, last) = (pieces.of(begin), pieces.of(through));
            for piece in first..=last {
                let count = if piece == first { count } else { 0 };
                cells.push(StripCell { schedule: schedule.clone(), piece, status, count });
            }
        }
        Ok(())
    }

    /// For each of the file's schedules, by id, at most `limit`: when its latest run that completed ended. `None`: none of
    /// its latest occurrences completed.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn last_successes(&self, limit: u32) -> Result<Vec<LastSuccess>, HistoryError> {
        let sql = format!(
            "SELECT s.id, (
                SELECT l.at FROM (
                    SELECT coalesce(finished_at, scheduled_for) AS at, status FROM occurrence INDEXED BY occurrence_once
                     WHERE schedule = s.id ORDER BY scheduled_for DESC, id DESC LIMIT {ROWS_LOOKED_AT_MAX}) AS l
                 WHERE l.status = 'completed' LIMIT 1) AS at
               FROM schedule AS s JOIN definition AS d ON d.id = s.definition
              WHERE d.definition IS NOT NULL ORDER BY s.id LIMIT ?"
        );
        collect(self.connection(), &sql, [limit], |row| {
            Ok((parsed(row, "id", |text| ScheduleId::new(text).ok())?, optional_instant(row, "at")?))
        })
    }

    /// How many rows have a status, up to [`COUNTED_MAX`].
    ///
    /// # Errors
    /// It cannot be read.
    pub fn count_of(&self, status: Status) -> Result<u64, HistoryError> {
        let sql = format!(
            "SELECT count(*) AS n FROM (
                SELECT 1 FROM occurrence INDEXED BY occurrence_status WHERE status = ? LIMIT {COUNTED_MAX})"
        );
        let counted = collect(self.connection(), &sql, [status.word()], |row| get::<i64>(row, "n"))?;
        Ok(counted.first().map_or(0, |count| count.unsigned_abs()))
    }
}
