//! `skycron demo`: the main job, on an embedded look-alike server.

use clap::Args;

use super::{context::Context, error::CliError, exit::Exit};

/// The arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// End after this time at the latest
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub bound: Option<std::time::Duration>,
}

/// Runs the command.
///
/// # Errors
/// The end of a command that failed.
pub fn run(_args: &DemoArgs, _context: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::usage("`skycron demo` is not there yet"))
}
