//! `skycron why`: in a few lines, why a schedule did or did not run at an instant. Only reads.
//!
//! What was due is computed by the definition that was in force then, from the history; without a history, by the file.

mod moment;
pub mod verdict;

#[cfg(test)]
mod tests;

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde_json::{Value, json};

use super::{
    args::Format,
    audit::zones,
    context::Context,
    error::CliError,
    exit::Exit,
    history::{one_line, tone},
    output::{Output, Tone},
    run::history_error,
};
use crate::{
    clock::{Clock, rfc3339},
    config::{Config, zones::ZoneSource},
    engine::Status,
    history::{DefinitionRow, HistoryError, HistoryFilter, HistoryRow, Reader, ScheduleRow, lock},
    ids::ScheduleId,
    schedule::{Timetable, Zone},
};
use moment::Moment;
use verdict::{Facts, InForce, Verdict};

/// Rows of one instant that are looked at: its own, retries, starts by hand.
const ROWS_MAX: u32 = 100;
const TEXT_CHARS_MAX: usize = 1000;

const AFTER_HELP: &str = "\
INSTANT is a time on the clocks of the schedule's zone (2026-11-03 09:00), a date (its first occurrence that day), today or
yesterday with or without a time, or an instant with its offset (2026-11-03T14:00:00Z). Without one it is the last occurrence
that did not go as it should; if all did, the last.

JSON, one object: schedule, at, local, cause, sentence, because, hint, occurrence, status, reason, run_id,
failure_reason, app_url, before, after (each with scheduled_for, status). cause is one of completed, run_failed,
canceled, running, waiting, overlap, paused, disabled, missed, caught_up, superseded, clock_change, refused, unknown,
skipped, not_due, gap, not_seen, removed, to_come, not_accounted, pruned.

Examples:
  skycron why weekday-report
  skycron why weekday-report '2026-11-03 09:00'
  skycron why weekday-report yesterday --format json | jq -r .cause";

/// The arguments of `why`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct WhyArgs {
    /// The schedule
    #[arg(value_name = "SCHEDULE")]
    pub schedule: String,
    /// The instant [else the last that did not go as it should]
    #[arg(value_name = "INSTANT", num_args = 0..=2)]
    pub instant: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// Neither the history nor the file knows the schedule, the instant cannot be read, or the history cannot be.
pub fn run(args: &WhyArgs, context: &mut Context) -> Result<Exit, CliError> {
    let now = context.clock.now();
    let state_dir = context.state_dir()?;
    let reader = match Reader::open(&state_dir) {
        Ok(reader) => Some(reader),
        Err(HistoryError::Absent(_)) => None,
        Err(error) => return Err(history_error(error)),
    };
    let file = context.config_path().ok().and_then(|path| Config::load(&path, &context.environment).ok());
    let known = Known::of(&args.schedule, reader.as_ref(), file.as_ref(), &zones(context))?;
    let asked = args.instant.join(" ");
    let (at, skipped_local) = if asked.is_empty() {
        (known.last(reader.as_ref(), now)?, None)
    } else {
        match moment::read(&asked, now, &known.zone(), |from, until| known.first_due(from, until)) {
            Some(Moment::Instant(at)) => (at, None),
            Some(Moment::Skipped { local, shifted }) => (shifted, Some(local)),
            None => {
                return Err(CliError::usage(format!("{asked:?} is no instant"))
                    .hint("as in '2026-11-03 09:00' (the schedule's clocks), 2026-11-03T14:00:00Z, or yesterday"));
            }
        }
    };
    // Whatever is due is due at a whole second.
    let at = at - TimeDelta::nanoseconds(i64::from(at.timestamp_subsec_nanos()));
    let facts = known.facts(reader.as_ref(), at, now, skipped_local, daemon_runs(&state_dir))?;
    let verdict = verdict::verdict(&facts);
    let near = known.near(reader.as_ref(), &facts)?;
    let zone = known.zone();
    show(&facts, &verdict, &near, &zone, &mut context.output)?;
    Ok(Exit::Done)
}

fn daemon_runs(state_dir: &Path) -> bool {
    lock::holder(state_dir).is_some()
}

/// When it is due, and whether it is enabled.
type Rule = (Timetable, bool);

/// A schedule as the history or the file knows it.
struct Known {
    id: ScheduleId,
    row: Option<ScheduleRow>,
    /// Each with what it says, where that can be computed; oldest first.
    definitions: Vec<(DateTime<Utc>, Option<Rule>)>,
    /// What the file says, for a schedule that no daemon has seen.
    file: Option<Rule>,
}

impl Known {
    fn of(name: &str, reader: Option<&Reader>, file: Option<&Config>, zones: &ZoneSource) -> Result<Self, CliError> {
        let of_file = file.and_then(|config| config.schedule(name).ok());
        let rows = reader.map(Reader::schedules).transpose().map_err(history_error)?.unwrap_or_default();
        let row = rows.iter().find(|row| row.id.as_str() == name).cloned();
        let Some(id) = row.as_ref().map(|row| row.id.clone()).or_else(|| of_file.map(|schedule| schedule.id.clone()))
        else {
            let error = CliError::usage(format!("neither the history nor the file knows a schedule {name:?}"));
            let names = rows.iter().map(|row| row.id.as_str());
            let nearest = names.min_by_key(|id| strsim::damerau_levenshtein(name, id));
            let nearest = nearest.filter(|id| strsim::damerau_levenshtein(name, id) <= name.len().max(3) / 3);
            let of_file = file.and_then(|config| config.schedule(name).err().flatten());
            return Err(match nearest.or(of_file) {
                Some(nearest) => error.hint(format!("did you mean {nearest:?}?")),
                None => error,
            });
        };
        let definitions = match (&row, reader) {
            (Some(row), Some(reader)) => reader.definitions(&row.id).map_err(history_error)?,
            _ => Vec::new(),
        };
        let mut definitions: Vec<_> =
            definitions.iter().map(|definition| (definition.at, rule(definition, zones))).collect();
        // One that was only ever started by hand: the file says when it is due.
        if of_file.is_some() && definitions.iter().all(|(_, rule)| rule.is_none()) {
            definitions.clear();
        }
        let file = of_file.map(|schedule| (schedule.timetable.clone(), schedule.enabled));
        Ok(Self { id, row, definitions, file })
    }

    /// The newest rule that there is.
    fn newest(&self) -> Option<&Timetable> {
        let recorded = self.definitions.iter().rev().find_map(|(_, rule)| rule.as_ref());
        recorded.or(self.file.as_ref()).map(|(timetable, _)| timetable)
    }

    fn zone(&self) -> Zone {
        self.newest().map_or_else(Zone::utc, |timetable| timetable.zone().clone())
    }

    /// The last occurrence that did not go as it should, else the last, else the next.
    fn last(&self, reader: Option<&Reader>, now: DateTime<Utc>) -> Result<DateTime<Utc>, CliError> {
        if let Some(reader) = reader {
            let bad: Vec<Status> = Status::ALL.iter().copied().filter(|status| !status.is_good()).collect();
            for statuses in [bad, Vec::new()] {
                let filter =
                    HistoryFilter { schedules: vec![self.id.clone()], statuses, limit: 1, ..HistoryFilter::default() };
                let rows = reader.history(&filter).map_err(history_error)?;
                if let Some(row) = rows.first() {
                    return Ok(row.scheduled_for);
                }
            }
        }
        let next = self.newest().and_then(|timetable| timetable.next_after(now));
        next.ok_or_else(|| {
            CliError::new(Exit::Bad, format!("{} has no occurrence: none that was, and none to come", self.id))
                .hint("`skycron check` says when it is due")
        })
    }

    /// The first occurrence from an instant on and before another, by what was in force.
    fn first_due(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let rules = self.definitions.iter().filter_map(|(_, rule)| rule.as_ref()).chain(&self.file);
        let first = |(timetable, _): &Rule| {
            timetable.between(from - TimeDelta::seconds(1), until - TimeDelta::seconds(1)).find(|at| {
                matches!(self.in_force(*at, *at), InForce::Rule { timetable, .. } if timetable.why_not(*at).is_none())
            })
        };
        rules.filter_map(first).min()
    }

    fn in_force(&self, at: DateTime<Utc>, now: DateTime<Utc>) -> InForce {
        let rule = |(timetable, enabled): &Rule, since| InForce::Rule {
            timetable: timetable.clone(),
            enabled: *enabled,
            since,
        };
        // An instant is decided by the last that was written for a time before it.
        match self.definitions.iter().rev().find(|(since, _)| *since < at) {
            Some((since, Some(found))) => rule(found, Some(*since)),
            Some((since, None)) => InForce::Gone { since: *since },
            None => match (&self.file, self.definitions.first()) {
                (_, Some((first_seen, _))) => InForce::NotYet { first_seen: *first_seen },
                (Some(file), None) => rule(file, None),
                (None, None) => InForce::NotYet { first_seen: now },
            },
        }
    }

    fn facts(
        &self,
        reader: Option<&Reader>,
        at: DateTime<Utc>,
        now: DateTime<Utc>,
        skipped_local: Option<chrono::NaiveDateTime>,
        daemon_runs: bool,
    ) -> Result<Facts, CliError> {
        let rows = self.rows(reader, at)?;
        let (own, others): (Vec<HistoryRow>, Vec<HistoryRow>) =
            rows.into_iter().partition(|row| row.occurrence.suffix.is_empty());
        let mut own = own.into_iter();
        let row = own.next();
        let detail = match (reader, &row) {
            (Some(reader), Some(row)) => reader.occurrence(&row.occurrence).map_err(history_error)?,
            _ => None,
        };
        Ok(Facts {
            schedule: self.id.clone(),
            now,
            at,
            skipped_local,
            in_force: self.in_force(at, now),
            row,
            others: own.chain(others.into_iter().filter(|other| other.scheduled_for == at)).collect(),
            accounted_through: self.row.as_ref().map(|row| row.accounted_through),
            pruned_through: reader.map(Reader::pruned_through).transpose().map_err(history_error)?.flatten(),
            daemon_runs,
            app_url: detail.and_then(|detail| detail.run).and_then(|run| run.app_url),
        })
    }

    /// The rows of an instant, and those for a stretch that it lies in.
    fn rows(&self, reader: Option<&Reader>, at: DateTime<Utc>) -> Result<Vec<HistoryRow>, CliError> {
        let Some(reader) = reader else { return Ok(Vec::new()) };
        let filter = HistoryFilter {
            schedules: vec![self.id.clone()],
            since: Some(at),
            until: Some(at),
            limit: ROWS_MAX,
            ..HistoryFilter::default()
        };
        let rows = reader.history(&filter).map_err(history_error)?;
        // A stretch stands for the occurrences in it, not for every second.
        let due = |row: &HistoryRow| {
            row.scheduled_for == at
                || matches!(self.in_force(at, at), InForce::Rule { timetable, .. } if timetable.why_not(at).is_none())
        };
        Ok(rows.into_iter().filter(|row| due(row)).collect())
    }

    /// The occurrences next to it, with what came of each.
    fn near(&self, reader: Option<&Reader>, facts: &Facts) -> Result<[Option<Near>; 2], CliError> {
        let timetable = match &facts.in_force {
            InForce::Rule { timetable, .. } => timetable.clone(),
            InForce::NotYet { .. } | InForce::Gone { .. } => return Ok([None, None]),
        };
        let of = |at: Option<DateTime<Utc>>| -> Result<Option<Near>, CliError> {
            let Some(at) = at else { return Ok(None) };
            let rows = self.rows(reader, at)?;
            let status = rows.iter().find(|row| row.occurrence.suffix.is_empty()).map(|row| row.status);
            Ok(Some(Near { at, status }))
        };
        Ok([of(timetable.previous_before(facts.at))?, of(timetable.next_after(facts.at))?])
    }
}

/// An occurrence next to the one that is asked about.
struct Near {
    at: DateTime<Utc>,
    /// `None`: nothing is written about it.
    status: Option<Status>,
}

fn rule(definition: &DefinitionRow, zones: &ZoneSource) -> Option<Rule> {
    let when = definition.definition.as_ref()?;
    let timetable = Timetable::from_definition(when, |name| zones.zone(name).ok()).ok()?;
    Some((timetable, when.enabled))
}

fn show(
    facts: &Facts,
    verdict: &Verdict,
    [before, after]: &[Option<Near>; 2],
    zone: &Zone,
    output: &mut Output,
) -> Result<(), CliError> {
    let row = facts.row.as_ref();
    let local = zone.to_local(facts.at);
    if output.format() == Format::Json {
        let near = |near: &Option<Near>| {
            near.as_ref()
                .map(|near| json!({ "scheduled_for": rfc3339(near.at), "status": near.status.map(Status::word) }))
        };
        let object: Value = json!({
            "schedule": facts.schedule.as_str(),
            "at": rfc3339(facts.at),
            "local": local.to_rfc3339(),
            "cause": verdict.cause.word(),
            "sentence": verdict.sentence,
            "because": verdict.because,
            "hint": verdict.hint,
            "occurrence": row.map(|row| row.occurrence.to_string()),
            "status": row.map(|row| row.status.word()),
            "reason": row.and_then(|row| row.reason.clone()),
            "run_id": row.and_then(|row| row.run_id.as_ref()).map(crate::ids::RunId::as_str),
            "failure_reason": row.and_then(|row| row.failure_reason.clone()),
            "app_url": facts.app_url,
            "before": near(before),
            "after": near(after),
        });
        return output.object(&object);
    }
    let look = output.data_look();
    let head = format!("{} at {} ({})", facts.schedule, local.format("%a %Y-%m-%d %H:%M:%S %:z"), rfc3339(facts.at));
    output.line(look.paint(Tone::Strong, head))?;
    let mark = row.map_or(Tone::Strong, |row| tone(row.status));
    output.line(format_args!("  {}", look.paint(mark, &verdict.sentence)))?;
    for line in &verdict.because {
        output.line(format_args!("  - {}", one_line(line, TEXT_CHARS_MAX)))?;
    }
    for (label, near) in [("before it", before), ("after it", after)] {
        let Some(near) = near else { continue };
        let fate = match near.status {
            Some(status) => look.paint(tone(status), status),
            None if near.at > facts.now => "to come".to_owned(),
            None => "nothing is written about it".to_owned(),
        };
        let local = zone.to_local(near.at).format("%a %Y-%m-%d %H:%M %:z");
        let label = look.paint(Tone::Dim, format_args!("{label:<9}"));
        output.line(format_args!("  {label} {local}: {fate}"))?;
    }
    if let Some(hint) = &verdict.hint {
        let label = look.paint(Tone::Strong, "hint");
        output.line(format_args!("  {label}: {}", one_line(hint, TEXT_CHARS_MAX)))?;
    }
    Ok(())
}
