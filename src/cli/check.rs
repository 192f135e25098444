//! `skycron check`: reads the file and lists every problem in it. Touches nothing: no network, no database, no key.

use chrono::{DateTime, Utc};
use clap::Args;

use super::{args::Format, context::Context, error::CliError, exit::Exit, output::Tone, problems};
use crate::{
    clock::Clock,
    config::{Config, Problems},
};

const AFTER_HELP: &str = "\
Problems go to standard output, each with file, line, column, code and a hint; in JSON one object a line with
file, line, column, severity, code, message, hint, schedule. Exit code 0 if there is no error (warnings may be),
2 if there is.

Examples:
  skycron check
  skycron check --config /etc/skycron/schedules.toml
  skycron check --format json | jq -r .message";

/// The arguments of `check`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct CheckArgs {}

/// Runs the command.
///
/// # Errors
/// There is no file, or standard output cannot be written.
pub fn run(_args: &CheckArgs, context: &mut Context) -> Result<Exit, CliError> {
    let path = context.config_path()?;
    let output = &mut context.output;
    match Config::load(&path, &context.environment) {
        Ok(config) => {
            let problems = warnings(&config, context.clock.now());
            problems::as_data(&problems, output)?;
            if output.format() == Format::Text {
                let schedules = match config.schedules.len() {
                    1 => "1 schedule".to_owned(),
                    count => format!("{count} schedules"),
                };
                let tone = if problems.list.is_empty() { Tone::Good } else { Tone::Warn };
                let summary = output.data_look().paint(tone, problems.summary());
                output.line(format_args!("{}: {schedules}, {summary}", path.display()))?;
                output.line(format_args!("zone rules: {}", config.zones.release()))?;
            }
            Ok(Exit::Done)
        }
        Err(found) => {
            problems::as_data(&found, output)?;
            if output.format() == Format::Text {
                let summary = output.data_look().paint(Tone::Bad, found.summary());
                output.line(format_args!("{}: {summary}", path.display()))?;
            }
            Ok(Exit::Usage)
        }
    }
}

/// The file's own warnings, what may surprise about its timetables, and the one about where the key is.
fn warnings(config: &Config, now: DateTime<Utc>) -> Problems {
    let mut problems = config.warnings.clone();
    problems.list.extend(config.surprises(now));
    problems.list.extend(config.settings.api.api_key.warning());
    problems
}
