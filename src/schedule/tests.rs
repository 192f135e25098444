//! What the integration tests cannot reach or do not look at: the other two cadences, bounds, and single look-ups of zones.

use chrono::{NaiveDateTime, TimeDelta};

use super::*;
use crate::clock::{parse_rfc3339, rfc3339};

fn at(text: &str) -> chrono::DateTime<chrono::Utc> {
    parse_rfc3339(text).unwrap_or_else(|| panic!("{text} is no instant"))
}

fn cron(expression: &str, zone: &str) -> Timetable {
    let zone = Zone::bundled(zone).expect("a zone of chrono-tz");
    Timetable::cron(expression.parse().expect("accepted"), zone, Gap::Shift, Fold::Auto).expect("not too frequent")
}

/// All occurrences in (after, until] and what goes with them: counted, backwards, and written down and read again.
fn check(timetable: &Timetable, after: &str, until: &str, expected: &[&str]) {
    let (after, until) = (at(after), at(until));
    let found: Vec<_> = timetable.between(after, until).map(rfc3339).collect();
    assert_eq!(found, expected, "{timetable:?}");
    assert_eq!(timetable.count_between(after, until), expected.len() as u64, "{timetable:?}");
    let mut back = Vec::new();
    let mut before = until + TimeDelta::milliseconds(1);
    while let Some(previous) = timetable.previous_before(before).filter(|previous| *previous > after) {
        back.insert(0, rfc3339(previous));
        before = previous;
    }
    assert_eq!(back, expected, "{timetable:?}, backwards");
    let again = Timetable::from_definition(&timetable.definition(true), Zone::bundled);
    assert_eq!(again.as_ref(), Ok(timetable));
}

#[test]
fn intervals() {
    let hourly = Timetable::interval(3_600, at("2026-03-08T05:30:00.750Z"), Zone::utc()).unwrap();
    check(
        &hourly,
        "2026-03-08T00:00:00Z",
        "2026-03-08T07:30:00Z",
        &["2026-03-08T05:30:00Z", "2026-03-08T06:30:00Z", "2026-03-08T07:30:00Z"],
    );
    // After is after: an occurrence is not its own next.
    check(&hourly, "2026-03-08T05:30:00Z", "2026-03-08T07:29:59Z", &["2026-03-08T06:30:00Z"]);
    // No clock change is between two of them.
    let in_new_york =
        Timetable::interval(3_600, at("2026-03-08T05:30:00Z"), Zone::bundled("America/New_York").unwrap());
    check(
        &in_new_york.unwrap(),
        "2026-03-08T06:00:00Z",
        "2026-03-08T08:00:00Z",
        &["2026-03-08T06:30:00Z", "2026-03-08T07:30:00Z"],
    );
    let longest = Timetable::interval(u64::MAX, at("2026-03-08T05:30:00Z"), Zone::utc()).unwrap();
    assert_eq!(longest.next_after(at("2026-03-08T05:30:00Z")), None);
    assert_eq!(longest.next_after(at("2026-03-08T05:29:59Z")), Some(at("2026-03-08T05:30:00Z")));
    let daily = Timetable::interval(86_400, at("2199-12-30T12:00:00Z"), Zone::utc()).unwrap();
    check(&daily, "2199-01-01T00:00:00Z", "2300-01-01T00:00:00Z", &["2199-12-30T12:00:00Z", "2199-12-31T12:00:00Z"]);
}

#[test]
fn once() {
    let once = Timetable::once(at("2026-03-08T05:30:00.999Z"), Zone::utc()).unwrap();
    check(&once, "2026-03-08T05:29:59Z", "2030-01-01T00:00:00Z", &["2026-03-08T05:30:00Z"]);
    check(&once, "2026-03-08T05:30:00Z", "2030-01-01T00:00:00Z", &[]);
    check(&once, "2020-01-01T00:00:00Z", "2026-03-08T05:29:59Z", &[]);
}

#[test]
fn refused_cadences() {
    let refused = |timetable: Result<Timetable, TimetableError>, message: &str| {
        assert_eq!(timetable.expect_err(message).to_string(), message);
    };
    let first = at("2026-03-08T05:30:00Z");
    refused(Timetable::interval(299, first, Zone::utc()), "an interval of 299 s; 300 s is the least");
    refused(Timetable::interval(0, first, Zone::utc()), "an interval of 0 s; 300 s is the least");
    assert!(Timetable::interval(300, first, Zone::utc()).is_ok());
    refused(
        Timetable::once(at("2200-01-01T00:00:00Z"), Zone::utc()),
        "2200-01-01T00:00:00Z is outside the years 1970 to 2199",
    );
    refused(
        Timetable::interval(300, at("1969-12-31T23:59:59Z"), Zone::utc()),
        "1969-12-31T23:59:59Z is outside the years 1970 to 2199",
    );
    refused(
        Timetable::cron("*/7 * * * *".parse().unwrap(), Zone::utc(), Gap::Shift, Fold::Auto),
        "due at 00:56 and again at 01:00, 4m later; 5m is the least",
    );
    let minutes = |minutes: u64| std::time::Duration::from_secs(60 * minutes);
    let interval = Timetable::interval(600, first, Zone::utc()).unwrap();
    assert!(interval.check_interval(minutes(10)).is_ok());
    assert!(interval.check_interval(minutes(11)).is_err());
    assert!(cron("*/10 * * * *", "UTC").check_interval(minutes(10)).is_ok());
    assert!(cron("*/10 * * * *", "UTC").check_interval(minutes(11)).is_err());
    assert!(Timetable::once(first, Zone::utc()).unwrap().check_interval(minutes(11)).is_ok());
}

#[test]
fn between_two_instants() {
    let (starts, ends) = (Some(at("2026-01-02T09:00:00Z")), Some(at("2026-01-04T09:00:00Z")));
    let days = ["2026-01-02T09:00:00Z", "2026-01-03T09:00:00Z", "2026-01-04T09:00:00Z"];
    let (first, last) = ("2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    let daily = cron("0 9 * * *", "UTC");
    check(&daily.clone().within(starts, ends), first, last, &days);
    check(&daily.clone().within(Some(at("2026-01-02T09:00:00.001Z")), ends), first, last, &days[1..]);
    check(&daily.clone().within(starts, Some(at("2026-01-04T08:59:59.999Z"))), first, last, &days[..2]);
    check(&daily.clone().within(ends, starts), first, last, &[]);
    let interval = Timetable::interval(86_400, at("2025-06-01T09:00:00Z"), Zone::utc()).unwrap();
    check(&interval.within(starts, ends), first, last, &days);
    let once = Timetable::once(at("2026-01-03T09:00:00Z"), Zone::utc()).unwrap();
    check(&once.clone().within(starts, ends), first, last, &days[1..2]);
    check(&once.within(None, starts), first, last, &[]);
    // The end of the calendar.
    check(
        &daily.within(Some(at("2199-12-30T10:00:00Z")), None),
        first,
        "2250-01-01T00:00:00Z",
        &["2199-12-31T09:00:00Z"],
    );
}

#[test]
fn the_calendar_has_an_end_and_a_beginning() {
    let daily = cron("0 9 * * *", "America/New_York");
    let far = chrono::DateTime::<chrono::Utc>::MAX_UTC;
    assert_eq!(daily.next_after(far), None);
    assert_eq!(daily.previous_before(far).map(rfc3339).as_deref(), Some("2199-12-31T14:00:00Z"));
    let early = chrono::DateTime::<chrono::Utc>::MIN_UTC;
    assert_eq!(daily.next_after(early).map(rfc3339).as_deref(), Some("1970-01-01T14:00:00Z"));
    assert_eq!(daily.previous_before(early), None);
    assert_eq!(daily.previous_before(at("1970-01-01T14:00:00Z")), None);
    // 230 years with 56 leap days.
    assert_eq!(daily.count_between(early, far), 230 * 365 + 56);
    // Never due: found out at once, not by walking for ever.
    let never = Timetable::cron("30 2 8-14 3 *".parse().unwrap(), Zone::utc(), Gap::Shift, Fold::Auto).unwrap();
    assert!(never.next_after(at("2026-01-01T00:00:00Z")).is_some());
}

#[test]
fn definitions_that_cannot_be_read() {
    let good = cron("0 9 * * *", "America/New_York").definition(true);
    assert_eq!(good.cron_expression.as_deref(), Some("0 9 * * *"));
    assert!(good.enabled && !cron("0 9 * * *", "UTC").definition(false).enabled);
    let refused = |definition: Definition, message: &str| {
        let read = Timetable::from_definition(&definition, Zone::bundled);
        assert_eq!(read.expect_err(message).to_string(), message);
    };
    let change = |change: fn(&mut Definition)| {
        let mut definition = good.clone();
        change(&mut definition);
        definition
    };
    refused(change(|d| d.timezone = "Mars/Base".into()), "the time zone `Mars/Base` is not known");
    refused(change(|d| d.gap = "jump".into()), "`jump` is not a value of gap");
    refused(change(|d| d.fold = String::new()), "`` is not a value of fold");
    refused(change(|d| d.starts_at = Some("soon".into())), "`soon` is not a value of starts_at");
    refused(
        change(|d| d.cron_expression = Some("0 9".into())),
        "cron_expression: 2 fields, and a cron expression has five: minute, hour, day of month, month, day of week",
    );
    let one = "exactly one of cron_expression, interval_seconds with first_fire_at, and run_at decides";
    refused(change(|d| d.cron_expression = None), one);
    refused(change(|d| d.run_at = Some("2026-01-01T00:00:00Z".into())), one);
    refused(change(|d| (d.cron_expression, d.interval_seconds) = (None, Some(300))), one);
}

#[test]
fn local_times() {
    let check = |zone: &str, local: &str, expected: LocalTime<&str>| {
        let local: NaiveDateTime = local.parse().unwrap();
        let expected = match expected {
            LocalTime::Unique(instant) => LocalTime::Unique(at(instant)),
            LocalTime::Gap { shifted } => LocalTime::Gap { shifted: at(shifted) },
            LocalTime::Fold { first, second } => LocalTime::Fold { first: at(first), second: at(second) },
        };
        assert_eq!(Zone::bundled(zone).unwrap().at_local(local), expected, "{local} in {zone}");
    };
    let new_york = "America/New_York";
    check(new_york, "2026-03-08T01:59:59", LocalTime::Unique("2026-03-08T06:59:59Z"));
    check(new_york, "2026-03-08T02:00:00", LocalTime::Gap { shifted: "2026-03-08T07:00:00Z" });
    check(new_york, "2026-03-08T02:59:59.5", LocalTime::Gap { shifted: "2026-03-08T07:59:59.500Z" });
    check(new_york, "2026-03-08T03:00:00", LocalTime::Unique("2026-03-08T07:00:00Z"));
    check(new_york, "2026-11-01T00:59:59", LocalTime::Unique("2026-11-01T04:59:59Z"));
    let fold = |first, second| LocalTime::Fold { first, second };
    check(new_york, "2026-11-01T01:00:00", fold("2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z"));
    check(new_york, "2026-11-01T01:59:59", fold("2026-11-01T05:59:59Z", "2026-11-01T06:59:59Z"));
    check(new_york, "2026-11-01T02:00:00", LocalTime::Unique("2026-11-01T07:00:00Z"));
    check("Pacific/Apia", "2011-12-30T12:00:00", LocalTime::Gap { shifted: "2011-12-30T22:00:00Z" });
    check("Australia/Lord_Howe", "2026-04-05T01:45:00", fold("2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z"));
    check("UTC", "2026-03-08T02:30:00", LocalTime::Unique("2026-03-08T02:30:00Z"));
}

/// The two readers of rules agree: slim and fat files, and what chrono-tz carries, up to where their releases part.
#[test]
fn zone_files() {
    let read = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/zoneinfo").join(name);
        Zone::from_tzif("America/New_York", &std::fs::read(path).unwrap()).unwrap()
    };
    let (slim, fat) = (read("America/New_York"), read("America/New_York-fat"));
    assert_eq!(slim, fat);
    let bundled = Zone::bundled("America/New_York").unwrap();
    assert_eq!(slim.first_difference(&bundled, at("1970-01-01T00:00:00Z"), at("2100-01-01T00:00:00Z")), None);
    assert_ne!(slim, Zone::utc());
    // chrono-tz's rules end, a file's closing rule goes on.
    assert_eq!(
        rfc3339(slim.first_difference(&bundled, at("1970-01-01T00:00:00Z"), at("2190-01-01T00:00:00Z")).unwrap()),
        "2100-03-14T07:00:00Z"
    );
    for bytes in [&b""[..], b"TZif", b"not a zone file at all", &[0xff; 4_000]] {
        assert!(matches!(Zone::from_tzif("X", bytes), Err(zone::ZoneError::NotTzif(_))));
    }
    assert!(matches!(Zone::from_tzif("X", &vec![0; 2_000_000]), Err(zone::ZoneError::TooLarge { bytes: 2_000_000 })));
}
