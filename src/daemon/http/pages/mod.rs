//! The page for people: is anything wrong, what runs, what is next, and everything about one schedule or one occurrence.
//!
//! What the pages share is here; each has a file of its own that gathers what it shows, within bounds, and hands it to its
//! template. Nothing can be changed here, and nothing comes from elsewhere than this daemon.

mod occurrence;
mod overview;
mod schedule;

use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Datelike, TimeDelta, Utc, Weekday};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, syntax::SyntaxConfig, value::Serde};
use serde::Serialize;
use serde_json::json;

use super::{
    status::Status,
    trouble::Trouble,
    views::{Moment, short},
};
use crate::{
    daemon::reload::InForce,
    engine::ScheduleState,
    history::{NoteRow, Pieces},
    ids::ScheduleId,
    schedule::Schedule,
};

/// The templates, whose every value is escaped. An unknown name is an error, which a test would meet.
static TEMPLATES: LazyLock<Result<Environment<'static>, minijinja::Error>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    for (name, text) in [
        ("base.html", include_str!("../templates/base.html")),
        ("parts.html", include_str!("../templates/parts.html")),
        ("overview.html", include_str!("../templates/overview.html")),
        ("schedule.html", include_str!("../templates/schedule.html")),
        ("occurrence.html", include_str!("../templates/occurrence.html")),
        ("trouble.html", include_str!("../templates/trouble.html")),
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

pub(super) use occurrence::occurrence;
pub(super) use overview::{Asked, overview};
pub(super) use schedule::{PageOf, schedule};

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

#[derive(Debug, Serialize)]
struct Note {
    at: Moment,
    kind: String,
    text: String,
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

impl Note {
    fn new(note: &NoteRow, now: DateTime<Utc>) -> Self {
        Self { at: Moment::new(note.at, now), kind: note.kind.word().replace('_', " "), text: short(&note.text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{parse_rfc3339, rfc3339};

    #[test]
    fn every_template_is_right() {
        assert!(TEMPLATES.is_ok(), "{:?}", TEMPLATES.as_ref().err());
    }

    #[test]
    fn the_last_piece_has_the_present_in_it() {
        let check = |now: &str, since: &str, until: &str| {
            let now = parse_rfc3339(now).unwrap();
            let pieces = pieces((3 * 3600, 56), now);
            assert_eq!((rfc3339(pieces.since).as_str(), rfc3339(pieces.until()).as_str()), (since, until));
        };
        check("2026-11-22T23:25:25.836Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z");
        check("2026-11-22T12:00:00Z", "2026-11-15T15:00:00Z", "2026-11-22T15:00:00Z");
        check("2026-11-22T14:59:59.999Z", "2026-11-15T15:00:00Z", "2026-11-22T15:00:00Z");
    }
}
