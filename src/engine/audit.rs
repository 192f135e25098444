//! The proof that every occurrence is accounted for: what was due, computed again from the recorded definitions, against the
//! rows that there are.
//!
//! Pure: definitions and rows are handed in, findings come out. It does not ask why a row says what it says, only whether each
//! instant has exactly one.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{clock::rfc3339, engine::occurrence::ReasonCode, schedule::Timetable};

/// Findings of one schedule that are listed; the rest would say the same.
const FINDINGS_MAX: usize = 100;
/// The smallest step of an instant here: whatever is stored has milliseconds at most.
const MOMENT: TimeDelta = TimeDelta::milliseconds(1);

/// A stretch of time in which one definition was in force.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Not including this instant.
    pub after: DateTime<Utc>,
    /// Including this instant.
    pub until: DateTime<Utc>,
    /// What was due.
    pub timetable: Timetable,
}

/// What a row of the history accounts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// The occurrence, or the first of a stretch.
    pub scheduled_for: DateTime<Utc>,
    /// The last of a stretch.
    pub through: Option<DateTime<Utc>>,
    /// How many it stands for.
    pub count: u32,
    /// The kind of its reason.
    pub reason: Option<ReasonCode>,
}

/// Something that does not add up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// These were due, and no row says what became of them.
    Missing {
        /// The first.
        first: DateTime<Utc>,
        /// The last.
        last: DateTime<Utc>,
        /// How many.
        count: u64,
    },
    /// More than one row stands for this instant.
    Twice {
        /// The instant.
        at: DateTime<Utc>,
    },
    /// A row stands for an instant at which the schedule was not due.
    NotDue {
        /// The instant.
        at: DateTime<Utc>,
    },
    /// A row for a stretch does not count what was due in it.
    Miscounted {
        /// The first of the stretch.
        at: DateTime<Utc>,
        /// What the row says.
        says: u32,
        /// What was due.
        due: u64,
    },
}

impl Finding {
    /// The kind, in a word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Twice { .. } => "twice",
            Self::NotDue { .. } => "not_due",
            Self::Miscounted { .. } => "miscounted",
        }
    }

    /// The instant that it is about, or the first of them.
    #[must_use]
    pub fn at(&self) -> DateTime<Utc> {
        match self {
            Self::Missing { first: at, .. }
            | Self::Twice { at }
            | Self::NotDue { at }
            | Self::Miscounted { at, .. } => *at,
        }
    }

    /// What it means, for people.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Missing { first, last, count: 1 } if first == last => {
                "was due, and no row says what became of it".to_owned()
            }
            Self::Missing { last, count, .. } => {
                format!("{count} were due until {}, and no row says what became of them", rfc3339(*last))
            }
            Self::Twice { .. } => "more than one row stands for this instant".to_owned(),
            Self::NotDue { .. } => {
                "a row stands for it, and the schedule was not due then by the definition in force".to_owned()
            }
            Self::Miscounted { says, due, .. } => format!("a row stands for {says} from here on, and {due} were due"),
        }
    }
}

/// What an audit of one schedule brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Occurrences that were due.
    pub due: u64,
    /// What does not add up, the first 100 of them.
    pub findings: Vec<Finding>,
}

/// Compares what was due with the rows, both in the order of time. Rows before the first segment, and after the last, are not
/// looked at.
#[must_use]
pub fn audit(segments: &[Segment], rows: &[LedgerRow]) -> Audit {
    let mut audit = Audit::default();
    let mut rows = rows.iter().peekable();
    let (Some(begin), Some(end)) = (segments.first().map(|s| s.after), segments.last().map(|s| s.until)) else {
        return audit;
    };
    while rows.next_if(|row| row.scheduled_for <= begin).is_some() {}
    for segment in segments {
        let timetable = &segment.timetable;
        audit.due += timetable.count_between(segment.after, segment.until);
        // Up to and including this instant, everything was found.
        let mut covered = segment.after;
        while let Some(row) = rows.next_if(|row| row.scheduled_for <= segment.until) {
            let at = row.scheduled_for;
            if at <= segment.after {
                // Between two segments nothing was due.
                audit.add(Finding::NotDue { at });
                continue;
            }
            if row.reason == Some(ReasonCode::ClockChange) && timetable.dropped_between(at - MOMENT, at).contains(&at) {
                continue;
            }
            if at <= covered {
                audit.add(Finding::Twice { at });
                continue;
            }
            if timetable.next_after(at - MOMENT) != Some(at) {
                audit.add(Finding::NotDue { at });
                continue;
            }
            audit.add_missing(timetable, covered, at - MOMENT);
            covered = row.through.map_or(at, |through| through.max(at));
            let due = timetable.count_between(at - MOMENT, covered);
            if due != u64::from(row.count) {
                audit.add(Finding::Miscounted { at, says: row.count, due });
            }
        }
        audit.add_missing(timetable, covered, segment.until);
    }
    for row in rows.take_while(|row| row.scheduled_for <= end) {
        audit.add(Finding::NotDue { at: row.scheduled_for });
    }
    audit
}

impl Audit {
    fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    fn add_missing(&mut self, timetable: &Timetable, after: DateTime<Utc>, until: DateTime<Utc>) {
        let first = timetable.next_after(after).filter(|first| *first <= until);
        let last = timetable.previous_before(until + MOMENT);
        if let (Some(first), Some(last)) = (first, last) {
            self.add(Finding::Missing { first, last, count: timetable.count_between(after, until) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Fold, Gap, Zone, cron::CronExpression};

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-02T{text}:00Z").parse().unwrap()
    }

    fn segment(expression: &str, after: &str, until: &str) -> Segment {
        let expression = CronExpression::parse(expression).unwrap();
        let timetable = Timetable::cron(expression, Zone::utc(), Gap::Shift, Fold::Auto).unwrap();
        Segment { after: at(after), until: at(until), timetable }
    }

    fn row(text: &str) -> LedgerRow {
        let (first, rest) = text.split_once("..").map_or((text, None), |(first, rest)| (first, Some(rest)));
        let (through, count) = match rest.and_then(|rest| rest.split_once('x')) {
            Some((through, count)) => (Some(at(through)), count.parse().unwrap()),
            None => (None, 1),
        };
        LedgerRow { scheduled_for: at(first), through, count, reason: None }
    }

    fn check(segments: &[Segment], rows: &[&str], expected: &[&str]) {
        let rows: Vec<LedgerRow> = rows.iter().map(|text| row(text)).collect();
        let found: Vec<String> = audit(segments, &rows)
            .findings
            .iter()
            .map(|finding| match finding {
                Finding::Missing { first, last, count } => {
                    format!("missing {}-{} x{count}", first.format("%H:%M"), last.format("%H:%M"))
                }
                other => format!("{} {}", other.word(), other.at().format("%H:%M")),
            })
            .collect();
        assert_eq!(found, expected, "{rows:?}");
    }

    #[test]
    fn rows_against_what_was_due() {
        let hourly = [segment("0 * * * *", "10:30", "14:30")];
        check(&hourly, &["11:00", "12:00", "13:00", "14:00"], &[]);
        check(&hourly, &["11:00", "12:00..13:00x2", "14:00"], &[]);
        check(&hourly, &["11:00..14:00x4"], &[]);
        // Before it was known, and after what is accounted for, nobody asks.
        check(&hourly, &["10:00", "11:00..14:00x4", "15:00"], &[]);
        check(&hourly, &["11:00", "13:00", "14:00"], &["missing 12:00-12:00 x1"]);
        check(&hourly, &["14:00"], &["missing 11:00-13:00 x3"]);
        check(&hourly, &[], &["missing 11:00-14:00 x4"]);
        check(&hourly, &["11:00", "12:00", "12:00", "13:00", "14:00"], &["twice 12:00"]);
        check(&hourly, &["11:00..13:00x3", "12:00", "14:00"], &["twice 12:00"]);
        check(&hourly, &["11:00", "12:00", "12:30", "13:00", "14:00"], &["not_due 12:30"]);
        check(&hourly, &["11:00..14:00x3"], &["miscounted 11:00"]);
    }

    #[test]
    fn definitions_change() {
        let both = [segment("0 * * * *", "10:30", "12:10"), segment("30 * * * *", "12:10", "13:40")];
        check(&both, &["11:00", "12:00", "12:30", "13:30"], &[]);
        check(&both, &["11:00", "12:00", "13:00", "13:30"], &["not_due 13:00", "missing 12:30-12:30 x1"]);
        let with_a_gap = [segment("0 * * * *", "10:30", "11:10"), segment("0 * * * *", "12:10", "13:40")];
        check(&with_a_gap, &["11:00", "12:00", "13:00"], &["not_due 12:00"]);
    }
}
