//! One process: how it boots, takes its turns, commits and acts, as the daemon's loop does; and where it is killed.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use skycron::{
    engine::{Action, Change, Engine, Event, Options, Turn, change::Ahead},
    ids::Instance,
};

use super::*;

/// A process that lives.
pub(super) struct Process {
    pub(super) number: u64,
    pub(super) engine: Engine,
    pub(super) inbox: VecDeque<Event>,
    pub(super) turn_is_due: bool,
    /// Lists of changes on their way to the disk, and the deeds that wait for them.
    /// The changes of one that was committed early, since something was asked about it, are empty.
    pub(super) commits: VecDeque<(Vec<Change>, Vec<Action>)>,
    pub(super) committed_at: Millis,
    /// The wall clock and the monotonic one, read together.
    pub(super) clocks: (DateTime<Utc>, Millis),
    pub(super) armed: u64,
    /// Each with what the two clocks showed when it began.
    pub(super) inquiries: BTreeMap<u64, (Inquiry, DateTime<Utc>, Millis)>,
    pub(super) settled: BTreeMap<u64, Settle>,
    pub(super) requests: u64,
    pub(super) mirror: Mirror,
    pub(super) stopping: bool,
}

impl World {
    pub(super) fn boot(&mut self) -> Verdict {
        if self.process.is_some() {
            return Ok(());
        }
        let memory = self.store.memory().map_err(|error| format!("the history cannot be read: {error}"))?;
        self.ledger.remembers(&memory)?;
        self.processes += 1;
        self.numbers.boots += 1;
        let (number, now) = (self.processes, self.now());
        let ahead = self.ahead(now)?;
        tell!(self, "process {number} boots, its clock shows {now}");
        let former = memory
            .schedules
            .iter()
            .filter(|known| {
                let current = self.file.schedules.iter().find(|schedule| schedule.id == known.id);
                current.is_none_or(|schedule| schedule.timetable.definition(schedule.enabled) != known.definition)
            })
            .map(|known| (known.id.clone(), files::timetable(&known.definition)))
            .collect();
        let engine = Engine::new(Options {
            instance: Instance::new(INSTANCE).unwrap(),
            launches_in_flight_max: LAUNCHES_IN_FLIGHT_MAX,
            launches_per_second_max: Some(3),
            fires: true,
            mirrors: self.profile.mirrors,
        });
        self.process = Some(Process {
            number,
            engine,
            inbox: VecDeque::new(),
            turn_is_due: false,
            commits: VecDeque::new(),
            committed_at: 0,
            clocks: (self.now(), self.t - self.slept),
            armed: 0,
            inquiries: BTreeMap::new(),
            settled: BTreeMap::new(),
            requests: 0,
            mirror: Mirror::new(self.t),
            stopping: false,
        });
        if self.profile.mirrors {
            self.mirror_wanted(number);
        }
        self.turn(vec![Event::Boot { schedules: self.file.schedules.clone(), memory, former, ahead }])
    }

    /// As the daemon's loop: the events in their order, one list of changes, deeds once it is committed.
    pub(super) fn turn(&mut self, events: Vec<Event>) -> Verdict {
        let (now, monotonic) = (self.now(), self.t - self.slept);
        self.unchecked = true;
        let Some(process) = &mut self.process else { return Ok(()) };
        let mut turn = Turn::default();
        let by = (now - process.clocks.0) - TimeDelta::milliseconds(monotonic - process.clocks.1);
        process.clocks = (now, monotonic);
        if by.abs() > TimeDelta::seconds(2) {
            let ahead = if by < TimeDelta::zero() { self.ahead(now)? } else { Vec::new() };
            let Some(process) = &mut self.process else { return Ok(()) };
            process.engine.handle(now, Event::ClockStepped { by, ahead }, &mut turn);
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        for event in events {
            process.engine.handle(now, event, &mut turn);
        }
        let wake = process.engine.next_wake();
        let in_flight = process.engine.launches_in_flight();
        ensure!(wake.is_none_or(|wake| wake > now), "wants to be woken at {wake:?}, it is {now}");
        ensure!(in_flight <= LAUNCHES_IN_FLIGHT_MAX, "{in_flight} starts in flight");
        self.arm();
        if self.told.is_some() {
            for line in turn.changes.iter().map(brief).chain(turn.actions.iter().map(deed)) {
                tell!(self, "  {line}");
            }
        }
        if turn.changes.is_empty() {
            return self.act(turn.actions);
        }
        if self.mistake == Mistake::CursorNotAdvanced {
            turn.changes.retain(|change| !matches!(change, Change::AccountedThrough { .. }));
        }
        let mut actions = turn.actions;
        if self.mistake == Mistake::ActBeforeCommit {
            self.act(std::mem::take(&mut actions))?;
        }
        if self.crashes("before the commit") {
            return self.kill();
        }
        let took = self.dice.skewed(200);
        let (t, Some(process)) = (self.t, &mut self.process) else { return Ok(()) };
        process.commits.push_back((turn.changes, actions));
        process.committed_at = process.committed_at.max(t) + took;
        let (at, process) = (process.committed_at, process.number);
        self.at(at, Item::Committed { process });
        Ok(())
    }

    /// What the history has about the time to come. The writer answers after everything that was handed over before.
    pub(super) fn ahead(&mut self, now: DateTime<Utc>) -> Result<Vec<Ahead>, String> {
        let lists: Vec<Vec<Change>> = match &mut self.process {
            Some(process) => process.commits.iter_mut().map(|(changes, _)| std::mem::take(changes)).collect(),
            None => Vec::new(),
        };
        for changes in lists {
            self.commit(&changes)?;
        }
        self.store.ahead(now).map_err(|error| format!("the history cannot be read: {error}"))
    }

    /// Sets the timer of the wall clock. It shows an instant when the clock does, however it came there.
    pub(super) fn arm(&mut self) {
        let now = self.now();
        let Some(process) = &mut self.process else { return };
        process.armed += 1;
        let (wake, armed, number) = (process.engine.next_wake(), process.armed, process.number);
        if let Some(wake) = wake {
            let wait = (wake - now).num_milliseconds().max(0);
            // The engine counts finer than this clock.
            let at = self.t + wait + i64::from((wake - now).subsec_nanos() % 1_000_000 != 0);
            self.at(at, Item::Timer { process: number, armed });
        }
    }

    pub(super) fn committed(&mut self, number: u64) -> Verdict {
        let Some(process) = self.process(number) else { return Ok(()) };
        let Some((changes, actions)) = process.commits.pop_front() else { return Ok(()) };
        self.unchecked = true;
        self.commit(&changes)?;
        if self.crashes("after the commit") {
            return self.kill();
        }
        self.act(actions)
    }

    pub(super) fn commit(&mut self, changes: &[Change]) -> Verdict {
        self.store.apply(changes).map_err(|error| format!("the history refuses: {error}: {changes:?}"))?;
        self.ledger.take_in(changes)?;
        self.truly_missed(changes)
    }

    pub(super) fn act(&mut self, actions: Vec<Action>) -> Verdict {
        for action in actions {
            if self.crashes("between two deeds") {
                return self.kill();
            }
            let Some(process) = &self.process else { return Ok(()) };
            let process = process.number;
            match action {
                Action::Launch(launch) => self.launch(process, launch),
                Action::Settle(settle) => self.settle(process, *settle),
                Action::Follow { key, run_id, .. } => {
                    let since = self.t;
                    self.poll_later(process, key, run_id, since, None);
                }
                Action::Cancel { run_id, .. } => {
                    let at = self.t + self.dice.range(1, 100);
                    self.at(at, Item::Cancel { run_id, attempt: 1 });
                }
                Action::Look(look) => {
                    let at = self.t + self.dice.range(1, 2_000);
                    self.at(at, Item::LookAtRuns { process, look });
                }
                Action::Handover { request, result } => self.mirror_answered(process, request, result)?,
                Action::Mirror => self.mirror_wanted(process),
                Action::Answer { .. } => {}
            }
        }
        Ok(())
    }

    pub(super) fn tell_process(&mut self, number: u64, event: Event) {
        let wait = self.dice.range(0, 3);
        let at = self.t + wait;
        let Some(process) = self.process(number) else { return };
        process.inbox.push_back(event);
        if !std::mem::replace(&mut process.turn_is_due, true) {
            self.at(at, Item::Turn { process: number });
        }
    }

    /// Whether the process is killed at this point of the protocol.
    pub(super) fn crashes(&mut self, point: &str) -> bool {
        let crashes = !self.calm && self.process.is_some() && self.dice.chance(self.profile.kills);
        if crashes {
            tell!(self, "killed: {point}");
        }
        crashes
    }

    /// kill -9. What the process handed to its writer may still have been committed; nothing is done for it any more.
    pub(super) fn kill(&mut self) -> Verdict {
        let Some(process) = self.process.take() else { return Ok(()) };
        self.numbers.kills += 1;
        let written = self.dice.range(0, i64::try_from(process.commits.len()).unwrap());
        tell!(self, "process {} is gone, {written} of {} lists were written", process.number, process.commits.len());
        for (changes, _) in process.commits.into_iter().take(usize::try_from(written).unwrap()) {
            self.commit(&changes)?;
        }
        self.boot_later();
        Ok(())
    }

    pub(super) fn boot_later(&mut self) {
        let wait = if self.dice.chance(700) { self.dice.range(50, 5_000) } else { self.dice.skewed(20 * HOUR) };
        let at = self.t + if self.calm { 1_000 } else { wait };
        if self.profile.clock && !self.calm && self.dice.chance(300) {
            // A wrong clock at boot, which is corrected after a while.
            let by = self.dice.range(-1, 1) * self.dice.skewed(DAY * 40) - self.clock_error;
            self.at(at, Item::Operator(Operation::SetClock(by)));
            let right = at + self.dice.skewed(2 * HOUR);
            self.at(right, Item::Operator(Operation::SetClock(i64::MAX)));
        }
        if self.dice.chance(200) && !self.calm {
            self.file.edit(&mut self.dice, self.t);
            self.note_policies();
        }
        self.at(at, Item::Boot);
    }

    pub(super) fn end_process(&mut self, why: &str) {
        if let Some(process) = self.process.take() {
            tell!(self, "process {} ends: {why}", process.number);
            self.boot_later();
        }
    }
}

fn brief(change: &Change) -> String {
    match change {
        Change::Occurred(new) => format!(
            "{} {} {} {:?} x{} to {:?}",
            new.key,
            new.trigger,
            new.status,
            new.reason.as_ref().map(ToString::to_string),
            new.count,
            new.through
        ),
        other => format!("{other:?}"),
    }
}

fn deed(action: &Action) -> String {
    match action {
        Action::Launch(launch) => format!("> launch {} {}", launch.key, launch.attempt),
        other => format!("> {other:?}"),
    }
}
