//! The first page: the answer to the one question that matters, and below it what fails, what runs, what is next, and each
//! schedule's last days.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Frame, Note, day_labels, find, name_of, pieces, render, word};
use crate::{
    daemon::{
        event_loop::Sight,
        http::{
            health::{Check, What},
            status::Status,
            strip::{Strip, Tone, strip},
            trouble::Trouble,
            views::{Moment, Row, cadence, cut, href, local, short},
        },
        reload::InForce,
    },
    engine::{OverviewOf, STAGES, ScheduleState},
    history::{HistoryFilter, Reader},
    ids::ScheduleId,
    schedule::Schedule,
};

/// Lines of the short lists.
const SHORT_LIST_MAX: usize = 8;
/// Schedules on one page.
const SCHEDULES_MAX: usize = 40;
/// Failing schedules that are counted.
const FAILING_MAX: u32 = 200;
/// How far back a row of failures is followed.
const STREAK_ROWS_MAX: u32 = 50;
/// The strips: a week in pieces of three hours.
const WEEK: (u32, u32) = (3 * 3600, 56);
/// The least and the most of what a page that loads itself again may ask for.
const REFRESH_SECONDS: std::ops::RangeInclusive<u32> = 5..=3600;

/// What the first page can be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::daemon::http) struct Asked {
    /// Only schedules whose id or name has this in it.
    q: String,
    /// Begin with this one of the list.
    from: usize,
    /// Load the page again every so many seconds.
    refresh: Option<u32>,
}

/// The answer to the one question that matters.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Verdict {
    tone: Tone,
    title: String,
    text: String,
    /// The check that it speaks of; the others are told below it.
    about: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Failing {
    row: Row,
    name: Option<String>,
    /// How often in a row, up to a bound.
    streak: usize,
    streak_is_more: bool,
}

#[derive(Debug, Serialize)]
struct Open {
    schedule: String,
    name: Option<String>,
    href: String,
    stage: &'static str,
    due: Moment,
    run_id: Option<String>,
}

#[derive(Debug, Serialize)]
struct Upcoming {
    schedule: String,
    name: Option<String>,
    due: Moment,
    local: Option<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    id: String,
    name: Option<String>,
    cadence: String,
    zone: String,
    /// When it is due, in words, with its zone; there are not for all.
    words: Option<String>,
    next: Option<Moment>,
    state: Option<&'static str>,
    strip: Strip,
}

/// What of the history the first page shows.
struct Past {
    failing: Vec<Failing>,
    failing_total: usize,
    lines: Vec<Line>,
    notes: Vec<Note>,
}

/// The first page.
pub(in crate::daemon::http) async fn overview(status: &Arc<Status>, asked: Asked) -> Result<String, Trouble> {
    let in_force = status.in_force();
    let wanted = asked.q.trim().to_lowercase();
    let fits = |schedule: &&Arc<Schedule>| {
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        wanted.is_empty() || has(schedule.id.as_str()) || schedule.name.as_deref().is_some_and(has)
    };
    let fitting: Vec<Arc<Schedule>> = in_force.schedules.iter().filter(fits).cloned().collect();
    let total = fitting.len();
    let from = asked.from.min(total);
    let shown: Vec<Arc<Schedule>> = fitting.into_iter().skip(from).take(SCHEDULES_MAX).collect();
    let of = OverviewOf {
        upcoming_max: SHORT_LIST_MAX,
        open_max: SHORT_LIST_MAX,
        schedules: shown.iter().map(|schedule| schedule.id.clone()).collect(),
    };
    let sight = status.sight(of).await.ok();
    let checks = status.checks(sight.as_ref()).await;
    status
        .apart(move |status| {
            let now = status.now();
            let states = sight.as_ref().map_or(&[][..], |sight| &sight.overview.asked);
            let (past, history_trouble) = match past(status, &in_force, &shown, states, now) {
                Ok(past) => (past, None),
                Err(trouble) => (
                    Past { failing: vec![], failing_total: 0, lines: vec![], notes: vec![] },
                    Some(trouble.to_string()),
                ),
            };
            let verdict =
                verdict(&checks, history_trouble.as_deref(), past.failing_total, sight.as_ref(), &in_force, now);
            let mut frame = Frame::new(status, "Overview", 0, now);
            frame.refresh = asked.refresh.filter(|seconds| REFRESH_SECONDS.contains(seconds));
            let upcoming: Vec<Upcoming> = sight.iter().flat_map(|sight| coming(sight, &in_force, now)).collect();
            let open: Vec<Open> = sight.iter().flat_map(|sight| open(sight, &in_force, now)).collect();
            let open_total: usize = sight.iter().flat_map(|sight| sight.overview.stages).sum();
            let shown_to = from + past.lines.len();
            let next = (shown_to < total).then_some(shown_to);
            let before = (from > 0).then(|| from.saturating_sub(SCHEDULES_MAX));
            let days = day_labels(&pieces(WEEK, now), now);
            render(
                "overview.html",
                &json!({
                "frame": frame,
                "verdict": verdict,
                "checks": shown_checks(&checks),
                "history_trouble": history_trouble,
                "upcoming": upcoming,
                "open": open,
                "open_total": open_total,
                "days": days,
                "failing": past.failing,
                "failing_total": past.failing_total,
                "failing_is_more": past.failing_total >= FAILING_MAX as usize,
                "lines": past.lines,
                "notes": past.notes,
                "total": total,
                "from": from,
                "shown_to": shown_to,
                "next": next,
                "before": before,
                "schedules_total": in_force.schedules.len(),
                    "schedules_shown": grouped(in_force.schedules.len()), "total_shown": grouped(total),
                "q": cut(asked.q.trim(), 100),
                "zone_rules": in_force.zones.release(),
                "started": Moment::new(status.started_at, now),
                "file": in_force.path.display().to_string(),
                }),
            )
        })
        .await
}

fn past(
    status: &Status,
    in_force: &InForce,
    shown: &[Arc<Schedule>],
    states: &[ScheduleState],
    now: DateTime<Utc>,
) -> Result<Past, Trouble> {
    let reader = status.reader()?;
    let rows = reader.unrecovered(FAILING_MAX)?;
    let mut failing = Vec::new();
    for row in rows.iter().take(SHORT_LIST_MAX) {
        let filter =
            HistoryFilter { schedules: vec![row.schedule.clone()], limit: STREAK_ROWS_MAX, ..HistoryFilter::default() };
        let before = reader.history(&filter)?;
        let ended = before.iter().filter(|row| !row.status.is_open() && row.status != crate::engine::Status::Skipped);
        let streak = ended.take_while(|row| !row.status.is_good()).count();
        failing.push(Failing {
            row: Row::new(row, now),
            name: name_of(in_force, &row.schedule),
            streak,
            streak_is_more: streak >= STREAK_ROWS_MAX as usize,
        });
    }
    let pieces = pieces(WEEK, now);
    let ids: Vec<ScheduleId> = shown.iter().map(|schedule| schedule.id.clone()).collect();
    let cells = reader.strips(&ids, &pieces)?;
    let line = |schedule: &Arc<Schedule>| {
        let state = states.iter().find(|state| state.schedule == schedule.id);
        Line {
            id: schedule.id.to_string(),
            name: schedule.name.as_deref().map(short),
            cadence: short(&cadence(schedule)),
            zone: schedule.timetable.zone().name().to_owned(),
            words: schedule.timetable.in_words(),
            next: state.and_then(|state| state.next).map(|at| Moment::new(at, now)),
            state: word(schedule, state),
            strip: strip(&schedule.id, &cells, &pieces),
        }
    };
    Ok(Past {
        failing,
        failing_total: rows.len(),
        lines: shown.iter().map(line).collect(),
        notes: notes(&reader, now)?,
    })
}

fn notes(reader: &Reader, now: DateTime<Utc>) -> Result<Vec<Note>, Trouble> {
    let notes = reader.notes(u32::try_from(SHORT_LIST_MAX).unwrap_or(8))?;
    Ok(notes.iter().map(|note| Note::new(note, now)).collect())
}

fn verdict(
    checks: &[Check],
    history_trouble: Option<&str>,
    failing: usize,
    sight: Option<&Sight>,
    in_force: &InForce,
    now: DateTime<Utc>,
) -> Verdict {
    let wrong: Vec<&Check> = checks.iter().filter(|check| !check.ok).collect();
    let new = |tone, title: &str, text: String| Verdict { tone, title: title.to_owned(), text, about: None };
    let about = |check: &Check, verdict: Verdict| Verdict { about: Some(check.what.word()), ..verdict };
    let many =
        |count: usize, what: &str| if count == 1 { format!("1 {what}") } else { format!("{} {what}s", grouped(count)) };
    let bound = if failing >= FAILING_MAX as usize { " or more" } else { "" };
    let failing_text = format!("{}{bound} failed last time and did not recover yet", many(failing, "schedule"));
    if let Some(first) = wrong.iter().find(|check| check.what != What::File) {
        let and = if failing > 0 { format!(" {failing_text}.") } else { String::new() };
        let title = if first.what == What::Api { "Skyvern cannot be used" } else { "Cannot fire" };
        return about(first, new(Tone::Bad, title, format!("{}.{and}", capital(&first.detail))));
    }
    if let Some(trouble) = history_trouble {
        return new(Tone::Bad, "The history cannot be read", format!("{}.", capital(trouble)));
    }
    if failing > 0 {
        let title = if failing == 1 {
            "1 schedule needs attention".to_owned()
        } else {
            format!("{failing}{bound} schedules need attention")
        };
        return new(Tone::Bad, &title, "Failed last time, and not recovered yet.".to_owned());
    }
    if let Some(first) = wrong.first() {
        let title = "The file on the disk is not in force";
        return about(first, new(Tone::Warn, title, format!("{}.", capital(&first.detail))));
    }
    if in_force.schedules.is_empty() {
        return new(Tone::Quiet, "Nothing is scheduled", "The file has no schedules.".to_owned());
    }
    let next = sight.and_then(|sight| sight.overview.upcoming.first());
    let next = next.map_or_else(
        || "Nothing is due any more.".to_owned(),
        |next| format!("Next: {} {}.", next.schedule, Moment::new(next.scheduled_for, now).relative),
    );
    new(Tone::Good, "All is well", format!("{}. {next}", many(in_force.schedules.len(), "schedule")))
}

/// `10,000`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let comma = |(index, digit): (usize, char)| {
        let comma = index > 0 && (digits.len() - index).is_multiple_of(3);
        comma.then_some(',').into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(comma).collect()
}

fn capital(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[derive(Debug, Serialize)]
struct ShownCheck {
    word: &'static str,
    name: String,
    ok: bool,
    detail: String,
}

fn shown_checks(checks: &[Check]) -> Vec<ShownCheck> {
    let shown = |check: &Check| ShownCheck {
        word: check.what.word(),
        name: check.what.word().replace('_', " "),
        ok: check.ok,
        detail: cut(&check.detail, 500),
    };
    checks.iter().map(shown).collect()
}

fn coming(sight: &Sight, in_force: &InForce, now: DateTime<Utc>) -> Vec<Upcoming> {
    let shown = |next: &crate::engine::Upcoming| {
        let schedule = find(in_force, &next.schedule);
        Upcoming {
            schedule: next.schedule.to_string(),
            name: name_of(in_force, &next.schedule),
            due: Moment::new(next.scheduled_for, now),
            local: schedule.and_then(|schedule| local(schedule, next.scheduled_for)),
        }
    };
    sight.overview.upcoming.iter().map(shown).collect()
}

fn open(sight: &Sight, in_force: &InForce, now: DateTime<Utc>) -> Vec<Open> {
    let shown = |flight: &crate::engine::SnapshotFlight| Open {
        schedule: flight.key.schedule.to_string(),
        name: name_of(in_force, &flight.key.schedule),
        href: href(&flight.key),
        stage: stage_words(flight.stage),
        due: Moment::new(flight.key.scheduled_for, now),
        run_id: flight.run_id.as_ref().map(ToString::to_string),
    };
    sight.overview.open.iter().map(shown).collect()
}

/// A stage for people. One that has no better words is shown as it is.
fn stage_words(stage: &'static str) -> &'static str {
    const WORDS: [&str; STAGES.len()] = [
        "waits for the run before",
        "tried again later",
        "about to start",
        "to be started by the server",
        "starting",
        "looking for its run",
        "running",
    ];
    STAGES.iter().zip(WORDS).find(|(name, _)| **name == stage).map_or(stage, |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_readable() {
        let check = |number, expected: &str| assert_eq!(grouped(number), expected);
        check(0, "0");
        check(999, "999");
        check(1000, "1,000");
        check(1_234_567, "1,234,567");
    }
}
