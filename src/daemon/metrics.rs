//! What happened since the process began, counted for Prometheus. Counters follow from the changes of the history, as the
//! log's lines do, so that the three cannot tell different stories.
//!
//! They begin at zero with each process, every label value from the start: Prometheus takes a restart for what it is, and
//! sees the first event of a kind as an increase. What is true at a moment is not counted here but asked for (`http`).

use std::time::Duration;

use chrono::TimeDelta;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry, proto::MetricFamily};

use crate::{
    engine::{
        Change, Status,
        change::{AttemptOutcome, NoteKind},
    },
    words::words,
};

/// From a punctual start to one that was caught up after a day.
const LATENESS_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21_600.0,
    86_400.0,
];

words! {
    /// What became of a file that was read again.
    ReloadResult {
        /// It is in force.
        Taken = "taken",
        /// It had an error: the one before goes on.
        Refused = "refused",
    }
}

/// The counters of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    occurrences: Vec<IntCounter>,
    attempts: Vec<IntCounter>,
    reloads: Vec<IntCounter>,
    clock_steps: IntCounter,
    lateness: Histogram,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// A name is wrong or taken, which a test rules out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let occurrences = family(
            &registry,
            "skycron_occurrences_total",
            "Occurrences that came to a status since the process began. A line of the history that stands for a stretch counts as many as it has.",
            "status",
            Status::ALL.iter().map(|status| status.word()),
        )?;
        let attempts = family(
            &registry,
            "skycron_start_attempts_total",
            "Requests to start a run that were answered or given up, by what they came to.",
            "outcome",
            AttemptOutcome::ALL.iter().map(|outcome| outcome.word()),
        )?;
        let reloads = family(
            &registry,
            "skycron_reloads_total",
            "How often the file was read again, by what became of it.",
            "result",
            ReloadResult::ALL.iter().map(|result| result.word()),
        )?;
        let clock_steps =
            IntCounter::new("skycron_clock_steps_total", "How often the wall clock was set, or the machine slept.")?;
        registry.register(Box::new(clock_steps.clone()))?;
        let lateness = Histogram::with_opts(
            HistogramOpts::new(
                "skycron_start_lateness_seconds",
                "From the instant of the timetable to the first attempt to start it, jitter and catching up included.",
            )
            .buckets(LATENESS_SECONDS.to_vec()),
        )?;
        registry.register(Box::new(lateness.clone()))?;
        Ok(Self { registry, occurrences, attempts, reloads, clock_steps, lateness })
    }

    /// Counts what a change of the history says.
    pub fn change(&self, change: &Change) {
        match change {
            Change::Occurred(new) => self.occurrences[new.status as usize].inc_by(new.count.into()),
            Change::StatusChanged { status, .. } => self.occurrences[*status as usize].inc(),
            Change::AttemptBegun { key, number, at } => {
                self.occurrences[Status::Launching as usize].inc();
                // Only what the timetable asked for can be late.
                if *number == 1 && key.suffix.is_empty() {
                    self.lateness.observe(seconds(*at - key.scheduled_for));
                }
            }
            Change::AttemptEnded { outcome, .. } => self.attempts[*outcome as usize].inc(),
            Change::Noted { kind: NoteKind::Reloaded, .. } => self.reloads[ReloadResult::Taken as usize].inc(),
            Change::Noted { kind: NoteKind::ReloadRefused, .. } => self.reloads[ReloadResult::Refused as usize].inc(),
            Change::Noted { kind: NoteKind::ClockStepped, .. } => self.clock_steps.inc(),
            _ => {}
        }
    }

    /// The counters as they stand.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

fn seconds(delta: TimeDelta) -> f64 {
    delta.to_std().unwrap_or(Duration::ZERO).as_secs_f64()
}

/// One counter for each word, in the order of the words.
fn family<'a>(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
    words: impl Iterator<Item = &'a str>,
) -> Result<Vec<IntCounter>, prometheus::Error> {
    let family = IntCounterVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(family.clone()))?;
    Ok(words.map(|word| family.with_label_values(&[word])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::parse_rfc3339;

    #[test]
    fn changes_are_counted() {
        let metrics = Metrics::new().unwrap();
        let begun = |key: &str, number| Change::AttemptBegun {
            key: key.parse().unwrap(),
            number,
            at: parse_rfc3339("2026-11-02T14:00:02Z").unwrap(),
        };
        metrics.change(&begun("main/daily@2026-11-02T14:00:00Z", 1));
        metrics.change(&begun("main/daily@2026-11-02T14:00:00Z", 2));
        metrics.change(&begun("main/daily@2026-11-02T14:00:00Z#retry-2", 1));
        for status in [Status::Running, Status::Completed] {
            let key = "main/daily@2026-11-02T14:00:00Z".parse().unwrap();
            let at = parse_rfc3339("2026-11-02T14:00:03Z").unwrap();
            metrics.change(&Change::StatusChanged { key, status, reason: None, at });
        }
        let text = prometheus::TextEncoder::new().encode_to_string(&metrics.gather()).unwrap();
        let check = |line: &str| assert!(text.lines().any(|has| has == line), "{line:?} is not in\n{text}");
        check("skycron_start_lateness_seconds_count 1");
        check("skycron_start_lateness_seconds_sum 2");
        check("skycron_start_lateness_seconds_bucket{le=\"1\"} 0");
        check("skycron_start_lateness_seconds_bucket{le=\"2.5\"} 1");
        check("skycron_occurrences_total{status=\"completed\"} 1");
        check("skycron_occurrences_total{status=\"unknown\"} 0");
        check("skycron_start_attempts_total{outcome=\"refused\"} 0");
        check("skycron_reloads_total{result=\"taken\"} 0");
    }
}
