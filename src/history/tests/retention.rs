//! Retention: what goes, what stays, and in which portions.

use super::*;
use crate::history::{HistoryFilter, Pruned, Retention};

/// Ten occurrences, a minute apart, decided when they were due; the third is open, the last two are a stretch.
fn ten() -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for minute in 0..9 {
        let time = format!("14:0{minute}:00");
        let status = if minute == 2 { Status::Running } else { Status::Completed };
        changes.push(occurred(&key("daily", &time), status));
    }
    changes.push(missed(&key("daily", "14:09:00"), "14:10:00", 2));
    changes
}

fn left(dir: &tempfile::TempDir) -> Vec<String> {
    let filter = HistoryFilter { limit: 100, ..HistoryFilter::default() };
    let rows = reader(dir).history(&filter).unwrap();
    rows.iter().rev().map(|row| row.scheduled_for.format("%M").to_string()).collect()
}

fn check(retention: Retention, removed: u32, expected_left: &[&str], pruned_through: Option<&str>) {
    let (dir, mut store) = stored(&ten());
    let pruned = store.prune(&retention, 100).unwrap();
    assert_eq!(pruned, Pruned { occurrences: removed, more: false }, "{retention:?}");
    assert_eq!(left(&dir), expected_left, "{retention:?}");
    assert_eq!(reader(&dir).pruned_through().unwrap(), pruned_through.map(at), "{retention:?}");
}

#[test]
fn by_age_and_by_count() {
    let all = ["00", "01", "02", "03", "04", "05", "06", "07", "08", "09"];
    check(Retention::default(), 0, &all, None);
    let before = |time| Retention { before: Some(at(time)), ..Retention::default() };
    // They are decided 4 ms after they were due.
    check(before("14:00:00.004"), 0, &all, None);
    check(before("14:00:00.005"), 1, &all[1..], Some("14:00:00"));
    check(before("14:05:00"), 4, &["02", "05", "06", "07", "08", "09"], Some("14:04:00"));
    // The stretch is accounted for to its end.
    check(before("23:00:00"), 9, &["02"], Some("14:10:00"));
    let count = |kept| Retention { occurrences_max: Some(kept), ..Retention::default() };
    check(count(10), 0, &all, None);
    check(count(7), 2, &all[2..], Some("14:01:00"));
    check(count(4), 5, &["02", "06", "07", "08", "09"], Some("14:05:00"));
    check(count(0), 9, &["02"], Some("14:10:00"));
    let both = Retention { before: Some(at("14:01:00")), occurrences_max: Some(7) };
    check(both, 2, &all[2..], Some("14:01:00"));
}

#[test]
fn slice_by_slice() {
    let (dir, mut store) = stored(&ten());
    let retention = Retention { before: Some(at("14:05:00")), ..Retention::default() };
    let slices: Vec<_> = (0..3).map(|_| store.prune(&retention, 2).unwrap()).collect();
    assert_eq!(
        slices,
        [
            Pruned { occurrences: 2, more: true },
            Pruned { occurrences: 2, more: true },
            Pruned { occurrences: 0, more: false },
        ]
    );
    assert_eq!(left(&dir), ["02", "05", "06", "07", "08", "09"]);
}

#[test]
fn a_backfill_of_long_ago_is_new() {
    let Change::Occurred(mut backfill) = occurred(&key("daily", "01:00:00#backfill-1"), Status::Completed) else {
        unreachable!()
    };
    backfill.at = at("15:00:00");
    let (dir, mut store) = stored(&[ten(), vec![Change::Occurred(backfill)]].concat());
    store.prune(&Retention { before: Some(at("14:30:00")), ..Retention::default() }, 100).unwrap();
    assert_eq!(left(&dir), ["00", "02"], "due at 01:00, decided at 15:00; and the open one");
}

#[test]
fn nothing_is_left_of_what_goes() {
    let (dir, mut store) = stored(&completed(&key("daily", "14:00:00"), "wr_1"));
    store.prune(&Retention { occurrences_max: Some(0), ..Retention::default() }, 100).unwrap();
    for table in ["occurrence", "attempt", "run"] {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(store.connection().query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap(), 0, "{table}");
    }
    assert!(reader(&dir).run(&run("wr_1")).unwrap().is_none());
    // What was removed is not made up for: the schedule stays accounted for.
    assert_eq!(store.memory().unwrap().schedules.len(), 1);
}

#[test]
fn notes_go_by_age() {
    let note =
        |time| Change::Noted { at: at(time), kind: crate::engine::change::NoteKind::Started, text: time.to_owned() };
    let (dir, mut store) = stored(&[note("10:00:00"), note("11:00:00"), note("12:00:00")]);
    let retention = Retention { before: Some(at("12:00:00")), ..Retention::default() };
    assert!(store.prune(&retention, 1).unwrap().more);
    assert!(store.prune(&retention, 1).unwrap().more);
    assert!(!store.prune(&retention, 1).unwrap().more);
    assert_eq!(reader(&dir).notes(10).unwrap().iter().map(|note| note.text.as_str()).collect::<Vec<_>>(), ["12:00:00"]);
}

#[test]
fn definitions_that_decide_about_nothing_kept_go_with_the_next_change() {
    let (dir, mut store) =
        stored(&[defined("daily", "10:00:00"), defined("daily", "12:00:00"), defined("daily", "15:00:00")]);
    let times = |dir| -> Vec<_> {
        let kept = reader(dir).definitions(&id("daily")).unwrap();
        kept.iter().map(|row| row.at.format("%H").to_string()).collect()
    };
    assert_eq!(times(&dir), ["00", "10", "12", "15"], "nothing was removed: all decide about something");
    store.apply(&[occurred(&key("daily", "14:00:00"), Status::Completed)]).unwrap();
    store.prune(&Retention { occurrences_max: Some(0), ..Retention::default() }, 100).unwrap();
    store.apply(&[defined("daily", "16:00:00")]).unwrap();
    assert_eq!(times(&dir), ["12", "15", "16"], "the one that was in force at 14:00 stays, as do those after it");
}

/// A clock that was wrong for a while leaves rows from the future at the front; they do not keep everything behind them.
#[test]
fn a_row_from_the_future_blocks_nothing() {
    let Change::Occurred(mut wrong) = occurred(&key("daily", "13:00:00"), Status::Completed) else { unreachable!() };
    wrong.at = parse_rfc3339("2099-01-01T00:00:00Z").unwrap();
    let (dir, mut store) = stored(&[vec![Change::Occurred(wrong)], ten()].concat());
    store.prune(&Retention { before: Some(at("23:00:00")), ..Retention::default() }, 100).unwrap();
    assert_eq!(left(&dir), ["00", "02"], "the one from the future, and the open one");
}
