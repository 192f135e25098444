//! `skycron check`: reads the file and lists every problem; touches nothing.

use clap::Args;

use super::{context::Context, error::CliError, exit::Exit};

/// The arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {}

/// Runs the command.
///
/// # Errors
/// The end of a command that failed.
pub fn run(_args: &CheckArgs, _context: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::usage("`skycron check` is not there yet"))
}
