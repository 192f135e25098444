//! `skycron run`: the daemon, in the foreground. Reads the file and the key, then hands over to `daemon`.

use std::sync::Arc;

use clap::Args;

use super::{context::Context, error::CliError, exit::Exit, log, problems};
use crate::{
    alarm::Target,
    config::{Config, Problem},
    daemon::{self, DaemonError, Setup, shield},
    history::HistoryError,
    schedule::template::Secrets,
    secret::Secret,
};

const AFTER_HELP: &str = "\
Every schedule of the file is started at its instant, every run is followed to its end, and everything is written
to history.db in the state folder before it happens. After a restart it goes on where it was.

Signals: TERM and INT stop it in order, a second one at once; HUP reads the file again (a file with an error changes
nothing); USR1 writes the state to the log. The log goes to standard error.

Examples:
  skycron run --config schedules.toml --state-dir ./state
  SKYVERN_API_KEY=… skycron run";

/// The arguments of `run`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct RunArgs {}

/// Runs the command.
///
/// # Errors
/// The file or the key is wrong, another daemon holds the history, or the daemon could not go on.
pub fn run(_args: &RunArgs, context: &mut Context) -> Result<Exit, CliError> {
    log::start(context, "info")?;
    let setup = setup(load(context)?, context)?;
    let targets = Target::all(&setup.config.settings.notify, &setup.secrets, &context.environment).map_err(problem)?;
    let setup = Setup { targets: Arc::new(targets), ..setup };
    let (file, state) = (setup.config.path.display().to_string(), setup.state_dir.display().to_string());
    tracing::info!(file, state, schedules = setup.config.schedules.len(), "skycron {}", env!("CARGO_PKG_VERSION"));
    shield::panics_to_log(setup.secrets.values().chain([&setup.api_key]).cloned().collect());
    let served = daemon::serve(&setup).map_err(cli_error);
    log::finish();
    served?;
    tracing::info!("stopped in order");
    Ok(Exit::Done)
}

/// The checked file, with its warnings in the log.
///
/// # Errors
/// Every problem of the file was shown.
pub fn load(context: &mut Context) -> Result<Config, CliError> {
    let path = context.config_path()?;
    let config = Config::load(&path, &context.environment)
        .map_err(|problems| problems::as_error(&problems, &mut context.output))?;
    for warning in &config.warnings.list {
        let place = warning.place.as_ref().map(|place| format!("{}:{}", place.line, place.column));
        tracing::warn!(file = %path.display(), place, hint = warning.hint, "{}", warning.message);
    }
    Ok(config)
}

/// Everything that a daemon or a single start needs: the file, the key, the state folder.
///
/// # Errors
/// The key is not there or is none.
pub fn setup(config: Config, context: &Context) -> Result<Setup, CliError> {
    shield::no_dumps();
    let api_key = config.settings.api.api_key.resolve(&context.environment).map_err(problem)?;
    let secrets = secrets(&config, context)?;
    with_key(config, context, api_key, secrets)
}

/// The secrets that templates may speak of.
///
/// # Errors
/// One is not where the file says.
pub fn secrets(config: &Config, context: &Context) -> Result<Secrets, CliError> {
    let secrets = config.settings.secrets.iter();
    let resolved = secrets
        .map(|(name, source)| Ok((name.clone(), source.resolve_secret(name, &context.environment).map_err(problem)?)));
    resolved.collect()
}

/// The same for what sends nothing, and so needs no key.
///
/// # Errors
/// There is no place for the history.
pub fn setup_without_key(config: Config, context: &Context) -> Result<Setup, CliError> {
    with_key(config, context, Secret::new("not-needed".to_owned()), Secrets::new())
}

fn with_key(config: Config, context: &Context, api_key: Secret, secrets: Secrets) -> Result<Setup, CliError> {
    let state_dir = context.state_dir()?;
    let (environment, clock) = (context.environment.clone(), Arc::new(context.clock));
    Ok(Setup { config, environment, api_key, secrets, targets: Arc::default(), state_dir, clock })
}

/// A problem of the file, or of what it points at, as a command's.
#[must_use]
pub fn problem(problem: Problem) -> CliError {
    let error = CliError::usage(problem.message);
    match problem.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// A daemon's failure as a command's.
#[must_use]
pub fn cli_error(error: DaemonError) -> CliError {
    match error {
        DaemonError::History(error) => history_error(error),
        DaemonError::Client(error) => {
            let hint = error.hint();
            CliError::usage(error.to_string()).hint(hint)
        }
        DaemonError::Refused(message) => CliError::usage(message),
        error @ (DaemonError::Loop(_) | DaemonError::Close(_) | DaemonError::System { .. }) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let cli = CliError::new(Exit::Bad, error.to_string());
            match source {
                Some(source) => cli.source(source),
                None => cli,
            }
        }
    }
}

/// A failure of the history as a command's: 4 where another process holds it, 2 where a wrong folder was named, 1 where the
/// disk or the database is at fault.
#[must_use]
pub fn history_error(error: HistoryError) -> CliError {
    let class = match error {
        HistoryError::Locked { .. } => Exit::Held,
        HistoryError::Foreign
        | HistoryError::Absent(_)
        | HistoryError::Newer { .. }
        | HistoryError::Folder { .. }
        | HistoryError::Exposed { .. } => Exit::Usage,
        _ => Exit::Bad,
    };
    let hint = error.hint();
    let cli = CliError::new(class, error.to_string());
    let cli = match std::error::Error::source(&error).map(ToString::to_string) {
        Some(source) => cli.source(source),
        None => cli,
    };
    match hint {
        Some(hint) => cli.hint(hint),
        None => cli,
    }
}
