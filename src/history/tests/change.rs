//! Every kind of change, stored and read back; and the changes that contradict the history.

use serde_json::{Map, Value, json};

use super::*;
use crate::engine::change::{Memory, NoteKind, Pause};

/// Applies the changes after `daily` was defined; the JSON of `show` for `key` must have all of `expected`.
fn check(name: &str, changes: &[Change], shown: &OccurrenceKey, expected: &Value) {
    let (dir, store) = stored(changes);
    drop(store);
    let detail = reader(&dir).occurrence(shown).unwrap().unwrap_or_else(|| panic!("{name}: not there"));
    contains(name, &serde_json::to_value(&detail).unwrap(), expected);
}

fn contains(name: &str, found: &Value, expected: &Value) {
    match (found, expected) {
        (Value::Object(found_map), Value::Object(expected_map)) => {
            for (field, value) in expected_map {
                let inner = found_map.get(field).unwrap_or_else(|| panic!("{name}: no {field} in {found}"));
                contains(&format!("{name}.{field}"), inner, value);
            }
        }
        (Value::Array(found_list), Value::Array(expected_list)) => {
            assert_eq!(found_list.len(), expected_list.len(), "{name}: {found}");
            for (inner, value) in found_list.iter().zip(expected_list) {
                contains(name, inner, value);
            }
        }
        _ => assert_eq!(found, expected, "{name}"),
    }
}

#[test]
fn occurrences_and_what_becomes_of_them() {
    let daily = key("daily", "14:00:00");
    check(
        "a new one",
        &[occurred(&daily, Status::Pending)],
        &daily,
        &json!({
            "occurrence": "main/daily@2026-11-02T14:00:00Z", "schedule": "daily",
            "scheduled_for": "2026-11-02T14:00:00Z", "trigger": "schedule", "status": "pending", "reason": null,
            "attempts": 0, "run_id": null, "launched_at": null, "finished_at": null, "failure_reason": null,
            "decided_at": "2026-11-02T14:00:00.004Z", "count": 1, "through": null, "workflow_id": "wpid_1",
            "attempt_list": [], "run": null, "related": [], "parameters": null,
        }),
    );
    check(
        "a stretch",
        &[missed(&daily, "15:30:00", 7)],
        &daily,
        &json!({
            "status": "missed", "reason": "late: nothing could fire", "count": 7, "through": "2026-11-02T15:30:00Z",
        }),
    );
    check(
        "a reason comes",
        &[
            occurred(&daily, Status::Pending),
            Change::StatusChanged {
                key: daily.clone(),
                status: Status::Skipped,
                reason: Some(Reason::new(ReasonCode::Overlap, "wr_1 was going")),
                at: at("14:00:01"),
            },
        ],
        &daily,
        &json!({ "status": "skipped", "reason": "overlap: wr_1 was going", "finished_at": null }),
    );
    check(
        "a reason goes",
        &[missed(&daily, "15:30:00", 1), status(&daily, Status::Pending, "15:30:01")],
        &daily,
        &json!({ "status": "pending", "reason": null }),
    );
    check(
        "an attempt that is under way",
        &[occurred(&daily, Status::Pending), begun(&daily, 1, "14:00:00.010")],
        &daily,
        &json!({
            "status": "launching", "attempts": 1, "launched_at": "2026-11-02T14:00:00.010Z",
            "attempt_list": [{
                "number": 1, "begun_at": "2026-11-02T14:00:00.010Z", "ended_at": null, "outcome": null,
                "http_status": null, "message": null, "run_id": null,
            }],
        }),
    );
    check(
        "an attempt that failed, and one that is settled later",
        &[
            occurred(&daily, Status::Pending),
            begun(&daily, 1, "14:00:00.010"),
            Change::AttemptEnded {
                key: daily.clone(),
                number: 1,
                at: at("14:00:00.500"),
                outcome: AttemptOutcome::NotStarted,
                message: Some("503: busy".to_owned()),
                http_status: Some(503),
                run_id: None,
            },
            begun(&daily, 2, "14:00:05"),
            ended(&daily, 2, "14:00:35", AttemptOutcome::Unknown, None),
            ended(&daily, 2, "14:00:40", AttemptOutcome::Started, Some("wr_2")),
        ],
        &daily,
        &json!({
            "attempts": 2, "launched_at": "2026-11-02T14:00:05.000Z", "run_id": "wr_2",
            "attempt_list": [
                { "number": 1, "outcome": "not_started", "http_status": 503, "message": "503: busy", "run_id": null },
                { "number": 2, "outcome": "started", "ended_at": "2026-11-02T14:00:40.000Z", "run_id": "wr_2" },
            ],
        }),
    );
    check(
        "a whole life",
        &completed(&daily, "wr_1"),
        &daily,
        &json!({
            "status": "completed", "run_id": "wr_1", "finished_at": "2026-11-02T14:01:00.000Z",
            "run": { "status": "completed", "reported_at": "2026-11-02T14:01:00.000Z", "truncated": false },
        }),
    );
    check(
        "an end that was none",
        &[completed(&daily, "wr_1"), vec![status(&daily, Status::Running, "14:02:00")]].concat(),
        &daily,
        &json!({ "status": "running", "finished_at": null }),
    );
}

#[test]
fn every_field_of_a_report() {
    let daily = key("daily", "14:00:00");
    let report = RunReport {
        run_id: run("wr_1"),
        run_type: Some("workflow_run".to_owned()),
        status: RunStatus::Other("hibernating".to_owned()),
        retry_pending: true,
        attempt: Some(2),
        next_attempt_at: Some(at("14:10:00")),
        output: Some(r#"{"b":1,"a":[1.0,2e3],"text":"naïve"}"#.to_owned()),
        screenshot_urls: vec!["https://s/1".to_owned(), "https://s/2".to_owned()],
        recording_url: Some("https://r".to_owned()),
        failure_reason: Some("no button".to_owned()),
        errors: Some(r#"[{"code":1}]"#.to_owned()),
        downloaded_files: Some("[]".to_owned()),
        app_url: Some("https://app/wr_1".to_owned()),
        created_at: Some(at("14:00:00.100")),
        modified_at: Some(at("14:05:00.200")),
        queued_at: Some(at("14:00:00.300")),
        started_at: Some(at("14:00:00.400")),
        finished_at: Some(at("14:05:00.500")),
        browser_session_id: Some("pbs_1".to_owned()),
        truncated: false,
    };
    let changes = [
        occurred(&daily, Status::Running),
        Change::RunReported { key: daily.clone(), report: Box::new(report), at: at("14:05:01") },
    ];
    check(
        "a report",
        &changes,
        &daily,
        &json!({
            "run_id": "wr_1", "failure_reason": "no button",
            // Nobody started it by an attempt: it began when the server made it. It is not over.
            "launched_at": "2026-11-02T14:00:00.100Z", "finished_at": null,
            "run": {
                "status": "hibernating", "run_type": "workflow_run", "retry_pending": true, "attempt": 2,
                "next_attempt_at": "2026-11-02T14:10:00.000Z", "created_at": "2026-11-02T14:00:00.100Z",
                "modified_at": "2026-11-02T14:05:00.200Z", "queued_at": "2026-11-02T14:00:00.300Z",
                "started_at": "2026-11-02T14:00:00.400Z", "finished_at": "2026-11-02T14:05:00.500Z",
                "browser_session_id": "pbs_1", "reported_at": "2026-11-02T14:05:01.000Z", "truncated": false,
                "app_url": "https://app/wr_1", "recording_url": "https://r", "failure_reason": "no button",
                "screenshot_urls": ["https://s/1", "https://s/2"], "errors": [{"code": 1}], "downloaded_files": [],
                "output": {"b": 1, "a": [1.0, 2e3], "text": "naïve"},
            },
        }),
    );
    // Byte for byte, not only the same value.
    let (dir, _store) = stored(&changes);
    let detail = reader(&dir).occurrence(&daily).unwrap().unwrap();
    assert_eq!(detail.run.unwrap().output.unwrap().get(), r#"{"b":1,"a":[1.0,2e3],"text":"naïve"}"#);
}

#[test]
fn a_report_replaces_the_one_before() {
    let daily = key("daily", "14:00:00");
    let mut first = RunReport::bare(run("wr_1"), RunStatus::Failed);
    first.failure_reason = Some("no button".to_owned());
    first.finished_at = Some(at("14:03:00"));
    let changes = [
        occurred(&daily, Status::Running),
        Change::RunReported { key: daily.clone(), report: Box::new(first), at: at("14:03:01") },
        reported(&daily, "wr_1", "running", "14:04:00"),
    ];
    check(
        "the later one",
        &changes,
        &daily,
        &json!({ "finished_at": null, "failure_reason": null, "run": { "status": "running", "finished_at": null } }),
    );
}

#[test]
fn bodies_are_cut_to_their_limit() {
    let options = HistoryOptions { body_bytes_max: 10, ..HistoryOptions::default() };
    let cases: [(&str, Value, bool); 4] = [
        (r#"{"a":"bc"}"#, json!({"a": "bc"}), false),
        (r#"{"a":"bcd"}"#, json!(r#"{"a":"bcd""#), true),
        // A character of two bytes that would be cut in two goes as a whole.
        (r#"{"a":"bcdé"}"#, json!(r#"{"a":"bcd"#), true),
        ("", json!(""), false),
    ];
    for (output, expected, truncated) in cases {
        let daily = key("daily", "14:00:00");
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path(), &options).unwrap();
        let mut report = RunReport::bare(run("wr_1"), RunStatus::Completed);
        report.output = Some(output.to_owned());
        store
            .apply(&[
                defined("daily", "00:00:00"),
                occurred(&daily, Status::Running),
                Change::RunReported { key: daily.clone(), report: Box::new(report.clone()), at: at("14:05:00") },
            ])
            .unwrap();
        let shown = || {
            let detail = serde_json::to_value(reader(&dir).occurrence(&daily).unwrap().unwrap()).unwrap();
            (detail["run"]["output"].clone(), detail["run"]["truncated"].clone())
        };
        assert_eq!(shown(), (expected, json!(truncated)), "{output}");

        // A list is kept whole or not at all.
        report.output = None;
        report.screenshot_urls = vec!["https://s/1".to_owned()];
        store
            .apply(&[Change::RunReported { key: daily.clone(), report: Box::new(report), at: at("14:06:00") }])
            .unwrap();
        assert_eq!(shown(), (json!(null), json!(true)));
    }
}

#[test]
fn schedules_pauses_and_notes() {
    let (dir, mut store) = stored(&[
        defined("weekly", "01:00:00.123"),
        Change::AccountedThrough { schedule: id("weekly"), through: at("13:00:00") },
        Change::Paused {
            schedule: id("weekly"),
            at: at("13:00:01"),
            pause: Some(Pause { since: at("13:00:01.500"), until: Some(at("20:00:00")), note: Some("why".to_owned()) }),
        },
        Change::Noted { at: at("13:00:02"), kind: NoteKind::ClockStepped, text: "forward by 2 s".to_owned() },
    ]);
    let Memory { schedules, open, latest_instant, .. } = store.memory().unwrap();
    assert!(open.is_empty());
    assert_eq!(latest_instant, Some(at("13:00:02")));
    assert_eq!(schedules.len(), 2);
    assert_eq!((schedules[0].id.as_str(), schedules[0].accounted_through), ("daily", at("00:00:00")));
    assert_eq!(schedules[0].definition, definition("0 9 * * *"));
    assert_eq!(schedules[0].workflow_id, workflow());
    assert_eq!(schedules[0].pause, None);
    let pause = Pause { since: at("13:00:01.500"), until: Some(at("20:00:00")), note: Some("why".to_owned()) };
    assert_eq!(schedules[1].pause, Some(pause));
    assert_eq!(schedules[1].accounted_through, at("13:00:00"));

    let changed = Some(Box::new((definition("0 10 * * *"), workflow())));
    store
        .apply(&[
            Change::Paused { schedule: id("weekly"), at: at("14:00:00"), pause: None },
            Change::Defined { schedule: id("weekly"), at: at("14:00:00"), definition: changed },
            Change::Defined { schedule: id("daily"), at: at("14:00:00"), definition: None },
        ])
        .unwrap();
    let schedules = store.memory().unwrap().schedules;
    assert_eq!(schedules.len(), 1, "a schedule that is gone is not remembered");
    assert_eq!(schedules[0].definition, definition("0 10 * * *"));
    assert_eq!(schedules[0].pause, None);
    // A change of the definition says nothing about how far it is accounted for.
    assert_eq!(schedules[0].accounted_through, at("13:00:00"));

    let reader = reader(&dir);
    let kept = reader.definitions(&id("weekly")).unwrap();
    assert_eq!(
        kept.iter().map(|row| (row.at, row.definition.clone())).collect::<Vec<_>>(),
        [(at("01:00:00.123"), Some(definition("0 9 * * *"))), (at("14:00:00"), Some(definition("0 10 * * *"))),]
    );
    assert_eq!(reader.definitions(&id("daily")).unwrap()[1].definition, None);
    let gone: Vec<_> = reader.schedules().unwrap().iter().map(|row| (row.id.to_string(), row.gone)).collect();
    assert_eq!(gone, [("daily".to_owned(), true), ("weekly".to_owned(), false)]);
    let note = &reader.notes(10).unwrap()[0];
    assert_eq!((note.at, note.kind, note.text.as_str()), (at("13:00:02"), NoteKind::ClockStepped, "forward by 2 s"));
}

#[test]
fn what_is_open_is_remembered() {
    let (early, late) = (key("daily", "14:00:00"), key("daily", "15:00:00#manual-1"));
    let mut parameters = Map::new();
    parameters.insert("url".to_owned(), json!("https://example.com"));
    let Change::Occurred(mut manual) = occurred(&late, Status::Pending) else { unreachable!() };
    manual.trigger = Trigger::Manual;
    manual.parameters = Some(parameters.clone());
    let (_dir, store) = stored(
        &[
            vec![
                Change::Occurred(manual),
                occurred(&early, Status::Pending),
                begun(&early, 1, "14:00:00.010"),
                ended(&early, 1, "14:00:01", AttemptOutcome::NotStarted, None),
                begun(&early, 2, "14:00:02"),
            ],
            completed(&key("daily", "13:00:00"), "wr_1"),
        ]
        .concat(),
    );
    let open = store.memory().unwrap().open;
    assert_eq!(
        open.iter().map(|open| &open.key).collect::<Vec<_>>(),
        [&early, &late],
        "oldest first, and no ended one"
    );
    assert_eq!((open[0].status, open[0].trigger), (Status::Launching, Trigger::Schedule));
    assert_eq!(open[0].attempt_number, 2);
    assert_eq!(open[0].first_attempt_at, Some(at("14:00:00.010")));
    assert_eq!(open[0].attempt_begun_at, Some(at("14:00:02")));
    assert_eq!(open[0].attempt_outcome, None);
    assert_eq!(open[0].at, at("14:00:00.004"));
    assert_eq!(open[0].workflow_id, workflow());
    assert_eq!((open[1].status, open[1].trigger), (Status::Pending, Trigger::Manual));
    assert_eq!(open[1].parameters.as_ref(), Some(&parameters));
    assert_eq!((open[1].attempt_number, open[1].first_attempt_at), (0, None));
}

#[test]
fn every_word_can_be_stored() {
    let (dir, mut store) = stored(&[]);
    for (n, word) in Status::ALL.iter().enumerate() {
        store.apply(&[occurred(&key("daily", &format!("14:00:00#s-{n}")), *word)]).unwrap();
    }
    for (n, word) in Trigger::ALL.iter().enumerate() {
        let Change::Occurred(mut new) = occurred(&key("daily", &format!("15:00:00#t-{n}")), Status::Pending) else {
            unreachable!()
        };
        new.trigger = *word;
        store.apply(&[Change::Occurred(new)]).unwrap();
    }
    let daily = key("daily", "16:00:00");
    store.apply(&[occurred(&daily, Status::Pending), begun(&daily, 1, "16:00:00")]).unwrap();
    for word in AttemptOutcome::ALL {
        store.apply(&[ended(&daily, 1, "16:00:00", *word, None)]).unwrap();
    }
    for word in NoteKind::ALL {
        store.apply(&[Change::Noted { at: at("16:00:00"), kind: *word, text: String::new() }]).unwrap();
    }
    let rows = Status::ALL.len() + Trigger::ALL.len() + 1;
    let filter = crate::history::HistoryFilter { limit: 1000, ..Default::default() };
    assert_eq!(reader(&dir).history(&filter).unwrap().len(), rows);
}

/// Applies a list whose last change cannot be; nothing of it may be there afterwards.
fn check_refused(name: &str, changes: &[Change], expected: &str) {
    let daily = key("daily", "14:00:00");
    let (_dir, mut store) = stored(&[occurred(&daily, Status::Pending)]);
    let first = key("daily", "13:00:00");
    let list = [&[occurred(&first, Status::Pending)], changes].concat();
    let error = store.apply(&list).expect_err(name);
    assert_eq!(error.to_string(), expected, "{name}");
    assert!(!error.can_pass(), "{name}: waiting does not help");
    let open: Vec<_> = store.memory().unwrap().open.into_iter().map(|open| open.key).collect();
    assert_eq!(open, [daily], "{name}: all or nothing");
    store.apply(&[occurred(&first, Status::Pending)]).expect("the store goes on");
}

#[test]
fn contradictions_are_refused() {
    let (daily, other) = (key("daily", "14:00:00"), key("daily", "15:00:00"));
    let there = "main/daily@2026-11-02T14:00:00Z is in the history already";
    let missing = "the history has no row of main/daily@2026-11-02T15:00:00Z";
    check_refused("twice", &[occurred(&daily, Status::Skipped)], there);
    check_refused("a status", &[status(&other, Status::Running, "15:00:00")], missing);
    check_refused("an attempt", &[begun(&other, 1, "15:00:00")], missing);
    check_refused("an outcome", &[ended(&other, 1, "15:00:00", AttemptOutcome::Unknown, None)], missing);
    check_refused("a run", &[ended(&other, 1, "15:00:00", AttemptOutcome::Started, Some("wr_1"))], missing);
    check_refused("a report", &[reported(&other, "wr_1", "running", "15:00:00")], missing);
    check_refused(
        "an outcome without an attempt",
        &[ended(&daily, 1, "15:00:00", AttemptOutcome::Unknown, None)],
        "the history has no such attempt of main/daily@2026-11-02T14:00:00Z",
    );
    check_refused(
        "an attempt twice",
        &[begun(&daily, 1, "15:00:00"), begun(&daily, 1, "15:00:00")],
        "cannot write the history: UNIQUE constraint failed: attempt.occurrence, attempt.number",
    );
    check_refused(
        "a schedule that was never defined",
        &[occurred(&key("other", "15:00:00"), Status::Pending)],
        "cannot write the history: FOREIGN KEY constraint failed",
    );
    check_refused(
        "how far an unknown schedule is accounted for",
        &[Change::AccountedThrough { schedule: id("other"), through: at("15:00:00") }],
        "the history has no definition of other",
    );
    check_refused(
        "a pause of an unknown schedule",
        &[Change::Paused { schedule: id("other"), at: at("15:00:00"), pause: None }],
        "the history has no definition of other",
    );
}

#[test]
fn the_same_instant_of_another_installation_or_start_is_another_occurrence() {
    let daily = key("daily", "14:00:00");
    let mut elsewhere = daily.clone();
    elsewhere.instance = crate::ids::Instance::new("other").unwrap();
    let retry = key("daily", "14:00:00#retry-2");
    let (dir, _store) = stored(&[
        occurred(&daily, Status::Failed),
        occurred(&elsewhere, Status::Pending),
        occurred(&retry, Status::Pending),
    ]);
    let detail = reader(&dir).occurrence(&daily).unwrap().unwrap();
    assert_eq!(detail.row.status, Status::Failed);
    assert_eq!(detail.related, [elsewhere, retry]);
}

#[test]
fn what_a_clock_that_was_ahead_decided_is_taken_back() {
    let [early, tried, waiting] = ["14:00:00", "18:00:00", "20:00:00"].map(|time| key("daily", time));
    let (_dir, mut store) = stored(&[
        occurred(&early, Status::Skipped),
        missed(&key("daily", "15:00:00"), "17:00:00", 3),
        occurred(&tried, Status::Pending),
        begun(&tried, 1, "18:00:01"),
        occurred(&waiting, Status::Pending),
        missed(&key("daily", "21:00:00"), "22:00:00", 2),
        Change::AccountedThrough { schedule: id("daily"), through: at("22:00:00") },
    ]);
    let check = |store: &Store, now: &str, expected: Option<(Option<&str>, &[&str])>| {
        let ahead = store.ahead(at(now)).unwrap();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(after, tried)| (after.map(at), tried.iter().map(|time| at(time)).collect::<Vec<_>>()))
            .collect();
        let found: Vec<_> = ahead.into_iter().map(|ahead| (ahead.reopen_after, ahead.tried)).collect();
        assert_eq!(found, expected, "at {now}");
    };
    check(&store, "22:00:00", None);
    check(&store, "19:30:00", Some((Some("19:30:00"), &["20:00:00"])));
    // In the middle of a stretch: all of it is decided again.
    check(&store, "15:30:00", Some((Some("14:59:59"), &["18:00:00", "20:00:00"])));

    store.apply(&[Change::Reopened { schedule: id("daily"), after: at("14:59:59"), at: at("15:30:00") }]).unwrap();
    let left: Vec<String> = rows(&store);
    assert_eq!(left, ["14:00:00 skipped", "18:00:00 launching", "20:00:00 pending"]);
    assert_eq!(store.memory().unwrap().schedules[0].accounted_through, at("14:59:59"));
    // What was tried is told for as long as it lies beyond what is accounted for, whatever the time is.
    check(&store, "15:30:00", Some((None, &["18:00:00", "20:00:00"])));
    check(&store, "23:30:00", Some((None, &["18:00:00", "20:00:00"])));
    // Its word stays when it ends without a try, and when the clock is set back once more.
    store.apply(&[status(&waiting, Status::Skipped, "15:31:00")]).unwrap();
    check(&store, "14:30:00", Some((Some("14:30:00"), &["18:00:00", "20:00:00"])));
    store.apply(&[Change::Reopened { schedule: id("daily"), after: at("14:30:00"), at: at("14:30:00") }]).unwrap();
    assert_eq!(rows(&store), ["14:00:00 skipped", "18:00:00 launching", "20:00:00 skipped"]);
    store.apply(&[Change::AccountedThrough { schedule: id("daily"), through: at("20:00:00") }]).unwrap();
    check(&store, "23:30:00", None);
    // Before this program was written, nothing is believed.
    let ahead = store.ahead("1970-01-01T00:00:07Z".parse().unwrap()).unwrap();
    assert_eq!((ahead.len(), ahead[0].reopen_after), (1, None));
}

/// Every row, as time and status.
fn rows(store: &Store) -> Vec<String> {
    let sql = "SELECT substr(scheduled_for, 12, 8) || ' ' || status FROM occurrence ORDER BY scheduled_for";
    let mut statement = store.connection().prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}
