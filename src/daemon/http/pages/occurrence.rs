//! The page of one occurrence: why it is as it is, the attempts to start it, its run in Skyvern's words.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{json, value::RawValue};

use super::{Frame, Note, find, render};
use crate::{
    clock::length,
    daemon::http::{
        status::Status,
        trouble::Trouble,
        views::{LONG_CHARS_MAX, Moment, Row, cut, href, link, local},
    },
    engine::change::AttemptOutcome,
    history::{AttemptRow, OccurrenceDetail},
    ids::{OccurrenceKey, RunId},
};

/// Links to screenshots that are shown.
const SCREENSHOTS_MAX: usize = 50;

#[derive(Debug, Serialize)]
struct Attempt {
    number: u32,
    begun: Moment,
    took: Option<String>,
    outcome: &'static str,
    good: bool,
    http_status: Option<u16>,
    message: Option<String>,
}

#[derive(Debug, Serialize)]
struct Run {
    status: String,
    reported: Moment,
    retry_pending: bool,
    truncated: bool,
    app_url: Option<String>,
    recording_url: Option<String>,
    screenshots: Vec<String>,
    screenshots_more: usize,
    times: Vec<(&'static str, Moment)>,
    failure_reason: Option<String>,
    texts: Vec<(&'static str, String)>,
}

/// The page of one occurrence, by its key or by its run's id.
pub(in crate::daemon::http) async fn occurrence(
    status: &Arc<Status>,
    name: &str,
    depth: usize,
) -> Result<String, Trouble> {
    let absent = || Trouble::Absent(format!("occurrence {:?}", cut(name, 200)));
    let key = name.parse::<OccurrenceKey>().ok();
    let run_id = if key.is_none() { Some(RunId::new(name).map_err(|_| absent())?) } else { None };
    let missing = absent();
    status
        .apart(move |status| {
            let now = status.now();
            let reader = status.reader()?;
            let found = match (&key, &run_id) {
                (Some(key), _) => reader.occurrence(key)?,
                (None, Some(run_id)) => reader.run(run_id)?,
                (None, None) => None,
            };
            let detail = found.ok_or(missing)?;
            let frame = Frame::new(status, &detail.row.occurrence.to_string(), depth, now);
            let attempts: Vec<Attempt> =
                detail.attempt_list.iter().map(|attempt| self::attempt(attempt, now)).collect();
            let related: Vec<(String, String)> =
                detail.related.iter().map(|key| (key.to_string(), href(key))).collect();
            let notes: Vec<Note> = detail.notes.iter().map(|note| Note::new(note, now)).collect();
            render(
                "occurrence.html",
                &json!({
                "frame": frame,
                "row": Row::new(&detail.row, now),
                "attempts": attempts,
                "related": related,
                "notes": notes,
                "reason": detail.row.reason.as_deref().map(|text| cut(text, LONG_CHARS_MAX)),
                "workflow": detail.workflow_id.to_string(),
                "decided": Moment::new(detail.decided_at, now),
                "launched": detail.row.launched_at.map(|at| Moment::new(at, now)),
                "finished": detail.row.finished_at.map(|at| Moment::new(at, now)),
                "through": detail.through.map(|at| Moment::new(at, now)),
                "count": detail.count,
                "local": find(&status.in_force(), &detail.row.schedule)
                                        .and_then(|schedule| local(schedule, detail.row.scheduled_for)),
                "parameters": detail.parameters.as_ref().and_then(|map| serde_json::to_string_pretty(map).ok())
                                        .map(|text| cut(&text, LONG_CHARS_MAX)),
                "run": run(&detail, now),
                }),
            )
        })
        .await
}

fn attempt(attempt: &AttemptRow, now: DateTime<Utc>) -> Attempt {
    Attempt {
        number: attempt.number,
        begun: Moment::new(attempt.begun_at, now),
        took: attempt.ended_at.map(|at| length(at - attempt.begun_at)),
        outcome: attempt.outcome.map_or("no answer is known", AttemptOutcome::word),
        good: attempt.outcome == Some(AttemptOutcome::Started),
        http_status: attempt.http_status,
        message: attempt.message.as_deref().map(|text| cut(text, LONG_CHARS_MAX)),
    }
}

fn run(detail: &OccurrenceDetail, now: DateTime<Utc>) -> Option<Run> {
    let run = detail.run.as_ref()?;
    let times = [
        ("created", run.created_at),
        ("queued", run.queued_at),
        ("started", run.started_at),
        ("finished", run.finished_at),
    ];
    let json = |name, raw: &Option<Box<RawValue>>| {
        let text = raw.as_deref().map(RawValue::get)?;
        (!matches!(text, "null" | "[]" | "{}")).then(|| (name, cut(&pretty(text), LONG_CHARS_MAX)))
    };
    let screenshots: Vec<String> = run.screenshot_urls.iter().filter_map(|url| link(Some(url))).collect();
    Some(Run {
        status: cut(&run.status, 100),
        reported: Moment::new(run.reported_at, now),
        retry_pending: run.retry_pending,
        truncated: run.truncated,
        app_url: link(run.app_url.as_deref()),
        recording_url: link(run.recording_url.as_deref()),
        screenshots_more: screenshots.len().saturating_sub(SCREENSHOTS_MAX),
        screenshots: screenshots.into_iter().take(SCREENSHOTS_MAX).collect(),
        times: times.into_iter().filter_map(|(name, at)| Some((name, Moment::new(at?, now)))).collect(),
        failure_reason: run.failure_reason.as_deref().map(|text| cut(text, LONG_CHARS_MAX)),
        texts: [json("output", &run.output), json("errors", &run.errors), json("files", &run.downloaded_files)]
            .into_iter()
            .flatten()
            .collect(),
    })
}

/// JSON with its lines, if it is not so long that this would take a while; a JSON text as the text.
fn pretty(text: &str) -> String {
    if text.len() > 4 * LONG_CHARS_MAX {
        return text.to_owned();
    }
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(value) => serde_json::to_string_pretty(&value).unwrap_or_else(|_| text.to_owned()),
        Err(_) => text.to_owned(),
    }
}
