//! What `trigger`, `backfill`, `pause` and `resume` have in common: a running daemon does it, and where none runs, this process
//! does it itself, on the same history and by the same engine.

use std::{io, path::Path, time::Duration};

use super::{
    context::Context,
    error::CliError,
    exit::Exit,
    run::{cli_error, history_error, setup, setup_without_key},
};
use crate::{
    config::Config,
    daemon::{
        self,
        control::{self, Answer, Request},
    },
    engine::Status,
    history::{HistoryError, HistoryRow, Reader},
    ids::{OccurrenceKey, ScheduleId},
};

/// Between two looks at the history while waiting for a daemon to do it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The schedule of this id in the file.
///
/// # Errors
/// There is none; the nearest is named.
pub(super) fn schedule_id(config: &Config, id: &str) -> Result<ScheduleId, CliError> {
    config.schedule(id).map(|schedule| schedule.id.clone()).map_err(|nearest| {
        let error = CliError::usage(format!("{} has no schedule {id:?}", config.path.display()));
        match nearest {
            Some(nearest) => error.hint(format!("did you mean {nearest:?}?")),
            None => error,
        }
    })
}

/// Has it done, and answers with the occurrences that came of it. Without a daemon it returns once each of them is decided, or
/// (`wait`) over; with one, at once.
///
/// # Errors
/// The engine refused, or the history or the key cannot be used.
pub(super) fn ask(
    context: &Context,
    config: Config,
    request: Request,
    wait: bool,
) -> Result<Vec<OccurrenceKey>, CliError> {
    if let Some(keys) = ask_daemon(&context.state_dir()?, &request)? {
        return Ok(keys);
    }
    let setup = match request {
        Request::Trigger { .. } | Request::Backfill { .. } | Request::MirrorApply { .. } => setup(config, context)?,
        Request::Pause { .. } | Request::Resume { .. } | Request::State => setup_without_key(config, context)?,
    };
    daemon::do_alone(&setup, request, wait).map_err(cli_error)
}

/// What a running daemon made of it; `None`: no daemon runs here.
fn ask_daemon(state_dir: &Path, request: &Request) -> Result<Option<Vec<OccurrenceKey>>, CliError> {
    let failed = |error: io::Error| CliError::new(Exit::Bad, "the daemon did not answer").source(error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    match runtime.block_on(control::ask(state_dir, request)) {
        Ok(Answer::Done { occurrences }) => {
            let keys: Result<Vec<OccurrenceKey>, _> = occurrences.iter().map(|key| key.parse()).collect();
            keys.map(Some).map_err(|error| CliError::new(Exit::Bad, "the daemon's answer cannot be read").source(error))
        }
        Ok(answer @ (Answer::State { .. } | Answer::Mirrored { .. })) => {
            Err(CliError::new(Exit::Bad, format!("the daemon answered something else: {answer:?}")))
        }
        Ok(Answer::Error { message }) => Err(CliError::usage(format!("the daemon refused: {message}"))
            .hint("the daemon goes by the file as it last read it: reload it (SIGHUP) after a change")),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// The row of an occurrence, once its start is decided, or (`whole`) its run is over.
///
/// # Errors
/// The history cannot be read.
pub(super) fn wait_for(state_dir: &Path, key: &OccurrenceKey, whole: bool) -> Result<HistoryRow, CliError> {
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
