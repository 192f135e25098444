//! Alarms through crashes, outages and floods: everything that happened is told at least once, under one name, in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Map;
use skycron::{
    daemon::control::{Answer, Request, ask},
    engine::RunStatus,
    sandbox::{Behaviour, SandboxOptions},
};

use crate::{
    books,
    receiver::{Received, Receiver},
    rig::{QUICK, Rig, wait_for},
};

/// Tests of one table that run at a time.
const AT_A_TIME: usize = 6;

/// Where the daemon dies, and at which passages.
const PLACES: &[(&str, std::ops::RangeInclusive<u32>)] = &[
    ("in-transaction", 2..=6),
    ("written", 2..=6),
    ("after-commit", 2..=4),
    // A start and an end for each of two channels.
    ("alarm-sent", 1..=4),
];

/// Each run fails after 200 ms, and two channels are told: one of what is wrong, one of every run.
fn rig(receiver: &Receiver, ending: RunStatus, schedules: usize) -> Rig {
    let behaviour = Behaviour { run_time: Duration::from_millis(200), ending, ..Behaviour::default() };
    let options = SandboxOptions { behaviour, ..SandboxOptions::default() };
    Rig::with(options, None, QUICK, &file(receiver, schedules))
}

fn file(receiver: &Receiver, schedules: usize) -> String {
    let (hook, ping) = (receiver.url("/hook"), receiver.url("/ping/{{ schedule }}"));
    let mut file = format!(
        "[notify.ops]\nwebhook = {hook:?}\nheaders = {{ X-Team = \"ops\" }}\n[notify.hc]\nping = {ping:?}\n\
         [defaults]\nnotify = [\"ops\", \"hc\"]\noverlap = \"allow\"\n"
    );
    for number in 0..schedules {
        file +=
            &format!("[[schedule]]\nid = \"s{number}\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 0 1 1 *\"\n");
    }
    file
}

/// The rows of the database that are over: the names of their occurrences.
fn ended(rig: &Rig) -> Vec<String> {
    books::rows(rig).iter().filter(|row| !row.is_open()).map(|row| row.key.clone()).collect()
}

/// What each occurrence that failed must have led to: path and name.
fn expected(keys: &[String]) -> BTreeSet<(String, String)> {
    let of = |key: &String| {
        [("/hook", "failed"), ("/ping/s0/start", "started"), ("/ping/s0/fail", "failed")]
            .map(|(path, event)| (path.to_owned(), format!("{key}:{event}")))
    };
    keys.iter().flat_map(of).collect()
}

fn names(received: &[Received]) -> BTreeSet<(String, String)> {
    received.iter().map(|one| (one.path.clone(), one.id.clone())).collect()
}

/// Asks for starts, is killed at `place`, and is started again: nothing that happened stays untold.
fn check(place: &str) {
    let receiver = Receiver::start();
    let rig = rig(&receiver, RunStatus::Failed, 1);
    let mut daemon = rig.daemon(Some(place));
    for _ in 0..2 {
        rig.trigger_when_up("s0", &mut daemon);
    }
    wait_for(&format!("{place}: the daemon's death\n{}", rig.log()), 30, || daemon.ended());
    let mut daemon = rig.daemon(None);
    rig.trigger_when_up("s0", &mut daemon);
    let keys = wait_for(&format!("{place}: the end of all\n{}", rig.log()), 30, || {
        let rows = books::rows(&rig);
        rows.iter().all(|row| !row.is_open()).then(|| ended(&rig))
    });
    let expected = expected(&keys);
    wait_for(&format!("{place}: {expected:?}\n{:?}\n{}", names(&receiver.received()), rig.log()), 30, || {
        names(&receiver.received()).is_superset(&expected).then_some(())
    });
    daemon.stop(&rig);
    let received = receiver.received();
    assert_eq!(names(&received), expected, "{place}: nothing under another name");
    for key in &keys {
        let first =
            |path: &str| received.iter().position(|one| one.id.starts_with(&format!("{key}:")) && one.path == path);
        assert!(first("/ping/s0/start") < first("/ping/s0/fail"), "{place}: {key}: {:?}", names(&received));
    }
}

#[test]
fn nothing_is_lost_or_renamed_wherever_the_daemon_dies() {
    let places: Vec<String> = PLACES
        .iter()
        .flat_map(|(place, passages)| passages.clone().map(move |passage| format!("{place}:{passage}")))
        .collect();
    for batch in places.chunks(AT_A_TIME) {
        thread::scope(|scope| {
            for place in batch {
                scope.spawn(move || check(place));
            }
        });
    }
}

#[test]
fn a_receiver_that_is_away_is_told_when_it_is_back() {
    let receiver = Receiver::start();
    receiver.answer(503);
    let rig = rig(&receiver, RunStatus::Failed, 1);
    let mut daemon = rig.daemon(None);
    let key = rig.trigger_when_up("s0", &mut daemon).unwrap();
    wait_for("a failure in the log", 20, || rig.log().contains("an alarm could not be sent").then_some(()));
    let doctor = rig.project.run(&["doctor", "--state-dir", "state", "--format", "json"]);
    let found = doctor.objects().into_iter().find(|found| found["check"] == "alarms").unwrap();
    assert_eq!(found["status"], "warning", "{found}");
    assert!(found["message"].as_str().unwrap().contains("it answered 503"), "{found}");
    daemon.signal(Signal::SIGKILL);
    wait_for("its death", 20, || daemon.ended());
    receiver.answer(200);
    let daemon = rig.daemon(None);
    let expected = expected(&[key]);
    wait_for("every alarm", 30, || names(&receiver.received()).is_superset(&expected).then_some(()));
    daemon.stop(&rig);
    let hook = receiver.received().into_iter().find(|one| one.path == "/hook").unwrap();
    assert!(hook.headers.to_lowercase().contains("x-team: ops"), "{}", hook.headers);
    assert_eq!(hook.json()["status"], "failed");
    assert!(!rig.log().contains("/hook"), "an address is never shown:\n{}", rig.log());
}

#[test]
fn a_flood_becomes_one_and_nothing_is_left_out() {
    const STARTS: usize = 40;
    let receiver = Receiver::start();
    receiver.answer(503);
    let rig = rig(&receiver, RunStatus::Failed, STARTS);
    let mut daemon = rig.daemon(None);
    rig.trigger_when_up("s0", &mut daemon).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for number in 1..STARTS {
        let request = Request::Trigger { schedule: format!("s{number}"), parameters: Map::new() };
        assert!(matches!(runtime.block_on(ask(&rig.state_dir(), &request)).unwrap(), Answer::Done { .. }));
    }
    wait_for("the end of all runs", 30, || (ended(&rig).len() == STARTS).then_some(()));
    receiver.answer(200);
    let told = |received: &[Received]| -> BTreeMap<String, u64> {
        let mut told = BTreeMap::new();
        for one in received.iter().filter(|one| one.path == "/hook") {
            let json = one.json();
            let count = if json["event"] == "summary" { json["events"]["failed"].as_u64().unwrap() } else { 1 };
            told.insert(one.id.clone(), count);
        }
        told
    };
    let what = || format!("{STARTS} alarms\n{:?}\n{}", told(&receiver.received()), rig.log_end());
    wait_for(&what(), 60, || (told(&receiver.received()).values().sum::<u64>() == STARTS as u64).then_some(()));
    let posts = told(&receiver.received()).len();
    assert!(posts <= 4, "{posts} POSTs");
    wait_for("every ping", 60, || {
        let pings = receiver.received().iter().filter(|one| one.path.ends_with("/fail")).count();
        (pings == STARTS).then_some(())
    });
    daemon.stop(&rig);
}

#[test]
fn a_history_that_cannot_be_written_is_told_without_it() {
    let receiver = Receiver::start();
    let rig = rig(&receiver, RunStatus::Completed, 1);
    let mut daemon = rig.daemon(None);
    rig.trigger_when_up("s0", &mut daemon).unwrap();
    let database = rusqlite::Connection::open(rig.state_dir().join("history.db")).unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let told = |event: &str| {
        let received = receiver.received();
        received.iter().any(|one| one.path == "/hook" && one.json()["event"] == event).then_some(())
    };
    wait_for(&format!("the alarm\n{}", rig.log_end()), 40, || told("history_stalled"));
    database.execute_batch("ROLLBACK").unwrap();
    wait_for(&format!("the end of it\n{}", rig.log_end()), 40, || told("recovered"));
    daemon.stop(&rig);
}
