//! Wiring and lifetime: what starts in which order, what ends in which order, and the loop in between.

pub mod control;
pub mod event_loop;
pub mod log;
pub mod signals;
pub mod timer;
