//! What may surprise about timetables that are right, at its place in the file: for `check`.
//!
//! What surprises is `schedule::warnings`' and `zones`' knowledge; this only finds the place.

use chrono::{DateTime, Utc};

use super::{
    Config,
    problem::{Code, LineIndex, Problem},
    timetable::inside,
};
use crate::{
    clock::rfc3339,
    schedule::{Schedule, warnings},
};

/// The warnings of every enabled schedule, in the order of the file.
pub(super) fn find(config: &Config, now: DateTime<Utc>) -> Vec<Problem> {
    let index = LineIndex::new(&config.text);
    let mut found = Vec::new();
    for (schedule, place) in config.schedules.iter().zip(&config.places).filter(|(schedule, _)| schedule.enabled) {
        let expression = schedule.timetable.cron_expression().map_or("", |expression| expression.as_str());
        let mut add = |span: &std::ops::Range<usize>, problem: Problem| {
            let schedule = Some(schedule.id.as_str().into());
            found.push(Problem { schedule, place: Some(index.place(span)), ..problem.warning() });
        };
        for warning in warnings(&schedule.timetable, now) {
            let span = warning.span.as_ref().map(|part| inside(expression, place, part, &config.text));
            add(span.as_ref().unwrap_or(place), Problem::error(Code::Surprise, warning.to_string()));
        }
        if let Some(problem) = zone_difference(config, schedule, now) {
            add(place, problem);
        }
    }
    found
}

/// The first occurrence in the next two years that the two sources of zone rules do not agree on.
pub(super) fn zone_difference(config: &Config, schedule: &Schedule, now: DateTime<Utc>) -> Option<Problem> {
    let difference = config.zones.difference(&schedule.timetable, now)?;
    let text = |at: Option<DateTime<Utc>>| at.map_or("not at all".to_owned(), |at| format!("at {}", rfc3339(at)));
    let (in_force, other) = (text(difference.in_force), text(difference.other));
    let (here, there) =
        if config.zones.is_system() { ("the system's", "the built-in") } else { ("the built-in", "the system's") };
    let zone = schedule.timetable.zone().name();
    let message =
        format!("zone rules differ for {zone}: due {in_force} by {here}, which are in force, {other} by {there}");
    Some(Problem::error(Code::Surprise, message).hint(format!("in force: {}", config.zones.release())))
}
