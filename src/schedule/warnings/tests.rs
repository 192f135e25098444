//! Which warnings a schedule gets, and in which words.

use crate::{
    clock::parse_rfc3339,
    schedule::{Fold, Gap, Timetable, Zone, warnings},
};

/// The warnings of an expression in New York, seen from an instant; `<…>` are the bytes that one is about.
fn check_with(expression: &str, zone: &str, gap: Gap, fold: Fold, from: &str, expected: &[&str]) {
    let zone = Zone::bundled(zone).unwrap();
    let timetable = Timetable::cron(expression.parse().unwrap(), zone, gap, fold).unwrap();
    let found: Vec<String> = warnings(&timetable, parse_rfc3339(from).unwrap())
        .into_iter()
        .map(|warning| match &warning.span {
            Some(span) => format!("<{}> {warning}", &expression[span.clone()]),
            None => warning.to_string(),
        })
        .collect();
    assert_eq!(found, expected, "{expression}");
}

fn check(expression: &str, expected: &[&str]) {
    check_with(expression, "America/New_York", Gap::Shift, Fold::Auto, "2026-01-15T00:00:00Z", expected);
}

#[test]
fn nothing_to_say() {
    for expression in ["0 9 * * *", "*/5 * * * *", "0 * * * *", "0 */6 * * *", "0 0 1 1 *", "0 0 L * *", "0 0 * * 5#2"]
    {
        check(expression, &[]);
    }
}

#[test]
fn day_fields() {
    let either = "both day fields are restricted: due on the days of the month AND on the weekdays";
    let step = "a step in a day field starts again with each month or week, and restricts the field";
    check("0 9 13 * 5", &[&format!("<13 * 5> {either}")]);
    check("0 9 */2 * *", &[&format!("<*/2> {step}")]);
    check("0 9 * * */2", &[&format!("<*/2> {step}")]);
    check("0 9 */2 * mon", &[&format!("<*/2 * mon> {either}"), &format!("<*/2> {step}")]);
    check("0 9 1-31/2 * *", &[]);
    check("0 9 * * 1#5,2", &["<1#5,2> weekdays together with `#` or `L` terms: Skyvern's own scheduler refuses that"]);
    check("0 9 13 * ?", &[]);
}

#[test]
fn clock_changes() {
    check("30 2 * * *", &["the clock change skips 2026-03-08 02:30:00; due at 2026-03-08T07:30:00Z instead"]);
    check(
        "30 1 * * *",
        &[
            "the clock change repeats 2026-11-01 01:30:00; due once, at 2026-11-01T05:30:00Z, not again at 2026-11-01T06:30:00Z",
        ],
    );
    // Not on that day.
    check("30 2 * * 1", &[]);
    // Only the first two of many.
    check(
        "*/10 2 * * *",
        &[
            "the clock change skips 2026-03-08 02:00:00; due at 2026-03-08T07:00:00Z instead",
            "the clock change skips 2026-03-08 02:10:00; due at 2026-03-08T07:10:00Z instead",
        ],
    );
    check_with(
        "30 2 * * *",
        "America/New_York",
        Gap::Skip,
        Fold::Auto,
        "2026-01-15T00:00:00Z",
        &["the clock change skips 2026-03-08 02:30:00; not due then"],
    );
    check_with(
        "30 1 * * *",
        "America/New_York",
        Gap::Shift,
        Fold::Both,
        "2026-01-15T00:00:00Z",
        &["the clock change repeats 2026-11-01 01:30:00; due at both, 2026-11-01T05:30:00Z and 2026-11-01T06:30:00Z"],
    );
    // A year from the instant, not the calendar's.
    check_with(
        "30 2 * * *",
        "America/New_York",
        Gap::Shift,
        Fold::Auto,
        "2026-06-01T00:00:00Z",
        &["the clock change skips 2027-03-14 02:30:00; due at 2027-03-14T07:30:00Z instead"],
    );
    check_with(
        "0,28 * * * *",
        "Australia/Lord_Howe",
        Gap::Shift,
        Fold::Auto,
        "2026-06-01T00:00:00Z",
        &[
            "the clock change skips 2026-10-04 02:00:00; due at 2026-10-03T15:30:00Z instead",
            "the clock change skips 2026-10-04 02:28:00; due at 2026-10-03T15:58:00Z instead",
            "the clock change brings 2026-10-03T16:00:00Z within five minutes of the occurrence before; it is dropped",
        ],
    );
}

#[test]
fn rarely_or_never() {
    check("0 9 29 2 *", &["due less than once a year; next at 2028-02-29T14:00:00Z"]);
    check("0 9 * 2 mon#5", &["due less than once a year; next at 2044-02-29T14:00:00Z"]);
    // On a change that comes round each year on the same date, which the zone no longer has.
    let from = parse_rfc3339("2026-01-15T00:00:00Z").unwrap();
    let once = Timetable::once(parse_rfc3339("2026-01-01T00:00:00Z").unwrap(), Zone::utc()).unwrap();
    let found: Vec<String> = warnings(&once, from).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["never due any more"]);
    let ended = Timetable::cron("0 9 * * *".parse().unwrap(), Zone::utc(), Gap::Shift, Fold::Auto).unwrap();
    let ended = ended.within(None, parse_rfc3339("2026-01-10T00:00:00Z"));
    let found: Vec<String> = warnings(&ended, from).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["never due any more"]);
}
