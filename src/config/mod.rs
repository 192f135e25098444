//! The file and the environment → checked values.
//!
//! In passes: text → tree with places (`reader`) → raw shapes that refuse unknown keys and wrong types (the `shape!` of
//! each file here) → checked values. Every pass goes over the whole file and adds to one list of [`Problems`]: all of them
//! are told at once, each with its place, and nothing is used of a file that has an error.
//!
//! The only place that reads the file, and that knows the variables of the environment by name. It prints nothing, and it
//! does not read the API key unless it is asked ([`ApiKeySource::resolve`]).

pub mod environment;
pub mod places;
pub mod problem;
pub mod settings;
pub mod zones;

mod file;
mod keys;
mod kinds;
mod reader;
mod schema;

mod api;
mod bounds;
mod history;
mod http;
mod key;
mod mirror;
mod notify;
mod options;
mod pieces;
mod policies;
mod schedule;
mod secrets;
mod surprises;
mod timetable;
mod webhook;
mod zone_cache;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use environment::Environment;
pub use keys::{Key, Table, tables};
pub use places::Places;
pub use problem::{Code, Place, Problem, Problems, Severity};
pub use schema::schema;
pub use settings::{
    ApiKeySource, ApiSettings, Channel, ChannelKind, HistorySettings, HttpSettings, MirrorSettings, OnDrift, Settings,
    UrlSource, WebhookSettings,
};
pub use zones::{ZoneRulesChoice, ZoneSource};

use crate::schedule::{Schedule, Timetable};
use chrono::{DateTime, Utc};
use reader::Reading;

/// The largest file that is read: room for some 300,000 schedules.
pub const FILE_BYTES_MAX: u64 = 128 << 20;

/// A file without errors.
#[derive(Clone)]
pub struct Config {
    /// Where it is.
    pub path: PathBuf,
    /// Its text as it was read, to see later whether it has changed.
    pub text: Arc<str>,
    /// What holds for the whole daemon.
    pub settings: Settings,
    /// The schedules, in the order of the file.
    pub schedules: Vec<Arc<Schedule>>,
    /// Whose zone rules its zones came from.
    pub zones: Arc<ZoneSource>,
    /// Problems that are not errors.
    pub warnings: Problems,
    /// Where each schedule's cron expression is in the text, or the schedule itself.
    places: Vec<Range<usize>>,
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// Everything that is wrong with it, warnings included.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, Problems> {
        let text = read_text(path).map_err(|problem| Problems::of_file(path, problem))?;
        Self::of_text(path, text.into(), environment)
    }

    /// Checks a text as if it were the file at `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it, warnings included.
    pub fn parse(path: &Path, text: &str, environment: &Environment) -> Result<Self, Problems> {
        Self::of_text(path, text.into(), environment)
    }

    /// As [`Config::parse`], for a text that is kept: large files are large.
    pub(crate) fn of_text(path: &Path, text: Arc<str>, environment: &Environment) -> Result<Self, Problems> {
        let mut reading = Reading::new(&text);
        let file::Checked { settings, schedules, places, zones } = file::read(path, environment, &mut reading);
        let failed = reading.has_errors();
        let (list, shown_text) = reading.finish();
        let shown_text = shown_text.map_or_else(|| Arc::clone(&text), Into::into);
        let problems = Problems { path: path.to_owned(), text: shown_text, list };
        if failed {
            return Err(problems);
        }
        let zones = Arc::new(zones);
        Ok(Self { path: path.to_owned(), text, settings, schedules, zones, warnings: problems, places })
    }

    /// What may surprise about the timetables, seen from an instant: warnings with their places. It looks a year ahead,
    /// which takes its time for many schedules; only `check` asks.
    #[must_use]
    pub fn surprises(&self, now: DateTime<Utc>) -> Vec<Problem> {
        surprises::find(self, now)
    }

    /// Whether the two sources of zone rules agree on a schedule's next two years: if not, a warning that tells the first
    /// instant at which they do not. Without a place.
    #[must_use]
    pub fn zone_difference(&self, schedule: &Schedule, now: DateTime<Utc>) -> Option<Problem> {
        surprises::zone_difference(self, schedule, now).map(Problem::warning)
    }

    /// The schedule of this id.
    ///
    /// # Errors
    /// The id that was probably meant, if one is near.
    pub fn schedule(&self, id: &str) -> Result<&Schedule, Option<&str>> {
        let found = self.schedules.iter().find(|schedule| schedule.id.as_str() == id);
        found
            .map(Arc::as_ref)
            .ok_or_else(|| keys::nearest(id, self.schedules.iter().map(|schedule| schedule.id.as_str())))
    }
}

/// Checks an expression that is not in a file, in the zone of this name, by the rules of `auto`.
///
/// # Errors
/// What is wrong with the expression or the zone, as problems of a text that is the one or the other.
pub fn expression_timetable(expression: &str, zone: &str, environment: &Environment) -> Result<Timetable, Problems> {
    timetable::of_expression(expression, zone, environment)
}

/// Without the text, which may be long and may hold what does not belong into a log.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("path", &self.path)
            .field("schedules", &self.schedules.len())
            .finish_non_exhaustive()
    }
}

fn read_text(path: &Path) -> Result<String, Problem> {
    let unreadable = |message: String| Problem::error(Code::Unreadable, message);
    let failed = |error: io::Error| {
        let problem = unreadable(format!("the file cannot be read: {}", plain(&error)));
        match error.kind() {
            io::ErrorKind::NotFound => {
                problem.hint("name another with --config FILE, or begin with a copy of schedules.example.toml")
            }
            io::ErrorKind::PermissionDenied => problem.hint("let the user that runs skycron read it"),
            _ => problem,
        }
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(unreadable("this is a folder".to_owned()).hint("name the file in it"));
    }
    if let Some(problem) = key::open_to_changes("the file, which says where the key is sent", path, &metadata) {
        return Err(problem);
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(format!("the file is larger than {} MiB", FILE_BYTES_MAX >> 20)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        unreadable(format!("the file is not UTF-8: line {line} has a byte that is no character"))
            .hint("save it as UTF-8; TOML files are")
    })
}

/// The system's words without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.chars().next().map(|first| first.to_lowercase().chain(text.chars().skip(1)).collect()).unwrap_or_default()
}
