//! `skycron mirror apply`: through the daemon where one runs, else by itself.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, IsTerminal},
};

use clap::Args;
use serde_json::Value;

use super::{Start, api_error, show, start};
use crate::{
    cli::{args::Format, context::Context, error::CliError, exit::Exit, progress::Progress, run::cli_error},
    daemon::{
        self, ApplyError,
        control::{self, Answer, Request},
    },
    ids::ServerScheduleId,
    mirror::{Deed, Deletes, Plan, StepResult},
};

const AFTER_HELP: &str = "\
A daemon that runs on the same state folder does it; without one, this command does it itself. A second apply finds nothing
to do. Interrupted anywhere, the next one finishes the work.

Exit code 0 if everything was done; 1 if the server refused something, or something cannot be had or needs a look; 2 if
it would delete and nobody agreed; 3 if the server could not be used for a part of it.

In JSON, the objects of `plan` with outcome (done, later, refused, failed, unrecorded, not_tried) and message.";

/// The arguments of `mirror apply`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct ApplyArgs {
    /// Delete what the plan deletes without asking
    #[arg(long, short = 'y')]
    pub yes: bool,
}

pub(super) fn run(args: &ApplyArgs, context: &mut Context) -> Result<Exit, CliError> {
    let start = start(context)?;
    if !start.setup.config.settings.mirror.enabled {
        return Err(
            CliError::usage("the mirror is not enabled: nothing was applied").hint("add [mirror] enabled = true")
        );
    }
    let plan = start.plan(false)?;
    let deletes = deletes(&plan);
    if !deletes.is_empty() && !args.yes && !agreed(&plan, deletes.len(), context)? {
        context.output.note("nothing was applied");
        return Ok(Exit::Done);
    }
    let steps = plan.steps.len();
    let progress = (steps > 0).then(|| Progress::waiting(&format!("{steps} steps at the server"), &context.output));
    let results = carry_out(&start, deletes)?;
    drop(progress);
    let exit = show::results(&results, &mut context.output)?;
    if results.is_empty() && context.output.format() == Format::Text {
        context.output.line("nothing to do")?;
    }
    show::trouble(&plan, &mut context.output)?;
    Ok(if exit == Exit::Done { show::exit_of(&plan) } else { exit })
}

fn deletes(plan: &Plan) -> BTreeSet<ServerScheduleId> {
    let deletes = plan.steps.iter().filter(|step| step.deed == Deed::Delete);
    deletes.filter_map(|step| step.server_id.clone()).collect()
}

/// Asks whoever sits at the terminal.
fn agreed(plan: &Plan, count: usize, context: &mut Context) -> Result<bool, CliError> {
    let what = if count == 1 { "1 schedule".to_owned() } else { format!("{count} schedules") };
    if !(io::stdin().is_terminal() && context.output.talk_look().terminal) {
        return Err(CliError::usage(format!("it would delete {what} at the server: nothing was applied"))
            .hint("look at `skycron mirror plan`; `--yes` deletes without asking"));
    }
    show::plan(plan, &mut context.output)?;
    context.output.flush()?;
    context.output.note(format_args!("This deletes {what} at the server. Go on? [y/N]"));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| CliError::new(Exit::Bad, "the answer cannot be read").source(error))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// What came of each step, as JSON: it may come from a daemon.
fn carry_out(start: &Start, deletes: BTreeSet<ServerScheduleId>) -> Result<Vec<Value>, CliError> {
    let request = Request::MirrorApply { deletes: deletes.iter().map(ToString::to_string).collect() };
    let failed = |error: io::Error| CliError::new(Exit::Bad, "the daemon did not answer").source(error);
    match start.runtime.block_on(control::ask(&start.setup.state_dir, &request)) {
        Ok(Answer::Mirrored { results }) => return Ok(results),
        Ok(Answer::Error { message }) => {
            return Err(CliError::new(Exit::Bad, format!("the daemon did not apply it: {message}")));
        }
        Ok(answer) => return Err(CliError::new(Exit::Bad, format!("the daemon answered something else: {answer:?}"))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {}
        Err(error) => return Err(failed(error)),
    }
    let applied = start.runtime.block_on(daemon::apply_mirror_alone(&start.setup, Deletes::Only(deletes)));
    match applied {
        Ok(applied) => Ok(applied.results.iter().map(StepResult::to_json).collect()),
        Err(ApplyError::Server(error)) => Err(api_error(&error)),
        Err(ApplyError::Daemon(error)) => Err(cli_error(error)),
    }
}
