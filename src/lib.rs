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
//! # Invariants
//!
//! - `schedule` and `engine` contain no `async`, no I/O, no clock and no randomness: jitter and backoff are derived from
//!   the occurrence's key, and the present is an argument.
//! - `clock` is the only file that asks what time it is.
//! - The row is committed before the request leaves.
//! - `history` is the only module that knows SQL; `skyvern` the only one that knows status codes; `cli` the only one that
//!   prints.
//! - The engine is owned by one loop: there is no lock in the core. SQLite has a thread of its own and a bounded queue.
//! - A time to sleep is never trusted: wake by the wall clock, read the clock again, then decide.
//! - A module imports only from those above it in the list below; `tests/tidy.rs` holds the code to it.
//!
//! # Reading order
//!
//! The `mod` lines below.

pub mod clock;
mod crash_point;
pub mod ids;
pub mod mac;
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
