//! What every command is handed: the common options resolved against the environment, the streams, and the clock.
//!
//! Precedence everywhere: option, then environment, then file, then default.

use std::path::{Path, PathBuf};

use super::{args::Common, error::CliError, output::Output, problems};
use crate::{
    clock::SystemClock,
    config::{Config, Environment},
};

/// The file that is looked for in the working folder.
pub const FILE_HERE: &str = "schedules.toml";
/// The file that is looked for after it.
pub const FILE_OF_SYSTEM: &str = "/etc/skycron/schedules.toml";

/// What every command is handed.
pub struct Context {
    /// The options that every command has, as typed.
    pub common: Common,
    /// The variables of the process.
    pub environment: Environment,
    /// The streams.
    pub output: Output,
    /// The machine's clock.
    pub clock: SystemClock,
}

impl Context {
    /// The file to read. It exists, except where an option or variable names it: then reading it tells what is wrong.
    ///
    /// # Errors
    /// None is named and none is found in the usual places.
    pub fn config_path(&self) -> Result<PathBuf, CliError> {
        let named = self.common.config.clone().or_else(|| self.environment.path("SKYCRON_CONFIG"));
        if let Some(path) = named {
            return Ok(path);
        }
        [FILE_HERE, FILE_OF_SYSTEM].into_iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            CliError::usage(format!("there is no file with schedules: neither ./{FILE_HERE} nor {FILE_OF_SYSTEM}"))
                .hint("name one with --config FILE, or begin with a copy of schedules.example.toml")
        })
    }

    /// Reads the file for a command that needs a good one. Its problems are printed to standard error; warnings are left
    /// to `check`.
    ///
    /// # Errors
    /// There is no file, or it has errors.
    pub fn load_config(&mut self) -> Result<Config, CliError> {
        let path = self.config_path()?;
        Config::load(&path, &self.environment).map_err(|found| problems::as_error(&found, &mut self.output))
    }

    /// The folder that holds `history.db`. It need not exist yet.
    ///
    /// # Errors
    /// Nothing says where it is: no option, no variable, no home folder.
    pub fn state_dir(&self) -> Result<PathBuf, CliError> {
        state_dir(self.common.state_dir.as_deref(), &self.environment).ok_or_else(|| {
            CliError::usage("there is no place for the history: no --state-dir, and no HOME to put it under")
                .hint("name a folder with --state-dir DIR or SKYCRON_STATE_DIR")
        })
    }
}

fn state_dir(option: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    if let Some(option) = option {
        return Some(option.to_owned());
    }
    if let Some(named) = environment.path("SKYCRON_STATE_DIR") {
        return Some(named);
    }
    if let Some(list) = environment.text("STATE_DIRECTORY") {
        // systemd separates several folders by colons; ours asks for one.
        return list.split(':').next().map(PathBuf::from);
    }
    // The XDG rules: a relative path is invalid and ignored.
    let xdg = environment.path("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let base = xdg.or_else(|| environment.path("HOME").map(|home| home.join(".local/state")))?;
    Some(base.join("skycron"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(option: Option<&str>, pairs: &[(&str, &str)], expected: Option<&str>) {
        let environment = Environment::from_pairs(pairs.iter().copied());
        assert_eq!(state_dir(option.map(Path::new), &environment).as_deref(), expected.map(Path::new), "{pairs:?}");
    }

    #[test]
    fn the_state_folder_is_found_in_order() {
        let everything = [
            ("SKYCRON_STATE_DIR", "/from-variable"),
            ("STATE_DIRECTORY", "/from-systemd:/second"),
            ("XDG_STATE_HOME", "/xdg"),
            ("HOME", "/home/a"),
        ];
        check(Some("here"), &everything, Some("here"));
        check(None, &everything, Some("/from-variable"));
        check(None, &everything[1..], Some("/from-systemd"));
        check(None, &everything[2..], Some("/xdg/skycron"));
        check(None, &everything[3..], Some("/home/a/.local/state/skycron"));
        check(None, &[("XDG_STATE_HOME", "relative"), ("HOME", "/h")], Some("/h/.local/state/skycron"));
        check(None, &[("SKYCRON_STATE_DIR", ""), ("HOME", "/h")], Some("/h/.local/state/skycron"));
        check(None, &[], None);
    }
}
