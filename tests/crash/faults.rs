//! Every fault of the server, for starting, looking for, following and cancelling a run: what the history says in the end,
//! attempt by attempt, and what the server has.

use std::{sync::Mutex, thread, time::Duration};

use chrono::{TimeZone, Utc};
use skycron::sandbox::{Behaviour, SandboxOptions};

use crate::{
    books,
    rig::{FastClock, Rig, faketime_or_skip, wait_for},
};

/// A minute is a second.
const SPEED: u32 = 60;
/// Seconds of that clock. The grace is longer than any time after which a fault still makes a run.
const SETTINGS: &str = "connect_timeout = \"60s\"\nrequest_timeout = \"60s\"\npoll_interval = \"6s\"\npoll_interval_max = \"6s\"\n\
                        settle_grace = \"150s\"\n";
/// Cases that run at a time: most of the time each waits.
const AT_A_TIME: usize = 8;

/// One schedule that is due once, `options` of it, a server with `faults`: what came of it.
struct Case {
    faults: &'static str,
    options: &'static str,
    behaviour: Behaviour,
    tags_ignored: bool,
    /// `status: outcome of each attempt; N runs`, with the state of the last run at the server.
    expected: &'static str,
    /// What the reason says.
    says: &'static str,
}

fn check(case: &Case) -> Result<(), String> {
    let Case { faults, options, behaviour, tags_ignored, expected, says } = case;
    // Two minutes of this clock for the start: on a machine that is busy with other things it takes that long.
    let clock = FastClock::new(Utc.with_ymd_and_hms(2027, 5, 1, 11, 3, 0).unwrap(), SPEED);
    let version = if *tags_ignored { None } else { SandboxOptions::default().version };
    let sandbox = SandboxOptions {
        faults: faults.parse().unwrap(),
        behaviour: behaviour.clone(),
        tags_ignored: *tags_ignored,
        version,
        ..SandboxOptions::default()
    };
    let schedule =
        format!("[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"5 * * * *\"\n{options}\n");
    let rig = Rig::with(sandbox, Some(clock), SETTINGS, &schedule);
    let mut daemon = rig.daemon(None);
    let row = wait_for(&format!("{faults}: the end of it"), 40, || {
        assert!(daemon.ended().is_none(), "{}", rig.log());
        books::rows(&rig).into_iter().next().filter(|row| !row.is_open())
    });
    daemon.stop(&rig);
    books::agree(&rig);
    let attempts = books::attempts(&rig, &row.key).join(", ");
    let runs = rig.sandbox.runs();
    let last = runs.last().map_or_else(String::new, |run| format!(", {}", run.status.word()));
    let found = format!("{}: {attempts}; {}{last}", row.status, runs.len());
    if found == *expected && row.reason.contains(says) {
        return Ok(());
    }
    Err(format!("{faults}\n  expected {expected} ({says})\n  found    {found} ({})\n{}", row.reason, rig.log()))
}

fn check_all(cases: Vec<Case>) {
    let cases = Mutex::new(cases);
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(case) = { cases.lock().unwrap().pop() } {
                    if let Err(text) = check(&case) {
                        wrong.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

fn case(faults: &'static str, expected: &'static str, says: &'static str) -> Case {
    let behaviour = Behaviour { run_time: Duration::from_secs(10), ..Behaviour::default() };
    Case { faults, options: "", behaviour, tags_ignored: false, expected, says }
}

#[test]
fn starts() {
    if faketime_or_skip("faults::starts").is_none() {
        return;
    }
    let once = "completed: started; 1, completed";
    let found = "completed: unknown; 1, completed";
    let again = "completed: unknown, started; 1, completed";
    let later = "completed: not_started, started; 1, completed";
    check_all(vec![
        case("", once, ""),
        case("start:1=delay:500ms", once, ""),
        case("start:1=delay:1500ms", found, ""),
        case("start:1=stall:500ms", once, ""),
        case("start:1=stall:1500ms", found, ""),
        case("start:1=reset-before", again, ""),
        case("start:1=reset-after", found, ""),
        case("start:1=500-before", again, ""),
        case("start:1=500-after", found, ""),
        case("start:1=db-before", again, ""),
        case("start:1=db-after", found, ""),
        case("start:1=plain:502", again, ""),
        case("start:1=plain:504", again, ""),
        case("start:1=unreadable", found, ""),
        case("start:1=truncated", found, ""),
        case("start:1=huge", found, ""),
        case("start:1=429", later, ""),
        case("start:1=429:30", later, ""),
        case("start:1=busy", later, ""),
        case("start:1-2=busy", "completed: not_started, not_started, started; 1, completed", ""),
        case("start:1=403", later, ""),
        case("start:1=status:302", later, ""),
        case("start:1=404", "refused: refused; 0", "Workflow not found"),
        case("start:1=status:409", "refused: refused; 0", "409"),
        case("start:1=tag-late:700ms", once, ""),
        // The server died while it made the run: what it left never begins, and a second one takes its place.
        case("start:1=crash-row", "completed: unknown, started; 2, completed", ""),
    ]);
}

#[test]
fn starts_without_tags() {
    if faketime_or_skip("faults::starts_without_tags").is_none() {
        return;
    }
    let old = |faults, expected, says| Case { tags_ignored: true, ..case(faults, expected, says) };
    check_all(vec![
        old("start:1=reset-after", "completed: unknown; 1, completed", ""),
        old("start:1=reset-before", "completed: unknown, started; 1, completed", ""),
        old("start:1=500-after", "completed: unknown; 1, completed", ""),
        old("start:1=stall:1500ms", "completed: unknown; 1, completed", ""),
    ]);
}

#[test]
fn looking_for_a_run() {
    if faketime_or_skip("faults::looking_for_a_run").is_none() {
        return;
    }
    let found = "completed: unknown; 1, completed";
    check_all(vec![
        case("start:1=reset-after,list:1-2=500-before", found, ""),
        case("start:1=reset-after,list:1-3=reset-before", found, ""),
        case("start:1=reset-after,list:1-2=db-before", found, ""),
        case("start:1=reset-after,list:1-2=429:5", found, ""),
        case("start:1=reset-after,list:1-2=unreadable", found, ""),
        case("start:1=reset-after,list:1-2=truncated", found, ""),
        case("start:1=reset-after,list:1-2=huge", found, ""),
        case("start:1=reset-after,list:1-2=delay:1500ms", found, ""),
        case("start:1=reset-after,list:1-2=403", found, ""),
        case("start:1=reset-after,list:1-2=plain:502", found, ""),
        // While nobody can look, nothing is started again.
        case("start:1=reset-before,list:1-4=500-before", "completed: unknown, started; 1, completed", ""),
    ]);
}

#[test]
fn following() {
    if faketime_or_skip("faults::following").is_none() {
        return;
    }
    let ok = "completed: started; 1, completed";
    check_all(vec![
        case("get:1-3=delay:200ms", ok, ""),
        case("get:1-2=delay:1500ms", ok, ""),
        case("get:1-3=reset-before", ok, ""),
        case("get:1-3=reset-after", ok, ""),
        case("get:1-3=500-before", ok, ""),
        case("get:1-3=db-before", ok, ""),
        case("get:1-3=429:5", ok, ""),
        case("get:1-3=busy", ok, ""),
        case("get:1-3=unreadable", ok, ""),
        case("get:1-3=truncated", ok, ""),
        case("get:1-3=huge", ok, ""),
        case("get:1-3=403", ok, ""),
        case("get:1-2=404", ok, ""),
        case("get:1-3=plain:502", ok, ""),
        case("get:1-3=status:302", ok, ""),
        // It is gone for good: that is said, and nothing is started in its place.
        case("get:*=404", "unknown: started; 1, completed", "run_lost"),
    ]);
}

#[test]
fn cancelling() {
    if faketime_or_skip("faults::cancelling").is_none() {
        return;
    }
    let cancelled = |faults| {
        let behaviour = Behaviour { endless: true, ..Behaviour::default() };
        let case = case(faults, "canceled: started; 1, canceled", "");
        Case { behaviour, options: "run_timeout = \"20s\"", ..case }
    };
    check_all(vec![
        cancelled(""),
        cancelled("cancel:1=delay:1500ms"),
        cancelled("cancel:1=stall:500ms"),
        cancelled("cancel:1=reset-before"),
        cancelled("cancel:1=reset-after"),
        cancelled("cancel:1=500-before"),
        cancelled("cancel:1=500-after"),
        cancelled("cancel:1=db-before"),
        cancelled("cancel:1-2=429:5"),
        cancelled("cancel:1=busy"),
        cancelled("cancel:1=unreadable"),
        cancelled("cancel:1=huge"),
        cancelled("cancel:1=plain:502"),
        cancelled("cancel:1-2=403"),
        // Its start was not answered: it is found, and cancelled.
        Case { expected: "canceled: unknown; 1, canceled", ..cancelled("start:1=reset-after,cancel:1=500-before") },
        // A server that died while it made the run: it never begins, and is cancelled at its time.
        Case { expected: "canceled: unknown; 1, canceled", ..cancelled("start:1=crash-tag") },
    ]);
}
