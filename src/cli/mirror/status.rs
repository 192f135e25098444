//! `skycron mirror status`: each schedule and its copy.

use clap::Args;
use comfy_table::Cell;

use super::{show, start};
use crate::{
    cli::{
        args::Format,
        context::Context,
        error::CliError,
        exit::Exit,
        output::{Output, Tone, toned},
    },
    mirror::{StateWord, Status, status},
};

const AFTER_HELP: &str = "\
STATE is in_sync; drift (somebody changed, disabled or deleted the copy at the server); pending (the file is ahead: apply
does it); blocked (it cannot be had); not_mirrored (it is due once); kept (gone from the file, its copy is there, disabled).

Exit code 0 if the server has what the file wants, 1 if not, 3 if it cannot be read.

In JSON: schedule, fires, state, server_schedule_id, enabled (at the server), modified_at, and details.";

/// The arguments of `mirror status`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct StatusArgs {}

pub(super) fn run(_args: &StatusArgs, context: &mut Context) -> Result<Exit, CliError> {
    let start = start(context)?;
    let plan = start.plan(false)?;
    let lines = status(&plan, &start.setup.config.schedules);
    let settled = lines.iter().all(|line| line.state.is_good());
    show_lines(&lines, &mut context.output)?;
    if context.output.format() == Format::Text {
        for remark in plan.remarks.iter().filter(|remark| remark.kind.is_trouble()) {
            context.output.note(&remark.message);
        }
        if plan.foreign > 0 {
            context.output.note(format_args!("schedules of others at the server: {}", plan.foreign));
        }
    }
    Ok(if settled { show::exit_of(&plan) } else { Exit::Bad })
}

fn show_lines(lines: &[Status<'_>], output: &mut Output) -> Result<(), CliError> {
    if output.format() == Format::Json {
        for line in lines {
            output.object(&line.to_json())?;
        }
        return Ok(());
    }
    let rows = lines.iter().map(|line| {
        let tone = match line.state {
            StateWord::InSync => Tone::Good,
            StateWord::Drift | StateWord::Blocked => Tone::Bad,
            StateWord::Pending => Tone::Warn,
            StateWord::NotMirrored | StateWord::Kept => Tone::Dim,
        };
        let copy = line.copy.map_or(String::new(), |copy| copy.copy.id.to_string());
        let enabled = line.copy.map_or("", |copy| if copy.enabled { "enabled" } else { "disabled" });
        vec![
            toned(Tone::Strong, &line.schedule),
            Cell::new(line.fires.unwrap_or("gone")),
            toned(tone, line.state),
            toned(Tone::Dim, copy),
            Cell::new(enabled),
            Cell::new(line.details.join("; ")),
        ]
    });
    output.table(&["SCHEDULE", "FIRES", "STATE", "COPY", "AT THE SERVER", "DETAILS"], rows)
}
