//! The calls for the server's own schedules: what is put on the wire, how every answer is sorted, and that a list is complete
//! or an error.

use serde_json::{Value, json};
use skycron::{
    ids::{ServerScheduleId, WorkflowId},
    skyvern::{
        ApiError, ApiErrorKind, Client, ScheduleDraft, ScheduleFilter, ScheduleStatus, ServerCadence, ServerSchedule,
        WriteError, WriteErrorKind,
    },
};

use crate::{
    block_on, client,
    script::{Act, Script},
};

const KEY: &str = "key-that-nobody-may-see";

fn workflow() -> WorkflowId {
    WorkflowId::new("wpid_1").unwrap()
}

fn id(number: usize) -> ServerScheduleId {
    ServerScheduleId::new(&format!("wfs_{number}")).unwrap()
}

fn draft(cadence: ServerCadence) -> ScheduleDraft {
    ScheduleDraft {
        cadence,
        timezone: "America/New_York".to_owned(),
        name: Some("Daily".to_owned()),
        description: None,
        parameters: json!({"url": "x"}).as_object().unwrap().clone(),
        enabled: false,
    }
}

fn cron() -> ScheduleDraft {
    draft(ServerCadence::Cron("0 9 * * 1-5".to_owned()))
}

/// A row as the server sends it.
fn row(number: usize) -> Value {
    json!({
        "workflow_schedule_id": format!("wfs_{number}"), "workflow_permanent_id": "wpid_1", "enabled": true,
        "timezone": "UTC", "cron_expression": "0 9 * * *", "name": null,
    })
}

fn one(row: &Value) -> String {
    json!({"schedule": row, "next_runs": ["2026-11-23T09:00:00Z"]}).to_string()
}

/// The kind, the status and the wait, as `refused 400` or `not_done 429 after 5`.
fn outcome<T>(result: &Result<T, WriteError>) -> String {
    let Err(error) = result else { return "done".to_owned() };
    let word = match error.kind {
        WriteErrorKind::NoSchedules => "no_schedules",
        WriteErrorKind::Unauthorized => "unauthorized",
        WriteErrorKind::NotFound => "not_found",
        WriteErrorKind::LimitReached => "limit",
        WriteErrorKind::Over => "over",
        WriteErrorKind::Refused => "refused",
        WriteErrorKind::NotDone => "not_done",
        WriteErrorKind::Unknown => "unknown",
    };
    let status = error.http_status.map(|status| format!(" {status}")).unwrap_or_default();
    let wait = error.retry_after.map(|wait| format!(" after {}", wait.as_secs())).unwrap_or_default();
    format!("{word}{status}{wait}")
}

/// Every change with this answer, each sent once (`requests` times, where the other name of the path is tried too).
#[track_caller]
fn check_changes(act: &Act, expected: &str, says: &str, requests: usize) {
    let judge = |call: &str, found: String, message: String, script: &Script| {
        assert_eq!(found, expected, "{call}: {message}");
        assert!(message.contains(says), "{call}: {says:?} is not in {message:?}");
        assert!(!message.contains(KEY), "{call}: {message}");
        assert_eq!(script.asked().len(), requests, "{call}: {:?}", script.asked());
    };
    let message = |result: Result<(), WriteError>| result.err().map(|error| error.message).unwrap_or_default();
    for call in ["create", "update", "enable", "disable", "cancel", "delete"] {
        let script = Script::start(vec![act.clone(), act.clone()]);
        let result = block_on(change(&client(&script.url, KEY), call));
        judge(call, outcome(&result), message(result.map(|_| ())), &script);
    }
}

async fn change(client: &Client, call: &str) -> Result<Option<ServerSchedule>, WriteError> {
    let (workflow, id) = (&workflow(), &id(1));
    match call {
        "create" => client.create_schedule(workflow, &cron()).await.map(Some),
        "update" => client.update_schedule(workflow, id, &cron()).await.map(Some),
        "enable" => client.enable_schedule(workflow, id).await.map(Some),
        "disable" => client.disable_schedule(workflow, id).await.map(Some),
        "cancel" => client.cancel_schedule(workflow, id).await.map(Some),
        _ => client.delete_schedule(workflow, id).await.map(|()| None),
    }
}

#[test]
fn every_answer_to_a_change_is_sorted() {
    let detail = r#"{"detail":"words of the server"}"#;
    let both = json!({"schedule": row(1), "next_runs": [], "ok": true}).to_string();
    for status in [200, 201] {
        check_changes(&Act::json(status, &both), "done", "", 1);
    }
    check_changes(&Act::json(200, "{}"), "unknown 200", "another shape", 1);
    check_changes(&Act::json(200, "<html>"), "unknown 200", "not JSON", 1);
    check_changes(&Act::json(200, ""), "unknown 200", "breaks off", 1);
    check_changes(&Act::Say(b"HTTP/1.1 204 X\r\n\r\n".to_vec()), "unknown 204", "breaks off", 1);
    for status in [301, 302, 307, 308, 421, 425, 429] {
        check_changes(&Act::json(status, detail), &format!("not_done {status}"), "words of the server", 1);
    }
    for status in [401, 403, 407] {
        check_changes(&Act::json(status, detail), &format!("unauthorized {status}"), "words of the server", 1);
    }
    for status in [400, 402, 406, 409, 410, 413, 418, 422] {
        check_changes(&Act::json(status, detail), &format!("refused {status}"), "words of the server", 1);
    }
    // A 500 may mean that it was stored, a 502 that undoing it failed, a 503 that it was committed.
    for status in [303, 408, 500, 502, 503, 504, 520] {
        check_changes(&Act::json(status, detail), &format!("unknown {status}"), "words of the server", 1);
    }
    let slow = r#"{"detail":"Rate limit exceeded for organization o_1."}"#;
    check_changes(&Act::answer(429, "retry-after: 5\r\n", slow), "not_done 429 after 5", "Rate limit", 1);
    check_changes(&Act::json(404, r#"{"detail":"Schedule wfs_1 not found"}"#), "not_found 404", "wfs_1", 1);
    check_changes(&Act::json(404, r#"{"detail":"Workflow wpid_1 not found"}"#), "not_found 404", "wpid_1", 1);
    check_changes(&Act::json(404, "404 page not found\n"), "not_done 404", "404 page not found", 1);
    // Nothing was done: the other name of the path is tried.
    check_changes(&Act::json(404, r#"{"detail":"Not Found"}"#), "no_schedules 404", "Not Found", 2);
    check_changes(&Act::json(405, r#"{"detail":"Method Not Allowed"}"#), "no_schedules 405", "Method Not Allowed", 1);
    let disabled = r#"{"detail":"Workflow schedules are disabled in this Skyvern build."}"#;
    check_changes(&Act::json(501, disabled), "no_schedules 501", "disabled", 1);
    check_changes(&Act::json(501, "a proxy's page"), "unknown 501", "a proxy's page", 1);
    let limit = r#"{"detail":"Maximum of 5 schedules reached for your plan"}"#;
    check_changes(&Act::json(409, limit), "limit 409", "Maximum of 5", 1);
    let limit = r#"{"detail":"Maximum of 5 schedules per workflow reached"}"#;
    check_changes(&Act::json(409, limit), "limit 409", "Maximum of 5", 1);
    let over = r#"{"detail":"Schedule wfs_1 already fired or was canceled, so it can no longer change"}"#;
    check_changes(&Act::json(409, over), "over 409", "already fired", 1);
    check_changes(&Act::json(400, &format!(r#"{{"detail":"bad key {KEY}"}}"#)), "refused 400", "[secret]", 1);
}

#[test]
fn bytes_that_are_no_answer_to_a_change() {
    check_changes(&Act::SayAndClose(vec![]), "unknown", "broke before the answer", 1);
    check_changes(&Act::Hang, "unknown", "did not answer in time", 1);
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{".to_vec();
    check_changes(&Act::SayAndClose(half), "unknown 200", "broke within", 1);
    let large = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{".to_vec();
    check_changes(&Act::Say(large), "unknown 200", "larger than 65536", 1);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let result = block_on(client(&format!("http://{free}"), KEY).create_schedule(&workflow(), &cron()));
    assert_eq!(outcome(&result), "not_done", "{result:?}");
}

#[test]
fn changes_on_the_wire() {
    let check = |call: &str, line: &str| {
        let both = json!({"schedule": row(1), "next_runs": [], "ok": true}).to_string();
        let script = Script::start(vec![Act::json(200, &both)]);
        block_on(change(&client(&script.url, KEY), call)).unwrap();
        let asked = script.asked().remove(0);
        assert_eq!(asked.line, format!("{line} HTTP/1.1"));
        asked.body
    };
    let body = json!({
        "cron_expression": "0 9 * * 1-5", "timezone": "America/New_York", "name": "Daily", "description": null,
        "parameters": {"url": "x"}, "enabled": false,
    });
    let sent = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    assert_eq!(sent(check("create", "POST /api/v1/workflows/wpid_1/schedules")), body);
    assert_eq!(sent(check("update", "PUT /api/v1/workflows/wpid_1/schedules/wfs_1")), body);
    for call in ["enable", "disable", "cancel"] {
        assert_eq!(check(call, &format!("POST /api/v1/workflows/wpid_1/schedules/wfs_1/{call}")), "");
    }
    assert_eq!(check("delete", "DELETE /api/v1/workflows/wpid_1/schedules/wfs_1"), "");
}

#[test]
fn every_cadence_on_the_wire_and_back() {
    let at = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc();
    let check = |cadence: ServerCadence, fields: Value| {
        let mut answered = row(1);
        answered["cron_expression"] = Value::Null;
        for (key, value) in fields.as_object().unwrap() {
            answered[key] = value.clone();
        }
        let script = Script::start(vec![Act::json(200, &one(&answered))]);
        let made = block_on(client(&script.url, KEY).create_schedule(&workflow(), &draft(cadence.clone()))).unwrap();
        let body: Value = serde_json::from_str(&script.asked()[0].body).unwrap();
        let sent: serde_json::Map<String, Value> = body
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| !["timezone", "name", "description", "parameters", "enabled"].contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        assert_eq!(Value::Object(sent), fields);
        assert_eq!(made.cadence, Some(cadence));
    };
    check(ServerCadence::Cron(" 0 9 * * 1-5 ".to_owned()), json!({"cron_expression": " 0 9 * * 1-5 "}));
    check(ServerCadence::Interval { interval_seconds: 300, first_fire_at: None }, json!({"interval_seconds": 300}));
    let first_fire_at = Some(at("2026-11-23T09:00:00Z"));
    check(
        ServerCadence::Interval { interval_seconds: 5400, first_fire_at },
        json!({"interval_seconds": 5400, "first_fire_at": "2026-11-23T09:00:00Z"}),
    );
    check(ServerCadence::Once { run_at: at("2026-11-23T09:00:00Z") }, json!({"run_at": "2026-11-23T09:00:00Z"}));
}

/// The kind and the status of a reading's error, or `None`.
fn reading<T>(result: &Result<T, ApiError>) -> Option<(ApiErrorKind, Option<u16>)> {
    result.as_ref().err().map(|error| (error.kind, error.http_status))
}

#[test]
fn every_answer_to_a_reading_is_sorted() {
    use ApiErrorKind::{NoSchedules, Nonsense, NotFound, RateLimited, Refused, Unauthorized, Unavailable};
    let check = |status: u16, body: &str, expected: ApiErrorKind| {
        let acts = || vec![Act::json(status, body); 2];
        let expected = Some((expected, Some(status)));
        let script = Script::start(acts());
        assert_eq!(reading(&block_on(client(&script.url, KEY).workflow_schedules(&workflow()))), expected, "{body}");
        let script = Script::start(acts());
        assert_eq!(
            reading(&block_on(client(&script.url, KEY).server_schedule(&workflow(), &id(1)))),
            expected,
            "{body}"
        );
        let script = Script::start(acts());
        let all = ScheduleFilter::default();
        assert_eq!(reading(&block_on(client(&script.url, KEY).server_schedules(&all))), expected, "{body}");
    };
    check(404, r#"{"detail":"Not Found"}"#, NoSchedules);
    check(501, r#"{"detail":"Workflow schedules are disabled in this Skyvern build."}"#, NoSchedules);
    check(501, "a proxy's page", Unavailable);
    check(404, r#"{"detail":"Workflow wpid_1 not found"}"#, NotFound);
    check(404, "404 page not found", Unavailable);
    check(403, r#"{"detail":"Invalid credentials"}"#, Unauthorized);
    check(422, r#"{"detail":[]}"#, Refused);
    check(429, r#"{"detail":"Rate limit exceeded"}"#, RateLimited);
    check(500, r#"{"error":"Unexpected error: CroniterBadDateError"}"#, Unavailable);
    check(200, "[]", Nonsense);
    check(200, "{}", Nonsense);
    check(200, "{\"schedules\":[", Nonsense);
    // A row without what it is told apart by spoils the whole: it may be ours.
    for (field, value) in [
        ("workflow_schedule_id", json!("../x")),
        ("workflow_permanent_id", json!("w_1")),
        ("enabled", Value::Null),
        ("timezone", Value::Null),
        ("name", json!(5)),
        ("parameters", json!([1])),
    ] {
        let mut bad = row(1);
        bad[field] = value;
        let page = json!({"schedules": [row(2), bad], "schedule": bad, "total_count": 2, "page": 1, "page_size": 100});
        check(200, &page.to_string(), Nonsense);
    }
}

#[test]
fn the_newer_names_are_found_and_remembered() {
    let no_route = || Act::json(404, r#"{"detail":"Not Found"}"#);
    let one = one(&row(1));
    let script = Script::start(vec![
        no_route(),
        Act::json(200, &one),
        Act::json(200, &one),
        Act::json(200, r#"{"schedules":[],"total_count":0,"page":1,"page_size":100}"#),
        // The server was replaced by an older one.
        no_route(),
        Act::json(200, &one),
        Act::json(200, &one),
    ]);
    let client = client(&script.url, KEY);
    block_on(async {
        client.create_schedule(&workflow(), &cron()).await.unwrap();
        client.enable_schedule(&workflow(), &id(1)).await.unwrap();
        assert!(client.server_schedules(&ScheduleFilter::default()).await.unwrap().is_empty());
        client.server_schedule(&workflow(), &id(1)).await.unwrap();
        client.server_schedule(&workflow(), &id(1)).await.unwrap();
    });
    let lines: Vec<String> = script.asked().into_iter().map(|asked| asked.line.replace(" HTTP/1.1", "")).collect();
    let expected = [
        "POST /api/v1/workflows/wpid_1/schedules",
        "POST /v1/agents/wpid_1/schedules",
        "POST /v1/agents/wpid_1/schedules/wfs_1/enable",
        "GET /v1/schedules?page=1&page_size=100",
        "GET /v1/agents/wpid_1/schedules/wfs_1",
        "GET /api/v1/workflows/wpid_1/schedules/wfs_1",
        "GET /api/v1/workflows/wpid_1/schedules/wfs_1",
    ];
    assert_eq!(lines, expected);
}

/// A page with the rows of these numbers.
fn page(number: usize, rows: impl IntoIterator<Item = usize>, total: usize) -> Act {
    let rows: Vec<Value> = rows.into_iter().map(row).collect();
    let body = json!({"schedules": rows, "total_count": total, "page": number, "page_size": 100});
    Act::json(200, &body.to_string())
}

/// Reads all from these pages: how many came, or why not; and that no page was asked for beyond them.
#[track_caller]
fn check_list(acts: Vec<Act>, expected: Result<usize, &str>) {
    let pages = acts.len();
    let script = Script::start(acts);
    let found = block_on(client(&script.url, KEY).server_schedules(&ScheduleFilter::default()));
    match (&found, expected) {
        (Ok(schedules), Ok(count)) => assert_eq!(schedules.len(), count),
        (Err(error), Err(says)) => assert!(error.message.contains(says), "{says:?} is not in {error:?}"),
        _ => panic!("{found:?} where {expected:?} was expected"),
    }
    assert_eq!(script.asked().len(), pages);
}

#[test]
fn a_list_is_whole_or_an_error() {
    check_list(vec![page(1, [], 0)], Ok(0));
    check_list(vec![page(1, [1, 2, 3], 3)], Ok(3));
    check_list(vec![page(1, 0..100, 100)], Ok(100));
    // More than a page: read until two readings agree.
    let long = || vec![page(1, 0..100, 101), page(2, [100], 101)];
    check_list([long(), long()].concat(), Ok(101));
    // Half a page, once and always.
    check_list(vec![page(1, [1], 3), page(1, [1, 2, 3], 3)], Ok(3));
    check_list(vec![page(1, [1], 3); 6], Err("page 1 has 1 rows, of a list of 3 it should have 3"));
    check_list(vec![page(1, [], 3); 6], Err("page 1 has 0 rows"));
    check_list(vec![page(1, [1, 2], 1); 6], Err("page 1 has 2 rows"));
    // One was deleted between the pages: the hundred and first moved to the page that was read already.
    let shorter = || vec![page(1, 1..101, 101), page(2, [101], 101)];
    check_list([vec![page(1, 0..100, 102), page(2, [101], 101)], shorter(), shorter()].concat(), Ok(101));
    // One was made: the last of the first page came again.
    let longer = || vec![page(1, 0..100, 102), page(2, 100..102, 102)];
    check_list([vec![page(1, 1..101, 101), page(2, [100], 101)], longer(), longer()].concat(), Ok(102));
    // One was deleted and one was restored: the length is the same, and a row is missing.
    let hidden = vec![page(1, 0..100, 102), page(2, [101, 102], 102)];
    let whole = || vec![page(1, 1..101, 102), page(2, [101, 102], 102)];
    check_list([hidden, whole(), whole()].concat(), Ok(102));
    // It never stands still.
    let moving = (0..6).flat_map(|n| vec![page(1, n..n + 100, 101), page(2, [n + 100], 101)]).collect();
    check_list(moving, Err("it changed from reading to reading"));
    check_list(vec![page(1, [1, 1], 2); 6], Err("a row came twice"));
    // A server, or a cache before it, that answers something else than what was asked for.
    check_list(vec![page(2, [1], 1)], Err("answered page 2"));
    let small = json!({"schedules": [row(1)], "total_count": 1, "page": 1, "page_size": 10}).to_string();
    check_list(vec![Act::json(200, &small)], Err("of 10 rows"));
    check_list(vec![page(1, 0..100, 101), Act::json(500, "{}")], Err("500"));
}

#[test]
fn filters_on_the_wire() {
    let script = Script::start(vec![page(1, [], 0)]);
    let filter = ScheduleFilter { status: Some(ScheduleStatus::Paused), search: Some("a & b".to_owned()) };
    block_on(client(&script.url, KEY).server_schedules(&filter)).unwrap();
    let line = "GET /api/v1/schedules?page=1&page_size=100&status=paused&search=a+%26+b HTTP/1.1";
    assert_eq!(script.asked()[0].line, line);
}
