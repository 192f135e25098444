//! Rows and instants as the page shows them: short, relative to the present, with the exact value at hand. Escaping is the
//! template engine's work; bounding is done here.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::strip::{Tone, tone};
use crate::{
    clock::{length, rfc3339, rfc3339_millis},
    engine::Trigger,
    history::HistoryRow,
    ids::OccurrenceKey,
    schedule::Schedule,
};

/// Names and reasons in lists are cut after so many characters.
const SHORT_CHARS_MAX: usize = 160;
/// Texts on a page of their own.
pub(super) const LONG_CHARS_MAX: usize = 20_000;

/// An instant for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Moment {
    /// RFC 3339.
    pub(super) iso: String,
    /// `Sun 22 Nov 2026 22:45:10 UTC`.
    pub(super) full: String,
    /// `in 4 min`, `3 h ago`.
    pub(super) relative: String,
    /// `22:45:10` or, on another day, `Sat 21 Nov 22:45`.
    pub(super) clock: String,
}

impl Moment {
    pub(super) fn new(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let same_day = at.date_naive() == now.date_naive();
        let clock = if same_day { at.format("%H:%M:%S") } else { at.format("%a %-d %b %H:%M") };
        Self {
            iso: rfc3339_millis(at),
            full: at.format("%a %-d %b %Y %H:%M:%S UTC").to_string(),
            relative: relative(at - now),
            clock: clock.to_string(),
        }
    }
}

/// In one unit: how far, and which way.
fn relative(delta: TimeDelta) -> String {
    let seconds = delta.num_seconds();
    let left = seconds.unsigned_abs();
    let text = match left {
        0 => return "now".to_owned(),
        1..60 => format!("{left} s"),
        60..5400 => format!("{} min", (left + 30) / 60),
        5400..129_600 => format!("{} h", (left + 1800) / 3600),
        _ => format!("{} days", (left + 43_200) / 86_400),
    };
    if seconds < 0 { format!("{text} ago") } else { format!("in {text}") }
}

/// One line of a list of occurrences.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) schedule: String,
    pub(super) href: String,
    pub(super) key: String,
    pub(super) status: String,
    pub(super) tone: Tone,
    pub(super) trigger: Option<String>,
    pub(super) due: Moment,
    pub(super) why: Option<String>,
    pub(super) late: Option<String>,
    pub(super) took: Option<String>,
    pub(super) attempts: u32,
    pub(super) count: u32,
    pub(super) run_id: Option<String>,
}

impl Row {
    pub(super) fn new(row: &HistoryRow, now: DateTime<Utc>) -> Self {
        let late = row.launched_at.filter(|_| matches!(row.trigger, Trigger::Schedule | Trigger::CatchUp));
        Self {
            schedule: row.schedule.to_string(),
            href: href(&row.occurrence),
            key: row.occurrence.to_string(),
            status: row.status.word().replace('_', " "),
            tone: tone(row.status),
            // What is usual needs no word.
            trigger: (row.trigger != Trigger::Schedule).then(|| row.trigger.word().replace('_', " ")),
            due: Moment::new(row.scheduled_for, now),
            why: row.failure_reason.as_deref().or(row.reason.as_deref()).map(short),
            late: late.map(|at| length(at - row.scheduled_for)),
            took: row.launched_at.zip(row.finished_at).map(|(from, to)| length(to - from)),
            attempts: row.attempts,
            count: row.count,
            run_id: row.run_id.as_ref().map(ToString::to_string),
        }
    }
}

/// The page of an occurrence, from the root. Of a key's characters only `#` has another meaning there.
pub(super) fn href(key: &OccurrenceKey) -> String {
    format!("occurrence/{key}").replace('#', "%23")
}

/// A text in one line, cut.
pub(super) fn short(text: &str) -> String {
    cut(&text.split_whitespace().collect::<Vec<_>>().join(" "), SHORT_CHARS_MAX)
}

/// The beginning of a text, and a sign that there is more.
pub(super) fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// An address that can be a link: a page of the web, and nothing that does something.
pub(super) fn link(url: Option<&str>) -> Option<String> {
    let parsed = url::Url::parse(url?).ok()?;
    let is_page =
        matches!(parsed.scheme(), "http" | "https") && parsed.username().is_empty() && parsed.password().is_none();
    is_page.then(|| parsed.to_string())
}

/// When a schedule is due, as its file says it.
pub(super) fn cadence(schedule: &Schedule) -> String {
    let definition = schedule.timetable.definition(schedule.enabled);
    if let Some(expression) = definition.cron_expression {
        return expression;
    }
    if let Some(seconds) = definition.interval_seconds {
        return format!("every {}", length(TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX / 1000))));
    }
    definition.run_at.map_or_else(String::new, |at| format!("once at {at}"))
}

/// What a zone's clocks show then: `09:00 America/New_York`. Nothing for UTC, which is shown anyway.
pub(super) fn local(schedule: &Schedule, at: DateTime<Utc>) -> Option<String> {
    let zone = schedule.timetable.zone();
    (zone.name() != "UTC").then(|| format!("{} {}", zone.to_local(at).format("%a %-d %b %H:%M"), zone.name()))
}

/// The instant of a key in the address of a page.
pub(super) fn instant(text: &str) -> Option<DateTime<Utc>> {
    crate::clock::parse_rfc3339(text)
}

/// An instant in an address.
pub(super) fn in_address(at: DateTime<Utc>) -> String {
    rfc3339(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse_rfc3339;

    #[test]
    fn instants_are_near_or_far() {
        let now = parse_rfc3339("2026-11-22T12:00:00Z").unwrap();
        let check = |at: &str, relative: &str, clock: &str| {
            let moment = Moment::new(parse_rfc3339(at).unwrap(), now);
            assert_eq!((moment.relative.as_str(), moment.clock.as_str()), (relative, clock));
        };
        check("2026-11-22T12:00:00Z", "now", "12:00:00");
        check("2026-11-22T12:04:10Z", "in 4 min", "12:04:10");
        check("2026-11-22T09:00:00Z", "3 h ago", "09:00:00");
        check("2026-11-21T09:00:00Z", "27 h ago", "Sat 21 Nov 09:00");
        check("2026-12-02T09:00:00Z", "in 10 days", "Wed 2 Dec 09:00");
    }

    #[test]
    fn only_pages_are_links() {
        let check = |url: &str, expected: Option<&str>| assert_eq!(link(Some(url)).as_deref(), expected, "{url}");
        check("https://app.skyvern.com/runs/wr_1", Some("https://app.skyvern.com/runs/wr_1"));
        check("http://127.0.0.1:8080/runs/wr_1", Some("http://127.0.0.1:8080/runs/wr_1"));
        check("javascript:alert(1)", None);
        check("data:text/html,x", None);
        check("https://app.skyvern.com@evil.example/", None);
        check("//evil.example/", None);
        check("", None);
        assert_eq!(link(None), None);
    }

    #[test]
    fn keys_become_addresses() {
        let check = |key: &str, expected: &str| assert_eq!(href(&key.parse().unwrap()), expected);
        check("main/a@2026-11-02T14:00:00Z", "occurrence/main/a@2026-11-02T14:00:00Z");
        check("main/a@2026-11-02T14:00:00Z#retry-2", "occurrence/main/a@2026-11-02T14:00:00Z%23retry-2");
    }
}
