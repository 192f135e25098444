//! Which alarms follow from these changes at this instant. Pure: rows in, rows out.
//!
//! It is handed every list of changes before it is written, and answers with further changes for the same transaction. What it
//! must know later is among them, so that a process that ends takes nothing along.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};

use super::{
    facts::{About, facts, sentence},
    remember::Remembered,
};
use crate::{
    clock::{delta, rfc3339_millis},
    config::{Channel, ChannelKind},
    engine::{
        Change, Reason, ReasonCode, RunReport, Status, Trigger,
        alarm::{AlarmEvent, NewAlarm},
        change::{AttemptOutcome, NewOccurrence, NoteKind, OpenOccurrence, ScheduleMemory},
        span,
    },
    ids::{ChannelName, Instance, OccurrenceKey, RunId, ScheduleId},
    schedule::Schedule,
    skyvern::refuses_the_key,
};

/// The channels of the file.
pub type Channels = BTreeMap<ChannelName, Channel>;

/// What a moment of the future is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// An occurrence is late, if it has not started by then.
    Late(OccurrenceKey),
    /// A schedule had no success for too long, if none comes by then.
    Quiet(ScheduleId),
}

/// What is known of one schedule.
#[derive(Debug)]
struct Watch {
    schedule: Arc<Schedule>,
    remembered: Remembered,
    paused: bool,
    quiet_at: Option<DateTime<Utc>>,
}

/// Decides about alarms. Owned by the loop that owns the engine.
#[derive(Debug)]
pub struct Decider {
    instance: Instance,
    channels: Arc<Channels>,
    watches: BTreeMap<ScheduleId, Watch>,
    /// Schedules whose memory is not stored as it is.
    dirty: BTreeSet<ScheduleId>,
    daemon: Remembered,
    daemon_is_dirty: bool,
    /// Occurrences that have not started, and when that is late.
    unstarted: BTreeMap<OccurrenceKey, DateTime<Utc>>,
    /// Runs that skycron cancels because they go on for too long, which is no end that anybody wants.
    overdue: BTreeSet<OccurrenceKey>,
    timers: BTreeSet<(DateTime<Utc>, Timer)>,
}

/// What a decider starts from.
#[derive(Debug, Default)]
pub struct Start<'a> {
    /// What was remembered: JSON by schedule; `""` is the daemon.
    pub memories: BTreeMap<String, String>,
    /// The file's schedules.
    pub schedules: &'a [Arc<Schedule>],
    /// What the history knows of schedules: which are paused.
    pub known: &'a [ScheduleMemory],
    /// What is open.
    pub open: &'a [OpenOccurrence],
}

impl Decider {
    /// One that goes on where an earlier process was.
    #[must_use]
    pub fn new(now: DateTime<Utc>, instance: Instance, channels: Arc<Channels>, start: Start<'_>) -> Self {
        let mut decider = Self {
            instance,
            channels,
            watches: BTreeMap::new(),
            dirty: BTreeSet::new(),
            daemon: Remembered::default(),
            daemon_is_dirty: false,
            unstarted: BTreeMap::new(),
            overdue: BTreeSet::new(),
            timers: BTreeSet::new(),
        };
        // What cannot be read was written by another version: better told twice than not started.
        let read = |json: &String| serde_json::from_str::<Remembered>(json).unwrap_or_default();
        decider.daemon = start.memories.get("").map(read).unwrap_or_default();
        let paused: BTreeSet<&ScheduleId> =
            start.known.iter().filter(|known| known.pause.is_some()).map(|known| &known.id).collect();
        for schedule in start.schedules {
            let remembered = start.memories.get(schedule.id.as_str()).map(read).unwrap_or_default();
            decider.watch(now, Arc::clone(schedule), remembered, paused.contains(&schedule.id));
        }
        for open in start.open.iter().filter(|open| matches!(open.status, Status::Pending | Status::Launching)) {
            decider.expect_start(&open.key, open.trigger);
        }
        decider
    }

    /// The file was read again: who is told of what.
    pub fn set_channels(&mut self, channels: Arc<Channels>) {
        self.channels = channels;
    }

    /// The file was read again: its schedules. What was remembered of those that stay stays.
    pub fn set_schedules(&mut self, now: DateTime<Utc>, schedules: &[Arc<Schedule>]) {
        let mut old = std::mem::take(&mut self.watches);
        self.timers.retain(|(_, timer)| !matches!(timer, Timer::Quiet(_)));
        for schedule in schedules {
            let (remembered, paused) =
                old.remove(&schedule.id).map(|watch| (watch.remembered, watch.paused)).unwrap_or_default();
            self.watch(now, Arc::clone(schedule), remembered, paused);
        }
        // Runs of a schedule that is gone may go on, and are told of by what it said last.
        for (id, watch) in old {
            self.watches.insert(id, Watch { quiet_at: None, ..watch });
        }
    }

    /// When the next alarm is due that no change brings about.
    #[must_use]
    pub fn next_wake(&self) -> Option<DateTime<Utc>> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What is to be written beside `changes`: alarms, and what is to be remembered.
    pub fn decide(&mut self, now: DateTime<Utc>, changes: &[Change]) -> Vec<Change> {
        let mut out = Vec::new();
        if self.channels.is_empty() {
            return out;
        }
        let found = Found::in_(changes);
        for change in changes {
            self.change(now, change, &found, &mut out);
        }
        self.run_timers(now, &mut out);
        self.store(now, &mut out);
        out
    }

    fn watch(&mut self, now: DateTime<Utc>, schedule: Arc<Schedule>, remembered: Remembered, paused: bool) {
        let id = schedule.id.clone();
        let mut watch = Watch { schedule, remembered, paused, quiet_at: None };
        if watch.minds_silence() && watch.remembered.quiet_since().is_none() {
            watch.remembered.be_quiet_since(now);
            self.dirty.insert(id.clone());
        }
        self.watches.insert(id.clone(), watch);
        self.arm_quiet(&id);
    }

    /// Sets the timer by which a schedule must have had a success.
    fn arm_quiet(&mut self, id: &ScheduleId) {
        let Some(watch) = self.watches.get_mut(id) else { return };
        if let Some(old) = watch.quiet_at.take() {
            self.timers.remove(&(old, Timer::Quiet(id.clone())));
        }
        if !watch.minds_silence() || watch.remembered.was_told(AlarmEvent::NoSuccess) {
            return;
        }
        let bound = watch.schedule.policies.no_success_for.map(delta).unwrap_or_default();
        watch.quiet_at = watch.remembered.quiet_since().and_then(|since| since.checked_add_signed(bound));
        self.timers.extend(watch.quiet_at.map(|at| (at, Timer::Quiet(id.clone()))));
    }

    /// An occurrence of the timetable is due: from when on is its start late?
    fn expect_start(&mut self, key: &OccurrenceKey, trigger: Trigger) {
        let Some(watch) = self.watches.get(&key.schedule) else { return };
        let policies = &watch.schedule.policies;
        let Some(late_after) = policies.late_after.filter(|_| !policies.notify.is_empty()) else { return };
        if !matches!(trigger, Trigger::Schedule | Trigger::CatchUp | Trigger::Server) {
            return;
        }
        // Jitter is no lateness.
        let at = key.scheduled_for.checked_add_signed(delta(policies.jitter) + delta(late_after));
        if let Some(at) = at {
            self.unstarted.insert(key.clone(), at);
            self.timers.insert((at, Timer::Late(key.clone())));
        }
    }

    /// It has started, or will not.
    fn expect_no_start(&mut self, key: &OccurrenceKey) {
        if let Some(at) = self.unstarted.remove(key) {
            self.timers.remove(&(at, Timer::Late(key.clone())));
        }
    }

    fn change(&mut self, now: DateTime<Utc>, change: &Change, found: &Found<'_>, out: &mut Vec<Change>) {
        match change {
            Change::Occurred(new) => self.occurred(now, new, found, out),
            Change::StatusChanged { key, status, reason, .. } => {
                self.status(now, key, *status, reason.as_ref(), found, out);
            }
            Change::AttemptEnded {
                outcome: AttemptOutcome::NotStarted, http_status: Some(status), message, ..
            } if refuses_the_key(*status) && !self.daemon.was_told(AlarmEvent::KeyRefused) => {
                self.daemon_is_bad(now, AlarmEvent::KeyRefused, message.clone(), out);
            }
            Change::AttemptEnded { outcome: AttemptOutcome::Started, .. } => {
                self.daemon_is_well(now, AlarmEvent::KeyRefused, out);
            }
            // The same file may be refused again and again.
            Change::Noted { kind: NoteKind::ReloadRefused, text, .. } if self.daemon.file.as_ref() != Some(text) => {
                self.daemon.file = Some(text.clone());
                self.daemon_is_bad(now, AlarmEvent::FileRefused, Some(text.clone()), out);
            }
            Change::Noted { kind: NoteKind::Reloaded | NoteKind::Started, .. } => {
                self.daemon_is_dirty |= self.daemon.file.take().is_some();
                self.daemon_is_well(now, AlarmEvent::FileRefused, out);
            }
            Change::Paused { schedule, pause, .. } => {
                if let Some(watch) = self.watches.get_mut(schedule) {
                    watch.paused = pause.is_some();
                    if watch.minds_silence() {
                        watch.remembered.be_quiet_since(now);
                        self.dirty.insert(schedule.clone());
                    }
                }
                self.arm_quiet(schedule);
            }
            Change::Defined { schedule, definition: None, .. } => {
                out.push(Change::AlarmsRemembered { schedule: Some(schedule.clone()), memory: None, at: now });
            }
            _ => {}
        }
    }

    fn occurred(&mut self, now: DateTime<Utc>, new: &NewOccurrence, found: &Found<'_>, out: &mut Vec<Change>) {
        match new.status {
            Status::Pending | Status::Launching => self.expect_start(&new.key, new.trigger),
            Status::Running => self.started(now, &new.key, found, out),
            Status::Missed | Status::Refused | Status::Unknown => {
                self.ended_badly(now, &new.key, new.status, new.reason.as_ref(), new.count, found, out);
            }
            _ => {}
        }
    }

    fn status(
        &mut self,
        now: DateTime<Utc>,
        key: &OccurrenceKey,
        status: Status,
        reason: Option<&Reason>,
        found: &Found<'_>,
        out: &mut Vec<Change>,
    ) {
        let code = reason.map(|reason| reason.code);
        match status {
            Status::Running if reason.is_none() => self.started(now, key, found, out),
            Status::Running => {
                if matches!(code, Some(ReasonCode::Canceled | ReasonCode::RunStalled)) {
                    self.overdue.insert(key.clone());
                }
            }
            Status::Pending | Status::Launching => {}
            Status::Skipped => self.expect_no_start(key),
            Status::Completed => self.completed(now, key, found, out),
            Status::Canceled if code == Some(ReasonCode::Canceled) && !self.overdue.contains(key) => {
                // As `overlap` wants it.
                self.expect_no_start(key);
            }
            _ if found.is_repeated(key) => {
                self.overdue.remove(key);
            }
            _ => {
                self.overdue.remove(key);
                self.ended_badly(now, key, status, reason, 1, found, out);
            }
        }
    }

    fn started(&mut self, now: DateTime<Utc>, key: &OccurrenceKey, found: &Found<'_>, out: &mut Vec<Change>) {
        if self.unstarted.get(key).is_some_and(|at| *at <= now) {
            self.late(now, key, out);
        }
        self.expect_no_start(key);
        let Some(watch) = self.watches.get(&key.schedule) else { return };
        let about = About { key: Some(key), status: Some(Status::Running), ..About::schedule(&watch.schedule) };
        let about = About { report: found.report(key), run_id: found.run_id(key), ..about };
        self.raise(now, &watch.schedule.policies.notify, &format!("{key}"), AlarmEvent::Started, &about, "", out);
    }

    fn late(&mut self, now: DateTime<Utc>, key: &OccurrenceKey, out: &mut Vec<Change>) {
        let Some(watch) = self.watches.get(&key.schedule) else { return };
        let about = About { key: Some(key), ..About::schedule(&watch.schedule) };
        let by = span(now - key.scheduled_for);
        self.raise(now, &watch.schedule.policies.notify, &format!("{key}"), AlarmEvent::Late, &about, &by, out);
    }

    fn completed(&mut self, now: DateTime<Utc>, key: &OccurrenceKey, found: &Found<'_>, out: &mut Vec<Change>) {
        self.expect_no_start(key);
        self.overdue.remove(key);
        let Some(watch) = self.watches.get(&key.schedule) else { return };
        let notify = watch.schedule.policies.notify.clone();
        let about = About { key: Some(key), status: Some(Status::Completed), ..About::schedule(&watch.schedule) };
        let about = About { report: found.report(key), run_id: found.run_id(key), ..about };
        self.raise(now, &notify, &format!("{key}"), AlarmEvent::Completed, &about, "", out);
        // An old occurrence that was made up for says nothing about the ones of today.
        if counts(key) {
            let told: Vec<AlarmEvent> = watch.remembered.told().collect();
            let more = match watch.remembered.bad_in_a_row {
                0 => String::new(),
                1 => ", after one bad end".to_owned(),
                many => format!(", after {many} bad ends"),
            };
            let hearers = self.hearers_of(&notify, &told);
            self.raise(now, &hearers, &format!("{key}"), AlarmEvent::Recovered, &about, &more, out);
            self.forget_bad(now, &key.schedule);
        }
    }

    /// Channels that were told one of these.
    fn hearers_of(&self, notify: &[ChannelName], told: &[AlarmEvent]) -> Vec<ChannelName> {
        let heard = |name: &&ChannelName| {
            self.channels.get(*name).is_some_and(|channel| told.iter().any(|event| channel.hears(*event)))
        };
        notify.iter().filter(heard).cloned().collect()
    }

    fn forget_bad(&mut self, now: DateTime<Utc>, id: &ScheduleId) {
        let Some(watch) = self.watches.get_mut(id) else { return };
        let mut remembered = Remembered::default();
        if watch.schedule.policies.no_success_for.is_some() {
            remembered.be_quiet_since(now);
        }
        if watch.remembered != remembered {
            watch.remembered = remembered;
            self.dirty.insert(id.clone());
        }
        self.arm_quiet(id);
    }

    #[expect(clippy::too_many_arguments, reason = "what is known of one end; a struct would only rename it")]
    fn ended_badly(
        &mut self,
        now: DateTime<Utc>,
        key: &OccurrenceKey,
        status: Status,
        reason: Option<&Reason>,
        count: u32,
        found: &Found<'_>,
        out: &mut Vec<Change>,
    ) {
        self.expect_no_start(key);
        let event = match status {
            Status::Missed => AlarmEvent::Missed,
            Status::Refused => AlarmEvent::Refused,
            Status::Unknown => AlarmEvent::Unknown,
            _ => AlarmEvent::Failed,
        };
        let Some(watch) = self.watches.get_mut(&key.schedule) else { return };
        let schedule = Arc::clone(&watch.schedule);
        let policies = &schedule.policies;
        if policies.notify.is_empty() {
            return;
        }
        let mut in_a_row = None;
        if counts(key) {
            watch.remembered.bad_in_a_row = watch.remembered.bad_in_a_row.saturating_add(1);
            watch.remembered.tell(event);
            self.dirty.insert(key.schedule.clone());
            in_a_row = policies.failures_in_a_row.filter(|bound| *bound == watch.remembered.bad_in_a_row);
            if in_a_row.is_some() {
                watch.remembered.tell(AlarmEvent::FailuresInARow);
            }
        }
        let about = About { key: Some(key), status: Some(status), ..About::schedule(&schedule) }.reason(reason);
        let about = About { report: found.report(key), run_id: found.run_id(key), count, ..about };
        self.raise(now, &policies.notify, &format!("{key}"), event, &about, "", out);
        if let Some(count) = in_a_row {
            let about = About { count, ..about };
            let more = count.to_string();
            self.raise(now, &policies.notify, &format!("{key}"), AlarmEvent::FailuresInARow, &about, &more, out);
        }
    }

    fn run_timers(&mut self, now: DateTime<Utc>, out: &mut Vec<Change>) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
        {
            let Some((_, timer)) = self.timers.pop_first() else { break };
            match timer {
                Timer::Late(key) => {
                    if self.unstarted.remove(&key).is_some() {
                        self.late(now, &key, out);
                    }
                }
                Timer::Quiet(id) => self.quiet(now, &id, out),
            }
        }
    }

    fn quiet(&mut self, now: DateTime<Utc>, id: &ScheduleId, out: &mut Vec<Change>) {
        let Some(watch) = self.watches.get_mut(id) else { return };
        watch.quiet_at = None;
        let Some(since) = watch.remembered.quiet_since() else { return };
        watch.remembered.tell(AlarmEvent::NoSuccess);
        self.dirty.insert(id.clone());
        let schedule = Arc::clone(&watch.schedule);
        let stem = format!("{}/{id}@{}", self.instance, rfc3339_millis(since));
        let about = About::schedule(&schedule);
        let for_so_long = span(now - since);
        self.raise(now, &schedule.policies.notify, &stem, AlarmEvent::NoSuccess, &about, &for_so_long, out);
    }

    fn daemon_is_bad(&mut self, now: DateTime<Utc>, event: AlarmEvent, reason: Option<String>, out: &mut Vec<Change>) {
        self.daemon.tell(event);
        self.daemon_is_dirty = true;
        let all: Vec<ChannelName> = self.channels.keys().cloned().collect();
        let stem = format!("{}@{}", self.instance, rfc3339_millis(now));
        self.raise(now, &all, &stem, event, &About { reason, ..About::default() }, "", out);
    }

    fn daemon_is_well(&mut self, now: DateTime<Utc>, event: AlarmEvent, out: &mut Vec<Change>) {
        if !self.daemon.take_back(event) {
            return;
        }
        self.daemon_is_dirty = true;
        let all: Vec<ChannelName> = self.channels.keys().cloned().collect();
        let hearers = self.hearers_of(&all, &[event]);
        let stem = format!("{}@{}:{event}", self.instance, rfc3339_millis(now));
        let more = match event {
            AlarmEvent::FileRefused => ": the file is in force",
            _ => ": the API accepts the key",
        };
        self.raise(now, &hearers, &stem, AlarmEvent::Recovered, &About::default(), more, out);
    }

    /// One row for each channel of `notify` that wants to know.
    #[expect(clippy::too_many_arguments, reason = "the parts of one row")]
    fn raise(
        &self,
        now: DateTime<Utc>,
        notify: &[ChannelName],
        stem: &str,
        event: AlarmEvent,
        about: &About<'_>,
        more: &str,
        out: &mut Vec<Change>,
    ) {
        let id = format!("{stem}:{event}");
        let mut told = None;
        for name in notify {
            let Some(channel) = self.channels.get(name) else { continue };
            if !channel.hears(event) || (about.schedule.is_none() && channel.kind == ChannelKind::Ping) {
                continue;
            }
            let facts = told
                .get_or_insert_with(|| facts(&id, event, now, &self.instance, &sentence(event, about, more), about));
            out.push(Change::AlarmRaised(Box::new(NewAlarm {
                id: id.clone(),
                channel: name.clone(),
                event,
                schedule: about.schedule.map(|schedule| schedule.id.clone()),
                at: now,
                facts: facts.clone(),
            })));
        }
    }

    /// What changed of what is remembered.
    fn store(&mut self, now: DateTime<Utc>, out: &mut Vec<Change>) {
        let mut put = |schedule, remembered: &Remembered| {
            out.push(Change::AlarmsRemembered { schedule, memory: remembered.stored(), at: now });
        };
        for id in std::mem::take(&mut self.dirty) {
            if let Some(watch) = self.watches.get(&id) {
                put(Some(id), &watch.remembered);
            }
        }
        if std::mem::take(&mut self.daemon_is_dirty) {
            put(None, &self.daemon);
        }
    }
}

impl Watch {
    /// Whether it is wrong that nothing completes for long.
    fn minds_silence(&self) -> bool {
        let policies = &self.schedule.policies;
        policies.no_success_for.is_some() && !policies.notify.is_empty() && self.schedule.enabled && !self.paused
    }
}

/// Whether an occurrence says how the schedule is doing: one that a person asked for out of the past does not.
fn counts(key: &OccurrenceKey) -> bool {
    !key.suffix.starts_with("backfill-")
}

/// What else is in the same list of changes.
struct Found<'a> {
    reports: BTreeMap<&'a OccurrenceKey, &'a RunReport>,
    runs: BTreeMap<&'a OccurrenceKey, &'a RunId>,
    /// Ends after which `retry` starts again: schedule and instant.
    repeated: BTreeSet<(&'a ScheduleId, DateTime<Utc>)>,
}

impl<'a> Found<'a> {
    fn in_(changes: &'a [Change]) -> Self {
        let mut found = Self { reports: BTreeMap::new(), runs: BTreeMap::new(), repeated: BTreeSet::new() };
        for change in changes {
            match change {
                Change::RunReported { key, report, .. } => {
                    found.reports.insert(key, report);
                }
                Change::AttemptEnded { key, run_id: Some(run_id), .. } => {
                    found.runs.insert(key, run_id);
                }
                Change::Occurred(new) if new.trigger == Trigger::Retry => {
                    found.repeated.insert((&new.key.schedule, new.key.scheduled_for));
                }
                _ => {}
            }
        }
        found
    }

    fn report(&self, key: &OccurrenceKey) -> Option<&'a RunReport> {
        self.reports.get(key).copied()
    }

    fn run_id(&self, key: &OccurrenceKey) -> Option<&'a RunId> {
        self.runs.get(key).copied()
    }

    fn is_repeated(&self, key: &OccurrenceKey) -> bool {
        self.repeated.contains(&(&key.schedule, key.scheduled_for))
    }
}
