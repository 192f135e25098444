//! `skycron mirror import`: the server's schedules as a file.

use clap::Args;

use super::{api_error, start};
use crate::{
    cli::{context::Context, error::CliError, exit::Exit},
    config::{Config, Severity},
    ids::WorkflowId,
    mirror::{self, Server},
};

const AFTER_HELP: &str = "\
The file goes to standard output. Its schedules name their copies (server_schedule_id), so that `mirror plan` with it finds
nothing to do, and say fires = \"server\", as it is. Add [api] where it is not the default, or take the [[schedule]]s over into
a file of yours.

What the file cannot express (a dialect that is not ours, something that is due once, a null in a parameter, the schedule
of another skycron) becomes a comment with the reason, and the exit code 1.";

/// The arguments of `mirror import`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct ImportArgs {
    /// Only the schedules of this workflow
    #[arg(long, value_name = "WORKFLOW")]
    pub workflow: Option<String>,
}

pub(super) fn run(args: &ImportArgs, context: &mut Context) -> Result<Exit, CliError> {
    let workflow = match &args.workflow {
        Some(text) => Some(WorkflowId::new(text).map_err(|error| CliError::usage(format!("--workflow {error}")))?),
        None => None,
    };
    let start = start(context)?;
    let schedules = match &workflow {
        Some(workflow) => start.runtime.block_on(start.client.of_workflow(workflow)),
        None => start.runtime.block_on(start.client.all()),
    };
    let schedules = schedules.map_err(|error| api_error(&error))?;
    let config = &start.setup.config;
    let accept = |text: &str| match Config::parse(&config.path, text, &start.setup.environment) {
        Ok(_) => Ok(()),
        Err(problems) => {
            let error = problems.list.iter().find(|problem| problem.severity == Severity::Error);
            Err(error.map_or("`check` refuses it".to_owned(), |problem| problem.message.clone()))
        }
    };
    let imported = mirror::import(&schedules, &config.settings.instance, accept);
    context.output.line(imported.text.trim_end())?;
    context.output.note(format_args!("taken over: {}, left out: {}", imported.taken, imported.left_out));
    Ok(if imported.left_out == 0 { Exit::Done } else { Exit::Bad })
}
