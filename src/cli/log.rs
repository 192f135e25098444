//! Sets up the log: `tracing` events as lines on standard error.
//!
//! The log is talk, never data. What is logged is said where it happens.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::{args::Format, context::Context, error::CliError};

/// Starts the log with `--log`, else `SKYCRON_LOG`, else `default`. In JSON format its lines are JSON too. A second call in
/// one process changes nothing.
///
/// # Errors
/// The filter cannot be understood.
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
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // An error here says that a log is running already, which is what was asked for.
    let _ = if context.output.format() == Format::Json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(context.output.talk_look().colors && io::stderr().is_terminal()).with_target(false).try_init()
    };
    Ok(())
}
