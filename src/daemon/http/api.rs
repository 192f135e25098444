//! `/api/…`: what the page shows, as JSON for programs. Instants are RFC 3339 in UTC with `Z`, lists are bounded, and where there
//! is more, `next` is what to ask for.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    health::Check,
    status::Status,
    trouble::Trouble,
    views::{cadence, instant},
};
use crate::{
    clock::{rfc3339, rfc3339_millis},
    engine::{OverviewOf, STAGES, ScheduleState, Status as Occurrence},
    history::HistoryFilter,
    ids::{OccurrenceKey, RunId, ScheduleId},
    schedule::Schedule,
};

/// Lines of a list, at most and if nothing is said.
const LIMIT_MAX: u32 = 500;
const LIMIT: u32 = 50;
/// Lines of the lists within the status.
const SHORT_LIST_MAX: usize = 50;

/// `/api/status`: how it is now.
pub(super) async fn status(status: &Arc<Status>) -> Result<Value, Trouble> {
    let of = OverviewOf { upcoming_max: SHORT_LIST_MAX, open_max: SHORT_LIST_MAX, schedules: Vec::new() };
    let sight = status.sight(of).await?;
    let checks = status.checks(Some(&sight)).await;
    status
        .apart(move |status| {
            let overview = &sight.overview;
            let in_force = status.in_force();
            let failing = status.reader()?.unrecovered(u32::try_from(SHORT_LIST_MAX).unwrap_or(LIMIT))?;
            let upcoming = overview.upcoming.iter().map(|next| {
                json!({ "schedule": next.schedule.as_str(), "scheduled_for": rfc3339(next.scheduled_for), "fire_at": rfc3339_millis(next.fire_at) })
            });
            let open = overview.open.iter().map(|open| {
                let run_id = open.run_id.as_ref().map(RunId::as_str);
                json!({ "occurrence": open.key.to_string(), "stage": open.stage, "run_id": run_id })
            });
            Ok(json!({
                "version": env!("CARGO_PKG_VERSION"),
                "instance": status.sources.instance.as_str(),
                "now": rfc3339_millis(status.now()),
                "started_at": rfc3339_millis(status.started_at),
                "ready": checks.iter().all(|check| check.ok),
                "checks": checks.iter().map(check).collect::<Vec<_>>(),
                "schedules": in_force.schedules.len(),
                "overdue": overview.overdue,
                "zone_rules": in_force.zones.release(),
                "stages": STAGES.iter().zip(overview.stages).map(|(stage, count)| ((*stage).to_owned(), count.into())).collect::<serde_json::Map<_, _>>(),
                "open": open.collect::<Vec<_>>(),
                "upcoming": upcoming.collect::<Vec<_>>(),
                "failing": failing,
            }))
        })
        .await
}

fn check(check: &Check) -> Value {
    json!({ "check": check.what.word(), "ok": check.ok, "detail": check.detail })
}

/// What a list can be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Schedules {
    from: usize,
    limit: Option<u32>,
}

/// `/api/schedules`: the file's schedules, in its order.
pub(super) async fn schedules(status: &Arc<Status>, asked: Schedules) -> Result<Value, Trouble> {
    let in_force = status.in_force();
    let limit = asked.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX) as usize;
    let shown: Vec<Arc<Schedule>> = in_force.schedules.iter().skip(asked.from).take(limit).cloned().collect();
    let ids = shown.iter().map(|schedule| schedule.id.clone()).collect();
    let sight = status.sight(OverviewOf { schedules: ids, ..OverviewOf::default() }).await?;
    let lines: Vec<Value> = shown
        .iter()
        .map(|schedule| {
            schedule_line(schedule, sight.overview.asked.iter().find(|state| state.schedule == schedule.id))
        })
        .collect();
    let to = asked.from.saturating_add(lines.len());
    let next = (to < in_force.schedules.len()).then_some(to);
    Ok(json!({ "schedules": lines, "total": in_force.schedules.len(), "next": next }))
}

fn schedule_line(schedule: &Schedule, state: Option<&ScheduleState>) -> Value {
    let pause = state.and_then(|state| state.pause.as_ref()).map(
        |pause| json!({ "since": rfc3339_millis(pause.since), "until": pause.until.map(rfc3339), "note": pause.note }),
    );
    json!({
        "schedule": schedule.id.as_str(),
        "name": schedule.name,
        "workflow_id": schedule.workflow_id.as_str(),
        "cadence": cadence(schedule),
        "timezone": schedule.timetable.zone().name(),
        "words": schedule.timetable.in_words(),
        "enabled": schedule.enabled,
        "next": state.and_then(|state| state.next).map(rfc3339),
        "pause": pause,
    })
}

/// `/api/schedules/{id}`: one of them.
pub(super) async fn schedule(status: &Arc<Status>, id: &str) -> Result<Value, Trouble> {
    let absent = || Trouble::Absent("schedule of this id".to_owned());
    let id = ScheduleId::new(id).map_err(|_| absent())?;
    let in_force = status.in_force();
    let schedule = in_force.schedules.iter().find(|schedule| schedule.id == id).ok_or_else(absent)?;
    let sight = status.sight(OverviewOf { schedules: vec![id], ..OverviewOf::default() }).await?;
    Ok(schedule_line(schedule, sight.overview.asked.first()))
}

/// What the history can be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct History {
    schedule: Option<String>,
    status: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<u32>,
}

/// `/api/history`: the lines of `skycron history`, newest first.
pub(super) async fn history(status: &Arc<Status>, asked: History) -> Result<Value, Trouble> {
    let wrong = |what: &str, text: &str| Trouble::Asked(format!("{text:.100?} is no {what}"));
    let at = |text: &Option<String>| {
        text.as_deref()
            .map(|text| instant(text).ok_or_else(|| wrong("instant, as in 2026-11-02T14:00:00Z", text)))
            .transpose()
    };
    let schedules = asked.schedule.iter().map(|text| ScheduleId::new(text).map_err(|_| wrong("schedule's id", text)));
    let words = asked.status.as_deref().unwrap_or_default().split(',').filter(|word| !word.is_empty());
    let statuses = words.map(|word| Occurrence::from_word(word).ok_or_else(|| wrong("status", word)));
    let filter = HistoryFilter {
        schedules: schedules.collect::<Result<_, _>>()?,
        statuses: statuses.collect::<Result<_, _>>()?,
        since: at(&asked.since)?,
        until: at(&asked.until)?,
        limit: asked.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX),
    };
    status.apart(move |status| Ok(json!({ "occurrences": status.reader()?.history(&filter)? }))).await
}

/// `/api/occurrence/{key or run id}`: the JSON of `skycron show`.
pub(super) async fn occurrence(status: &Arc<Status>, name: String) -> Result<Value, Trouble> {
    status
        .apart(move |status| {
            let reader = status.reader()?;
            let found = match name.parse::<OccurrenceKey>() {
                Ok(key) => reader.occurrence(&key)?,
                Err(_) => RunId::new(&name).ok().map(|id| reader.run(&id)).transpose()?.flatten(),
            };
            let detail = found.ok_or_else(|| Trouble::Absent("occurrence of this name".to_owned()))?;
            serde_json::to_value(detail).map_err(|error| Trouble::Asked(error.to_string()))
        })
        .await
}
