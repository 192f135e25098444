//! The policies: the same keys in `[defaults]` and in `[[schedule]]`, where the latter win.

use std::{ops::Range, time::Duration};

use super::{
    bounds::{seconds, small, within},
    keys,
    kinds::{Nested, OrNone, Texts},
    problem::{Code, Problem},
    reader::{At, Reading, shape},
};
use crate::{
    engine::RunStatus,
    ids::ChannelName,
    schedule::{CatchUp, Failover, Fires, Fold, Gap, OnUnknown, Overlap, Policies, RunRetry},
};

shape! {
    /// The policies as they are written.
    RawPolicies as "policies" {
        /// Who starts the runs.
        fires: Fires = "local",
        /// With `fires = "server"`: how late the server may be. Past it, the occurrence is `missed`, or `failover` acts.
        server_grace: Duration ["1m", "1day"] = "5m",
        /// With `fires = "server"`: an occurrence that the server did not start in time.
        failover: Failover = "none",
        /// Due while a run of the schedule is still going.
        overlap: Overlap = "skip",
        /// Occurrences that passed while nothing could fire: the machine was off, the API was down.
        catch_up: CatchUp = "latest",
        /// How late a start may be. Past it, the occurrence is `missed`.
        catch_up_window: Duration ["1m", "3660days"] = "24h",
        /// Start each occurrence this much later at most, by an amount that is fixed for it; never past the next one.
        jitter: Duration ["0s", "1day"] = "0s",
        /// A local time that a clock change skips.
        gap: Gap = "shift",
        /// A local time that a clock change repeats.
        fold: Fold = "auto",
        /// Cancel a run that goes on longer than this.
        run_timeout: OrNone<Duration> ["1s", "3660days"] = "none",
        /// Start again after a bad end.
        retry: OrNone<Nested<RawRetry>> = "none",
        /// No clear answer came to a start, and looking does not tell whether there is a run.
        on_unknown: OnUnknown = "hold",
        /// Who is told when something is not as it should be: the names of channels, which `[notify]` has.
        notify: Texts = [],
        /// Not started so long after it was due: worth an alarm.
        late_after: OrNone<Duration> ["10s", "3660days"] = "none",
        /// So many bad ends in a row: worth an alarm of their own.
        failures_in_a_row: OrNone<u64> [2, 1_000] = "none",
        /// No completed run for so long: worth an alarm.
        no_success_for: OrNone<Duration> ["1m", "3660days"] = "none",
    }
}

shape! {
    /// `retry` as it is written.
    RawRetry as "schedule.retry" {
        /// Starts in all, the first included.
        max_attempts: u64 [2, 10],
        /// The bad ends that lead to another start: `failed`, `terminated`, `timed_out`, `canceled`.
        on: Texts = ["failed", "timed_out"],
        /// Wait before the second start; it doubles from one to the next.
        delay: Duration ["1s", "1day"] = "1m",
        /// The longest wait.
        max_delay: Duration ["1s", "1day"] = "1h",
    }
    rules { "required": ["max_attempts"] }
}

/// The policies of a schedule, and the two that its timetable carries.
#[derive(Debug, Clone, Default)]
pub(super) struct PolicySet {
    pub policies: Policies,
    pub gap: Gap,
    pub fold: Fold,
}

/// All in seconds. A start that is on time is still some milliseconds late, and a server may be away for a minute: a
/// shorter window would make occurrences `missed` that are as good as on time.
const CATCH_UP_WINDOW_MIN: u64 = 60;
/// The server looks once a minute for what is due, and its clock may differ.
const SERVER_GRACE_MIN: u64 = 60;
const SERVER_GRACE_MAX: u64 = 24 * 3600;
const JITTER_MAX: u64 = 24 * 3600;
const RUN_TIMEOUT_MIN: u64 = 1;
/// A start that is on time is still some milliseconds late, and one try later a second or two.
const LATE_AFTER_MIN: u64 = 10;
const NO_SUCCESS_MIN: u64 = 60;
const RETRY_DELAY: u64 = 60;
const RETRY_MAX_DELAY: u64 = 3600;
const RETRY_DELAY_LONGEST: u64 = 24 * 3600;
const RETRY_ON: [&str; 2] = ["failed", "timed_out"];
/// No bound of its own: what a duration can be is bounded already.
const NO_BOUND: u64 = u64::MAX;

/// Lays the policies that are written over those of `base`.
pub(super) fn check(raw: RawPolicies, base: &PolicySet, reading: &mut Reading<'_>) -> PolicySet {
    let base_policies = &base.policies;
    let asked_for = [
        some_key(raw.late_after.as_ref()),
        some_key(raw.failures_in_a_row.as_ref()),
        some_key(raw.no_success_for.as_ref()),
    ];
    let duration = |at: Option<At<Duration>>, otherwise, bounds, reading: &mut Reading<'_>| {
        at.map_or(otherwise, |at| within(&at, &bounds, reading))
    };
    let policies = Policies {
        fires: value(raw.fires, base_policies.fires),
        server_grace: duration(
            raw.server_grace,
            base_policies.server_grace,
            seconds(SERVER_GRACE_MIN, SERVER_GRACE_MAX),
            reading,
        ),
        failover: value(raw.failover, base_policies.failover),
        overlap: value(raw.overlap, base_policies.overlap),
        catch_up: value(raw.catch_up, base_policies.catch_up),
        catch_up_window: duration(
            raw.catch_up_window,
            base_policies.catch_up_window,
            seconds(CATCH_UP_WINDOW_MIN, NO_BOUND),
            reading,
        ),
        jitter: duration(raw.jitter, base_policies.jitter, seconds(0, JITTER_MAX), reading),
        run_timeout: or_none(raw.run_timeout, base_policies.run_timeout, RUN_TIMEOUT_MIN, reading),
        retry: match raw.retry {
            None => base_policies.retry.clone(),
            Some(At { value: OrNone::None, .. }) => None,
            Some(At { value: OrNone::Some(Nested(retry)), key, .. }) => check_retry(retry, &key, reading),
        },
        on_unknown: value(raw.on_unknown, base_policies.on_unknown),
        notify: raw.notify.map_or_else(|| base_policies.notify.clone(), |at| channels(&at, reading)),
        late_after: or_none(raw.late_after, base_policies.late_after, LATE_AFTER_MIN, reading),
        failures_in_a_row: match raw.failures_in_a_row {
            None => base_policies.failures_in_a_row,
            Some(At { value: OrNone::None, .. }) => None,
            Some(At { value: OrNone::Some(value), span, key }) => {
                Some(small(Some(&At { value, span, key }), 2, 2, 1000, reading))
            }
        },
        no_success_for: or_none(raw.no_success_for, base_policies.no_success_for, NO_SUCCESS_MIN, reading),
    };
    // What is written here and nobody is told of is a slip; what [defaults] says may be for others.
    if policies.notify.is_empty()
        && let Some(key) = asked_for.into_iter().flatten().next()
    {
        let problem = Problem::error(Code::Conflict, format!("`{}` tells nobody", reading.name(&key)));
        reading.add(&key, problem.hint("name a channel: notify = [\"ops\"], with [notify.ops] saying where that is"));
    }
    PolicySet { policies, gap: value(raw.gap, base.gap), fold: value(raw.fold, base.fold) }
}

/// A duration of at least so many seconds, or `"none"`, or else what is the case anyway.
fn or_none(
    raw: Option<At<OrNone<Duration>>>,
    otherwise: Option<Duration>,
    least: u64,
    reading: &mut Reading<'_>,
) -> Option<Duration> {
    match raw {
        None => otherwise,
        Some(At { value: OrNone::None, .. }) => None,
        Some(At { value: OrNone::Some(value), span, key }) => {
            Some(within(&At { value, span, key }, &seconds(least, NO_BOUND), reading))
        }
    }
}

fn some_key<T>(raw: Option<&At<OrNone<T>>>) -> Option<Range<usize>> {
    raw.filter(|at| matches!(at.value, OrNone::Some(_))).map(|at| at.key.clone())
}

/// The channels that `notify` names, each of which must be there.
fn channels(at: &At<Texts>, reading: &mut Reading<'_>) -> Vec<ChannelName> {
    let mut channels: Vec<ChannelName> = Vec::new();
    for (name, span) in &at.value.0 {
        let known = ChannelName::new(name).ok().filter(|name| reading.channels.contains(name));
        match known {
            Some(name) if channels.contains(&name) => {
                reading.add(span, Problem::error(Code::Conflict, format!("{name} is named twice")));
            }
            Some(name) => channels.push(name),
            None => {
                let problem = Problem::error(Code::BadValue, format!("there is no channel {name:?}"));
                let nearest = keys::nearest(name, reading.channels.iter().map(ChannelName::as_str));
                let problem = match nearest {
                    Some(nearest) => problem.hint(format!("did you mean {nearest:?}?")),
                    None => problem.hint(format!("say where it is: [notify.{name}], with `webhook` or `ping`")),
                };
                reading.add(span, problem);
            }
        }
    }
    channels
}

fn value<T>(written: Option<At<T>>, otherwise: T) -> T {
    written.map_or(otherwise, |at| at.value)
}

fn check_retry(raw: RawRetry, key: &Range<usize>, reading: &mut Reading<'_>) -> Option<RunRetry> {
    if raw.max_attempts.is_none() && !reading.is_unused("max_attempts") {
        reading.add(
            key,
            Problem::error(Code::MissingKey, "`retry` has no max_attempts")
                .hint("say how many starts in all, the first included: max_attempts = 3"),
        );
    }
    let bounds = seconds(RUN_TIMEOUT_MIN, RETRY_DELAY_LONGEST);
    let delay = raw.delay.map_or(Duration::from_secs(RETRY_DELAY), |at| within(&at, &bounds, reading));
    let max_delay = match raw.max_delay {
        None => delay.max(Duration::from_secs(RETRY_MAX_DELAY)),
        Some(at) if at.value < delay => {
            reading.add(&at.span, Problem::error(Code::Conflict, "`max_delay` is shorter than `delay`"));
            at.value
        }
        Some(at) => within(&at, &bounds, reading),
    };
    let on = match raw.on {
        None => RETRY_ON.map(str::to_owned).to_vec(),
        Some(at) if at.value.0.is_empty() => {
            reading.bad(&at, "names no status");
            Vec::new()
        }
        Some(at) => at.value.0.into_iter().map(|(word, span)| check_status(word, &span, reading)).collect(),
    };
    let max_attempts = small(raw.max_attempts.as_ref(), 2, 2, 10, reading);
    Some(RunRetry { max_attempts, on, delay, max_delay })
}

/// The ends of a run after which it makes sense to start it again.
const BAD_ENDS: [&str; 4] = ["failed", "terminated", "timed_out", "canceled"];

fn check_status(word: String, span: &Range<usize>, reading: &mut Reading<'_>) -> String {
    if !BAD_ENDS.contains(&word.as_str()) {
        let problem = Problem::error(Code::BadValue, format!("{word:?} is not a bad end of a run"));
        let completed = RunStatus::from_word(&word) == RunStatus::Completed;
        let nearest = keys::nearest(&word, BAD_ENDS.into_iter()).filter(|_| !completed);
        reading.add(
            span,
            match nearest {
                Some(nearest) => problem.hint(format!("did you mean {nearest:?}?")),
                None => problem.hint(format!("these are: {}", BAD_ENDS.join(", "))),
            },
        );
    }
    word
}
