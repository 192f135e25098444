//! `skycron trigger`: starts one now, recorded as manual.

use clap::Args;

use super::{context::Context, error::CliError, exit::Exit};

/// The arguments of `trigger`.
#[derive(Debug, Args)]
pub struct TriggerArgs {
    /// The schedule whose workflow is started
    #[arg(value_name = "SCHEDULE")]
    pub schedule: String,
    /// Replaces one parameter for this run; a value that reads as JSON is taken as such, any other as text
    #[arg(long = "parameter", short = 'p', value_name = "KEY=VALUE")]
    pub parameters: Vec<String>,
    /// Wait for the end of the run: exit code 0 if it completed, 1 if not
    #[arg(long)]
    pub wait: bool,
}

/// Runs the command.
///
/// # Errors
/// The end of a command that failed.
pub fn run(_args: &TriggerArgs, _context: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::usage("`skycron trigger` is not there yet"))
}
