//! The mirror: the server's own schedules made equal to the file's. Observe → plan → apply.
//!
//! | file | what it is |
//! |---|---|
//! | `marker` | the mark of ownership in a description |
//! | `content` | what a schedule at the server is like, and how two of them differ |
//! | `observe` | looking at the server |
//! | `plan`, `planner` | what has to be done: a value, and how it comes about; pure |
//! | `remarks` | what the server would do differently from what the file says |
//! | `apply` | carrying it out, against a `server`, with `records` of what is ours |
//! | `status` | a plan, seen from the schedules |
//! | `import` | the way back: the server's schedules as a file |
//! | `json` | plans and results for programs |
//! | `handover` | the door to whoever fires: told before and after the server starts or stops to fire |
//!
//! What is not ours is never touched; nothing differs, nothing is sent; interrupted anywhere, the next plan finishes the work.

mod apply;
mod content;
mod handover;
mod import;
mod json;
mod marker;
mod observe;
mod plan;
mod planner;
mod records;
mod remarks;
mod server;
mod status;

pub use apply::{ApplyOptions, Deletes, Outcome, StepResult, apply};
pub use content::{Content, FieldChange};
pub use handover::{CopyName, Handover, NoHandover, Postponed};
pub use import::{Imported, import};
pub use json::End;
pub use marker::Marker;
pub use observe::{add_previews, observe};
pub use plan::{Blocked, CopyState, Deed, Observed, Origin, Plan, PlanSettings, Remark, RemarkKind, Step};
pub use planner::plan;
pub use records::Records;
pub use server::Server;
pub use status::{StateWord, Status, status};

#[cfg(test)]
mod tests;
