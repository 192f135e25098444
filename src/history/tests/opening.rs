//! Opening: what is made, with which permissions, what is refused, and that what is refused stays as it was.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use super::*;
use crate::history::{DATABASE_FILE, HistoryError, lock::LOCK_FILE, schema};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn open(dir: &Path) -> Result<Store, HistoryError> {
    Store::open(dir, &HistoryOptions::default())
}

#[test]
fn what_is_made_is_for_its_owner_only() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    let mut store = open(&dir).unwrap();
    store.apply(&[defined("daily", "00:00:00")]).unwrap();
    assert_eq!(mode(&dir), 0o700);
    let mut seen: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    seen.sort();
    assert_eq!(seen, ["history.db", "history.db-shm", "history.db-wal", "skycron.lock"]);
    for name in seen {
        assert_eq!(mode(&dir.join(&name)), 0o600, "{}", name.display());
    }
    store.close().unwrap();
    assert!(!dir.join("history.db-wal").exists(), "closed in order, nothing is left in the log");
}

#[test]
fn a_database_that_others_may_read_is_closed_to_them() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().close().unwrap();
    let path = dir.path().join(DATABASE_FILE);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(dir.path()).unwrap());
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn every_connection_that_writes_is_durable_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let pragma = |name| store.connection().pragma_query_value(None, name, |row| row.get::<_, String>(0));
    let number = |name| store.connection().pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(pragma("journal_mode").unwrap(), "wal");
    assert_eq!(number("synchronous"), 2, "FULL");
    assert_eq!(number("foreign_keys"), 1);
    let lax: Vec<String> = store
        .connection()
        .prepare("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND strict = 0")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(lax.iter().all(|name| name.starts_with("sqlite_")), "every table of ours is STRICT: {lax:?}");
}

/// A folder in which something was prepared is refused by the writer and the reader, and the database is not touched.
fn check_refused(name: &str, prepare: impl FnOnce(&Path), writer: &str, reader: &str) {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let before = fs::read(dir.path().join(DATABASE_FILE)).ok();
    let error = open(dir.path()).expect_err(name);
    assert_eq!(error.to_string(), writer, "{name}");
    assert!(error.hint().is_some(), "{name}: says what to do");
    assert!(!error.can_pass(), "{name}");
    assert_eq!(fs::read(dir.path().join(DATABASE_FILE)).ok(), before, "{name}: untouched");
    let error = Reader::open(dir.path()).expect_err(name);
    assert_eq!(error.to_string(), reader, "{name}");
}

fn tamper(dir: &Path, sql: &str) {
    rusqlite::Connection::open(dir.join(DATABASE_FILE)).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn what_is_not_ours_is_refused() {
    let known = schema::known_version();
    let newer = format!("the history was written by a newer skycron (its shape is 99, this version knows {known})");
    check_refused(
        "newer",
        |dir| {
            open(dir).unwrap().close().unwrap();
            tamper(dir, "PRAGMA user_version = 99");
        },
        &newer,
        &newer,
    );
    let negative = newer.replace("99", "-1");
    check_refused(
        "a version that nobody wrote",
        |dir| {
            open(dir).unwrap().close().unwrap();
            tamper(dir, "PRAGMA user_version = -1");
        },
        &negative,
        &negative,
    );
    let foreign = "the database is not a history of skycron";
    check_refused("another program's", |dir| tamper(dir, "CREATE TABLE cookies (name)"), foreign, foreign);
    check_refused(
        "another program's, empty",
        |dir| tamper(dir, "PRAGMA application_id = 1; PRAGMA user_version = 1"),
        foreign,
        foreign,
    );
    let garbage = "the history is damaged: file is not a database";
    check_refused("no database", |dir| fs::write(dir.join(DATABASE_FILE), "x".repeat(9000)).unwrap(), garbage, garbage);
}

#[test]
fn a_folder_that_everybody_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = open(dir.path()).expect_err("exposed");
    let expected = format!("{} can be written by every user of this machine (mode 777)", dir.path().display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made in it");
}

#[test]
fn a_folder_that_cannot_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(&file.join("state")).expect_err("below a file");
    assert_eq!(error.to_string(), format!("cannot make {}", file.join("state").display()));
    assert!(std::error::Error::source(&error).is_some(), "the system's reason is the source");
}

#[test]
fn one_daemon_for_each_history() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let error = open(dir.path()).expect_err("locked");
    assert!(matches!(&error, HistoryError::Locked { pid: Some(pid), .. } if *pid == std::process::id()), "{error:?}");
    let expected = format!("{} is in use by another skycron (process {})", dir.path().display(), std::process::id());
    assert_eq!(error.to_string(), expected);
    Reader::open(dir.path()).expect("readers need no lock");
    drop(store);
    // A lock file that is left over, with the pid of a process that is gone or nonsense, locks nothing.
    for left in ["4194304\n", "nonsense", ""] {
        fs::write(dir.path().join(LOCK_FILE), left).unwrap();
        drop(open(dir.path()).unwrap_or_else(|error| panic!("{left:?}: {error}")));
    }
}

#[test]
fn a_reader_finds_nothing_where_nothing_is() {
    let dir = tempfile::tempdir().unwrap();
    let absent = format!("there is no history in {}", dir.path().display());
    assert_eq!(Reader::open(dir.path()).expect_err("empty").to_string(), absent);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "and makes nothing");
    fs::write(dir.path().join(DATABASE_FILE), "").unwrap();
    assert_eq!(Reader::open(dir.path()).expect_err("not filled yet").to_string(), absent);
}

/// After a crash a database is checked before it is used: a page that was overwritten is found then, not in the middle of
/// the night.
#[test]
fn damage_is_found_after_a_crash() {
    let many: Vec<_> =
        (0..500).map(|n| occurred(&key("daily", &format!("14:00:00#n-{n}")), Status::Completed)).collect();
    let (dir, store) = stored(&many);
    store.close().unwrap();
    let path = dir.path().join(DATABASE_FILE);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xff);
    fs::write(&path, bytes).unwrap();
    // Something in the log, as a crash leaves it.
    fs::write(dir.path().join("history.db-wal"), "torn").unwrap();
    let error = open(dir.path()).expect_err("damaged");
    assert!(matches!(error, HistoryError::Damaged(_)), "{error}");
    let limit = HistoryOptions { check_bytes_max: 0, ..HistoryOptions::default() };
    fs::write(dir.path().join("history.db-wal"), "torn").unwrap();
    Store::open(dir.path(), &limit).expect("larger than the limit, it is not checked");
}

#[test]
fn values_that_skycron_did_not_write_are_named() {
    let daily = key("daily", "14:00:00");
    let cases = [
        (
            "UPDATE schedule SET accounted_through = 'soon'",
            r#"the history is damaged: column accounted_through has "soon""#,
        ),
        ("UPDATE definition SET definition = '7'", r#"the history is damaged: column definition has "7""#),
        ("UPDATE occurrence SET workflow_id = 'w_1'", r#"the history is damaged: column workflow_id has "w_1""#),
        ("UPDATE meta SET value = 'now'", r#"the history is damaged: column value has "now""#),
        (
            "UPDATE occurrence SET attempts = 5000000000",
            "the history is damaged: column attempts: Integer 5000000000 out of range at index 8",
        ),
    ];
    for (sql, expected) in cases {
        let (_dir, store) = stored(&[occurred(&daily, Status::Pending)]);
        store.connection().execute_batch(sql).unwrap();
        assert_eq!(store.memory().expect_err(sql).to_string(), expected);
    }
    // What the database itself keeps out.
    for sql in [
        "UPDATE occurrence SET status = 'done'",
        "UPDATE occurrence SET trigger = 'cron'",
        "UPDATE occurrence SET count = 0",
        "UPDATE occurrence SET parameters = '{'",
        "UPDATE occurrence SET schedule = 'nobody'",
        "UPDATE occurrence SET attempts = 'many'",
        "UPDATE schedule SET pause_note = 'without a pause'",
        "INSERT INTO attempt (occurrence, number, begun_at) VALUES (99, 1, '')",
        "INSERT INTO note (at, kind, text) VALUES ('', 'dreamt', '')",
        "INSERT INTO meta (name, value) VALUES ('colour', 'blue')",
        "UPDATE definition SET workflow_id = NULL",
    ] {
        let (_dir, store) = stored(&[occurred(&daily, Status::Pending)]);
        store.connection().execute_batch(sql).expect_err(sql);
    }
}

/// Where the child of the next test works; it does nothing without.
const CHILD_DIR: &str = "SKYCRON_TEST_READ_ONLY_DIR";

/// Not a test of its own: root may write everywhere, so this runs as somebody else.
#[test]
#[ignore = "started by the test below as a user without the right to write"]
fn child_without_the_right_to_write() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let dir = Path::new(&dir);
    fs::write(dir.join("probe"), "").expect_err("the folder must not be writable here");
    for (name, rows) in [("closed in order", 1), ("after a crash", 2)] {
        let state = dir.join(name);
        let reader = Reader::open(&state).unwrap_or_else(|error| panic!("{name}: {error}"));
        let filter = crate::history::HistoryFilter { limit: 10, ..Default::default() };
        assert_eq!(reader.history(&filter).unwrap().len(), rows, "{name}");
        let error = open(&state).expect_err(name);
        assert_eq!(error.to_string(), format!("cannot open {}", state.join(LOCK_FILE).display()));
        assert!(error.hint().is_some_and(|hint| hint.contains("belongs to the user")), "{name}");
    }
    assert_eq!(
        open(&dir.join("new")).expect_err("new").to_string(),
        format!("cannot make {}", dir.join("new").display())
    );
}

#[test]
fn a_read_only_folder_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (closed, crashed) = (dir.path().join("closed in order"), dir.path().join("after a crash"));
    for state in [&closed, &crashed] {
        let mut store = open(state).unwrap();
        store.apply(&[defined("daily", "00:00:00"), occurred(&key("daily", "14:00:00"), Status::Pending)]).unwrap();
        store.close().unwrap();
    }
    // What a crash leaves: one more row in the log only.
    let mut store = open(&crashed).unwrap();
    store.apply(&[occurred(&key("daily", "15:00:00"), Status::Pending)]).unwrap();
    let left: Vec<_> = ["history.db", "history.db-wal", "history.db-shm"]
        .map(|name| (crashed.join(name), fs::read(crashed.join(name)).unwrap()))
        .into();
    store.close().unwrap();
    for (path, bytes) in left {
        fs::write(path, bytes).unwrap();
    }
    // The lock file is not theirs to write either.
    fs::remove_file(closed.join(LOCK_FILE)).unwrap();
    fs::remove_file(crashed.join(LOCK_FILE)).unwrap();

    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "history::tests::opening::child_without_the_right_to_write", "--ignored"])
        .env(CHILD_DIR, dir.path());
    if nix::unistd::geteuid().is_root() {
        use std::os::unix::process::CommandExt;
        let nobody = 65534;
        for folder in [dir.path(), &closed, &crashed] {
            for entry in fs::read_dir(folder).unwrap() {
                std::os::unix::fs::chown(entry.unwrap().path(), Some(nobody), Some(nobody)).unwrap();
            }
            std::os::unix::fs::chown(folder, Some(nobody), Some(nobody)).unwrap();
        }
        child.uid(nobody).gid(nobody);
    }
    for folder in [&closed, &crashed, dir.path()] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o500)).unwrap();
    }
    let output = child.output().expect("the test's own program must be executable for nobody");
    for folder in [dir.path(), &closed, &crashed] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the child ran");
}
