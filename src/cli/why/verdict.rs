//! From what is known about one instant of a schedule to an explanation: what came of it, why, and what to do. Pure.

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::{
    cli::history::{late, took},
    clock::{length, rfc3339},
    engine::{ReasonCode, Status, Trigger},
    history::HistoryRow,
    ids::ScheduleId,
    schedule::Timetable,
    words::words,
};

words! {
    /// What came of an instant, in one word.
    Cause {
        /// It ran, and completed.
        Completed = "completed",
        /// It ran, and the run ended badly.
        RunFailed = "run_failed",
        /// It ran, and the run was cancelled.
        Canceled = "canceled",
        /// It runs.
        Running = "running",
        /// It waits for its start.
        Waiting = "waiting",
        /// A run was still going.
        Overlap = "overlap",
        /// The schedule was paused.
        Paused = "paused",
        /// The schedule was disabled.
        Disabled = "disabled",
        /// Nothing could start it in time.
        Missed = "missed",
        /// A later occurrence was started in its place.
        CaughtUp = "caught_up",
        /// The schedule was changed or removed, or a later occurrence was due, before it could start.
        Superseded = "superseded",
        /// A clock change brought it within five minutes of the one before.
        ClockChange = "clock_change",
        /// The server refused to start it.
        Refused = "refused",
        /// It is not known whether it ran, or how its run ended.
        Unknown = "unknown",
        /// Skipped for another reason.
        Skipped = "skipped",
        /// It was not due then.
        NotDue = "not_due",
        /// A clock change skipped this local time.
        Gap = "gap",
        /// The schedule was not known yet.
        NotSeen = "not_seen",
        /// The schedule was gone from the file.
        Removed = "removed",
        /// It is in the future.
        ToCome = "to_come",
        /// It was due, and no daemon has looked at it yet.
        NotAccounted = "not_accounted",
        /// It was due, and what came of it was removed from the history by its age.
        Pruned = "pruned",
    }
}

/// What was in force at the instant.
#[derive(Debug, Clone)]
pub(super) enum InForce {
    /// This, since then.
    Rule { timetable: Timetable, enabled: bool, since: Option<DateTime<Utc>> },
    /// Nothing: the schedule was first seen later.
    NotYet { first_seen: DateTime<Utc> },
    /// Nothing: it was taken out of the file before.
    Gone { since: DateTime<Utc> },
}

/// What is known about one instant of a schedule.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) schedule: ScheduleId,
    pub(super) now: DateTime<Utc>,
    pub(super) at: DateTime<Utc>,
    /// The local time that was asked about, if the clocks do not show it.
    pub(super) skipped_local: Option<NaiveDateTime>,
    pub(super) in_force: InForce,
    /// The schedule's own row for the instant, or the stretch that it lies in.
    pub(super) row: Option<HistoryRow>,
    /// Other starts for it: retries, backfills.
    pub(super) others: Vec<HistoryRow>,
    /// Up to here everything is decided.
    pub(super) accounted_through: Option<DateTime<Utc>>,
    /// Up to here rows may have been removed by their age.
    pub(super) pruned_through: Option<DateTime<Utc>>,
    /// Whether a daemon runs.
    pub(super) daemon_runs: bool,
    /// The run's page at Skyvern.
    pub(super) app_url: Option<String>,
}

/// The explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) cause: Cause,
    /// What came of it, in a sentence.
    pub(super) sentence: String,
    /// Why, one line each.
    pub(super) because: Vec<String>,
    /// What to do next.
    pub(super) hint: Option<String>,
}

impl Verdict {
    fn new(cause: Cause, sentence: impl Into<String>) -> Self {
        Self { cause, sentence: sentence.into(), because: Vec::new(), hint: None }
    }

    fn because(mut self, why: impl Into<String>) -> Self {
        self.because.push(why.into());
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The explanation of what is known.
pub(super) fn verdict(facts: &Facts) -> Verdict {
    let mut verdict = match &facts.row {
        Some(row) => of_row(facts, row),
        None => without_row(facts),
    };
    if let Some(local) = facts.skipped_local {
        let line = format!("a clock change skips {local}: what is due then is due later by the length of the gap");
        verdict.because.insert(0, line);
        if matches!(verdict.cause, Cause::NotDue) {
            verdict =
                Verdict { cause: Cause::Gap, sentence: format!("it was not due: the clocks skip {local}"), ..verdict };
        }
    }
    for other in &facts.others {
        verdict.because.push(format!("{} ({}): {}", other.occurrence, other.trigger, other.status));
    }
    verdict
}

fn of_row(facts: &Facts, row: &HistoryRow) -> Verdict {
    let id = &facts.schedule;
    let reason = row.reason.as_deref();
    let (code, detail) = reason.map_or((None, ""), |reason| {
        let (code, detail) = reason.split_once(": ").unwrap_or((reason, ""));
        (ReasonCode::from_word(code), detail)
    });
    let run = row.run_id.as_ref().map_or_else(|| "its run".to_owned(), |run| format!("run {run}"));
    let page = facts.app_url.as_ref().map_or_else(|| format!("`skycron show {}`", row.occurrence), ToOwned::to_owned);
    let again = format!("`skycron trigger {id}` starts it again");
    let took = took(row).map_or_else(String::new, |took| format!(" after {}", length(took)));
    let mut verdict = match row.status {
        Status::Completed => {
            let verdict = Verdict::new(Cause::Completed, format!("it ran: {run} completed{took}"));
            match code {
                Some(ReasonCode::ParametersDropped) => {
                    verdict.because(detail).hint("`skycron check --online` says which parameters the workflow takes")
                }
                _ => verdict,
            }
        }
        Status::Failed | Status::Terminated | Status::TimedOut => {
            let why = row.failure_reason.clone().unwrap_or_else(|| detail.to_owned());
            Verdict::new(Cause::RunFailed, format!("it ran, and {run} ended {}{took}", row.status))
                .because(why)
                .hint(format!("look at the run: {page}; {again}, and a `retry` policy would by itself"))
        }
        Status::Canceled => Verdict::new(Cause::Canceled, format!("it ran, and {run} was cancelled{took}"))
            .because(if detail.is_empty() { "not by skycron: somebody did at Skyvern" } else { detail })
            .hint(again),
        Status::Running => {
            let since = row.launched_at.map_or_else(String::new, |at| format!(" since {}", length(facts.now - at)));
            let verdict = Verdict::new(Cause::Running, format!("it runs: {run}{since}"));
            let verdict = if detail.is_empty() { verdict } else { verdict.because(detail) };
            match code {
                Some(ReasonCode::RunStalled) => verdict.hint(format!("look at the run: {page}; `run_timeout` bounds such runs")),
                _ => verdict,
            }
        }
        Status::Pending | Status::Launching => {
            let verdict = Verdict::new(Cause::Waiting, "it has not started yet");
            let verdict = if detail.is_empty() { verdict } else { verdict.because(detail) };
            if facts.daemon_runs { verdict } else { verdict.hint("no daemon runs: `skycron run` goes on with it") }
        }
        Status::Skipped => skipped(code, detail, facts),
        Status::Missed => Verdict::new(Cause::Missed, "it was not started: nothing could start it in time")
            .because(detail)
            .hint(match code {
                Some(ReasonCode::NotStarted) => "`skycron doctor` tells whether the API can be used now; the catch-up window is how long it was tried".to_owned(),
                _ => format!("`catch_up` and `catch_up_window` say what is made up for; `skycron backfill {id}` starts it now"),
            }),
        Status::Refused => Verdict::new(Cause::Refused, "it was not started: the server refused")
            .because(detail)
            .hint("`skycron check --online` says what the server does not take"),
        Status::Unknown => match code {
            Some(ReasonCode::RunLost) => Verdict::new(Cause::Unknown, format!("it started, and how {run} ended cannot be learned"))
                .because(detail)
                .hint(format!("look at the run at Skyvern: {page}")),
            _ => Verdict::new(Cause::Unknown, "it is not known whether it started: no clear answer came")
                .because(detail)
                .hint(format!("look for a run of that time at Skyvern; if there is none, {again}")),
        },
    };
    verdict.because.retain(|line| !line.is_empty());
    if row.count > 1 {
        let through = row.through.map_or_else(String::new, |through| format!(" until {}", rfc3339(through)));
        verdict.because.push(format!("so for {} occurrences from {}{through}", row.count, rfc3339(row.scheduled_for)));
    }
    if let Some(late) = late(row).filter(|late| late.num_seconds() >= 1) {
        let why = match row.trigger {
            Trigger::CatchUp => ", caught up: nothing could fire when it was due",
            Trigger::Schedule => " (jitter, a run before it, or a server that was busy)",
            _ => "",
        };
        verdict.because.push(format!("the start left {} after it was due{why}", length(late)));
    }
    verdict
}

fn skipped(code: Option<ReasonCode>, detail: &str, facts: &Facts) -> Verdict {
    let id = &facts.schedule;
    let backfill = format!("`skycron backfill {id}` starts it after all");
    match code {
        Some(ReasonCode::Overlap) => Verdict::new(Cause::Overlap, "it was not started: a run of the schedule was still going")
            .because(detail)
            .hint("overlap = \"buffer_one\" lets one wait, \"allow\" starts it beside, \"cancel_running\" makes room; `run_timeout` ends runs that hang"),
        Some(ReasonCode::Paused) => Verdict::new(Cause::Paused, "it was not started: the schedule was paused")
            .because(detail)
            .hint(format!("`skycron resume {id}` lets it go on; {backfill}")),
        Some(ReasonCode::Disabled) => Verdict::new(Cause::Disabled, "it was not started: the schedule was disabled")
            .because(detail)
            .hint("enabled = true in the file, and a reload"),
        Some(ReasonCode::CaughtUp) => Verdict::new(Cause::CaughtUp, "it was not started: a later one was, in its place")
            .because(detail)
            .hint(format!("catch_up = \"all\" would start each; {backfill}")),
        Some(ReasonCode::Superseded) => {
            Verdict::new(Cause::Superseded, "it was not started: something came before its start").because(detail).hint(backfill)
        }
        Some(ReasonCode::ClockChange) => {
            Verdict::new(Cause::ClockChange, "it was not started: a clock change brought it too close to the one before").because(detail)
        }
        _ => Verdict::new(Cause::Skipped, "it was not started on purpose").because(detail).hint(backfill),
    }
}

fn without_row(facts: &Facts) -> Verdict {
    let at = facts.at;
    let (timetable, enabled, since) = match &facts.in_force {
        InForce::NotYet { first_seen } => {
            return Verdict::new(Cause::NotSeen, "the schedule was not known then")
                .because(format!("it was first seen at {}; what is due counts from there on", rfc3339(*first_seen)))
                .hint(format!("`skycron backfill {}` starts occurrences of the past", facts.schedule));
        }
        InForce::Gone { since } => {
            return Verdict::new(Cause::Removed, "the schedule was not in the file then")
                .because(format!("it was taken out of the file at {}", rfc3339(*since)));
        }
        InForce::Rule { timetable, enabled, since } => (timetable, *enabled, *since),
    };
    let rule = || {
        let words = timetable.in_words().map_or_else(String::new, |words| format!("{words} "));
        let since = since.map_or_else(String::new, |since| format!(", in force since {}", rfc3339(since)));
        format!("its rule: {words}({}){since}", timetable.cadence_text())
    };
    if let Some(why_not) = timetable.why_not(at) {
        let was = if at > facts.now { "it is not due then" } else { "it was not due" };
        return Verdict::new(Cause::NotDue, was).because(why_not.to_string()).because(rule());
    }
    if !enabled {
        return Verdict::new(Cause::Disabled, "it was not started: the schedule was disabled")
            .because(rule())
            .hint("enabled = true in the file, and a reload");
    }
    if facts.pruned_through.is_some_and(|pruned| at <= pruned) {
        return Verdict::new(Cause::Pruned, "it was due, and is too long ago to be told")
            .because("what came of it was removed from the history by its age ([history] keep_for)");
    }
    if at > facts.now {
        return Verdict::new(Cause::ToCome, format!("it is due in {}", length(at - facts.now))).because(rule());
    }
    let verdict = Verdict::new(Cause::NotAccounted, "it was due, and nothing is decided about it yet").because(rule());
    let verdict = match facts.accounted_through {
        Some(through) => verdict.because(format!("the history accounts for everything up to {}", rfc3339(through))),
        None => verdict.because("the history has never seen the schedule"),
    };
    verdict.hint(if facts.daemon_runs {
        "a daemon runs and should have decided: `skycron doctor` tells whether it goes by this file and writes its history"
    } else {
        "no daemon runs: `skycron run` starts one, which makes up for it as `catch_up` says"
    })
}
