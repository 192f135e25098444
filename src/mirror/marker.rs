//! The mark of ownership in a schedule's description at the server: by it, what is ours is known when the database is gone.
//! Text only; who owns what is decided by the plan.

use std::{fmt, ops::Range};

use crate::ids::{Instance, ScheduleId};

const OPEN: &str = "[skycron ";
const CLOSE: char = ']';

/// Whose a schedule of the server is: `[skycron <instance>/<schedule id>]`. Where a description has several, the last one
/// counts: ours is always put at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The installation.
    pub instance: Instance,
    /// Its schedule.
    pub schedule: ScheduleId,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OPEN}{}/{}{CLOSE}", self.instance, self.schedule)
    }
}

impl Marker {
    /// The marker in a description, wherever people moved it.
    #[must_use]
    pub fn find(description: Option<&str>) -> Option<Self> {
        description.and_then(find).map(|(marker, _)| marker)
    }

    /// A description with this marker as its last line.
    #[must_use]
    pub fn added_to(&self, description: Option<&str>) -> String {
        match description {
            None | Some("") => self.to_string(),
            Some(text) => format!("{text}\n{self}"),
        }
    }
}

/// A description without its marker, and without the line break that came with it; `None`: nothing is left.
#[must_use]
pub(super) fn without_marker(description: Option<&str>) -> Option<String> {
    let text = description?;
    let Some((_, place)) = find(text) else { return some(text.to_owned()) };
    let (before, after) = (&text[..place.start], &text[place.end..]);
    let before = before.strip_suffix('\n').map_or(before, |line| line.strip_suffix('\r').unwrap_or(line));
    some(format!("{before}{after}"))
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn find(text: &str) -> Option<(Marker, Range<usize>)> {
    text.rmatch_indices(OPEN).find_map(|(start, _)| {
        let rest = &text[start + OPEN.len()..];
        let length = rest.find(CLOSE)?;
        let (instance, schedule) = rest[..length].split_once('/')?;
        let marker = Marker { instance: Instance::new(instance).ok()?, schedule: ScheduleId::new(schedule).ok()? };
        Some((marker, start..start + OPEN.len() + length + CLOSE.len_utf8()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(name: &str) -> Marker {
        let (instance, schedule) = name.split_once('/').unwrap();
        Marker { instance: Instance::new(instance).unwrap(), schedule: ScheduleId::new(schedule).unwrap() }
    }

    fn check(description: &str, expected: Option<&str>, rest: Option<&str>) {
        assert_eq!(Marker::find(Some(description)), expected.map(marker), "{description:?}");
        assert_eq!(without_marker(Some(description)).as_deref(), rest, "{description:?}");
    }

    #[test]
    fn it_is_found_wherever_people_moved_it() {
        check("Every day\n[skycron main/daily]", Some("main/daily"), Some("Every day"));
        check("[skycron main/daily]", Some("main/daily"), None);
        check("Every [skycron main/daily] day", Some("main/daily"), Some("Every  day"));
        check("Every day\r\n[skycron main/daily]", Some("main/daily"), Some("Every day"));
        check("[skycron main/daily]\nadded below", Some("main/daily"), Some("\nadded below"));
        check("[skycron a/b] and then\n[skycron main/daily]", Some("main/daily"), Some("[skycron a/b] and then"));
        check("[skycron main/daily] [skycron broken", Some("main/daily"), Some(" [skycron broken"));
    }

    #[test]
    fn what_is_no_marker_is_text() {
        check("", None, None);
        check("runs under [skycron]", None, Some("runs under [skycron]"));
        check("[skycron main/]", None, Some("[skycron main/]"));
        check("[skycron ma in/daily]", None, Some("[skycron ma in/daily]"));
        check("[skycron main/daily", None, Some("[skycron main/daily"));
        assert_eq!(Marker::find(None), None);
    }

    #[test]
    fn what_was_added_is_taken_off_again() {
        for text in ["", "Every day", "two\nlines", "ends with a break\n", "[skycron other/x]", "ö"] {
            let with = marker("main/daily").added_to(Some(text));
            check(&with, Some("main/daily"), Some(text).filter(|text| !text.is_empty()));
        }
    }
}
