//! The shapes of the JSON, as Skyvern sends it. Private to this folder.
//!
//! Tolerant of what is new: unknown fields are passed over, unknown words are kept, and a field of no importance that has
//! another type than today is taken for absent. Times without a zone are UTC.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    engine::{RunReport, RunStatus},
    ids::{RunId, WorkflowId},
};

/// A field that must not make the rest unreadable.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let raw = Option::<Box<RawValue>>::deserialize(deserializer)?;
    Ok(raw.and_then(|raw| serde_json::from_str(raw.get()).ok()))
}

/// A time, with or without a zone.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    Ok(lenient::<D, String>(deserializer)?.and_then(|text| read_time(&text)))
}

/// Reads `2026-11-22T17:24:58.051170`, with `Z`, an offset or nothing behind it.
fn read_time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.with_timezone(&Utc))
        .ok()
        .or_else(|| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|time| time.and_utc()))
}

/// A run: the union of what `/v1/runs/{id}` and the older `/workflows/runs/{id}` call it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Run {
    #[serde(deserialize_with = "lenient")]
    run_id: Option<String>,
    /// The older name of `run_id`.
    #[serde(deserialize_with = "lenient")]
    workflow_run_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    run_type: Option<String>,
    #[serde(deserialize_with = "lenient")]
    status: Option<String>,
    #[serde(deserialize_with = "lenient")]
    retry_pending: Option<bool>,
    #[serde(deserialize_with = "lenient")]
    attempt: Option<u32>,
    #[serde(deserialize_with = "time")]
    next_attempt_at: Option<DateTime<Utc>>,
    output: Option<Box<RawValue>>,
    /// The older name of `output`.
    outputs: Option<Box<RawValue>>,
    #[serde(deserialize_with = "lenient")]
    screenshot_urls: Option<Vec<String>>,
    #[serde(deserialize_with = "lenient")]
    recording_url: Option<String>,
    #[serde(deserialize_with = "lenient")]
    failure_reason: Option<String>,
    errors: Option<Box<RawValue>>,
    downloaded_files: Option<Box<RawValue>>,
    #[serde(deserialize_with = "lenient")]
    app_url: Option<String>,
    #[serde(deserialize_with = "time")]
    created_at: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "time")]
    modified_at: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "time")]
    queued_at: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "time")]
    started_at: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "time")]
    finished_at: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "lenient")]
    browser_session_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    run_request: Option<RunRequest>,
    /// The older place of the parameters.
    #[serde(deserialize_with = "lenient")]
    parameters: Option<Map<String, Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RunRequest {
    #[serde(deserialize_with = "lenient")]
    parameters: Option<Map<String, Value>>,
}

impl Run {
    /// The report; `None` without a usable id or a status.
    pub(super) fn into_report(self) -> Option<RunReport> {
        let run_id = RunId::new(&self.run_id.or(self.workflow_run_id)?).ok()?;
        let mut report = RunReport::bare(run_id, RunStatus::from_word(&self.status?));
        report.run_type = self.run_type;
        report.retry_pending = self.retry_pending.unwrap_or(false);
        report.attempt = self.attempt;
        report.next_attempt_at = self.next_attempt_at;
        report.output = text(self.output).or_else(|| text(self.outputs));
        report.screenshot_urls = self.screenshot_urls.unwrap_or_default();
        report.recording_url = self.recording_url;
        report.failure_reason = self.failure_reason;
        report.errors = text(self.errors).filter(|text| text != "[]");
        report.downloaded_files = text(self.downloaded_files).filter(|text| text != "[]");
        report.app_url = self.app_url;
        report.created_at = self.created_at;
        report.modified_at = self.modified_at;
        report.queued_at = self.queued_at;
        report.started_at = self.started_at;
        report.finished_at = self.finished_at;
        report.browser_session_id = self.browser_session_id;
        Some(report)
    }

    /// The parameters that the server took, with its defaults filled in and the undeclared ones left out.
    pub(super) fn into_parameters(self) -> Map<String, Value> {
        self.run_request.and_then(|request| request.parameters).or(self.parameters).unwrap_or_default()
    }
}

fn text(raw: Option<Box<RawValue>>) -> Option<String> {
    raw.map(|raw| String::from(Box::<str>::from(raw)))
}

/// One row of a workflow's runs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunRow {
    #[serde(deserialize_with = "lenient")]
    pub(super) workflow_run_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) status: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) retry_pending: Option<bool>,
    #[serde(deserialize_with = "lenient")]
    pub(super) trigger_type: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) workflow_schedule_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) failure_reason: Option<String>,
    #[serde(deserialize_with = "time")]
    pub(super) created_at: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "time")]
    pub(super) started_at: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "time")]
    pub(super) finished_at: Option<DateTime<Utc>>,
}

/// The tags of one run.
#[derive(Debug, Deserialize)]
pub(super) struct RunTags {
    pub(super) tags: Vec<Tag>,
}

/// One tag.
#[derive(Debug, Deserialize)]
pub(super) struct Tag {
    pub(super) key: String,
    /// A label has none.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) value: Option<String>,
}

/// A workflow, in lists and alone.
#[derive(Debug, Deserialize)]
pub(super) struct Workflow {
    pub(super) workflow_permanent_id: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) title: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) version: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) workflow_definition: Option<WorkflowDefinition>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) webhook_callback_url: Option<String>,
    #[serde(default, deserialize_with = "time")]
    pub(super) deleted_at: Option<DateTime<Utc>>,
}

impl Workflow {
    /// The id, where it is one.
    pub(super) fn id(&self) -> Option<WorkflowId> {
        WorkflowId::new(&self.workflow_permanent_id).ok()
    }
}

/// What a workflow does, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WorkflowDefinition {
    pub(super) parameters: Vec<Parameter>,
}

/// One parameter of a workflow.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Parameter {
    #[serde(deserialize_with = "lenient")]
    pub(super) key: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) parameter_type: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) workflow_parameter_type: Option<String>,
    pub(super) default_value: Option<Value>,
}

/// A browser session or profile.
#[derive(Debug, Deserialize)]
pub(super) struct Browser {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) status: Option<String>,
}

/// `GET /api/v1/version`.
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    pub(super) version: String,
}

/// `GET /api/v1/organizations`.
#[derive(Debug, Deserialize)]
pub(super) struct Organizations {
    pub(super) organizations: Vec<Organization>,
}

/// One organisation.
#[derive(Debug, Deserialize)]
pub(super) struct Organization {
    pub(super) organization_id: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) organization_name: Option<String>,
}
