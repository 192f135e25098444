//! `skycron sandbox`: a small Skyvern look-alike on loopback.

use clap::Args;

use super::{context::Context, error::CliError, exit::Exit};

/// The arguments of `sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {}

/// Runs the command.
///
/// # Errors
/// The end of a command that failed.
pub fn run(_args: &SandboxArgs, _context: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::usage("`skycron sandbox` is not there yet"))
}
