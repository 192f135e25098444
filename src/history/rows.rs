//! What readers get: plain values, ready to be printed as a table or as JSON. Reading them from the database is `query`'s
//! work.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    clock::{rfc3339, rfc3339_millis},
    engine::{
        Status, Trigger,
        change::{AttemptOutcome, NoteKind, Pause},
    },
    ids::{OccurrenceKey, RunId, ScheduleId, WorkflowId},
    schedule::Definition,
};

/// One line of `skycron history`. Its JSON has exactly these names, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryRow {
    /// Its name.
    #[serde(serialize_with = "text")]
    pub occurrence: OccurrenceKey,
    /// The schedule.
    #[serde(serialize_with = "text")]
    pub schedule: ScheduleId,
    /// When it was due.
    #[serde(serialize_with = "second")]
    pub scheduled_for: DateTime<Utc>,
    /// What brought it about.
    #[serde(serialize_with = "text")]
    pub trigger: Trigger,
    /// Where it stands.
    #[serde(serialize_with = "text")]
    pub status: Status,
    /// `code: detail`.
    pub reason: Option<String>,
    /// How many attempts were made to start it.
    pub attempts: u32,
    /// Its run.
    #[serde(serialize_with = "optional_text")]
    pub run_id: Option<RunId>,
    /// When the latest attempt left; for a run that skycron did not start, when the server made it.
    #[serde(serialize_with = "optional_milli")]
    pub launched_at: Option<DateTime<Utc>>,
    /// When its run ended.
    #[serde(serialize_with = "optional_milli")]
    pub finished_at: Option<DateTime<Utc>>,
    /// The API's words for why the run failed.
    pub failure_reason: Option<String>,
    /// More than 1: this line stands for a stretch of occurrences. Not in the JSON of `history`; in that of `show`.
    #[serde(skip)]
    pub count: u32,
    /// The last of the stretch.
    #[serde(skip)]
    pub through: Option<DateTime<Utc>>,
}

/// Everything about one occurrence. Its JSON is that of [`HistoryRow`] with more fields.
#[derive(Debug, Clone, Serialize)]
pub struct OccurrenceDetail {
    /// Its line in the history.
    #[serde(flatten)]
    pub row: HistoryRow,
    /// How many occurrences it stands for.
    pub count: u32,
    /// The last of them, if more than one.
    #[serde(serialize_with = "optional_second")]
    pub through: Option<DateTime<Utc>>,
    /// The workflow.
    #[serde(serialize_with = "text")]
    pub workflow_id: WorkflowId,
    /// When it was decided what happens to it.
    #[serde(serialize_with = "milli")]
    pub decided_at: DateTime<Utc>,
    /// What a start by hand changed in the parameters.
    pub parameters: Option<Map<String, Value>>,
    /// The requests to start it, in their order.
    pub attempt_list: Vec<AttemptRow>,
    /// The API's latest word on its run.
    pub run: Option<RunRow>,
    /// Other starts for the same instant of the schedule (`#retry-2`, `#backfill-…`).
    #[serde(serialize_with = "texts")]
    pub related: Vec<OccurrenceKey>,
    /// What happened to the daemon between the instant at which it was due and its end.
    pub notes: Vec<NoteRow>,
}

/// One request to start a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttemptRow {
    /// From 1.
    pub number: u32,
    /// When it left.
    #[serde(serialize_with = "milli")]
    pub begun_at: DateTime<Utc>,
    /// When it was known what came of it.
    #[serde(serialize_with = "optional_milli")]
    pub ended_at: Option<DateTime<Utc>>,
    /// How its answer was sorted; `None`: not known (yet).
    #[serde(serialize_with = "optional_text")]
    pub outcome: Option<AttemptOutcome>,
    /// The HTTP status, where one came.
    pub http_status: Option<u16>,
    /// The server's answer or the failure, in one line.
    pub message: Option<String>,
    /// The run that it started.
    #[serde(serialize_with = "optional_text")]
    pub run_id: Option<RunId>,
}

/// The API's latest word on a run, under the API's names.
#[derive(Debug, Clone, Serialize)]
pub struct RunRow {
    /// The API's word.
    pub status: String,
    /// `workflow_run` for a workflow.
    pub run_type: Option<String>,
    /// The server will run it again under the same id.
    pub retry_pending: bool,
    /// Which of the server's own attempts this is.
    pub attempt: Option<u32>,
    /// When the server's next one begins.
    #[serde(serialize_with = "optional_milli")]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// At the server.
    #[serde(serialize_with = "optional_milli")]
    pub created_at: Option<DateTime<Utc>>,
    /// At the server.
    #[serde(serialize_with = "optional_milli")]
    pub modified_at: Option<DateTime<Utc>>,
    /// At the server.
    #[serde(serialize_with = "optional_milli")]
    pub queued_at: Option<DateTime<Utc>>,
    /// At the server.
    #[serde(serialize_with = "optional_milli")]
    pub started_at: Option<DateTime<Utc>>,
    /// At the server.
    #[serde(serialize_with = "optional_milli")]
    pub finished_at: Option<DateTime<Utc>>,
    /// The browser session that it used.
    pub browser_session_id: Option<String>,
    /// When skycron read this.
    #[serde(serialize_with = "milli")]
    pub reported_at: DateTime<Utc>,
    /// Something was longer than the limit and is kept in part, or not at all.
    pub truncated: bool,
    /// The run's page at Skyvern.
    pub app_url: Option<String>,
    /// Where its recording is.
    pub recording_url: Option<String>,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// Where its screenshots are.
    pub screenshot_urls: Vec<String>,
    /// As the server sent it; a JSON text where it was cut.
    pub errors: Option<Box<RawValue>>,
    /// As the server sent it; a JSON text where it was cut.
    pub downloaded_files: Option<Box<RawValue>>,
    /// As the server sent it; a JSON text where it was cut.
    pub output: Option<Box<RawValue>>,
}

/// Something that happened to the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoteRow {
    /// When.
    #[serde(serialize_with = "milli")]
    pub at: DateTime<Utc>,
    /// What kind.
    #[serde(serialize_with = "text")]
    pub kind: NoteKind,
    /// A sentence.
    pub text: String,
}

/// From when on a schedule was due by which definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionRow {
    /// From then on.
    pub at: DateTime<Utc>,
    /// What decided; `None`: it was gone from the file.
    pub definition: Option<Definition>,
    /// The workflow that was run.
    pub workflow_id: Option<WorkflowId>,
}

/// A schedule, as the history knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// The schedule.
    pub id: ScheduleId,
    /// Whether it is gone from the file.
    pub gone: bool,
    /// Accounted for up to and including this instant.
    pub accounted_through: DateTime<Utc>,
    /// The pause in force.
    pub pause: Option<Pause>,
}

fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn texts<S: Serializer>(values: &[impl Display], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

// The signature is serde's: it hands over a reference to the field.
#[expect(clippy::ref_option, reason = "serialize_with is called with &Option<T>")]
fn optional_text<S: Serializer>(value: &Option<impl Display>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn second<S: Serializer>(instant: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*instant))
}

fn milli<S: Serializer>(instant: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339_millis(*instant))
}

fn optional_second<S: Serializer>(instant: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    instant.map(rfc3339).serialize(serializer)
}

fn optional_milli<S: Serializer>(instant: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    instant.map(rfc3339_millis).serialize(serializer)
}
