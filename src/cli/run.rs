//! `skycron run`: the daemon, in the foreground.

use clap::Args;

use super::{context::Context, error::CliError, exit::Exit};

/// The arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {}

/// Runs the command.
///
/// # Errors
/// The end of a command that failed.
pub fn run(_args: &RunArgs, _context: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::usage("`skycron run` is not there yet"))
}
