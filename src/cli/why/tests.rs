//! One case for each cause, from facts to words.

use chrono::{DateTime, TimeDelta, Utc};

use super::verdict::{Cause, Facts, InForce, verdict};
use crate::{
    clock::parse_rfc3339,
    engine::{Reason, ReasonCode, Status, Trigger},
    history::HistoryRow,
    ids::{Instance, OccurrenceKey, RunId, ScheduleId},
    schedule::{CronExpression, Fold, Gap, Timetable, Zone},
};

fn at(text: &str) -> DateTime<Utc> {
    parse_rfc3339(text).unwrap()
}

/// A Monday, 09:00 in New York.
fn due() -> DateTime<Utc> {
    at("2026-11-02T14:00:00Z")
}

fn weekdays() -> Timetable {
    let expression = CronExpression::parse("0 9 * * 1-5").unwrap();
    Timetable::cron(expression, Zone::bundled("America/New_York").unwrap(), Gap::Shift, Fold::Auto).unwrap()
}

fn row(status: Status, reason: Option<(ReasonCode, &str)>) -> HistoryRow {
    let schedule = ScheduleId::new("report").unwrap();
    let started = matches!(
        status,
        Status::Running | Status::Completed | Status::Failed | Status::Terminated | Status::TimedOut | Status::Canceled
    );
    HistoryRow {
        occurrence: OccurrenceKey {
            instance: Instance::new("main").unwrap(),
            schedule: schedule.clone(),
            scheduled_for: due(),
            suffix: String::new(),
        },
        schedule,
        scheduled_for: due(),
        trigger: Trigger::Schedule,
        status,
        reason: reason.map(|(code, detail)| Reason::new(code, detail).to_string()),
        attempts: u32::from(started),
        run_id: started.then(|| RunId::new("wr_1").unwrap()),
        launched_at: started.then(|| due() + TimeDelta::milliseconds(4)),
        finished_at: (started && !status.is_open()).then(|| due() + TimeDelta::seconds(90)),
        failure_reason: None,
        count: 1,
        through: None,
    }
}

fn facts(row: Option<HistoryRow>) -> Facts {
    let since = Some(at("2026-10-01T00:00:00Z"));
    Facts {
        schedule: ScheduleId::new("report").unwrap(),
        now: due() + TimeDelta::hours(1),
        at: due(),
        skipped_local: None,
        in_force: InForce::Rule { timetable: weekdays(), enabled: true, since },
        row,
        others: Vec::new(),
        accounted_through: Some(due()),
        pruned_through: None,
        daemon_runs: true,
        app_url: None,
    }
}

/// `said` is a part of the sentence, of one of the reasons, or of the hint.
#[track_caller]
fn check(facts: &Facts, cause: Cause, said: &[&str]) {
    let verdict = verdict(facts);
    assert_eq!(verdict.cause, cause, "{verdict:#?}");
    let all =
        format!("{}\n{}\n{}", verdict.sentence, verdict.because.join("\n"), verdict.hint.clone().unwrap_or_default());
    for part in said {
        assert!(all.contains(part), "{part:?} in {verdict:#?}");
    }
    assert!(verdict.because.iter().all(|line| !line.is_empty()), "{verdict:#?}");
}

#[test]
fn what_the_history_says() {
    use ReasonCode as R;
    use Status as S;
    let check = |status, reason: Option<(ReasonCode, &str)>, cause, said: &[&str]| {
        check(&facts(Some(row(status, reason))), cause, said);
    };
    check(S::Completed, None, Cause::Completed, &["run wr_1 completed after 1 min 29 s"]);
    check(S::Completed, Some((R::ParametersDropped, "a, b")), Cause::Completed, &["a, b", "check --online"]);
    check(
        S::Failed,
        Some((R::RunFailed, "no such page")),
        Cause::RunFailed,
        &["ended failed", "no such page", "skycron trigger report"],
    );
    check(S::Terminated, Some((R::RunFailed, "why")), Cause::RunFailed, &["ended terminated", "why"]);
    check(S::TimedOut, Some((R::RunFailed, "why")), Cause::RunFailed, &["ended timed_out"]);
    check(S::Canceled, None, Cause::Canceled, &["was cancelled", "somebody did at Skyvern"]);
    check(S::Canceled, Some((R::Canceled, "longer than run_timeout")), Cause::Canceled, &["longer than run_timeout"]);
    check(S::Running, None, Cause::Running, &["run wr_1 since 59 min 59 s"]);
    check(S::Running, Some((R::RunStalled, "for 5 h")), Cause::Running, &["for 5 h", "run_timeout"]);
    check(S::Pending, Some((R::Overlap, "x is still going")), Cause::Waiting, &["x is still going"]);
    check(S::Launching, None, Cause::Waiting, &["has not started yet"]);
    check(
        S::Skipped,
        Some((R::Overlap, "main/report@2026-11-01T14:00:00Z is still going")),
        Cause::Overlap,
        &["@2026-11-01", "buffer_one"],
    );
    check(
        S::Skipped,
        Some((R::Paused, "paused since 2026-11-01T00:00:00Z (away)")),
        Cause::Paused,
        &["(away)", "skycron resume report"],
    );
    check(S::Skipped, Some((R::Disabled, "enabled = false")), Cause::Disabled, &["enabled = true"]);
    check(S::Skipped, Some((R::CaughtUp, "by a later one")), Cause::CaughtUp, &["in its place", "catch_up = \"all\""]);
    check(S::Skipped, Some((R::Superseded, "changed")), Cause::Superseded, &["changed", "backfill"]);
    check(S::Skipped, Some((R::ClockChange, "too near")), Cause::ClockChange, &["too near"]);
    check(S::Skipped, None, Cause::Skipped, &["on purpose"]);
    check(
        S::Missed,
        Some((R::Late, "nothing could fire when it was due")),
        Cause::Missed,
        &["nothing could fire", "catch_up_window"],
    );
    check(S::Missed, Some((R::NotStarted, "given up")), Cause::Missed, &["given up", "skycron doctor"]);
    check(S::Refused, Some((R::Refused, "Missing value")), Cause::Refused, &["Missing value", "check --online"]);
    check(
        S::Unknown,
        Some((R::NoAnswer, "time-out")),
        Cause::Unknown,
        &["whether it started", "time-out", "look for a run"],
    );
    check(S::Unknown, Some((R::RunLost, "404")), Cause::Unknown, &["ended cannot be learned", "404"]);
}

#[test]
fn what_stands_beside_it() {
    let mut late = row(Status::Completed, None);
    late.trigger = Trigger::CatchUp;
    late.launched_at = Some(due() + TimeDelta::minutes(20));
    late.finished_at = Some(due() + TimeDelta::minutes(21));
    check(&facts(Some(late)), Cause::Completed, &["20 min after it was due, caught up"]);
    let mut jittered = row(Status::Completed, None);
    jittered.launched_at = Some(due() + TimeDelta::seconds(30));
    check(&facts(Some(jittered)), Cause::Completed, &["30.0 s after it was due (jitter"]);
    let mut stretch = row(Status::Missed, Some((ReasonCode::Late, "down")));
    (stretch.count, stretch.through) = (3, Some(at("2026-11-04T14:00:00Z")));
    check(
        &facts(Some(stretch)),
        Cause::Missed,
        &["3 occurrences from 2026-11-02T14:00:00Z until 2026-11-04T14:00:00Z"],
    );
    let mut failed = row(Status::Failed, None);
    failed.failure_reason = Some("the button was gone".to_owned());
    let mut retry = row(Status::Completed, None);
    retry.occurrence.suffix = "retry-2".to_owned();
    retry.trigger = Trigger::Retry;
    let facts =
        Facts { others: vec![retry], app_url: Some("https://app.example.com/wr_1".to_owned()), ..facts(Some(failed)) };
    check(
        &facts,
        Cause::RunFailed,
        &["the button was gone", "#retry-2 (retry): completed", "https://app.example.com/wr_1"],
    );
}

#[test]
fn where_the_history_says_nothing() {
    let none = || facts(None);
    let saturday = Facts { at: at("2026-10-31T13:00:00Z"), ..none() };
    check(
        &saturday,
        Cause::NotDue,
        &["the day is Saturday the 31.", "At 09:00 on weekdays, New York time (0 9 * * 1-5)", "since 2026-10-01"],
    );
    let seen = InForce::NotYet { first_seen: at("2026-11-03T00:00:00Z") };
    check(
        &Facts { in_force: seen, ..none() },
        Cause::NotSeen,
        &["first seen at 2026-11-03T00:00:00Z", "backfill report"],
    );
    let gone = InForce::Gone { since: at("2026-11-01T00:00:00Z") };
    check(&Facts { in_force: gone, ..none() }, Cause::Removed, &["taken out of the file at 2026-11-01T00:00:00Z"]);
    let disabled = InForce::Rule { timetable: weekdays(), enabled: false, since: None };
    check(&Facts { in_force: disabled, ..none() }, Cause::Disabled, &["enabled = true"]);
    let bounded = weekdays().within(Some(at("2026-11-03T00:00:00Z")), None);
    let bounded = InForce::Rule { timetable: bounded, enabled: true, since: None };
    check(&Facts { in_force: bounded, ..none() }, Cause::NotDue, &["active from 2026-11-03T00:00:00Z on (starts_at)"]);
    let later = Facts { at: at("2026-11-03T14:00:00Z"), ..none() };
    check(&later, Cause::ToCome, &["due in 23 h"]);
    let later = Facts { at: at("2026-11-03T14:01:00Z"), ..none() };
    check(&later, Cause::NotDue, &["it is not due then", "the minute is 1"]);
    let open = Facts { accounted_through: Some(at("2026-11-01T00:00:00Z")), ..none() };
    check(&open, Cause::NotAccounted, &["up to 2026-11-01T00:00:00Z", "skycron doctor"]);
    check(&Facts { daemon_runs: false, ..open }, Cause::NotAccounted, &["no daemon runs"]);
    check(&Facts { pruned_through: Some(due()), ..none() }, Cause::Pruned, &["keep_for"]);
    // Whose clocks skip the local time that was asked about.
    let local = "2026-03-08T02:30:00".parse().unwrap();
    let skipped = Facts { skipped_local: Some(local), at: at("2026-03-08T07:30:00Z"), ..none() };
    check(&skipped, Cause::Gap, &["the clocks skip 2026-03-08 02:30:00"]);
    let shifted = Facts { skipped_local: Some(local), ..facts(Some(row(Status::Completed, None))) };
    check(&shifted, Cause::Completed, &["a clock change skips 2026-03-08 02:30:00", "completed"]);
    let expression = CronExpression::parse("30 1 * * *").unwrap();
    let zone = Zone::bundled("America/New_York").unwrap();
    let timetable = Timetable::cron(expression, zone, Gap::Shift, Fold::Auto).unwrap();
    let repeated = Facts {
        at: at("2026-11-01T06:30:00Z"),
        in_force: InForce::Rule { timetable, enabled: true, since: None },
        ..none()
    };
    check(&repeated, Cause::NotDue, &["a clock change repeats this local time"]);
}

#[test]
fn every_cause_is_documented() {
    for cause in Cause::ALL {
        assert!(super::AFTER_HELP.contains(cause.word()), "{cause}");
    }
}
