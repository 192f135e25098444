//! How plans and results look: lines for people, objects for programs.

use serde_json::Value;

use crate::{
    cli::{
        args::Format,
        error::CliError,
        exit::Exit,
        output::{Look, Output, Tone},
    },
    mirror::{Blocked, Deed, End, Plan, Remark, Step},
};

/// Values longer than this are cut where people read them, in characters.
const VALUE_CHARS_MAX: usize = 100;

/// Prints a plan.
pub(super) fn plan(plan: &Plan, output: &mut Output) -> Result<(), CliError> {
    if output.format() == Format::Json {
        for object in plan.to_json() {
            output.object(&object)?;
        }
        return Ok(());
    }
    let look = output.data_look();
    for step in &plan.steps {
        step_lines(step, look, output)?;
    }
    rest(plan, true, output)?;
    output.line(summary(plan))
}

/// What somebody has to look after: what cannot be had, and what carries our marker and is not ours.
pub(super) fn trouble(plan: &Plan, output: &mut Output) -> Result<(), CliError> {
    if output.format() == Format::Json {
        let remarks = plan.remarks.iter().filter(|remark| remark.kind.is_trouble());
        let mut objects = plan.blocked.iter().map(Blocked::to_json).chain(remarks.map(Remark::to_json));
        return objects.try_for_each(|object| output.object(&object));
    }
    rest(plan, false, output)
}

fn rest(plan: &Plan, with_advice: bool, output: &mut Output) -> Result<(), CliError> {
    let look = output.data_look();
    for blocked in &plan.blocked {
        let word = look.paint(Tone::Bad, format_args!("{:<8}", "blocked"));
        output.line(format_args!("{word} {}: {}", blocked.schedule, blocked.reason))?;
        output.line(format_args!("         {}", look.paint(Tone::Dim, blocked.hint)))?;
    }
    for remark in plan.remarks.iter().filter(|remark| with_advice || remark.kind.is_trouble()) {
        let tone = if remark.kind.is_trouble() { Tone::Bad } else { Tone::Warn };
        let word = look.paint(tone, format_args!("{:<8}", "note"));
        match &remark.schedule {
            Some(schedule) => output.line(format_args!("{word} {schedule}: {}", remark.message))?,
            None => output.line(format_args!("{word} {}", remark.message))?,
        }
    }
    Ok(())
}

fn step_lines(step: &Step, look: Look, output: &mut Output) -> Result<(), CliError> {
    let word = look.paint(tone(step.deed), format_args!("{:<8}", step.deed.word()));
    let copy = step.server_id.as_ref().map_or(String::new(), |id| look.paint(Tone::Dim, format_args!(" {id}")));
    output.line(format_args!("{word} {}{copy}: {}", look.paint(Tone::Strong, &step.schedule), step.reason))?;
    if step.deed == Deed::Create {
        output.line(format_args!("         in workflow {}", step.workflow_id))?;
    }
    for change in &step.changes {
        output.line(format_args!(
            "         {}: {} -> {}",
            change.field,
            short(&change.before),
            short(&change.after)
        ))?;
    }
    Ok(())
}

fn tone(deed: Deed) -> Tone {
    match deed {
        Deed::Create | Deed::Enable => Tone::Good,
        Deed::Update | Deed::Disable => Tone::Warn,
        Deed::Delete => Tone::Bad,
        Deed::Adopt | Deed::Forget => Tone::Dim,
    }
}

fn short(value: &Value) -> String {
    let text = if value.is_null() { "nothing".to_owned() } else { value.to_string() };
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text;
    }
    text.chars().take(VALUE_CHARS_MAX).chain(['…']).collect()
}

/// `2 to create, 1 to enable; 3 schedules of others are left alone`.
fn summary(plan: &Plan) -> String {
    let counts: Vec<String> = Deed::ALL
        .iter()
        .map(|deed| (plan.count(*deed), deed))
        .filter(|(count, _)| *count > 0)
        .map(|(count, deed)| format!("{count} to {deed}"))
        .collect();
    let mut text = if counts.is_empty() { "nothing to do".to_owned() } else { counts.join(", ") };
    match plan.foreign {
        0 => {}
        1 => text += "; 1 schedule of others is left alone",
        many => text += &format!("; {many} schedules of others are left alone"),
    }
    text
}

/// How a command ends that only shows: 1 where somebody has to look after something.
pub(super) fn exit_of(plan: &Plan) -> Exit {
    let trouble = plan.remarks.iter().any(|remark| remark.kind.is_trouble());
    if plan.blocked.is_empty() && !trouble { Exit::Done } else { Exit::Bad }
}

/// Prints what came of steps, from their JSON: they may come from a daemon. The answer is the exit code.
pub(super) fn results(results: &[Value], output: &mut Output) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    for result in results {
        let text = |name: &str| result.get(name).and_then(Value::as_str).unwrap_or_default();
        let end = End::from_word(text("outcome"));
        exit = match (end, exit) {
            (Some(End::Done | End::Later), exit) => exit,
            (Some(End::Failed), _) | (_, Exit::Api) => Exit::Api,
            _ => Exit::Bad,
        };
        if output.format() == Format::Json {
            output.object(result)?;
            continue;
        }
        let look = output.data_look();
        let tone = match end {
            Some(End::Done) => Tone::Good,
            Some(End::Later) => Tone::Warn,
            _ => Tone::Bad,
        };
        let copy = text("server_schedule_id");
        let copy = if copy.is_empty() { String::new() } else { look.paint(Tone::Dim, format_args!(" {copy}")) };
        let schedule = look.paint(Tone::Strong, text("schedule"));
        let ended = match end {
            Some(End::Done) => look.paint(tone, "done"),
            _ => format!("{}: {}", look.paint(tone, text("outcome").replace('_', " ")), text("message")),
        };
        output.line(format_args!("{:<8} {schedule}{copy}: {ended}", text("step")))?;
        if !text("hint").is_empty() {
            output.line(format_args!("         {}", look.paint(Tone::Dim, text("hint"))))?;
        }
    }
    Ok(exit)
}
