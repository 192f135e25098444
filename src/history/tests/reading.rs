//! The questions of readers: filters, limits, order, and everything about one occurrence.

use super::*;
use crate::history::HistoryFilter;

/// Four schedules' day, and the filters' answers as `schedule@time`.
fn day() -> tempfile::TempDir {
    let mut changes = vec![defined("hourly", "00:00:00"), defined("weekly", "00:00:00"), defined("never", "00:00:00")];
    for (schedule, time, status) in [
        // Not in the order of time: catching up comes late.
        ("daily", "14:00:00", Status::Completed),
        ("hourly", "15:00:00", Status::Failed),
        ("hourly", "14:00:00", Status::Completed),
        ("hourly", "14:00:00#retry-2", Status::Running),
        ("daily", "14:00:00.500#manual-1", Status::Failed),
        ("weekly", "13:00:00", Status::Skipped),
        ("daily", "16:00:00", Status::Pending),
    ] {
        changes.push(occurred(&key(schedule, time), status));
    }
    changes.push(missed(&key("weekly", "09:00:00"), "12:00:00", 4));
    let (dir, _store) = stored(&changes);
    dir
}

fn check(dir: &tempfile::TempDir, filter: &HistoryFilter, expected: &[&str]) {
    let rows = reader(dir).history(filter).unwrap();
    let names: Vec<_> =
        rows.iter().map(|row| row.occurrence.to_string().replace("main/", "").replace("2026-11-02T", "")).collect();
    assert_eq!(names, expected, "{filter:?}");
}

#[test]
fn filters_and_their_order() {
    let dir = day();
    let all = HistoryFilter { limit: 100, ..HistoryFilter::default() };
    let everything = [
        "daily@16:00:00Z",
        "hourly@15:00:00Z",
        "hourly@14:00:00Z#retry-2",
        "hourly@14:00:00Z",
        "daily@14:00:00Z",
        // Within one second, texts sort those with milliseconds first.
        "daily@14:00:00.500Z#manual-1",
        "weekly@13:00:00Z",
        "weekly@09:00:00Z",
    ];
    check(&dir, &all, &everything);
    for limit in 0..8 {
        let limited = HistoryFilter { limit: u32::try_from(limit).unwrap(), ..all.clone() };
        check(&dir, &limited, &everything[..limit]);
    }
    let of = |names: &[&str]| names.iter().map(|name| id(name)).collect::<Vec<_>>();
    let two = HistoryFilter { schedules: of(&["weekly", "daily", "weekly"]), ..all.clone() };
    check(
        &dir,
        &two,
        &["daily@16:00:00Z", "daily@14:00:00Z", "daily@14:00:00.500Z#manual-1", "weekly@13:00:00Z", "weekly@09:00:00Z"],
    );
    check(&dir, &HistoryFilter { limit: 2, ..two.clone() }, &["daily@16:00:00Z", "daily@14:00:00Z"]);
    check(&dir, &HistoryFilter { schedules: of(&["never", "nobody"]), ..all.clone() }, &[]);
    let failed = HistoryFilter { statuses: vec![Status::Failed], ..all.clone() };
    check(&dir, &failed, &["hourly@15:00:00Z", "daily@14:00:00.500Z#manual-1"]);
    let two_statuses =
        HistoryFilter { statuses: vec![Status::Missed, Status::Failed, Status::Failed], limit: 2, ..all.clone() };
    check(&dir, &two_statuses, &["hourly@15:00:00Z", "daily@14:00:00.500Z#manual-1"]);
    check(&dir, &HistoryFilter { schedules: of(&["hourly", "weekly"]), ..failed.clone() }, &["hourly@15:00:00Z"]);
}

#[test]
fn since_and_until_are_meant_to_the_second() {
    let dir = day();
    let check = |since: Option<&str>, until: Option<&str>, expected: &[&str]| {
        let filter =
            HistoryFilter { since: since.map(at), until: until.map(at), limit: 100, ..HistoryFilter::default() };
        check(&dir, &filter, expected);
    };
    check(Some("15:00:00"), None, &["daily@16:00:00Z", "hourly@15:00:00Z"]);
    check(Some("15:00:00.900"), None, &["daily@16:00:00Z", "hourly@15:00:00Z"]);
    check(Some("15:00:01"), None, &["daily@16:00:00Z"]);
    check(None, Some("13:00:00"), &["weekly@13:00:00Z", "weekly@09:00:00Z"]);
    check(None, Some("12:59:59"), &["weekly@09:00:00Z"]);
    let fourteen = ["hourly@14:00:00Z#retry-2", "hourly@14:00:00Z", "daily@14:00:00Z", "daily@14:00:00.500Z#manual-1"];
    check(Some("14:00:00"), Some("14:00:00"), &fourteen);
    // The stretch from 09:00 to 12:00 is not over at 11:00, and is at 12:00:01.
    check(Some("11:00:00"), Some("11:30:00"), &["weekly@09:00:00Z"]);
    check(Some("12:00:00"), Some("12:30:00"), &["weekly@09:00:00Z"]);
    check(Some("12:00:01"), Some("12:30:00"), &[]);
}

#[test]
fn a_stretch_obeys_the_other_filters() {
    let dir = day();
    let filter = HistoryFilter {
        since: Some(at("11:00:00")),
        until: Some(at("12:00:00")),
        limit: 100,
        ..HistoryFilter::default()
    };
    let of = |schedule, status: Status| HistoryFilter {
        schedules: vec![id(schedule)],
        statuses: vec![status],
        ..filter.clone()
    };
    check(&dir, &of("weekly", Status::Missed), &["weekly@09:00:00Z"]);
    check(&dir, &of("weekly", Status::Completed), &[]);
    check(&dir, &of("daily", Status::Missed), &[]);
}

#[test]
fn the_ends_of_time() {
    let dir = day();
    let filter =
        |since, until| HistoryFilter { since: Some(since), until: Some(until), limit: 100, ..HistoryFilter::default() };
    let (first, last) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    assert_eq!(reader(&dir).history(&filter(first, last)).unwrap().len(), 8);
    assert_eq!(reader(&dir).history(&filter(last, last)).unwrap().len(), 0);
    assert_eq!(reader(&dir).history(&filter(first, first)).unwrap().len(), 0);
}

#[test]
fn one_line_of_json_has_the_fields_of_the_contract() {
    let daily = key("daily", "14:00:00");
    let (dir, _store) = stored(&completed(&daily, "wr_1"));
    let rows = reader(&dir).history(&HistoryFilter { limit: 1, ..HistoryFilter::default() }).unwrap();
    assert_eq!(
        serde_json::to_string(&rows[0]).unwrap(),
        concat!(
            r#"{"occurrence":"main/daily@2026-11-02T14:00:00Z","schedule":"daily","#,
            r#""scheduled_for":"2026-11-02T14:00:00Z","trigger":"schedule","status":"completed","reason":null,"#,
            r#""attempts":1,"run_id":"wr_1","launched_at":"2026-11-02T14:00:00.010Z","#,
            r#""finished_at":"2026-11-02T14:01:00.000Z","failure_reason":null}"#
        )
    );
}

#[test]
fn one_occurrence_by_its_run() {
    let (dir, mut store) = stored(&completed(&key("daily", "14:00:00"), "wr_1"));
    let found = |run_id| reader(&dir).run(&run(run_id)).unwrap().map(|detail| detail.row.occurrence);
    assert_eq!(found("wr_1"), Some(key("daily", "14:00:00")));
    assert_eq!(found("wr_2"), None);
    // A server that hands out an id twice does not stop the bookkeeping.
    store.apply(&completed(&key("daily", "15:00:00"), "wr_1")).unwrap();
    assert_eq!(found("wr_1"), Some(key("daily", "15:00:00")));
    assert!(reader(&dir).occurrence(&key("daily", "16:00:00")).unwrap().is_none());
}

#[test]
fn notes_while_it_was_going_on() {
    let note = |time: &str| Change::Noted {
        at: at(time),
        kind: crate::engine::change::NoteKind::Started,
        text: time.to_owned(),
    };
    let notes = |changes: Vec<Change>, wanted: &OccurrenceKey| -> Vec<String> {
        let times = ["13:59:59", "14:00:00", "14:00:30", "14:01:00", "14:01:01", "16:00:00"];
        let (dir, _store) = stored(&[changes, times.iter().map(|time| note(time)).collect()].concat());
        let detail = reader(&dir).occurrence(wanted).unwrap().unwrap();
        detail.notes.into_iter().map(|note| note.text).collect()
    };
    let daily = key("daily", "14:00:00");
    assert_eq!(notes(completed(&daily, "wr_1"), &daily), ["14:00:00", "14:00:30", "14:01:00"]);
    assert_eq!(notes(vec![missed(&daily, "14:00:40", 2)], &daily), ["14:00:00", "14:00:30"], "until it was decided");
    let open = ["14:00:00", "14:00:30", "14:01:00", "14:01:01", "16:00:00"];
    assert_eq!(notes(vec![occurred(&daily, Status::Running)], &daily), open, "to the present");
}

#[test]
fn the_last_run_of_each_schedule() {
    let rows = reader(&day()).last_runs().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row.occurrence.to_string().replace("main/", "")).collect();
    assert_eq!(
        names,
        ["daily@2026-11-02T14:00:00Z", "hourly@2026-11-02T15:00:00Z", "weekly@2026-11-02T09:00:00Z"],
        "not what is pending or was skipped"
    );
}

#[test]
fn what_is_open_and_how_many_there_are() {
    let dir = day();
    let open = reader(&dir).open_occurrences(10).unwrap();
    assert_eq!(open.iter().map(|row| row.status).collect::<Vec<_>>(), [Status::Pending, Status::Running]);
    let counts: Vec<_> =
        reader(&dir).counts().unwrap().into_iter().map(|(status, n)| format!("{status} {n}")).collect();
    assert_eq!(counts, ["completed 2", "failed 2", "missed 4", "pending 1", "running 1", "skipped 1"]);
}

/// A reader sees one moment, whatever is written meanwhile, and keeps nobody from writing.
#[test]
fn readers_and_the_writer_do_not_wait_for_each_other() {
    let (dir, mut store) = stored(&[]);
    let early = reader(&dir);
    early.connection().execute_batch("BEGIN; SELECT count(*) FROM occurrence").unwrap();
    store.apply(&[occurred(&key("daily", "14:00:00"), Status::Pending)]).unwrap();
    store.checkpoint().unwrap();
    assert_eq!(reader(&dir).open_occurrences(10).unwrap().len(), 1, "a new reader sees it");
    let still: i64 = early.connection().query_row("SELECT count(*) FROM occurrence", [], |row| row.get(0)).unwrap();
    assert_eq!(still, 0, "the early one does not");
    early.connection().execute_batch("DELETE FROM occurrence").expect_err("a reader changes nothing");
}
