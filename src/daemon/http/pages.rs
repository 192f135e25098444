//! The page for people: is anything wrong, what runs, what is next, and everything about one schedule or one occurrence.
//!
//! Gathers what a page shows, within bounds, and hands it to its template. Nothing can be changed here, and nothing comes from
//! elsewhere than this daemon.

use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Datelike, TimeDelta, Utc, Weekday};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, syntax::SyntaxConfig, value::Serde};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    health::{Check, What},
    status::Status,
    strip::{Strip, Tone, strip},
    trouble::Trouble,
    views::{LONG_CHARS_MAX, Moment, Row, cadence, cut, href, in_address, instant, link, local, short},
};
use crate::{
    clock::{length, rfc3339},
    daemon::{event_loop::Sight, reload::InForce},
    engine::{OverviewOf, STAGES, ScheduleState},
    history::{HistoryFilter, OccurrenceDetail, Pieces, Reader},
    ids::{OccurrenceKey, RunId, ScheduleId},
    schedule::Schedule,
};

/// Lines of the short lists.
const SHORT_LIST_MAX: usize = 8;
/// Schedules on one page, and occurrences.
const SCHEDULES_MAX: usize = 40;
const ROWS_MAX: u32 = 50;
/// Failing schedules that are counted.
const FAILING_MAX: u32 = 200;
/// How far back a row of failures is followed.
const STREAK_ROWS_MAX: u32 = 50;
/// The overview's strips: a week in pieces of three hours. A schedule's own: four weeks in pieces of six.
const WEEK: (u32, u32) = (3 * 3600, 56);
const MONTH: (u32, u32) = (6 * 3600, 112);
/// Links to screenshots that are shown.
const SCREENSHOTS_MAX: usize = 50;
/// The least and the most of what a page that loads itself again may ask for.
const REFRESH_SECONDS: std::ops::RangeInclusive<u32> = 5..=3600;

/// The templates, whose every value is escaped. An unknown name is an error, which a test would meet.
static TEMPLATES: LazyLock<Result<Environment<'static>, minijinja::Error>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    for (name, text) in [
        ("base.html", include_str!("templates/base.html")),
        ("parts.html", include_str!("templates/parts.html")),
        ("overview.html", include_str!("templates/overview.html")),
        ("schedule.html", include_str!("templates/schedule.html")),
        ("occurrence.html", include_str!("templates/occurrence.html")),
        ("trouble.html", include_str!("templates/trouble.html")),
    ] {
        environment.add_template(name, text)?;
    }
    Ok(environment)
});

fn render(name: &str, values: &serde_json::Value) -> Result<String, Trouble> {
    match &*TEMPLATES {
        Ok(templates) => Ok(templates.get_template(name)?.render(Serde(values))?),
        Err(error) => Err(Trouble::Template(error.to_string())),
    }
}

/// What every page has.
#[derive(Debug, Serialize)]
struct Frame {
    /// The way to the first page, so that it works below any path that a proxy gives it.
    root: String,
    title: String,
    instance: String,
    version: &'static str,
    now: Moment,
    refresh: Option<u32>,
}

impl Frame {
    fn new(status: &Status, title: &str, depth: usize, now: DateTime<Utc>) -> Self {
        Self {
            root: if depth == 0 { "./".to_owned() } else { "../".repeat(depth) },
            title: title.to_owned(),
            instance: status.sources.instance.to_string(),
            version: env!("CARGO_PKG_VERSION"),
            now: Moment::new(now, now),
            refresh: None,
        }
    }
}

/// The page in place of one that cannot be made.
pub(super) fn trouble_page(status: &Status, trouble: &Trouble, depth: usize) -> String {
    let now = status.now();
    let frame = Frame::new(status, "Trouble", depth, now);
    render(
        "trouble.html",
        &json!({
        "frame": frame,
        "text": trouble.to_string(),
        }),
    )
    .unwrap_or_else(|_| "skycron: this page cannot be made\n".to_owned())
}

// --- the first page --------------------------------------------------------------------------------------------------

/// What the first page can be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
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

#[derive(Debug, Serialize)]
struct Note {
    at: Moment,
    kind: String,
    text: String,
}

/// The first page.
pub(super) async fn overview(status: &Arc<Status>, asked: Asked) -> Result<String, Trouble> {
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
    let note = |note: crate::history::NoteRow| Note {
        at: Moment::new(note.at, now),
        kind: note.kind.word().replace('_', " "),
        text: short(&note.text),
    };
    Ok(reader.notes(u32::try_from(SHORT_LIST_MAX).unwrap_or(8))?.into_iter().map(note).collect())
}

/// Why a schedule is not due as usual, in a word.
fn word(schedule: &Schedule, state: Option<&ScheduleState>) -> Option<&'static str> {
    match state {
        _ if !schedule.enabled => Some("disabled"),
        Some(ScheduleState { pause: Some(_), .. }) => Some("paused"),
        Some(ScheduleState { next: None, .. }) => Some("not due any more"),
        _ => None,
    }
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
    let new = |tone, title: &str, text: String| Verdict { tone, title: title.to_owned(), text };
    let many = |count: usize, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
    let bound = if failing >= FAILING_MAX as usize { " or more" } else { "" };
    let failing_text = format!("{}{bound} failed last time and did not recover yet", many(failing, "schedule"));
    if let Some(first) = wrong.iter().find(|check| check.what != What::File) {
        let and = if failing > 0 { format!(" {failing_text}.") } else { String::new() };
        let title = if first.what == What::Api { "Skyvern cannot be used" } else { "Cannot fire" };
        return new(Tone::Bad, title, format!("{}.{and}", capital(&first.detail)));
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
        return new(Tone::Warn, "The file on the disk is not in force", format!("{}.", capital(&first.detail)));
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

fn capital(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[derive(Debug, Serialize)]
struct ShownCheck {
    name: String,
    ok: bool,
    detail: String,
}

fn shown_checks(checks: &[Check]) -> Vec<ShownCheck> {
    let shown = |check: &Check| ShownCheck {
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
        "starting",
        "looking for its run",
        "running",
    ];
    STAGES.iter().zip(WORDS).find(|(name, _)| **name == stage).map_or(stage, |(_, words)| words)
}

fn find<'a>(in_force: &'a InForce, id: &ScheduleId) -> Option<&'a Arc<Schedule>> {
    in_force.schedules.iter().find(|schedule| schedule.id == *id)
}

fn name_of(in_force: &InForce, id: &ScheduleId) -> Option<String> {
    find(in_force, id)?.name.as_deref().map(short)
}

/// Pieces of time of which the last one has the present in it.
fn pieces((seconds, count): (u32, u32), now: DateTime<Utc>) -> Pieces {
    let into = now.timestamp().rem_euclid(i64::from(seconds));
    let begin = now - TimeDelta::seconds(into) - TimeDelta::nanoseconds(i64::from(now.timestamp_subsec_nanos()));
    Pieces { since: begin - TimeDelta::seconds(i64::from(seconds) * (i64::from(count) - 1)), seconds, count }
}

/// Labels of the days of a strip, each with the piece at which it begins; of many days only the Mondays.
fn day_labels(pieces: &Pieces, now: DateTime<Utc>) -> Vec<(String, u32)> {
    let many = i64::from(pieces.seconds) * i64::from(pieces.count) > 14 * 86_400;
    let begins = (0..pieces.count).filter(|piece| {
        let at = pieces.begin(*piece);
        at.timestamp() % 86_400 == 0 && (!many || at.weekday() == Weekday::Mon)
    });
    let label = |piece: u32| {
        let day = pieces.begin(piece).date_naive();
        let text = match day {
            _ if many => day.format("%a %-d %b").to_string(),
            day if day == now.date_naive() => "today".to_owned(),
            day => day.format("%a %-d").to_string(),
        };
        (text, piece)
    };
    begins.map(label).collect()
}

// --- one schedule ----------------------------------------------------------------------------------------------------

/// What a schedule's page can be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PageOf {
    /// Occurrences up to this instant.
    until: Option<String>,
}

/// The page of one schedule.
pub(super) async fn schedule(status: &Arc<Status>, id: &str, asked: PageOf) -> Result<String, Trouble> {
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
) -> Result<(Vec<crate::history::HistoryRow>, Option<DateTime<Utc>>), Trouble> {
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

// --- one occurrence --------------------------------------------------------------------------------------------------

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
pub(super) async fn occurrence(status: &Arc<Status>, name: &str, depth: usize) -> Result<String, Trouble> {
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
            let notes: Vec<Note> = detail
                .notes
                .iter()
                .map(|note| Note {
                    at: Moment::new(note.at, now),
                    kind: note.kind.word().replace('_', " "),
                    text: short(&note.text),
                })
                .collect();
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

fn attempt(attempt: &crate::history::AttemptRow, now: DateTime<Utc>) -> Attempt {
    use crate::engine::change::AttemptOutcome;
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
    let json = |name, raw: &Option<Box<serde_json::value::RawValue>>| {
        let text = raw.as_deref().map(serde_json::value::RawValue::get)?;
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
