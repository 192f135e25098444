//! What carries the history fails under a running daemon: nothing is started that could not be recorded first, the log says
//! why, and it goes on by itself when the cause is gone.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
    thread,
};

use rusqlite::Connection;
use skycron::{daemon::control::Answer, sandbox::SandboxOptions};

use crate::{
    books,
    rig::{QUICK, Rig, say, wait_for},
};

const SCHEDULE: &str =
    "[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 0 1 1 *\"\noverlap = \"allow\"\n";

/// While `broken` holds, a start is asked for: none leaves, and the log says `says`. Once it is dropped, it is made.
#[track_caller]
fn stands_still<T>(rig: &Rig, broken: T, says: &str) {
    let before = rig.sandbox.starts_received();
    thread::scope(|scope| {
        let asked = scope.spawn(|| rig.trigger("a"));
        wait_for("the log to say that the history stands still", 20, || {
            let log = rig.log();
            (log.contains("the history stands still") && log.contains(says)).then_some(())
        });
        assert_eq!(rig.sandbox.starts_received(), before, "something was started without its row\n{}", rig.log());
        assert!(!asked.is_finished(), "a start was acknowledged that is not recorded");
        drop(broken);
        let answer = asked.join().unwrap().unwrap();
        assert!(matches!(&answer, Answer::Done { occurrences, .. } if occurrences.len() == 1), "{answer:?}");
    });
    assert!(rig.log().contains("the history goes on"), "{}", rig.log());
    books::settled(rig, 20);
    assert_eq!(rig.sandbox.starts_received(), before + 1);
}

#[test]
fn a_database_that_somebody_holds() {
    let rig = Rig::new(QUICK, SCHEDULE);
    let mut daemon = rig.daemon(None);
    rig.trigger_when_up("a", &mut daemon).unwrap();
    books::settled(&rig, 20);
    /// A transaction that was left open, as in a forgotten `sqlite3`.
    struct Held(Connection);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.execute_batch("ROLLBACK").unwrap();
        }
    }
    let held = Held(books::open(&rig).unwrap());
    held.0.execute_batch("BEGIN IMMEDIATE").unwrap();
    stands_still(&rig, held, "another program holds the database");
    daemon.stop(&rig);
    assert_eq!(books::agree(&rig).runs, 2);
}

/// A file system of two megabytes on a folder; gone when it is dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(test: &str, path: &'a Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"]).arg(path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        say(&format!("SKIPPED {test}: a file system cannot be mounted here (it takes root)"));
        None
    }

    /// Takes all that is left of it.
    fn fill(&self) -> Filled {
        let path = self.0.join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [65_536, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        Filled(path)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

/// The room that was taken, until it is dropped.
struct Filled(std::path::PathBuf);

impl Drop for Filled {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_disk_that_is_full() {
    let rig = Rig::new(QUICK, SCHEDULE);
    let state = rig.state_dir();
    let Some(disk) = Mounted::new("disk::a_disk_that_is_full", &state) else { return };
    let mut daemon = rig.daemon(None);
    rig.trigger_when_up("a", &mut daemon).unwrap();
    books::settled(&rig, 20);
    stands_still(&rig, disk.fill(), "make room on the disk");

    // Killed while it stands still: what could not be recorded was not started, and is not there.
    let filled = disk.fill();
    let starts = rig.sandbox.starts_received();
    thread::scope(|scope| {
        let asked = scope.spawn(|| rig.trigger("a"));
        wait_for("the log to say so again", 20, || {
            (rig.log().matches("the history stands still").count() >= 2).then_some(())
        });
        assert!(daemon.kill());
        assert!(asked.join().unwrap().is_err());
    });
    assert_eq!(rig.sandbox.starts_received(), starts);
    drop(filled);
    let mut daemon = rig.daemon(None);
    rig.trigger_when_up("a", &mut daemon).unwrap();
    books::settled(&rig, 20);
    daemon.stop(&rig);
    let tally = books::agree(&rig);
    assert_eq!((tally.rows, tally.runs), (3, 3), "{}", rig.log());
}

/// There never was room: it says so, and ends.
#[test]
fn a_disk_that_was_full_before() {
    let rig = Rig::new(QUICK, SCHEDULE);
    let state = rig.state_dir();
    let Some(disk) = Mounted::new("disk::a_disk_that_was_full_before", &state) else { return };
    let _filled = disk.fill();
    let mut daemon = rig.daemon(None);
    let status = wait_for("the daemon's end", 20, || daemon.ended());
    assert_eq!(status.code(), Some(1), "{}", rig.log());
    assert!(rig.log().contains("make room on the disk"), "{}", rig.log());
}

/// A disk that can only be read: it says so, and ends; what is there can still be looked at.
#[test]
fn a_disk_that_is_read_only() {
    let rig = Rig::new(QUICK, SCHEDULE);
    let state = rig.state_dir();
    let Some(disk) = Mounted::new("disk::a_disk_that_is_read_only", &state) else { return };
    let mut daemon = rig.daemon(None);
    rig.trigger_when_up("a", &mut daemon).unwrap();
    books::settled(&rig, 20);
    daemon.stop(&rig);
    // An orderly stop leaves nothing in a log, which could not be read on such a disk.
    assert!(!state.join("history.db-wal").exists(), "the history was not closed");
    assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(disk.0).status().unwrap().success());
    let starts = rig.sandbox.starts_received();
    for command in [["run"].as_slice(), &["trigger", "a"]] {
        let output = rig.command(command).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{command:?}: {said}");
        assert!(said.contains("Read-only file system") && said.contains("state"), "{command:?}: {said}");
    }
    assert_eq!(rig.sandbox.starts_received(), starts);
    let output = rig.command(&["history"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("completed"));
}

/// The log of the database as a power cut may leave it: with something behind its last whole record.
#[test]
fn a_torn_log() {
    let check = |what: &str, tear: fn(Vec<u8>) -> Vec<u8>| {
        let rig = Rig::with(SandboxOptions::default(), None, QUICK, SCHEDULE);
        let mut daemon = rig.daemon(None);
        for _ in 0..3 {
            rig.trigger_when_up("a", &mut daemon).unwrap();
        }
        // A reader that is there to the end keeps the log from being taken over.
        wait_for("the starts", 20, || (rig.sandbox.runs().len() == 3).then_some(()));
        assert!(daemon.kill());
        let path = rig.state_dir().join("history.db-wal");
        let log = fs::read(&path).unwrap();
        assert!(log.len() > 4096, "{what}: there is nothing in the log");
        fs::write(&path, tear(log)).unwrap();
        let mut daemon = rig.daemon(None);
        rig.trigger_when_up("a", &mut daemon).unwrap_or_else(|| panic!("{what}:\n{}", rig.log()));
        books::settled(&rig, 20);
        daemon.stop(&rig);
        let tally = books::agree(&rig);
        assert_eq!((tally.rows, tally.runs, tally.unknown), (4, 4, 0), "{what}: {}", rig.log());
    };
    check("nothing", |log| log);
    check("a piece of a record", |mut log| {
        log.extend_from_within(log.len() - 2000..);
        log
    });
    // A whole record (24 bytes and a page) again, whose checksum is not what comes after the others.
    check("a record of before", |mut log| {
        log.extend_from_within(log.len() - 4120..);
        log
    });
    check("garbage", |mut log| {
        log.extend([0xA5; 10_000]);
        log
    });
}
