//! `skycron sandbox`: a small Skyvern look-alike on loopback, in the foreground, to try schedules and failures on.

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use serde_json::json;

use super::{args::Format, context::Context, error::CliError, exit::Exit, log};
use crate::{
    daemon::signals::{Asks, SignalStream},
    ids::WorkflowId,
    sandbox::{Behaviour, FaultPlan, Sandbox, SandboxOptions, SandboxWorkflow},
    secret::Secret,
};

const AFTER_HELP: &str = "\
It answers like a Skyvern server, but runs nothing: its runs go created, queued, running and to their end by the clock.
Every wpid_… is a workflow that accepts every parameter, unless --workflow names those that there are.

Faults are rules CALL:WHEN=FAULT, separated by commas.
  CALL   start, get, cancel, list, any; of the server's own schedules: schedules (looking at
         some), create, update, enable, disable, delete, change (any of the five), fire
  WHEN   3 (the third such call), 2-5, 7- (from the seventh on), * (all), 10% (by chance, by --seed)
  FAULT  delay:2s (answered late)              stall:2s (done late)
         reset-before, reset-after             connection reset before or after the run was made
         500-before, 500-after, db-before, db-after
         429, 429:30 (Retry-After)             busy (the 503 that says that no run was made)
         403, 404, status:418, plain:502       plain: in the words of a proxy
         unreadable, truncated, huge, huge:1000000 (bytes)
         tag-late:2s                           the run is there, its tags come later
         501, no-route                         schedules are switched off, or not there
         limit, limit:5                        the plan's limit of schedules is reached
         502-before, 502-after                 the scheduling service failed: undone, or not
         half, shifted                         a list of schedules in part, or that moves
         missed                                with fire: the server does not start it
         crash-row, crash-tag                  as if the server died while it made the run

While it runs: GET /sandbox/runs is its own record of every run that it made, GET /sandbox/schedules that of its
schedules, POST /sandbox/poll lets its scheduler look now, and POST /sandbox/faults takes a new plan.

Examples:
  skycron sandbox
  skycron sandbox --run-time 30s --failed 10
  skycron sandbox --faults 'start:3=reset-after,start:5%=429:2,get:*=delay:200ms'";

/// The arguments of `sandbox`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct SandboxArgs {
    /// Where it listens, on this machine only; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// The API key that it accepts
    #[arg(long, value_name = "KEY", default_value = "sandbox-key")]
    key: String,
    /// How long a run takes
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    run_time: Duration,
    /// Up to so much longer, differently for each run
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    run_time_spread: Duration,
    /// How many of 100 runs fail
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    failed: u8,
    /// How often the server itself tries a run again before its end
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    retries: u32,
    /// For how long every run is paused in its middle
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pause: Duration,
    /// The only workflows that there are; may be given several times
    #[arg(long = "workflow", value_name = "WPID", value_parser = WorkflowId::new)]
    workflows: Vec<WorkflowId>,
    /// How often its own scheduler looks for what is due; 0s: never
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    schedule_poll: Duration,
    /// How many runs of its own schedules go at a time
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    schedule_runs: usize,
    /// What goes wrong, see below
    #[arg(long, value_name = "PLAN", default_value = "")]
    faults: FaultPlan,
    /// What chance is derived from: the same seed, the same failures
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Tags are not searched, as before version 1.0.47
    #[arg(long)]
    no_tags: bool,
}

/// Runs the command.
///
/// # Errors
/// The port is taken, or not of this machine.
pub fn run(args: &SandboxArgs, context: &mut Context) -> Result<Exit, CliError> {
    log::start(context, "warn")?;
    if !args.listen.ip().is_loopback() {
        return Err(CliError::usage(format!("{} is not an address of this machine alone", args.listen))
            .hint("listen on 127.0.0.1 or [::1]: the sandbox is no server for others"));
    }
    let failed = |error: std::io::Error| {
        CliError::new(Exit::Bad, format!("the sandbox cannot listen on {}", args.listen))
            .source(error)
            .hint("give another port, or port 0 for a free one: --listen 127.0.0.1:0")
    };
    // Before the first line is printed: whoever reads it may send a signal at once.
    let mut signals = SignalStream::listen().map_err(failed)?;
    let sandbox = Sandbox::start(options(args)).map_err(failed)?;
    let url = sandbox.base_url();
    if context.output.format() == Format::Json {
        context.output.object(&json!({"base_url": url, "api_key": args.key}))?;
    } else {
        context
            .output
            .line(format_args!("a look-alike of Skyvern listens on {url} and accepts the API key {:?}", args.key))?;
    }
    context.output.flush()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
    runtime.block_on(async { while signals.next().await != Asks::Stop {} });
    Ok(Exit::Done)
}

fn options(args: &SandboxArgs) -> SandboxOptions {
    SandboxOptions {
        listen: args.listen,
        key: Secret::new(args.key.clone()),
        workflows: args.workflows.iter().cloned().map(SandboxWorkflow::new).collect(),
        any_workflow: args.workflows.is_empty(),
        behaviour: Behaviour {
            run_time: args.run_time,
            run_time_spread: args.run_time_spread,
            failed_fraction: f64::from(args.failed) / 100.0,
            retries: args.retries,
            pause: args.pause,
            ..Behaviour::default()
        },
        schedule_poll_interval: args.schedule_poll,
        schedule_runs_max: args.schedule_runs,
        faults: args.faults.clone(),
        seed: args.seed,
        version: Some(if args.no_tags { "1.0.46" } else { "1.0.56" }.to_owned()),
        tags_ignored: args.no_tags,
        ..SandboxOptions::default()
    }
}
