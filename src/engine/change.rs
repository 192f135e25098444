//! The rows: every change of the history that the engine can ask for, as one closed list.
//!
//! A turn of the engine makes a list of these; the history applies the whole list in one transaction, and only then are the
//! deeds of that turn done. How a change is stored is `history`'s business.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::{
    engine::{
        alarm::{AlarmEnd, NewAlarm},
        occurrence::{Reason, Status, Trigger},
        run::RunReport,
    },
    ids::{Instance, OccurrenceKey, RunId, ScheduleId, ServerScheduleId, WorkflowId},
    schedule::Definition,
    words::words,
};

/// One change of the history.
#[derive(Debug, Clone)]
pub enum Change {
    /// From `at` on, a schedule is due by this definition; `None`: it is gone from the file.
    /// Definitions are never overwritten: each stays with its time, so that an audit can compute what was due when. An instant
    /// is decided by the last one, in the order in which they were written, that was given for a time before it: after a clock
    /// that was ahead was set back, a later one may be for an earlier time.
    Defined {
        /// The schedule.
        schedule: ScheduleId,
        /// From when.
        at: DateTime<Utc>,
        /// What decides when it is due, and the workflow that is run.
        definition: Option<Box<(Definition, WorkflowId)>>,
    },
    /// Every instant at which the schedule was due up to and including this one has its row.
    AccountedThrough {
        /// The schedule.
        schedule: ScheduleId,
        /// Up to and including.
        through: DateTime<Utc>,
    },
    /// The clock was ahead and was set back. What was decided about this schedule's instants after `after`, without ever being
    /// tried, is taken out of the history, and the schedule is accounted for up to `after` only. What was tried stays.
    Reopened {
        /// The schedule.
        schedule: ScheduleId,
        /// From there on.
        after: DateTime<Utc>,
        /// When.
        at: DateTime<Utc>,
    },
    /// The clock was ahead and was set back: a row that was opened before its time for the server to start, and was only
    /// watched, is taken out again.
    Withdrawn {
        /// The row; `pending`, without an attempt.
        key: OccurrenceKey,
        /// When.
        at: DateTime<Utc>,
    },
    /// A new row.
    Occurred(Box<NewOccurrence>),
    /// A row's status changes.
    StatusChanged {
        /// The row.
        key: OccurrenceKey,
        /// The new status.
        status: Status,
        /// Replaces the reason; `None` removes it.
        reason: Option<Reason>,
        /// When.
        at: DateTime<Utc>,
    },
    /// A request is about to leave. Committed before it does.
    AttemptBegun {
        /// The row; its status becomes `launching`.
        key: OccurrenceKey,
        /// From 1.
        number: u32,
        /// When.
        at: DateTime<Utc>,
    },
    /// What came of a request.
    AttemptEnded {
        /// The row. Its status is changed by a change of its own.
        key: OccurrenceKey,
        /// From 1.
        number: u32,
        /// When.
        at: DateTime<Utc>,
        /// How it was sorted.
        outcome: AttemptOutcome,
        /// The server's answer or the failure, in one line; never a secret.
        message: Option<String>,
        /// The HTTP status, where one came.
        http_status: Option<u16>,
        /// The run that it started.
        run_id: Option<RunId>,
    },
    /// The API's latest word on a run.
    RunReported {
        /// The row.
        key: OccurrenceKey,
        /// The report; it replaces the one before.
        report: Box<RunReport>,
        /// When it was read.
        at: DateTime<Utc>,
    },
    /// A schedule is paused, or (`None`) goes on.
    Paused {
        /// The schedule.
        schedule: ScheduleId,
        /// When.
        at: DateTime<Utc>,
        /// Until when and why; `None`: resumed.
        pause: Option<Pause>,
    },
    /// Somebody else fires a schedule from now on, or is about to.
    OwnerChanged {
        /// The schedule, also one that is gone from the file.
        schedule: ScheduleId,
        /// When.
        at: DateTime<Utc>,
        /// Who fires it.
        ownership: Ownership,
    },
    /// One of the server's own schedules is ours, and is like this now.
    Mirrored {
        /// What is known of it; it replaces what was known of that schedule of the server.
        copy: Box<MirrorCopy>,
        /// When.
        at: DateTime<Utc>,
    },
    /// One of the server's own schedules is not ours any more, or not there.
    Unmirrored {
        /// The server's id.
        server_schedule_id: ServerScheduleId,
        /// When.
        at: DateTime<Utc>,
    },
    /// Something happened to the daemon itself.
    Noted {
        /// When.
        at: DateTime<Utc>,
        /// What kind.
        kind: NoteKind,
        /// A sentence.
        text: String,
    },
    /// An alarm is to be sent. One that the history has already, of the same id for the same channel, is not added again.
    AlarmRaised(Box<NewAlarm>),
    /// What is remembered for the sake of alarms about a schedule, or (`None`) about the daemon.
    AlarmsRemembered {
        /// The schedule.
        schedule: Option<ScheduleId>,
        /// JSON; `None`: nothing any more.
        memory: Option<String>,
        /// When.
        at: DateTime<Utc>,
    },
    /// An alarm was tried to be sent, or given up.
    AlarmTried {
        /// Its row.
        row: i64,
        /// When.
        at: DateTime<Utc>,
        /// What became of it; `None`: it is tried again.
        end: Option<AlarmEnd>,
        /// Why it was not sent; never a secret.
        error: Option<String>,
    },
    /// Many alarms for one channel become one.
    AlarmsFolded {
        /// The rows that it stands for.
        rows: Vec<i64>,
        /// The one.
        summary: Box<NewAlarm>,
    },
}

/// One of the server's own schedules that the mirror made or adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorCopy {
    /// The server's id.
    pub server_schedule_id: ServerScheduleId,
    /// The installation's name when this was written.
    pub instance: Instance,
    /// The schedule of the file that it is the copy of.
    pub schedule: ScheduleId,
    /// The workflow that it runs.
    pub workflow_id: WorkflowId,
    /// What it was like when it was last as it should be: JSON that the mirror writes and reads.
    pub applied: String,
}

/// A pause, as an operator asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Until when; `None`: until `resume`.
    pub until: Option<DateTime<Utc>>,
    /// Why.
    pub note: Option<String>,
}

words! {
    /// Who fires a schedule: a recorded fact. The file's `fires` is the wish.
    #[derive(Default)]
    Owner {
        /// This daemon.
        #[default]
        Local = "local",
        /// A request that enables the server's copy has left, or is about to; whether it was done is not known yet. What is
        /// due meanwhile is held.
        HandingOver = "handing_over",
        /// Skyvern's own scheduler.
        Server = "server",
        /// The server's copy is to be disabled, and what the server still started is to be found. What is due meanwhile is
        /// held, and fired here if the server did not.
        TakingBack = "taking_back",
    }
}

/// One of the server's own schedules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerCopy {
    /// Its id.
    pub id: ServerScheduleId,
    /// The workflow that it runs.
    pub workflow_id: WorkflowId,
}

/// Who fires a schedule, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// Who.
    pub owner: Owner,
    /// `handing_over`: when that was decided. `server` and `taking_back`: occurrences from this instant on are the server's
    /// (by its own word when the copy was last enabled), those before it are ours. `local`: since when.
    pub since: DateTime<Utc>,
    /// The server's copy; absent with `local`.
    pub copy: Option<ServerCopy>,
}

impl Ownership {
    /// This daemon fires.
    #[must_use]
    pub fn local(since: DateTime<Utc>) -> Self {
        Self { owner: Owner::Local, since, copy: None }
    }

    /// Whether an occurrence is the server's to start, as long as it has the schedule.
    #[must_use]
    pub fn is_servers(&self, scheduled_for: DateTime<Utc>) -> bool {
        matches!(self.owner, Owner::Server | Owner::TakingBack) && scheduled_for >= self.since
    }
}

impl Default for Ownership {
    fn default() -> Self {
        Self::local(DateTime::<Utc>::UNIX_EPOCH)
    }
}

/// A new row of the history.
#[derive(Debug, Clone)]
pub struct NewOccurrence {
    /// Its name.
    pub key: OccurrenceKey,
    /// The workflow that is (or would have been) run; the schedule may name another one later.
    pub workflow_id: WorkflowId,
    /// What brought it about.
    pub trigger: Trigger,
    /// Where it stands.
    pub status: Status,
    /// Why.
    pub reason: Option<Reason>,
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// A row may stand for a stretch of occurrences that shared one fate: how many, 1 for an ordinary row.
    pub count: u32,
    /// The last of the stretch; the first is the key's `scheduled_for`.
    pub through: Option<DateTime<Utc>>,
    /// What a manual start changed in the parameters.
    pub parameters: Option<Map<String, Value>>,
}

words! {
    /// How the answer to a start was sorted.
    AttemptOutcome {
        /// There is a run.
        Started = "started",
        /// The server said no; it will say so again.
        Refused = "refused",
        /// Surely no run was made; another try may succeed.
        NotStarted = "not_started",
        /// The request left, and no clear answer came.
        Unknown = "unknown",
    }
}

words! {
    /// What can happen to the daemon itself.
    NoteKind {
        /// It started.
        Started = "started",
        /// It stopped in order.
        Stopped = "stopped",
        /// It took over a changed file.
        Reloaded = "reloaded",
        /// It refused a changed file and goes on with the old one.
        ReloadRefused = "reload_refused",
        /// The wall clock was set, or the machine slept.
        ClockStepped = "clock_stepped",
        /// A schedule was handed over to the server, or taken back, or is about to be.
        Handover = "handover",
    }
}

/// What the history remembers when a daemon starts: the engine's state is built from this and the file.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Every schedule that was ever seen and is not gone.
    pub schedules: Vec<ScheduleMemory>,
    /// Every occurrence that is not ended (`pending`, `launching`, `running`), oldest first.
    pub open: Vec<OpenOccurrence>,
    /// Schedules that are gone from the file while the server had them, or may have had them.
    pub orphans: Vec<(ScheduleId, Ownership)>,
    /// The latest instant that any row carries: a clock that shows less at boot is wrong or was set back.
    pub latest_instant: Option<DateTime<Utc>>,
}

/// What the history has about the time to come of one schedule: it was written under a clock that was ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ahead {
    /// The schedule.
    pub schedule: ScheduleId,
    /// Accounted for up to and including this instant.
    pub accounted_through: DateTime<Utc>,
    /// It is to be decided again after this instant: the present, or where a stretch begins that reaches beyond it. `None`: it
    /// is not accounted for beyond the present, or the present is surely wrong.
    pub reopen_after: Option<DateTime<Utc>>,
    /// Its definition, if it was given under the clock that was ahead; the inner `None`: it is gone from the file.
    pub redefine: Option<Option<Box<(Definition, WorkflowId)>>>,
    /// Instants after that (or else after `accounted_through`) which have a row that stays: they were tried, or lie beyond
    /// what is accounted for.
    pub tried: Vec<DateTime<Utc>>,
}

/// What is remembered of a schedule.
#[derive(Debug, Clone)]
pub struct ScheduleMemory {
    /// The schedule.
    pub id: ScheduleId,
    /// The definition in force.
    pub definition: Definition,
    /// The workflow that it runs.
    pub workflow_id: WorkflowId,
    /// Accounted for up to and including this instant.
    pub accounted_through: DateTime<Utc>,
    /// The pause in force.
    pub pause: Option<Pause>,
    /// Who fires it.
    pub ownership: Ownership,
    /// Its latest occurrence, if that was the server's and is `missed`: the server may still start it.
    pub late: Option<DateTime<Utc>>,
}

/// An occurrence that was not ended when the process was.
#[derive(Debug, Clone)]
pub struct OpenOccurrence {
    /// Its name.
    pub key: OccurrenceKey,
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// What brought it about.
    pub trigger: Trigger,
    /// Where it stood.
    pub status: Status,
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// The number of the last attempt; 0: none was begun.
    pub attempt_number: u32,
    /// When the first attempt began.
    pub first_attempt_at: Option<DateTime<Utc>>,
    /// When the last attempt began.
    pub attempt_begun_at: Option<DateTime<Utc>>,
    /// What came of the last attempt; `None` with a number above 0: the process ended before it was known.
    pub attempt_outcome: Option<AttemptOutcome>,
    /// Its run.
    pub run_id: Option<RunId>,
    /// What a manual start changed in the parameters.
    pub parameters: Option<Map<String, Value>>,
}
