//! `skycron demo`: the main job on an embedded look-alike server, without key, configuration or network.
//!
//! The sandbox runs in this process; the daemon is this very program, run as `skycron run` on a file that is written for the
//! purpose. So what is shown is the real thing. Everything stays in a folder that is named at the end.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use super::{
    args::Format,
    context::Context,
    error::CliError,
    exit::Exit,
    history::show_rows,
    output::{Output, Tone},
    run::history_error,
};
use crate::{
    clock::{Clock, rfc3339},
    config::{Config, Environment, Problems},
    engine::Status,
    history::{HistoryFilter, HistoryRow, Reader},
    sandbox::{Behaviour, Sandbox, SandboxOptions, SandboxParameter, SandboxWorkflow},
    schedule::Schedule,
};

/// The file that the schedules are taken from.
const EXAMPLE: &str = include_str!("../../schedules.example.toml");
/// Schedules of the example that take part, at most.
const SCHEDULES_MAX: usize = 3;
/// How long it may take without `--for`: up to a minute until the next minute begins, and the runs.
const SECONDS_MAX: u64 = 150;
/// Between two looks at the history.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The least time between the daemon's start and the minute that it fires at.
const LEAD_SECONDS_MIN: i64 = 3;

const AFTER_HELP: &str = "\
It starts the sandbox on a free port of this machine, writes a file with schedules of the example file that are due
at the next full minute, runs the daemon on it, and shows what happens until the runs are over: a minute and a bit.
What happened stays in a folder (--state-dir names another) that `skycron history` and `skycron show` read.

Exit code 0 if every run completed, 1 if not.";

/// The arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct DemoArgs {
    /// End after this time at the latest
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub bound: Option<Duration>,
}

/// Runs the command.
///
/// # Errors
/// The folder, the sandbox or the daemon could not be started.
pub fn run(args: &DemoArgs, context: &mut Context) -> Result<Exit, CliError> {
    let folder = folder(context)?;
    let started = context.clock.now();
    let due = next_minute(started);
    let bound = args.bound.unwrap_or(Duration::from_secs(SECONDS_MAX));
    let behaviour =
        Behaviour { run_time: Duration::from_secs(4), run_time_spread: Duration::from_secs(6), ..Behaviour::default() };
    let schedules = example()?;
    let workflows = schedules.iter().map(|schedule| workflow(schedule)).collect();
    let sandbox = Sandbox::start(SandboxOptions { behaviour, workflows, ..SandboxOptions::default() })
        .map_err(|error| failed("the sandbox could not be started", error))?;
    let file = write_files(&folder, &sandbox, &schedules, due)?;
    let ids: Vec<String> = file.schedules.iter().map(|schedule| schedule.id.to_string()).collect();
    let output = &mut context.output;
    output.note(format_args!("sandbox:  {} (a look-alike of Skyvern, inside this process)", sandbox.base_url()));
    output.note(format_args!("file:     {}", file.path.display()));
    output.note(format_args!(
        "{} schedules are due at {}, in {} s",
        ids.len(),
        rfc3339(due),
        (due - started).num_seconds()
    ));

    let mut daemon = Daemon::start(&folder, &file.path)?;
    let mut view = View::new(&ids, due, output);
    let rows = loop {
        let now = context.clock.now();
        let rows = rows(&folder)?;
        view.update(&rows, now, &mut context.output);
        let over = rows.len() >= ids.len() && rows.iter().all(|row| !row.status.is_open());
        if over || (now - started).to_std().is_ok_and(|passed| passed >= bound) {
            break rows;
        }
        if let Some(status) = daemon.ended() {
            let log = fs::read_to_string(folder.join("daemon.log")).unwrap_or_default();
            return Err(
                CliError::new(Exit::Bad, format!("the daemon ended early ({status})")).source(log.trim().to_owned())
            );
        }
        std::thread::sleep(LOOK_EVERY);
    };
    view.finish();
    daemon.stop();
    show_rows(&rows, &mut context.output)?;
    if context.output.format() == Format::Text {
        let folder = folder.display();
        context.output.note(format_args!("\nThe history stays in {folder}. Have a look:"));
        context.output.note(format_args!("  skycron history --state-dir {folder}"));
        if let Some(row) = rows.first() {
            context.output.note(format_args!("  skycron show --state-dir {folder} '{}'", row.occurrence));
        }
        context.output.note(format_args!("  sqlite3 -readonly {folder}/history.db 'SELECT * FROM v_history'"));
    }
    let good = rows.len() >= ids.len() && rows.iter().all(|row| row.status == Status::Completed);
    Ok(if good { Exit::Done } else { Exit::Bad })
}

fn failed(message: &str, error: std::io::Error) -> CliError {
    CliError::new(Exit::Bad, message).source(error)
}

/// The folder of this demo: the one that was named, else a new one among the temporary ones.
fn folder(context: &Context) -> Result<PathBuf, CliError> {
    if context.common.state_dir.is_some() || context.environment.path("SKYCRON_STATE_DIR").is_some() {
        let folder = context.state_dir()?;
        if folder.join(crate::history::DATABASE_FILE).exists() {
            return Err(CliError::usage(format!("{} has a history already", folder.display()))
                .hint("the demo makes a history of its own: name a folder without one"));
        }
        fs::create_dir_all(&folder).map_err(|error| failed("the folder could not be made", error))?;
        return Ok(folder);
    }
    nix::unistd::mkdtemp(&std::env::temp_dir().join("skycron-demo-XXXXXX"))
        .map_err(|error| failed("no temporary folder could be made", error.into()))
}

/// The next full minute that leaves the daemon time to start.
fn next_minute(now: DateTime<Utc>) -> DateTime<Utc> {
    let from = now + TimeDelta::seconds(LEAD_SECONDS_MIN);
    let minute = from.with_second(0).and_then(|at| at.with_nanosecond(0)).unwrap_or(from);
    minute + TimeDelta::minutes(1)
}

/// The schedules of the example that take part.
fn example() -> Result<Vec<Arc<Schedule>>, CliError> {
    let example = Config::parse(Path::new("schedules.example.toml"), EXAMPLE, &no_environment()).map_err(bad_file)?;
    Ok(example.schedules.into_iter().filter(|schedule| schedule.enabled).take(SCHEDULES_MAX).collect())
}

/// A workflow of the sandbox that declares what the schedule gives it.
fn workflow(schedule: &Schedule) -> SandboxWorkflow {
    let parameter = |(key, value): (&String, &Value)| SandboxParameter {
        key: key.clone(),
        // The server takes no text or number where JSON is declared.
        kind: match value {
            Value::String(_) => "string",
            Value::Number(number) if number.is_f64() => "float",
            Value::Number(_) => "integer",
            Value::Bool(_) => "boolean",
            Value::Null | Value::Array(_) | Value::Object(_) => "json",
        }
        .to_owned(),
        default: Some(value.clone()),
    };
    SandboxWorkflow {
        title: schedule.name.clone().unwrap_or_else(|| schedule.id.to_string()),
        parameters: Some(schedule.parameters.iter().map(parameter).collect()),
        ..SandboxWorkflow::new(schedule.workflow_id.clone())
    }
}

fn no_environment() -> Environment {
    Environment::from_pairs(std::iter::empty::<(&str, &str)>())
}

fn bad_file(problems: Problems) -> CliError {
    let first = problems.list.into_iter().next().map_or_else(String::new, |problem| problem.message);
    CliError::new(Exit::Bad, "the demo's file is not right").source(first)
}

/// The daemon's file: the schedules, due at this minute of every hour.
fn write_files(
    folder: &Path,
    sandbox: &Sandbox,
    schedules: &[Arc<Schedule>],
    due: DateTime<Utc>,
) -> Result<Config, CliError> {
    let schedules: Vec<_> = schedules
        .iter()
        .map(|schedule| {
            json!({
                "id": schedule.id.as_str(),
                "workflow_id": schedule.workflow_id.as_str(),
                "cron_expression": format!("{} * * * *", due.minute()),
                "timezone": "UTC",
                "name": schedule.name.as_deref().unwrap_or_default(),
                "parameters": schedule.parameters,
            })
        })
        .collect();
    let key_file = folder.join("sandbox.key");
    let file = json!({
        "instance": "demo",
        "api": {
            "base_url": sandbox.base_url(),
            "api_key": { "file": key_file },
            "poll_interval": "1s",
        },
        "schedule": schedules,
    });
    let text = toml::to_string(&file)
        .map_err(|error| CliError::new(Exit::Bad, "the demo's file cannot be written").source(error))?;
    let path = folder.join("schedules.toml");
    let write = || {
        write_private(&key_file, sandbox.key().expose())?;
        fs::write(&path, &text)
    };
    write().map_err(|error| failed("the demo's file cannot be written", error))?;
    Config::parse(&path, &text, &no_environment()).map_err(bad_file)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

/// The demo's occurrences, oldest schedule id first. Before the daemon made its history there are none.
fn rows(folder: &Path) -> Result<Vec<HistoryRow>, CliError> {
    let filter = HistoryFilter { limit: 100, ..HistoryFilter::default() };
    match Reader::open(folder).and_then(|reader| reader.history(&filter)) {
        Ok(mut rows) => {
            rows.sort_by(|a, b| a.occurrence.cmp(&b.occurrence));
            Ok(rows)
        }
        Err(crate::history::HistoryError::Absent(_)) => Ok(Vec::new()),
        Err(error) => Err(history_error(error)),
    }
}

/// The daemon, as a process of its own. Ends with this value.
struct Daemon(Child);

impl Daemon {
    fn start(folder: &Path, file: &Path) -> Result<Self, CliError> {
        let start = || {
            let log = fs::File::create(folder.join("daemon.log"))?;
            Command::new(std::env::current_exe()?)
                .args(["run", "--config"])
                .arg(file)
                .arg("--state-dir")
                .arg(folder)
                .env_remove("SKYCRON_LOG")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
        };
        start().map(Self).map_err(|error| failed("the daemon could not be started", error))
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    fn stop(&mut self) {
        if self.ended().is_none() {
            if let Ok(pid) = i32::try_from(self.0.id()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            let _ = self.0.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What is shown while it goes: lines that are drawn over in a terminal, a line for each change elsewhere.
struct View {
    due: DateTime<Utc>,
    bars: Option<(MultiProgress, BTreeMap<String, ProgressBar>)>,
    told: BTreeMap<String, Status>,
}

impl View {
    fn new(ids: &[String], due: DateTime<Utc>, output: &Output) -> Self {
        let bars = output.talk_look().terminal.then(|| {
            let all = MultiProgress::new();
            let width = ids.iter().map(String::len).max().unwrap_or(0);
            let style = ProgressStyle::with_template("{spinner} {prefix}  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bars = ids.iter().map(|id| {
                let bar =
                    all.add(ProgressBar::new_spinner().with_style(style.clone()).with_prefix(format!("{id:width$}")));
                bar.enable_steady_tick(LOOK_EVERY);
                (id.clone(), bar)
            });
            let bars = bars.collect();
            (all, bars)
        });
        Self { due, bars, told: BTreeMap::new() }
    }

    fn update(&mut self, rows: &[HistoryRow], now: DateTime<Utc>, output: &mut Output) {
        if let Some((_, bars)) = &self.bars {
            for bar in bars.values().filter(|_| now < self.due) {
                bar.set_message(format!("due in {} s", (self.due - now).num_seconds() + 1));
            }
        }
        for row in rows {
            let run = row.run_id.as_ref().map_or_else(String::new, |run| format!("  {run}"));
            let since = row.launched_at.map_or(0, |at| (row.finished_at.unwrap_or(now) - at).num_seconds().max(0));
            let bar = self.bars.as_ref().and_then(|(_, bars)| bars.get(row.schedule.as_str()));
            if let Some(bar) = bar {
                let tone = match row.status {
                    Status::Completed => Tone::Good,
                    status if status.is_good() => Tone::Strong,
                    _ => Tone::Bad,
                };
                let message = format!("{}{run}  {since} s", output.talk_look().paint(tone, row.status));
                if row.status.is_open() { bar.set_message(message) } else { bar.finish_with_message(message) }
            } else if self.told.insert(row.schedule.to_string(), row.status) != Some(row.status) {
                output.note(format_args!("{}  {}  {}{run}", now.format("%H:%M:%S%.3f"), row.schedule, row.status));
            }
        }
    }

    fn finish(self) {
        if let Some((_, bars)) = self.bars {
            bars.into_values().for_each(|bar| bar.abandon());
        }
    }
}
