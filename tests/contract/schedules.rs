//! The questions about the server's own schedules, down to the run of one that the server itself fires.

use std::{sync::atomic::Ordering, time::Duration};

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use serde_json::{Value, json};
use skycron::{
    clock::{Clock, parse_rfc3339, rfc3339},
    ids::ServerScheduleId,
    skyvern::scheduled_run_id,
};

use super::{Server, check_fields};

/// Longest wait for a run that is due in a minute, at a server that looks every few seconds.
const FIRE_SECONDS_MAX: u64 = 120;

pub(crate) fn contract(server: &Server) {
    let probe = server.make_workflow(&json!([
        {"parameter_type": "workflow", "key": "url", "workflow_parameter_type": "string", "default_value": "x"},
    ]));
    let strict = server.make_workflow(&json!([
        {"parameter_type": "workflow", "key": "need", "workflow_parameter_type": "integer"},
    ]));
    paths(server, &probe);
    refused(server, &probe, &strict);
    a_cron_schedule(server, &probe);
    intervals(server, &probe);
    due_once(server, &probe);
    the_list_of_all(server, &probe, &strict);
    a_deleted_workflow(server);
    fired_by_the_server(server, &probe);
}

fn list_path(workflow: &str) -> String {
    format!("/api/v1/workflows/{workflow}/schedules")
}

impl Server {
    fn in_seconds(&self, seconds: i64) -> DateTime<Utc> {
        (self.ahead.now() + TimeDelta::seconds(seconds)).with_nanosecond(0).unwrap()
    }

    /// Makes a schedule; the whole answer.
    #[track_caller]
    fn make_schedule(&self, workflow: &str, body: &Value) -> Value {
        let (status, answer) = self.ask("POST", &list_path(workflow), &body.to_string());
        assert_eq!(status, 200, "{body}: {answer}");
        answer
    }

    /// A request that succeeds.
    #[track_caller]
    fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.ask(method, path, &body);
        assert_eq!(status, 200, "{method} {path} {body}: {answer}");
        answer
    }
}

fn id_of(answer: &Value) -> String {
    answer["schedule"]["workflow_schedule_id"].as_str().unwrap().to_owned()
}

/// These fields of a schedule have these values.
#[track_caller]
fn check_schedule(found: &Value, expected: Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&found[field], value, "{field}: {found:#}");
    }
}

fn paths(server: &Server, probe: &str) {
    let none = json!("Not Found");
    let method = json!("Method Not Allowed");
    for base in ["/api/v1/workflows", "/v1/workflows", "/v1/agents"] {
        assert_eq!(server.get(&format!("{base}/{probe}/schedules")), json!({"schedules": []}), "{base}");
        let one = format!("{base}/{probe}/schedules/wfs_404");
        let gone = json!("Schedule wfs_404 not found");
        server.check("GET", &one, "", 404, &gone);
        server.check("DELETE", &one, "", 404, &gone);
        for deed in ["enable", "disable", "cancel"] {
            server.check("POST", &format!("{one}/{deed}"), "", 404, &gone);
            server.check("GET", &format!("{one}/{deed}"), "", 405, &method);
        }
        server.check("PATCH", &one, "{}", 405, &method);
        server.check("PUT", &format!("{base}/{probe}/schedules"), "{}", 405, &method);
        server.check("POST", &format!("{one}/explode"), "", 404, &none);
    }
    server.check("GET", &format!("/api/v1/agents/{probe}/schedules"), "", 404, &none);
    for path in ["/api/v1/schedules", "/v1/schedules"] {
        assert_eq!(server.get(path)["page"], 1, "{path}");
        server.check("POST", path, "{}", 405, &method);
    }
    for (key, words) in [(None, "Invalid credentials"), (Some("wrong"), "Could not validate credentials")] {
        for (method, path) in [("GET", "/api/v1/schedules".to_owned()), ("POST", list_path(probe))] {
            let expected = (403, json!({"detail": words}));
            assert_eq!(server.ask_as(key, method, &path, "{}"), expected, "{key:?} {method} {path}");
        }
    }
}

/// What is refused when one is made, and nothing is made by it.
fn refused(server: &Server, probe: &str, strict: &str) {
    let path = list_path(probe);
    let post =
        |body: Value, status: u16, detail: Value| server.check("POST", &path, &body.to_string(), status, &detail);
    let cron = |more: Value| {
        let mut body = json!({"cron_expression": "0 9 * * *", "timezone": "UTC"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let timed = |fields: Value| {
        let mut body = fields;
        body["timezone"] = "UTC".into();
        body
    };
    server.check("POST", &path, "", 422, &json!([["missing", ["body"], "Field required"]]));
    server.check("POST", &path, "nonsense", 422, &json!([["json_invalid", ["body", 0], "JSON decode error"]]));
    post(json!({}), 422, json!([["missing", ["body", "timezone"], "Field required"]]));
    let no_text = "Input should be a valid string";
    post(cron(json!({"timezone": null})), 422, json!([["string_type", ["body", "timezone"], no_text]]));
    for field in ["name", "description", "cron_expression"] {
        post(cron(json!({field: 5})), 422, json!([["string_type", ["body", field], no_text]]));
    }
    let no_bool = "Input should be a valid boolean, unable to interpret input";
    post(cron(json!({"enabled": "maybe"})), 422, json!([["bool_parsing", ["body", "enabled"], no_bool]]));
    let no_object = "Input should be a valid dictionary";
    post(cron(json!({"parameters": []})), 422, json!([["dict_type", ["body", "parameters"], no_object]]));

    // The cadence: exactly one.
    let whole = |words: &str| json!([["value_error", ["body"], format!("Value error, {words}")]]);
    let exactly_one = "Set exactly one of cron_expression, interval_seconds or run_at";
    post(timed(json!({})), 422, whole(exactly_one));
    post(cron(json!({"interval_seconds": 600})), 422, whole(exactly_one));
    post(cron(json!({"run_at": rfc3339(server.in_seconds(600))})), 422, whole(exactly_one));
    let first = json!({"first_fire_at": rfc3339(server.in_seconds(600))});
    post(cron(first), 422, whole("first_fire_at requires interval_seconds"));
    let once_off = json!({"run_at": rfc3339(server.in_seconds(600)), "enabled": false});
    post(timed(once_off), 422, whole("A one-time schedule cannot be disabled; cancel it or change run_at instead"));

    // Intervals and instants.
    let interval = |value: Value, kind: &str, msg: &str| {
        post(timed(json!({"interval_seconds": value})), 422, json!([[kind, ["body", "interval_seconds"], msg]]));
    };
    interval(json!(299), "greater_than_equal", "Input should be greater than or equal to 300");
    interval(json!(2_147_483_648_u64), "less_than_equal", "Input should be less than or equal to 2147483647");
    let no_integer = "Input should be a valid integer, unable to parse string as an integer";
    interval(json!("600x"), "int_parsing", no_integer);
    interval(json!(600.5), "int_from_float", "Input should be a valid integer, got a number with a fractional part");
    let at = |field: &str, value: &str| {
        if field == "run_at" {
            timed(json!({"run_at": value}))
        } else {
            timed(json!({"interval_seconds": 600, "first_fire_at": value}))
        }
    };
    for field in ["run_at", "first_fire_at"] {
        let naive = json!([["timezone_aware", ["body", field], "Input should have timezone info"]]);
        post(at(field, "2090-01-01T00:00:00"), 422, naive);
        let soon =
            json!([["value_error", ["body", field], format!("{field} must be at least 60 seconds in the future")]]);
        post(at(field, &rfc3339(server.in_seconds(30))), 422, soon.clone());
        post(at(field, "2020-01-01T00:00:00Z"), 422, soon);
        let (status, answer) = server.ask("POST", &path, &at(field, "garbage").to_string());
        assert_eq!((status, &answer["detail"][0]["loc"]), (422, &json!(["body", field])), "{answer}");
    }
    let late = "Value error, run_at must be no later than 2100-12-31T23:59:59+00:00";
    post(at("run_at", "2101-01-01T00:00:00Z"), 422, json!([["value_error", ["body", "run_at"], late]]));

    // The expression and the zone, before the workflow.
    for expression in ["nonsense", "", "* * * *", "@reboot", "0 0 L-2 * *", "0 22-2 * * *", "*/0 * * * *"] {
        post(cron(json!({"cron_expression": expression})), 400, json!("Invalid cron expression"));
    }
    for expression in ["* * * * *", "*/4 * * * *", "*/7 * * * *", "0,3 0 1 1 *"] {
        post(cron(json!({"cron_expression": expression})), 400, json!("Cron interval must be at least 5 minutes"));
    }
    post(cron(json!({"cron_expression": "0 0 30 2 *"})), 400, json!("failed to find next date"));
    for zone in ["Mars/Olympus", "", "+02:00", "utc", "europe/berlin"] {
        post(cron(json!({"timezone": zone})), 400, json!(format!("Invalid timezone '{zone}'")));
    }
    let elsewhere = |body: Value, status: u16, detail: &str| {
        server.check("POST", &list_path("wpid_404"), &body.to_string(), status, &json!(detail));
    };
    elsewhere(cron(json!({})), 404, "Workflow wpid_404 not found");
    elsewhere(cron(json!({"cron_expression": "x"})), 400, "Invalid cron expression");
    let no_workflow = json!("Workflow wpid_404 not found");
    server.check("GET", &list_path("wpid_404"), "", 404, &no_workflow);
    let bad = cron(json!({"cron_expression": "x"})).to_string();
    server.check("PUT", "/api/v1/workflows/wpid_404/schedules/wfs_404", &bad, 404, &no_workflow);
    let one = format!("{path}/wfs_404");
    server.check("PUT", &one, &bad, 404, &json!("Schedule wfs_404 not found"));
    server.check("PUT", &one, "{}", 422, &json!([["missing", ["body", "timezone"], "Field required"]]));

    // Parameters.
    let unknown = json!(format!("Unknown schedule parameters for workflow {probe}: aaa, zzz"));
    post(cron(json!({"parameters": {"zzz": 1, "aaa": 2, "url": "x"}})), 400, unknown);
    let missing = json!(format!("Missing schedule parameters for workflow {strict}: need"));
    for parameters in [json!(null), json!({}), json!({"need": null}), json!({"need": ""})] {
        let body = cron(json!({"parameters": parameters})).to_string();
        server.check("POST", &list_path(strict), &body, 400, &missing);
    }
    for workflow in [probe, strict] {
        assert_eq!(server.get(&list_path(workflow)), json!({"schedules": []}), "nothing was made");
    }
}

fn a_cron_schedule(server: &Server, probe: &str) {
    let made = server.make_schedule(
        probe,
        &json!({
            "cron_expression": "0 9 * * 1-5", "timezone": "America/New_York", "name": "n", "description": "d",
            "parameters": {"url": "a"},
        }),
    );
    let recorded = include_str!("../client/data/schedule.json");
    check_fields(&made, recorded);
    check_fields(&made["schedule"], &serde_json::from_str::<Value>(recorded).unwrap()["schedule"].to_string());
    check_schedule(
        &made["schedule"],
        json!({
            "cron_expression": "0 9 * * 1-5", "timezone": "America/New_York", "name": "n", "description": "d",
            "parameters": {"url": "a"}, "enabled": true, "interval_seconds": null, "first_fire_at": null, "run_at": null,
            "dispatch_status": null, "workflow_run_id": null, "workflow_permanent_id": probe, "deleted_at": null,
        }),
    );
    let next: Vec<&str> = made["next_runs"].as_array().unwrap().iter().map(|at| at.as_str().unwrap()).collect();
    assert_eq!(next.len(), 5, "{made}");
    assert!(next.iter().all(|at| at.ends_with(":00:00Z")) && next.is_sorted(), "{made}");
    for name in ["created_at", "modified_at"] {
        let time = made["schedule"][name].as_str().unwrap();
        assert!(time.len() >= 19 && !time.ends_with('Z') && !time.contains('+'), "{name} is without a zone: {time}");
    }
    let id = id_of(&made);
    let path = format!("{}/{id}", list_path(probe));
    assert_eq!(server.get(&path), made);
    let listed = server.get(&list_path(probe));
    assert_eq!(listed, json!({"schedules": [made["schedule"]]}), "without the preview");

    // Switching it: each time it was changed, even if it was so before.
    let mut modified_at = made["schedule"]["modified_at"].as_str().unwrap().to_owned();
    for (deed, enabled) in [("disable", false), ("disable", false), ("enable", true), ("disable", false)] {
        let answer = server.done("POST", &format!("{path}/{deed}"), &Value::Null);
        assert_eq!(answer["schedule"]["enabled"], enabled, "{deed}");
        assert_eq!(answer["next_runs"].as_array().unwrap().len(), 5, "also of one that does not fire");
        let now = answer["schedule"]["modified_at"].as_str().unwrap().to_owned();
        assert!(now > modified_at, "{deed}: {now} after {modified_at}");
        modified_at = now;
    }
    let recurring = json!("Only a one-time schedule can be canceled; disable or delete a recurring schedule instead");
    server.check("POST", &format!("{path}/cancel"), "", 422, &recurring);

    // An update replaces everything, but for `enabled`, about which it may be silent. The text is kept as it is.
    let replaced = server.done("PUT", &path, &json!({"cron_expression": " 0  10 * * * ", "timezone": "UTC"}));
    let bare = json!({
        "cron_expression": " 0  10 * * * ", "timezone": "UTC", "name": null, "description": null, "parameters": null,
        "enabled": false,
    });
    check_schedule(&replaced["schedule"], bare.clone());
    let silent =
        json!({"cron_expression": " 0  10 * * * ", "timezone": "UTC", "enabled": null, "parameters": {"url": null}});
    check_schedule(&server.done("PUT", &path, &silent)["schedule"], bare);
    let on = server.done("PUT", &path, &json!({"cron_expression": "0 10 * * *", "timezone": "UTC", "enabled": true}));
    check_schedule(&on["schedule"], json!({"enabled": true, "workflow_schedule_id": id}));
    let once = json!({"run_at": rfc3339(server.in_seconds(600)), "timezone": "UTC"});
    let switch = json!("A schedule cannot switch between one-time and recurring; create a new schedule instead");
    server.check("PUT", &path, &once.to_string(), 422, &switch);
    let unknown = json!({"cron_expression": "0 10 * * *", "timezone": "UTC", "parameters": {"zzz": 1}});
    let words = json!(format!("Unknown schedule parameters for workflow {probe}: zzz"));
    server.check("PUT", &path, &unknown.to_string(), 400, &words);
    let frequent = json!({"cron_expression": "* * * * *", "timezone": "UTC"});
    server.check("PUT", &path, &frequent.to_string(), 400, &json!("Cron interval must be at least 5 minutes"));
    assert_eq!(server.get(&path)["schedule"], on["schedule"], "what is refused changes nothing");

    assert_eq!(server.done("DELETE", &path, &Value::Null), json!({"ok": true}));
    let gone = json!(format!("Schedule {id} not found"));
    server.check("DELETE", &path, "", 404, &gone);
    server.check("GET", &path, "", 404, &gone);
    server.check("POST", &format!("{path}/enable"), "", 404, &gone);
    let body = json!({"cron_expression": "0 10 * * *", "timezone": "UTC"}).to_string();
    server.check("PUT", &path, &body, 404, &gone);
    assert_eq!(server.get(&list_path(probe)), json!({"schedules": []}));
}

fn intervals(server: &Server, probe: &str) {
    let first = server.in_seconds(3600);
    let body = json!({"interval_seconds": "600", "first_fire_at": rfc3339(first), "timezone": "UTC", "enabled": false});
    let made = server.make_schedule(probe, &body);
    let is =
        json!({"interval_seconds": 600, "first_fire_at": rfc3339(first), "cron_expression": null, "enabled": false});
    check_schedule(&made["schedule"], is.clone());
    let expected: Vec<String> = (0..5).map(|n| rfc3339(first + TimeDelta::seconds(600 * n))).collect();
    assert_eq!(made["next_runs"], json!(expected));
    let path = format!("{}/{}", list_path(probe), id_of(&made));
    // Silent about the first one: it is kept. A fraction is cut off.
    check_schedule(&server.done("PUT", &path, &json!({"interval_seconds": 600, "timezone": "UTC"}))["schedule"], is);
    let later = server.in_seconds(7200);
    let fraction = rfc3339(later).replace('Z', ".75+00:00");
    let moved = json!({"interval_seconds": 900, "first_fire_at": fraction, "timezone": "UTC"});
    let moved = server.done("PUT", &path, &moved);
    check_schedule(&moved["schedule"], json!({"interval_seconds": 900, "first_fire_at": rfc3339(later)}));
    // From one cadence that repeats to another, and back: then the first one is an interval away.
    let cron = server.done("PUT", &path, &json!({"cron_expression": "0 9 * * *", "timezone": "UTC"}));
    check_schedule(
        &cron["schedule"],
        json!({"cron_expression": "0 9 * * *", "interval_seconds": null, "first_fire_at": null}),
    );
    let before = server.ahead.now();
    let back = server.done("PUT", &path, &json!({"interval_seconds": 600, "timezone": "UTC"}));
    let found = parse_rfc3339(back["schedule"]["first_fire_at"].as_str().unwrap()).unwrap();
    let away = found - before;
    assert!((TimeDelta::seconds(598)..TimeDelta::seconds(640)).contains(&away), "{back}");
    server.done("DELETE", &path, &Value::Null);
}

fn due_once(server: &Server, probe: &str) {
    let run_at = server.in_seconds(3600);
    let made = server.make_schedule(probe, &json!({"run_at": rfc3339(run_at), "timezone": "Europe/Berlin"}));
    let pending =
        json!({"run_at": rfc3339(run_at), "dispatch_status": "pending", "enabled": true, "workflow_run_id": null});
    check_schedule(&made["schedule"], pending);
    assert_eq!(made["next_runs"], json!([rfc3339(run_at)]));
    let id = id_of(&made);
    let path = format!("{}/{id}", list_path(probe));
    let switches = json!("A one-time schedule cannot be paused or resumed; cancel it, or update run_at to move it");
    server.check("POST", &format!("{path}/enable"), "", 422, &switches);
    server.check("POST", &format!("{path}/disable"), "", 422, &switches);
    let cron = json!({"cron_expression": "0 9 * * *", "timezone": "UTC"}).to_string();
    let switch = json!("A schedule cannot switch between one-time and recurring; create a new schedule instead");
    server.check("PUT", &path, &cron, 422, &switch);
    let later = json!({"run_at": rfc3339(server.in_seconds(7200)), "timezone": "UTC"});
    let moved = server.done("PUT", &path, &later);
    check_schedule(&moved["schedule"], json!({"run_at": later["run_at"], "dispatch_status": "pending"}));
    let cancelled = server.done("POST", &format!("{path}/cancel"), &Value::Null);
    check_schedule(&cancelled["schedule"], json!({"dispatch_status": "canceled", "enabled": true}));
    assert_eq!(cancelled["next_runs"], json!([]));
    let over = json!(format!("Schedule {id} already fired or was canceled, so it can no longer change"));
    server.check("POST", &format!("{path}/cancel"), "", 409, &over);
    server.check("PUT", &path, &later.to_string(), 409, &over);
    server.check("POST", &format!("{path}/enable"), "", 422, &switches);
    assert_eq!(server.get(&path), cancelled);
    server.done("DELETE", &path, &Value::Null);
}

fn the_list_of_all(server: &Server, probe: &str, strict: &str) {
    // Whoever else uses this server has other names.
    let name = |number: usize| format!("Row {number} of {probe}");
    let make = |workflow: &str, number: usize, more: Value| {
        let mut body = json!({"cron_expression": "0 9 * * *", "timezone": "UTC", "name": name(number)});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        id_of(&server.make_schedule(workflow, &body))
    };
    let first = make(probe, 1, json!({}));
    let second = make(strict, 2, json!({"parameters": {"need": "not checked before it fires"}, "enabled": false}));
    let third = make(probe, 3, json!({"name": format!("ROW 3 OF {}", probe.to_uppercase())}));
    let run_at = json!({"run_at": rfc3339(server.in_seconds(3600)), "timezone": "UTC", "name": name(4)});
    let once = id_of(&server.make_schedule(probe, &run_at));
    server.done("POST", &format!("{}/{once}/cancel", list_path(probe)), &Value::Null);

    let list = |query: &str| server.get(&format!("/api/v1/schedules?search=%20of%20{probe}&{query}"));
    let ids = |answer: &Value| -> Vec<String> {
        let rows = answer["schedules"].as_array().unwrap();
        rows.iter().map(|row| row["workflow_schedule_id"].as_str().unwrap().to_owned()).collect()
    };
    let all = list("");
    check_fields(&all, include_str!("../client/data/schedules.json"));
    assert_eq!(ids(&all), [&once, &third, &second, &first].map(Clone::clone), "the newest first");
    assert_eq!((&all["total_count"], &all["page"], &all["page_size"]), (&json!(4), &json!(1), &json!(10)));
    let recorded: Value = serde_json::from_str(include_str!("../client/data/schedules.json")).unwrap();
    check_fields(&all["schedules"][0], &recorded["schedules"][0].to_string());
    check_schedule(&all["schedules"][0], json!({"next_run": null, "dispatch_status": "canceled"}));
    check_schedule(&all["schedules"][2], json!({"next_run": null, "enabled": false, "workflow_title": "contract"}));
    assert!(all["schedules"][3]["next_run"].as_str().unwrap().ends_with("T09:00:00Z"), "{all}");

    let check = |query: &str, expected: &[&String], total: usize| {
        let answer = list(query);
        assert_eq!(
            (ids(&answer).iter().collect::<Vec<_>>(), &answer["total_count"]),
            (expected.to_vec(), &json!(total))
        );
    };
    check("page_size=3", &[&once, &third, &second], 4);
    check("page_size=3&page=2", &[&first], 4);
    check("page_size=3&page=9", &[], 4);
    // One that was due once and is over is neither.
    check("status=active", &[&third, &first], 2);
    check("status=paused", &[&second], 1);
    assert_eq!(server.get(&format!("/v1/schedules?search=row+2+OF+{probe}"))["total_count"], 1);
    assert_eq!(server.get(&format!("/v1/schedules?search=nobody+{probe}"))["total_count"], 0);
    let by_title = server.get("/v1/schedules?search=CONTRACT&page_size=100");
    assert!(ids(&by_title).contains(&first), "titles are searched too: {by_title}");

    let refused = |query: &str, kind: &str, field: &str, msg: &str| {
        let detail = json!([[kind, ["query", field], msg]]);
        server.check("GET", &format!("/api/v1/schedules?{query}"), "", 422, &detail);
    };
    refused("page=0", "greater_than_equal", "page", "Input should be greater than or equal to 1");
    refused("page_size=101", "less_than_equal", "page_size", "Input should be less than or equal to 100");
    let no_integer = "Input should be a valid integer, unable to parse string as an integer";
    refused("page=x", "int_parsing", "page", no_integer);
    refused("status=x", "literal_error", "status", "Input should be 'active' or 'paused'");

    // A workflow's own list is in the order of their making, and one is found under its own workflow only.
    let own = server.get(&list_path(probe));
    assert_eq!(ids(&own), [&first, &third, &once].map(Clone::clone));
    server.check(
        "GET",
        &format!("{}/{second}", list_path(probe)),
        "",
        404,
        &json!(format!("Schedule {second} not found")),
    );
    for (workflow, id) in [(probe, first), (strict, second), (probe, third), (probe, once)] {
        server.done("DELETE", &format!("{}/{id}", list_path(workflow)), &Value::Null);
    }
    check("", &[], 0);
}

fn a_deleted_workflow(server: &Server) {
    let workflow = server.make_workflow(&json!([]));
    let name = format!("cascade {workflow}");
    let made =
        server.make_schedule(&workflow, &json!({"cron_expression": "0 9 * * *", "timezone": "UTC", "name": name}));
    server.done("DELETE", &format!("/api/v1/workflows/{workflow}"), &Value::Null);
    let gone = json!(format!("Workflow {workflow} not found"));
    server.check("GET", &list_path(&workflow), "", 404, &gone);
    server.check("GET", &format!("{}/{}", list_path(&workflow), id_of(&made)), "", 404, &gone);
    server.check("DELETE", &format!("{}/{}", list_path(&workflow), id_of(&made)), "", 404, &gone);
    assert_eq!(server.get(&format!("/api/v1/schedules?search=cascade+{workflow}"))["total_count"], 0);
}

/// The server starts what is due, and its run is recognised: by the schedule's id in its row, and by an id that is known before.
fn fired_by_the_server(server: &Server, probe: &str) {
    let run_at = server.in_seconds(62);
    let make = |body: Value| {
        let made = server.make_schedule(probe, &body);
        ServerScheduleId::new(made["schedule"]["workflow_schedule_id"].as_str().unwrap()).unwrap()
    };
    let once = make(json!({"run_at": rfc3339(run_at), "timezone": "UTC", "parameters": {"url": "once"}}));
    let every = make(json!({"interval_seconds": 300, "first_fire_at": rfc3339(run_at), "timezone": "UTC"}));
    let off = make(json!({
        "interval_seconds": 300, "first_fire_at": rfc3339(run_at), "timezone": "UTC", "enabled": false, "name": "off",
    }));
    // Only the look-alike's clock can be set; at a real server the test waits.
    server.ahead.0.fetch_add(if server.is_real { 0 } else { 63 }, Ordering::Relaxed);
    let rows = |schedule: &ServerScheduleId| -> Vec<Value> {
        let rows = server.get(&format!("/api/v1/workflows/{probe}/runs?page_size=100"));
        rows.as_array()
            .unwrap()
            .iter()
            .filter(|row| row["workflow_schedule_id"] == schedule.as_str())
            .cloned()
            .collect()
    };
    let run_of = |schedule: &ServerScheduleId| {
        for _ in 0..FIRE_SECONDS_MAX * 10 {
            if let Some(row) = rows(schedule).into_iter().find(|row| row["status"] == "completed") {
                return row;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the server started no run of {schedule} within {FIRE_SECONDS_MAX} s");
    };
    for (schedule, url) in [(&once, "once"), (&every, "x")] {
        let row = run_of(schedule);
        let id = scheduled_run_id(schedule, run_at);
        let recorded = include_str!("../client/data/scheduled_rows.json");
        check_fields(&row, recorded);
        check_schedule(
            &row,
            json!({"workflow_run_id": id.as_str(), "trigger_type": "scheduled", "proxy_location": null}),
        );
        let created = row["created_at"].as_str().unwrap();
        assert!(created[..19] >= rfc3339(run_at)[..19], "created at {created}, due at {run_at}");
        let run = server.get(&format!("/v1/runs/{id}"));
        assert_eq!(run["status"], "completed");
        assert_eq!(run["run_request"]["parameters"], json!({"url": url}));
        let tags = server.get(&format!("/v1/runs/{id}/tags"))["tags"].clone();
        let trigger = tags.as_array().unwrap().iter().find(|tag| tag["key"] == "skyvern.trigger").unwrap();
        assert_eq!(trigger["value"], "scheduled", "{tags}");
        assert_eq!(rows(schedule).len(), 1, "once");
    }
    assert_eq!(rows(&off), Vec::<Value>::new(), "one that is switched off does not fire");
    let path = |schedule: &ServerScheduleId| format!("{}/{schedule}", list_path(probe));
    let after = server.get(&path(&once));
    check_schedule(
        &after["schedule"],
        json!({"dispatch_status": "fired", "workflow_run_id": scheduled_run_id(&once, run_at).as_str(), "enabled": true}),
    );
    assert_eq!(after["next_runs"], json!([]));
    let next: Vec<String> = (1..6).map(|n| rfc3339(run_at + TimeDelta::seconds(300 * n))).collect();
    assert_eq!(server.get(&path(&every))["next_runs"], json!(next));
    let over = json!(format!("Schedule {once} already fired or was canceled, so it can no longer change"));
    server.check("POST", &format!("{}/cancel", path(&once)), "", 409, &over);
    for schedule in [&once, &every, &off] {
        server.done("DELETE", &path(schedule), &Value::Null);
    }
    // Its runs stay.
    assert_eq!(rows(&every).len(), 1);
}
