//! What can be typed: the commands and the options that all of them have. Definitions only.
//!
//! Each command's own arguments are in the file of that command. Variables of the environment are looked up by
//! [`super::context`], not by the parser, so that `--help` never shows their values.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{
    audit, backfill, check, completions, demo, doctor, exit, history, init, log::LogFormat, man, mirror, next, notify,
    pause, run, sandbox, schema, show, status, trigger, why, workflows,
};

const ABOUT: &str =
    "Starts Skyvern workflows on a timetable: at the right instant, exactly once, every occurrence accounted for";

const AFTER_HELP: &str = "\
Examples:
  skycron demo                                  see it work: no key, no file, no network
  skycron check                                 what is wrong with ./schedules.toml, all at once
  skycron next weekday-report --count 3         when it is due next
  skycron next --cron '0 9 * * 1-5' --timezone America/New_York
  skycron trigger weekday-report --wait         start one now and wait for its end
  skycron run                                   the daemon, in the foreground
  skycron history --status failed --since -7d   what failed in the last seven days

Where things are, the first that is given counts:
  the file     --config, $SKYCRON_CONFIG, ./schedules.toml, /etc/skycron/schedules.toml
  the history  history.db in --state-dir, $SKYCRON_STATE_DIR, $STATE_DIRECTORY (systemd sets it),
               $XDG_STATE_HOME/skycron, ~/.local/state/skycron
  the key      where [api] api_key in the file says, $SKYVERN_API_KEY

Data goes to standard output, talk to standard error. With --format json data is one object a
line, and every instant in it is UTC.
";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "skycron", version, about = ABOUT, after_long_help = help_end(), after_help = "--help says more: examples, exit codes, where things are.")]
#[command(propagate_version = true, infer_subcommands = false, disable_help_subcommand = true)]
pub struct Cli {
    /// The options that every command has.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

fn help_end() -> String {
    format!("{AFTER_HELP}\n{}", exit::HELP)
}

/// The options that every command has.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Common {
    /// The file with the schedules [else $SKYCRON_CONFIG, ./schedules.toml]
    #[arg(long, short = 'c', global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The folder with the history [else $SKYCRON_STATE_DIR, ~/.local/state/skycron]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// For people, or for programs: one JSON object a line
    #[arg(long, short = 'f', global = true, value_enum, default_value_t)]
    pub format: Format,
    /// How much to log on standard error: error, warn, info, debug, trace [else $SKYCRON_LOG]
    ///
    /// Filters by module are possible too: `info,skycron::engine=debug`. The daemon logs at `info` if nothing is said,
    /// other commands at `warn`.
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// In which form to log [else $SKYCRON_LOG_FORMAT, auto]
    #[arg(long, global = true, value_enum, value_name = "FORM")]
    pub log_format: Option<LogFormat>,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a file to begin with, made from the workflows of the key's organisation
    Init(init::InitArgs),
    /// Run the daemon, in the foreground: start what is due, follow it, write everything down
    Run(run::RunArgs),
    /// Read the file and list every problem in it; touches nothing
    Check(check::CheckArgs),
    /// List the workflows of the key's organisation, and their parameters
    Workflows(workflows::WorkflowsArgs),
    /// Show when schedules, or an expression, are due next
    Next(next::NextArgs),
    /// Show on one screen how it stands: daemon, file, API, what runs, what is next, what failed
    Status(status::StatusArgs),
    /// Show what happened
    History(history::HistoryArgs),
    /// Show everything about one occurrence or run
    Show(show::ShowArgs),
    /// Tell why a schedule did or did not run at an instant, and what to do
    Why(why::WhyArgs),
    /// Start a schedule's workflow now; it is recorded as manual
    Trigger(trigger::TriggerArgs),
    /// Start occurrences of the past, once each
    Backfill(backfill::BackfillArgs),
    /// Do not start a schedule for a while, without editing the file
    Pause(pause::PauseArgs),
    /// Let a paused schedule go on
    Resume(pause::ResumeArgs),
    /// Make the server's own schedules equal to the file's: plan, apply, status, import
    Mirror(mirror::MirrorArgs),
    /// Prove that every occurrence is accounted for, or list what is not
    Audit(audit::AuditArgs),
    /// Look at everything that a daemon depends on: what is wrong, and what to do; touches nothing
    Doctor(doctor::DoctorArgs),
    /// Send a test alarm to the channels of the file, and say what came back
    Notify(notify::NotifyArgs),
    /// Serve a small Skyvern look-alike on loopback, for trying things out
    Sandbox(sandbox::SandboxArgs),
    /// See the main job done on a built-in look-alike server: needs no key, no file, no network
    Demo(demo::DemoArgs),
    /// Print the JSON Schema of the file, for editors
    Schema(schema::SchemaArgs),
    /// Print what a shell needs to complete the command line
    Completions(completions::CompletionsArgs),
    /// Print the manual page of the program or of a command
    Man(man::ManArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn definitions_are_sound() {
        Cli::command().debug_assert();
    }
}
