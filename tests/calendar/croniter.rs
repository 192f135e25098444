//! croniter, with which Skyvern's server evaluates schedules: its recorded answers in UTC, where it is right.
//!
//! `tests/record_croniter.py` drew the expressions and wrote `tests/data/croniter.tsv`. What differs stands here, each
//! with its reason; a reason that no line needs any more is an error too.

use std::{collections::BTreeMap, path::Path};

use chrono::{Datelike, Days, NaiveDateTime};
use skycron::schedule::CronExpression;

/// Why an answer differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// A `#` or `L5` term with a restricted day of month: croniter requires both to match (and finds no date where they
    /// cannot), others take either. Refused here, so that nobody is surprised.
    NthWithDay,
    /// Weekdays together with `#` or `L5` terms: croniter has no union of the two; here it is one, and `check` warns.
    MixedTerms,
    /// One day field names every day without `*`, and the other one has a `*` in it (`*/10` and `1-7`): croniter takes the
    /// first for a `*`, so that only the other counts. Here both are restricted, as they are with any other number in
    /// them, and either is enough; `check` warns.
    EveryDayInNumbers,
    /// croniter's mistake: with a day in the list that this month does not have, it goes that many days on, lands on the
    /// first to third of the next month, and misses what was due there before (`1,31` in February: not on 1 March).
    ShortMonth,
    /// Days that no month of the expression has, or weekdays: croniter finds no date at all, though the weekdays are there.
    WeekdaysOfImpossibleDay,
    /// A step that leaves only its first value: croniter takes it, and it is a slip of the pen (`*/60` for an hour).
    StepTooLarge,
}

/// The reasons that hold for an expression.
fn reason(expression: &str) -> Option<Reason> {
    let fields: Vec<&str> = expression.split(' ').collect();
    let [_, _, day, month, weekday] = fields[..] else { return None };
    let term = |item: &str| item.contains('#') || item.starts_with('L');
    if weekday.split(',').any(term) {
        if day != "*" && day != "?" {
            return Some(Reason::NthWithDay);
        }
        return (!weekday.split(',').all(term)).then_some(Reason::MixedTerms);
    }
    if weekday != "*" && weekday != "?" && CronExpression::parse(&format!("0 0 {day} {month} *")).is_err() {
        return CronExpression::parse(expression).is_ok().then_some(Reason::WeekdaysOfImpossibleDay);
    }
    let starred = |field: &str| field.contains('*') && !field.split(',').any(|item| item == "*");
    if (starred(day)
        && weekday.split(',').all(|item| item != "*")
        && days_in_two_weeks(&format!("0 0 * * {weekday}")) == 14)
        || (starred(weekday)
            && day.split(',').all(|item| item != "*")
            && days_in_two_weeks(&format!("0 0 {day} * *")) == 14)
    {
        return Some(Reason::EveryDayInNumbers);
    }
    matches!(expression, "*/60 * * * *" | "0 */25 * * *" | "0 0 */40 * *" | "5-6/9 * * * *" | "0 0 * * */7")
        .then_some(Reason::StepTooLarge)
}

/// How many of the days from 1 to 14 January 2026 an expression is due on; 0 for one that is refused.
fn days_in_two_weeks(expression: &str) -> usize {
    let Ok(expression) = CronExpression::parse(expression) else { return 0 };
    let (start, end) = (time("2025-12-31T23:59"), time("2026-01-14T00:00"));
    let next = |at: &NaiveDateTime| expression.next_after(*at).filter(|found| *found <= end);
    std::iter::successors(next(&start), next).count()
}

/// Whether croniter may miss an occurrence: on the first or second of the month after a short one, where the expression
/// has a day that the short one lacks.
fn may_be_missed(expression: &str, at: NaiveDateTime) -> bool {
    let day = expression.split(' ').nth(2).unwrap();
    let long_month = CronExpression::parse(&format!("0 0 {day} 1 *")).unwrap();
    let days_before = (at.date() - Days::new(u64::from(at.day()))).day();
    let last = long_month.previous_before(time("2026-02-01T00:00")).unwrap().day();
    at.day() <= 2 && days_before < last
}

fn time(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn answers_are_croniters() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/croniter.tsv");
    let recorded = std::fs::read_to_string(path).unwrap();
    let (mut compared, mut differences) = (0, BTreeMap::<Reason, usize>::new());
    for line in recorded.lines().filter(|line| !line.starts_with('#')) {
        let [expression, start, answer] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let ours = CronExpression::parse(expression);
        if let Some(reason) = reason(expression) {
            *differences.entry(reason).or_default() += 1;
            let accepted =
                matches!(reason, Reason::MixedTerms | Reason::EveryDayInNumbers | Reason::WeekdaysOfImpossibleDay);
            assert_eq!(ours.is_ok(), accepted, "{line}");
            // Two programs that agree are no difference.
            assert!(!(answer.starts_with("refused") && ours.is_err() && reason == Reason::StepTooLarge), "{line}");
            continue;
        }
        let Ok(ours) = ours else {
            assert!(answer.starts_with("refused"), "refused here ({}), not by croniter: {line}", ours.unwrap_err());
            continue;
        };
        let Some((before, after)) = answer.split_once(" | ") else { panic!("not refused here: {line}") };
        assert_eq!(ours.previous_before(time(start)), Some(time(before)), "{line}");
        let mut at = time(start);
        for expected in after.split(' ') {
            at = ours.next_after(at).unwrap();
            while at != time(expected) && may_be_missed(expression, at) {
                *differences.entry(Reason::ShortMonth).or_default() += 1;
                at = ours.next_after(at).unwrap();
            }
            assert_eq!(at, time(expected), "{line}");
        }
        compared += 1;
    }
    assert!(compared > 2_500, "only {compared} lines were compared");
    assert_eq!(differences.len(), 6, "a reason without a line: {differences:?}");
}
