//! `skycron backfill`: occurrences of the past, once each.

use chrono::{DateTime, Utc};
use clap::Args;

use super::{
    args::Format,
    context::Context,
    error::CliError,
    exit::Exit,
    history::show_rows,
    instant::InstantArg,
    log,
    output::Output,
    progress::Watched,
    request::{ask, schedule_id},
    run::{history_error, load},
    trigger::exit_of,
};
use crate::{
    clock::{Clock, rfc3339},
    daemon::control::Request,
    engine::{BACKFILL_RUNS_MAX, Trigger},
    history::{HistoryFilter, HistoryRow, Reader},
    ids::ScheduleId,
};

const AFTER_HELP: &str = "\
Each occurrence that the schedule had between the two instants (both included) is started once: one after the other,
or all at once with overlap = \"allow\". Templates see the occurrence's own time. How many there are is said before the
first one starts; --dry-run stops there. What is due by the timetable meanwhile goes first.

With a daemon on the state folder it returns at once, and the daemon does the work. Without one it stays until the last
run is over: exit code 0 if all completed, 1 if not, 3 if the API could not be used.

Examples:
  skycron backfill weekday-report --from 2026-11-02 --to 2026-11-06T23:59:59Z --dry-run
  skycron backfill weekday-report --from -7d --to now";

/// The arguments of `backfill`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct BackfillArgs {
    /// The schedule
    #[arg(value_name = "SCHEDULE")]
    pub schedule: String,
    /// From this instant on
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    pub from: InstantArg,
    /// Up to this instant
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    pub to: InstantArg,
    /// Only list the occurrences
    #[arg(long)]
    pub dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// The file, the key or the arguments are wrong, or the history cannot be used.
pub fn run(args: &BackfillArgs, context: &mut Context) -> Result<Exit, CliError> {
    log::start(context, "warn")?;
    let now = context.clock.now();
    let (from, to) = (args.from.resolve(now), args.to.resolve(now));
    if from > to || to > now {
        return Err(CliError::usage("a backfill is about the past: --from must not be after --to, nor --to after now"));
    }
    let config = load(context)?;
    let id = schedule_id(&config, &args.schedule)?;
    let Ok(schedule) = config.schedule(id.as_str()) else { return Err(CliError::usage("no such schedule")) };
    let after = from - chrono::TimeDelta::milliseconds(1);
    let count = schedule.timetable.count_between(after, to);
    context.output.note(format_args!("{id}: {count} occurrences between {} and {}", rfc3339(from), rfc3339(to)));
    if count > BACKFILL_RUNS_MAX {
        return Err(
            CliError::usage(format!("one backfill starts at most {BACKFILL_RUNS_MAX}")).hint("name a shorter stretch")
        );
    }
    if args.dry_run {
        for at in schedule.timetable.between(after, to) {
            let local = schedule.timetable.zone().to_local(at).to_rfc3339();
            if context.output.format() == Format::Json {
                let object =
                    serde_json::json!({ "schedule": id.as_str(), "scheduled_for": rfc3339(at), "local": local });
                context.output.object(&object)?;
            } else {
                context.output.line(format_args!("{}  {local}", rfc3339(at)))?;
            }
        }
        return Ok(Exit::Done);
    }
    let progress = watched(&id, (after, to), count, context)?;
    let keys = ask(context, config, Request::Backfill { schedule: id.to_string(), from, to }, true)?;
    drop(progress);
    let reader = Reader::open(&context.state_dir()?).map_err(history_error)?;
    let mut rows = Vec::new();
    for key in &keys {
        rows.extend(reader.occurrence(key).map_err(history_error)?.map(|detail| detail.row));
    }
    show_rows(&rows, &mut context.output)?;
    let worst = rows.iter().map(exit_of).max_by_key(|exit| exit.code());
    Ok(worst.unwrap_or(Exit::Done))
}

/// How many of them are over, while they are started one after the other.
fn watched(
    id: &ScheduleId,
    (after, to): (DateTime<Utc>, DateTime<Utc>),
    count: u64,
    context: &Context,
) -> Result<Watched, CliError> {
    let state_dir = context.state_dir()?;
    let filter = HistoryFilter {
        schedules: vec![id.clone()],
        since: Some(after),
        until: Some(to),
        limit: u32::try_from(count).unwrap_or(u32::MAX).saturating_mul(2),
        ..HistoryFilter::default()
    };
    let begun = context.clock.now();
    let done = move || {
        let rows = Reader::open(&state_dir).ok()?.history(&filter).ok()?;
        // Those of this backfill: earlier ones were over before it began.
        let is_new = |row: &&HistoryRow| row.finished_at.is_none_or(|at| at >= begun);
        let is_over = |row: &&HistoryRow| row.trigger == Trigger::Backfill && !row.status.is_open();
        Some(rows.iter().filter(is_over).filter(is_new).count() as u64)
    };
    let output = Output::of_process(context.output.format(), &context.environment);
    Ok(Watched::start(count, "occurrences over", output, done))
}
