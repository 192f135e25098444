//! A cron expression on the clocks of a zone: wall-clock times → occurrences, with the rules for gaps, folds and
//! the five minutes.
//!
//! Away from clock changes, the walk of [`super::cron`] is all there is: an occurrence is a matching wall-clock time less
//! the offset. Near a change, the matching wall-clock times around it are listed, [`Zone::resolve`] says what each of them
//! means, the policies say what is done about it, and what comes out is put in order. Because the list for a change
//! always begins in calm time, the answer does not depend on where a search starts.

use super::{
    CronExpression, Fold, Gap,
    zone::{CALENDAR, LocalTime, MIN_INTERVAL_SECONDS, Stretch, Zone},
};

/// Matching wall-clock times and what they mean there. Instants are in seconds since 1970.
pub(super) struct Wall<'a> {
    pub(super) expression: &'a CronExpression,
    pub(super) zone: &'a Zone,
    pub(super) gap: Gap,
    pub(super) fold: Fold,
}

/// The occurrences of a disturbed stretch.
#[derive(Debug, Default)]
pub(super) struct Disturbed {
    /// In order, at least five minutes apart.
    pub(super) kept: Vec<i64>,
    /// In order: those that would have been closer than that to the one before.
    pub(super) dropped: Vec<i64>,
}

impl Wall<'_> {
    /// The first occurrence strictly after an instant.
    #[inline]
    pub(super) fn next_after(&self, after: i64) -> Option<i64> {
        let mut at = after.max(CALENDAR.start - 1) + 1;
        loop {
            match self.zone.stretch(at) {
                Stretch::Calm(calm) => {
                    let shown = at + calm.offset;
                    let local = self.expression.next_local(shown - 1)?;
                    let found = local - calm.offset;
                    if found < calm.until {
                        return Some(found);
                    }
                    // Nothing matches from `shown` to before `local`. Where no clock shows a time before `shown` again,
                    // nothing is due before the first instant at which one can show `local`.
                    let again = shown + Zone::OFFSET_SECONDS_MAX;
                    at = if calm.until > again { calm.until.max(local - Zone::OFFSET_SECONDS_MAX) } else { calm.until };
                }
                Stretch::Disturbed(range) => {
                    let end = range.end;
                    if let Some(found) = self.disturbed(range.start, end).kept.into_iter().find(|found| *found >= at) {
                        return Some(found);
                    }
                    at = end;
                }
                Stretch::Outside => return None,
            }
        }
    }

    /// The last occurrence strictly before an instant.
    pub(super) fn previous_before(&self, before: i64) -> Option<i64> {
        let mut at = before.min(CALENDAR.end) - 1;
        loop {
            match self.zone.stretch(at) {
                Stretch::Calm(calm) => {
                    let shown = at + calm.offset;
                    let local = self.expression.previous_local(shown + 1)?;
                    let found = local - calm.offset;
                    if found >= calm.from {
                        return Some(found);
                    }
                    // As above, the other way round.
                    let (last, again) = (calm.from - 1, shown - Zone::OFFSET_SECONDS_MAX);
                    at = if last < again { last.min(local + Zone::OFFSET_SECONDS_MAX) } else { last };
                }
                Stretch::Disturbed(range) => {
                    let start = range.start;
                    if let Some(found) = self.disturbed(start, range.end).kept.into_iter().rfind(|found| *found <= at) {
                        return Some(found);
                    }
                    at = start - 1;
                }
                Stretch::Outside => return None,
            }
        }
    }

    /// How many occurrences there are in (after, until]; only those near clock changes are listed.
    pub(super) fn count_between(&self, after: i64, until: i64) -> u64 {
        let mut at = after.max(CALENDAR.start - 1) + 1;
        let mut count = 0;
        while at <= until {
            at = match self.zone.stretch(at) {
                Stretch::Calm(calm) => {
                    let last = until.min(calm.until - 1);
                    count += self.expression.count_local(at - 1 + calm.offset, last + calm.offset);
                    calm.until
                }
                Stretch::Disturbed(range) => {
                    let kept = self.disturbed(range.start, range.end).kept;
                    count += kept.iter().filter(|found| (at..=until).contains(found)).count() as u64;
                    range.end
                }
                Stretch::Outside => break,
            }
        }
        count
    }

    /// What the five-minute rule drops in (after, until].
    pub(super) fn dropped_between(&self, after: i64, until: i64) -> Vec<i64> {
        let mut at = after.max(CALENDAR.start - 1) + 1;
        let mut dropped = Vec::new();
        while at <= until {
            at = match self.zone.stretch(at) {
                Stretch::Calm(calm) => calm.until,
                Stretch::Disturbed(range) => {
                    let all = self.disturbed(range.start, range.end).dropped;
                    dropped.extend(all.into_iter().filter(|found| (at..=until).contains(found)));
                    range.end
                }
                Stretch::Outside => break,
            }
        }
        dropped
    }

    /// The occurrences of a disturbed stretch, from `start` to before `end`.
    fn disturbed(&self, start: i64, end: i64) -> Disturbed {
        let mut due = Vec::new();
        let (earliest, latest) = self.zone.local_bounds(start, end);
        let mut local = earliest - 1;
        while let Some(matching) = self.expression.next_local(local).filter(|matching| *matching < latest) {
            local = matching;
            let (one, two) = self.instants(matching);
            due.extend([one, two].into_iter().flatten().filter(|found| (start..end).contains(found)));
        }
        due.sort_unstable();
        // Two wall-clock times that land on one instant are one occurrence.
        due.dedup();
        let mut disturbed = Disturbed::default();
        for found in due {
            match disturbed.kept.last() {
                Some(last) if found - last < MIN_INTERVAL_SECONDS => disturbed.dropped.push(found),
                _ => disturbed.kept.push(found),
            }
        }
        disturbed
    }

    /// When a matching wall-clock time is due.
    fn instants(&self, local: i64) -> (Option<i64>, Option<i64>) {
        match self.zone.resolve(local) {
            LocalTime::Unique(instant) => (Some(instant), None),
            LocalTime::Gap { shifted } => match self.gap {
                Gap::Shift => (Some(shifted), None),
                Gap::Skip => (None, None),
            },
            LocalTime::Fold { first, second } => (Some(first), self.repeats().then_some(second)),
        }
    }

    /// Whether a repeated wall-clock time is due twice.
    pub(super) fn repeats(&self) -> bool {
        match self.fold {
            Fold::Auto => self.expression.every_hour(),
            Fold::First => false,
            Fold::Both => true,
        }
    }
}
