//! `skycron history`: what happened.

use clap::Args;

use super::{context::Context, error::CliError, exit::Exit, instant::InstantArg};

/// The arguments of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only these schedules
    #[arg(value_name = "SCHEDULE")]
    pub schedules: Vec<String>,
    /// Not before this instant
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    pub since: Option<InstantArg>,
    /// Not after this instant
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    pub until: Option<InstantArg>,
    /// Only occurrences with one of these statuses
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    pub status: Vec<String>,
    /// At most so many, the latest
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

/// Runs the command.
///
/// # Errors
/// The end of a command that failed.
pub fn run(_args: &HistoryArgs, _context: &mut Context) -> Result<Exit, CliError> {
    Err(CliError::usage("`skycron history` is not there yet"))
}
