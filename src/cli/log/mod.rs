//! Sets up the log: `tracing` events as lines on standard error, or as entries of systemd's journal.
//!
//! The log is talk, never data. What is logged is said where it happens.

mod fold;
mod journal;

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::{args::Format, context::Context, error::CliError};
use fold::Fold;
use journal::Journal;

/// In which form lines are logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// The journal where standard error goes there, JSON with --format json, else text
    #[default]
    Auto,
    /// For people, on standard error
    Text,
    /// One object a line, on standard error
    Json,
    /// Entries of systemd's journal, with SKYCRON_SCHEDULE=, SKYCRON_OCCURRENCE= and SKYCRON_RUN_ID=
    Journald,
}

/// Starts the log with `--log`, else `SKYCRON_LOG`, else `default`; in the form of `--log-format`, else `SKYCRON_LOG_FORMAT`. A
/// second call in one process changes nothing.
///
/// # Errors
/// The filter or the form cannot be understood; the journal is asked for and is not there.
pub fn start(context: &Context, default: &str) -> Result<(), CliError> {
    let (asked, place) = match (&context.common.log, context.environment.text("SKYCRON_LOG")) {
        (Some(filter), _) => (filter.as_str(), "--log"),
        (None, Some(filter)) => (filter, "SKYCRON_LOG"),
        (None, None) => (default, "the default"),
    };
    let filter = EnvFilter::try_new(asked).map_err(|error| {
        CliError::usage(format!("{place} is not a log filter: {asked:?}"))
            .source(error)
            .hint("give a level (error, warn, info, debug, trace) or filters such as info,skycron::engine=debug")
    })?;
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format(context)? {
        LogFormat::Json => fmt::layer().with_writer(io::stderr).json().flatten_event(true).boxed(),
        LogFormat::Journald => Journal::connect()
            .map_err(|error| {
                CliError::usage("there is no journal to log to").source(error).hint("leave --log-format journald out")
            })?
            .boxed(),
        LogFormat::Auto | LogFormat::Text => {
            let colors = context.output.talk_look().colors && io::stderr().is_terminal();
            fmt::layer().with_writer(io::stderr).with_ansi(colors).with_target(false).boxed()
        }
    };
    // An error here says that a log is running already, which is what was asked for.
    let _ = tracing_subscriber::registry().with(lines).with(Fold::default()).with(filter).try_init();
    Ok(())
}

/// Ends the log: says what was folded and not told yet.
pub fn finish() {
    fold::finish();
}

fn format(context: &Context) -> Result<LogFormat, CliError> {
    let asked = match (context.common.log_format, context.environment.text("SKYCRON_LOG_FORMAT")) {
        (Some(format), _) => format,
        (None, Some(word)) => LogFormat::from_str(word, false).map_err(|_| {
            CliError::usage(format!("SKYCRON_LOG_FORMAT is none of the forms of a log: {word:?}"))
                .hint("there are auto, text, json and journald")
        })?,
        (None, None) => LogFormat::Auto,
    };
    Ok(match asked {
        LogFormat::Auto if context.output.format() == Format::Json => LogFormat::Json,
        LogFormat::Auto if journal::is_standard_error(context.environment.text("JOURNAL_STREAM")) => {
            LogFormat::Journald
        }
        LogFormat::Auto => LogFormat::Text,
        asked => asked,
    })
}
