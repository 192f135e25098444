//! When a schedule is due: its cadence, its zone, and the instants between which it is active.
//!
//! The rules are `schedule`'s; this reads the keys and puts what is refused at its place in the file.

use std::{collections::HashMap, ops::Range, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    Environment,
    policies::PolicySet,
    problem::{Code, Problem, Problems},
    reader::{At, Reading, shape},
    zone_cache::{ZoneCache, find},
    zones::ZoneSource,
};
use crate::schedule::{CronError, CronExpression, Fold, Gap, Timetable, TimetableError, Zone};

shape! {
    /// The keys of a timetable as they are written.
    RawTimetable as "timetable" {
        /// Due at the local times that it matches: minute, hour, day of month, month, day of week.
        cron_expression: String,
        /// Due every so many seconds, counted from `first_fire_at`.
        interval_seconds: u64,
        /// The instant from which `interval_seconds` counts.
        first_fire_at: DateTime<Utc>,
        /// Due once, at this instant.
        run_at: DateTime<Utc>,
        /// The zone whose clocks the cron expression means: an IANA name. If it is not set, that of `[defaults]`.
        timezone: String,
        /// Not due before this instant.
        starts_at: DateTime<Utc>,
        /// Not due after this instant.
        ends_at: DateTime<Utc>,
    }
}

/// The keys of which one says when a schedule is due.
const CADENCES: [&str; 3] = ["cron_expression", "interval_seconds", "run_at"];

/// What holds for every timetable of the file.
pub(super) struct Rules<'a> {
    pub zones: &'a mut ZoneCache,
    /// The zone of schedules that name none; `None` if it is not known, which was said.
    pub default_zone: Option<Zone>,
    pub min_interval: Duration,
    pub crons: CronCache,
}

/// Checks the keys of a timetable; `None`: at least one problem was added. `place` is the schedule's own.
pub(super) fn check(
    raw: &RawTimetable,
    set: &PolicySet,
    place: &Range<usize>,
    rules: &mut Rules<'_>,
    reading: &mut Reading<'_>,
) -> Option<Timetable> {
    let zone = match &raw.timezone {
        None => rules.default_zone.clone(),
        Some(at) => rules.zones.look_up(at, reading),
    };
    let cadence = cadence(raw, set, zone.as_ref(), place, rules, reading);
    if let (Some(starts_at), Some(ends_at)) = (&raw.starts_at, &raw.ends_at)
        && ends_at.value < starts_at.value
    {
        let related = Some((starts_at.span.clone(), "it begins here"));
        reading.add_related(&ends_at.span, Problem::error(Code::Conflict, "ends_at is before starts_at"), related);
        return None;
    }
    let timetable = cadence?.within(raw.starts_at.as_ref().map(|at| at.value), raw.ends_at.as_ref().map(|at| at.value));
    Some(timetable)
}

fn cadence(
    raw: &RawTimetable,
    set: &PolicySet,
    zone: Option<&Zone>,
    place: &Range<usize>,
    rules: &mut Rules<'_>,
    reading: &mut Reading<'_>,
) -> Option<Timetable> {
    if let (Some(first), None) = (&raw.first_fire_at, &raw.interval_seconds)
        && !reading.is_unused("interval_seconds")
    {
        reading.add(&first.key, Problem::error(Code::Conflict, "first_fire_at goes with interval_seconds"));
    }
    // A zone that is not known has its problem; UTC stands in, so that the cadence is checked all the same.
    let zone_or_utc = zone.cloned().unwrap_or_else(Zone::utc);
    let timetable = match (&raw.cron_expression, &raw.interval_seconds, &raw.run_at) {
        (Some(at), None, None) => cron(at, set, zone_or_utc, rules, reading),
        (None, Some(at), None) => interval(at, raw.first_fire_at.as_ref(), zone_or_utc, rules.min_interval, reading),
        (None, None, Some(at)) => match Timetable::once(at.value, zone_or_utc) {
            Ok(timetable) => Some(timetable),
            Err(error) => refuse(&at.span, &error, reading),
        },
        (None, None, None) if CADENCES.iter().any(|key| reading.is_unused(key)) => None,
        (None, None, None) => {
            reading.add(
                place,
                Problem::error(Code::MissingKey, "nothing says when it is due")
                    .hint("add cron_expression, or interval_seconds with first_fire_at, or run_at"),
            );
            None
        }
        (cron, interval, once) => {
            let keys =
                [cron.as_ref().map(|at| &at.key), interval.as_ref().map(|at| &at.key), once.as_ref().map(|at| &at.key)];
            let mut keys = keys.into_iter().flatten();
            if let (Some(first), Some(second)) = (keys.next(), keys.next()) {
                let related = Some((first.clone(), "this already says when it is due"));
                let problem = Problem::error(
                    Code::Conflict,
                    "exactly one of cron_expression, interval_seconds and run_at decides",
                );
                reading.add_related(second, problem, related);
            }
            None
        }
    };
    zone.and(timetable)
}

fn refuse<T>(span: &Range<usize>, error: &TimetableError, reading: &mut Reading<'_>) -> Option<T> {
    reading.add(span, refusal(error));
    None
}

fn refusal(error: &TimetableError) -> Problem {
    match error {
        TimetableError::TooFrequent(_) | TimetableError::IntervalTooShort { .. } => Problem::error(
            Code::TooFrequent,
            error.to_string(),
        )
        .hint(
            "the API takes nothing that is due more often than every five minutes, and min_interval may ask for more",
        ),
        TimetableError::OutsideCalendar { .. } => Problem::error(Code::BadValue, error.to_string()),
    }
}

fn interval(
    at: &At<u64>,
    first: Option<&At<DateTime<Utc>>>,
    zone: Zone,
    min_interval: Duration,
    reading: &mut Reading<'_>,
) -> Option<Timetable> {
    let Some(first) = first else {
        if reading.is_unused("first_fire_at") {
            return None;
        }
        reading.add(
            &at.key,
            Problem::error(Code::MissingKey, "interval_seconds needs first_fire_at")
                .hint("say from when it counts: first_fire_at = 2026-11-02T00:00:00Z"),
        );
        return None;
    };
    let timetable = match Timetable::interval(at.value, first.value, zone) {
        Ok(timetable) => timetable,
        Err(error @ TimetableError::OutsideCalendar { .. }) => return refuse(&first.span, &error, reading),
        Err(error) => return refuse(&at.span, &error, reading),
    };
    match timetable.check_interval(min_interval) {
        Ok(()) => Some(timetable),
        Err(error) => refuse(&at.span, &error, reading),
    }
}

/// The timetables of cron expressions that were accepted: schedules share expressions, and a parsed one is large beside
/// its text.
#[derive(Default)]
pub(super) struct CronCache(HashMap<(String, Gap, Fold), Vec<Timetable>>);

fn cron(
    at: &At<String>,
    set: &PolicySet,
    zone: Zone,
    rules: &mut Rules<'_>,
    reading: &mut Reading<'_>,
) -> Option<Timetable> {
    let key = (at.value.clone(), set.gap, set.fold);
    let known = rules.crons.0.entry(key).or_default();
    if let Some(timetable) = known.iter().find(|timetable| timetable.zone().name() == zone.name()) {
        return Some(timetable.clone());
    }
    let expression = match CronExpression::parse(&at.value) {
        Ok(expression) => expression,
        Err(error) => {
            reading.add(&inside(&at.value, &at.span, &error.span, reading.text), cron_problem(&error));
            return None;
        }
    };
    let timetable = Timetable::cron(expression, zone, set.gap, set.fold)
        .and_then(|timetable| timetable.check_interval(rules.min_interval).map(|()| timetable));
    match timetable {
        Ok(timetable) => {
            known.push(timetable.clone());
            Some(timetable)
        }
        Err(error) => refuse(&at.span, &error, reading),
    }
}

fn cron_problem(error: &CronError) -> Problem {
    let problem = Problem::error(Code::BadCron, error.kind.to_string());
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// The place in the file of a part of a string. A string with escapes has no such place, and neither has something that is
/// missing: then it is the whole value.
pub(super) fn inside(value: &str, span: &Range<usize>, part: &Range<usize>, text: &str) -> Range<usize> {
    let written = text.get(span.clone()).unwrap_or("");
    match written.find(value) {
        Some(offset) if !part.is_empty() => {
            let start = span.start + offset;
            start + part.start..start + part.end
        }
        _ => span.clone(),
    }
}

/// The timetable of an expression that is not in a file. See [`super::expression_timetable`].
pub(super) fn of_expression(expression: &str, zone: &str, environment: &Environment) -> Result<Timetable, Problems> {
    let problems = |name: &str, text: &str, span: Range<usize>, problem: Problem| {
        let mut reading = Reading::new(text);
        reading.add(&span, problem);
        let (list, _) = reading.finish();
        Problems { path: name.into(), text: text.into(), list }
    };
    let folder = environment.path("TZDIR");
    let source = ZoneSource::newer(folder.as_deref());
    let zone = find(&source, zone).map_err(|problem| problems("--timezone", zone, 0..zone.len(), problem))?;
    let parsed = CronExpression::parse(expression).map_err(|error| {
        let span = if error.span.is_empty() { 0..expression.len() } else { error.span.clone() };
        problems("--cron", expression, span, cron_problem(&error))
    })?;
    Timetable::cron(parsed, zone, Gap::default(), Fold::default())
        .map_err(|error| problems("--cron", expression, 0..expression.len(), refusal(&error)))
}
