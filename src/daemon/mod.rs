//! Wiring and lifetime: what starts in which order, what ends in which order, and the loop in between.
//!
//! The one place where all layers meet. It decides nothing: the engine does.

pub mod account;
pub mod control;
pub mod event_loop;
mod file_watch;
pub mod http;
pub mod log;
pub mod metrics;
mod mirror;
mod mirroring;
mod notify;
mod reload;
mod service;
pub mod shield;
pub mod signals;
mod standing;
pub mod timer;
mod watchdog;

pub use mirror::{Applied, ApplyError, apply_mirror_alone};
pub use service::{DaemonError, Setup, client_options, do_alone, serve};
