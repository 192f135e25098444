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
    schedule::{CatchUp, Failover, Fires, Fold, Gap, OnUnknown, Overlap, Policies, RunRetry},
};

shape! {
    /// The policies as they are written.
    RawPolicies as "policies" {
        fires: Fires,
        server_grace: Duration,
        failover: Failover,
        overlap: Overlap,
        catch_up: CatchUp,
        catch_up_window: Duration,
        jitter: Duration,
        gap: Gap,
        fold: Fold,
        run_timeout: OrNone<Duration>,
        retry: OrNone<Nested<RawRetry>>,
        on_unknown: OnUnknown,
    }
}

shape! {
    /// `retry` as it is written.
    RawRetry as "schedule.retry" {
        max_attempts: u64,
        on: Texts,
        delay: Duration,
        max_delay: Duration,
    }
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
const RETRY_DELAY: u64 = 60;
const RETRY_MAX_DELAY: u64 = 3600;
const RETRY_DELAY_LONGEST: u64 = 24 * 3600;
const RETRY_ON: [&str; 2] = ["failed", "timed_out"];
/// No bound of its own: what a duration can be is bounded already.
const NO_BOUND: u64 = u64::MAX;

/// Lays the policies that are written over those of `base`.
pub(super) fn check(raw: RawPolicies, base: &PolicySet, reading: &mut Reading<'_>) -> PolicySet {
    let base_policies = &base.policies;
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
        run_timeout: match raw.run_timeout {
            None => base_policies.run_timeout,
            Some(At { value: OrNone::None, .. }) => None,
            Some(At { value: OrNone::Some(value), span, key }) => {
                Some(within(&At { value, span, key }, &seconds(RUN_TIMEOUT_MIN, NO_BOUND), reading))
            }
        },
        retry: match raw.retry {
            None => base_policies.retry.clone(),
            Some(At { value: OrNone::None, .. }) => None,
            Some(At { value: OrNone::Some(Nested(retry)), key, .. }) => check_retry(retry, &key, reading),
        },
        on_unknown: value(raw.on_unknown, base_policies.on_unknown),
    };
    PolicySet { policies, gap: value(raw.gap, base.gap), fold: value(raw.fold, base.fold) }
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
