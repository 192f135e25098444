//! What `doctor` finds on the machine: its clock, and the unit of systemd.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use chrono::{DateTime, Datelike, TimeDelta, Utc};

use super::Finding;
use crate::{
    cli::exit::Exit,
    clock::{Stopwatch, delta, rfc3339},
    config::Environment,
};

/// The years that a clock can show: from when this program was written to the end of its calendar.
const YEARS: std::ops::RangeInclusive<i32> = 2025..=2199;
/// systemd-timesyncd makes this file when it has set the clock.
const TIMESYNC: &str = "/run/systemd/timesync/synchronized";
/// The unit's name, as it is installed.
const UNIT: &str = "skycron.service";
/// How long systemd may take for its answer.
const SYSTEMCTL_SECONDS_MAX: u64 = 5;
/// Between two looks whether the answer is there.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// This machine's clock: `then` is what it showed when the doctor came, `latest` the latest instant of the history.
pub(super) fn clock(
    now: DateTime<Utc>,
    (then, watch): (DateTime<Utc>, Stopwatch),
    latest: Option<DateTime<Utc>>,
) -> Finding {
    const CHECK: &str = "clock";
    const HINT: &str = "let a time service keep it (systemd-timesyncd, chrony): what is due starts by this clock";
    let shows = rfc3339(now);
    if !YEARS.contains(&now.year()) {
        return Finding::problem(CHECK, Exit::Bad, format!("it shows {shows}, which cannot be")).hint(HINT);
    }
    if let Some(latest) = latest.filter(|latest| *latest > now) {
        let message =
            format!("it shows {shows}, and the history has something of {}: it was set back", rfc3339(latest));
        return Finding::warning(CHECK, message).hint(HINT);
    }
    let moved = (now - then) - delta(watch.elapsed());
    if moved.abs() > TimeDelta::seconds(1) {
        let message = format!("it was moved by {} ms while the doctor looked", moved.num_milliseconds());
        return Finding::warning(CHECK, message).hint(HINT);
    }
    let kept = if Path::new(TIMESYNC).exists() {
        "set by systemd-timesyncd"
    } else {
        "whether a time service keeps it is not known"
    };
    Finding::ok(CHECK, format!("it shows {shows}; {kept}"))
}

/// The unit, where systemd runs and knows it.
pub(super) fn unit(environment: &Environment) -> Option<Finding> {
    let systemctl = on_path("systemctl", environment)?;
    let properties = "--property=LoadState,ActiveState,SubState,NRestarts,Result";
    verdict(&answer(Command::new(systemctl).args(["show", properties, UNIT]))?)
}

/// What systemd's words about the unit mean; nothing where it has no such unit.
fn verdict(answer: &str) -> Option<Finding> {
    const CHECK: &str = "unit";
    let value = |name: &str| answer.lines().find_map(|line| line.split_once('=').filter(|(key, _)| *key == name));
    let value = |name: &str| value(name).map_or("", |(_, value)| value);
    if matches!(value("LoadState"), "" | "not-found") {
        return None;
    }
    let restarts = match value("NRestarts") {
        "" | "0" => String::new(),
        count => format!(", started again {count} times after a failure"),
    };
    let log = format!("journalctl -u {UNIT} says why");
    Some(match (value("LoadState"), value("ActiveState"), value("SubState")) {
        ("loaded", "active" | "reloading", sub) if restarts.is_empty() => {
            Finding::ok(CHECK, format!("{UNIT} is active ({sub})"))
        }
        ("loaded", "active" | "reloading", sub) => {
            Finding::warning(CHECK, format!("{UNIT} is active ({sub}){restarts}")).hint(log)
        }
        ("loaded", "inactive", _) => Finding::warning(CHECK, format!("{UNIT} is installed and does not run"))
            .hint("systemctl enable --now skycron"),
        ("loaded", state, sub) => {
            let message = format!("{UNIT} is {state} ({sub}, {}){restarts}", value("Result"));
            Finding::problem(CHECK, Exit::Bad, message).hint(log)
        }
        (load, _, _) => {
            let hint = "systemd-analyze verify names what is wrong with the unit's file";
            Finding::problem(CHECK, Exit::Bad, format!("{UNIT} cannot be used: {load}")).hint(hint)
        }
    })
}

fn on_path(name: &str, environment: &Environment) -> Option<PathBuf> {
    std::env::split_paths(environment.get("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// What a command prints; nothing where it fails or takes too long.
fn answer(command: &mut Command) -> Option<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let watch = Stopwatch::start();
    // It prints a few lines, which a pipe holds: it is read when it has ended.
    while child.try_wait().ok()?.is_none() {
        if watch.elapsed() > Duration::from_secs(SYSTEMCTL_SECONDS_MAX) {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let mut text = String::new();
    child.stdout.take()?.take(64 * 1024).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::doctor::Verdict, clock::parse_rfc3339};

    #[test]
    fn what_systemd_says() {
        let check = |answer: &str, expected: Option<(Verdict, &str)>| {
            let found = verdict(&answer.replace(' ', "\n"));
            assert_eq!(found.as_ref().map(|found| found.verdict), expected.map(|(verdict, _)| verdict), "{answer}");
            if let (Some(found), Some((_, part))) = (found, expected) {
                assert!(found.message.contains(part), "{found:?}");
            }
        };
        check("", None);
        check("LoadState=not-found ActiveState=inactive", None);
        let loaded = |rest: &str| format!("LoadState=loaded {rest}");
        check(&loaded("ActiveState=active SubState=running NRestarts=0"), Some((Verdict::Ok, "active (running)")));
        check(&loaded("ActiveState=active SubState=running NRestarts=3"), Some((Verdict::Warning, "again 3 times")));
        check(&loaded("ActiveState=inactive SubState=dead"), Some((Verdict::Warning, "does not run")));
        check(
            &loaded("ActiveState=failed SubState=failed Result=exit-code"),
            Some((Verdict::Problem, "failed (failed, exit-code)")),
        );
        check(
            &loaded("ActiveState=activating SubState=auto-restart Result=exit-code NRestarts=9"),
            Some((Verdict::Problem, "activating (auto-restart, exit-code), started again 9 times")),
        );
        check("LoadState=masked ActiveState=inactive", Some((Verdict::Problem, "masked")));
    }

    #[test]
    fn a_clock_that_cannot_be_right() {
        let check = |now: &str, then: &str, latest: Option<&str>, verdict: Verdict, part: &str| {
            let at = |text: &str| parse_rfc3339(text).unwrap();
            let found = clock(at(now), (at(then), Stopwatch::start()), latest.map(at));
            assert!(found.verdict == verdict && found.message.contains(part), "{found:?}");
        };
        let now = "2026-11-22T12:00:00Z";
        check(now, now, None, Verdict::Ok, "it shows 2026-11-22T12:00:00Z; ");
        check(now, now, Some("2026-11-22T11:00:00Z"), Verdict::Ok, "it shows");
        check(now, now, Some("2026-11-22T13:00:00Z"), Verdict::Warning, "it was set back");
        check(now, "2026-11-22T11:59:50Z", None, Verdict::Warning, "moved by");
        check("1970-01-01T00:00:10Z", "1970-01-01T00:00:10Z", None, Verdict::Problem, "cannot be");
        check("2200-01-01T00:00:10Z", "2200-01-01T00:00:10Z", None, Verdict::Problem, "cannot be");
    }
}
