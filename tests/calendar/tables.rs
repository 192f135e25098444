//! The tables in `tests/data`: occurrences by example, and expressions that are refused.
//!
//! The same rows go through the real binary elsewhere; here each is also walked backwards, counted, and started from
//! instants in between.

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use skycron::{
    config::zones::{ZoneRulesChoice, ZoneSource},
    schedule::{CronExpression, Fold, Gap, Timetable, interval},
};

pub(super) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Occurrences {
    row: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    source: String,
    expression: String,
    zone: String,
    #[serde(default)]
    gap: Option<String>,
    #[serde(default)]
    fold: Option<String>,
    #[serde(default)]
    rules: Option<String>,
    after: DateTime<Utc>,
    expected: Vec<DateTime<Utc>>,
    #[serde(default)]
    dropped: Vec<DateTime<Utc>>,
}

fn check(row: &Row) {
    let Row { source, expression, after, expected, .. } = row;
    let context = format!("{expression} in {} ({source})", row.zone);
    let choice = row.rules.as_deref().map_or(ZoneRulesChoice::Auto, |word| ZoneRulesChoice::from_word(word).unwrap());
    let zone = ZoneSource::load(choice, Some(&data("zoneinfo"))).unwrap().zone(&row.zone).expect(&context);
    let gap = row.gap.as_deref().map_or(Gap::Shift, |word| Gap::from_word(word).unwrap());
    let fold = row.fold.as_deref().map_or(Fold::Auto, |word| Fold::from_word(word).unwrap());
    let timetable = Timetable::cron(expression.parse().expect(&context), zone, gap, fold).expect(&context);

    let mut at = *after;
    for expected in expected {
        let halfway = at + (*expected - at) / 2;
        at = timetable.next_after(at).expect(&context);
        assert_eq!(at, *expected, "{context}");
        assert_eq!(timetable.next_after(halfway), Some(at), "{context}, from {halfway}");
    }
    let last = at;
    for pair in expected.windows(2).rev() {
        assert_eq!(timetable.previous_before(pair[1]), Some(pair[0]), "{context}, backwards");
    }
    assert_eq!(timetable.between(*after, last).collect::<Vec<_>>(), *expected, "{context}");
    assert_eq!(timetable.count_between(*after, last), expected.len() as u64, "{context}");
    assert_eq!(timetable.dropped_between(*after, last), row.dropped, "{context}");
    // What is written down means the same.
    let definition = timetable.definition(true);
    let again = Timetable::from_definition(&definition, |_| Some(timetable.zone().clone())).expect(&context);
    assert_eq!(again, timetable, "{context}");
}

#[test]
fn occurrences() {
    let text = std::fs::read_to_string(data("occurrences.toml")).unwrap();
    let table: Occurrences = toml::from_str(&text).unwrap();
    assert!(table.row.len() > 70, "{} rows", table.row.len());
    table.row.iter().for_each(check);
}

/// Pairs that are too close, by the message.
#[test]
fn five_minute_rule() {
    let check = |expression: &str, least_minutes: i64, expected: Result<(), &str>| {
        let least = TimeDelta::minutes(least_minutes).to_std().unwrap();
        let verdict =
            interval::check(&CronExpression::parse(expression).unwrap(), least).map_err(|pair| pair.to_string());
        assert_eq!(verdict, expected.map_err(str::to_owned), "{expression}");
    };
    check("*/5 * * * *", 5, Ok(()));
    check("*/7 * * * *", 5, Err("due at 00:56 and again at 01:00, 4m later; 5m is the least"));
    check("* * * * *", 5, Err("due at 00:00 and again at 00:01, 1m later; 5m is the least"));
    check("*/35 * * * *", 5, Ok(()));
    check("*/59 * * * *", 5, Err("due at 00:59 and again at 01:00, 1m later; 5m is the least"));
    check("0,3 0 1 1 *", 5, Err("due at 00:00 and again at 00:03, 3m later; 5m is the least"));
    // Not under five minutes, whatever is asked for.
    check("*/4 * * * *", 1, Err("due at 00:00 and again at 00:04, 4m later; 5m is the least"));
    // Across midnight, only where two days can follow one another.
    check(
        "0,57 0,23 1,15,16 * *",
        5,
        Err("due at 23:57 and again at 00:00 the next day (as from 2026-01-15 on), 3m later; 5m is the least"),
    );
    check("0,57 0,23 1,15,17 * *", 5, Ok(()));
    check(
        "0,59 0,23 1,31 * *",
        5,
        Err("due at 23:59 and again at 00:00 the next day (as from 2026-01-31 on), 1m later; 5m is the least"),
    );
    // 28 February is followed by 1 March in most years, 29 by it in the others.
    check(
        "0,59 0,23 1,29 2,3 *",
        5,
        Err("due at 23:59 and again at 00:00 the next day (as from 2028-02-29 on), 1m later; 5m is the least"),
    );
    check("0,59 0,23 * * 1,3", 5, Ok(()));
    check(
        "0,59 0,23 * * 6,0",
        5,
        Err("due at 23:59 and again at 00:00 the next day (as from 2026-01-03 on), 1m later; 5m is the least"),
    );
    // A bound that is raised, up to days.
    check("*/5 * * * *", 10, Err("due at 00:00 and again at 00:05, 5m later; 10m is the least"));
    check("0 * * * *", 60, Ok(()));
    check("0 9 * * *", 24 * 60, Ok(()));
    check(
        "0 9 * * *",
        36 * 60,
        Err("due at 09:00 and again at 09:00 the next day (as from 2026-01-01 on), 1day later; 1day 12h is the least"),
    );
    check("0 9 1 * *", 28 * 24 * 60, Ok(()));
    check(
        "0 9 1 * *",
        29 * 24 * 60,
        Err("due at 09:00 and again at 09:00 28 days after (as from 2026-02-01 on), 28days later; 29days is the least"),
    );
}
