//! The mirror: the server's own schedules made equal to the file's. Observe → plan → apply.
//!
//! | file | what it is |
//! |---|---|
//! | `handover` | the door to whoever fires: told before and after the server starts or stops to fire |

mod handover;

pub use handover::{CopyName, Handover, NoHandover, Postponed};
