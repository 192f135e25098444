//! `skycron next`: the occurrences to come.

use clap::Args;

use super::{context::Context, error::CliError, exit::Exit};

/// The arguments of `next`.
#[derive(Debug, Args)]
pub struct NextArgs {}

/// Runs the command.
///
/// # Errors
/// The end of a command that failed.
pub fn run(_args: &NextArgs, _context: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::usage("`skycron next` is not there yet"))
}
