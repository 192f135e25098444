//! What is true after the process died: killed with SIGKILL while it wrote, or with its log cut at any byte.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use super::*;
use crate::history::HistoryError;

/// Where the child of a test works; it does nothing without.
const CHILD_DIR: &str = "SKYCRON_TEST_HISTORY_DIR";

/// List `n` of a long history: an occurrence, how far its schedule is accounted for, and its attempt.
fn list(n: u32) -> [Change; 3] {
    let due = at("00:00:00") + TimeDelta::minutes(i64::from(n));
    let mut key = key("daily", "00:00:00");
    key.scheduled_for = due;
    [
        occurred(&key, Status::Pending),
        Change::AccountedThrough { schedule: id("daily"), through: due },
        Change::AttemptBegun { key, number: 1, at: due },
    ]
}

/// Every list is whole or not there, and those that are there are the first ones. Answers with how many there are.
fn lists_in(dir: &Path) -> u32 {
    let store = Store::open(dir, &HistoryOptions::default()).unwrap();
    let memory = store.memory().unwrap();
    let count = u32::try_from(memory.open.len()).unwrap();
    let keys: Vec<_> = memory.open.iter().map(|open| open.key.to_string()).collect();
    let expected: Vec<_> = (0..count)
        .map(|n| {
            let Change::Occurred(new) = &list(n)[0] else { unreachable!() };
            new.key.to_string()
        })
        .collect();
    assert_eq!(keys, expected);
    assert!(memory.open.iter().all(|open| open.status == Status::Launching && open.attempt_number == 1));
    if let Some(last) = memory.open.last() {
        assert_eq!(memory.schedules[0].accounted_through, last.key.scheduled_for);
    }
    let check: String = store.connection().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    count
}

/// Not a test of its own: what the test below starts, and kills.
#[test]
#[ignore = "started by the test that kills it"]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let mut store = Store::open(Path::new(&dir), &HistoryOptions::default()).unwrap();
    let mut n = u32::try_from(store.memory().unwrap().open.len()).unwrap();
    loop {
        store.apply(&list(n)).unwrap();
        n += 1;
        println!("durable {n}");
        if n.is_multiple_of(16) {
            store.checkpoint().unwrap();
        }
    }
}

fn start_child(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "history::tests::crash::child_that_writes_until_it_is_killed", "--ignored", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn what_was_acknowledged_survives_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path(), &HistoryOptions::default()).unwrap().apply(&[defined("daily", "00:00:00")]).unwrap();
    let mut before = 0;
    for wanted in [1, 2, 3, 7, 15, 16, 17, 31, 40, 5] {
        let mut child = start_child(dir.path());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = before;
        for line in lines.map_while(Result::ok) {
            // The test runner's own first words share the line with the first of ours.
            if let Some((_, n)) = line.split_once("durable ") {
                acknowledged = n.parse().unwrap();
                if acknowledged >= before + wanted {
                    break;
                }
            }
        }
        // It is in the middle of a later list now.
        child.kill().unwrap();
        child.wait().unwrap();
        let there = lists_in(dir.path());
        assert!(acknowledged >= before + wanted, "the child ended by itself after {acknowledged}");
        assert!(there >= acknowledged, "{acknowledged} were acknowledged, {there} are there");
        before = there;
    }
}

/// The power fails while the log is written: it ends anywhere, or in what was on the disk before.
#[test]
fn a_torn_log_ends_after_a_whole_list() {
    let source = tempfile::tempdir().unwrap();
    let mut store = Store::open(source.path(), &HistoryOptions::default()).unwrap();
    store.apply(&[defined("daily", "00:00:00")]).unwrap();
    store.checkpoint().unwrap();
    let log = |dir: &Path| dir.join("history.db-wal");
    for n in 0..4 {
        store.apply(&list(n)).unwrap();
    }
    let whole = fs::read(log(source.path())).unwrap();
    let database = fs::read(source.path().join("history.db")).unwrap();
    drop(store);
    let mut seen = Vec::new();
    for cut in (0..=whole.len()).step_by(1031).chain([whole.len()]) {
        for garbage in [0_usize, 3000] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("history.db"), &database).unwrap();
            let mut torn = whole[..cut].to_vec();
            torn.resize((cut + garbage).min(whole.len()), 0x5a);
            fs::write(log(dir.path()), torn).unwrap();
            let there = lists_in(dir.path());
            if cut == whole.len() {
                assert_eq!(there, 4);
            }
            seen.push(there);
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [0, 1, 2, 3, 4], "every end was met");
}

/// A process that dies while it makes the history leaves nothing that the next one stumbles over.
#[test]
fn what_is_half_made_is_finished() {
    type Prepare = fn(&Path);
    let cases: [(&str, Prepare); 3] = [
        ("the folder only", |dir| fs::create_dir(dir).unwrap()),
        ("an empty file", |dir| {
            fs::create_dir(dir).unwrap();
            fs::write(dir.join("history.db"), "").unwrap();
        }),
        ("no table yet", |dir| {
            fs::create_dir(dir).unwrap();
            let connection = rusqlite::Connection::open(dir.join("history.db")).unwrap();
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
        }),
    ];
    for (name, prepare) in cases {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        prepare(&dir);
        let mut store = Store::open(&dir, &HistoryOptions::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        store.apply(&[defined("daily", "00:00:00")]).unwrap();
        drop(store);
        assert_eq!(lists_in(&dir), 0, "{name}");
    }
}

/// The same list once more after a failure: the failed try left nothing behind.
#[test]
fn a_failed_list_can_be_applied_again() {
    let (dir, mut store) = stored(&[]);
    let other = rusqlite::Connection::open(dir.path().join("history.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.apply(&list(0)).expect_err("busy");
    assert!(matches!(&error, HistoryError::Sqlite { .. }) && error.can_pass(), "{error}");
    drop(other);
    store.apply(&list(0)).unwrap();
    drop(store);
    assert_eq!(lists_in(dir.path()), 1);
}
