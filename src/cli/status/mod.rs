//! `skycron status`: how it stands, on one screen; with `--watch` kept current. Only reads, and works without a daemon.
//!
//! | file | what it is |
//! |---|---|
//! | `look` | what is seen: the daemon's answer, the history, the file |
//! | `show` | the screen, and the JSON |

mod look;
mod show;

use std::time::Duration;

use clap::Args;

use super::{args::Format, context::Context, error::CliError, exit::Exit, log};

/// The shortest time between two pictures.
const INTERVAL_SECONDS_MIN: u64 = 1;

const AFTER_HELP: &str = "\
It tells whether a daemon runs and since when, whether it goes by the file as it is now, the release of the zone rules,
whether the API was reachable when the daemon last used it (--online asks now), what runs and how long such runs usually
take (the median of the last completed ones), what is due next, which schedules are paused, and whose last run did not go
as it should.

JSON, one object: at, daemon, file, zone_rules, api, running, next, failed, paused. With --watch one object for each look.

Examples:
  skycron status
  skycron status --watch
  skycron status --format json | jq '.failed[].schedule'";

/// The arguments of `status`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct StatusArgs {
    /// Keep it current, until you end it
    #[arg(long, short = 'w')]
    pub watch: bool,
    /// Between two looks
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration, requires = "watch")]
    pub interval: Duration,
    /// Ask the API now
    #[arg(long)]
    pub online: bool,
}

/// Runs the command.
///
/// # Errors
/// The history cannot be read, or standard output cannot be written.
pub fn run(args: &StatusArgs, context: &mut Context) -> Result<Exit, CliError> {
    log::start(context, "error")?;
    let interval = args.interval.max(Duration::from_secs(INTERVAL_SECONDS_MIN));
    let mut is_first = true;
    loop {
        let seen = look::look(context, args.online)?;
        if args.watch && context.output.format() == Format::Text {
            context.output.new_picture(is_first)?;
        }
        show::show(&seen, &mut context.output)?;
        context.output.flush()?;
        if !args.watch {
            return Ok(Exit::Done);
        }
        is_first = false;
        std::thread::sleep(interval);
    }
}
