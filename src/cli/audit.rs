//! `skycron audit`: proves that every occurrence is accounted for, or lists what is not. Only reads.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::Args;

use super::{
    args::Format, context::Context, error::CliError, exit::Exit, instant::InstantArg, output::Tone, progress::Progress,
    run::history_error,
};
use crate::{
    clock::{Clock, rfc3339},
    config::{Config, zones::ZoneSource},
    daemon::account::segments,
    engine::audit::audit,
    history::Reader,
};

const AFTER_HELP: &str = "\
Each change of a schedule is kept with its time. From these definitions audit computes again at which instants each
schedule was due since skycron first saw it, and compares them with the rows of the history: each instant has exactly
one, or is inside one that stands for a stretch. It begins after what retention removed.

JSON: an object for each finding (schedule, finding, scheduled_for, detail). Exit code 0 if everything is accounted
for, 1 if not.

Examples:
  skycron audit
  skycron audit --since -30d";

/// The arguments of `audit`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct AuditArgs {
    /// Only what was due after this instant
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    pub since: Option<InstantArg>,
}

/// Runs the command.
///
/// # Errors
/// There is no history, or it cannot be read.
pub fn run(args: &AuditArgs, context: &mut Context) -> Result<Exit, CliError> {
    let reader = Reader::open(&context.state_dir()?).map_err(history_error)?;
    let since = args.since.as_ref().map(|since| since.resolve(context.clock.now()));
    let begin = reader.pruned_through().map_err(history_error)?.max(since);
    let zones = zones(context);
    let (mut due, mut findings, mut schedules) = (0, 0_usize, 0_usize);
    let mut tell = |context: &mut Context, schedule: &str, word: &str, at: Option<DateTime<Utc>>, detail: &str| {
        findings += 1;
        if context.output.format() == Format::Json {
            let at = at.map(rfc3339);
            let object =
                serde_json::json!({ "schedule": schedule, "finding": word, "scheduled_for": at, "detail": detail });
            return context.output.object(&object);
        }
        let word = context.output.data_look().paint(Tone::Bad, word);
        let at = at.map_or_else(String::new, |at| format!(" {}", rfc3339(at)));
        context.output.line(format_args!("{word} {schedule}{at}: {detail}"))
    };
    let known = reader.schedules().map_err(history_error)?;
    let mut progress = Some(Progress::of(known.len() as u64, "schedules computed", &context.output));
    for row in known {
        schedules += 1;
        let id = row.id.to_string();
        let (segments, unreadable) = segments(&reader, &row, begin, &zones).map_err(history_error)?;
        if !unreadable.is_empty() {
            progress = None;
        }
        for detail in unreadable {
            tell(context, &id, "unreadable", None, &detail)?;
        }
        let found = audit(&segments, &reader.ledger(&row.id, begin).map_err(history_error)?);
        due += found.due;
        // A bar and findings would be drawn over one another: the findings are their own progress.
        if !found.findings.is_empty() {
            progress = None;
        }
        for finding in &found.findings {
            tell(context, &id, finding.word(), Some(finding.at()), &finding.detail())?;
        }
        if let Some(progress) = &mut progress {
            progress.step(&mut context.output);
        }
    }
    drop(progress);
    for (run_id, occurrences) in reader.runs_of_several().map_err(history_error)? {
        let detail = format!("run {run_id} is told to be that of {}", occurrences.join(" and "));
        let schedule = occurrences
            .first()
            .and_then(|key| key.split_once('/')?.1.split_once('@'))
            .map_or("", |(id, _)| id)
            .to_owned();
        tell(context, &schedule, "shared_run", None, &detail)?;
    }
    if context.output.format() == Format::Text {
        let verdict = if findings == 0 {
            context.output.data_look().paint(Tone::Good, "all accounted for")
        } else {
            context.output.data_look().paint(Tone::Bad, format!("{findings} findings"))
        };
        context.output.line(format_args!("{due} occurrences of {schedules} schedules: {verdict}"))?;
    }
    Ok(if findings == 0 { Exit::Done } else { Exit::Bad })
}

/// The rules that the file asks for, where there is a file; else the newer of the two sources.
pub(super) fn zones(context: &Context) -> Arc<ZoneSource> {
    let config = context.config_path().ok().and_then(|path| Config::load(&path, &context.environment).ok());
    config.map_or_else(
        || Arc::new(ZoneSource::newer(context.environment.path("TZDIR").as_deref())),
        |config| config.zones,
    )
}
