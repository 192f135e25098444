//! Whether the daemon can fire: each thing that it needs for it, with the reason where it is not given.
//!
//! No request to the API for each question: what became of the daemon's own requests is remembered, and only if there were
//! none lately, one cheap call is made, at most once in a while.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};

use crate::{
    clock::{Stopwatch, is_surely_wrong, rfc3339, rfc3339_millis},
    config::FILE_BYTES_MAX,
    daemon::{event_loop::Sight, reload::InForce},
    skyvern::Client,
};

/// How long the event loop may take for its answer before it counts as stuck.
pub(super) const LOOP_ANSWER_TIME_MAX: Duration = Duration::from_secs(3);
/// A good word of the API is believed for so long.
const GOOD_WORD_TIME_MAX: Duration = Duration::from_secs(300);
/// Between two looks, and how long a bad word is believed.
const LOOKS_APART: Duration = Duration::from_secs(15);
/// How long a question waits for a look that it has begun.
const LOOK_TIME_MAX: Duration = Duration::from_secs(5);

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The loop that decides everything answers.
    EventLoop,
    /// Rows can be written.
    Database,
    /// The API is reached and takes the key.
    Api,
    /// The file on the disk is the one in force.
    File,
    /// The clock can be believed.
    Clock,
}

impl What {
    /// Its name.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::EventLoop => "event_loop",
            Self::Database => "database",
            Self::Api => "api",
            Self::File => "file",
            Self::Clock => "clock",
        }
    }
}

/// One thing, and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) what: What,
    pub(super) ok: bool,
    /// How it is, or what is wrong and what to do.
    pub(super) detail: String,
}

/// Looks, and remembers what was found.
pub(super) struct Health {
    client: Client,
    /// The runtime of the event loop: the client's connections live there, whoever asks.
    runtime: tokio::runtime::Handle,
    looked: tokio::sync::Mutex<Looked>,
    file: Arc<FileLooks>,
}

/// The last reading of the file.
#[derive(Default)]
struct FileLooks(Mutex<Option<(Signature, FileVerdict)>>);

#[derive(Default)]
struct Looked {
    at: Option<Stopwatch>,
    /// What is wrong, where it is not a failure of a request: the server answers, and is none of Skyvern's.
    wrong: Option<String>,
}

/// What tells two states of a file apart without reading it: device, inode, size, seconds and nanoseconds of the last change.
type Signature = (u64, u64, u64, i64, i64);

#[derive(Clone)]
struct FileVerdict {
    /// The text that was compared with.
    in_force: Arc<str>,
    same: bool,
}

impl Health {
    pub(super) fn new(client: Client, runtime: tokio::runtime::Handle) -> Self {
        Self { client, runtime, looked: tokio::sync::Mutex::default(), file: Arc::default() }
    }

    /// Every check, in the order of [`What`]. `sight` is a look at the event loop, if it answered.
    pub(super) async fn checks(&self, now: DateTime<Utc>, sight: Option<&Sight>, in_force: InForce) -> Vec<Check> {
        let api = self.api().await;
        let looks = Arc::clone(&self.file);
        let file = tokio::task::spawn_blocking(move || looks.file(&in_force)).await;
        let file = file.unwrap_or_else(|_| Err("the daemon is stopping".to_owned()));
        let outcomes = [
            (What::EventLoop, event_loop(sight)),
            (What::Database, database(sight)),
            (What::Api, api),
            (What::File, file),
            (What::Clock, clock(now, sight)),
        ];
        let check = |(what, outcome): (What, Result<String, String>)| {
            let ok = outcome.is_ok();
            Check { what, ok, detail: outcome.unwrap_or_else(|wrong| wrong) }
        };
        outcomes.into_iter().map(check).collect()
    }

    async fn api(&self) -> Result<String, String> {
        let pulse = self.client.pulse();
        let old = match pulse.latest() {
            None => true,
            Some(beat) if beat.is_good() => beat.watch.elapsed() > GOOD_WORD_TIME_MAX,
            Some(beat) => beat.watch.elapsed() > LOOKS_APART,
        };
        // Who comes while another looks waits for what that one finds.
        let mut looked = self.looked.lock().await;
        let may_look = looked.at.is_none_or(|watch| watch.elapsed() > LOOKS_APART);
        if may_look && (old || looked.wrong.is_some()) {
            looked.at = Some(Stopwatch::start());
            let client = self.client.clone();
            // On the loop's runtime: a connection lives where it was made, and a start may take it over.
            let look = self.runtime.spawn(async move { client.check_key().await });
            looked.wrong = match tokio::time::timeout(LOOK_TIME_MAX, look).await {
                Ok(Ok(Ok(_))) => None,
                Ok(Ok(Err(error))) => Some(format!("{}; {}", error.message, error.hint)),
                Ok(Err(_)) => Some("the daemon is stopping".to_owned()),
                Err(_) => Some(format!("the server did not answer within {} s", LOOK_TIME_MAX.as_secs())),
            };
        }
        let wrong = looked.wrong.clone();
        let looked_at = looked.at;
        drop(looked);
        let ago = |watch: Stopwatch| match watch.elapsed().as_secs() {
            0..60 => "just now".to_owned(),
            seconds => format!("{} min ago", seconds / 60),
        };
        match (pulse.latest(), wrong) {
            // Newer than the look that found something wrong.
            (Some(beat), Some(_))
                if beat.is_good() && looked_at.is_some_and(|look| beat.watch.elapsed() < look.elapsed()) =>
            {
                Ok(format!("{} {}", beat.text, ago(beat.watch)))
            }
            (_, Some(wrong)) => Err(wrong),
            (Some(beat), None) if beat.is_good() => Ok(format!("{} {}", beat.text, ago(beat.watch))),
            (Some(beat), None) => Err(format!("{} ({})", beat.text, ago(beat.watch))),
            (None, None) => Err("nothing was asked yet".to_owned()),
        }
    }
}

impl FileLooks {
    /// Whether the file on the disk is the one in force. Blocks.
    fn file(&self, in_force: &InForce) -> Result<String, String> {
        if let Some(refused) = &in_force.refused {
            return Err(refused.clone());
        }
        if in_force.settings_changed {
            return Err("settings outside the schedules changed in the file: restart to have them in force".to_owned());
        }
        match self.same(in_force) {
            Ok(true) => Ok(format!("{} is in force", in_force.path.display())),
            Ok(false) => Err(format!(
                "{} was changed and is not read yet: reload (HUP) or take it back",
                in_force.path.display()
            )),
            Err(error) => Err(format!("{} cannot be read any more: {error}", in_force.path.display())),
        }
    }

    /// Read only where something about the file differs from the last time.
    fn same(&self, in_force: &InForce) -> std::io::Result<bool> {
        let meta = fs::metadata(&in_force.path)?;
        let signature = (meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((before, verdict)) = &*known
            && *before == signature
            && Arc::ptr_eq(&verdict.in_force, &in_force.text)
        {
            return Ok(verdict.same);
        }
        let same = meta.size() == in_force.text.len() as u64 && reads_as(&in_force.path, &in_force.text)?;
        *known = Some((signature, FileVerdict { in_force: Arc::clone(&in_force.text), same }));
        Ok(same)
    }
}

fn reads_as(path: &Path, text: &str) -> std::io::Result<bool> {
    let mut bytes = Vec::with_capacity(text.len() + 1);
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes == text.as_bytes())
}

fn event_loop(sight: Option<&Sight>) -> Result<String, String> {
    match sight {
        None => Err(format!("it did not answer within {} s", LOOP_ANSWER_TIME_MAX.as_secs())),
        Some(sight) if sight.overview.overdue > 0 => {
            Err(format!("{} schedules are due and not decided yet", sight.overview.overdue))
        }
        Some(_) => Ok("it answers, and nothing is overdue".to_owned()),
    }
}

fn database(sight: Option<&Sight>) -> Result<String, String> {
    let Some(sight) = sight else { return Err("not known: the event loop did not answer".to_owned()) };
    match &sight.stall {
        None => Ok("rows can be written".to_owned()),
        Some(stall) => {
            let hint = stall.hint.map_or_else(String::new, |hint| format!("; {hint}"));
            Err(format!("nothing can be written since {}: {}{hint}", rfc3339_millis(stall.since), stall.reason))
        }
    }
}

fn clock(now: DateTime<Utc>, sight: Option<&Sight>) -> Result<String, String> {
    if is_surely_wrong(now) {
        return Err(format!("it shows {}, which cannot be: set it, and let a time service keep it", rfc3339(now)));
    }
    if sight.is_some_and(|sight| sight.overview.clock_doubted) {
        let shows = rfc3339(now);
        return Err(format!("it shows {shows}, and the history has something of a later time: it was set back"));
    }
    Ok(format!("it shows {}", rfc3339(now)))
}
