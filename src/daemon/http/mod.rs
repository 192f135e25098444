//! The daemon's HTTP side: whether it is well, for programs and for people. Reads; nothing can be changed through it.
//!
//! - `server`: listening, with limits.

pub mod server;
