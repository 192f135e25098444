//! `skycron mirror`: the server's own schedules, from the same file. Looks, shows, asks; what is to be done is decided by
//! `mirror`, and done by it or by the daemon.

mod apply;
mod import;
mod plan;
mod show;
mod status;

use std::{collections::BTreeSet, path::Path};

use clap::{Args, Subcommand};

use super::{
    context::Context,
    error::CliError,
    exit::Exit,
    log,
    run::{history_error, load, setup},
};
use crate::{
    daemon::{Setup, client_options},
    engine::change::MirrorCopy,
    history::{HistoryError, Reader},
    ids::ScheduleId,
    mirror::{self, Plan, PlanSettings},
    skyvern::{ApiError, ApiErrorKind, Client},
};

const AFTER_HELP: &str = "\
With [mirror] enabled = true, each schedule of the file has a copy among Skyvern's own schedules. With fires = \"local\" the
copy is disabled: it can be seen there and never fires. With fires = \"server\" it is enabled, Skyvern fires it, and the
daemon watches. What is not ours is never touched.

A copy is ours by a row in the history, by a marker at the end of its description ([skycron <instance>/<schedule>]), or
because the file names it (server_schedule_id).

Examples:
  skycron mirror plan                        what would be done, and why; nothing is sent that changes anything
  skycron mirror apply                       do it; asks before it deletes
  skycron mirror status                      exit code 1 if the server does not have what the file wants
  skycron mirror import > schedules.toml     the server's schedules as a file";

/// The arguments of `mirror`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct MirrorArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: MirrorCommand,
}

/// The commands of `mirror`.
#[derive(Debug, Subcommand)]
pub enum MirrorCommand {
    /// Show what has to be done so that the server has what the file wants; changes nothing
    Plan(plan::PlanArgs),
    /// Do what `plan` shows
    Apply(apply::ApplyArgs),
    /// Show each schedule's copy at the server; exit code 1 if any is not as the file wants it
    Status(status::StatusArgs),
    /// Write the server's schedules as a file that `check` accepts
    Import(import::ImportArgs),
}

/// Runs the command.
///
/// # Errors
/// The file, the key or the arguments are wrong, the history cannot be read, or the server cannot be used.
pub fn run(args: &MirrorArgs, context: &mut Context) -> Result<Exit, CliError> {
    log::start(context, "warn")?;
    match &args.command {
        MirrorCommand::Plan(args) => plan::run(args, context),
        MirrorCommand::Apply(args) => apply::run(args, context),
        MirrorCommand::Status(args) => status::run(args, context),
        MirrorCommand::Import(args) => import::run(args, context),
    }
}

/// The file, the key, and a runtime for the calls.
struct Start {
    setup: Setup,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

fn start(context: &mut Context) -> Result<Start, CliError> {
    let setup = setup(load(context)?, context)?;
    let options = client_options(&setup.config.settings.api, setup.api_key.clone());
    let client = Client::new(&options).map_err(|error| CliError::usage(error.to_string()).hint(error.hint()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Bad, "the runtime cannot be started").source(error))?;
    Ok(Start { setup, client, runtime })
}

impl Start {
    /// Looks at the server and the history, and plans. Reads only, needs no lock.
    fn plan(&self, with_previews: bool) -> Result<Plan, CliError> {
        let (config, now) = (&self.setup.config, self.setup.clock.now());
        let (rows, paused) = known(&self.setup.state_dir, now)?;
        let look = async {
            let mut observed = mirror::observe(&self.client, &config.schedules, rows, paused).await?;
            if with_previews {
                mirror::add_previews(&self.client, &config.schedules, &mut observed).await;
            }
            Ok(observed)
        };
        let observed = self.runtime.block_on(look).map_err(|error| api_error(&error))?;
        let settings = PlanSettings { instance: config.settings.instance.clone(), prune: config.settings.mirror.prune };
        Ok(mirror::plan(&config.schedules, &observed, &settings, now))
    }
}

/// What the history knows to be ours, and what is paused. Where there is none (yet), nothing.
fn known(
    state_dir: &Path,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<(Vec<MirrorCopy>, BTreeSet<ScheduleId>), CliError> {
    let reader = match Reader::open(state_dir) {
        Ok(reader) => reader,
        Err(HistoryError::Absent(_) | HistoryError::Older { .. }) => return Ok((Vec::new(), BTreeSet::new())),
        Err(error) => return Err(history_error(error)),
    };
    let rows = reader.mirror().map_err(history_error)?;
    let schedules = reader.schedules().map_err(history_error)?;
    let paused = schedules
        .into_iter()
        .filter(|known| known.pause.as_ref().is_some_and(|pause| pause.until.is_none_or(|until| until > now)));
    Ok((rows, paused.map(|known| known.id).collect()))
}

/// The server could not be read.
fn api_error(error: &ApiError) -> CliError {
    let message = match error.kind {
        ApiErrorKind::NoSchedules => format!("this server has no schedules of its own: {error}"),
        _ => format!("the server's schedules cannot be read: {error}"),
    };
    CliError::new(Exit::Api, message).hint(error.hint)
}
