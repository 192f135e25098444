//! What `doctor` finds in the file: its problems, the key that it names, the zone rules by which it is read.

use chrono::{DateTime, Utc};

use super::Finding;
use crate::{
    cli::{context::Context, exit::Exit},
    config::{ApiKeySource, Config, Environment},
    secret::Secret,
};

/// The file, and what is in it if it is good.
pub(super) fn file(context: &Context) -> (Vec<Finding>, Option<Config>) {
    const HINT: &str = "`skycron check` shows where, and what to do";
    let path = match context.config_path() {
        Ok(path) => path,
        Err(error) => {
            return (vec![Finding::problem("file", Exit::Usage, error.message).maybe_hint(error.hint)], None);
        }
    };
    let config = match Config::load(&path, &context.environment) {
        Ok(config) => config,
        Err(problems) => {
            let message = format!("{}: {}", path.display(), problems.summary());
            return (vec![Finding::problem("file", Exit::Usage, message).hint(HINT)], None);
        }
    };
    let enabled = config.schedules.iter().filter(|schedule| schedule.enabled).count();
    let message = format!("{}: {} schedules, {enabled} of them enabled", path.display(), config.schedules.len());
    let finding = match config.warnings.list.len() {
        0 => Finding::ok("file", message),
        _ => Finding::warning("file", format!("{message}, {}", config.warnings.summary())).hint(HINT),
    };
    (vec![finding], Some(config))
}

/// The key, and what is wrong about where it is.
pub(super) fn key(config: &Config, environment: &Environment) -> (Vec<Finding>, Option<Secret>) {
    const HINT: &str =
        "let this user read it there, or say in [api] where it is: api_key = { env, file or credential = \"…\" }";
    let source = &config.settings.api.api_key;
    let key = match source.resolve(environment) {
        Ok(key) => key,
        Err(problem) => {
            let hint = match source {
                // systemd hands it to the service alone; a person looks in its place.
                ApiKeySource::Credential(_) if environment.path("CREDENTIALS_DIRECTORY").is_none() => {
                    Some("outside the service, name the folder of the key: CREDENTIALS_DIRECTORY=/etc/skycron skycron doctor".to_owned())
                }
                _ => problem.hint.or_else(|| Some(HINT.to_owned())),
            };
            return (vec![Finding::problem("key", Exit::Usage, problem.message).maybe_hint(hint)], None);
        }
    };
    let finding = match (source.warning(), source) {
        (Some(problem), _) => Finding::warning("key", problem.message).maybe_hint(problem.hint),
        (None, ApiKeySource::Env(name)) => Finding::ok("key", format!("from the variable {name}")),
        (None, ApiKeySource::File(path)) => Finding::ok("key", format!("from the file {}", path.display())),
        (None, ApiKeySource::Credential(name)) => Finding::ok("key", format!("from the credential {name:?}")),
    };
    (vec![finding], Some(key))
}

/// Whose rules are in force, and which schedules the other ones would move.
pub(super) fn zone_rules(config: &Config, now: DateTime<Utc>) -> Vec<Finding> {
    let differences = config.schedules.iter().filter(|schedule| schedule.enabled).filter_map(|schedule| {
        let problem = config.zone_difference(schedule, now)?;
        let hint = "the rules in force decide; where the others are right, choose them with zone_rules";
        Some(Finding::warning("zone_rules", format!("{}: {}", schedule.id, problem.message)).hint(hint))
    });
    [Finding::ok("zone_rules", config.zones.release())].into_iter().chain(differences).collect()
}
