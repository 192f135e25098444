//! How fast "when is it due" is answered, beside the crates cron and croner in the same run.
//!
//! `cargo bench --bench calendar`. Compare the rows of one run with one another; the numbers of two machines, or of two
//! runs under different load, say nothing. skycron's own expressions take five fields with Sunday = 0; the crate cron gets
//! six and Sunday = 1.

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::{America::New_York, Tz};
use divan::{Bencher, black_box};
use skycron::schedule::{CronExpression, Fold, Gap, Timetable, Zone};

fn main() {
    divan::main();
}

/// The expressions, and how the crate cron writes them where it can.
const EXPRESSIONS: [(&str, Option<&str>); 5] = [
    ("*/5 * * * *", Some("0 */5 * * * *")),
    ("0 9 * * 1-5", Some("0 0 9 * * 2-6")),
    ("0 0 1 * *", Some("0 0 0 1 * *")),
    ("30 2 29 2 *", Some("0 30 2 29 2 *")),
    ("0 0 * * 5#2", None),
];
const NAMES: [&str; 5] = ["*/5 * * * *", "0 9 * * 1-5", "0 0 1 * *", "30 2 29 2 *", "0 0 * * 5#2"];

fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 6, 17, 12, 34, 56).single().expect("a time that is there")
}

fn ours(expression: &str) -> Timetable {
    let zone = Zone::bundled("America/New_York").expect("a zone");
    let expression = CronExpression::parse(expression).expect("an expression");
    Timetable::cron(expression, zone, Gap::Shift, Fold::Auto).expect("not too frequent")
}

fn cron(expression: &str) -> Option<cron::Schedule> {
    let (_, theirs) = EXPRESSIONS.iter().find(|(ours, _)| *ours == expression)?;
    (*theirs)?.parse().ok()
}

fn croner(expression: &str) -> croner::Cron {
    expression.parse().expect("an expression")
}

/// One occurrence, from an instant that moves by an hour and a bit each time, so that nothing is predicted.
mod next {
    use super::*;

    fn moving(mut at: DateTime<Utc>) -> impl FnMut() -> DateTime<Utc> {
        let (first, last) = (at, at + TimeDelta::days(365));
        move || {
            at += TimeDelta::seconds(4_021);
            if at > last {
                at = first;
            }
            at
        }
    }

    #[divan::bench(args = NAMES)]
    fn skycron(bencher: Bencher, expression: &str) {
        let timetable = ours(expression);
        bencher.with_inputs(moving(start())).bench_local_values(|at| black_box(&timetable).next_after(at));
    }

    #[divan::bench(args = NAMES)]
    fn cron(bencher: Bencher, expression: &str) {
        let Some(schedule) = super::cron(expression) else { return };
        let mut next = moving(start());
        bencher
            .with_inputs(|| next().with_timezone(&New_York))
            .bench_local_values(|at: DateTime<Tz>| black_box(&schedule).after(&at).next());
    }

    #[divan::bench(args = NAMES)]
    fn croner(bencher: Bencher, expression: &str) {
        let cron = super::croner(expression);
        let mut next = moving(start());
        bencher
            .with_inputs(|| next().with_timezone(&New_York))
            .bench_local_values(|at: DateTime<Tz>| black_box(&cron).find_next_occurrence(&at, false));
    }

    /// What any answer in local time costs at least.
    #[divan::bench]
    fn chrono_tz_conversion(bencher: Bencher) {
        let mut next = moving(start());
        bencher
            .with_inputs(|| next().naive_utc())
            .bench_local_values(|at| New_York.from_local_datetime(&at).earliest());
    }
}

/// A thousand occurrences in a row.
mod thousand {
    use super::*;

    #[divan::bench(args = NAMES)]
    fn skycron(bencher: Bencher, expression: &str) {
        let timetable = ours(expression);
        let end = start() + TimeDelta::days(365 * 170);
        bencher.bench_local(|| black_box(&timetable).between(start(), end).take(1_000).count());
    }

    #[divan::bench(args = NAMES)]
    fn cron(bencher: Bencher, expression: &str) {
        let Some(schedule) = super::cron(expression) else { return };
        let at = start().with_timezone(&New_York);
        bencher.bench_local(|| black_box(&schedule).after(&at).take(1_000).count());
    }

    #[divan::bench(args = NAMES, sample_count = 10)]
    fn croner(bencher: Bencher, expression: &str) {
        let cron = super::croner(expression);
        let at = start().with_timezone(&New_York);
        bencher.bench_local(|| black_box(&cron).iter_after(at).take(1_000).count());
    }
}

/// 100,000 schedules, each asked for its next occurrence: what the daemon does with all of them when it starts.
mod hundred_thousand {
    use super::*;

    const COUNT: usize = 100_000;

    fn all<T>(make: impl Fn(&str) -> T) -> Vec<T> {
        (0..COUNT).map(|n| make(EXPRESSIONS[n % 4].0)).collect()
    }

    #[divan::bench(sample_count = 10)]
    fn skycron(bencher: Bencher) {
        let zone = Zone::bundled("America/New_York").expect("a zone");
        let all = all(|expression| {
            let expression = CronExpression::parse(expression).expect("an expression");
            Timetable::cron(expression, zone.clone(), Gap::Shift, Fold::Auto).expect("not too frequent")
        });
        let now = start();
        bencher.bench_local(|| all.iter().filter_map(|timetable| timetable.next_after(now)).min());
    }

    #[divan::bench(sample_count = 3)]
    fn cron(bencher: Bencher) {
        let all = all(|expression| super::cron(expression).expect("an expression"));
        let now = start().with_timezone(&New_York);
        bencher.bench_local(|| all.iter().filter_map(|schedule| schedule.after(&now).next()).min());
    }

    #[divan::bench(sample_count = 3)]
    fn croner(bencher: Bencher) {
        let all = all(super::croner);
        let now = start().with_timezone(&New_York);
        bencher.bench_local(|| all.iter().filter_map(|cron| cron.find_next_occurrence(&now, false).ok()).min());
    }

    /// Reading them, which a start does as well.
    #[divan::bench(sample_count = 3)]
    fn skycron_parse(bencher: Bencher) {
        let zone = Zone::bundled("America/New_York").expect("a zone");
        bencher.bench_local(|| {
            all(|expression| {
                let expression = CronExpression::parse(expression).expect("an expression");
                Timetable::cron(expression, zone.clone(), Gap::Shift, Fold::Auto)
            })
        });
    }
}
