//! Killed at each named place of the protocol, started again, and nothing is lost or doubled.

use std::{collections::BTreeSet, thread};

use nix::sys::signal::Signal;
use skycron::sandbox::SandboxOptions;

use crate::{
    books,
    rig::{QUICK, Rig, wait_for},
};

/// Tests of one table that run at a time: most of the time each waits for a grace to pass.
const AT_A_TIME: usize = 6;

/// The places, and the passages of each at which the process is to die.
const PLACES: &[(&str, std::ops::RangeInclusive<u32>)] = &[
    ("before-migrate", 1..=1),
    ("before-memory", 1..=1),
    ("after-memory", 1..=1),
    // The boot, the command, the answer to the start, the end of the run or the search for it, …
    ("before-commit", 1..=7),
    ("in-transaction", 1..=4),
    ("written", 1..=4),
    ("after-commit", 1..=7),
    ("before-post", 1..=3),
    ("in-answer", 1..=4),
    ("after-answer", 1..=3),
    ("in-settle", 1..=2),
    ("settled", 1..=1),
    ("in-reload", 1..=1),
    ("in-stop", 1..=1),
    ("before-close", 1..=1),
];

fn schedules(more: bool) -> String {
    let one = |id: &str| {
        format!(
            "[[schedule]]\nid = {id:?}\nworkflow_id = \"wpid_{id}\"\ncron_expression = \"0 0 1 1 *\"\noverlap = \"allow\"\n"
        )
    };
    one("a") + &if more { one("b") } else { String::new() }
}

/// Everything that a daemon does, in one life: a start, one whose answer is lost, a reload, a stop. Somewhere in it, it dies.
/// A second one takes over; then every start that was acknowledged has its row, and each row at most its one run.
fn check(place: &str) {
    // The first start is answered; the second is done and not answered; the third is neither done nor answered.
    let faults = "start:2=reset-after,start:3=reset-before".parse().unwrap();
    let rig = Rig::with(SandboxOptions { faults, ..SandboxOptions::default() }, None, QUICK, &schedules(false));
    let mut acknowledged = BTreeSet::new();
    let mut daemon = rig.daemon(Some(place));
    let mut reloaded = false;
    for _ in 0..3 {
        match rig.trigger_when_up("a", &mut daemon) {
            Some(key) => acknowledged.insert(key),
            None => break,
        };
        if !reloaded {
            rig.write_file(QUICK, &schedules(true));
            daemon.signal(Signal::SIGHUP);
            reloaded = true;
        }
    }
    // Until it died, or has nothing more to do but to stop.
    wait_for(&format!("{place}: the daemon's death\n{}", rig.log()), 30, || {
        let idle = || acknowledged.len() == 3 && books::rows(&rig).iter().all(|row| !row.is_open());
        (daemon.ended().is_some() || idle()).then_some(())
    });
    daemon.signal_if_up(Signal::SIGTERM);
    let status = wait_for(&format!("{place}: the daemon's death\n{}", rig.log()), 30, || daemon.ended());
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9),
        "{place} was not passed\n{}",
        rig.log()
    );

    let mut daemon = rig.daemon(None);
    acknowledged.extend(rig.trigger_when_up("a", &mut daemon));
    books::settled(&rig, 30);
    let tally = books::agree(&rig);
    daemon.stop(&rig);
    let keys: BTreeSet<_> = books::rows(&rig).into_iter().map(|row| row.key).collect();
    assert!(keys.is_superset(&acknowledged), "{place}: acknowledged {acknowledged:?}, in the history {keys:?}");
    assert_eq!(tally.unknown, 0, "{place}: {:#?}", books::rows(&rig));
    // All but the one that was never done, which may also have been given up, came to their run.
    for row in books::rows(&rig) {
        assert!(row.status == "completed" || row.status == "missed", "{place}: {row:?}\n{}", rig.log());
    }
    assert!(
        tally.runs + 1 >= acknowledged.len(),
        "{place}: {tally}, {} acknowledged\n{}",
        acknowledged.len(),
        rig.log()
    );
}

#[test]
fn named_places() {
    let places = PLACES.iter().flat_map(|(name, passages)| passages.clone().map(move |n| format!("{name}:{n}")));
    let places: std::sync::Mutex<Vec<String>> = places.collect::<Vec<_>>().into();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(place) = { places.lock().unwrap().pop() } {
                    check(&place);
                }
            });
        }
    });
}

/// Between the moment at which the request has left and the answer: the run is there, and nobody here knows.
#[test]
fn killed_while_the_server_works() {
    let check = |fault: &str| {
        let faults = format!("start:1={fault}").parse().unwrap();
        let rig = Rig::with(SandboxOptions { faults, ..SandboxOptions::default() }, None, QUICK, &schedules(false));
        let mut daemon = rig.daemon(None);
        let key = rig.trigger_when_up("a", &mut daemon).unwrap();
        wait_for("the request", 20, || (rig.sandbox.starts_received() == 1).then_some(()));
        assert!(daemon.kill());
        let daemon = rig.daemon(None);
        books::settled(&rig, 30);
        daemon.stop(&rig);
        let tally = books::agree(&rig);
        assert_eq!((tally.rows, tally.runs, tally.unknown), (1, 1, 0), "{fault}: {key}\n{}", rig.log());
    };
    check("delay:3s");
    check("tag-late:500ms");
    check("stall:1s");
}
