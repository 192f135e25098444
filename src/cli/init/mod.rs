//! `skycron init`: a commented file to begin with, made from the workflows of the organisation.
//!
//! In a terminal it asks; what the options say is not asked. What it writes was checked first, as `check --online` does, and
//! it never writes over a file that it was not told to replace.
//!
//! | file | what it is |
//! |---|---|
//! | `ask` | the questions in a terminal |
//! | `file` | choices → the text of the file; pure |

mod ask;
mod file;

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, IsTerminal, Write},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    access::{self, AccessArgs},
    args::Format,
    check::online,
    context::{Context, FILE_HERE},
    error::CliError,
    exit::Exit,
    history::one_line,
    output::Tone,
    problems, trigger,
};
use crate::{
    clock::{Clock, rfc3339},
    config::{self, Config, Environment, Problems, Severity},
    ids::WorkflowId,
    schedule::{Timetable, phrase},
    skyvern::{ApiErrorKind, Client, WORKFLOWS_MAX, Workflow},
};
use file::Chosen;

/// Occurrences that are shown before a cadence is accepted.
const OCCURRENCES_SHOWN: usize = 5;
/// Where programs of a machine look for its zone.
const ZONE_FILE: &str = "/etc/timezone";
const ZONE_LINK: &str = "/etc/localtime";

const AFTER_HELP: &str = "\
A CADENCE is in words, or five cron fields:
  weekdays at 9                      every 15 minutes
  daily at noon                      every 2 hours from 8:00 to 20:00
  mondays and thursdays at 18:00     every 30 minutes from 9:00 to 17:30 on weekdays
  first of the month at 06:30        last friday of the month at 17:00
Its next five occurrences are shown before it is accepted. Parameters are filled in with the workflow's defaults; those
that have none are asked for, or given with --parameter.

Without a terminal, or with --yes, nothing is asked: --workflow and --cadence are needed then. Exit code 2 if something
is missing or wrong, 3 if the API cannot be used; in both cases no file was written.

Examples:
  skycron init
  skycron init --workflow wpid_123456789 --cadence 'weekdays at 9' --timezone America/New_York --yes
  skycron init --workflow wpid_1 --cadence 'daily at noon' --workflow wpid_2 --cadence 'every 15 minutes' \\
               --parameter url=https://example.com --output /etc/skycron/schedules.toml --yes";

/// The arguments of `init`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct InitArgs {
    /// A workflow to start on a schedule, by its id; can be given several times
    #[arg(long = "workflow", short = 'w', value_name = "ID")]
    pub workflows: Vec<String>,
    /// When: one for all workflows, or one for each of them in their order
    #[arg(long = "cadence", value_name = "CADENCE")]
    pub cadences: Vec<String>,
    /// The zone whose clocks the cadences mean [else this machine's]
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// A parameter, for every one of the workflows that declares it; a value that reads as JSON is taken as such
    #[arg(long = "parameter", short = 'p', value_name = "KEY=VALUE")]
    pub parameters: Vec<String>,
    /// Where to write it
    #[arg(long, short = 'o', value_name = "FILE", default_value = FILE_HERE)]
    pub output: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    pub force: bool,
    /// Ask nothing
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Which server.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// Runs the command.
///
/// # Errors
/// Something is missing or wrong, the file is there already, or the API cannot be used. Nothing was written.
pub fn run(args: &InitArgs, context: &mut Context) -> Result<Exit, CliError> {
    if args.output.symlink_metadata().is_ok() && !args.force {
        return Err(there_already(&args.output));
    }
    let parameters = trigger::parameters(&args.parameters)?;
    let asks = !args.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let settings = Config::parse(Path::new("the options"), &args.access.table(), &context.environment)
        .map_err(|found| problems::as_error(&found, &mut context.output))?;
    let client = access::client(&settings, &context.environment)?;
    let workflows = workflows(args, &client, asks, context)?;
    for key in parameters.keys() {
        if !workflows.iter().any(|workflow| workflow.parameter(key).is_some_and(|parameter| parameter.input)) {
            return Err(CliError::usage(format!("none of the workflows declares a parameter {key:?}"))
                .hint("`skycron workflows` lists them with their parameters"));
        }
    }
    let chosen = choices(args, workflows, &parameters, asks, context)?;
    let text = file::text(&args.access, &chosen);
    let config = checked(&args.output, &text, context)?;
    write(&args.output, &text, args.force)?;
    tell(&args.output, &config, context)
}

/// The workflows that are wanted.
fn workflows(args: &InitArgs, client: &Client, asks: bool, context: &mut Context) -> Result<Vec<Workflow>, CliError> {
    let runtime = access::runtime()?;
    if args.workflows.is_empty() {
        if !asks {
            return Err(CliError::usage("no workflow is named, and there is no terminal to ask in")
                .hint("--workflow ID says which; `skycron workflows` lists them"));
        }
        let ask = access::patiently(|| client.list_workflows(None, WORKFLOWS_MAX));
        let all = runtime.block_on(ask).map_err(|error| access::api_error(&error))?;
        if all.is_empty() {
            return Err(CliError::new(Exit::Bad, "the organisation of this key has no workflows")
                .hint("make one at Skyvern first, then run this again"));
        }
        return ask::workflows(all);
    }
    let mut found = Vec::new();
    for text in &args.workflows {
        let id = WorkflowId::new(text).map_err(|error| CliError::usage(format!("the workflow {text:?} {error}")))?;
        let absent = || {
            CliError::usage(format!("the server has no workflow {id}"))
                .hint("`skycron workflows` lists those of this key")
        };
        match runtime.block_on(access::patiently(|| client.get_workflow(&id))) {
            Ok(workflow) if workflow.deleted => return Err(absent()),
            Ok(workflow) => found.push(workflow),
            Err(error) if error.kind == ApiErrorKind::NotFound => return Err(absent()),
            Err(error) => return Err(access::api_error(&error)),
        }
    }
    context.output.note(format_args!("{} answers", client.base_url()));
    Ok(found)
}

/// What the file is to say of each workflow.
fn choices(
    args: &InitArgs,
    workflows: Vec<Workflow>,
    given: &Map<String, Value>,
    asks: bool,
    context: &mut Context,
) -> Result<Vec<Chosen>, CliError> {
    let cadences = args.cadences.len();
    if cadences > 1 && cadences != workflows.len() {
        return Err(CliError::usage(format!("{cadences} cadences for {} workflows", workflows.len()))
            .hint("give one --cadence for all, or one for each --workflow in their order"));
    }
    if cadences == 0 && !asks {
        return Err(CliError::usage("when is not said, and there is no terminal to ask in")
            .hint("--cadence says it, as in --cadence 'weekdays at 9'"));
    }
    let now = context.clock.now();
    let zone = match &args.timezone {
        Some(zone) => zone.clone(),
        None => {
            let machine = zone_of_machine(&context.environment);
            let zone = machine.filter(|zone| timetable("@daily", zone, &context.environment).is_ok());
            let zone = zone.unwrap_or_else(|| "UTC".to_owned());
            if asks {
                ask::zone(&zone, |zone| timetable("@daily", zone, &context.environment).map(drop), &mut context.output)?
            } else {
                zone
            }
        }
    };
    let mut chosen: Vec<Chosen> = Vec::new();
    for (number, workflow) in workflows.into_iter().enumerate() {
        let title = one_line(&workflow.title, 80);
        let cadence = args.cadences.get(number).or_else(|| args.cadences.first());
        let (expression, timetable) = match cadence {
            Some(text) => {
                let (expression, timetable) =
                    cadence_of(text, &zone, &context.environment).map_err(|(message, hint)| {
                        CliError::usage(format!("the cadence {text:?}: {message}")).hint(hint)
                    })?;
                context.output.note(occurrences(&title, &timetable, now));
                (expression, timetable)
            }
            None => {
                let environment = &context.environment;
                let read = |text: &str| {
                    let (expression, timetable) = cadence_of(text, &zone, environment)?;
                    let shown = occurrences(&title, &timetable, now);
                    Ok(((expression, timetable), shown))
                };
                ask::cadence(&title, read, &mut context.output)?
            }
        };
        let mut parameters = Map::new();
        for parameter in workflow.parameters.iter().filter(|parameter| parameter.input) {
            let value = match given.get(&parameter.key) {
                Some(value) => Some(value.clone()),
                None if parameter.required && asks => Some(ask::parameter(&title, parameter, &mut context.output)?),
                None => None,
            };
            if let Some(value) = value {
                parameters.insert(parameter.key.clone(), value);
            }
        }
        let missing = workflow.missing(&parameters);
        if !missing.is_empty() {
            let flags: Vec<String> = missing.iter().map(|key| format!("--parameter {key}=…")).collect();
            let message = format!("the workflow {} ({title}) requires {}", workflow.id, missing.join(", "));
            return Err(CliError::usage(message).hint(format!("give {}", flags.join(" "))));
        }
        let taken: Vec<&str> = chosen.iter().map(|chosen| chosen.id.as_str()).collect();
        let id = file::schedule_id(&workflow, &taken);
        let words = timetable.in_words();
        chosen.push(Chosen { id, workflow, expression, words, zone: zone.clone(), parameters });
    }
    Ok(chosen)
}

/// A cadence in words or fields, with its timetable; or what is wrong with it, and a hint.
fn cadence_of(text: &str, zone: &str, environment: &Environment) -> Result<(String, Timetable), (String, String)> {
    let expression = phrase::parse(text).map_err(|error| (error.message, error.hint))?;
    let timetable = timetable(expression.as_str(), zone, environment)?;
    Ok((expression.as_str().to_owned(), timetable))
}

fn timetable(expression: &str, zone: &str, environment: &Environment) -> Result<Timetable, (String, String)> {
    config::expression_timetable(expression, zone, environment).map_err(|found| {
        let first = found.list.into_iter().find(|problem| problem.severity == Severity::Error);
        first.map_or_else(Default::default, |problem| (problem.message, problem.hint.unwrap_or_default()))
    })
}

/// `Invoices: At 09:00 on weekdays, New York time (0 9 * * 1-5)`, and the next five.
fn occurrences(title: &str, timetable: &Timetable, now: DateTime<Utc>) -> String {
    let words = timetable.in_words().map_or_else(String::new, |words| format!("{words} "));
    let mut text = format!("{title}: {words}({}), next:", timetable.cadence_text());
    let next = std::iter::successors(timetable.next_after(now), |at| timetable.next_after(*at));
    for at in next.take(OCCURRENCES_SHOWN) {
        let local = timetable.zone().to_local(at).format("%a %Y-%m-%d %H:%M %:z");
        text.push_str(&format!("\n  {local}  ({})", rfc3339(at)));
    }
    text
}

/// The zone that the machine's user or administrator chose.
fn zone_of_machine(environment: &Environment) -> Option<String> {
    let of_user = environment.text("TZ").map(|zone| zone.trim_start_matches(':').to_owned());
    let of_file = || fs::read_to_string(ZONE_FILE).ok().map(|text| text.trim().to_owned());
    let of_link = || {
        let target = fs::read_link(ZONE_LINK).ok()?;
        target.to_string_lossy().split_once("zoneinfo/").map(|(_, name)| name.to_owned())
    };
    of_user.or_else(of_file).or_else(of_link).filter(|zone| !zone.is_empty())
}

/// The text, if there is nothing wrong with it, here and at the server.
fn checked(path: &Path, text: &str, context: &mut Context) -> Result<Config, CliError> {
    let config = Config::parse(path, text, &context.environment)
        .map_err(|found| problems::as_error(&found, &mut context.output))?;
    let looked = online::look(&config, context)?;
    let found = Problems { list: looked.problems, ..config.warnings.clone() };
    if found.count(Severity::Error) > 0 {
        return Err(problems::as_error(&found, &mut context.output));
    }
    Ok(config)
}

fn there_already(path: &Path) -> CliError {
    CliError::usage(format!("{} is there already", path.display()))
        .hint("--force replaces it, --output FILE writes another")
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), CliError> {
    let failed = |error: std::io::Error| {
        if error.kind() == ErrorKind::AlreadyExists {
            return there_already(path);
        }
        CliError::new(Exit::Bad, format!("{} could not be written", path.display())).source(error)
    };
    if !force {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
        return file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed);
    }
    // Whole, or not at all: a daemon may read it at any moment.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, text).and_then(|()| fs::rename(&beside, path)).map_err(failed)
}

fn tell(path: &Path, config: &Config, context: &mut Context) -> Result<Exit, CliError> {
    let output = &mut context.output;
    let ids: Vec<&str> = config.schedules.iter().map(|schedule| schedule.id.as_str()).collect();
    if output.format() == Format::Json {
        output.object(&json!({ "file": path.display().to_string(), "schedules": ids }))?;
        return Ok(Exit::Done);
    }
    let wrote = output.data_look().paint(Tone::Good, format_args!("{} is written", path.display()));
    output.line(format_args!("{wrote}: {}", ids.join(", ")))?;
    let option = if path == Path::new(FILE_HERE) { String::new() } else { format!(" --config {}", path.display()) };
    let first = ids.first().copied().unwrap_or("SCHEDULE");
    output.note(format_args!(
        "Next: `skycron next{option}` shows what is due, `skycron trigger {first} --wait{option}` starts one now,\n\
         `skycron run{option}` is the daemon."
    ));
    Ok(Exit::Done)
}
