//! Who fires, against the real server: a schedule that its own scheduler starts, seen and recorded by the daemon with its
//! lateness; taken back, fired by the daemon on time, and handed over again. Takes some eight minutes: the server accepts
//! nothing more often than every five.

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use serde_json::Value;
use skycron::clock::{Clock, SystemClock, parse_rfc3339};

use crate::rig::{Daemon, Home, Live, wait_for};

/// From the start of the daemon to the first occurrence: enough to hand over, with room before it.
const FIRST_SECONDS_MIN: i64 = 75;
/// The server of these tests looks every two seconds; the rest is for a busy machine.
const LATE_SECONDS_MAX: i64 = 30;

#[track_caller]
fn wait_for_row(home: &Home, what: &str, seconds_max: u64, condition: impl Fn(&Value) -> bool) -> Value {
    wait_for(&format!("{what}\n{}", home.log()), seconds_max, || home.history().into_iter().find(&condition))
}

fn instant(row: &Value, field: &str) -> DateTime<Utc> {
    parse_rfc3339(row[field].as_str().unwrap()).unwrap()
}

fn reload(daemon: &Daemon<'_>) {
    let pid = daemon.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn the_server_fires_is_watched_and_hands_back() {
    let live = Live::get();
    let workflow = live.make_workflow();
    let soon = SystemClock.now() + TimeDelta::seconds(FIRST_SECONDS_MIN);
    let first = soon.with_second(0).unwrap().with_nanosecond(0).unwrap() + TimeDelta::minutes(1);
    let second = first + TimeDelta::minutes(5);
    let mut minutes = [first.minute(), second.minute()];
    minutes.sort_unstable();
    let file = |fires: &str| {
        format!(
            "[mirror]\nenabled = true\n[[schedule]]\nid = \"probe\"\nworkflow_id = {workflow:?}\nfires = {fires:?}\n\
             cron_expression = \"{},{} * * * *\"\n",
            minutes[0], minutes[1]
        )
    };
    let at_server = || {
        let answer = live.ask(&format!("/api/v1/workflows/{workflow}/schedules"));
        let schedules = answer["schedules"].as_array().unwrap().clone();
        assert!(schedules.len() <= 1, "{schedules:#?}");
        schedules.first().map(|schedule| schedule["enabled"] == true)
    };
    let scheduled_runs = || {
        let runs = live.ask(&format!("/api/v1/workflows/{workflow}/runs?page_size=100"));
        runs.as_array().unwrap().iter().filter(|run| run["trigger_type"] == "scheduled").count()
    };
    let home = Home::new(&live, "owner", &file("server"));
    let daemon = home.daemon();
    wait_for(&format!("an enabled copy\n{}", home.log()), 30, || (at_server() == Some(true)).then_some(()));

    let row = wait_for_row(&home, "the server's run", 240, |row| row["status"] == "completed");
    assert_eq!(instant(&row, "scheduled_for"), first, "{row:#}\n{}", home.log());
    assert_eq!((&row["trigger"], &row["attempts"]), (&"server".into(), &0.into()), "{row:#}");
    let late = instant(&row, "launched_at") - first;
    assert!(late >= TimeDelta::zero() && late < TimeDelta::seconds(LATE_SECONDS_MAX), "{late}: {row:#}");
    let run = live.ask(&format!("/v1/runs/{}", row["run_id"].as_str().unwrap()));
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_eq!(scheduled_runs(), 1);

    home.write(&file("local"));
    reload(&daemon);
    wait_for(&format!("a disabled copy\n{}", home.log()), 60, || (at_server() == Some(false)).then_some(()));
    let row = wait_for_row(&home, "the daemon's own run", 400, |row| {
        row["status"] == "completed" && row["trigger"] == "schedule"
    });
    assert_eq!(instant(&row, "scheduled_for"), second, "{row:#}\n{}", home.log());
    assert_eq!(row["attempts"], 1, "{row:#}");
    assert_eq!(live.runs_of(&workflow, row["occurrence"].as_str().unwrap()).len(), 1);
    assert_eq!(scheduled_runs(), 1, "the server did not start it too\n{}", home.log());

    home.write(&file("server"));
    reload(&daemon);
    wait_for(&format!("an enabled copy again\n{}", home.log()), 180, || (at_server() == Some(true)).then_some(()));
    home.skycron(&["audit"]).expect_code(0);
    home.skycron(&["mirror", "status"]).expect_code(0);
    assert_eq!(home.history().len(), 2, "{:#?}", home.history());
    daemon.stop();
    assert_eq!(scheduled_runs(), 1);
    println!("{}", home.log());
    println!("{}", home.skycron(&["history"]).expect_code(0).stdout);
}
