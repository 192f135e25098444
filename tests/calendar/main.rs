//! When a schedule is due: every rule of the calendar against programs and texts that are not skycron's.
//!
//! `oracle`: the definition, minute by minute. `croniter`, `croner`: other programs. `tables`, `refusals`: examples, and
//! cases from public issue threads. `robust`: any bytes at all. Zone rules are chrono-tz's or in `tests/data/zoneinfo`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is not as it expects")]

mod croner;
mod croniter;
mod oracle;
mod refusals;
mod robust;
mod tables;
