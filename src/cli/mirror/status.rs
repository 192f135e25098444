//! `skycron mirror status`: each schedule and its copy.

use std::collections::HashMap;

use clap::Args;
use comfy_table::Cell;
use serde_json::{Value, json};

use super::{show, start};
use crate::{
    cli::{
        args::Format,
        context::Context,
        error::CliError,
        exit::Exit,
        output::{Output, Tone, toned},
    },
    ids::ScheduleId,
    mirror::{CopyState, Deed, Origin, Plan, Step},
    schedule::Schedule,
    words::words,
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

words! {
    /// How a schedule and its copy stand to one another.
    State {
        /// Equal.
        InSync = "in_sync",
        /// The copy was changed at the server.
        Drift = "drift",
        /// The file is ahead.
        Pending = "pending",
        /// What the file wants cannot be had.
        Blocked = "blocked",
        /// It has no copy, and is to have none.
        NotMirrored = "not_mirrored",
        /// Gone from the file, the copy is there.
        Kept = "kept",
    }
}

/// One line.
struct Line<'a> {
    schedule: ScheduleId,
    fires: Option<&'static str>,
    state: State,
    copy: Option<&'a CopyState>,
    details: Vec<String>,
}

pub(super) fn run(_args: &StatusArgs, context: &mut Context) -> Result<Exit, CliError> {
    let start = start(context)?;
    let plan = start.plan(false)?;
    let lines = lines(&plan, start.setup.config.schedules.iter().map(AsRef::as_ref));
    let settled = lines.iter().all(|line| matches!(line.state, State::InSync | State::NotMirrored | State::Kept));
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

fn lines<'a>(plan: &'a Plan, schedules: impl Iterator<Item = &'a Schedule>) -> Vec<Line<'a>> {
    let mut steps: HashMap<&ScheduleId, Vec<&Step>> = HashMap::new();
    plan.steps.iter().for_each(|step| steps.entry(&step.schedule).or_default().push(step));
    let copies: HashMap<&ScheduleId, &CopyState> =
        plan.copies.iter().filter(|copy| copy.current).map(|copy| (&copy.schedule, copy)).collect();
    let mut lines: Vec<Line<'a>> = Vec::new();
    for schedule in schedules {
        let steps = steps.remove(&schedule.id).unwrap_or_default();
        let blocked: Vec<_> = plan.blocked.iter().filter(|blocked| blocked.schedule == schedule.id).collect();
        let copy = copies.get(&schedule.id).copied();
        let state = if !blocked.is_empty() {
            State::Blocked
        } else if steps.iter().any(|step| step.origin == Origin::Server) {
            State::Drift
        } else if !steps.is_empty() {
            State::Pending
        } else if copy.is_none() {
            State::NotMirrored
        } else {
            State::InSync
        };
        let details = blocked.iter().map(|blocked| blocked.reason.clone()).chain(steps.iter().map(|step| detail(step)));
        let fires = Some(schedule.policies.fires.word());
        lines.push(Line { schedule: schedule.id.clone(), fires, state, copy, details: details.collect() });
    }
    // What is gone from the file, and not from the server.
    let known: std::collections::HashSet<ScheduleId> = lines.iter().map(|line| line.schedule.clone()).collect();
    for copy in plan.copies.iter().filter(|copy| !copy.current && !known.contains(&copy.schedule)) {
        let steps = steps.get(&copy.schedule).into_iter().flatten();
        let details: Vec<_> = steps.filter(|step| step.server_id.as_ref() == Some(&copy.copy.id)).map(|s| detail(s)).collect();
        let state = if details.is_empty() { State::Kept } else { State::Pending };
        lines.push(Line { schedule: copy.schedule.clone(), fires: None, state, copy: Some(copy), details });
    }
    lines
}

fn detail(step: &Step) -> String {
    let fields: Vec<&str> = step.changes.iter().map(|change| change.field).collect();
    if fields.is_empty() || step.deed != Deed::Update {
        return format!("to {}: {}", step.deed, step.reason);
    }
    format!("to {}: {} ({})", step.deed, step.reason, fields.join(", "))
}

fn show_lines(lines: &[Line<'_>], output: &mut Output) -> Result<(), CliError> {
    if output.format() == Format::Json {
        for line in lines {
            output.object(&line.to_json())?;
        }
        return Ok(());
    }
    let rows = lines.iter().map(|line| {
        let tone = match line.state {
            State::InSync => Tone::Good,
            State::Drift | State::Blocked => Tone::Bad,
            State::Pending => Tone::Warn,
            State::NotMirrored | State::Kept => Tone::Dim,
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

impl Line<'_> {
    fn to_json(&self) -> Value {
        json!({
            "schedule": self.schedule.as_str(),
            "fires": self.fires,
            "state": self.state.word(),
            "server_schedule_id": self.copy.map(|copy| copy.copy.id.as_str()),
            "enabled": self.copy.map(|copy| copy.enabled),
            "modified_at": self.copy.and_then(|copy| copy.modified_at).map(crate::clock::rfc3339_millis),
            "details": self.details,
        })
    }
}
