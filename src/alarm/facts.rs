//! What an alarm tells: one JSON object with the same names for every event, and a sentence for people.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::{
    clock::{rfc3339, rfc3339_millis},
    engine::{
        Reason, RunReport, Status,
        alarm::{AlarmEvent, FACTS},
    },
    ids::{Instance, OccurrenceKey, RunId, ScheduleId},
    schedule::Schedule,
};

/// The longest reason that is told, in bytes: receivers have limits too.
const REASON_BYTES_MAX: usize = 2000;

/// What is known of one alarm.
#[derive(Debug, Clone, Default)]
pub(super) struct About<'a> {
    pub schedule: Option<&'a Schedule>,
    pub key: Option<&'a OccurrenceKey>,
    pub status: Option<Status>,
    pub reason: Option<String>,
    pub run_id: Option<&'a RunId>,
    pub report: Option<&'a RunReport>,
    pub count: u32,
}

impl<'a> About<'a> {
    pub(super) fn schedule(schedule: &'a Schedule) -> Self {
        Self { schedule: Some(schedule), count: 1, ..Self::default() }
    }

    pub(super) fn reason(mut self, reason: Option<&Reason>) -> Self {
        self.reason = reason.map(ToString::to_string);
        self
    }
}

/// The object, every name in it.
pub(super) fn facts(
    id: &str,
    event: AlarmEvent,
    at: DateTime<Utc>,
    instance: &Instance,
    text: &str,
    about: &About<'_>,
) -> Map<String, Value> {
    let run_id = about.report.map(|report| &report.run_id).or(about.run_id).map(RunId::as_str);
    let id_of_schedule = about.key.map(|key| &key.schedule).or(about.schedule.map(|schedule| &schedule.id));
    let value = |name: &str| match name {
        "id" => json!(id),
        "event" => json!(event.word()),
        "at" => json!(rfc3339_millis(at)),
        "instance" => json!(instance.as_str()),
        "schedule" => json!(id_of_schedule.map(ScheduleId::as_str)),
        "name" => json!(about.schedule.and_then(|schedule| schedule.name.as_deref())),
        "workflow_id" => json!(about.schedule.map(|schedule| schedule.workflow_id.as_str())),
        "occurrence" => json!(about.key.map(ToString::to_string)),
        "scheduled_for" => json!(about.key.map(|key| rfc3339(key.scheduled_for))),
        "status" => json!(about.status.map(Status::word)),
        "reason" => json!(about.reason.as_deref().map(short)),
        "run_id" => json!(run_id),
        "app_url" => json!(about.report.and_then(|report| report.app_url.as_deref())),
        "count" => json!(about.count.max(1)),
        "text" => json!(text),
        _ => Value::Null,
    };
    FACTS.iter().map(|name| ((*name).to_owned(), value(name))).collect()
}

/// The sentence for people.
pub(super) fn sentence(event: AlarmEvent, about: &About<'_>, more: &str) -> String {
    let subject = match (about.schedule, about.key) {
        (Some(schedule), _) => schedule.id.to_string(),
        (None, Some(key)) => key.schedule.to_string(),
        (None, None) => "skycron".to_owned(),
    };
    let due = about.key.map_or_else(String::new, |key| format!(" (due {})", rfc3339(key.scheduled_for)));
    let why = about.reason.as_deref().map_or_else(String::new, |reason| format!(": {}", short(reason)));
    let said = match event {
        AlarmEvent::Started => "has started".to_owned(),
        AlarmEvent::Completed => "completed".to_owned(),
        AlarmEvent::Failed => about.status.map_or("failed", Status::word).to_owned(),
        AlarmEvent::Missed if about.count > 1 => format!("was not started {} times", about.count),
        AlarmEvent::Missed => "was not started in time".to_owned(),
        AlarmEvent::Refused => "was refused by the server".to_owned(),
        AlarmEvent::Unknown => "may or may not have run".to_owned(),
        AlarmEvent::Late => format!("has not started {more} after it was due"),
        AlarmEvent::FailuresInARow => format!("did not end well {more} times in a row"),
        AlarmEvent::NoSuccess => format!("has had no completed run for {more}"),
        AlarmEvent::Recovered => format!("is well again{more}"),
        AlarmEvent::FileRefused => "goes on with the old file: the new one is refused".to_owned(),
        AlarmEvent::KeyRefused => "cannot start anything: the API does not accept the key".to_owned(),
        AlarmEvent::HistoryStalled => "starts nothing: its history cannot be written".to_owned(),
        AlarmEvent::Summary => more.to_owned(),
        AlarmEvent::Test => "can reach this channel: this is a test".to_owned(),
    };
    format!("{subject} {said}{due}{why}")
}

fn short(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}
