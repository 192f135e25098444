//! `skycron show`: everything about one occurrence or run. Reads the history only; it does not ask the server.

use clap::Args;
use serde_json::value::RawValue;

use super::{
    args::Format,
    context::Context,
    error::CliError,
    exit::Exit,
    history::{late, one_line, tone, took},
    output::{Output, Tone},
    run::history_error,
};
use crate::{
    clock::{length, rfc3339, rfc3339_millis},
    history::{AttemptRow, OccurrenceDetail, Reader, RunRow},
    ids::{OccurrenceKey, RunId},
};

/// Longer texts of the server are cut in the text form; the JSON has them whole.
const TEXT_CHARS_MAX: usize = 4000;

const AFTER_HELP: &str = "\
JSON: the fields of `skycron history`, and count, through, workflow_id, decided_at, parameters, attempt_list, run (the
API's latest word, under the API's names, with the output as it came), related, notes.

Examples:
  skycron show main/weekday-report@2026-11-02T14:00:00Z
  skycron show wr_123456789
  skycron show wr_123456789 --format json | jq .run.output";

/// The arguments of `show`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct ShowArgs {
    /// An occurrence (`main/weekday-report@2026-11-02T14:00:00Z`) or a run id (`wr_…`)
    #[arg(value_name = "OCCURRENCE or RUN_ID")]
    pub name: String,
}

/// Runs the command.
///
/// # Errors
/// The name is neither, there is no such occurrence, or the history cannot be read.
pub fn run(args: &ShowArgs, context: &mut Context) -> Result<Exit, CliError> {
    let name = Name::of(&args.name)?;
    let reader = Reader::open(&context.state_dir()?).map_err(history_error)?;
    let found = match &name {
        Name::Occurrence(key) => reader.occurrence(key),
        Name::Run(run_id) => reader.run(run_id),
    };
    let Some(detail) = found.map_err(history_error)? else {
        return Err(CliError::new(Exit::Bad, format!("the history has no occurrence {}", args.name))
            .hint("skycron history lists them; what is older than [history] keep_for is gone"));
    };
    if context.output.format() == Format::Json {
        context.output.object(&detail)?;
    } else {
        Page { output: &mut context.output }.detail(&detail)?;
    }
    Ok(Exit::Done)
}

enum Name {
    Occurrence(OccurrenceKey),
    Run(RunId),
}

impl Name {
    fn of(text: &str) -> Result<Self, CliError> {
        if text.contains(['@', '/']) {
            let key = text.parse().map_err(|error| CliError::usage(format!("{text:?} is {error}")))?;
            return Ok(Self::Occurrence(key));
        }
        RunId::new(text).map(Self::Run).map_err(|_| {
            CliError::usage(format!("{text:?} is neither an occurrence nor a run id"))
                .hint("as in main/weekday-report@2026-11-02T14:00:00Z, or wr_123456789")
        })
    }
}

/// The text form: headings, and below each its fields with aligned labels.
struct Page<'a> {
    output: &'a mut Output,
}

impl Page<'_> {
    fn detail(&mut self, detail: &OccurrenceDetail) -> Result<(), CliError> {
        let row = &detail.row;
        self.heading(&row.occurrence.to_string())?;
        let status = self.output.data_look().paint(tone(row.status), row.status);
        self.field("status", &status)?;
        self.text("reason", row.reason.as_deref())?;
        self.field("trigger", row.trigger.word())?;
        if let Some(through) = detail.through {
            self.field("stands for", &format!("{} occurrences, the last at {}", detail.count, rfc3339(through)))?;
        }
        self.field("workflow", detail.workflow_id.as_str())?;
        self.field("due", &rfc3339(row.scheduled_for))?;
        self.field("decided", &rfc3339_millis(detail.decided_at))?;
        if let Some(at) = row.launched_at {
            let late = late(row).map_or_else(String::new, |late| format!(", {} after it was due", length(late)));
            self.field("launched", &format!("{}{late}", rfc3339_millis(at)))?;
        }
        if let Some(at) = row.finished_at {
            let took = took(row).map_or_else(String::new, |took| format!(", after {}", length(took)));
            self.field("finished", &format!("{}{took}", rfc3339_millis(at)))?;
        }
        if let Some(parameters) = &detail.parameters {
            self.text("parameters", serde_json::to_string(parameters).ok().as_deref())?;
        }
        for other in &detail.related {
            self.field("see also", &other.to_string())?;
        }
        if !detail.attempt_list.is_empty() {
            self.heading("attempts")?;
            detail.attempt_list.iter().try_for_each(|attempt| self.attempt(attempt))?;
        }
        if let Some(run_id) = &row.run_id {
            self.heading(&format!("run {run_id}"))?;
        }
        if let Some(run) = &detail.run {
            self.run(run)?;
        }
        if !detail.notes.is_empty() {
            self.heading("the daemon meanwhile")?;
        }
        for note in &detail.notes {
            let text = one_line(&note.text, TEXT_CHARS_MAX);
            self.output.line(format_args!("  {}  {}: {text}", rfc3339_millis(note.at), note.kind))?;
        }
        Ok(())
    }

    fn attempt(&mut self, attempt: &AttemptRow) -> Result<(), CliError> {
        let outcome = attempt.outcome.map_or("no answer is known", |outcome| outcome.word());
        let mut line = format!("  {}  {}  {outcome}", attempt.number, rfc3339_millis(attempt.begun_at));
        if let Some(ended_at) = attempt.ended_at {
            line += &format!(" after {}", length(ended_at - attempt.begun_at));
        }
        if let Some(status) = attempt.http_status {
            line += &format!(", HTTP {status}");
        }
        if let Some(run_id) = &attempt.run_id {
            line += &format!(", {run_id}");
        }
        if let Some(message) = &attempt.message {
            line += &format!(": {}", one_line(message, TEXT_CHARS_MAX));
        }
        self.output.line(line)
    }

    fn run(&mut self, run: &RunRow) -> Result<(), CliError> {
        self.field("status", &format!("{} at {}", one_line(&run.status, 100), rfc3339_millis(run.reported_at)))?;
        if run.retry_pending {
            let next = run.next_attempt_at.map_or_else(String::new, |at| format!(" at {}", rfc3339_millis(at)));
            self.field("goes on", &format!("the server will try it again{next}"))?;
        }
        if let Some(attempt) = run.attempt.filter(|attempt| *attempt > 1) {
            self.field("attempt", &format!("{attempt}, of the server's own"))?;
        }
        for (label, at) in [
            ("created", run.created_at),
            ("queued", run.queued_at),
            ("started", run.started_at),
            ("finished", run.finished_at),
        ] {
            if let Some(at) = at {
                self.field(label, &rfc3339_millis(at))?;
            }
        }
        self.text("failure", run.failure_reason.as_deref())?;
        self.text("page", run.app_url.as_deref())?;
        self.text("recording", run.recording_url.as_deref())?;
        run.screenshot_urls.iter().try_for_each(|url| self.text("screenshot", Some(url)))?;
        self.text("browser", run.browser_session_id.as_deref())?;
        self.json("errors", run.errors.as_deref())?;
        self.json("files", run.downloaded_files.as_deref())?;
        self.json("output", run.output.as_deref())?;
        if run.truncated {
            self.field("", "(something was longer than [history] body_bytes_max and is kept in part, or not at all)")?;
        }
        Ok(())
    }

    fn heading(&mut self, text: &str) -> Result<(), CliError> {
        let text = self.output.data_look().paint(Tone::Strong, text);
        self.output.line(text)
    }

    /// A field whose value is ours.
    fn field(&mut self, label: &str, value: &str) -> Result<(), CliError> {
        let label = self.output.data_look().paint(Tone::Dim, format_args!("{label:<11}"));
        self.output.line(format_args!("  {label} {value}"))
    }

    /// A field whose value came from elsewhere; nothing where there is none.
    fn text(&mut self, label: &str, value: Option<&str>) -> Result<(), CliError> {
        value.map_or(Ok(()), |value| self.field(label, &one_line(value, TEXT_CHARS_MAX)))
    }

    fn json(&mut self, label: &str, value: Option<&RawValue>) -> Result<(), CliError> {
        self.text(label, value.map(RawValue::get).filter(|json| !matches!(*json, "null" | "[]" | "{}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |text: &str, expected: &str| {
            let found = match Name::of(text) {
                Ok(Name::Occurrence(key)) => format!("occurrence {key}"),
                Ok(Name::Run(run_id)) => format!("run {run_id}"),
                Err(error) => error.message,
            };
            assert_eq!(found, expected);
        };
        check("main/daily@2026-11-02T14:00:00Z#retry-2", "occurrence main/daily@2026-11-02T14:00:00Z#retry-2");
        check("main/daily@2026-11-02T09:00:00-05:00", "occurrence main/daily@2026-11-02T14:00:00Z");
        check("wr_1", "run wr_1");
        check("daily report", "\"daily report\" is neither an occurrence nor a run id");
        check(
            "daily@2026-11-02T14:00:00Z",
            "\"daily@2026-11-02T14:00:00Z\" is not an occurrence: expected <instance>/<schedule>@<instant>, \
             as in main/weekday-report@2026-11-02T14:00:00Z",
        );
    }
}
