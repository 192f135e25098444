//! The writer thread: order, durability, what it does while the disk does not want, and its end.

use std::{io::Write, path::Path, sync::Arc, time::Duration};

use rusqlite::Connection;

use super::*;
use crate::{
    clock::{Clock, Stopwatch},
    history::{DATABASE_FILE, Durable, History, HistoryError, Retention, Stall},
};

/// A wall clock that stands still.
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> DateTime<Utc> {
        at("14:30:00")
    }
}

fn on_a_runtime<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test)
}

fn start(store: Store, options: &HistoryOptions) -> History {
    History::start(store, options, Arc::new(Fixed)).unwrap()
}

/// Asks again and again until there is an answer; fails after 20 seconds.
async fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let watch = Stopwatch::start();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(watch.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Somebody who holds the write lock of the database.
fn somebody_writes(dir: &tempfile::TempDir) -> Connection {
    let other = Connection::open(dir.path().join(DATABASE_FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

fn reason(n: u32) -> Change {
    Change::StatusChanged {
        key: key("daily", "14:00:00"),
        status: Status::Pending,
        reason: Some(Reason::new(ReasonCode::Limit, n.to_string())),
        at: at("14:00:01"),
    }
}

fn stored_reason(dir: &tempfile::TempDir) -> Option<String> {
    reader(dir).occurrence(&key("daily", "14:00:00")).unwrap().and_then(|detail| detail.row.reason)
}

async fn stalled(history: &History) -> Stall {
    until("the stall", || history.stall()).await
}

#[test]
fn what_is_acknowledged_can_be_read() {
    let (dir, store) = stored(&[]);
    on_a_runtime(async {
        let history = start(store, &HistoryOptions::default());
        history.submit(vec![occurred(&key("daily", "14:00:00"), Status::Pending)]).await.unwrap().await.unwrap();
        for n in 0..20 {
            history.submit(vec![reason(n)]).await.unwrap().await.unwrap();
            assert_eq!(stored_reason(&dir), Some(format!("limit: {n}")));
        }
        history.submit(Vec::new()).await.unwrap().await.expect("an empty list is durable at once");
        history.close().await.unwrap();
    });
}

#[test]
fn in_the_order_of_submission_and_flushed_by_close() {
    let (dir, store) = stored(&[]);
    on_a_runtime(async {
        let history = start(store, &HistoryOptions { group_changes_max: 7, ..HistoryOptions::default() });
        let other = somebody_writes(&dir);
        let mut waiting: Vec<Durable> = Vec::new();
        waiting.push(history.submit(vec![occurred(&key("daily", "14:00:00"), Status::Pending)]).await.unwrap());
        for n in 0..100 {
            // Of some lists nobody waits for the answer.
            let durable = history.submit(vec![reason(n), reason(n + 1000)]).await.unwrap();
            if n % 3 == 0 {
                waiting.push(durable);
            }
        }
        drop(other);
        history.close().await.unwrap();
        for durable in waiting {
            durable.await.unwrap();
        }
    });
    assert!(!dir.path().join("history.db-wal").exists(), "closed in order");
    assert_eq!(stored_reason(&dir), Some("limit: 1099".to_owned()));
}

#[test]
fn what_waits_together_is_one_transaction() {
    let (dir, store) = stored(&[]);
    on_a_runtime(async {
        let history = start(store, &HistoryOptions::default());
        let other = somebody_writes(&dir);
        let first = history.submit(vec![occurred(&key("daily", "13:00:00"), Status::Pending)]).await.unwrap();
        stalled(&history).await;
        // These wait while the first is being retried; the last of them cannot be.
        let mut group = Vec::new();
        for _ in 0..2 {
            let occurrence = occurred(&key("daily", "14:00:00"), Status::Pending);
            group.push(history.submit(vec![occurrence]).await.unwrap());
        }
        drop(other);
        first.await.unwrap();
        for durable in group {
            assert!(matches!(*durable.await.unwrap_err(), HistoryError::Duplicate(_)));
        }
        assert!(matches!(*history.close().await.unwrap_err(), HistoryError::Duplicate(_)));
    });
    let rows = reader(&dir).open_occurrences(10).unwrap();
    assert_eq!(rows.len(), 1, "what was acknowledged, and nothing of the group that failed");
}

#[test]
fn a_fatal_failure_is_told_to_everybody() {
    let (_dir, store) = stored(&[]);
    on_a_runtime(async {
        let history = start(store, &HistoryOptions::default());
        let unknown = status(&key("daily", "14:00:00"), Status::Running, "14:00:00");
        let error = history.submit(vec![unknown]).await.unwrap().await.unwrap_err();
        assert!(matches!(*error, HistoryError::Missing { .. }), "{error}");
        let later = match history.submit(vec![reason(1)]).await {
            Ok(durable) => durable.await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(later.to_string(), error.to_string());
        assert_eq!(history.prune(Retention::default()).await.unwrap_err().to_string(), error.to_string());
        assert_eq!(history.stall(), None, "this is not a stall: waiting does not help");
        assert_eq!(history.close().await.unwrap_err().to_string(), error.to_string());
    });
}

/// Something keeps the writer from writing; it stalls, acknowledges nothing, goes on by itself, and everything is there.
fn check_stall(
    name: &str,
    disturb: impl Fn(&Store),
    then: impl Fn(&tempfile::TempDir),
    expected: &str,
    hint: &'static str,
) {
    let (dir, mut store) = stored(&[occurred(&key("daily", "14:00:00"), Status::Pending)]);
    store.checkpoint().unwrap();
    disturb(&store);
    let options = HistoryOptions { queue_batches_max: 2, ..HistoryOptions::default() };
    on_a_runtime(async {
        let history = start(store, &options);
        assert_eq!(history.stall(), None);
        let mut report = RunReport::bare(run("wr_1"), RunStatus::Running);
        report.output = Some(format!("\"{}\"", "x".repeat(100_000)));
        let report =
            Change::RunReported { key: key("daily", "14:00:00"), report: Box::new(report), at: at("14:00:01") };
        let mut first = history.submit(vec![report, reason(1)]).await.unwrap();
        // Several tries: none of them may be taken for a success.
        let stall = until("some tries", || history.stall().filter(|stall| stall.tries >= 3)).await;
        let tries = stall.tries;
        assert_eq!(
            stall,
            Stall { since: at("14:30:00"), reason: expected.to_owned(), hint: Some(hint), tries },
            "{name}"
        );
        let second = history.submit(vec![reason(2)]).await.unwrap();
        let third = history.submit(vec![reason(3)]).await.unwrap();
        let mut fourth = Box::pin(history.submit(vec![reason(4)]));
        tokio::select! {
            biased;
            _ = &mut first => panic!("{name}: acknowledged what is not written"),
            _ = &mut fourth => panic!("{name}: more than the queue holds"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(stored_reason(&dir), None, "{name}");
        then(&dir);
        for durable in [first, second, third, fourth.await.unwrap()] {
            durable.await.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert_eq!(history.stall(), None, "{name}: recovered");
        assert_eq!(stored_reason(&dir), Some("limit: 4".to_owned()), "{name}");
        history.close().await.unwrap();
    });
}

#[test]
fn a_full_disk_is_waited_for() {
    check_stall(
        "full",
        |store| {
            // No page more than there are: what a full disk is to SQLite. Some of them are taken up by a file that
            // somebody could remove.
            store
                .connection()
                .execute_batch(
                    "CREATE TABLE filler (x); INSERT INTO filler VALUES (zeroblob(1000000)); PRAGMA max_page_count = 1",
                )
                .unwrap();
        },
        |dir| {
            let other = Connection::open(dir.path().join(DATABASE_FILE)).unwrap();
            other.busy_timeout(Duration::from_secs(10)).unwrap();
            other.execute_batch("DROP TABLE filler").unwrap();
        },
        "cannot write the history: database or disk is full",
        "make room on the disk",
    );
}

/// The real thing. A file takes all the room that is left, and is removed.
#[test]
#[ignore = "needs a small file system: TMPDIR on a tmpfs of 4 MB"]
fn a_disk_that_is_really_full_is_waited_for() {
    check_stall(
        "really full",
        |store| {
            let filler = Path::new(store.connection().path().unwrap()).with_file_name("filler");
            let mut filler = std::fs::File::create(filler).unwrap();
            let block = [0_u8; 512];
            let written =
                std::iter::repeat_with(|| filler.write_all(&block)).take(64 << 11).take_while(Result::is_ok).count();
            assert!(written < 64 << 11, "this file system is too large for the test");
        },
        |dir| std::fs::remove_file(dir.path().join("filler")).unwrap(),
        "cannot write the history: database or disk is full",
        "make room on the disk",
    );
}

#[test]
fn somebody_who_holds_the_write_lock_is_waited_for() {
    let holder = std::sync::Mutex::new(None);
    let (take, let_go) = (
        |store: &Store| {
            let other = Connection::open(store.connection().path().unwrap()).unwrap();
            other.execute_batch("BEGIN IMMEDIATE").unwrap();
            *holder.lock().unwrap() = Some(other);
        },
        |_: &tempfile::TempDir| *holder.lock().unwrap() = None,
    );
    check_stall(
        "busy",
        take,
        let_go,
        "cannot write the history: database is locked",
        "another program holds the database: look for an open transaction in sqlite3",
    );
}

/// Which of SQLite's answers can pass; the numbers are those of its result codes.
#[test]
fn what_can_pass() {
    let cases = [
        (5, true, "SQLITE_BUSY"),
        (8, true, "SQLITE_READONLY"),
        (10, true, "SQLITE_IOERR"),
        (10 | (4 << 8), true, "SQLITE_IOERR_FSYNC"),
        (13, true, "SQLITE_FULL"),
        (14, true, "SQLITE_CANTOPEN"),
        (1, false, "SQLITE_ERROR"),
        (11, false, "SQLITE_CORRUPT"),
        (18, false, "SQLITE_TOOBIG"),
        (19, false, "SQLITE_CONSTRAINT"),
        (26, false, "SQLITE_NOTADB"),
    ];
    for (code, expected, name) in cases {
        let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        assert_eq!(HistoryError::sqlite("write")(error).can_pass(), expected, "{name}");
    }
}

#[test]
fn closing_while_it_stands_still_does_not_wait_for_ever() {
    let (dir, store) = stored(&[occurred(&key("daily", "14:00:00"), Status::Pending)]);
    on_a_runtime(async {
        let history = start(store, &HistoryOptions::default());
        let other = somebody_writes(&dir);
        let durable = history.submit(vec![reason(1)]).await.unwrap();
        stalled(&history).await;
        let second = history.submit(vec![reason(2)]).await.unwrap();
        let expected = "cannot write the history: database is locked";
        assert_eq!(history.close().await.unwrap_err().to_string(), expected);
        assert_eq!(durable.await.unwrap_err().to_string(), expected);
        assert_eq!(second.await.unwrap_err().to_string(), expected);
        drop(other);
    });
    assert_eq!(stored_reason(&dir), None);
}

#[test]
fn retention_runs_beside_the_writing() {
    let many: Vec<_> =
        (0..450).map(|n| occurred(&key("daily", &format!("13:00:00#n-{n}")), Status::Completed)).collect();
    let (dir, store) = stored(&many);
    on_a_runtime(async {
        let history = start(store, &HistoryOptions::default());
        history.submit(vec![occurred(&key("daily", "14:00:00"), Status::Pending)]).await.unwrap().await.unwrap();
        let retention = Retention { occurrences_max: Some(10), ..Retention::default() };
        let changes = async {
            for n in 0..10 {
                history.submit(vec![reason(n)]).await.unwrap().await.unwrap();
            }
        };
        let (removed, ()) = tokio::join!(history.prune(retention), changes);
        assert_eq!(removed.unwrap(), 441);
        history.close().await.unwrap();
    });
    assert_eq!(stored_reason(&dir), Some("limit: 9".to_owned()));
    let left: u64 = reader(&dir).counts().unwrap().iter().map(|(_, count)| count).sum();
    assert_eq!(left, 10);
}

#[test]
fn a_handle_that_is_dropped_loses_nothing() {
    let (dir, store) = stored(&[occurred(&key("daily", "14:00:00"), Status::Pending)]);
    on_a_runtime(async {
        let history = start(store, &HistoryOptions::default());
        let durable = history.submit(vec![reason(1)]).await.unwrap();
        drop(history);
        durable.await.unwrap();
        until("the lock", || Store::open(dir.path(), &HistoryOptions::default()).ok()).await;
    });
    assert_eq!(stored_reason(&dir), Some("limit: 1".to_owned()));
}
