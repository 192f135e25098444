//! What `doctor` finds about alarms: that each channel's address is where the file says, and what could not be sent. Sends
//! nothing: `skycron notify` does.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};

use super::Finding;
use crate::{
    cli::exit::Exit,
    clock::rfc3339,
    config::{Config, Environment},
    history::{AlarmChannelRow, Reader},
    ids::ChannelName,
};

const CHECK: &str = "alarms";
/// Alarms that were given up so long ago are old news.
const DROPPED_HOURS: i64 = 24;

/// The channels of the file: where they are, and whether anybody uses them. Nothing where there are none.
pub(super) fn channels(config: &Config, environment: &Environment) -> Vec<Finding> {
    const HINT: &str = "the daemon does not start without it: put it there, or say in [notify] where it is";
    let channels = &config.settings.notify;
    let wrong = channels.iter().filter_map(|(name, channel)| {
        let problem = channel.resolve_url(name, environment).err()?;
        Some(Finding::problem(CHECK, Exit::Usage, problem.message).hint(problem.hint.unwrap_or(HINT.to_owned())))
    });
    let unused = |name: &&ChannelName| !config.schedules.iter().any(|one| one.policies.notify.contains(name));
    let idle = channels.keys().filter(unused).map(|name| {
        Finding::warning(CHECK, format!("no schedule notifies {name}: it hears of the daemon alone"))
            .hint(format!("name it in [defaults] or in a [[schedule]]: notify = [\"{name}\"]"))
    });
    wrong.chain(idle).collect()
}

/// What waits and what was given up; nothing where there is no channel.
pub(super) fn queue(dir: &Path, config: Option<&Config>, now: DateTime<Utc>) -> Vec<Finding> {
    let Some(config) = config.filter(|config| !config.settings.notify.is_empty()) else { return Vec::new() };
    // That it cannot be read is told by others.
    let Ok(rows) = Reader::open(dir).and_then(|reader| reader.alarm_channels(now - TimeDelta::hours(DROPPED_HOURS)))
    else {
        return Vec::new();
    };
    let found: Vec<Finding> = rows.iter().filter_map(verdict).collect();
    if found.is_empty() {
        let channels = config.settings.notify.len();
        let word = if channels == 1 { "channel" } else { "channels" };
        return vec![Finding::ok(CHECK, format!("{channels} {word}, nothing waits to be sent"))];
    }
    found
}

fn verdict(row: &AlarmChannelRow) -> Option<Finding> {
    let AlarmChannelRow { channel, waiting, waiting_since, error, dropped, dropped_error } = row;
    let hint = format!("`skycron notify {channel}` tries it out");
    if let (Some(since), Some(error)) = (waiting_since, error) {
        let message = format!("{channel}: {waiting} wait since {}: {error}", rfc3339(*since));
        return Some(Finding::warning(CHECK, message).hint(hint));
    }
    (*dropped > 0).then(|| {
        let why = dropped_error.as_deref().unwrap_or("for no known reason");
        let message = format!("{channel}: {dropped} were given up in the last {DROPPED_HOURS} h: {why}");
        Finding::warning(CHECK, message).hint(hint)
    })
}
