//! What `status` sees: the daemon's answer, the history, and the file. It prints nothing.

use std::{collections::HashSet, io, path::PathBuf, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    cli::{access, context::Context, doctor::takeover, error::CliError, next::upcoming, run::history_error},
    clock::Clock,
    config::Config,
    daemon::control::{self, Answer, Request},
    engine::Status,
    history::{HistoryError, HistoryFilter, HistoryRow, Reader, ScheduleRow, lock},
    ids::ScheduleId,
};

/// How long a daemon may take to answer: it is there, or it is not.
const ANSWER_SECONDS_MAX: u64 = 5;
/// Lines of each list; the rest is counted.
const OPEN_MAX: u32 = 20;
const NEXT_MAX: usize = 5;
pub(super) const LIST_MAX: usize = 10;
/// So many completed runs say how long one usually takes.
const USUAL_RUNS: u32 = 20;
/// Notes that are looked through for the last word on the file.
const NOTES_MAX: u32 = 200;

/// Everything that is shown.
pub(super) struct Seen {
    pub(super) now: DateTime<Utc>,
    pub(super) daemon: Daemon,
    pub(super) file: File,
    /// The release of the rules that the file is read by.
    pub(super) zone_rules: Option<String>,
    pub(super) api: Api,
    pub(super) running: Vec<Running>,
    pub(super) next: Vec<Next>,
    /// The last run of each schedule, where it did not go as it should, the newest first.
    pub(super) failed: Vec<HistoryRow>,
    pub(super) paused: Vec<ScheduleRow>,
    /// There is a history.
    pub(super) has_history: bool,
}

/// The daemon of the state folder.
pub(super) enum Daemon {
    /// None runs.
    None,
    /// It answered.
    Up { pid: Option<u32>, since: Option<DateTime<Utc>>, schedules: usize, open: usize, stalled: Option<String> },
    /// Something holds the history and did not answer so.
    Silent { pid: Option<u32>, message: String },
}

/// The file.
pub(super) struct File {
    pub(super) path: Option<PathBuf>,
    /// `true`: the daemon goes by it as it is now; `None`: no daemon, or it is not known.
    pub(super) current: Option<bool>,
    /// What there is to say.
    pub(super) message: String,
    /// What to do.
    pub(super) hint: Option<String>,
}

/// The API.
pub(super) struct Api {
    pub(super) base_url: Option<String>,
    /// `None`: not known.
    pub(super) reachable: Option<bool>,
    pub(super) message: String,
}

/// An open occurrence.
pub(super) struct Running {
    pub(super) row: HistoryRow,
    /// How long it goes on.
    pub(super) since: Option<TimeDelta>,
    /// How long the last ones took.
    pub(super) usual: Option<TimeDelta>,
}

/// An occurrence to come.
pub(super) struct Next {
    pub(super) at: DateTime<Utc>,
    pub(super) schedule: String,
    pub(super) local: String,
    pub(super) words: Option<String>,
    pub(super) cadence: String,
}

/// Looks.
pub(super) fn look(context: &mut Context, online: bool) -> Result<Seen, CliError> {
    let now = context.clock.now();
    let state_dir = context.state_dir()?;
    let path = context.config_path().ok();
    let config = path.as_ref().map(|path| Config::load(path, &context.environment));
    let runtime = access::runtime()?;
    let (daemon, heard) = runtime.block_on(daemon(&state_dir));
    let reader = match Reader::open(&state_dir) {
        Ok(reader) => Some(reader),
        Err(HistoryError::Absent(_)) => None,
        Err(error) => return Err(history_error(error)),
    };
    let is_up = matches!(daemon, Daemon::Up { .. });
    let file = file(path, config.as_ref(), reader.as_ref().filter(|_| is_up))?;
    let config = config.and_then(Result::ok);
    let api = match (&config, online) {
        (Some(config), true) => runtime.block_on(ask(config, context)),
        (config, _) => Api {
            base_url: config.as_ref().map(|config| config.settings.api.base_url.to_string()),
            reachable: heard.as_ref().map(|heard| heard.trouble.is_none()),
            message: match &heard {
                Some(control::ApiHeard { seconds_ago, trouble: None }) => format!("answered {} ago", ago(*seconds_ago)),
                Some(control::ApiHeard { seconds_ago, trouble: Some(trouble) }) => {
                    format!("{trouble} ({} ago)", ago(*seconds_ago))
                }
                None if is_up => "not used yet since the daemon is up; --online asks now".to_owned(),
                None => "not known; --online asks now".to_owned(),
            },
        },
    };
    let mut seen = Seen {
        now,
        daemon,
        file,
        zone_rules: config.as_ref().map(|config| config.zones.release()),
        api,
        running: Vec::new(),
        next: config.as_ref().map(|config| next(config, now)).unwrap_or_default(),
        failed: Vec::new(),
        paused: Vec::new(),
        has_history: reader.is_some(),
    };
    if let Some(reader) = &reader {
        seen.running = running(reader, now)?;
        let known = reader.schedules().map_err(history_error)?;
        // One that was only ever started by hand has no timetable in the history, and is in the file.
        let in_file: HashSet<&ScheduleId> =
            config.iter().flat_map(|config| config.schedules.iter().map(|schedule| &schedule.id)).collect();
        let gone: HashSet<&ScheduleId> =
            known.iter().filter(|known| known.gone && !in_file.contains(&known.id)).map(|known| &known.id).collect();
        seen.failed = reader.last_runs().map_err(history_error)?;
        seen.failed.retain(|row| !row.status.is_good() && !gone.contains(&row.schedule));
        seen.failed.sort_by_key(|row| std::cmp::Reverse(row.scheduled_for));
        seen.paused = known.into_iter().filter(|schedule| schedule.pause.is_some() && !schedule.gone).collect();
    }
    Ok(seen)
}

fn ago(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

async fn daemon(state_dir: &std::path::Path) -> (Daemon, Option<control::ApiHeard>) {
    let pid = lock::holder(state_dir);
    let limit = Duration::from_secs(ANSWER_SECONDS_MAX);
    let answer = tokio::time::timeout(limit, control::ask(state_dir, &Request::State)).await;
    match answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(Answer::State { schedules, open, stalled, since, api }) => {
            (Daemon::Up { pid, since, schedules, open, stalled }, api)
        }
        Ok(_) => (Daemon::Silent { pid, message: "it is of another version".to_owned() }, None),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => match pid {
            None => (Daemon::None, None),
            Some(_) => {
                let message = "it holds the history and is no daemon (yet): a command at work, or one that starts";
                (Daemon::Silent { pid, message: message.to_owned() }, None)
            }
        },
        Err(error) => (Daemon::Silent { pid, message: format!("it does not answer: {error}") }, None),
    }
}

fn file(
    path: Option<PathBuf>,
    config: Option<&Result<Config, crate::config::Problems>>,
    daemons: Option<&Reader>,
) -> Result<File, CliError> {
    let check = || Some("`skycron check` shows each".to_owned());
    let (message, hint) = match config {
        None => ("there is none".to_owned(), Some("`skycron init` writes one".to_owned())),
        Some(Err(found)) => (found.summary(), check()),
        Some(Ok(config)) => (format!("{} schedules", config.schedules.len()), None),
    };
    let notes = daemons.map(|reader| reader.notes(NOTES_MAX)).transpose().map_err(history_error)?.unwrap_or_default();
    Ok(match takeover(&notes, path.as_deref()) {
        Some(finding) => File {
            path,
            current: Some(finding.hint.is_none()),
            message: format!("{message}; {}", finding.message),
            hint: hint.or(finding.hint),
        },
        None => File { path, current: None, message, hint },
    })
}

/// Asks the API itself.
async fn ask(config: &Config, context: &Context) -> Api {
    let base_url = Some(config.settings.api.base_url.to_string());
    let asked = match access::client(config, &context.environment) {
        Err(error) => Err(error.message),
        Ok(client) => match client.check_key().await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        },
    };
    match asked {
        Ok(()) => Api { base_url, reachable: Some(true), message: "answers, and accepts the key".to_owned() },
        Err(message) => Api { base_url, reachable: Some(false), message },
    }
}

fn next(config: &Config, now: DateTime<Utc>) -> Vec<Next> {
    upcoming(config, now, NEXT_MAX)
        .into_iter()
        .map(|(at, schedule)| Next {
            at,
            schedule: schedule.id.to_string(),
            local: schedule.timetable.zone().to_local(at).to_rfc3339(),
            words: schedule.timetable.in_words(),
            cadence: schedule.timetable.cadence_text(),
        })
        .collect()
}

fn running(reader: &Reader, now: DateTime<Utc>) -> Result<Vec<Running>, CliError> {
    let rows = reader.open_occurrences(OPEN_MAX).map_err(history_error)?;
    rows.into_iter()
        .map(|row| {
            let since = row.launched_at.filter(|_| row.status == Status::Running).map(|at| now - at);
            let filter = HistoryFilter {
                schedules: vec![row.schedule.clone()],
                statuses: vec![Status::Completed],
                limit: USUAL_RUNS,
                ..HistoryFilter::default()
            };
            let last = reader.history(&filter).map_err(history_error)?;
            let usual = median(last.iter().filter_map(crate::cli::history::took).collect());
            Ok(Running { row, since, usual })
        })
        .collect()
}

/// The middle one; of an even number the lower of the two.
fn median(mut lengths: Vec<TimeDelta>) -> Option<TimeDelta> {
    lengths.sort_unstable();
    lengths.get(lengths.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_what_is_usual() {
        let check = |seconds: &[i64], expected: Option<i64>| {
            let lengths = seconds.iter().map(|seconds| TimeDelta::seconds(*seconds)).collect();
            assert_eq!(median(lengths), expected.map(TimeDelta::seconds), "{seconds:?}");
        };
        check(&[], None);
        check(&[5], Some(5));
        check(&[9, 1, 5], Some(5));
        check(&[9, 1, 5, 900], Some(5));
    }
}
