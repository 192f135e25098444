//! Killed again and again, at random moments and at named places, while schedules are due, people trigger, the server fails
//! and the file is read again.

use std::{collections::BTreeSet, thread, time::Duration};

use chrono::{TimeZone, Utc};
use nix::sys::signal::Signal;
use skycron::{
    clock::Stopwatch,
    daemon::control::Answer,
    sandbox::{Behaviour, SandboxOptions},
};

use crate::{
    books,
    rig::{Chance, FastClock, QUICK, Rig, faketime_or_skip, say},
};

/// How often without being asked for more.
const KILLS_DEFAULT: usize = 12;
/// The longest life, in real milliseconds: several times what a start takes on a machine that is busy with other tests.
const LIFE_MILLIS_MAX: usize = 1200;
/// What the server does wrong, each in a share of the calls.
const FAULTS: &str = "start:6%=reset-after,start:6%=reset-before,start:5%=500-after,start:5%=500-before,start:4%=db-after,\
                      start:4%=busy,start:4%=429:1,start:4%=delay:150ms,start:3%=unreadable,start:3%=truncated,\
                      start:4%=tag-late:300ms,start:3%=stall:100ms,get:8%=500-before,get:4%=reset-before,get:2%=404,\
                      list:6%=500-before,list:4%=reset-before,list:3%=delay:100ms";
const PLACES: &[&str] = &[
    "before-memory",
    "after-memory",
    "before-commit",
    "in-transaction",
    "written",
    "after-commit",
    "before-post",
    "in-answer",
    "after-answer",
    "in-settle",
    "settled",
    "in-reload",
];

fn kills_wanted() -> usize {
    std::env::var("SKYCRON_CRASH_KILLS").ok().map_or(KILLS_DEFAULT, |text| text.parse().unwrap())
}

/// One life: the daemon is started, `busy` is done again and again, and it is killed at a place or at a moment. Whether it
/// was alive until then.
fn one_life(rig: &Rig, chance: &mut Chance, mut busy: impl FnMut(&mut Chance)) -> bool {
    // Half of them at a place; if that is not passed within the time, at that moment.
    let place =
        (chance.below(2) == 0).then(|| format!("{}:{}", PLACES[chance.below(PLACES.len())], 1 + chance.below(6)));
    let mut daemon = rig.daemon(place.as_deref());
    let life = Duration::from_millis(chance.below(LIFE_MILLIS_MAX) as u64);
    let watch = Stopwatch::start();
    while watch.elapsed() < life && daemon.ended().is_none() {
        if chance.below(16) == 0 {
            daemon.signal(Signal::SIGHUP);
        }
        busy(chance);
        thread::sleep(Duration::from_millis(5));
    }
    if let Some(status) = daemon.ended() {
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        // A reload that was asked for before it listened to signals is a death, too, but not the one that is counted.
        assert!(signal == Some(9) || signal == Some(1), "it ended by itself: {status}\n{}", rig.log_end());
        return signal == Some(9);
    }
    daemon.kill()
}

/// Starts by hand, on the machine's clock.
#[test]
fn triggers() {
    let schedule = |id: usize| {
        let expression = "cron_expression = \"0 0 1 1 *\"\noverlap = \"allow\"";
        format!("[[schedule]]\nid = \"s{id}\"\nworkflow_id = \"wpid_{id}\"\n{expression}\n")
    };
    let options = SandboxOptions { faults: FAULTS.parse().unwrap(), ..SandboxOptions::default() };
    let rig = Rig::with(options, None, QUICK, &(0..5).map(schedule).collect::<String>());
    let mut chance = Chance::new(1);
    let mut acknowledged = BTreeSet::new();
    let mut kills = 0;
    while kills < kills_wanted() {
        let survived = one_life(&rig, &mut chance, |chance| {
            if let Ok(Answer::Done { occurrences, .. }) = rig.trigger(&format!("s{}", chance.below(5))) {
                acknowledged.extend(occurrences);
            }
        });
        kills += usize::from(survived);
    }
    rig.sandbox.set_faults("".parse().unwrap());
    let mut daemon = rig.daemon(None);
    acknowledged.extend(rig.trigger_when_up("s0", &mut daemon));
    books::settled(&rig, 120);
    daemon.stop(&rig);
    let tally = books::agree(&rig);
    let keys: BTreeSet<_> = books::rows(&rig).into_iter().map(|row| row.key).collect();
    let lost: Vec<_> = acknowledged.difference(&keys).collect();
    assert!(lost.is_empty(), "acknowledged and not in the history: {lost:?}");
    assert_eq!(
        tally.unknown,
        0,
        "{:#?}",
        books::rows(&rig).iter().filter(|row| row.status == "unknown").collect::<Vec<_>>()
    );
    say(&format!("triggers: {kills} kills, {} acknowledged, {tally}: lost 0, doubled 0", acknowledged.len()));
}

/// How much faster the clock runs where schedules are due: five minutes are a second.
const SPEED: u32 = 300;
/// Seconds of that clock: none of them is long.
const SETTINGS: &str = "connect_timeout = \"300s\"\nrequest_timeout = \"600s\"\npoll_interval = \"20s\"\n\
                        poll_interval_max = \"20s\"\nsettle_grace = \"240s\"\n";

/// Policies that differ, and whether every occurrence is started under them however long nothing could fire.
const POLICIES: &[(&str, bool)] = &[
    ("catch_up = \"all\"\noverlap = \"allow\"", true),
    ("catch_up = \"latest\"\noverlap = \"skip\"", false),
    ("catch_up = \"none\"\noverlap = \"buffer_one\"", false),
    ("catch_up = \"all\"\noverlap = \"cancel_running\"", false),
    ("catch_up = \"all\"\noverlap = \"allow\"\njitter = \"40s\"", true),
];

/// Schedules that are due, on a clock that runs fast.
#[test]
fn timetables() {
    if faketime_or_skip("kills::timetables").is_none() {
        return;
    }
    let schedule = |n: usize| {
        let (policy, _) = POLICIES[n % POLICIES.len()];
        let minute = n % 5;
        format!(
            "[[schedule]]\nid = \"s{n}\"\nworkflow_id = \"wpid_{n}\"\ncron_expression = \"{minute}-59/5 * * * *\"\n{policy}\n"
        )
    };
    const SCHEDULES: usize = 20;
    let clock = FastClock::new(Utc.with_ymd_and_hms(2027, 3, 14, 6, 58, 50).unwrap(), SPEED);
    let behaviour = Behaviour {
        run_time: Duration::from_secs(20),
        run_time_spread: Duration::from_secs(400),
        ..Behaviour::default()
    };
    let options = SandboxOptions { faults: FAULTS.parse().unwrap(), behaviour, ..SandboxOptions::default() };
    let rig = Rig::with(options, Some(clock), SETTINGS, &(0..SCHEDULES).map(schedule).collect::<String>());
    let mut chance = Chance::new(2);
    let mut kills = 0;
    while kills < kills_wanted() {
        kills += usize::from(one_life(&rig, &mut chance, |_| {}));
    }
    rig.sandbox.set_faults("".parse().unwrap());
    let mut daemon = rig.daemon(None);
    rig.trigger_when_up("s0", &mut daemon).unwrap();
    books::quiet(&rig, 60);
    let until = rig.now();
    daemon.stop(&rig);
    let tally = books::agree(&rig);
    let occurrences: usize =
        (0..SCHEDULES).map(|n| books::accounted(&rig, &format!("s{n}"), (n % 5) as i64, until)).sum();
    for row in books::rows(&rig) {
        let all_started = POLICIES[row.schedule[1..].parse::<usize>().unwrap() % POLICIES.len()].1;
        if all_started && !row.is_open() && row.trigger != "manual" {
            let bound = "more than the 100 latest";
            assert!(
                row.run_id.is_some() || row.reason.contains(bound),
                "it should have been started: {row:?}\n{}",
                rig.log_end()
            );
        }
    }
    assert_eq!(
        tally.unknown,
        0,
        "{:#?}",
        books::rows(&rig).iter().filter(|row| row.status == "unknown").collect::<Vec<_>>()
    );
    say(&format!("timetables: {kills} kills, {occurrences} occurrences, {tally}: lost 0, doubled 0"));
}
