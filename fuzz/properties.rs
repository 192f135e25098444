//! What holds for any text and any instant: no panic, no hang, and answers that fit one another.
//!
//! One function, called by the fuzz target with bytes that it makes up, and by a test with bytes that proptest makes up and
//! with the corpus.

use chrono::{DateTime, TimeDelta, Utc};
use skycron::schedule::{CronExpression, Fold, Gap, Timetable, Zone, interval, warnings};

/// Zones whose clocks change in every way there is.
const ZONES: [&str; 8] = [
    "UTC",
    "America/New_York",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Pacific/Apia",
    "America/Havana",
    "Africa/Casablanca",
    "Asia/Kathmandu",
];
/// Occurrences that are looked at.
const STEPS: usize = 40;

/// The bytes are a zone, the policies, four bytes of minutes since 1970, and the expression.
pub(super) fn check(zones: &[Zone], bytes: &[u8]) {
    let Some(([zone, policies, a, b, c, d], text)) = bytes.split_first_chunk::<6>() else { return };
    let text = String::from_utf8_lossy(text);
    let expression = match CronExpression::parse(&text) {
        Ok(expression) => expression,
        Err(error) => {
            assert!(text.get(error.span.clone()).is_some(), "{text:?}: {:?} is not a slice of it", error.span);
            if let Some(correction) = &error.correction {
                assert!(CronExpression::parse(correction).is_ok(), "{text:?}: {correction:?} is refused too");
            }
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(expression.as_str(), text);
    // 2 to the power of 27 minutes are the 255 years from 1970 on: past the end of the calendar too.
    let minutes = u32::from_le_bytes([*a, *b, *c, *d]) & 0x07ff_ffff;
    let start =
        DateTime::<Utc>::UNIX_EPOCH + TimeDelta::minutes(i64::from(minutes)) + TimeDelta::milliseconds(i64::from(*d));

    let local = start.naive_utc();
    if let Some(next) = expression.next_after(local) {
        assert!(next > local, "{text:?} after {local}: {next}");
        assert!(expression.previous_before(next).is_none_or(|previous| previous <= local), "{text:?} after {local}");
    }

    let zone = &zones[usize::from(*zone) % zones.len()];
    let gap = Gap::ALL[usize::from(policies & 1) % Gap::ALL.len()];
    let fold = Fold::ALL[usize::from(policies >> 1) % Fold::ALL.len()];
    let Ok(timetable) = Timetable::cron(expression.clone(), zone.clone(), gap, fold) else {
        assert!(interval::check(&expression, interval::MIN_INTERVAL).is_err());
        return;
    };
    let mut at = start;
    let mut found = Vec::new();
    while let Some(next) = timetable.next_after(at).filter(|_| found.len() < STEPS) {
        let least = if found.is_empty() { TimeDelta::milliseconds(1) } else { TimeDelta::minutes(5) };
        assert!(next - at >= least, "{text:?} in {zone:?}: {next} after {at}");
        found.push(next);
        at = next;
    }
    let mut back = Vec::new();
    while let Some(previous) = timetable.previous_before(at).filter(|previous| *previous > start) {
        back.push(previous);
        at = previous;
    }
    back.reverse();
    back.extend(found.last());
    assert_eq!(back, found, "{text:?} in {zone:?} after {start}");
    if let Some(last) = found.last() {
        assert_eq!(timetable.count_between(start, *last), found.len() as u64, "{text:?} in {zone:?} after {start}");
    }
    assert!(timetable.dropped_between(start, start + TimeDelta::days(800)).iter().all(|at| !found.contains(at)));
    let again = Timetable::from_definition(&timetable.definition(true), |_| Some(zone.clone()));
    assert_eq!(again.as_ref(), Ok(&timetable), "{text:?}");
    for warning in warnings(&timetable, start) {
        assert!(warning.span.is_none_or(|span| text.get(span).is_some()), "{text:?}");
    }
}

/// The zones that [`check`] draws from.
pub(super) fn zones() -> Vec<Zone> {
    ZONES.iter().filter_map(|name| Zone::bundled(name)).collect()
}
