//! What the status page asks.

use super::*;
use crate::history::{Pieces, StripCell};

fn ends(schedule: &str, time: &str, end: Status) -> Change {
    occurred(&key(schedule, time), end)
}

#[test]
fn a_failure_counts_until_a_later_success() {
    let check = |changes: &[Change], expected: &[&str]| {
        let (dir, _store) = stored(changes);
        let rows = reader(&dir).unrecovered(10).unwrap();
        let keys: Vec<String> = rows.iter().map(|row| row.occurrence.to_string()).collect();
        assert_eq!(keys, expected);
    };
    let failed = || ends("daily", "14:00:00", Status::Failed);
    let told = ["main/daily@2026-11-02T14:00:00Z"];
    check(&[], &[]);
    check(&[failed()], &told);
    check(&[failed(), ends("daily", "15:00:00", Status::Skipped)], &told);
    check(&[failed(), ends("daily", "15:00:00", Status::Running)], &told);
    check(&[failed(), ends("daily", "15:00:00", Status::Completed)], &[]);
    check(&[ends("daily", "13:00:00", Status::Completed), failed()], &told);
    check(&[failed(), Change::Defined { schedule: id("daily"), at: at("15:00:00"), definition: None }], &[]);
    for bad in [Status::Missed, Status::Unknown, Status::Refused, Status::TimedOut, Status::Terminated] {
        check(&[ends("daily", "14:00:00", bad)], &told);
    }
    let other = [defined("hourly", "00:00:00"), failed(), ends("hourly", "14:30:00", Status::Failed)];
    check(&other, &["main/hourly@2026-11-02T14:30:00Z", told[0]]);
}

#[test]
fn strips_count_by_piece_and_follow_stretches() {
    let changes = [
        ends("daily", "10:00:00", Status::Completed),
        ends("daily", "10:30:00", Status::Completed),
        ends("daily", "10:40:00", Status::Failed),
        missed(&key("daily", "11:30:00"), "13:10:00", 21),
        missed(&key("daily", "06:00:00"), "08:59:00", 9),
        ends("daily", "15:59:59", Status::Skipped),
        ends("daily", "16:00:00", Status::Completed),
    ];
    let (dir, _store) = stored(&changes);
    let pieces = Pieces { since: at("08:00:00"), seconds: 3600, count: 8 };
    assert_eq!(pieces.until(), at("16:00:00"));
    let mut cells = reader(&dir).strips(&[id("daily"), id("nobody")], &pieces).unwrap();
    cells.sort_by_key(|cell| (cell.piece, cell.status));
    let cell = |piece, status, count| StripCell { schedule: id("daily"), piece, status, count };
    let expected = [
        cell(0, Status::Missed, 9),
        cell(2, Status::Completed, 2),
        cell(2, Status::Failed, 1),
        cell(3, Status::Missed, 21),
        cell(4, Status::Missed, 0),
        cell(5, Status::Missed, 0),
        cell(7, Status::Skipped, 1),
    ];
    assert_eq!(cells, expected);
}

#[test]
fn the_last_success_of_each() {
    let mut changes = completed(&key("daily", "14:00:00"), "wr_1");
    changes.push(ends("daily", "15:00:00", Status::Failed));
    changes.push(defined("never", "00:00:00"));
    changes.push(ends("never", "15:00:00", Status::Unknown));
    changes.push(defined("gone", "00:00:00"));
    changes.push(Change::Defined { schedule: id("gone"), at: at("15:00:00"), definition: None });
    let (dir, _store) = stored(&changes);
    let reader = reader(&dir);
    let expected = [(id("daily"), Some(at("14:01:00"))), (id("never"), None)];
    assert_eq!(reader.last_successes(10).unwrap(), expected);
    assert_eq!(reader.last_successes(1).unwrap(), expected[..1]);
    assert_eq!(reader.count_of(Status::Unknown).unwrap(), 1);
    assert_eq!(reader.count_of(Status::Terminated).unwrap(), 0);
}

#[test]
fn a_stretch_covers_what_is_in_it() {
    let changes = [missed(&key("daily", "11:30:00"), "13:10:00", 21), ends("daily", "15:00:00", Status::Completed)];
    let (dir, _store) = stored(&changes);
    let reader = reader(&dir);
    let check = |time: &str, expected: Option<&str>| {
        assert_eq!(reader.covered_through(&id("daily"), at(time)).unwrap(), expected.map(at), "{time}");
    };
    check("11:00:00", None);
    check("11:30:00", Some("13:10:00"));
    check("13:09:59", Some("13:10:00"));
    check("13:10:00", None);
    check("15:00:00", None);
}
