//! The examples of the rule book, by the rules that chrono-tz carries.

use super::*;
use crate::clock::{parse_rfc3339, rfc3339};

fn timetable(expression: &str, zone: &str) -> Timetable {
    let zone = Zone::bundled(zone).expect("a zone of chrono-tz");
    Timetable::cron(expression.parse().expect("an accepted expression"), zone, Gap::Shift, Fold::Auto).expect("due")
}

#[test]
fn examples_of_gap_and_fold() {
    let check = |expression: &str, after: &str, expected: &[&str]| {
        let timetable = timetable(expression, "America/New_York");
        let mut at = parse_rfc3339(after).unwrap();
        for expected in expected {
            at = timetable.next_after(at).unwrap();
            assert_eq!(rfc3339(at), *expected, "{expression}");
        }
        for expected in expected.iter().rev().skip(1) {
            at = timetable.previous_before(at).unwrap();
            assert_eq!(rfc3339(at), *expected, "{expression}, backwards");
        }
    };
    check("30 2 * * *", "2026-03-07T12:00:00Z", &["2026-03-08T07:30:00Z", "2026-03-09T06:30:00Z"]);
    check("30 1 * * *", "2026-10-31T12:00:00Z", &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]);
    check(
        "0 * * * *",
        "2026-11-01T04:00:00Z",
        &["2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"],
    );
    check("0 9 * * *", "2026-10-31T20:00:00Z", &["2026-11-01T14:00:00Z"]);
    check("0 9 * * 1-5", "2026-11-20T20:00:00Z", &["2026-11-23T14:00:00Z", "2026-11-24T14:00:00Z"]);
    check("0 0 29 2 *", "2026-11-20T20:00:00Z", &["2028-02-29T05:00:00Z", "2032-02-29T05:00:00Z"]);
}
