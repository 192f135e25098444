//! What the history says was in force when, as timetables: what an audit computes from. The audit itself is the engine's.

use chrono::{DateTime, Utc};

use crate::{
    clock::rfc3339,
    config::ZoneSource,
    engine::audit::{Segment, audit},
    history::{HistoryError, Reader, ScheduleRow},
    schedule::{Definition, Timetable},
};

/// How many findings an audit of everything after `since` has: each is an instant or a stretch that is not accounted for once.
/// Looks at every row since then.
///
/// # Errors
/// The history cannot be read.
pub fn findings(reader: &Reader, zones: &ZoneSource, since: DateTime<Utc>) -> Result<usize, HistoryError> {
    let begin = reader.pruned_through()?.max(Some(since));
    let mut findings = 0;
    for row in reader.schedules()? {
        let (segments, unreadable) = segments(reader, &row, begin, zones)?;
        findings += unreadable.len() + audit(&segments, &reader.ledger(&row.id, begin)?).findings.len();
    }
    Ok(findings)
}

/// What was in force when, from `begin` to what the schedule is accounted for; and what of it cannot be computed any more.
///
/// # Errors
/// The history cannot be read.
pub fn segments(
    reader: &Reader,
    row: &ScheduleRow,
    begin: Option<DateTime<Utc>>,
    zones: &ZoneSource,
) -> Result<(Vec<Segment>, Vec<String>), HistoryError> {
    let mut segments: Vec<(Segment, Definition)> = Vec::new();
    let mut unreadable = Vec::new();
    // Within a stretch that one row stands for, there is nothing to compare: that row may be before the beginning.
    let begin = match begin {
        Some(begin) => Some(reader.covered_through(&row.id, begin)?.unwrap_or(begin)),
        None => None,
    };
    let definitions = reader.definitions(&row.id)?;
    for (index, definition) in definitions.iter().enumerate() {
        // A later one decides from its own instant on, which may lie before: after a clock that was ahead was set back.
        let next = definitions[index + 1..].iter().map(|next| next.at).min();
        let Some(when) = &definition.definition else { continue };
        let until = next.unwrap_or(row.accounted_through);
        let after = begin.map_or(definition.at, |begin| begin.max(definition.at));
        if after >= until {
            continue;
        }
        // A definition that was written again unchanged (another workflow) goes on: a row may reach over the seam.
        if let Some((last, of_last)) = segments.last_mut()
            && last.until == after
            && of_last == when
        {
            last.until = until;
            continue;
        }
        match Timetable::from_definition(when, |name| zones.zone(name).ok()) {
            Ok(timetable) => segments.push((Segment { after, until, timetable }, when.clone())),
            Err(error) => {
                unreadable.push(format!("the definition of {} cannot be computed: {error}", rfc3339(definition.at)));
            }
        }
    }
    Ok((segments.into_iter().map(|(segment, _)| segment).collect(), unreadable))
}
