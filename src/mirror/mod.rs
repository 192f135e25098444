//! The mirror: the server's own schedules made equal to the file's. Observe → plan → apply.
//!
//! | file | what it is |
//! |---|---|
//! | `marker` | the mark of ownership in a description |
//! | `content` | what a schedule at the server is like, and how two of them differ |
//! | `plan` | what has to be done: a value; pure |
//! | `remarks` | what the server would do differently from what the file says |
//! | `handover` | the door to whoever fires: told before and after the server starts or stops to fire |
//!
//! What is not ours is never touched; nothing differs, nothing is sent; interrupted anywhere, the next plan finishes the work.

mod content;
mod handover;
mod marker;
mod plan;
mod remarks;

pub use content::{Content, FieldChange};
pub use handover::{CopyName, Handover, NoHandover, Postponed};
pub use marker::Marker;
pub use plan::{Blocked, CopyState, Deed, Observed, Origin, Plan, PlanSettings, Step, plan};
pub use remarks::{Remark, RemarkKind};
