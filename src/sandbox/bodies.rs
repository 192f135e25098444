//! The JSON that the look-alike sends: every field that a real server (1.0.56) sends, most of them null.

use std::{collections::BTreeMap, sync::LazyLock};

use chrono::{DateTime, Timelike, Utc};
use serde_json::{Map, Value, json};

use super::{
    life::View,
    schedule::{Schedule, ScheduleRecord},
    workflow::SandboxWorkflow,
    world::{Run, RunRecord},
};
use crate::{clock::rfc3339, skyvern::ServerCadence};

pub(super) const ORGANIZATION: &str = "o_100000000000000001";

/// A time as the real server writes it: UTC without saying so, and without a fraction where there is none.
fn time(at: DateTime<Utc>) -> Value {
    let micros = at.nanosecond() / 1000 % 1_000_000;
    at.format(if micros == 0 { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%dT%H:%M:%S%.6f" }).to_string().into()
}

fn time_or_null(at: Option<DateTime<Utc>>) -> Value {
    at.map_or(Value::Null, time)
}

/// A template with these fields replaced.
fn filled<const N: usize>(template: &Map<String, Value>, fields: [(&str, Value); N]) -> Map<String, Value> {
    let mut filled = template.clone();
    for (key, value) in fields {
        if let Some(place) = filled.get_mut(key) {
            *place = value;
        }
    }
    filled
}

fn template(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

static RUN: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    template(
        r#"{"run_id":null,"status":null,"output":null,"downloaded_files":null,"recording_url":null,
        "recording_archived":false,"screenshot_urls":null,"failure_reason":null,"created_at":null,"modified_at":null,
        "queued_at":null,"started_at":null,"finished_at":null,"app_url":null,"browser_session_id":null,
        "browser_profile_id":null,"max_screenshot_scrolls":null,"script_run":null,"errors":null,"step_count":null,
        "run_type":"workflow_run","attempt":1,"retry_pending":false,"next_attempt_at":null,"attempts":[],
        "run_with":"agent","ai_fallback":null,"script_id":null,"browser_seed_source":"fresh",
        "browser_settings_receipt":null,"run_request":null}"#,
    )
});

static RUN_REQUEST: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    template(
        r#"{"workflow_id":null,"parameters":null,"title":null,"proxy_location":"RESIDENTIAL","webhook_url":null,
        "totp_url":null,"totp_identifier":null,"browser_session_id":null,"reuse_browser_session":null,
        "browser_profile_id":null,"start_fresh_browser":false,"max_screenshot_scrolls":null,
        "max_elapsed_time_minutes":null,"extra_http_headers":null,"cdp_connect_headers":null,"browser_address":null,
        "ai_fallback":null,"run_with":null,"browser_type":null,"run_metadata":null,"file_ids":null}"#,
    )
});

static OLDER_RUN: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    template(
        r#"{"workflow_id":null,"workflow_run_id":null,"status":null,"attempt":1,"retry_pending":false,
        "next_attempt_at":null,"attempts":[],"failure_reason":null,"failure_category":null,
        "retried_from_workflow_run_id":null,"retried_by_workflow_run_id":null,"proxy_location":null,
        "webhook_callback_url":null,"webhook_failure_reason":null,"totp_verification_url":null,"totp_identifier":null,
        "extra_http_headers":null,"cdp_connect_headers":null,"queued_at":null,"started_at":null,"finished_at":null,
        "created_at":null,"modified_at":null,"parameters":null,"screenshot_urls":null,"recording_url":null,
        "recording_urls":null,"recording_archived":false,"downloaded_files":[],"downloaded_file_urls":null,
        "outputs":null,"total_steps":null,"total_cost":null,"credits_used":0,"cached_credits_used":0,"task_v2":null,
        "workflow_title":null,"browser_session_id":null,"browser_profile_id":null,"browser_seed_source":"fresh",
        "browser_sink_profile_id":null,"max_screenshot_scrolls":null,"browser_address":null,"run_with":"agent",
        "browser_type":null,"script_run":null,"script_id":null,"errors":[],"agent_id":null,"agent_run_id":null}"#,
    )
});

static ROW: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    template(
        r#"{"workflow_run_id":null,"workflow_id":null,"workflow_permanent_id":null,"organization_id":null,
        "browser_session_id":null,"browser_profile_id":null,"browser_seed_source":"fresh",
        "browser_sink_profile_id":null,"start_fresh_browser":false,"reuse_browser_session":null,
        "debug_session_id":null,"status":null,"attempt":1,"retry_pending":false,"next_attempt_at":null,"attempts":[],
        "extra_http_headers":null,"cdp_connect_headers":null,"proxy_location":null,"webhook_callback_url":null,
        "webhook_failure_reason":null,"totp_verification_url":null,"totp_identifier":null,"failure_reason":null,
        "failure_category":null,"retried_from_workflow_run_id":null,"fallback_attempt":null,
        "parent_workflow_run_id":null,"workflow_title":null,"max_screenshot_scrolls":null,
        "max_elapsed_time_minutes":null,"browser_address":null,"run_with":"agent","browser_type":null,
        "browser_settings":null,"browser_settings_receipt":null,"script_run":null,"job_id":null,
        "depends_on_workflow_run_id":null,"sequential_key":null,"sequential_credential_id":null,"ai_fallback":null,
        "code_gen":null,"trigger_type":"api","workflow_schedule_id":null,
        "ignore_inherited_workflow_system_prompt":false,"copilot_session_id":null,"created_by":null,"credits_used":0,
        "cached_credits_used":0,"queued_at":null,"started_at":null,"finished_at":null,"created_at":null,
        "modified_at":null}"#,
    )
});

fn failure_reason(view: &View) -> Value {
    match view.status.word() {
        "failed" => "the sandbox was told to let this run fail".into(),
        "terminated" => "the sandbox was told to terminate this run".into(),
        "timed_out" => "the sandbox was told to let this run exceed its time".into(),
        _ => Value::Null,
    }
}

/// The output of a completed run: the parameters that it got, so that a reader sees them arrive.
fn output(run: &Run, view: &View) -> Value {
    if view.status.word() != "completed" {
        return Value::Null;
    }
    let mut output = json!({
        "sandbox_output": {"workflow": run.title, "parameters": run.parameters},
        "extracted_information": [],
    });
    if run.life.output_bytes() > 0 {
        output["padding"] = "x".repeat(run.life.output_bytes()).into();
    }
    output
}

/// The values of an output as the server's web page gets them: large texts cut short.
fn capped(mut value: Value) -> Value {
    const CHARS_MAX: usize = 1000;
    match &mut value {
        Value::String(text) if text.len() > CHARS_MAX => {
            format!("{}… [truncated]", text.chars().take(CHARS_MAX).collect::<String>()).into()
        }
        Value::Object(fields) => std::mem::take(fields).into_iter().map(|(key, value)| (key, capped(value))).collect(),
        _ => value,
    }
}

fn attempts(view: &View) -> Value {
    json!([{
        "attempt_number": view.attempt,
        "status": view.status.word(),
        "failure_reason": failure_reason(view),
        "error_codes": [],
        "started_at": time_or_null(view.started_at),
        "finished_at": time_or_null(view.finished_at),
        "retry_decision": null,
        "decision_reason": null,
        "next_attempt_at": time_or_null(view.next_attempt_at),
        "webhook_sent_at": null,
    }])
}

fn status_of(view: &View) -> Value {
    view.status.word().into()
}

/// `GET /v1/runs/{id}`.
pub(super) fn run(run: &Run, view: &View, as_ui: bool) -> Value {
    let output = output(run, view);
    let mut request = run_request(run);
    request.insert("parameters".to_owned(), Value::Object(run.parameters.clone()));
    request.insert("run_metadata".to_owned(), Value::Null);
    let fields = [
        ("run_id", run.id.as_str().into()),
        ("status", status_of(view)),
        ("output", if as_ui { capped(output) } else { output }),
        ("downloaded_files", json!([])),
        ("failure_reason", failure_reason(view)),
        ("created_at", time(run.life.created_at)),
        ("modified_at", time(view.modified_at)),
        ("queued_at", time_or_null(view.queued_at)),
        ("started_at", time_or_null(view.started_at)),
        ("finished_at", time_or_null(view.finished_at)),
        ("app_url", format!("http://localhost:8080/runs/{}", run.id).into()),
        ("errors", json!([])),
        ("step_count", 0.into()),
        ("attempt", view.attempt.into()),
        ("retry_pending", view.retry_pending.into()),
        ("next_attempt_at", time_or_null(view.next_attempt_at)),
        ("attempts", attempts(view)),
        ("run_request", Value::Object(request)),
    ];
    Value::Object(filled(&RUN, fields))
}

/// The answer to a start: the request comes back as it was read.
pub(super) fn started(run: &Run) -> Value {
    let created_at = time(run.life.created_at);
    let fields = [
        ("run_id", run.id.as_str().into()),
        ("status", "created".into()),
        ("created_at", created_at.clone()),
        ("modified_at", created_at),
        ("app_url", format!("http://localhost:8080/runs/{}", run.id).into()),
        ("run_request", Value::Object(run_request(run))),
    ];
    Value::Object(filled(&RUN, fields))
}

fn run_request(run: &Run) -> Map<String, Value> {
    let mut request = RUN_REQUEST.clone();
    for (key, place) in &mut request {
        if let Some(value) = run.request.get(key) {
            *place = value.clone();
        }
    }
    // The title of the request is ignored.
    request.insert("title".to_owned(), run.title.as_str().into());
    request.insert("workflow_id".to_owned(), run.workflow_id.as_str().into());
    request
}

/// `GET /api/v1/workflows/runs/{id}`.
pub(super) fn older_run(run: &Run, view: &View) -> Value {
    let fields = [
        ("workflow_id", run.workflow_id.as_str().into()),
        ("workflow_run_id", run.id.as_str().into()),
        ("status", status_of(view)),
        ("attempt", view.attempt.into()),
        ("retry_pending", view.retry_pending.into()),
        ("next_attempt_at", time_or_null(view.next_attempt_at)),
        ("attempts", attempts(view)),
        ("failure_reason", failure_reason(view)),
        ("queued_at", time_or_null(view.queued_at)),
        ("started_at", time_or_null(view.started_at)),
        ("finished_at", time_or_null(view.finished_at)),
        ("created_at", time(run.life.created_at)),
        ("modified_at", time(view.modified_at)),
        ("parameters", Value::Object(run.parameters.clone())),
        ("outputs", output(run, view)),
        ("workflow_title", run.title.as_str().into()),
        ("agent_id", run.workflow_id.as_str().into()),
        ("agent_run_id", run.id.as_str().into()),
    ];
    Value::Object(filled(&OLDER_RUN, fields))
}

/// A row of a workflow's runs.
pub(super) fn row(run: &Run, view: &View) -> Value {
    let fields = [
        ("workflow_run_id", run.id.as_str().into()),
        ("workflow_id", version_id(run.workflow_id.as_str()).into()),
        ("workflow_permanent_id", run.workflow_id.as_str().into()),
        ("organization_id", ORGANIZATION.into()),
        ("status", status_of(view)),
        ("attempt", view.attempt.into()),
        ("retry_pending", view.retry_pending.into()),
        ("next_attempt_at", time_or_null(view.next_attempt_at)),
        ("failure_reason", failure_reason(view)),
        ("workflow_title", run.title.as_str().into()),
        ("trigger_type", run.trigger_type.into()),
        ("workflow_schedule_id", run.schedule_id.as_ref().map(crate::ids::ServerScheduleId::as_str).into()),
        ("queued_at", time_or_null(view.queued_at)),
        ("started_at", time_or_null(view.started_at)),
        ("finished_at", time_or_null(view.finished_at)),
        ("created_at", time(run.life.created_at)),
        ("modified_at", time(view.modified_at)),
    ];
    Value::Object(filled(&ROW, fields))
}

/// A row of `GET /v1/runs`.
pub(super) fn task_row(run: &Run, view: &View, workflow_deleted: bool) -> Value {
    json!({
        "task_run_id": format!("tr_{}", run.id.trim_start_matches("wr_")),
        "run_id": run.id,
        "task_run_type": "workflow_run",
        "status": view.status.word(),
        "title": run.title,
        "started_at": time_or_null(view.started_at),
        "finished_at": time_or_null(view.finished_at),
        "created_at": time(run.life.created_at),
        "workflow_permanent_id": run.workflow_id.as_str(),
        "workflow_deleted": workflow_deleted,
        "script_run": false,
        "trigger_type": run.trigger_type,
        "created_by": null,
        "attempt": view.attempt,
        "retry_pending": view.retry_pending,
        "next_attempt_at": time_or_null(view.next_attempt_at),
    })
}

/// `GET /v1/runs/{id}/tags`.
pub(super) fn tags(run: &Run, tags: Option<&BTreeMap<String, String>>) -> Value {
    let set_at = time(run.life.created_at);
    let manual = tags.into_iter().flatten().map(|(key, value)| {
        json!({"key": key, "value": value, "source": "manual", "set_at": set_at, "set_by": ORGANIZATION})
    });
    let trigger = json!({
        "key": "skyvern.trigger", "value": run.trigger_type, "source": "system", "set_at": set_at,
        "set_by": "system:creation-tagging",
    });
    json!({"workflow_run_id": run.id, "tags": manual.chain([trigger]).collect::<Vec<_>>()})
}

/// The id of a workflow's only version.
fn version_id(workflow: &str) -> String {
    format!("w_{}", workflow.trim_start_matches("wpid_"))
}

/// `GET /api/v1/workflows/{id}`, and an element of the list.
pub(super) fn workflow(workflow: &SandboxWorkflow) -> Value {
    let id = workflow.id.as_str();
    let parameters: Vec<Value> = workflow
        .parameters
        .iter()
        .flatten()
        .map(|parameter| {
            json!({
                "parameter_type": "workflow",
                "key": parameter.key,
                "description": null,
                "workflow_parameter_id": format!("wp_{}", parameter.key),
                "workflow_parameter_type": parameter.kind,
                "workflow_id": version_id(id),
                "default_value": parameter.default,
                "deleted_at": null,
            })
        })
        .collect();
    json!({
        "workflow_id": version_id(id),
        "organization_id": ORGANIZATION,
        "title": workflow.title,
        "workflow_permanent_id": id,
        "version": 1,
        "is_saved_task": false,
        "is_template": false,
        "description": null,
        "workflow_definition": {"version": 1, "parameters": parameters, "blocks": [], "retry_policy": null},
        "proxy_location": null,
        "webhook_callback_url": workflow.webhook_callback_url,
        "status": "published",
        "run_sequentially": false,
        "deleted_at": null,
        "agent_id": id,
    })
}

/// `GET /api/v1/organizations`.
pub(super) fn organizations() -> Value {
    json!({"organizations": [{"organization_id": ORGANIZATION, "organization_name": "Sandbox", "slug": "sandbox"}]})
}

/// What the two forms of a schedule have in common. Here instants say that they are UTC, but for the last two.
fn schedule_fields(schedule: &Schedule) -> Value {
    let (mut cron, mut interval, mut first, mut run_at) = (Value::Null, Value::Null, Value::Null, Value::Null);
    match &schedule.cadence {
        ServerCadence::Cron(text) => cron = text.as_str().into(),
        ServerCadence::Interval { interval_seconds, first_fire_at } => {
            interval = (*interval_seconds).into();
            first = first_fire_at.map(rfc3339).into();
        }
        ServerCadence::Once { run_at: at } => run_at = rfc3339(*at).into(),
    }
    json!({
        "workflow_schedule_id": schedule.id.as_str(),
        "organization_id": ORGANIZATION,
        "workflow_permanent_id": schedule.workflow_id.as_str(),
        "cron_expression": cron,
        "interval_seconds": interval,
        "first_fire_at": first,
        "run_at": run_at,
        "dispatch_status": schedule.dispatch_status.map(crate::skyvern::DispatchStatus::word),
        "workflow_run_id": schedule.run_id.as_ref().map(crate::ids::RunId::as_str),
        "timezone": schedule.timezone,
        "enabled": schedule.enabled,
        "parameters": if schedule.parameters.is_empty() { Value::Null } else { schedule.parameters.clone().into() },
        "name": schedule.name,
        "description": schedule.description,
        "created_at": time(schedule.created_at),
        "modified_at": time(schedule.modified_at),
    })
}

/// An element of a workflow's schedules.
pub(super) fn schedule(schedule: &Schedule) -> Value {
    let mut fields = schedule_fields(schedule);
    fields["temporal_schedule_id"] = format!("local-wf-sched-{}", schedule.id).into();
    fields["deleted_at"] = Value::Null;
    fields
}

/// One schedule, with the preview.
pub(super) fn one_schedule(one: &Schedule, now: DateTime<Utc>) -> Value {
    let next_runs: Vec<String> = one.next_runs(now).into_iter().map(rfc3339).collect();
    json!({"schedule": schedule(one), "next_runs": next_runs})
}

/// An element of `GET /api/v1/schedules`.
pub(super) fn schedule_item(schedule: &Schedule, workflow_title: &str, now: DateTime<Utc>) -> Value {
    let mut fields = schedule_fields(schedule);
    fields["workflow_title"] = workflow_title.into();
    fields["next_run"] = schedule.next_run(now).map(rfc3339).into();
    fields
}

/// An element of `GET /sandbox/schedules`.
pub(super) fn schedule_record(record: &ScheduleRecord) -> Value {
    json!({
        "id": record.id,
        "workflow_id": record.workflow_id,
        "enabled": record.enabled,
        "name": record.name,
        "description": record.description,
        "modified_at": precise(record.modified_at),
    })
}

/// An element of `GET /sandbox/runs`.
pub(super) fn record(record: &RunRecord) -> Value {
    json!({
        "number": record.number,
        "run_id": record.run_id,
        "workflow_id": record.workflow_id,
        "received_at": precise(record.received_at),
        "created_at": precise(record.created_at),
        "status": record.status.word(),
        "parameters": record.parameters,
        "run_metadata": record.run_metadata,
        "half_made": record.half_made,
        "trigger_type": record.trigger_type,
        "server_schedule_id": record.server_schedule_id,
        "request": record.request,
    })
}

/// Microseconds, for measuring how late a POST was.
fn precise(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// `GET /sandbox/status`.
pub(super) fn status(runs_made: u64, starts_received: u64, changes_received: u64, now: DateTime<Utc>) -> Value {
    json!({
        "runs_made": runs_made,
        "starts_received": starts_received,
        "changes_received": changes_received,
        "now": rfc3339(now),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_json() {
        for (template, fields) in [(&RUN, 31), (&RUN_REQUEST, 21), (&OLDER_RUN, 50), (&ROW, 55)] {
            assert_eq!(template.len(), fields, "{template:?}");
        }
    }

    #[test]
    fn times_are_without_a_zone() {
        let at = DateTime::from_timestamp_micros(1_800_000_000_051_170).unwrap();
        assert_eq!(time(at), "2027-01-15T08:00:00.051170");
        assert_eq!(time(at.with_nanosecond(0).unwrap()), "2027-01-15T08:00:00");
    }
}
