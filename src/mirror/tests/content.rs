//! What differs, and what only looks different.

use serde_json::json;

use super::*;
use crate::skyvern::ScheduleDraft;

fn content(text: &str) -> Content {
    Content::of_server(&at_server(text))
}

fn with(parameters: serde_json::Value) -> Content {
    let mut content = content("wfs_1 1 0 9 * * *");
    content.parameters = parameters.as_object().cloned().unwrap();
    content
}

#[test]
fn parameters_are_compared_by_value() {
    let same = |one: serde_json::Value, other: serde_json::Value| with(one).differences(&with(other), now()).is_empty();
    assert!(same(json!({}), json!({ "a": null })));
    assert!(same(json!({ "a": 1.0, "b": [2] }), json!({ "b": [2.0], "a": 1 })));
    assert!(!same(json!({ "a": 1 }), json!({ "a": "1" })));
    assert!(!same(json!({ "a": 9_007_199_254_740_993_u64 }), json!({ "a": 9_007_199_254_740_992_u64 })));
    assert!(!same(json!({ "a": { "b": 1 } }), json!({ "a": { "b": 2 } })));
}

/// (the file's interval and first instant, the server's) at noon: whether they are the same.
#[track_caller]
fn check_interval(seconds: u64, file: &str, server: &str, same: bool) {
    let at = |text: &str| parse_rfc3339(&format!("2026-11-{text}Z")).unwrap();
    let of = |first: &str| Content {
        cadence: Some(ServerCadence::Interval { interval_seconds: seconds, first_fire_at: Some(at(first)) }),
        ..content("wfs_1 1 -")
    };
    assert_eq!(of(server).differences(&of(file), now()).is_empty(), same, "{seconds} {file} {server}");
}

#[test]
fn intervals_are_the_same_where_their_instants_are() {
    check_interval(3600, "01T00:30:00", "01T00:30:00", true);
    check_interval(3600, "01T00:30:00", "22T11:30:00", true);
    check_interval(3600, "01T00:30:00", "22T12:30:00", true);
    check_interval(3600, "01T00:30:00", "22T13:30:00", false);
    check_interval(3600, "01T00:30:00", "22T11:31:00", false);
    check_interval(3600, "25T00:30:00", "25T00:30:00", true);
    check_interval(3600, "25T00:30:00", "22T11:30:00", false);
    check_interval(3600, "25T00:30:00", "25T01:30:00", false);
}

#[test]
fn an_interval_begins_at_the_first_instant_that_the_server_takes() {
    let marker = Marker { instance: instance(), schedule: ScheduleId::new("often").unwrap() };
    let first = |text: &str| {
        let wanted = file(&[&format!("often 1 interval_seconds = 3600; first_fire_at = {text}")]);
        let draft = Content::of_file(&wanted[0], false).draft(&marker, false, now()).unwrap();
        let ScheduleDraft { cadence: ServerCadence::Interval { first_fire_at: Some(first), .. }, .. } = draft else {
            panic!("{draft:?}")
        };
        crate::clock::rfc3339(first)
    };
    assert_eq!(first("2026-11-01T00:30:00Z"), "2026-11-22T12:30:00Z");
    assert_eq!(first("2026-11-01T00:01:00Z"), "2026-11-22T13:01:00Z", "a minute ahead is too near");
    assert_eq!(first("2026-11-25T00:30:00Z"), "2026-11-25T00:30:00Z");
}

#[test]
fn what_is_stored_comes_back() {
    let interval = Content {
        cadence: Some(ServerCadence::Interval { interval_seconds: 300, first_fire_at: Some(now()) }),
        ..with(json!({ "a": [1, { "b": null }] }))
    };
    let once =
        Content { cadence: Some(ServerCadence::Once { run_at: now() }), ..content("wfs_1 1 -; name=x; text=y; on") };
    for content in [interval, once, content("wfs_1 1 0 9 * * *; zone=Europe/Berlin"), Content::default()] {
        assert_eq!(Content::from_json(&content.to_json()), Some(content));
    }
    assert_eq!(Content::from_json("[]"), None);
}
