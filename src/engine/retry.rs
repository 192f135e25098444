//! How long to wait before the next try: exponential, with jitter that the key decides.
//!
//! No randomness, so that a simulation repeats itself; and no two occurrences in step, since their keys differ.

use std::time::Duration;

use crate::ids::OccurrenceKey;

/// The wait before the second attempt of a start, at most. It doubles from one attempt to the next.
pub const START_DELAY_SECONDS: u64 = 1;
/// The longest wait between two attempts of a start.
pub const START_DELAY_SECONDS_MAX: u64 = 60;

/// The wait after `attempt` (from 1) attempts of a start: between half and all of 1, 2, 4, … 60 seconds; not less than the
/// server asked for.
#[must_use]
pub fn start_delay(key: &OccurrenceKey, attempt: u32, retry_after: Option<Duration>) -> Duration {
    let ceiling =
        doubled(Duration::from_secs(START_DELAY_SECONDS), attempt, Duration::from_secs(START_DELAY_SECONDS_MAX));
    let spread = spread(key, attempt, ceiling / 2);
    let delay = ceiling / 2 + spread;
    retry_after.map_or(delay, |asked| asked.saturating_add(spread).max(delay))
}

/// The wait before the next run after `attempt` (from 1) runs ended badly: `delay`, doubled each time, at most `max_delay`.
#[must_use]
pub fn run_delay(attempt: u32, delay: Duration, max_delay: Duration) -> Duration {
    doubled(delay, attempt, max_delay)
}

/// How much later than its instant an occurrence is started: less than `bound`, decided by its key.
#[must_use]
pub fn jitter(key: &OccurrenceKey, bound: Duration) -> Duration {
    spread(key, 0, bound)
}

fn doubled(base: Duration, attempt: u32, max: Duration) -> Duration {
    let factor = 1_u32.checked_shl(attempt.saturating_sub(1).min(31)).unwrap_or(u32::MAX);
    base.saturating_mul(factor).min(max)
}

fn spread(key: &OccurrenceKey, salt: u32, bound: Duration) -> Duration {
    let Ok(bound_ms @ 1..) = u64::try_from(bound.as_millis()) else { return Duration::ZERO };
    // FNV's low bits are weak for texts that differ in their last bytes only; a multiplication and a shift mix them.
    let mixed = (key.seed() ^ u64::from(salt)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Duration::from_millis((mixed >> 16) % bound_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> OccurrenceKey {
        text.parse().unwrap()
    }

    #[test]
    fn starts_back_off_and_stay_bounded() {
        let key = key("main/daily@2026-11-02T14:00:00Z");
        for attempt in 1..40 {
            let ceiling = Duration::from_secs(2_u64.saturating_pow(attempt - 1).min(60));
            let delay = start_delay(&key, attempt, None);
            assert!(delay >= ceiling / 2 && delay <= ceiling, "attempt {attempt}: {delay:?}");
        }
        assert!(start_delay(&key, 1, Some(Duration::from_secs(30))) >= Duration::from_secs(30));
        assert_eq!(start_delay(&key, 3, None), start_delay(&key, 3, None));
    }

    #[test]
    fn jitter_differs_between_occurrences_and_stays_below_its_bound() {
        let bound = Duration::from_secs(100);
        let all: Vec<_> = (0..50)
            .map(|day| jitter(&key(&format!("main/daily@2026-11-{:02}T14:00:00Z", day % 28 + 1)), bound))
            .collect();
        assert!(all.iter().all(|j| *j < bound));
        assert!(all.iter().collect::<std::collections::BTreeSet<_>>().len() > 20, "{all:?}");
        assert_eq!(jitter(&key("main/daily@2026-11-02T14:00:00Z"), Duration::ZERO), Duration::ZERO);
    }
}
