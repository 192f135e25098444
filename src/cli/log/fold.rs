//! Folds warnings and errors that repeat: the first is logged, the rest of ten minutes is counted and told in one line.
//!
//! The same is what comes from the same place in the code and differs only in numbers and in whom it befell. What is worth a
//! line each time has the target [`EACH`], and is left alone; so is everything that is not a warning. Nothing wakes up for it
//! while nothing is folded.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, Condvar, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::{clock::Stopwatch, words::EACH};

/// For so long the same is counted.
const WINDOW: Duration = Duration::from_secs(600);
/// So many different failures are remembered; one more lets the oldest be told and forgotten.
const FAILURES_MAX: usize = 256;
/// Of the failure's text, so much is repeated.
const TEXT_CHARS_MAX: usize = 200;
/// The target of the lines that tell what was folded.
const FOLDED: &str = "skycron::folded";
/// What says whom a failure befell, and not which one it is.
const WHO: &[&str] = &["occurrence", "schedule", "run_id", "attempt"];

/// The one of the process, for its end.
static RUNNING: OnceLock<Arc<Shared>> = OnceLock::new();

/// Lets a warning or an error pass, or counts it.
#[derive(Debug, Default)]
pub(super) struct Fold {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    seen: Mutex<Seen>,
    counted: Condvar,
    watch: Stopwatch,
}

impl Default for Shared {
    fn default() -> Self {
        Self { seen: Mutex::default(), counted: Condvar::new(), watch: Stopwatch::start() }
    }
}

impl<S: Subscriber> Layer<S> for Fold {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || [EACH, FOLDED].contains(&metadata.target()) {
            return true;
        }
        let mut said = Said::default();
        metadata.callsite().hash(&mut said.hash);
        event.record(&mut said);
        let mut seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let passes = seen.passes(said.hash.finish(), *metadata.level(), said.text, self.shared.watch.elapsed());
        if (!passes || !seen.to_tell.is_empty()) && !seen.is_told {
            seen.is_told = self.shared.clone().tell();
        }
        drop(seen);
        self.shared.counted.notify_one();
        passes
    }
}

impl Shared {
    /// Starts the thread that tells. Whether it could.
    fn tell(self: Arc<Self>) -> bool {
        let _ = RUNNING.set(Arc::clone(&self));
        std::thread::Builder::new().name("log".to_owned()).spawn(move || self.tell_for_ever()).is_ok()
    }

    fn tell_for_ever(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let due = seen.due(self.watch.elapsed());
            if !due.is_empty() {
                // Not under the lock: a line goes through the layer above.
                drop(seen);
                due.iter().for_each(Folded::log);
                seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            seen = match seen.next(self.watch.elapsed()) {
                Some(wait) => self.counted.wait_timeout(seen, wait).unwrap_or_else(PoisonError::into_inner).0,
                None => self.counted.wait(seen).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Tells everything that was counted so far.
pub(super) fn finish() {
    if let Some(shared) = RUNNING.get() {
        let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = seen.rest(shared.watch.elapsed());
        drop(seen);
        rest.iter().for_each(Folded::log);
    }
}

/// What was counted. Times are those since the log began.
#[derive(Debug, Default)]
struct Seen {
    failures: HashMap<u64, Failure>,
    to_tell: Vec<Folded>,
    /// There is a thread that tells.
    is_told: bool,
}

#[derive(Debug)]
struct Failure {
    since: Duration,
    level: Level,
    text: String,
    more: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Folded {
    level: Level,
    more: u64,
    within: Duration,
    text: String,
}

impl Seen {
    fn passes(&mut self, failure: u64, level: Level, text: String, now: Duration) -> bool {
        if let Some(known) = self.failures.get_mut(&failure)
            && now < known.since + WINDOW
        {
            known.more += 1;
            return false;
        }
        let oldest = self.failures.iter().min_by_key(|(_, failure)| failure.since).map(|(failure, _)| *failure);
        let leaves = if self.failures.len() < FAILURES_MAX { Some(failure) } else { oldest };
        let left = leaves.and_then(|leaves| self.failures.remove(&leaves));
        // Where no thread could be had, nobody takes them.
        if self.to_tell.len() < FAILURES_MAX {
            self.to_tell.extend(left.and_then(|left| left.folded(now)));
        }
        self.failures.insert(failure, Failure { since: now, level, text, more: 0 });
        true
    }

    /// What is to be told now; each once.
    fn due(&mut self, now: Duration) -> Vec<Folded> {
        let mut told = std::mem::take(&mut self.to_tell);
        self.failures.retain(|_, failure| {
            let over = now >= failure.since + WINDOW;
            if over {
                told.extend(failure.folded(now));
            }
            !over
        });
        told
    }

    /// What is to be told at the end.
    fn rest(&mut self, now: Duration) -> Vec<Folded> {
        let mut told = std::mem::take(&mut self.to_tell);
        told.extend(self.failures.drain().filter_map(|(_, failure)| failure.folded(now)));
        told
    }

    /// How long until something is due.
    fn next(&self, now: Duration) -> Option<Duration> {
        let counted = self.failures.values().filter(|failure| failure.more > 0);
        counted.map(|failure| (failure.since + WINDOW).saturating_sub(now)).min()
    }
}

impl Failure {
    fn folded(&self, now: Duration) -> Option<Folded> {
        let within = Duration::from_secs((now.saturating_sub(self.since)).min(WINDOW).as_secs());
        (self.more > 0).then(|| Folded { level: self.level, more: self.more, within, text: self.text.clone() })
    }
}

impl fmt::Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = humantime::format_duration(self.within);
        write!(f, "… {} more like it in {within}: {}", self.more, self.text)
    }
}

impl Folded {
    fn log(&self) {
        if self.level == Level::ERROR {
            tracing::error!(target: FOLDED, more = self.more, "{self}");
        } else {
            tracing::warn!(target: FOLDED, more = self.more, "{self}");
        }
    }
}

/// What an event says: a hash of what makes it this failure, and its first words.
#[derive(Default)]
struct Said {
    hash: DefaultHasher,
    text: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if WHO.contains(&field.name()) {
            return;
        }
        field.name().hash(&mut self.hash);
        let value = format!("{value:?}");
        let mut in_number = false;
        for char in value.chars() {
            let digit = char.is_ascii_digit();
            // A number is as good as another: seconds to wait, ids, ports.
            if !(digit && in_number) {
                (if digit { '0' } else { char }).hash(&mut self.hash);
            }
            in_number = digit;
        }
        if self.text.chars().count() < TEXT_CHARS_MAX {
            let value: String = value.chars().take(TEXT_CHARS_MAX).collect();
            match field.name() {
                "message" => self.text.insert_str(0, &value),
                name => self.text.push_str(&format!(" {name}={value}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_same_failure_is_counted_until_its_window_ends() {
        let mut seen = Seen::default();
        let passes =
            |seen: &mut Seen, failure, at| seen.passes(failure, Level::WARN, format!("failure {failure}"), seconds(at));
        assert!(passes(&mut seen, 1, 0));
        assert_eq!(seen.next(seconds(1)), None, "nothing to wake up for");
        for second in 1..=41 {
            assert!(!passes(&mut seen, 1, second));
        }
        assert!(passes(&mut seen, 2, 50), "another one");
        assert_eq!(seen.next(seconds(50)), Some(seconds(550)));
        assert!(seen.due(seconds(599)).is_empty());
        let told: Vec<String> = seen.due(seconds(600)).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["… 41 more like it in 10m: failure 1"]);
        assert!(seen.due(seconds(601)).is_empty(), "once");
        assert!(passes(&mut seen, 1, 602), "a new window begins with a line");
        assert!(!passes(&mut seen, 1, 603));
        let told: Vec<String> = seen.rest(seconds(632)).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["… 1 more like it in 30s: failure 1"], "the end tells what is left");
        assert!(seen.failures.is_empty());
    }

    #[test]
    fn a_new_window_tells_of_the_one_before() {
        let mut seen = Seen::default();
        for at in [0, 1, 700] {
            seen.passes(1, Level::ERROR, "a".to_owned(), seconds(at));
        }
        let told = seen.due(seconds(700));
        assert_eq!(told.iter().map(|folded| (folded.level, folded.more)).collect::<Vec<_>>(), [(Level::ERROR, 1)]);
    }

    #[test]
    fn memory_is_bounded_and_nothing_that_was_counted_is_lost() {
        let mut seen = Seen::default();
        for failure in 0..2 * FAILURES_MAX as u64 {
            for _ in 0..2 {
                seen.passes(failure, Level::WARN, "a".to_owned(), seconds(failure / 8));
            }
            assert!(seen.failures.len() <= FAILURES_MAX);
        }
        assert_eq!((seen.to_tell.len(), seen.failures.len()), (FAILURES_MAX, FAILURES_MAX), "all are told");
        for failure in 0..FAILURES_MAX as u64 {
            seen.passes(failure, Level::WARN, "a".to_owned(), seconds(100));
        }
        assert_eq!((seen.to_tell.len(), seen.failures.len()), (FAILURES_MAX, FAILURES_MAX), "nobody takes them");
    }

    /// Whether two failures are the same one.
    fn check(one: impl Fn(), other: impl Fn(), expected: u64) {
        use tracing_subscriber::layer::SubscriberExt;
        let fold = Fold::default();
        let shared = Arc::clone(&fold.shared);
        // No thread: what was counted is looked at here.
        shared.seen.lock().unwrap().is_told = true;
        tracing::subscriber::with_default(tracing_subscriber::registry().with(fold), || {
            one();
            other();
        });
        let seen = shared.seen.lock().unwrap();
        assert_eq!(seen.failures.values().map(|failure| failure.more).sum::<u64>(), expected, "{seen:?}");
    }

    #[test]
    fn what_is_the_same() {
        fn warn(occurrence: &str, answer: &str) {
            tracing::warn!(occurrence, answer, "the start was not_started");
        }
        check(|| warn("a", "refused"), || warn("a", "refused"), 1);
        check(|| warn("a", "refused"), || warn("b", "refused"), 1);
        check(|| warn("a", "again in 3 s"), || warn("a", "again in 12 s"), 1);
        check(|| warn("a", "refused"), || warn("a", "timed out"), 0);
        check(|| warn("a", "refused"), || tracing::warn!(answer = "refused", "the start was not_started"), 0);
        let each = || tracing::error!(target: EACH, "failed");
        check(each, each, 0);
        let told = || tracing::info!("started");
        check(told, told, 0);
    }
}
