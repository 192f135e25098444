//! What to do now: a state machine that is fed instants and events, and answers with rows to write and deeds to do.
//!
//! Pure: no clock, no I/O, no async, no randomness. It does not write a row (`history`), send a request (`dispatch`) or wait
//! (`daemon`); it says which, and in which order.

pub mod change;
pub mod occurrence;
pub mod run;

pub use change::Change;
pub use occurrence::{Reason, ReasonCode, Status, Trigger};
pub use run::{RunReport, RunStatus};
