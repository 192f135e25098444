//! Alarms: telling people and other programs, outside of this one, that something is not as it should be, and that it is
//! well again.
//!
//! ```text
//! changes of a turn ──decide──▶ rows of the same transaction ──deliver──▶ a channel
//! ```
//!
//! What is told follows from the changes of the history, and its rows are written with them: whatever happened has its alarm,
//! through every crash. Sending comes after, from the rows, by a task of its own with connections of its own, so that nothing
//! that is due waits for it. A row is sent at least once; its id is the same each time.
//!
//! | file | what it is |
//! |---|---|
//! | `decide` | which alarms follow from these changes at this instant; pure |
//! | `remember` | what is remembered about a subject for that; pure |
//! | `facts` | what an alarm tells, and in which words; pure |
//! | `fold` | which of the alarms that wait go out now, and which become one; pure |
//! | `target` | a channel with its secrets, the request that it gets, and what became of that |
//! | `deliver` | the task that sends what waits |
//! | `stall` | the one alarm that cannot be a row: the history cannot be written |

mod decide;
mod deliver;
mod facts;
mod fold;
mod remember;
mod stall;
mod target;
#[cfg(test)]
mod tests;

pub use decide::{Channels, Decider, Start};
pub use deliver::Deliverer;
pub use target::{Target, Targets, test_alarm};
