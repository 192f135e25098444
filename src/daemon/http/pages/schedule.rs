//! The page of one schedule: when it is due, its last weeks, its history page by page.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Frame, day_labels, find, pieces, render, word};
use crate::{
    clock::rfc3339,
    daemon::http::{
        status::Status,
        strip::strip,
        trouble::Trouble,
        views::{Moment, Row, cadence, cut, in_address, instant, local, short},
    },
    engine::{OverviewOf, ScheduleState},
    history::{HistoryFilter, HistoryRow, Reader},
    ids::ScheduleId,
    schedule::Schedule,
};

/// Occurrences on one page.
const ROWS_MAX: u32 = 50;
/// The strip: four weeks in pieces of six hours.
const MONTH: (u32, u32) = (6 * 3600, 112);

/// What a schedule's page can be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::daemon::http) struct PageOf {
    /// Occurrences up to this instant.
    until: Option<String>,
}

/// The page of one schedule.
pub(in crate::daemon::http) async fn schedule(
    status: &Arc<Status>,
    id: &str,
    asked: PageOf,
) -> Result<String, Trouble> {
    let absent = || Trouble::Absent(format!("schedule {:?}", cut(id, 100)));
    let id = ScheduleId::new(id).map_err(|_| absent())?;
    let until = match asked.until.as_deref() {
        None => None,
        Some(text) => Some(instant(text).ok_or_else(|| Trouble::Asked(format!("{:?} is no instant", cut(text, 100))))?),
    };
    let in_force = status.in_force();
    let of = OverviewOf { schedules: vec![id.clone()], ..OverviewOf::default() };
    let sight = status.sight(of).await.ok();
    status
        .apart(move |status| {
            let now = status.now();
            let reader = status.reader()?;
            let known = find(&in_force, &id).cloned();
            let definition = reader.definitions(&id)?.into_iter().next_back();
            if known.is_none() && definition.is_none() {
                return Err(Trouble::Absent(format!("schedule {id}")));
            }
            let (rows, older) = page_of_rows(&reader, &id, until)?;
            let pieces = pieces(MONTH, now);
            let cells = reader.strips(std::slice::from_ref(&id), &pieces)?;
            let state = sight.as_ref().and_then(|sight| sight.overview.asked.first());
            let facts = known.as_deref().map(|schedule| facts(schedule, state, now));
            let frame = Frame::new(status, id.as_str(), 1, now);
            let rows: Vec<Row> = rows.iter().map(|row| Row::new(row, now)).collect();
            render(
                "schedule.html",
                &json!({
                "frame": frame,
                "id": id.to_string(),
                "facts": facts,
                "rows": rows,
                "bars": strip(&id, &cells, &pieces),
                "days": day_labels(&pieces, now),
                "older": older.map(in_address),
                "newest": until.is_none(),
                }),
            )
        })
        .await
}

/// One page of rows, and where the next one begins.
fn page_of_rows(
    reader: &Reader,
    id: &ScheduleId,
    until: Option<DateTime<Utc>>,
) -> Result<(Vec<HistoryRow>, Option<DateTime<Utc>>), Trouble> {
    let filter = HistoryFilter { schedules: vec![id.clone()], until, limit: ROWS_MAX + 1, ..HistoryFilter::default() };
    let mut rows = reader.history(&filter)?;
    let older = if rows.len() > ROWS_MAX as usize { rows.pop().map(|row| row.scheduled_for) } else { None };
    // A page of one instant alone (many starts by hand in one second) must not lead to itself.
    let older = older.map(|at| if Some(at) == until { at - TimeDelta::seconds(1) } else { at });
    Ok((rows, older))
}

#[derive(Debug, Serialize)]
struct Facts {
    name: Option<String>,
    description: Option<String>,
    workflow: String,
    cadence: String,
    zone: String,
    /// When it is due, in words; there are not for all.
    words: Option<String>,
    state: Option<&'static str>,
    pause: Option<String>,
    next: Vec<(Moment, Option<String>)>,
    policies: Vec<(&'static str, String)>,
}

fn facts(schedule: &Schedule, state: Option<&ScheduleState>, now: DateTime<Utc>) -> Facts {
    /// Instants to come that are shown.
    const NEXT_MAX: usize = 5;
    let first = state.and_then(|state| state.next).filter(|_| schedule.enabled);
    let next = std::iter::successors(first, |at| schedule.timetable.next_after(*at)).take(NEXT_MAX);
    let pause = state.and_then(|state| state.pause.as_ref()).map(|pause| {
        let until = pause.until.map_or_else(|| "until it is resumed".to_owned(), |at| format!("until {}", rfc3339(at)));
        let note = pause.note.as_deref().map_or_else(String::new, |note| format!(": {}", short(note)));
        format!("since {} {until}{note}", rfc3339(pause.since))
    });
    let policies = &schedule.policies;
    Facts {
        name: schedule.name.as_deref().map(short),
        description: schedule.description.as_deref().map(|text| cut(text, 2000)),
        workflow: schedule.workflow_id.to_string(),
        cadence: short(&cadence(schedule)),
        zone: schedule.timetable.zone().name().to_owned(),
        words: schedule.timetable.in_words(),
        state: word(schedule, state),
        pause,
        next: next.map(|at| (Moment::new(at, now), local(schedule, at))).collect(),
        policies: vec![
            ("overlap", policies.overlap.to_string()),
            ("catch up", policies.catch_up.to_string()),
            ("fires", policies.fires.to_string()),
        ],
    }
}
