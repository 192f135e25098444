//! `skycron pause` and `skycron resume`: a schedule's occurrences are not started for a while, without editing the file.

use clap::Args;

use super::{
    context::Context,
    error::CliError,
    exit::Exit,
    instant::InstantArg,
    log,
    request::{ask, schedule_id},
    run::load,
};
use crate::{
    clock::{Clock, rfc3339},
    daemon::control::Request,
};

const AFTER_HELP: &str = "\
What is due while a schedule is paused is recorded as skipped, with the reason; nothing of it is made up later. A pause
survives restarts and reloads. A running daemon goes by it at once. `trigger` and `backfill` work all the same.

Examples:
  skycron pause weekday-report --note 'the site is being rebuilt'
  skycron pause weekday-report --until 2026-12-01
  skycron resume weekday-report";

/// The arguments of `pause`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct PauseArgs {
    /// The schedule
    #[arg(value_name = "SCHEDULE")]
    pub schedule: String,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// It goes on by itself at this instant
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    pub until: Option<InstantArg>,
}

/// The arguments of `resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The schedule
    #[arg(value_name = "SCHEDULE")]
    pub schedule: String,
}

/// Runs `pause`.
///
/// # Errors
/// The file or the arguments are wrong, or the history cannot be used.
pub fn pause(args: &PauseArgs, context: &mut Context) -> Result<Exit, CliError> {
    log::start(context, "warn")?;
    let now = context.clock.now();
    let until = args.until.as_ref().map(|until| until.resolve(now));
    if until.is_some_and(|until| until <= now) {
        return Err(CliError::usage("--until is over already").hint("name an instant that is still to come"));
    }
    let config = load(context)?;
    let schedule = schedule_id(&config, &args.schedule)?.to_string();
    ask(context, config, Request::Pause { schedule: schedule.clone(), note: args.note.clone(), until }, false)?;
    let until = until.map_or_else(|| "it is resumed".to_owned(), rfc3339);
    context.output.note(format_args!("{schedule} is paused until {until}"));
    Ok(Exit::Done)
}

/// Runs `resume`.
///
/// # Errors
/// The file or the arguments are wrong, or the history cannot be used.
pub fn resume(args: &ResumeArgs, context: &mut Context) -> Result<Exit, CliError> {
    log::start(context, "warn")?;
    let config = load(context)?;
    let schedule = schedule_id(&config, &args.schedule)?.to_string();
    ask(context, config, Request::Resume { schedule: schedule.clone() }, false)?;
    context.output.note(format_args!("{schedule} goes on, from now on"));
    Ok(Exit::Done)
}
