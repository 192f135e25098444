//! `skycron check`: reads the file and lists every problem in it. Touches nothing: no network, no database, no key; with
//! `--online` it asks the server, too (`online`).

pub(super) mod online;

use chrono::{DateTime, Utc};
use clap::Args;
use comfy_table::Cell;

use super::{
    args::Format,
    context::Context,
    error::CliError,
    exit::Exit,
    output::{Output, Tone, toned},
    problems,
};
use crate::{
    clock::Clock,
    config::{Config, Problems, Severity},
};

/// Schedules that are told in words; a file with more than that is better asked about one of them.
const IN_WORDS_MAX: usize = 50;

const AFTER_HELP: &str = "\
Problems go to standard output, each with file, line, column, code and a hint; in JSON one object a line with
file, line, column, severity, code, message, hint, schedule. Exit code 0 if there is no error (warnings may be),
2 if there is.

--online also asks the server what only it knows: that it accepts the key; that each workflow exists, declares each
parameter that is given and is given each that it requires, of a fitting type; that browser sessions and profiles
exist; how far its clock is from this one. One question for each workflow; nothing is started or changed. Exit code
3 if the server cannot be asked.

Examples:
  skycron check
  skycron check --online
  skycron check --config /etc/skycron/schedules.toml
  skycron check --format json | jq -r .message";

/// The arguments of `check`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct CheckArgs {
    /// Ask the server, too: the key, each workflow, its parameters
    #[arg(long)]
    pub online: bool,
}

/// Runs the command.
///
/// # Errors
/// There is no file, or standard output cannot be written.
pub fn run(args: &CheckArgs, context: &mut Context) -> Result<Exit, CliError> {
    let path = context.config_path()?;
    let config = match Config::load(&path, &context.environment) {
        Ok(config) => config,
        Err(found) => {
            let output = &mut context.output;
            problems::as_data(&found, output)?;
            if output.format() == Format::Text {
                let summary = output.data_look().paint(Tone::Bad, found.summary());
                output.line(format_args!("{}: {summary}", path.display()))?;
            }
            return Ok(Exit::Usage);
        }
    };
    let mut found = warnings(&config, context.clock.now());
    // What the file says by itself is told also where the server cannot be asked.
    let looked = if args.online { Some(online::look(&config, context)) } else { None };
    let (server, failed) = match looked {
        Some(Ok(looked)) => {
            found.list.extend(looked.problems);
            (Some(looked.server), None)
        }
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    found.list.sort_by_key(|problem| problem.place.as_ref().map(|place| place.span.start));
    let output = &mut context.output;
    if output.format() == Format::Text {
        in_words(&config, output)?;
    }
    problems::as_data(&found, output)?;
    let errors = found.count(Severity::Error);
    if output.format() == Format::Text {
        let schedules = match config.schedules.len() {
            1 => "1 schedule".to_owned(),
            count => format!("{count} schedules"),
        };
        let tone = match (errors, found.list.is_empty()) {
            (0, true) => Tone::Good,
            (0, false) => Tone::Warn,
            _ => Tone::Bad,
        };
        let summary = output.data_look().paint(tone, found.summary());
        output.line(format_args!("{}: {schedules}, {summary}", path.display()))?;
        output.line(format_args!("zone rules: {}", config.zones.release()))?;
        if let Some(server) = server {
            output.line(format_args!("server: {server}"))?;
        }
    }
    match failed {
        Some(error) => Err(error),
        None if errors > 0 => Ok(Exit::Usage),
        None => Ok(Exit::Done),
    }
}

/// When each schedule is due, in words.
fn in_words(config: &Config, output: &mut Output) -> Result<(), CliError> {
    let rows = config.schedules.iter().take(IN_WORDS_MAX).map(|schedule| {
        let words = schedule.timetable.in_words().unwrap_or_default();
        let words = if schedule.enabled { words } else { format!("disabled: {words}") };
        vec![toned(Tone::Strong, &schedule.id), toned(Tone::Dim, schedule.timetable.cadence_text()), Cell::new(words)]
    });
    if config.schedules.is_empty() {
        return Ok(());
    }
    output.table(&["SCHEDULE", "CADENCE", "DUE"], rows)?;
    if config.schedules.len() > IN_WORDS_MAX {
        output.line(format_args!("and {} more", config.schedules.len() - IN_WORDS_MAX))?;
    }
    output.line("")
}

/// The file's own warnings, what may surprise about its timetables, and the one about where the key is.
fn warnings(config: &Config, now: DateTime<Utc>) -> Problems {
    let mut problems = config.warnings.clone();
    problems.list.extend(config.surprises(now));
    problems.list.extend(config.settings.api.api_key.warning());
    problems
}
