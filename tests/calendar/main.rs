//! When a schedule is due: every rule of the calendar against programs and texts that are not skycron's.
//!
//! `oracle`: the definition, minute by minute. `tables`: examples and cases from public issue threads.

mod croner;
mod croniter;
mod oracle;
mod refusals;
mod tables;
