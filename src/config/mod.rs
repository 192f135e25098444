//! The file and the environment → checked values.
//!
//! The only place that reads the file, and that knows the environment's variables by name.

pub mod environment;

pub use environment::Environment;
