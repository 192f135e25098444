//! Answers that a real Skyvern 1.0.56 gave, in our words.

use chrono::{DateTime, Utc};
use serde_json::Value;
use skycron::{
    ids::{RunId, ServerScheduleId, WorkflowId},
    skyvern::{
        Detail, DispatchStatus, RunFilter, ScheduleFilter, ServerCadence, ServerSchedule, StartReply, scheduled_run_id,
    },
};

use crate::{
    block_on, client,
    script::{Act, Script},
    start,
};

fn at(text: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc))
}

fn serve(body: &str) -> (Script, skycron::skyvern::Client) {
    let script = Script::start(vec![Act::json(200, body)]);
    let client = client(&script.url, "key-1234");
    (script, client)
}

#[test]
fn a_start() {
    let (_script, client) = serve(include_str!("data/started.json"));
    let StartReply::Started(report) = block_on(start(&client, "wpid_1")) else { panic!("not started") };
    assert!(report.run_id.as_str().starts_with("wr_"));
    assert_eq!(report.status.word(), "created");
    assert_eq!(report.run_type.as_deref(), Some("workflow_run"));
    assert_eq!((report.output, report.errors, report.queued_at), (None, None, None));
}

#[test]
fn a_run() {
    let (_script, client) = serve(include_str!("data/run.json"));
    let report = block_on(client.get_run(&RunId::new("wr_599977063002069064").unwrap(), Detail::Full)).unwrap();
    assert_eq!(report.status.word(), "completed");
    assert!(report.is_over());
    assert_eq!(report.output.as_deref(), Some(r#"{"w1_output":{"success":true},"extracted_information":[]}"#));
    assert_eq!(report.app_url.as_deref(), Some("http://localhost:8080/runs/wr_599977063002069064"));
    assert_eq!(report.created_at, at("2026-11-22T19:37:25.494535Z"));
    assert_eq!(report.modified_at, at("2026-11-22T19:37:27.389835Z"));
    assert_eq!(report.queued_at, at("2026-11-22T19:37:25.544125Z"));
    assert_eq!(report.started_at, at("2026-11-22T19:37:25.627937Z"));
    assert_eq!(report.finished_at, at("2026-11-22T19:37:27.388445Z"));
    assert_eq!((report.attempt, report.retry_pending, report.truncated), (Some(1), false, false));
    assert_eq!((report.downloaded_files, report.errors, report.failure_reason), (None, None, None));
}

#[test]
fn the_same_run_on_the_older_path() {
    let (_script, older) = serve(include_str!("data/older_run.json"));
    let (_script, newer) = serve(include_str!("data/run.json"));
    let id = RunId::new("wr_599977063002069064").unwrap();
    let older = block_on(older.get_run(&id, Detail::Full)).unwrap();
    let mut newer = block_on(newer.get_run(&id, Detail::Full)).unwrap();
    // The two fields that the older path does not have.
    (newer.run_type, newer.app_url) = (None, None);
    assert_eq!(older, newer);
}

#[test]
fn a_run_that_waits_for_its_retry_is_not_over() {
    let (_script, client) = serve(include_str!("data/retry_pending.json"));
    let report = block_on(client.get_run(&RunId::new("wr_1").unwrap(), Detail::Full)).unwrap();
    assert_eq!((report.status.word(), report.retry_pending, report.is_over()), ("failed", true, false));
    assert_eq!(report.next_attempt_at, at("2026-11-22T20:18:46.603088Z"));
    let reason = "code block failed. failure reason: No browser found to run the code block";
    assert_eq!(report.failure_reason.as_deref(), Some(reason));
}

#[test]
fn parameters_as_the_server_kept_them() {
    for body in [include_str!("data/run.json"), include_str!("data/older_run.json")] {
        let (_script, client) = serve(body);
        let parameters = block_on(client.run_parameters(&RunId::new("wr_1").unwrap())).unwrap();
        assert_eq!(Value::Object(parameters), serde_json::json!({"url": "x", "need": 1}));
    }
}

#[test]
fn rows() {
    let (script, client) = serve(include_str!("data/rows.json"));
    let tag = Some(("skycron_occurrence".to_owned(), "main/daily@2026-11-02T14:00:00Z#manual-1".to_owned()));
    let filter = RunFilter { tag, created_at_start: at("2026-11-22T19:00:00Z"), page: 2, page_size: 5 };
    let rows = block_on(client.list_workflow_runs(&WorkflowId::new("wpid_1").unwrap(), &filter)).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].trigger_type.as_deref(), Some("api"));
    assert!(rows[0].created_at > rows[1].created_at);
    let line = "GET /api/v1/workflows/wpid_1/runs?page=2&page_size=5&\
                tags=skycron_occurrence%3Amain%2Fdaily%402026-11-02T14%3A00%3A00Z%23manual-1&\
                created_at_start=2026-11-22T19%3A00%3A00.000Z HTTP/1.1";
    assert_eq!(script.asked()[0].line, line);
}

#[test]
fn tags() {
    let (_script, client) = serve(include_str!("data/tags.json"));
    let tags = block_on(client.run_tags(&RunId::new("wr_1").unwrap())).unwrap();
    let ours = ("skycron_occurrence".to_owned(), "main/daily@2026-11-02T14:00:00Z#manual-1".to_owned());
    assert!(tags.contains(&ours), "{tags:?}");
}

#[test]
fn workflows() {
    let (_script, client) = serve(include_str!("data/workflow.json"));
    let workflow = block_on(client.get_workflow(&WorkflowId::new("wpid_599977063002069056").unwrap())).unwrap();
    assert_eq!((workflow.title.as_str(), workflow.version, workflow.deleted), ("probe", Some(1), false));
    let parameters: Vec<_> =
        workflow.parameters.iter().map(|p| (p.key.as_str(), p.kind.as_str(), p.required)).collect();
    assert_eq!(parameters, [("url", "string", false), ("need", "integer", true)], "outputs of blocks are none");
    let (_script, client) = serve(include_str!("data/workflows.json"));
    let all = block_on(client.list_workflows(Some("pro"), 100)).unwrap();
    assert_eq!(all.len(), 1);
    let (_script, client) = serve(include_str!("data/organizations.json"));
    let organization = block_on(client.check_key()).unwrap().unwrap();
    assert_eq!(organization.name.as_deref(), Some("Skyvern-local"));
}

#[test]
fn a_schedule_alone() {
    let (_script, client) = serve(include_str!("data/schedule.json"));
    let id = ServerScheduleId::new("wfs_600025688776401304").unwrap();
    let found = block_on(client.server_schedule(&WorkflowId::new("wpid_1").unwrap(), &id)).unwrap();
    let expected = ServerSchedule {
        id,
        workflow_id: WorkflowId::new("wpid_600025160495423868").unwrap(),
        enabled: true,
        cadence: Some(ServerCadence::Cron("0 9 * * 1-5".to_owned())),
        timezone: "America/New_York".to_owned(),
        name: Some("Weekday morning report".to_owned()),
        description: Some("d".to_owned()),
        parameters: serde_json::json!({"url": "a"}).as_object().unwrap().clone(),
        next_runs: (23..28).filter_map(|day| at(&format!("2026-11-{day}T14:00:00Z"))).collect(),
        dispatch_status: None,
        run_id: None,
        created_at: at("2026-11-22T22:46:07.198309Z"),
        modified_at: at("2026-11-22T22:46:07.201052Z"),
    };
    assert_eq!(found, expected);
}

#[test]
fn the_same_schedules_in_both_lists() {
    let (_script, client) = serve(include_str!("data/workflow_schedules.json"));
    let own = block_on(client.workflow_schedules(&WorkflowId::new("wpid_1").unwrap())).unwrap();
    let (_script, client) = serve(include_str!("data/schedules.json"));
    let mut all = block_on(client.server_schedules(&ScheduleFilter::default())).unwrap();
    let next: Vec<_> = all.iter().map(|schedule| schedule.next_runs.clone()).collect();
    let expected = ["2026-11-22T22:47:12Z", "2026-11-22T22:47:17Z", "2026-11-23T14:00:00Z"];
    assert_eq!(next[..3], expected.iter().map(|text| at(text).into_iter().collect()).collect::<Vec<Vec<_>>>());
    // The list of all has a workflow's newest first, and one instant of each.
    all.retain(|schedule| schedule.workflow_id == own[0].workflow_id);
    all.iter_mut().for_each(|schedule| schedule.next_runs.clear());
    all.reverse();
    assert_eq!(own, all);
    let first_fire_at = at("2026-11-22T22:47:12Z");
    assert_eq!(own[2].cadence, Some(ServerCadence::Interval { interval_seconds: 300, first_fire_at }));
    assert_eq!(own[1].cadence, Some(ServerCadence::Once { run_at: at("2026-11-22T22:47:17Z").unwrap() }));
    assert_eq!(own[1].dispatch_status, Some(DispatchStatus::Pending));
}

#[test]
fn runs_that_the_server_started_itself() {
    let (_script, client) = serve(include_str!("data/scheduled_rows.json"));
    let rows = block_on(client.list_workflow_runs(&WorkflowId::new("wpid_1").unwrap(), &RunFilter::default())).unwrap();
    for (row, instant) in rows.iter().zip(["2026-11-22T22:47:17Z", "2026-11-22T22:47:12Z"]) {
        assert_eq!(row.trigger_type.as_deref(), Some("scheduled"));
        let schedule = ServerScheduleId::new(row.server_schedule_id.as_deref().unwrap()).unwrap();
        assert_eq!(row.run_id, scheduled_run_id(&schedule, at(instant).unwrap()));
    }
    assert_eq!(rows.len(), 2);
}

/// A run's body with one field changed: what becomes of the report.
fn check(field: &str, value: Value, expected: &str) {
    let mut body: Value = serde_json::from_str(include_str!("data/run.json")).unwrap();
    body[field] = value;
    let (_script, client) = serve(&body.to_string());
    let report = block_on(client.get_run(&RunId::new("wr_1").unwrap(), Detail::Full));
    let found =
        report.map(|report| format!("{} {}", report.status, report.is_over())).unwrap_or_else(|error| error.message);
    assert_eq!(found, expected, "{field}");
}

#[test]
fn what_is_new_breaks_nothing() {
    use serde_json::json;
    check("a_new_field", json!({"deep": [1]}), "completed true");
    check("status", json!("hibernating"), "hibernating false");
    check("status", json!("paused"), "paused false");
    check("attempt", json!("second"), "completed true");
    check("screenshot_urls", json!({"no": "list"}), "completed true");
    check("created_at", json!(1_700_000_000), "completed true");
    check("finished_at", json!("yesterday"), "completed true");
    check("retry_pending", Value::Null, "completed true");
    check("output", json!("a text"), "completed true");
    check("status", Value::Null, "the server's answer names no run or no status");
    check("run_id", json!(5), "the server's answer names no run or no status");
}

#[test]
fn times_with_and_without_a_zone() {
    for (text, expected) in [
        ("2026-11-22T17:24:58.051170", at("2026-11-22T17:24:58.051170Z")),
        ("2026-11-22T17:24:58", at("2026-11-22T17:24:58Z")),
        ("2026-11-22T17:24:58.5Z", at("2026-11-22T17:24:58.5Z")),
        ("2026-11-22T12:24:58-05:00", at("2026-11-22T17:24:58Z")),
        ("2026-11-22", None),
        ("", None),
    ] {
        let mut body: Value = serde_json::from_str(include_str!("data/run.json")).unwrap();
        body["started_at"] = text.into();
        let (_script, client) = serve(&body.to_string());
        let report = block_on(client.get_run(&RunId::new("wr_1").unwrap(), Detail::Full)).unwrap();
        assert_eq!(report.started_at, expected, "{text}");
    }
}
