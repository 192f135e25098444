//! The real binary under attack: killed at every named place and at random, with a server that fails in every way it can, a
//! disk that is full, a database that is locked or torn, and a clock that is set. What is judged is always the same: the
//! server's own record against the database (`books`).
//!
//! `SKYCRON_CRASH_KILLS=300 cargo test --test crash kills -- --nocapture` kills it that often; `SKYCRON_CRASH_SEED` repeats a
//! series. Where the clock is shifted, Debian's `libfaketime` is needed; without it those tests say that they were skipped.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "../integration/support/mod.rs"]
#[expect(dead_code, reason = "the binary `integration` uses the rest")]
mod support;

mod alarms;
mod books;
mod clock;
mod disk;
mod faults;
mod hooks;
mod kills;
mod owner;
mod points;
mod receiver;
mod rig;
