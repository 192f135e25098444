//! What people write, what is refused, and that the words of an expression mean that expression.

use proptest::prelude::*;

use super::parse;
use crate::schedule::{
    CronExpression, Fold, Gap, Timetable, Zone,
    cron::in_words::{MONTH_NAMES, WEEKDAY_NAMES},
};

#[track_caller]
fn check(phrase: &str, expected: &str) {
    match parse(phrase) {
        Ok(expression) => assert_eq!(expression.as_str(), expected, "{phrase}"),
        Err(error) => panic!("{phrase}: {error} ({})", error.hint),
    }
}

#[track_caller]
fn check_refused(phrase: &str, message: &str) {
    match parse(phrase) {
        Ok(expression) => panic!("{phrase}: {expression}"),
        Err(error) => {
            assert!(error.message.contains(message), "{phrase}: {error}");
            assert!(!error.hint.is_empty(), "{phrase}");
        }
    }
}

#[test]
fn phrases_of_people() {
    check("weekdays at 9", "0 9 * * 1-5");
    check("Weekdays at 9.", "0 9 * * 1-5");
    check("at 9 on weekdays", "0 9 * * 1-5");
    check("every weekday at 9am", "0 9 * * 1-5");
    check("monday to friday, 9:30", "30 9 * * 1-5");
    check("mon-fri 17:00", "0 17 * * 1-5");
    check("from Monday to Friday at 5 pm", "0 17 * * 1-5");
    check("every 15 minutes", "*/15 * * * *");
    check("every five minutes", "*/5 * * * *");
    check("every 15 minutes on weekdays from 9 to 16:45", "*/15 9-16 * * 1-5");
    check("every 30 minutes between 8:00 and 12:30", "0,30 8-12 * * *");
    check("every hour from 9 to 17 on weekdays", "0 9-17 * * 1-5");
    check("every 2 hours from 8:30 to 20:30", "30 8-20/2 * * *");
    check("every 4 hours", "0 */4 * * *");
    check("every 3 hours from 00:20 on", "20 */3 * * *");
    check("hourly", "0 * * * *");
    check("every hour", "0 * * * *");
    check("at 5 minutes past every hour", "5 * * * *");
    check("first of the month at 06:30", "30 6 1 * *");
    check("on the 1st and 15th of the month at 6", "0 6 1,15 * *");
    check("monthly on the 1st at midnight", "0 0 1 * *");
    check("last day of the month at 23:00", "0 23 L * *");
    check("every last friday of the month at noon", "0 12 * * L5");
    check("the second tuesday of every month at 10:00", "0 10 * * 2#2");
    check("first and third Monday of the month at 8", "0 8 * * 1#1,1#3");
    check("mondays and thursdays at 18:00", "0 18 * * 1,4");
    check("Mon, Wed and Fri at 7:15", "15 7 * * 1,3,5");
    check("weekly on sunday at 4", "0 4 * * 0");
    check("saturday to monday at 4", "0 4 * * 0,1,6");
    check("daily at noon", "0 12 * * *");
    check("at noon every day", "0 12 * * *");
    check("noon and midnight", "0 0,12 * * *");
    check("at 9, 12 and 15:00 daily", "0 9,12,15 * * *");
    check("12am", "0 0 * * *");
    check("12:30 pm", "30 12 * * *");
    check("weekends at 10 in June, July and August", "0 10 * 6-8 0,6");
    check("yearly on the 24th of December at 18:00", "0 18 24 12 *");
    check("on the 13th of the month and on fridays at 9", "0 9 13 * 5");
    // An expression is one already.
    check("0 9 * * 1-5", "0 9 * * 1-5");
    check("@daily", "@daily");
}

#[test]
fn phrases_that_are_refused() {
    check_refused("", "nothing is said");
    check_refused("weekdays", "at what time is not said");
    check_refused("sometimes at 9", "`sometimes` is not understood");
    check_refused("weekdays at", "something is missing after `at`");
    check_refused("weekdays at 25", "`25` is not understood");
    check_refused("weekdays at 9:5", "`9:5` is not understood");
    check_refused("13pm", "`13pm` is not understood");
    check_refused("every 45 minutes", "does not come out even");
    check_refused("every 90 minutes", "does not come out even");
    check_refused("every 0 minutes", "does not come out even");
    check_refused("every 99999 hours", "does not come out even");
    check_refused("every 2 days at 9", "cannot count days");
    check_refused("every other monday at 9", "`other` is not understood");
    check_refused("at 9:00 and 17:30", "different minutes in different hours");
    check_refused("every 15 minutes from 9 to 17", "other minutes than those between");
    check_refused("every 15 minutes from 9 to 16:50", "does not come to 16:50");
    check_refused("every hour from 22 to 6", "ends before it begins");
    check_refused("every 15 minutes from 9 on", "when it ends is not said");
    check_refused("every 15 minutes at 9", "in two ways");
    check_refused("from 9 to 17", "not how often");
    check_refused("weekly at 9", "on which day of the week");
    check_refused("monthly at 9", "on which day of the month");
    check_refused("yearly on the 1st at 9", "on which day of which month");
    check_refused("daily on mondays at 9", "every day is said, and single days too");
    check_refused("on the 32nd of the month at 9", "no days 32");
    check_refused("on the sixth friday of the month at 9", "no more than five");
    check_refused("1st of January and the 2nd of March at 9", "different months");
    check_refused("on the 1st day of the month and the last friday of the month at 9", "together with a day of month");
    check_refused("30th of February at 9", "never");
    check_refused("* * * *", "4 fields");
    check_refused("@sometimes", "not an alias");
    check_refused(&"at 9 ".repeat(200), "longer than");
}

#[track_caller]
fn words(expression: &str, expected: &str) {
    let expression = CronExpression::parse(expression).unwrap();
    assert_eq!(expression.in_words().as_deref(), Some(expected), "{expression}");
    same_by_its_words(&expression);
}

/// The words, read back, mean the same times.
#[track_caller]
fn same_by_its_words(expression: &CronExpression) {
    let words = expression.in_words().unwrap_or_else(|| panic!("no words for {expression}"));
    let back = match parse(&words) {
        Ok(back) => back,
        // What the dialect does not take cannot be read back, and was not in the expression.
        Err(error) => panic!("{expression}: {words:?}: {error} ({})", error.hint),
    };
    assert!(back.means(expression), "{expression}: {words:?}: {back}");
}

#[test]
fn expressions_in_words() {
    words("0 9 * * 1-5", "At 09:00 on weekdays");
    words("0 9 * * *", "At 09:00 every day");
    words("0 9,12,15 * * *", "At 09:00, 12:00 and 15:00 every day");
    words("*/15 * * * *", "Every 15 minutes");
    words("5-59/15 * * * *", "Every 15 minutes from 00:05 on");
    words("0 * * * *", "Every hour");
    words("@hourly", "Every hour");
    words("@daily", "At 00:00 every day");
    words("@weekly", "At 00:00 on Sundays");
    words("@monthly", "At 00:00 on the 1st of the month");
    words("@yearly", "At 00:00 on the 1st of January");
    words("5 * * * *", "At 5 minutes past every hour");
    // Not "every 35 minutes": the hour begins again.
    words("*/35 * * * *", "At minutes 0 and 35 of every hour");
    words("0 */2 * * *", "Every 2 hours from 00:00 on");
    words("30 1-23/2 * * *", "Every 2 hours from 01:30 on");
    // Not "every 5 hours" either.
    words("0 */5 * * *", "At 00:00, 05:00, 10:00, 15:00 and 20:00 every day");
    words("0 9-17 * * 1-5", "Every hour from 09:00 to 17:00 on weekdays");
    words("*/30 9-17 * * 1-5", "Every 30 minutes from 09:00 to 17:30 on weekdays");
    words("0 8-22/2 * * *", "Every 2 hours from 08:00 to 22:00 every day");
    words("1,7,30 9-12,20 * * *", "At minutes 1, 7 and 30 of the hours 9 to 12 and 20 every day");
    words("0 22-23,0-2 * * *", "At 00:00, 01:00, 02:00, 22:00 and 23:00 every day");
    words("0 0 L * *", "At 00:00 on the last day of the month");
    words("0 0 15,L * *", "At 00:00 on the 15th and the last day of the month");
    words("0 0 28-31 * *", "At 00:00 on the 28th to 31st of the month");
    words("0 0 * * L5", "At 00:00 on the last Friday of the month");
    words("0 0 * * 2#2", "At 00:00 on the second Tuesday of the month");
    words("0 0 * * 1#1,1#3", "At 00:00 on the first Monday and the third Monday of the month");
    words("0 0 * * 5#5", "At 00:00 on the fifth Friday of the month");
    words("0 0 * * 5#4,5#5", "At 00:00 on the fourth Friday and the fifth Friday of the month");
    words("0 0 * * 5#5,L5", "At 00:00 on the last Friday of the month");
    words("0 0 1-7 * *", "At 00:00 on the 1st to 7th of the month");
    // Either day field suffices.
    words("0 9 13 * 5", "At 09:00 on the 13th of the month and on Fridays");
    words("0 9 1 1,7 1", "At 09:00 on the 1st of January and July and on Mondays in January and July");
    // A step restricts the field.
    words("0 0 */10 * 1", "At 00:00 on the 1st, the 11th, the 21st and the 31st of the month and on Mondays");
    words("0 0 ? * MON-SUN", "At 00:00 every day");
    words("0 0 13 * 0-7", "At 00:00 every day");
    words("0 0 * JUN-AUG SAT,SUN", "At 00:00 on weekends in June to August");
    words("*/15 * * 1 *", "Every 15 minutes in January");
    words("0 9 * 1 *", "At 09:00 every day in January");
    words("0 0 * * 5-7", "At 00:00 on Fridays, Saturdays and Sundays");
}

#[test]
fn other_cadences_and_zones() {
    let check = |timetable: Timetable, expected: &str| assert_eq!(timetable.in_words().as_deref(), Some(expected));
    let zone = |name: &str| Zone::bundled(name).unwrap();
    let at = |text: &str| text.parse().unwrap();
    let cron = |zone: Zone| {
        Timetable::cron(CronExpression::parse("0 9 * * 1-5").unwrap(), zone, Gap::Shift, Fold::Auto).unwrap()
    };
    check(cron(zone("America/New_York")), "At 09:00 on weekdays, New York time");
    check(cron(zone("America/Argentina/Buenos_Aires")), "At 09:00 on weekdays, Buenos Aires time");
    check(cron(Zone::utc()), "At 09:00 on weekdays, UTC");
    check(cron(zone("Etc/GMT+5")), "At 09:00 on weekdays, Etc/GMT+5");
    check(cron(zone("EST5EDT")), "At 09:00 on weekdays, EST5EDT");
    check(
        Timetable::interval(5400, at("2026-11-02T14:00:00Z"), zone("America/New_York")).unwrap(),
        "Every 1h 30m from 2026-11-02 09:00 on, New York time",
    );
    check(
        Timetable::once(at("2026-11-02T14:00:30Z"), zone("America/New_York")).unwrap(),
        "Once, on 2026-11-02 09:00:30, New York time",
    );
    check(
        cron(Zone::utc()).within(Some(at("2026-11-02T00:00:00Z")), Some(at("2026-12-01T12:00:00Z"))),
        "At 09:00 on weekdays, UTC, not before 2026-11-02 00:00, not after 2026-12-01 12:00",
    );
}

/// A field: a star, a step, or a list of values and ranges.
fn field(least: u32, most: u32) -> impl Strategy<Value = String> {
    let value = least..=most;
    let range = (least..=most, least..=most).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let item = prop_oneof![value.prop_map(|value| value.to_string()), range];
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => (2..=(most - least)).prop_map(|step| format!("*/{step}")),
        4 => prop::collection::vec(item, 1..4).prop_map(|items| items.join(",")),
    ]
}

fn weekdays() -> impl Strategy<Value = String> {
    let term = prop_oneof![
        (0..7_u32, 1..6_u32).prop_map(|(day, n)| format!("{day}#{n}")),
        (0..7_u32).prop_map(|day| format!("L{day}")),
        (0..7_u32).prop_map(|day| day.to_string()),
    ];
    prop_oneof![4 => field(0, 6), 2 => prop::collection::vec(term, 1..4).prop_map(|terms| terms.join(","))]
}

fn days() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => field(1, 31),
        1 => Just("L".to_owned()),
        1 => field(1, 31).prop_filter("one list", |text| !text.contains('*')).prop_map(|list| format!("{list},L")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn words_mean_their_expression(
        minute in field(0, 59), hour in field(0, 23), day in days(), month in field(1, 12), weekday in weekdays(),
    ) {
        // Never due, or days that the dialect does not mix: no expression.
        if let Ok(expression) = CronExpression::parse(&format!("{minute} {hour} {day} {month} {weekday}")) {
            same_by_its_words(&expression);
        }
    }

    #[test]
    fn no_phrase_is_too_much(text in "(every|at|on|the|of|in|and|,|last|[0-9]{1,3}|[0-9]{1,2}:[0-9]{2}|1st|monday|weekdays|june|to|hours|minutes| ){0,12}") {
        let _ = parse(&text);
    }
}

/// What the property found once.
#[test]
fn the_last_day_among_others_keeps_its_words() {
    same_by_its_words(&CronExpression::parse("* * 29-30,L * *").unwrap());
}

#[test]
fn names_are_in_their_order() {
    assert_eq!(WEEKDAY_NAMES[1], "Monday");
    assert_eq!(MONTH_NAMES[11], "December");
}
