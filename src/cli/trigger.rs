//! `skycron trigger`: starts one now, recorded as manual. Through the daemon where one runs, else by itself.

use std::{io, path::Path, time::Duration};

use clap::Args;
use serde_json::{Map, Value};

use super::{
    args::Format,
    context::Context,
    error::CliError,
    exit::Exit,
    log,
    output::Tone,
    run::{cli_error, history_error, load, setup},
};
use crate::{
    daemon::{
        self,
        control::{Answer, Request, ask},
    },
    engine::Status,
    history::{HistoryError, HistoryRow, Reader},
    ids::OccurrenceKey,
};

/// Between two looks at the history while waiting for a daemon to do it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
    let schedule = match config.schedule(&args.schedule) {
        Ok(schedule) => schedule.id.clone(),
        Err(nearest) => {
            let error = CliError::usage(format!("{} has no schedule {:?}", config.path.display(), args.schedule));
            return Err(match nearest {
                Some(nearest) => error.hint(format!("did you mean {nearest:?}?")),
                None => error,
            });
        }
    };
    let state_dir = context.state_dir()?;
    let request = Request::Trigger { schedule: schedule.to_string(), parameters: parameters.clone() };
    let key = match ask_daemon(&state_dir, &request)? {
        Some(key) => key,
        None => daemon::start_one(setup(config, context)?, &schedule, parameters, args.wait).map_err(cli_error)?,
    };
    let row = wait_for(&state_dir, &key, args.wait)?;
    show(&row, context)?;
    Ok(exit_of(&row))
}

fn parameters(given: &[String]) -> Result<Map<String, Value>, CliError> {
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

/// The occurrence that a running daemon made; `None`: no daemon runs here.
fn ask_daemon(state_dir: &Path, request: &Request) -> Result<Option<OccurrenceKey>, CliError> {
    let failed = |error: io::Error| CliError::new(Exit::Bad, "the daemon did not answer").source(error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    match runtime.block_on(ask(state_dir, request)) {
        Ok(Answer::Done { occurrence }) => match occurrence.and_then(|key| key.parse().ok()) {
            Some(key) => Ok(Some(key)),
            None => Err(CliError::new(Exit::Bad, "the daemon's answer names no occurrence")),
        },
        Ok(Answer::Error { message }) => Err(CliError::usage(format!("the daemon refused: {message}"))
            .hint("the daemon goes by the file as it last read it: reload it (SIGHUP) after a change")),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// The row, once its start is decided, or (`whole`) its run is over.
fn wait_for(state_dir: &Path, key: &OccurrenceKey, whole: bool) -> Result<HistoryRow, CliError> {
    let reader = Reader::open(state_dir).map_err(history_error)?;
    loop {
        let missing = || history_error(HistoryError::Missing { what: "row", name: key.to_string() });
        let row = reader.occurrence(key).map_err(history_error)?.ok_or_else(missing)?.row;
        let decided = !matches!(row.status, Status::Pending | Status::Launching);
        if decided && !(whole && row.status.is_open()) {
            return Ok(row);
        }
        std::thread::sleep(LOOK_EVERY);
    }
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

fn exit_of(row: &HistoryRow) -> Exit {
    match row.status {
        Status::Pending | Status::Launching | Status::Running | Status::Completed => Exit::Done,
        Status::Missed | Status::Unknown => Exit::Api,
        _ => Exit::Bad,
    }
}
