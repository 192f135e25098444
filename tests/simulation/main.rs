//! The seeded simulation: the real engine, the real store and the real settlement dialogue, against a faulty server, under a
//! clock that is set, with a process that is killed at every step of the protocol. Not for speed or for the wire: those have
//! tests of their own.
//!
//! - `SKYCRON_SIM_SEEDS=1000 cargo test --test simulation` lives through so many worlds,
//! - `SKYCRON_SIM_SEED=7` through that one, telling everything that happens in it.
//!
//! The same seed gives the same world.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod api;
mod faults;
mod files;
mod invariants;
mod world;

use world::{Mistake, Numbers, World};

/// Worlds of an ordinary test run: some seconds.
const SEEDS: u64 = 80;
/// In so many worlds a mistake must be found.
const SEEDS_TO_FIND_A_MISTAKE: u64 = 60;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Everything that happened in a world that went wrong, or the last of it.
fn story(seed: u64) -> String {
    let mut world = World::new(seed, Mistake::None, true);
    let _ = world.live();
    let told = world.told.unwrap_or_default();
    let lines = if number("SKYCRON_SIM_SEED").is_some() { told.len() } else { told.len().min(60) };
    told[told.len() - lines..].join("\n")
}

#[test]
fn worlds() {
    let seeds = match number("SKYCRON_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SKYCRON_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let (mut all, mut wrong) = (Numbers::default(), Vec::new());
    for seed in seeds.clone() {
        let mut world = World::new(seed, Mistake::None, false);
        match world.live() {
            Ok(()) => all.add(world.numbers),
            Err(what) => wrong.push((seed, what)),
        }
    }
    println!("{} worlds: {all:?}", seeds.count());
    if let Some((seed, _)) = wrong.first() {
        let list: Vec<String> = wrong.iter().map(|(seed, what)| format!("seed {seed}: {what}")).collect();
        panic!(
            "{}\n\n{}\nagain: SKYCRON_SIM_SEED={seed} cargo test --test simulation worlds -- --nocapture",
            story(*seed),
            list.join("\n"),
        );
    }
}

/// The mistakes that the protocol is there to prevent, made on purpose.
#[test]
fn mistakes_are_found() {
    let check = |mistake: Mistake, expected: &str| {
        let found = (0..SEEDS_TO_FIND_A_MISTAKE).find_map(|seed| World::new(seed, mistake, false).live().err());
        assert!(found.as_ref().is_some_and(|found| found.contains(expected)), "{mistake:?}: {found:?}");
    };
    check(Mistake::ActBeforeCommit, "there is no row");
    check(Mistake::NoSettleAtBoot, "two runs");
    check(Mistake::RetryOnUnknown, "two runs");
    check(Mistake::CursorNotAdvanced, "was due at");
    check(Mistake::EnableUnannounced, "two runs");
    check(Mistake::NotReallyDisabled, "two runs");
}

/// A year of a thousand schedules, on a good server and an ordinary machine. Takes minutes: only if `SKYCRON_SIM_YEAR` is set.
#[test]
fn a_year() {
    if number("SKYCRON_SIM_YEAR").is_none() {
        return;
    }
    let mut world = World::year(number("SKYCRON_SIM_SEED").unwrap_or(0));
    world.live_for(365).unwrap_or_else(|what| panic!("{what}"));
    println!("a year: {:?}", world.numbers);
    assert!(world.numbers.compared > 365_000, "every schedule is due once a day at least: {:?}", world.numbers);
}
