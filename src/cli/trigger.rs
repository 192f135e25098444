//! `skycron trigger`: starts one now, recorded as manual. Through the daemon where one runs, else by itself.

use clap::Args;
use serde_json::{Map, Value};

use super::{
    args::Format,
    context::Context,
    error::CliError,
    exit::Exit,
    log,
    output::Tone,
    progress::Progress,
    request::{ask, schedule_id, wait_for},
    run::load,
};
use crate::{daemon::control::Request, engine::Status, history::HistoryRow};

const AFTER_HELP: &str = "\
It starts whatever the overlap rule, a pause or `enabled = false` say: those are about the timetable. A daemon that
runs on the same state folder does it; without one, this command does it itself and leaves the run to be followed by
the next daemon, unless it waits.

Exit code 0 if it was started (with --wait: if it completed), 1 if it was refused or did not complete, 3 if the API
could not be used.

Examples:
  skycron trigger weekday-report
  skycron trigger weekday-report --wait --parameter url=https://example.com/other
  skycron trigger weekday-report --format json | jq -r .run_id";

/// The arguments of `trigger`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
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
/// The file, the key or the arguments are wrong, the history cannot be used, or the daemon does not know the schedule.
pub fn run(args: &TriggerArgs, context: &mut Context) -> Result<Exit, CliError> {
    log::start(context, "warn")?;
    let parameters = parameters(&args.parameters)?;
    let config = load(context)?;
    let schedule = schedule_id(&config, &args.schedule)?.to_string();
    let progress =
        args.wait.then(|| Progress::waiting(&format!("{schedule}: waiting for the end of its run"), &context.output));
    let keys = ask(context, config, Request::Trigger { schedule, parameters }, args.wait)?;
    let key = keys.first().ok_or_else(|| CliError::new(Exit::Bad, "no occurrence came of it"))?;
    let row = wait_for(&context.state_dir()?, key, args.wait)?;
    drop(progress);
    show(&row, context)?;
    Ok(exit_of(&row))
}

/// Parameters as they are typed: a value that reads as JSON is taken as such, any other as text.
///
/// # Errors
/// One is not `KEY=VALUE`.
pub(super) fn parameters(given: &[String]) -> Result<Map<String, Value>, CliError> {
    given
        .iter()
        .map(|pair| {
            let (key, text) = pair.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
                CliError::usage(format!("--parameter {pair:?} is not KEY=VALUE"))
                    .hint("as in --parameter url=https://example.com")
            })?;
            Ok((key.to_owned(), serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))))
        })
        .collect()
}

fn show(row: &HistoryRow, context: &mut Context) -> Result<(), CliError> {
    let output = &mut context.output;
    if output.format() == Format::Json {
        return output.object(row);
    }
    let tone = if row.status == Status::Completed {
        Tone::Good
    } else if row.status.is_good() {
        Tone::Strong
    } else {
        Tone::Bad
    };
    let status = output.data_look().paint(tone, row.status);
    let run = row.run_id.as_ref().map_or_else(String::new, |run| format!(", run {run}"));
    output.line(format_args!("{}: {status}{run}", row.occurrence))?;
    if let Some(reason) = &row.reason {
        output.line(format_args!("  {reason}"))?;
    }
    Ok(())
}

/// How a command that started this ends.
pub(super) fn exit_of(row: &HistoryRow) -> Exit {
    match row.status {
        Status::Pending | Status::Launching | Status::Running | Status::Completed => Exit::Done,
        Status::Missed | Status::Unknown => Exit::Api,
        _ => Exit::Bad,
    }
}
