//! `/metrics`: the counters of the process, and what is true at this moment, in Prometheus' text format.
//!
//! No series without a bound: labels have closed lists of values, but for the schedules, of which the first so many have series
//! of their own, and one more metric says how many have not. No secret, and nothing of a run's content.

use std::sync::Arc;

use prometheus::{
    Gauge, GaugeVec, IntCounterVec, Opts, Registry, TextEncoder,
    core::{Collector, GenericGauge, GenericGaugeVec},
    proto::MetricFamily,
};

use super::{health::Check, status::Status, trouble::Trouble};
use crate::{
    daemon::event_loop::Sight,
    engine::{OverviewOf, STAGES, Status as Occurrence},
    history::COUNTED_MAX,
    skyvern::{RequestOutcome, RequestPurpose},
};

/// Schedules that have series of their own.
const SCHEDULES_WITH_SERIES_MAX: u32 = 1000;

/// What a scrape gets.
pub(super) const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Everything, as text.
pub(super) async fn metrics(status: &Arc<Status>) -> Result<String, Trouble> {
    // A stuck loop is worth a scrape: what it was is told by the checks, and the counters stand.
    let sight = status.sight(OverviewOf::default()).await.ok();
    let checks = status.checks(sight.as_ref()).await;
    status
        .apart(move |status| {
            let mut families = status.sources.metrics.gather();
            families.extend(at_this_moment(status, sight.as_ref(), &checks)?);
            families.sort_by(|a, b| a.name().cmp(b.name()));
            Ok(TextEncoder::new().encode_to_string(&families)?)
        })
        .await
}

fn at_this_moment(status: &Status, sight: Option<&Sight>, checks: &[Check]) -> Result<Vec<MetricFamily>, Trouble> {
    let moment = Moment(Registry::new());
    let in_force = status.in_force();
    moment.info("skycron_build_info", "Always 1; the version that runs.", &[("version", env!("CARGO_PKG_VERSION"))])?;
    moment.info(
        "skycron_zone_rules_info",
        "Always 1; whose zone rules are in force.",
        &[("release", &in_force.zones.release())],
    )?;
    moment.gauge(
        "process_start_time_seconds",
        "When the process began, in seconds since 1970.",
        seconds(status.started_at),
    )?;
    let ready = moment.family("skycron_ready", "1: this is as it must be for runs to be started.", "check")?;
    for check in checks {
        ready.with_label_values(&[check.what.word()]).set(flag(check.ok));
    }
    let stale = checks.iter().any(|check| check.what == super::health::What::File && !check.ok);
    moment.gauge("skycron_file_stale", "1: the file on the disk is not the one in force.", flag(stale))?;
    moment.gauge("skycron_file_refused", "1: it was read again and has errors.", flag(in_force.refused.is_some()))?;
    moment.gauge("skycron_schedules", "Schedules of the file in force.", count(in_force.schedules.len()))?;
    let enabled = in_force.schedules.iter().filter(|schedule| schedule.enabled).count();
    moment.gauge("skycron_schedules_enabled", "Those of them that are due at all.", count(enabled))?;
    requests(&moment, status)?;
    if let Some(Sight { overview, stall }) = sight {
        moment.gauge("skycron_history_stalled", "1: rows cannot be written.", flag(stall.is_some()))?;
        moment.gauge(
            "skycron_schedules_overdue",
            "Schedules that were to be started seconds ago and are not decided yet.",
            count(overview.overdue),
        )?;
        let open = moment.family(
            "skycron_occurrences_open",
            "Occurrences that are not over, by where they stand.",
            "stage",
        )?;
        for (stage, number) in STAGES.iter().zip(overview.stages) {
            open.with_label_values(&[stage]).set(count(number));
        }
    }
    history(&moment, status, in_force.schedules.len())?;
    Ok(moment.0.gather())
}

/// What became of requests, as the client counted it.
fn requests(moment: &Moment, status: &Status) -> Result<(), Trouble> {
    let help = "Requests to the API since the process began, by what they were for and what came of them.";
    let family = IntCounterVec::new(Opts::new("skycron_api_requests_total", help), &["purpose", "outcome"])?;
    let pulse = status.sources.client.pulse();
    for purpose in RequestPurpose::ALL {
        for outcome in RequestOutcome::ALL {
            family.with_label_values(&[purpose.word(), outcome.word()]).inc_by(pulse.count(*purpose, *outcome));
        }
    }
    moment.add(family)
}

/// What the history tells. Where it cannot be read, these are absent, and `skycron_history_readable` says so.
fn history(moment: &Moment, status: &Status, schedules: usize) -> Result<(), Trouble> {
    let readable = status.reader().and_then(|reader| {
        let successes = reader.last_successes(SCHEDULES_WITH_SERIES_MAX)?;
        let failing = reader.unrecovered(COUNTED_MAX)?.len();
        let unknown = reader.count_of(Occurrence::Unknown)?;
        let audited = status.audits.latest(&reader, &status.in_force().zones, status.now())?;
        Ok((successes, failing, unknown, audited))
    });
    moment.gauge("skycron_history_readable", "1: the history can be read.", flag(readable.is_ok()))?;
    let (successes, failing, unknown, audited) = match readable {
        Ok(answers) => answers,
        Err(trouble) => {
            tracing::debug!(%trouble, "http: metrics without the history");
            return Ok(());
        }
    };
    moment.gauge(
        "skycron_schedules_failing",
        "Schedules whose latest occurrence that came to an end came to a bad one.",
        count(failing),
    )?;
    moment.gauge(
        "skycron_occurrences_unknown",
        "Occurrences of the history of which it is not known whether they were started, or how they ended.",
        Number::from(u32::try_from(unknown).unwrap_or(COUNTED_MAX)),
    )?;
    moment.gauge(
        "skycron_occurrences_unaccounted",
        "What an audit of the last days found: instants or stretches that are not in the history exactly once.",
        count(audited.findings),
    )?;
    moment.gauge("skycron_audit_timestamp_seconds", "When that audit was made.", seconds(audited.at))?;
    let family = moment.family(
        "skycron_schedule_last_success_timestamp_seconds",
        "When the latest run of a schedule that completed ended; 0: none of its latest ones did.",
        "schedule",
    )?;
    for (schedule, at) in &successes {
        family.with_label_values(&[schedule.as_str()]).set(at.map_or(0.0, seconds));
    }
    moment.gauge(
        "skycron_schedules_without_series",
        "Schedules beyond the first so many, which have no series of their own.",
        count(schedules.saturating_sub(successes.len())),
    )
}

type Number = f64;

/// A registry of its own for each scrape: what it has not heard of this time is not told.
struct Moment(Registry);

impl Moment {
    fn add(&self, collector: impl Collector + 'static) -> Result<(), Trouble> {
        Ok(self.0.register(Box::new(collector))?)
    }

    fn gauge(&self, name: &str, help: &str, value: Number) -> Result<(), Trouble> {
        let gauge: GenericGauge<_> = Gauge::new(name, help)?;
        gauge.set(value);
        self.add(gauge)
    }

    fn family(&self, name: &str, help: &str, label: &str) -> Result<GaugeVec, Trouble> {
        let family: GenericGaugeVec<_> = GaugeVec::new(Opts::new(name, help), &[label])?;
        self.add(family.clone())?;
        Ok(family)
    }

    fn info(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Result<(), Trouble> {
        let opts = labels.iter().fold(Opts::new(name, help), |opts, (label, value)| opts.const_label(*label, *value));
        let gauge = Gauge::with_opts(opts)?;
        gauge.set(1.0);
        self.add(gauge)
    }
}

fn flag(value: bool) -> Number {
    Number::from(u8::from(value))
}

fn count(number: usize) -> Number {
    u32::try_from(number).unwrap_or(u32::MAX).into()
}

fn seconds(at: chrono::DateTime<chrono::Utc>) -> Number {
    u32::try_from(at.timestamp()).unwrap_or(0).into()
}
