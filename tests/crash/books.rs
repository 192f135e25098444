//! The judgement: the server's own record of its runs against the database, read with plain SQL and computed here, past all
//! of skycron's own code for either.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, thread,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OpenFlags};
use skycron::clock::{Stopwatch, parse_rfc3339};

use crate::rig::{Rig, wait_for};

/// The tag that the requests carry.
const TAG: &str = "skycron_occurrence";

/// A row of the history.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) key: String,
    pub(crate) schedule: String,
    pub(crate) scheduled_for: DateTime<Utc>,
    pub(crate) through: Option<DateTime<Utc>>,
    pub(crate) count: i64,
    pub(crate) trigger: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) attempts: i64,
    pub(crate) run_id: Option<String>,
}

impl Row {
    pub(crate) fn is_open(&self) -> bool {
        ["pending", "launching", "running"].contains(&self.status.as_str())
    }
}

/// What there was to compare.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) rows: usize,
    pub(crate) runs: usize,
    pub(crate) unknown: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows, {} runs at the server, {} unknown", self.rows, self.runs, self.unknown)
    }
}

/// A reader of its own, as a person with `sqlite3` would be. `None`: there is no database, or none with our tables, yet.
pub(crate) fn open(rig: &Rig) -> Option<Connection> {
    let path = rig.state_dir().join("history.db");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).ok()?;
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'v_history'", [], |row| row.get(0))
        .unwrap();
    (tables == 1).then_some(connection)
}

/// Every row, the oldest first.
pub(crate) fn rows(rig: &Rig) -> Vec<Row> {
    let Some(connection) = open(rig) else { return Vec::new() };
    let mut statement = connection
        .prepare(
            "SELECT occurrence, schedule, scheduled_for, through, count, trigger, status, coalesce(reason, ''), attempts, run_id
               FROM v_history ORDER BY scheduled_for, occurrence",
        )
        .unwrap();
    let instant = |text: String| parse_rfc3339(&text).unwrap();
    let rows = statement.query_map([], |row| {
        Ok(Row {
            key: row.get(0)?,
            schedule: row.get(1)?,
            scheduled_for: instant(row.get(2)?),
            through: row.get::<_, Option<String>>(3)?.map(instant),
            count: row.get(4)?,
            trigger: row.get(5)?,
            status: row.get(6)?,
            reason: row.get(7)?,
            attempts: row.get(8)?,
            run_id: row.get(9)?,
        })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// How each attempt of an occurrence ended.
pub(crate) fn attempts(rig: &Rig, key: &str) -> Vec<String> {
    let connection = open(rig).unwrap();
    let mut statement = connection
        .prepare(
            "SELECT coalesce(a.outcome, 'open') FROM attempt AS a JOIN occurrence AS o ON o.id = a.occurrence
              WHERE o.key = ?1 ORDER BY a.number",
        )
        .unwrap();
    statement.query_map([key], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The kinds and texts of the notes, in their order.
pub(crate) fn notes(rig: &Rig) -> Vec<String> {
    let Some(connection) = open(rig) else { return Vec::new() };
    let mut statement = connection.prepare("SELECT kind || ': ' || text FROM note ORDER BY id").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Waits until nothing is open; the daemon must be running.
#[track_caller]
pub(crate) fn settled(rig: &Rig, seconds_max: u64) {
    let watch = Stopwatch::start();
    loop {
        let open: Vec<Row> = rows(rig).into_iter().filter(Row::is_open).collect();
        if open.is_empty() {
            return;
        }
        let waited = watch.elapsed().as_secs();
        assert!(waited < seconds_max, "still open after {waited} s: {open:#?}\n{}", rig.log_end());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until nothing that was decided before this call is open, while new occurrences become due; and until nothing is being
/// started. The daemon must be running.
#[track_caller]
pub(crate) fn quiet(rig: &Rig, seconds_max: u64) {
    let old: BTreeSet<String> = rows(rig).into_iter().filter(Row::is_open).map(|row| row.key).collect();
    wait_for(&format!("{old:?} to end"), seconds_max, || {
        let open: Vec<Row> = rows(rig).into_iter().filter(Row::is_open).collect();
        open.iter().all(|row| !old.contains(&row.key) && row.status == "running").then_some(())
    });
}

/// One run for each key, one row for each run, and the row names the run. Runs that the server left half-made are none.
#[track_caller]
pub(crate) fn agree(rig: &Rig) -> Tally {
    let context = || format!("\n{}", rig.log_end());
    let rows = rows(rig);
    let by_key: BTreeMap<&str, &Row> = rows.iter().map(|row| (row.key.as_str(), row)).collect();
    assert_eq!(by_key.len(), rows.len(), "a key stands twice in the history");
    let mut runs: BTreeMap<String, String> = BTreeMap::new();
    for run in rig.sandbox.runs().into_iter().filter(|run| !run.half_made) {
        let key = run.run_metadata.get(TAG).unwrap_or_else(|| panic!("{run:?} carries no key")).clone();
        let row = by_key.get(key.as_str()).unwrap_or_else(|| panic!("{} of {key} has no row{}", run.run_id, context()));
        assert!(row.attempts >= 1, "{row:?} has a run and no attempt");
        if row.status != "unknown" {
            assert_eq!(row.run_id.as_ref(), Some(&run.run_id), "{row:?}{}", context());
        }
        if let Some(other) = runs.insert(key.clone(), run.run_id.clone()) {
            panic!("{key} was started twice: {other} and {}{}", run.run_id, context());
        }
    }
    for row in &rows {
        if let Some(run_id) = &row.run_id {
            let half_made = rig.sandbox.runs().iter().any(|run| run.half_made && run.run_id == *run_id);
            assert!(
                half_made || runs.get(&row.key) == Some(run_id),
                "the server does not have the run of {row:?}{}",
                context()
            );
        }
    }
    let unknown = rows.iter().filter(|row| row.status == "unknown").count();
    Tally { rows: rows.len(), runs: runs.len(), unknown }
}

/// Every instant at which a schedule that is due in the minutes `minute` modulo 5 was due, from its first definition up to
/// where it is accounted for, has exactly one row, or is within exactly one stretch; and it is accounted for up to `until`,
/// when the last daemon was told to stop. How many instants that were.
#[track_caller]
pub(crate) fn accounted(rig: &Rig, schedule: &str, minute: i64, until: DateTime<Utc>) -> usize {
    let connection = open(rig).unwrap();
    let instant = |sql: &str| {
        let text: String = connection.query_row(sql, [schedule], |row| row.get(0)).unwrap();
        parse_rfc3339(&text).unwrap()
    };
    let first = instant("SELECT min(at) FROM definition WHERE schedule = ?1");
    let through = instant("SELECT accounted_through FROM schedule WHERE id = ?1");
    // Not before what is due next; a few minutes are the time that a command takes on a fast clock.
    assert!(until - through < TimeDelta::minutes(15), "{schedule} is accounted for up to {through} only");
    let is_due = |at: DateTime<Utc>| at.timestamp() % 300 == minute * 60;
    let mut covered: BTreeSet<DateTime<Utc>> = BTreeSet::new();
    for row in rows(rig).iter().filter(|row| row.schedule == schedule && !row.key.contains('#')) {
        let (mut at, last) = (row.scheduled_for, row.through.unwrap_or(row.scheduled_for));
        assert!(is_due(at) && is_due(last), "nothing was due then: {row:?}");
        let mut count = 0;
        while at <= last {
            assert!(covered.insert(at), "{at} of {schedule} is accounted for twice: {row:?}");
            at += TimeDelta::minutes(5);
            count += 1;
        }
        assert_eq!(count, row.count, "{row:?}");
    }
    // The first whole second after the first definition that is due.
    let mut at = DateTime::from_timestamp(first.timestamp() + 1, 0).unwrap();
    while !is_due(at) {
        at += TimeDelta::seconds(1);
    }
    let mut due = BTreeSet::new();
    while at <= through {
        due.insert(at);
        at += TimeDelta::minutes(5);
    }
    let lost: Vec<_> = due.difference(&covered).collect();
    let invented: Vec<_> = covered.difference(&due).collect();
    assert!(
        lost.is_empty() && invented.is_empty(),
        "{schedule}: lost {lost:?}, invented {invented:?}\n{}",
        rig.log_end()
    );
    due.len()
}
