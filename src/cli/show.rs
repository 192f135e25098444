//! `skycron show`: everything about one occurrence or run.

use clap::Args;

use super::{context::Context, error::CliError, exit::Exit};

/// The arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// An occurrence (`main/weekday-report@2026-11-02T14:00:00Z`) or a run id (`wr_…`)
    #[arg(value_name = "OCCURRENCE or RUN_ID")]
    pub name: String,
}

/// Runs the command.
///
/// # Errors
/// The end of a command that failed.
pub fn run(_args: &ShowArgs, _context: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::usage("`skycron show` is not there yet"))
}
