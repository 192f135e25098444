//! `skycron next`: the occurrences to come, of the file's schedules or of an expression.
//!
//! The instants are the timetables' own, the same that the daemon fires at; this only merges and shows them.

use std::{cmp::Reverse, collections::BinaryHeap};

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use super::{
    args::Format,
    context::Context,
    error::CliError,
    exit::Exit,
    instant::InstantArg,
    output::{Output, Tone, toned},
    problems,
};
use crate::{
    clock::{Clock, rfc3339},
    config::{self, Config},
    schedule::{Schedule, Timetable},
};

/// How many are shown if nothing says how many.
const COUNT: usize = 10;
/// How many are shown at most where `--until` is the bound.
const COUNT_MAX: usize = 100_000;

/// So many schedules are told in words; `check` tells more of them.
const IN_WORDS_MAX: usize = 5;

const AFTER_HELP: &str = "\
An INSTANT is 2026-11-02T09:00:00-05:00, 2026-11-02 (midnight UTC), now, -7d or +2h. --until alone shows all until
then, up to 100,000. Occurrences are shown at their own instant; jitter, which starts them a little later, is not.

In JSON: schedule (null for --cron), scheduled_for (UTC), local (with the offset of that day).

Examples:
  skycron next
  skycron next weekday-report --count 3
  skycron next --cron '30 2 * * *' --timezone America/New_York --after 2027-03-13 --count 3";

/// The arguments of `next`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct NextArgs {
    /// Only these schedules; all of the file if none is named
    #[arg(value_name = "SCHEDULE")]
    pub schedules: Vec<String>,
    /// An expression instead of the file's schedules
    #[arg(long, value_name = "EXPR", conflicts_with = "schedules")]
    pub cron: Option<String>,
    /// The zone whose clocks the expression means
    #[arg(long, value_name = "ZONE", default_value = "UTC", requires = "cron")]
    pub timezone: String,
    /// Only what is due after this instant [else now]
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    pub after: Option<InstantArg>,
    /// Only what is due up to this instant
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    pub until: Option<InstantArg>,
    /// So many in all [else 10, or all up to --until]
    #[arg(long, short = 'n', value_name = "N")]
    pub count: Option<usize>,
}

/// A timetable, and the schedule that it belongs to.
struct Named {
    schedule: Option<String>,
    timetable: Timetable,
}

/// Runs the command.
///
/// # Errors
/// The file, a name or the expression is wrong, or standard output cannot be written.
pub fn run(args: &NextArgs, context: &mut Context) -> Result<Exit, CliError> {
    let now = context.clock.now();
    let after = args.after.unwrap_or(InstantArg::Now).resolve(now);
    let until = args.until.map(|until| until.resolve(now));
    if until.is_some_and(|until| until < after) {
        return Err(CliError::usage("--until is before --after"));
    }
    let timetables = match &args.cron {
        Some(expression) => vec![expression_timetable(expression, &args.timezone, context)?],
        None => {
            let config = context.load_config()?;
            file_timetables(&config, &args.schedules, &mut context.output)?
        }
    };
    let count = args.count.unwrap_or(if until.is_some() { COUNT_MAX } else { COUNT });
    let occurrences = Merged::new(&timetables, after).take_while(|(at, ..)| until.is_none_or(|until| *at <= until));
    let occurrences: Vec<_> = occurrences.take(count).map(|(at, named, _)| (at, named)).collect();
    if context.output.format() == Format::Text {
        in_words(&timetables, &mut context.output)?;
    }
    show(&occurrences, now, &mut context.output)?;
    Ok(Exit::Done)
}

/// When each of a few timetables is due, in words.
fn in_words(timetables: &[Named], output: &mut Output) -> Result<(), CliError> {
    if timetables.len() > IN_WORDS_MAX {
        return Ok(());
    }
    for Named { schedule, timetable } in timetables {
        let Some(words) = timetable.in_words() else { continue };
        let name = schedule.as_ref().map_or_else(String::new, |schedule| format!("{schedule}: "));
        output.line(format_args!("{name}{words} ({})", timetable.cadence_text()))?;
    }
    Ok(())
}

fn expression_timetable(expression: &str, zone: &str, context: &mut Context) -> Result<Named, CliError> {
    match config::expression_timetable(expression, zone, &context.environment) {
        Ok(timetable) => Ok(Named { schedule: None, timetable }),
        Err(found) => {
            problems::as_error(&found, &mut context.output);
            Err(CliError::usage(format!("{} is wrong", found.path.display())))
        }
    }
}

fn file_timetables(config: &Config, names: &[String], output: &mut Output) -> Result<Vec<Named>, CliError> {
    let chosen: Vec<&Schedule> = if names.is_empty() {
        config.schedules.iter().map(AsRef::as_ref).collect()
    } else {
        names.iter().map(|name| find(config, name)).collect::<Result<_, _>>()?
    };
    let (enabled, disabled): (Vec<&Schedule>, Vec<&Schedule>) = chosen.into_iter().partition(|s| s.enabled);
    match disabled.as_slice() {
        [] => {}
        [one] => output.note(format_args!("{} is disabled: it is not due", one.id)),
        many => output.note(format_args!("{} schedules are disabled: they are not due", many.len())),
    }
    let named = |s: &Schedule| Named { schedule: Some(s.id.to_string()), timetable: s.timetable.clone() };
    Ok(enabled.into_iter().map(named).collect())
}

/// The next occurrences of the enabled schedules of a file, in the order of time.
pub(super) fn upcoming(config: &Config, after: DateTime<Utc>, count: usize) -> Vec<(DateTime<Utc>, &Schedule)> {
    let enabled: Vec<&Schedule> =
        config.schedules.iter().map(AsRef::as_ref).filter(|schedule: &&Schedule| schedule.enabled).collect();
    let named: Vec<Named> =
        enabled.iter().map(|schedule| Named { schedule: None, timetable: schedule.timetable.clone() }).collect();
    Merged::new(&named, after).take(count).filter_map(|(at, _, index)| Some((at, *enabled.get(index)?))).collect()
}

/// The schedule of this name, or an error with the one that was probably meant.
///
/// # Errors
/// The file has no such schedule.
pub fn find<'a>(config: &'a Config, name: &str) -> Result<&'a Schedule, CliError> {
    config.schedule(name).map_err(|nearest| {
        let error = CliError::usage(format!("{} has no schedule {name:?}", config.path.display()));
        match nearest {
            Some(nearest) => error.hint(format!("did you mean {nearest:?}?")),
            None => error.hint("`skycron next` lists those that are due"),
        }
    })
}

/// The occurrences of many timetables in the order of time; those of one instant in the order of the file.
struct Merged<'a> {
    timetables: &'a [Named],
    heads: BinaryHeap<Reverse<(DateTime<Utc>, usize)>>,
}

impl<'a> Merged<'a> {
    fn new(timetables: &'a [Named], after: DateTime<Utc>) -> Self {
        let head = |(index, named): (usize, &Named)| Some(Reverse((named.timetable.next_after(after)?, index)));
        Self { timetables, heads: timetables.iter().enumerate().filter_map(head).collect() }
    }
}

impl<'a> Iterator for Merged<'a> {
    type Item = (DateTime<Utc>, &'a Named, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((at, index)) = self.heads.pop()?;
        let named = self.timetables.get(index)?;
        if let Some(next) = named.timetable.next_after(at) {
            self.heads.push(Reverse((next, index)));
        }
        Some((at, named, index))
    }
}

fn show(occurrences: &[(DateTime<Utc>, &Named)], now: DateTime<Utc>, output: &mut Output) -> Result<(), CliError> {
    if output.format() == Format::Json {
        for (at, named) in occurrences {
            let local = named.timetable.zone().to_local(*at).to_rfc3339();
            output.object(&json!({ "schedule": named.schedule, "scheduled_for": rfc3339(*at), "local": local }))?;
        }
        return Ok(());
    }
    if occurrences.is_empty() {
        output.note("nothing is due");
        return Ok(());
    }
    let named = occurrences.iter().any(|(_, named)| named.schedule.is_some());
    let headers = ["SCHEDULE", "LOCAL TIME", "ZONE", "UTC", "IN"];
    let rows = occurrences.iter().map(|(at, occurrence)| {
        let zone = occurrence.timetable.zone();
        let schedule = occurrence.schedule.clone().unwrap_or_default();
        let cells = [
            toned(Tone::Strong, schedule),
            zone.to_local(*at).format("%a %Y-%m-%d %H:%M:%S %:z").to_string().into(),
            toned(Tone::Dim, zone.name()),
            rfc3339(*at).into(),
            toned(Tone::Dim, distance(now, *at)),
        ];
        cells.into_iter().skip(usize::from(!named)).collect()
    });
    output.table(headers.get(usize::from(!named)..).unwrap_or(&headers), rows)
}

/// How far an instant is from now, in its two largest units: `2h 5m`, or `3d 1h ago`.
#[must_use]
pub fn distance(now: DateTime<Utc>, at: DateTime<Utc>) -> String {
    let seconds = at.signed_duration_since(now).num_seconds();
    let left = seconds.unsigned_abs();
    let parts = [(left / 86_400, "d"), (left / 3600 % 24, "h"), (left / 60 % 60, "m"), (left % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(parts.len() - 1);
    let shown = parts.iter().skip(first).take(2).filter(|(count, _)| *count > 0 || left == 0);
    let text = shown.map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().join(" ");
    if seconds < 0 { format!("{text} ago") } else { text }
}

#[cfg(test)]
mod tests {
    use super::distance;
    use crate::clock::parse_rfc3339;

    #[test]
    fn distances_have_two_units() {
        let check = |at: &str, expected: &str| {
            let now = parse_rfc3339("2026-11-02T14:00:00Z").unwrap();
            assert_eq!(distance(now, parse_rfc3339(at).unwrap()), expected, "{at}");
        };
        check("2026-11-02T14:00:00Z", "0s");
        check("2026-11-02T16:05:07Z", "2h 5m");
        check("2026-10-30T13:00:00Z", "3d 1h ago");
        check("2026-11-02T14:00:59Z", "59s");
        check("2026-11-03T14:00:59Z", "1d");
        check("2027-11-02T14:00:00Z", "365d");
    }
}
