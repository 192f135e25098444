//! The real binary on clocks that are not the machine's: days on which an hour is missing or comes twice, and a clock that is
//! set while it runs.

use std::{fs, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use skycron::{
    clock::{Stopwatch, parse_rfc3339},
    sandbox::{Behaviour, SandboxOptions},
};

use crate::{
    books,
    rig::{Daemon, FastClock, QUICK, Rig, faketime, faketime_or_skip, wait_for},
};

const SETTINGS: &str = "connect_timeout = \"300s\"\nrequest_timeout = \"600s\"\npoll_interval = \"60s\"\n\
                        poll_interval_max = \"60s\"\nsettle_grace = \"600s\"\n";

fn at(text: &str) -> DateTime<Utc> {
    parse_rfc3339(text).unwrap()
}

/// Three hours of a day in New York are twelve seconds; each schedule is fired at these instants, and at no others.
fn day(from: &str, expected: &[(&str, &str, &[&str])]) {
    const SPEED: u32 = 900;
    let clock = FastClock::new(at(from), SPEED);
    let schedules: String = expected
        .iter()
        .enumerate()
        .map(|(n, (expression, options, _))| {
            format!(
                "[[schedule]]\nid = \"s{n}\"\nworkflow_id = \"wpid_{n}\"\ncron_expression = \"{expression}\"\n\
                 timezone = \"America/New_York\"\noverlap = \"allow\"\n{options}\n"
            )
        })
        .collect();
    let behaviour = Behaviour { run_time: Duration::from_secs(60), ..Behaviour::default() };
    let rig = Rig::with(SandboxOptions { behaviour, ..SandboxOptions::default() }, Some(clock), SETTINGS, &schedules);
    let until = at(from) + TimeDelta::minutes(190);
    let daemon = rig.daemon(None);
    wait_for("a little over three hours of this clock", 60, || (rig.now() > until).then_some(()));
    books::quiet(&rig, 20);
    daemon.stop(&rig);
    books::agree(&rig);
    for (n, (expression, options, instants)) in expected.iter().enumerate() {
        let rows: Vec<_> = books::rows(&rig)
            .into_iter()
            .filter(|row| row.schedule == format!("s{n}") && row.scheduled_for <= until)
            .collect();
        let found: Vec<_> = rows.iter().map(|row| row.scheduled_for).collect();
        let wanted: Vec<_> = instants.iter().map(|text| at(text)).collect();
        assert_eq!(found, wanted, "{expression} {options}\n{}", rig.log());
        assert!(rows.iter().all(|row| row.status == "completed"), "{rows:#?}");
    }
}

#[test]
fn an_hour_that_is_missing() {
    if faketime_or_skip("clock::an_hour_that_is_missing").is_none() {
        return;
    }
    // 02:00 to 03:00 does not exist on 14 March 2027: at 07:00Z the wall goes from 01:59 to 03:00.
    day(
        "2027-03-14T05:35:00Z",
        &[
            ("30 1 * * *", "", &["2027-03-14T06:30:00Z"]),
            ("30 2 * * *", "", &["2027-03-14T07:30:00Z"]),
            ("30 2 * * *", "gap = \"skip\"", &[]),
            ("0 * * * *", "", &["2027-03-14T06:00:00Z", "2027-03-14T07:00:00Z", "2027-03-14T08:00:00Z"]),
        ],
    );
}

#[test]
fn an_hour_that_comes_twice() {
    if faketime_or_skip("clock::an_hour_that_comes_twice").is_none() {
        return;
    }
    // 01:00 to 02:00 comes twice on 1 November 2026: at 06:00Z the wall goes from 01:59 to 01:00.
    day(
        "2026-11-01T04:35:00Z",
        &[
            ("30 1 * * *", "", &["2026-11-01T05:30:00Z"]),
            ("30 1 * * *", "fold = \"both\"", &["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"]),
            ("0 * * * *", "", &["2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"]),
        ],
    );
}

/// A daemon whose clock is set while it runs. A schedule is due every five minutes.
struct Settable {
    rig: Rig,
    daemon: Daemon,
}

impl Settable {
    /// It shows 12:04:50 when the daemon starts, and the first occurrence, of 12:05, is over.
    fn new() -> Self {
        let schedule = "[[schedule]]\nid = \"s\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"*/5 * * * *\"\n";
        let rig = Rig::new(QUICK, schedule);
        set(&rig, "2027-05-01T12:04:50Z");
        let daemon = rig.daemon_with(&[
            ("LD_PRELOAD", faketime().unwrap().to_str().unwrap()),
            // An offset to the machine's clock, which the library reads at every question.
            ("FAKETIME_TIMESTAMP_FILE", rig.project.path("offset").to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("TZ", "UTC"),
        ]);
        let mut this = Self { rig, daemon };
        this.wait_for_rows(1);
        this
    }

    /// Sets the clock. A library cannot cancel the kernel's timer, as it is when a clock is really set: a signal that asks for
    /// nothing but the state in the log wakes the daemon, and a question makes it look at the clock.
    fn set(&self, instant: &str) {
        let steps = || books::notes(&self.rig).iter().filter(|note| note.starts_with("clock_stepped")).count();
        let before = steps();
        set(&self.rig, instant);
        wait_for(&format!("the step to be noted\n{}", self.rig.log()), 20, || {
            let _ = self.rig.trigger("nothing");
            (steps() > before).then_some(())
        });
    }

    fn wait_for_rows(&mut self, count: usize) {
        wait_for(&format!("{count} rows\n{}", self.rig.log()), 40, || {
            assert!(self.daemon.ended().is_none(), "{}", self.rig.log());
            let rows = books::rows(&self.rig);
            assert!(rows.len() <= count, "{rows:#?}\n{}", self.rig.log());
            (rows.len() == count && rows.iter().all(|row| !row.is_open())).then_some(())
        });
    }

    /// Ends it; the rows are these instants and statuses.
    #[track_caller]
    fn end(self, expected: &[(&str, &str)]) {
        self.daemon.stop(&self.rig);
        let rows = books::rows(&self.rig);
        let found: Vec<_> = rows.iter().map(|row| (&row.key[15..], row.status.as_str())).collect();
        assert_eq!(found, expected, "{}", self.rig.log());
        books::agree(&self.rig);
    }
}

fn set(rig: &Rig, instant: &str) {
    fs::write(rig.project.path("offset.new"), format!("{:+}\n", (at(instant) - rig.now()).num_seconds())).unwrap();
    fs::rename(rig.project.path("offset.new"), rig.project.path("offset")).unwrap();
}

#[test]
fn a_clock_that_is_set_forward() {
    if faketime_or_skip("clock::a_clock_that_is_set_forward").is_none() {
        return;
    }
    let mut clock = Settable::new();
    clock.set("2027-05-01T12:24:57Z");
    clock.wait_for_rows(4);
    clock.end(&[
        ("12:05:00Z", "completed"),
        ("12:10:00Z", "missed"),
        ("12:20:00Z", "completed"),
        ("12:25:00Z", "completed"),
    ]);
}

#[test]
fn a_clock_that_is_set_back() {
    if faketime_or_skip("clock::a_clock_that_is_set_back").is_none() {
        return;
    }
    let mut clock = Settable::new();
    // The instant comes a second time; its occurrence does not.
    clock.set("2027-05-01T12:04:57Z");
    let watch = Stopwatch::start();
    wait_for("the clock to pass it again", 20, || (watch.elapsed() > Duration::from_secs(5)).then_some(()));
    clock.set("2027-05-01T12:09:57Z");
    clock.wait_for_rows(2);
    clock.end(&[("12:05:00Z", "completed"), ("12:10:00Z", "completed")]);
}
