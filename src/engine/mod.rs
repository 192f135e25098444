//! What to do now: a state machine that is fed instants and events, and answers with rows to write and deeds to do.
//!
//! Pure: no clock, no I/O, no async, no randomness. It does not write a row (`history`), send a request (`dispatch`) or wait
//! (`daemon`); it says which, and in which order.
//!
//! # What holds after every event
//!
//! - Every instant at which a schedule was due up to its `accounted_through` has a row, and `accounted_through` moves in the
//!   same turn as the rows are made: a crash loses both or neither.
//! - A start is asked for in the same turn as its attempt's row. Since deeds are done only after the turn's rows are durable,
//!   no request leaves without its row.
//! - An occurrence is in `flights` exactly as long as its row is open.
//! - A start without a clear answer is never repeated before it was looked for.
//! - An occurrence that the server starts, or may have started, is not started here before the server's copy of its schedule is
//!   surely disabled and its run was looked for.

pub mod alarm;
pub mod audit;
mod boot;
pub mod change;
mod due;
pub mod event;
mod flight;
mod handover;
mod launch;
pub mod occurrence;
mod outcome;
mod reload;
mod request;
pub mod retry;
pub mod run;
pub mod settle;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, Utc};

pub use change::Change;
pub use event::{Action, Event, Turn};
pub use occurrence::{Reason, ReasonCode, Status, Trigger};
pub use run::{RunReport, RunStatus};
pub use state::{Overview, OverviewOf, STAGES, ScheduleState, Snapshot, SnapshotFlight, Upcoming};

use crate::{
    ids::{Instance, OccurrenceKey, ScheduleId, WorkflowId},
    schedule::Schedule,
};
use change::{NoteKind, Owner, Ownership, Pause};
use flight::Flight;

/// An occurrence that is started this late or later was not on time: its row says `catch_up`, and `catch_up = "none"` does
/// not start it.
pub const ON_TIME_SECONDS_MAX: i64 = 60;
/// With `catch_up = "all"`, at most this many of the passed occurrences of a schedule are started; older ones are `missed`.
pub const CATCH_UP_RUNS_MAX: usize = 100;
/// One backfill starts at most this many occurrences.
pub const BACKFILL_RUNS_MAX: u64 = 1000;
/// A manual start is tried again only if the server named a wait, and only this long after the command.
pub const MANUAL_WINDOW_SECONDS_MAX: i64 = 60;

/// What the engine is told once.
#[derive(Debug, Clone)]
pub struct Options {
    /// The installation's name: the first part of every key.
    pub instance: Instance,
    /// Starts that may be without an answer at one time.
    pub launches_in_flight_max: usize,
    /// Starts per second, with a burst of as many; `None`: as fast as the answers come.
    pub launches_per_second_max: Option<u32>,
    /// `false`: only what a person asks for is started, and nothing that is due is touched. For commands without a daemon.
    pub fires: bool,
    /// Somebody can enable and disable the server's schedules: what the server does not start can be taken back.
    pub mirrors: bool,
}

/// What is known of one schedule of the file.
#[derive(Debug)]
struct Entry {
    schedule: Arc<Schedule>,
    /// Up to and including this instant every occurrence has its row.
    accounted_through: DateTime<Utc>,
    /// The next occurrence, and when it is to be started (later by the jitter). `None`: not due any more, or disabled.
    due: Option<Due>,
    pause: Option<Pause>,
    /// Occurrences that may have a run: what the overlap rule looks at.
    live: BTreeSet<OccurrenceKey>,
    /// Rows that wait for the live ones to end, in the order in which they will start.
    waiting: VecDeque<OccurrenceKey>,
    /// The history does not have the schedule: possible only where nothing fires.
    unseen: bool,
    /// Starts of an earlier process that are being looked for. While there are any, what is due is held back.
    settling_from_before: usize,
    /// Who fires it.
    ownership: Ownership,
    /// It is being taken back, and the server's copy was surely disabled at this instant.
    taken_at: Option<DateTime<Utc>>,
    /// It is not handed over before: the server's clock was found to be another one.
    give_after: Option<DateTime<Utc>>,
    /// More than one request may have enabled the copy: when the first one did is not known.
    given_again: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Due {
    scheduled_for: DateTime<Utc>,
    fire_at: DateTime<Utc>,
}

/// What a moment of the future is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A schedule is due.
    Due(ScheduleId),
    /// A start is tried again, or the retry of a run is due.
    Ready(OccurrenceKey),
    /// A run has taken as long as it may.
    RunTimeout(OccurrenceKey),
    /// A pause ends.
    PauseEnds(ScheduleId),
    /// The pace allows the next start.
    Pace,
    /// The clock, which showed less at boot than the history does, is believed.
    ClockTrusted,
    /// The runs of a workflow are to be looked at.
    Look(WorkflowId),
    /// A run that the server had begun to make would have appeared by now.
    Taken(ScheduleId),
}

/// The state machine. Owned by one loop.
/// ```
/// use std::collections::BTreeMap;
/// use skycron::{
///     clock::parse_rfc3339,
///     config::{Config, Environment},
///     engine::{Action, Engine, Event, Options, Turn, change::Memory},
/// };
///
/// let text = "[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 14 * * *\"";
/// let environment = Environment::from_pairs([("TZDIR", "/nowhere")]);
/// let config = Config::parse("schedules.toml".as_ref(), text, &environment).expect("a good file");
/// let at = |text| parse_rfc3339(text).expect("an instant");
///
/// let mut engine = Engine::new(Options {
///     instance: config.settings.instance.clone(),
///     launches_in_flight_max: 64,
///     launches_per_second_max: None,
///     fires: true,
///     mirrors: false,
/// });
/// let boot = Event::Boot { schedules: config.schedules, memory: Memory::default(), former: BTreeMap::new(), ahead: vec![] };
/// engine.handle(at("2026-11-02T13:00:00Z"), boot, &mut Turn::default());
/// assert_eq!(engine.next_wake(), Some(at("2026-11-02T14:00:00Z")));
///
/// let mut turn = Turn::default();
/// engine.handle(at("2026-11-02T14:00:00Z"), Event::Wake, &mut turn);
/// // The rows are to be written first; then the request may leave.
/// assert!(!turn.changes.is_empty() && matches!(turn.actions[..], [Action::Launch(_)]));
/// ```
#[derive(Debug)]
pub struct Engine {
    options: Options,
    entries: BTreeMap<ScheduleId, Entry>,
    flights: HashMap<OccurrenceKey, Flight>,
    timers: BTreeSet<(DateTime<Utc>, Timer)>,
    /// Starts that wait for a place, ordered so that the k-th of one schedule comes after the (k-1)-th of every other: a
    /// backlog of one does not starve the rest.
    ready: BTreeSet<(usize, DateTime<Utc>, OccurrenceKey)>,
    /// Starts without an answer.
    in_flight: usize,
    /// When the next start is allowed at the pace of `launches_per_second_max`, if every start before was on that pace.
    pace_at: Option<DateTime<Utc>>,
    /// Instants of the time to come that were tried already, under a clock that was ahead.
    tried_ahead: BTreeMap<ScheduleId, step::Tried>,
    /// What the server is to start.
    watch: watch::Watch,
    /// Schedules that are gone from the file, and that the server has or may have.
    orphans: BTreeMap<ScheduleId, Ownership>,
    /// Those whose copy was surely disabled at this instant, and of which something is still looked for.
    orphans_taken: BTreeMap<ScheduleId, DateTime<Utc>>,
    /// Schedules that were accounted for beyond the present at boot, and what the history had of them.
    doubted: BTreeMap<ScheduleId, change::Ahead>,
    stopping: bool,
}

impl Engine {
    /// An engine that knows nothing yet; the first event is [`Event::Boot`].
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            entries: BTreeMap::new(),
            flights: HashMap::new(),
            timers: BTreeSet::new(),
            ready: BTreeSet::new(),
            in_flight: 0,
            pace_at: None,
            tried_ahead: BTreeMap::new(),
            watch: watch::Watch::default(),
            orphans: BTreeMap::new(),
            orphans_taken: BTreeMap::new(),
            doubted: BTreeMap::new(),
            stopping: false,
        }
    }

    /// Takes in one event at the instant `now`, and adds what follows from it to `turn`. Several events may share a turn.
    pub fn handle(&mut self, now: DateTime<Utc>, event: Event, turn: &mut Turn) {
        match event {
            Event::Boot { schedules, memory, former, ahead } => {
                self.boot(now, schedules, memory, &former, ahead, turn);
            }
            Event::Wake => {}
            Event::Reload { schedules } => self.reload(now, schedules, turn),
            Event::ReloadRefused { text } => {
                turn.changes.push(Change::Noted { at: now, kind: NoteKind::ReloadRefused, text });
            }
            Event::LaunchEnded { key, attempt, reply } => self.launch_ended(now, &key, attempt, reply, turn),
            Event::Settled { key, verdict } => self.settled(now, &key, verdict, turn),
            Event::RunReported { key, report } => self.run_reported(now, &key, report, turn),
            Event::RunStalled { key, text, dead } => self.run_stalled(now, &key, text, dead, turn),
            Event::RunGone { key, message } => self.run_gone(now, &key, &message, turn),
            Event::ParametersDropped { key, text } => self.parameters_dropped(now, &key, text, turn),
            Event::Trigger { request, schedule, parameters } => {
                self.trigger(now, request, &schedule, parameters, turn);
            }
            Event::Backfill { request, schedule, from, to } => self.backfill(now, request, &schedule, (from, to), turn),
            Event::Pause { request, schedule, pause } => self.pause(now, request, &schedule, pause, turn),
            Event::Handover { request, schedule, step } => self.handover(now, request, &schedule, step, turn),
            Event::Looked { workflow_id, seen } => self.looked(now, &workflow_id, seen, turn),
            Event::ClockStepped { by, ahead } => self.clock_stepped(now, by, ahead, turn),
            Event::Stop => {
                self.stopping = true;
                if self.options.fires {
                    let text = format!("{} occurrences are open", self.flights.len());
                    turn.changes.push(Change::Noted { at: now, kind: NoteKind::Stopped, text });
                }
            }
        }
        self.run_timers(now, turn);
        self.launch_ready(now, turn);
    }

    /// The next instant at which something is to be done; [`Event::Wake`] is due then. `None`: only an event can change
    /// anything.
    #[must_use]
    pub fn next_wake(&self) -> Option<DateTime<Utc>> {
        if self.stopping { None } else { self.timers.first().map(|(at, _)| *at) }
    }

    /// Starts that are without an answer. A process that ends in order waits for these.
    #[must_use]
    pub fn launches_in_flight(&self) -> usize {
        self.in_flight
    }

    fn run_timers(&mut self, now: DateTime<Utc>, turn: &mut Turn) {
        while !self.stopping {
            match self.timers.first() {
                Some((at, _)) if *at <= now => {}
                _ => break,
            }
            let Some((_, timer)) = self.timers.pop_first() else { break };
            match timer {
                Timer::Due(schedule) => self.due(now, &schedule, turn),
                Timer::Ready(key) => self.make_ready(now, &key),
                Timer::RunTimeout(key) => self.run_timed_out(now, &key, turn),
                Timer::PauseEnds(schedule) => self.pause_ends(now, &schedule, turn),
                Timer::Pace => {}
                Timer::Look(workflow_id) => self.look_due(now, &workflow_id, turn),
                Timer::Taken(schedule) => self.taken_settles(now, &schedule, turn),
                Timer::ClockTrusted => self.reopen_doubted(now, None, turn),
            }
        }
    }

    /// Puts the schedule's next occurrence after `accounted_through` on the timers, in place of the one that is there.
    fn arm(&mut self, id: &ScheduleId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if let Some(due) = entry.due.take() {
            self.timers.remove(&(due.fire_at, Timer::Due(id.clone())));
        }
        if !entry.schedule.enabled || !self.options.fires {
            return;
        }
        let Some(scheduled_for) = entry.schedule.timetable.next_after(entry.accounted_through) else { return };
        let fire_at = entry.fire_at(&self.options.instance, scheduled_for);
        entry.due = Some(Due { scheduled_for, fire_at });
        if entry.settling_from_before == 0 && !entry.holds(scheduled_for) {
            self.timers.insert((fire_at, Timer::Due(id.clone())));
        }
    }

    fn key(&self, schedule: &ScheduleId, scheduled_for: DateTime<Utc>, suffix: String) -> OccurrenceKey {
        OccurrenceKey { instance: self.options.instance.clone(), schedule: schedule.clone(), scheduled_for, suffix }
    }
}

impl Entry {
    /// When an occurrence is started, or, where the server starts it, looked for.
    fn fire_at(&self, instance: &Instance, scheduled_for: DateTime<Utc>) -> DateTime<Utc> {
        if self.ownership.is_servers(scheduled_for) {
            return scheduled_for;
        }
        fire_at(instance, &self.schedule, scheduled_for)
    }

    /// Whether nothing is done about an occurrence until it is known whose it is.
    fn holds(&self, scheduled_for: DateTime<Utc>) -> bool {
        let open = match self.ownership.owner {
            Owner::HandingOver => true,
            // Which of the server's schedules it would be is not known.
            Owner::TakingBack => self.ownership.copy.is_none(),
            Owner::Local | Owner::Server => false,
        };
        open && scheduled_for >= self.ownership.since
    }
}

/// When an occurrence is started: its instant, and the jitter on top; never at or past the next one.
fn fire_at(instance: &Instance, schedule: &Schedule, scheduled_for: DateTime<Utc>) -> DateTime<Utc> {
    let bound = schedule.policies.jitter;
    if bound.is_zero() {
        return scheduled_for;
    }
    let bound = match schedule.timetable.next_after(scheduled_for) {
        Some(next) => (next - scheduled_for).to_std().map_or(bound, |room| bound.min(room)),
        None => bound,
    };
    let key = OccurrenceKey {
        instance: instance.clone(),
        schedule: schedule.id.clone(),
        scheduled_for,
        suffix: String::new(),
    };
    scheduled_for + crate::clock::delta(retry::jitter(&key, bound))
}

/// A length of time for people: the two largest units that are not zero, as in `3 h 5 min`.
pub(crate) fn span(delta: chrono::TimeDelta) -> String {
    let seconds = delta.num_seconds().max(0);
    let parts = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let shown: Vec<String> = parts[first..]
        .iter()
        .take(2)
        .filter(|(n, unit)| *n > 0 || *unit == "s")
        .map(|(n, unit)| format!("{n} {unit}"))
        .collect();
    if shown.len() == 2 && shown[1] == "0 s" { shown[0].clone() } else { shown.join(" ") }
}
