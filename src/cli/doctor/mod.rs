//! `skycron doctor`: looks at everything that a daemon depends on, and says what is wrong and what to do. Touches nothing.
//!
//! | file | looks at |
//! |---|---|
//! | `file` | the file, the key, the secrets, the zone rules |
//! | `server` | the API, the key's acceptance, the search by tag, the server's clock |
//! | `machine` | the clock, the systemd unit |
//! | `alarms` | the channels, and what could not be sent |
//! | `state` | the history, the daemon, whether the daemon took over the file |
//!
//! Here: the arguments, what a finding is, and how it is shown.

mod alarms;
mod file;
mod machine;
mod server;
mod state;

pub(super) use server::CLOCKS_APART_SECONDS_MIN;
pub(super) use state::takeover;

use clap::Args;
use serde_json::json;

use super::{
    args::Format,
    context::Context,
    error::CliError,
    exit::Exit,
    output::{Output, Tone},
};
use crate::{
    clock::{Clock, Stopwatch},
    words::words,
};

const AFTER_HELP: &str = "\
One line for each check: ok, warning or problem, what was seen, and a hint what to do. In JSON one object a line with
check, status, message, hint. Nothing is changed, started or sent but questions.

  file          it can be read and has no errors (`skycron check` shows each)
  key           it is where the file says, and nobody else can read it
  secrets       those that templates speak of are where the file says
  zone_rules    whose rules are in force, and each schedule whose next two years differ by the others
  server        it is reached, its version
  access        it accepts the key
  tag_search    starts without an answer can be looked for by their tag
  server_clock  how far its clock is from this one
  clock         this machine's clock is plausible, and whether something keeps it
  database      the state folder and the history in it
  daemon        one runs on this history, and answers
  reload        it took over the file as it is now
  alarms        the channels are where the file says, and what was to be told has been sent
  unit          the systemd unit skycron, where there is systemd

Exit code 0 if there is no problem (warnings may be). Otherwise the first of these that applies:
2 if the file, the key or a secret is wrong, or the daemon refused the file; 3 if the API cannot be used; 1 for anything else.

Examples:
  skycron doctor
  skycron doctor --config /etc/skycron/schedules.toml --state-dir /var/lib/skycron
  skycron doctor --format json | jq -r 'select(.status != \"ok\") | .hint'";

/// The arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct DoctorArgs {}

words! {
    /// What came of a check.
    Verdict {
        /// As it should be.
        Ok = "ok",
        /// Worth a look.
        Warning = "warning",
        /// Wrong.
        Problem = "problem",
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    check: &'static str,
    /// What came of it.
    pub(super) verdict: Verdict,
    /// What was seen.
    pub(super) message: String,
    /// What to do.
    pub(super) hint: Option<String>,
    /// What a problem makes of the exit code.
    class: Exit,
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, message: message.into(), hint: None, class: Exit::Done }
    }

    fn warning(check: &'static str, message: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, ..Self::ok(check, message) }
    }

    fn problem(check: &'static str, class: Exit, message: impl Into<String>) -> Self {
        Self { verdict: Verdict::Problem, class, ..Self::ok(check, message) }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn maybe_hint(self, hint: Option<impl Into<String>>) -> Self {
        Self { hint: hint.map(Into::into), ..self }
    }
}

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written, or the system gives no runtime.
pub fn run(_args: &DoctorArgs, context: &mut Context) -> Result<Exit, CliError> {
    let clocks = (context.clock.now(), Stopwatch::start());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Bad, "the runtime cannot be started").source(error))?;
    let mut shown = Shown::default();
    let (found, config) = file::file(context);
    shown.add(found, &mut context.output)?;
    if let Some(config) = &config {
        let (found, key) = file::key(config, &context.environment);
        shown.add(found, &mut context.output)?;
        shown.add(file::secrets(config, &context.environment), &mut context.output)?;
        shown.add(alarms::channels(config, &context.environment), &mut context.output)?;
        shown.add(file::zone_rules(config, context.clock.now()), &mut context.output)?;
        if let Some(key) = key {
            let found = runtime.block_on(server::look(config, key, context.clock));
            shown.add(found, &mut context.output)?;
        }
    }
    let state_dir = match context.state_dir() {
        Ok(dir) => Some(dir),
        Err(error) => {
            let finding = Finding::problem("database", Exit::Bad, error.message).maybe_hint(error.hint);
            shown.add([finding], &mut context.output)?;
            None
        }
    };
    let (database, history) = state_dir.as_deref().map(state::database).unwrap_or_default();
    shown.add([machine::clock(context.clock.now(), clocks, history.latest())], &mut context.output)?;
    shown.add(database, &mut context.output)?;
    if let Some(dir) = &state_dir {
        let (finding, runs) = runtime.block_on(state::daemon(dir));
        shown.add([finding], &mut context.output)?;
        let path = config.as_ref().map(|config| config.path.as_path());
        shown.add(state::reload(&history, path, runs), &mut context.output)?;
        shown.add(alarms::queue(dir, config.as_ref(), context.clock.now()), &mut context.output)?;
    }
    shown.add(machine::unit(&context.environment), &mut context.output)?;
    shown.end(&mut context.output)
}

/// What was shown so far.
#[derive(Debug, Default)]
struct Shown {
    problems: Vec<Exit>,
    warnings: usize,
}

impl Shown {
    /// Shows findings as soon as they are there: the next ones may take a while.
    fn add(&mut self, found: impl IntoIterator<Item = Finding>, output: &mut Output) -> Result<(), CliError> {
        for finding in found {
            let tone = match finding.verdict {
                Verdict::Ok => Tone::Good,
                Verdict::Warning => {
                    self.warnings += 1;
                    Tone::Warn
                }
                Verdict::Problem => {
                    self.problems.push(finding.class);
                    Tone::Bad
                }
            };
            let Finding { check, verdict, message, hint, .. } = finding;
            if output.format() == Format::Json {
                let verdict = verdict.word();
                let object = json!({ "check": check, "status": verdict, "message": message, "hint": hint });
                output.object(&object)?;
                continue;
            }
            // Padded before it is painted: colours have no width.
            let word = output.data_look().paint(tone, format_args!("{:8}", verdict.word()));
            output.line(format_args!("{word} {check:12}  {message}"))?;
            if let Some(hint) = hint {
                let label = output.data_look().paint(Tone::Strong, "hint");
                output.line(format_args!("{:23}{label}: {hint}", ""))?;
            }
        }
        output.flush()
    }

    /// The verdict over all.
    fn end(self, output: &mut Output) -> Result<Exit, CliError> {
        if output.format() == Format::Text {
            let count = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
            let (problems, warnings) = (count(self.problems.len(), "problem"), count(self.warnings, "warning"));
            let line = match (self.problems.len(), self.warnings) {
                (0, 0) => output.data_look().paint(Tone::Good, "nothing is wrong"),
                (0, _) => output.data_look().paint(Tone::Warn, format_args!("no problem, {warnings}")),
                (_, 0) => output.data_look().paint(Tone::Bad, problems),
                _ => output.data_look().paint(Tone::Bad, format_args!("{problems}, {warnings}")),
            };
            output.line(line)?;
        }
        let order = [Exit::Usage, Exit::Api, Exit::Bad];
        Ok(order.into_iter().find(|class| self.problems.contains(class)).unwrap_or(Exit::Done))
    }
}
