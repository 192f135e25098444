//! skycron starts Skyvern workflow runs on a timetable: at the right instant, exactly once, and with every occurrence
//! accounted for.
//!
//! This page is the architecture. It names the flow, what holds everywhere, and a reading order.
//!
//! # The flow
//!
//! ```text
//! file ──config──▶ Schedule ──engine──▶ Change (a row)  ──history──▶ SQLite
//!                                └────▶ Action (a deed) ──dispatch─▶ Skyvern
//!                  dispatch ──Event──▶ engine, and round again
//! ```
//!
//! The engine is handed the instant and an event; it answers with changes (rows to be written) and actions (deeds to be
//! done). The event loop gives the changes to the history and carries the actions out **after** they are committed. That
//! order is the whole of the write-ahead rule, and it lives in one place (`daemon::event_loop`).
//!
//! # Invariants, and what holds them
//!
//! | what holds | where it is made so | what would find a breach |
//! |---|---|---|
//! | Every instant that was due has exactly one row | [`engine`]: rows and `accounted_through` move in one turn; the history writes a turn in one transaction, under a unique index | `skycron audit`; `tests/simulation`; `tests/crash` |
//! | An occurrence starts at most one run | an attempt without a clear answer is settled before anything else ([`dispatch`], [`engine::settle`]) | `tests/simulation`, `tests/crash`, `tests/live`: the server's own record has no second run |
//! | The row is committed before the request leaves | `daemon::event_loop`: actions are handed out after the commit of their turn | `tests/crash`: killed at every step in between |
//! | One daemon for a history | a lock of the operating system, in [`history`] | `tests/history.rs`, `tests/crash` |
//! | `schedule` and `engine` have no `async`, no I/O, no clock, no randomness: jitter and backoff come from the occurrence's key, the present is an argument | their signatures | `tests/tidy.rs`; the same seed gives the same world in `tests/simulation` |
//! | [`clock`] alone asks what time it is | [`clock::Clock`] is handed down | clippy's `disallowed_methods`, `tests/tidy.rs` |
//! | [`history`] alone knows SQL, [`skyvern`] status codes, [`cli`] alone prints | module boundaries | `tests/tidy.rs` |
//! | The engine is owned by one loop: no lock in the core. SQLite has a thread of its own and a bounded queue | `&mut self` everywhere in [`engine`] | `tests/tidy.rs` |
//! | A time to sleep is never trusted: wake by the wall clock, read the clock again, then decide | `daemon::timer`: a `CLOCK_REALTIME` timer that is cancelled when the clock is set | `tests/crash` (the clock is set), `tests/simulation` |
//! | A daemon that hangs is ended and started again | the loop and the thread that writes count what they do ([`pulse`]); systemd's watchdog is fed only while both go on | `tests/systemd`: each of the two is made to hang |
//! | A secret is in no file, log, error or row | [`secret::Secret`] cannot be shown or serialised; the text of the file is blanked out where it may hold one | the tests of [`config`]; `cargo clippy` sees a missing `Display` |
//! | A file with an error changes nothing | [`config::Config`] exists only without errors; `daemon::reload` swaps whole ones | `tests/integration`, module `daemon_reload` |
//! | Parser, schema, example and reference agree on every key | one declaration of each, in the `shape!` macro of [`config`] | `tests/integration`, module `schema`; `tests/handbook` |
//! | What grows is bounded | constants and keys that end in `_max` | review; the tests of each bound |
//! | A module imports only from those above it in the list below | | `tests/tidy.rs` |
//!
//! How to build, test, and add a key, a policy or a migration: `docs/src/contributing.md`.
//!
//! # As a library
//!
//! The parts that decide are usable alone: a timetable without a daemon, a file without a command.
//!
//! ```
//! use skycron::{clock::parse_rfc3339, config::{Config, Environment}};
//!
//! let text = r#"
//!     [[schedule]]
//!     id = "weekday-report"
//!     workflow_id = "wpid_123456789"
//!     cron_expression = "0 9 * * 1-5"
//!     timezone = "America/New_York"
//! "#;
//! // Without a folder of zone files: the rules that are built in.
//! let environment = Environment::from_pairs([("TZDIR", "/nowhere")]);
//! let config = Config::parse("schedules.toml".as_ref(), text, &environment).expect("a good file");
//! let timetable = &config.schedules[0].timetable;
//! let monday = timetable.next_after(parse_rfc3339("2026-11-01T00:00:00Z").expect("an instant"));
//! assert_eq!(monday, parse_rfc3339("2026-11-02T14:00:00Z"));
//! ```
//!
//! # Reading order
//!
//! The `mod` lines below.

pub mod clock;
mod crash_point;
pub mod ids;
pub mod mac;
pub mod pulse;
pub mod secret;
mod words;

pub mod schedule;

pub mod engine;

pub mod config;

pub mod skyvern;

pub mod history;

pub mod mirror;

pub mod dispatch;

pub mod alarm;

pub mod sandbox;

pub mod daemon;

pub mod cli;
