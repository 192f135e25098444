//! `skycron mirror plan`.

use clap::Args;

use super::{show, start};
use crate::cli::{context::Context, error::CliError, exit::Exit};

const AFTER_HELP: &str = "\
Exit code 0, also where there is something to do; 1 if something cannot be had or needs a look; 3 if the server cannot be read.

In JSON, one object for each step: step (adopt, create, update, disable, enable, delete, forget), schedule, workflow_id,
server_schedule_id, reason, origin (file; server: somebody changed it there) and changes (field, before, after). Then those
that cannot be had (blocked, schedule, reason, hint), and remarks (remark, schedule, message).";

/// The arguments of `mirror plan`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct PlanArgs {}

pub(super) fn run(_args: &PlanArgs, context: &mut Context) -> Result<Exit, CliError> {
    let start = start(context)?;
    let plan = start.plan(true)?;
    show::plan(&plan, &mut context.output)?;
    if !start.setup.config.settings.mirror.enabled {
        context.output.note("[mirror] enabled = true is not in the file: nothing of this is applied");
    }
    Ok(show::exit_of(&plan))
}
