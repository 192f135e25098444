//! The real binary and the look-alike's own scheduler, on a clock that runs fast: who fires, handed over and taken back while
//! occurrences come due, with the process killed in between. What is judged is always that each occurrence has one run.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};
use nix::sys::signal::Signal;
use skycron::{
    clock::{Stopwatch, parse_rfc3339},
    sandbox::{Behaviour, FaultPlan, SandboxOptions},
};

use crate::{
    books::{self, Row},
    rig::{Chance, Daemon, FastClock, Rig, faketime_or_skip, say, wait_for},
};

/// A minute of this clock is a second.
const SPEED: u32 = 60;
const SETTINGS: &str = "connect_timeout = \"300s\"\nrequest_timeout = \"600s\"\npoll_interval = \"10s\"\n\
                        poll_interval_max = \"10s\"\nsettle_grace = \"120s\"\n[mirror]\nenabled = true\ninterval = \"2m\"\n";

fn at(text: &str) -> DateTime<Utc> {
    parse_rfc3339(text).unwrap()
}

fn file(fires: &str, more: &str) -> String {
    format!(
        "[[schedule]]\nid = \"s\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"*/15 * * * *\"\noverlap = \"allow\"\n\
         fires = \"{fires}\"\n{more}\n"
    )
}

fn rig(fires: &str, more: &str) -> Rig {
    let clock = FastClock::new(at("2027-05-01T12:01:00Z"), SPEED);
    let behaviour = Behaviour { run_time: Duration::from_secs(20), ..Behaviour::default() };
    let options = SandboxOptions {
        behaviour,
        // Every minute, as a real server does.
        schedule_poll_interval: Duration::from_secs(60) / SPEED,
        schedule_runs_max: 10,
        ..SandboxOptions::default()
    };
    Rig::with(options, Some(clock), SETTINGS, &file(fires, more))
}

/// Rows of the timetable that are over, by this trigger.
fn over(rig: &Rig, trigger: &str) -> Vec<Row> {
    books::rows(rig).into_iter().filter(|row| row.trigger == trigger && !row.is_open()).collect()
}

#[track_caller]
fn wait_for_more(rig: &Rig, daemon: &mut Daemon, trigger: &str, more: usize) {
    let before = over(rig, trigger).len();
    let watch = Stopwatch::start();
    wait_for(&format!("{more} more rows by {trigger}"), 200, || {
        assert!(daemon.ended().is_none(), "{}", rig.log());
        assert!(watch.elapsed() < Duration::from_secs(150), "{more} more rows by {trigger}\n{}", rig.log());
        (over(rig, trigger).len() >= before + more).then_some(())
    });
}

/// One run for each occurrence, and each run in the row of its own; nothing lost.
#[track_caller]
fn one_run_each(rig: &Rig) {
    let rows = books::rows(rig);
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for run in rig.sandbox.runs() {
        let of: Vec<&Row> = rows.iter().filter(|row| row.run_id.as_ref() == Some(&run.run_id)).collect();
        assert_eq!(of.len(), 1, "{run:?} is of {of:#?}\n{rows:#?}\n{}", rig.log_end());
        let by_server = run.trigger_type == "scheduled";
        assert_eq!(by_server, of[0].attempts == 0, "{run:?} {:?}\n{}", of[0], rig.log_end());
        assert!(taken.insert(of[0].key.clone()), "{} was started twice\n{}", of[0].key, rig.log_end());
    }
    let due: BTreeSet<DateTime<Utc>> =
        rows.iter().filter(|row| !row.key.contains('#')).map(|r| r.scheduled_for).collect();
    let (first, last) = (due.first().unwrap(), due.last().unwrap());
    let quarters = (*last - *first).num_minutes() / 15 + 1;
    let counted: i64 = rows.iter().filter(|row| !row.key.contains('#')).map(|row| row.count).sum();
    assert_eq!(counted, quarters, "{rows:#?}\n{}", rig.log_end());
}

#[test]
fn handed_over_and_taken_back_around_occurrences() {
    if faketime_or_skip("owner::handed_over_and_taken_back_around_occurrences").is_none() {
        return;
    }
    let rig = rig("server", "");
    let mut daemon = rig.daemon(None);
    wait_for_more(&rig, &mut daemon, "server", 2);
    rig.write_file(SETTINGS, &file("local", ""));
    daemon.signal(Signal::SIGHUP);
    wait_for_more(&rig, &mut daemon, "schedule", 2);
    rig.write_file(SETTINGS, &file("server", ""));
    daemon.signal(Signal::SIGHUP);
    wait_for_more(&rig, &mut daemon, "server", 2);
    books::quiet(&rig, 60);
    daemon.stop(&rig);
    one_run_each(&rig);
    let rows = books::rows(&rig);
    assert!(rows.iter().all(|row| row.status == "completed"), "{rows:#?}\n{}", rig.log());
    let notes = books::notes(&rig);
    for wanted in ["the server fires it, from", "it is taken back from the server", "this daemon fires it again"] {
        assert!(
            notes.iter().any(|note| note.starts_with("handover: s: ") && note.contains(wanted)),
            "{wanted}: {notes:#?}"
        );
    }
}

#[test]
fn what_the_server_does_not_start_in_time() {
    if faketime_or_skip("owner::what_the_server_does_not_start_in_time").is_none() {
        return;
    }
    let missed = || "fire:*=missed".parse::<FaultPlan>().unwrap();
    // Nobody was told to do anything about it: missed, and loud.
    let plain = rig("server", "server_grace = \"2m\"");
    plain.sandbox.set_faults(missed());
    let mut daemon = plain.daemon(None);
    wait_for_more(&plain, &mut daemon, "server", 1);
    daemon.stop(&plain);
    let rows = over(&plain, "server");
    assert!(rows[0].status == "missed" && rows[0].reason.starts_with("not_fired: "), "{rows:#?}\n{}", plain.log());
    assert!(plain.log().contains("ERROR"), "{}", plain.log());
    // Failover: this daemon starts it, and the server has the next one again.
    let local = rig("server", "server_grace = \"2m\"\nfailover = \"local\"");
    local.sandbox.set_faults(missed());
    let mut daemon = local.daemon(None);
    wait_for_more(&local, &mut daemon, "server", 1);
    local.sandbox.set_faults(FaultPlan::default());
    wait_for_more(&local, &mut daemon, "server", 2);
    books::quiet(&local, 60);
    daemon.stop(&local);
    one_run_each(&local);
    let rows = over(&local, "server");
    assert!(rows[0].status == "completed" && rows[0].attempts == 1, "{rows:#?}\n{}", local.log());
    assert!(rows[0].reason.starts_with("failover: "), "{rows:#?}");
    assert!(rows.iter().any(|row| row.attempts == 0 && row.status == "completed"), "{rows:#?}\n{}", local.log());
}

/// Killed at each place of a handover in both directions, and at random; the next process settles it.
#[test]
fn killed_in_the_middle_of_a_handover() {
    if faketime_or_skip("owner::killed_in_the_middle_of_a_handover").is_none() {
        return;
    }
    let mut chance = Chance::new(5);
    let rig = rig("server", "failover = \"local\"\nserver_grace = \"3m\"");
    let mut died = 0;
    for (fires, place) in [
        ("server", "mirror-before-enable:1"),
        ("server", "mirror-after-enable:1"),
        ("local", "mirror-before-disable:1"),
        ("local", "mirror-after-disable:1"),
        ("server", "looked:2"),
        ("local", "mirror-planned:1"),
        ("server", "settled:1"),
    ] {
        rig.write_file(SETTINGS, &file(fires, "failover = \"local\"\nserver_grace = \"3m\""));
        let mut daemon = rig.daemon(Some(place));
        let until = rig.now() + chrono::TimeDelta::seconds(i64::try_from(60 + chance.below(1200)).unwrap());
        let fell = wait_for("its end, or its time", 60, || match daemon.ended() {
            Some(_) => Some(true),
            None => (rig.now() > until).then_some(false),
        });
        if !fell {
            assert!(daemon.kill(), "{place}\n{}", rig.log());
        }
        died += usize::from(fell);
    }
    rig.write_file(SETTINGS, &file("server", ""));
    let mut daemon = rig.daemon(None);
    wait_for_more(&rig, &mut daemon, "server", 2);
    books::quiet(&rig, 60);
    daemon.stop(&rig);
    one_run_each(&rig);
    assert!(died >= 2, "it died at {died} places only\n{}", rig.log());
    say(&format!("died at {died} places; {} rows, {} runs", books::rows(&rig).len(), rig.sandbox.runs().len()));
}
