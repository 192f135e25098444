//! A schedule: what is started, when, and by which rules. Values and arithmetic only.
//!
//! No clock, no I/O, no async: every question about "when" is asked with the instant in hand. Reading schedules from a
//! file is `config`'s work; deciding what to do at an instant is `engine`'s.

pub mod cron;
pub mod definition;
mod in_words;
pub mod interval;
pub mod not_due;
pub mod phrase;
pub mod policy;
pub mod server;
pub mod template;
pub mod upcoming;
mod wall;
pub mod warnings;
pub mod zone;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::ids::{ScheduleId, ServerScheduleId, WorkflowId};
pub use cron::{CronError, CronExpression};
pub use definition::Definition;
pub use not_due::NotDue;
pub use policy::{CatchUp, Failover, Fires, Fold, Gap, OnUnknown, Overlap, Policies, RunRetry};
pub use upcoming::{DefinitionError, Timetable, TimetableError};
pub use warnings::{Warning, WarningKind, warnings};
pub use zone::{LocalTime, Zone};

/// One `[[schedule]]` of the file, checked.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Names it in commands, history and tags.
    pub id: ScheduleId,
    /// The workflow that is run.
    pub workflow_id: WorkflowId,
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// `false`: nothing fires, and what would have been due is not made up later.
    pub enabled: bool,
    /// The server's own schedule that is to be its copy; `None`: the mirror finds or makes one.
    pub server_schedule_id: Option<ServerScheduleId>,
    /// When it is due.
    pub timetable: Timetable,
    /// The workflow's parameters, as the API takes them.
    pub parameters: Map<String, Value>,
    /// Every other option of the run request that the file sets, under the API's own names (`title`, `proxy_location`, …).
    pub run_options: Map<String, Value>,
    /// What happens when things do not go to plan.
    pub policies: Policies,
}
