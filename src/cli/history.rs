//! `skycron history`: what happened, newest first. Reads the history while a daemon writes it or without one.

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, builder::PossibleValuesParser};
use comfy_table::Cell;

use super::{
    args::Format,
    context::Context,
    error::CliError,
    exit::Exit,
    instant::InstantArg,
    output::{Output, Tone, toned},
    run::history_error,
};
use crate::{
    clock::{Clock, length, rfc3339},
    engine::{Status, Trigger},
    history::{HistoryFilter, HistoryRow, Reader},
    ids::ScheduleId,
};

/// Longer explanations are cut in the table; `show` and the JSON have them whole.
const WHY_CHARS_MAX: usize = 160;

const AFTER_HELP: &str = "\
LATE is how long after its instant the request left, TOOK how long the run went on. A line that stands for several
occurrences (nothing could fire for a while) says how many. `skycron show` has everything about one, by its name or
by its run.

JSON, one object a line: occurrence, schedule, scheduled_for, trigger, status, reason, attempts, run_id, launched_at,
finished_at, failure_reason. For more, history.db in the state folder can be read with sqlite3 at any time: the views
v_history, v_last_run and v_daily are made for that.

Examples:
  skycron history
  skycron history weekday-report --limit 10
  skycron history --status failed,missed,unknown --since -7d
  skycron history --since 2026-11-01 --format json | jq -r .run_id";

/// The arguments of `history`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct HistoryArgs {
    /// Only these schedules
    #[arg(value_name = "SCHEDULE")]
    pub schedules: Vec<String>,
    /// Not due before this instant
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    pub since: Option<InstantArg>,
    /// Not due after this instant
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    pub until: Option<InstantArg>,
    /// Only occurrences with one of these statuses
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = PossibleValuesParser::new(Status::ALL.iter().map(|status| status.word())))]
    pub status: Vec<String>,
    /// At most so many lines, the newest
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
}

/// Runs the command.
///
/// # Errors
/// There is no history, it cannot be read, or it has never seen one of the schedules.
pub fn run(args: &HistoryArgs, context: &mut Context) -> Result<Exit, CliError> {
    let reader = Reader::open(&context.state_dir()?).map_err(history_error)?;
    let now = context.clock.now();
    let filter = HistoryFilter {
        schedules: schedules(&args.schedules, &reader)?,
        since: args.since.map(|since| since.resolve(now)),
        until: args.until.map(|until| until.resolve(now)),
        statuses: args.status.iter().filter_map(|word| Status::from_word(word)).collect(),
        limit: args.limit,
    };
    let rows = reader.history(&filter).map_err(history_error)?;
    let output = &mut context.output;
    show_rows(&rows, output)?;
    if output.format() == Format::Text && rows.is_empty() {
        output.note("nothing: no occurrence is like that");
    } else if output.format() == Format::Text && rows.len() >= args.limit as usize {
        output.note(format_args!("the newest {}; --limit shows more", rows.len()));
    }
    Ok(Exit::Done)
}

/// Lines of the history as a table, or as JSON.
///
/// # Errors
/// Standard output cannot be written.
pub fn show_rows(rows: &[HistoryRow], output: &mut Output) -> Result<(), CliError> {
    if output.format() == Format::Json {
        return rows.iter().try_for_each(|row| output.object(row));
    }
    if rows.is_empty() {
        return Ok(());
    }
    output.table(&["OCCURRENCE", "STATUS", "TRIGGER", "LATE", "TOOK", "RUN", "WHY"], rows.iter().map(cells))
}

/// The schedules by their names; one that was never seen is more likely a slip than a question.
fn schedules(names: &[String], reader: &Reader) -> Result<Vec<ScheduleId>, CliError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let known = reader.schedules().map_err(history_error)?;
    names
        .iter()
        .map(|name| {
            if let Some(found) = known.iter().find(|row| row.id.as_str() == name) {
                return Ok(found.id.clone());
            }
            let error = CliError::usage(format!("the history has never seen a schedule {name:?}"));
            let near = |id: &str| strsim::damerau_levenshtein(name, id);
            let nearest = known.iter().map(|row| row.id.as_str()).min_by_key(|id| near(id));
            Err(match nearest.filter(|id| near(id) <= name.len().max(3) / 3) {
                Some(nearest) => error.hint(format!("did you mean {nearest:?}?")),
                None => error,
            })
        })
        .collect()
}

fn cells(row: &HistoryRow) -> Vec<Cell> {
    let why = row.failure_reason.as_deref().or(row.reason.as_deref()).unwrap_or_default();
    let stretch = match row.through {
        Some(through) if row.count > 1 => format!("{} until {}; ", row.count, rfc3339(through)),
        _ => String::new(),
    };
    vec![
        Cell::new(&row.occurrence),
        toned(tone(row.status), row.status),
        toned(Tone::Dim, row.trigger),
        Cell::new(late(row).map_or_else(String::new, length)),
        Cell::new(took(row).map_or_else(String::new, length)),
        Cell::new(row.run_id.as_ref().map_or("", |run| run.as_str())),
        Cell::new(one_line(&format!("{stretch}{why}"), WHY_CHARS_MAX)),
    ]
}

/// How a status is meant.
#[must_use]
pub fn tone(status: Status) -> Tone {
    match status {
        Status::Completed => Tone::Good,
        Status::Skipped => Tone::Dim,
        _ if status.is_open() => Tone::Strong,
        Status::Canceled => Tone::Warn,
        _ => Tone::Bad,
    }
}

/// How long after its instant the request left; nothing for a backfill, which is late on purpose.
#[must_use]
pub fn late(row: &HistoryRow) -> Option<TimeDelta> {
    row.launched_at.filter(|_| row.trigger != Trigger::Backfill).map(|at| at - row.scheduled_for)
}

/// How long its run went on.
#[must_use]
pub fn took(row: &HistoryRow) -> Option<TimeDelta> {
    let between = |from: DateTime<Utc>, to: DateTime<Utc>| to - from;
    row.launched_at.zip(row.finished_at).map(|(from, to)| between(from, to))
}

/// A text that came from elsewhere, safe to print: in one line, without control characters (a web page's text may hold
/// sequences that a terminal obeys), and cut after so many characters.
#[must_use]
pub fn one_line(text: &str, chars_max: usize) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = chars.by_ref().take(chars_max).collect();
    if chars.next().is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_safe_to_print() {
        let check = |text: &str, expected: &str| assert_eq!(one_line(text, 8), expected);
        check("short", "short");
        check("12345678", "12345678");
        check("123456789", "12345678…");
        check("a\nb\u{1b}[31m", "a b [31m");
        check("ééééééééé", "éééééééé…");
    }
}
