//! The crate croner, for what both define. What differs stands here, each with its reason.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use proptest::prelude::*;
use skycron::schedule::{CronExpression, Fold, Gap, Timetable, Zone};

use super::oracle;

fn croner(expression: &str) -> Option<Cron> {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(expression).ok()
}

fn ours(expression: &str, zone: Tz) -> Option<Timetable> {
    let zone = Zone::bundled(zone.name()).expect("a zone of chrono-tz");
    Timetable::cron(CronExpression::parse(expression).ok()?, zone, Gap::Shift, Fold::Auto).ok()
}

/// What the two do not both define.
fn is_shared(expression: &str) -> bool {
    let fields: Vec<&str> = expression.split(' ').collect();
    let items = || fields.iter().flat_map(|field| field.split(','));
    let [_, _, day, _, weekday] = fields[..] else { return false };
    // croner takes a step behind `*` or a range only: `5/10` is refused.
    let stepped_value = |item: &str| item.split_once('/').is_some_and(|(base, _)| base.parse::<u32>().is_ok());
    // The last Friday is `5#L` there, and `L5` here and at the server.
    let last = |item: &str| item.starts_with('L');
    // A bare `*` in a list makes the field unrestricted at the server and here; croner counts it as restricted.
    let star_in_list = |field: &str| field.contains(',') && field.split(',').any(|item| item == "*");
    !(items().any(stepped_value) || weekday.split(',').any(last) || star_in_list(day) || star_in_list(weekday))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// In UTC, where no clock changes.
    #[test]
    fn answers_in_utc_are_croners(expression in oracle::expression(), (_, start) in oracle::start()) {
        prop_assume!(is_shared(&expression));
        let (Some(croner), Some(ours)) = (croner(&expression), ours(&expression, Tz::UTC)) else {
            // Too frequent for a timetable; or refused there.
            prop_assume!(false);
            return Ok(());
        };
        let mut at = start;
        for _ in 0..4 {
            let expected = croner.find_next_occurrence(&at, false);
            // croner gives up after some years (`0 0 29 2 *` around 2100).
            let Ok(expected) = expected else { return Ok(()) };
            prop_assert_eq!(ours.next_after(at), Some(expected), "{} after {}", expression, at);
            at = expected;
        }
    }
}

/// All occurrences of a stretch by both: those that only skycron has, and those that only croner has.
fn differences(expression: &str, zone: Tz, after: &str, hours: i64) -> (Vec<String>, Vec<String>) {
    let after: DateTime<Utc> = after.parse().unwrap();
    let until = after + TimeDelta::hours(hours);
    let ours: Vec<_> = ours(expression, zone).unwrap().between(after, until).collect();
    let theirs: Vec<_> = croner(expression)
        .unwrap()
        .iter_after(after.with_timezone(&zone))
        .map(|found| found.with_timezone(&Utc))
        .take_while(|found| *found <= until)
        .collect();
    let only = |these: &[DateTime<Utc>], those: &[DateTime<Utc>]| {
        these.iter().filter(|found| !those.contains(found)).map(|found| found.format("%H:%M").to_string()).collect()
    };
    (only(&ours, &theirs), only(&theirs, &ours))
}

/// Around clock changes: who has what alone (UTC), and why ours is right.
#[test]
fn differences_at_clock_changes() {
    let check = |expression: &str, zone: Tz, after: &str, ours: &[&str], theirs: &[&str]| {
        let found = differences(expression, zone, after, 36);
        assert_eq!(
            (found.0.iter().map(String::as_str).collect(), found.1.iter().map(String::as_str).collect()),
            (ours.to_vec(), theirs.to_vec()),
            "{expression} in {zone} after {after}"
        );
    };
    let (spring, autumn) = ("2026-03-07T12:00:00Z", "2026-10-31T12:00:00Z");
    let new_york = Tz::America__New_York;
    for agreed in ["0 * * * *", "*/30 * * * *", "30 1 * * *", "0 9 * * *", "15 4 * * *"] {
        check(agreed, new_york, autumn, &[], &[]);
    }
    for agreed in ["0 * * * *", "*/15 * * * *", "0 9 * * *", "0 3 * * *"] {
        check(agreed, new_york, spring, &[], &[]);
    }
    // A skipped time is later by the length of the gap (RFC 5545), not at the first instant after it.
    check("30 2 * * *", new_york, spring, &["07:30"], &["07:00"]);
    // A list or a step with one value in the gap: croner drops that value, for others of the day are left. Here a skipped
    // time is never lost.
    check("0 */2 * * *", new_york, spring, &["07:00"], &[]);
    check("*/20 2 * * *", new_york, spring, &["07:00", "07:20", "07:40"], &[]);
    // A list of hours is fixed in the day, so a repeated time is due once; croner repeats all but single values.
    check("30 1-3 * * *", new_york, autumn, &[], &["06:30"]);
    check("15 1,2,3 * * *", new_york, autumn, &[], &["06:15"]);
    // Half an hour: 02:00 is skipped and so due at 02:30, an hour after 01:00; croner waits for 03:00.
    let (lord_howe, half_spring, half_autumn) =
        (Tz::Australia__Lord_Howe, "2026-10-03T00:00:00Z", "2026-04-04T00:00:00Z");
    check("0 * * * *", lord_howe, half_spring, &["15:30"], &[]);
    check("15 2 * * *", lord_howe, half_spring, &["15:45"], &["15:30"]);
    check("30 1-3 * * *", lord_howe, half_autumn, &[], &["15:00"]);
    check("*/30 * * * *", lord_howe, half_autumn, &[], &[]);
    // Two hours.
    let (troll, two_spring, two_autumn) = (Tz::Antarctica__Troll, "2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z");
    check("30 2 * * *", troll, two_spring, &["02:30"], &["01:00"]);
    check("30 1-3 * * *", troll, two_spring, &["02:30"], &[]);
    check("30 1-3 * * *", troll, two_autumn, &[], &["01:30", "02:30"]);
    check("0 * * * *", troll, two_autumn, &[], &[]);
    // At midnight.
    check("30 0 * * *", Tz::America__Havana, spring, &["05:30"], &["05:00"]);
    check("0 0 * * *", Tz::America__Havana, spring, &[], &[]);
    check("0 0 * * *", Tz::America__Havana, autumn, &[], &[]);
    // A whole day: croner goes from the 29th to the 1st, and misses the 31st with the day that was not there.
    check("0 9 * * *", Tz::Pacific__Apia, "2011-12-29T12:00:00Z", &["19:00"], &[]);
}
