//! What must hold: an account of its own, kept from the rows as they are committed and compared with the server's record, the
//! engine, and the database. Knows nothing of how the engine decides.
//!
//! The arithmetic of the timetable's instants is done again here: the definition in force at an instant is the latest one
//! (in the order of the rows) that was given for before it. What that one says is due, up to `accounted_through`, has exactly
//! one row or lies in exactly one stretch.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use skycron::{
    engine::{
        Change, Status, Trigger,
        change::{AttemptOutcome, Memory, NewOccurrence},
    },
    ids::{Instance, OccurrenceKey, RunId, ScheduleId},
    schedule::Definition,
};

use crate::files;

/// The first part of every key.
pub(crate) const INSTANCE: &str = "sim";

/// What does not hold.
pub(crate) type Verdict = Result<(), String>;

macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+));
        }
    };
}
pub(crate) use ensure;

/// A row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) trigger: Trigger,
    pub(crate) status: Status,
    pub(crate) through: DateTime<Utc>,
    pub(crate) count: u32,
    /// For each attempt: whether its end is known.
    pub(crate) attempts: Vec<Option<AttemptOutcome>>,
    pub(crate) run_id: Option<RunId>,
}

/// A schedule's account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    /// Each with its instant; `None`: gone.
    pub(crate) definitions: Vec<(DateTime<Utc>, Option<Definition>)>,
    pub(crate) accounted_through: Option<DateTime<Utc>>,
}

impl Account {
    /// What decides at an instant, and the instants for which it does.
    fn in_force(&self, at: DateTime<Utc>) -> Option<&Definition> {
        // To the second, as the timetable: a definition given at 14:00:00.3 is not asked about 14:00:00.
        let found = self.definitions.iter().rev().find(|(from, _)| from.timestamp() < at.timestamp());
        found.and_then(|(_, definition)| definition.as_ref())
    }

    /// Every instant in (after, until] at which it was due, and those that the five-minute rule dropped.
    fn due(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> (Vec<DateTime<Utc>>, Vec<DateTime<Utc>>) {
        let (mut due, mut dropped) = (Vec::new(), Vec::new());
        let mut asked: Vec<&Definition> = Vec::new();
        for (_, definition) in &self.definitions {
            // A disabled one is due all the same, and accounted for as skipped when that ends.
            let Some(definition) = definition.as_ref() else { continue };
            if asked.contains(&definition) {
                continue;
            }
            asked.push(definition);
            let timetable = files::timetable(definition);
            let here = |at: &DateTime<Utc>| self.in_force(*at) == Some(definition);
            due.extend(timetable.between(after, until).filter(here));
            dropped.extend(timetable.dropped_between(after, until).into_iter().filter(here));
        }
        due.sort();
        (due, dropped)
    }
}

/// The account of one history.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) rows: BTreeMap<OccurrenceKey, Row>,
    pub(crate) open: BTreeSet<OccurrenceKey>,
    /// Rows that stand for more than one occurrence.
    stretches: BTreeSet<OccurrenceKey>,
    pub(crate) schedules: BTreeMap<ScheduleId, Account>,
    /// Whose each run is. Unlike the database's index it must be unique, for runs that we started.
    pub(crate) runs: BTreeMap<RunId, OccurrenceKey>,
    /// How late a start of each schedule may be, by the most generous of its policies so far.
    pub(crate) window_max: BTreeMap<ScheduleId, TimeDelta>,
    /// Schedules that were once allowed to run more than once at a time.
    pub(crate) parallel: BTreeSet<ScheduleId>,
    /// Occurrences that were accounted for and compared.
    pub(crate) compared: u64,
}

impl Ledger {
    /// Takes in what one transaction wrote, and judges it.
    pub(crate) fn take_in(&mut self, changes: &[Change]) -> Verdict {
        let mut moved: BTreeMap<&ScheduleId, Option<DateTime<Utc>>> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Defined { schedule, at, definition } => {
                    let account = self.schedules.entry(schedule.clone()).or_default();
                    moved.entry(schedule).or_insert(account.accounted_through);
                    let definition = definition.as_ref().map(|both| both.0.clone());
                    account.definitions.push((*at, definition));
                    // As the database: new ones are accounted for from then on.
                    account.accounted_through.get_or_insert(*at);
                }
                Change::AccountedThrough { schedule, through } => {
                    let account = self.schedules.entry(schedule.clone()).or_default();
                    let before = account.accounted_through.replace(*through);
                    moved.entry(schedule).or_insert(before);
                    ensure!(
                        before.is_none_or(|before| before <= *through),
                        "{schedule}: accounted_through went back from {before:?} to {through}"
                    );
                }
                Change::Reopened { schedule, after, .. } => {
                    let through = self.schedules[schedule].accounted_through;
                    let taken_back = |key: &OccurrenceKey, row: &Row| {
                        key.schedule == *schedule
                            && key.suffix.is_empty()
                            && key.scheduled_for.timestamp() > after.timestamp()
                            && through.is_some_and(|through| key.scheduled_for <= through)
                            && row.attempts.is_empty()
                            && (matches!(row.status, Status::Skipped | Status::Missed)
                                || (row.status == Status::Unknown && row.count > 1))
                    };
                    self.rows.retain(|key, row| !taken_back(key, row));
                    self.stretches.retain(|key| self.rows.contains_key(key));
                    let account = self.schedules.entry(schedule.clone()).or_default();
                    account.accounted_through = Some(*after);
                    moved.insert(schedule, Some(*after));
                }
                Change::Withdrawn { key, at } => {
                    let row = self.rows.remove(key).ok_or_else(|| format!("{key} has no row"))?;
                    self.open.remove(key);
                    ensure!(
                        row.trigger == Trigger::Server && row.status == Status::Pending && row.attempts.is_empty(),
                        "{key} is withdrawn: {row:?}"
                    );
                    ensure!(key.scheduled_for > *at, "{key} is withdrawn at {at}");
                }
                Change::Occurred(new) => self.occurred(new)?,
                other => self.row_changed(other)?,
            }
        }
        for (schedule, before) in moved {
            self.is_accounted_for(schedule, before)?;
        }
        Ok(())
    }

    fn occurred(&mut self, new: &NewOccurrence) -> Verdict {
        let row = Row {
            trigger: new.trigger,
            status: new.status,
            through: new.through.unwrap_or(new.key.scheduled_for),
            count: new.count,
            attempts: Vec::new(),
            run_id: None,
        };
        let timetable = matches!(new.trigger, Trigger::Schedule | Trigger::CatchUp);
        ensure!(
            !timetable || new.key.scheduled_for <= new.at,
            "{} was decided before it was due, at {}",
            new.key,
            new.at
        );
        let unwatched = new.status == Status::Unknown && new.count > 1;
        let begins = matches!(new.status, Status::Pending | Status::Skipped | Status::Missed) || unwatched;
        ensure!(begins, "{} begins as {}", new.key, new.status);
        ensure!(new.count == 1 || !new.status.is_open(), "{} is a stretch and open", new.key);
        ensure!(new.status.is_open() || new.reason.is_some(), "{} is {} without a reason", new.key, new.status);
        ensure!(
            new.key.suffix.is_empty() != (new.trigger == Trigger::Manual || new.trigger == Trigger::Retry),
            "{} by {}",
            new.key,
            new.trigger
        );
        if new.status.is_open() {
            self.open.insert(new.key.clone());
        }
        if new.count > 1 {
            self.stretches.insert(new.key.clone());
        }
        let before = self.rows.insert(new.key.clone(), row);
        ensure!(before.is_none(), "{} has a second row", new.key);
        Ok(())
    }

    fn row_changed(&mut self, change: &Change) -> Verdict {
        match change {
            Change::StatusChanged { key, status, reason, .. } => {
                let row = self.rows.get_mut(key).ok_or_else(|| format!("{key} has no row"))?;
                let from = row.status;
                let servers = row.trigger == Trigger::Server
                    && match (from, status) {
                        // Found, or given up; and found after all.
                        (Status::Pending, Status::Running | Status::Unknown) | (Status::Missed, Status::Running) => {
                            true
                        }
                        _ => false,
                    };
                ensure!(servers || may_follow(from, *status), "{key} went from {from} to {status}");
                let explained = reason.is_some() || status.is_open() || *status == Status::Completed;
                ensure!(explained, "{key} is {status} without a reason");
                row.status = *status;
                if status.is_open() {
                    self.open.insert(key.clone());
                } else {
                    self.open.remove(key);
                }
            }
            Change::AttemptBegun { key, number, at } => {
                self.may_begin(key, *at)?;
                let row = self.rows.get_mut(key).ok_or_else(|| format!("{key} has no row"))?;
                ensure!(row.status == Status::Pending, "an attempt of {key}, which is {}", row.status);
                row.attempts.push(None);
                ensure!(row.attempts.len() == *number as usize, "{key}: attempt {number} after {:?}", row.attempts);
                row.status = Status::Launching;
            }
            Change::AttemptEnded { key, number, outcome, run_id, .. } => {
                let row = self.rows.get_mut(key).ok_or_else(|| format!("{key} has no row"))?;
                ensure!(row.attempts.len() == *number as usize, "{key}: the end of attempt {number}, not the last");
                *row.attempts.last_mut().unwrap() = Some(*outcome);
                let run_id = run_id.clone();
                self.has_run(key, run_id)?;
            }
            Change::RunReported { key, report, .. } => self.has_run(key, Some(report.run_id.clone()))?,
            _ => {}
        }
        Ok(())
    }

    /// A start of the timetable's own is within its window, and not beside another run of its schedule.
    fn may_begin(&self, key: &OccurrenceKey, at: DateTime<Utc>) -> Verdict {
        let row = self.rows.get(key).ok_or_else(|| format!("{key} has no row"))?;
        if matches!(row.trigger, Trigger::Schedule | Trigger::CatchUp | Trigger::Server) {
            let late = at - key.scheduled_for;
            let window = self.window_max.get(&key.schedule).copied().unwrap_or_default();
            ensure!(late <= window, "{key} is started {late} after it was due, {window} is the most");
        }
        if row.trigger != Trigger::Manual && !self.parallel.contains(&key.schedule) {
            let beside = self.open.iter().find(|other| {
                let row = &self.rows[*other];
                other.schedule == key.schedule
                    && *other != key
                    && row.trigger != Trigger::Manual
                    // The server asks nobody.
                    && !(row.trigger == Trigger::Server && row.attempts.is_empty())
                    && matches!(row.status, Status::Launching | Status::Running)
            });
            ensure!(beside.is_none(), "{key} is started beside {beside:?}");
        }
        Ok(())
    }

    fn has_run(&mut self, key: &OccurrenceKey, run_id: Option<RunId>) -> Verdict {
        let Some(run_id) = run_id else { return Ok(()) };
        let row = self.rows.get_mut(key).ok_or_else(|| format!("{key} has no row"))?;
        let before = row.run_id.replace(run_id.clone());
        ensure!(before.is_none() || before.as_ref() == Some(&run_id), "{key} has {before:?} and {run_id}");
        let owner = self.runs.insert(run_id.clone(), key.clone());
        ensure!(owner.is_none() || owner.as_ref() == Some(key), "{run_id} belongs to {owner:?} and {key}");
        Ok(())
    }

    /// Everything that was due is accounted for once, from `before` up to where the schedule stands now.
    fn is_accounted_for(&mut self, schedule: &ScheduleId, before: Option<DateTime<Utc>>) -> Verdict {
        let account = &self.schedules[schedule];
        let (Some(before), Some(now)) = (before, account.accounted_through) else { return Ok(()) };
        self.compared += self.compare(schedule, before, now)?;
        Ok(())
    }

    /// Compares the instants in (after, until] with the rows; how many there were.
    fn compare(&self, schedule: &ScheduleId, after: DateTime<Utc>, until: DateTime<Utc>) -> Result<u64, String> {
        let account = &self.schedules[schedule];
        let (due, dropped) = account.due(after, until);
        let rows = self.rows_beyond(schedule, after);
        for at in &due {
            let of: Vec<String> = rows
                .iter()
                .filter(|(key, row)| key.scheduled_for <= *at && *at <= row.through)
                .map(|(key, row)| format!("{key} x{} to {}", row.count, row.through))
                .collect();
            ensure!(of.len() == 1, "{schedule} was due at {at}, which has {} rows: {of:?}", of.len());
        }
        for at in &dropped {
            let has = rows.iter().any(|(key, row)| key.scheduled_for == *at && row.status == Status::Skipped);
            ensure!(has, "{schedule}: {at}, which a clock change drops, has no row");
        }
        for (key, row) in rows.iter().filter(|(key, row)| key.scheduled_for > after && row.through <= until) {
            if row.count > 1 {
                let of = due.iter().filter(|at| key.scheduled_for <= **at && **at <= row.through).count();
                ensure!(of == row.count as usize, "{key} stands for {}, and {of} were due", row.count);
            }
        }
        Ok(due.len() as u64 + dropped.len() as u64)
    }

    /// The rows of a schedule that reach beyond an instant.
    fn rows_beyond(&self, schedule: &ScheduleId, after: DateTime<Utc>) -> Vec<(&OccurrenceKey, &Row)> {
        let from = OccurrenceKey {
            instance: Instance::new(INSTANCE).unwrap(),
            schedule: schedule.clone(),
            scheduled_for: after - TimeDelta::seconds(1),
            suffix: String::new(),
        };
        let earlier = self.stretches.iter().filter(|key| key.schedule == *schedule && **key < from);
        let earlier = earlier.filter_map(|key| self.rows.get_key_value(key)).filter(|(_, row)| row.through > after);
        let later = self.rows.range(&from..).take_while(|(key, _)| key.schedule == *schedule);
        earlier.chain(later).filter(|(key, _)| key.suffix.is_empty()).collect()
    }

    /// The whole account once more, from the beginning.
    pub(crate) fn audit(&self) -> Result<u64, String> {
        let mut compared = 0;
        for (schedule, account) in &self.schedules {
            let Some((first, _)) = account.definitions.first() else { continue };
            let earliest = account.definitions.iter().map(|(at, _)| *at).min().unwrap_or(*first);
            if let Some(through) = account.accounted_through {
                compared += self.compare(schedule, earliest, through)?;
            }
        }
        Ok(compared)
    }

    /// What a process reads when it boots is what was committed.
    pub(crate) fn remembers(&self, memory: &Memory) -> Verdict {
        let open: BTreeSet<OccurrenceKey> = memory.open.iter().map(|open| open.key.clone()).collect();
        ensure!(open == self.open, "remembered as open: {open:?}, open: {:?}", self.open);
        for open in &memory.open {
            let row = &self.rows[&open.key];
            ensure!(row.status == open.status, "{}: remembered as {}, is {}", open.key, open.status, row.status);
            ensure!(row.attempts.len() == open.attempt_number as usize, "{}: attempts", open.key);
            ensure!(row.run_id == open.run_id, "{}: remembered with {:?}, has {:?}", open.key, open.run_id, row.run_id);
        }
        let there =
            self.schedules.iter().filter(|(_, account)| account.definitions.last().is_some_and(|d| d.1.is_some()));
        let there: Vec<_> = there.map(|(id, account)| (id.clone(), account.accounted_through)).collect();
        let remembered: Vec<_> = memory.schedules.iter().map(|s| (s.id.clone(), Some(s.accounted_through))).collect();
        let seconds = |all: &[(ScheduleId, Option<DateTime<Utc>>)]| {
            all.iter().map(|(id, at)| (id.clone(), at.map(|at| at.timestamp()))).collect::<Vec<_>>()
        };
        ensure!(seconds(&there) == seconds(&remembered), "schedules: {there:?}, remembered: {remembered:?}");
        Ok(())
    }
}

/// The arrows between the statuses of a row.
fn may_follow(from: Status, to: Status) -> bool {
    use Status::*;
    match from {
        Pending => matches!(to, Pending | Skipped | Missed),
        Launching => matches!(to, Launching | Pending | Running | Refused | Missed | Skipped | Unknown),
        Running => matches!(to, Running | Completed | Failed | Terminated | TimedOut | Canceled | Unknown),
        _ => false,
    }
}
