//! The simulated machine: true time, a clock that can be set, the queue of what is to come, and one process after another that
//! lives until it is killed. The engine, the store and the settlement dialogue are the real ones; around them everything is
//! wired as the daemon's loop and dispatch wire it. What happens is decided in `faults` and `files`, what must hold in
//! `invariants`.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use skycron::{
    engine::{
        Action, Change, Engine, Event, Options, Turn,
        change::{Ahead, Pause},
        event::{Launch, LaunchReply, RequestId, Settle, Verdict as Found},
        settle::{Inquiry, Seen, Step},
    },
    history::{HistoryOptions, Store},
    ids::{Instance, OccurrenceKey, RunId, ScheduleId},
    schedule::{OnUnknown, Overlap},
};

use crate::{
    api::{Api, Millis, instant},
    faults::{Answer, Dice, Effect, Fate, GRACE_MS, Profile, REQUEST_TIMEOUT_MS},
    files::{self, File},
    invariants::{Ledger, Verdict, ensure},
};

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;

/// Starts that may be without an answer at one time.
const LAUNCHES_IN_FLIGHT_MAX: usize = 4;
/// How long a process that is asked to end waits for answers.
const STOP_GRACE_MS: i64 = REQUEST_TIMEOUT_MS + 5_000;

/// A mistake that is made on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    /// Requests leave before their rows are committed.
    ActBeforeCommit,
    /// What an earlier process left unanswered is taken as not started.
    NoSettleAtBoot,
    /// A start without a clear answer is taken as not started.
    RetryOnUnknown,
    /// How far a schedule is accounted for is not written.
    CursorNotAdvanced,
}

/// Something that is going to happen. What belongs to a process is for the process with that number only.
#[derive(Debug)]
enum Item {
    Boot,
    Timer {
        process: u64,
        armed: u64,
    },
    Turn {
        process: u64,
    },
    Committed {
        process: u64,
    },
    Tell {
        process: u64,
        event: Event,
    },
    Stopped {
        process: u64,
    },
    /// A start reaches the server.
    Arrive {
        process: u64,
        launch: Box<Launch>,
        effect: Effect,
        answer: Answer,
        answered_at: Millis,
    },
    Inquire {
        process: u64,
        id: u64,
    },
    Look {
        process: u64,
        id: u64,
        step: Step,
        looked_at: DateTime<Utc>,
        fails: bool,
    },
    Seen {
        process: u64,
        id: u64,
        looked_at: DateTime<Utc>,
        seen: Seen,
    },
    Poll {
        process: u64,
        key: OccurrenceKey,
        run_id: RunId,
        since: Millis,
        told: Option<String>,
    },
    Cancel {
        run_id: RunId,
        attempt: u32,
    },
    Operator(Operation),
}

/// What happens to a process from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Kill,
    Stop,
    Edit,
    EditWrongly,
    Pause,
    Resume,
    Trigger,
    SetClock(i64),
    Sleep(i64),
    ServerDown,
    ServerCrash,
    OtherRun,
    RetryByHand,
}

struct Process {
    number: u64,
    engine: Engine,
    inbox: VecDeque<Event>,
    turn_is_due: bool,
    /// Lists of changes on their way to the disk, and the deeds that wait for them.
    /// The changes of one that was committed early, since something was asked about it, are empty.
    commits: VecDeque<(Vec<Change>, Vec<Action>)>,
    committed_at: Millis,
    /// The wall clock and the monotonic one, read together.
    clocks: (DateTime<Utc>, Millis),
    armed: u64,
    /// Each with what the two clocks showed when it began.
    inquiries: BTreeMap<u64, (Inquiry, DateTime<Utc>, Millis)>,
    settled: BTreeMap<u64, Settle>,
    requests: u64,
    stopping: bool,
}

pub(crate) struct World {
    seed: u64,
    mistake: Mistake,
    profile: Profile,
    dice: Dice,
    pub(crate) t: Millis,
    queue: BTreeMap<(Millis, u64), Item>,
    queued: u64,
    /// How far the wall clock is ahead of true time.
    clock_error: i64,
    slept: i64,
    asleep_until: Millis,
    api: Api,
    file: File,
    store: Store,
    pub(crate) ledger: Ledger,
    process: Option<Process>,
    processes: u64,
    ids: u64,
    /// No more faults.
    calm: bool,
    /// Policies of the past that excuse something, by schedule: started again although unknown; more than one at a time.
    retries_unknown: Vec<ScheduleId>,
    pub(crate) told: Option<Vec<String>>,
    pub(crate) numbers: Numbers,
}

/// What happened, to see that something did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) steps: u64,
    pub(crate) kills: u64,
    pub(crate) boots: u64,
    pub(crate) starts: u64,
    pub(crate) faults: u64,
    pub(crate) settled: u64,
    pub(crate) steps_of_the_clock: u64,
    pub(crate) compared: u64,
}

impl Numbers {
    pub(crate) fn add(&mut self, other: Self) {
        self.steps += other.steps;
        self.kills += other.kills;
        self.boots += other.boots;
        self.starts += other.starts;
        self.faults += other.faults;
        self.settled += other.settled;
        self.steps_of_the_clock += other.steps_of_the_clock;
        self.compared += other.compared;
    }
}

macro_rules! tell {
    ($world:expr, $($text:tt)+) => {
        if let Some(told) = &mut $world.told {
            told.push(format!("{} {}", instant($world.t).format("%m-%d %H:%M:%S%.3f"), format!($($text)+)));
        }
    };
}

impl World {
    pub(crate) fn new(seed: u64, mistake: Mistake, told: bool) -> Self {
        let mut dice = Dice::new(seed);
        let profile = Profile::any(&mut dice);
        // Near clock changes, mostly.
        let start = dice.pick(&[
            "2026-03-07T12:00:00Z",
            "2026-03-28T12:00:00Z",
            "2026-04-04T06:00:00Z",
            "2026-10-24T12:00:00Z",
            "2026-10-31T12:00:00Z",
            "2026-12-31T12:00:00Z",
        ]);
        let t = start.parse::<DateTime<Utc>>().unwrap().timestamp_millis() + dice.range(0, DAY);
        let (tags, skew) = (dice.chance(700), dice.range(-55_000, 55_000));
        let file = File::any(&mut dice, t);
        let options = HistoryOptions::default();
        let mut world = Self {
            seed,
            mistake,
            profile,
            dice,
            t,
            queue: BTreeMap::new(),
            queued: 0,
            clock_error: 0,
            slept: 0,
            asleep_until: 0,
            api: Api::new(tags, skew),
            file,
            store: Store::in_memory(&options).unwrap(),
            ledger: Ledger::default(),
            process: None,
            processes: 0,
            ids: 0,
            calm: false,
            retries_unknown: Vec::new(),
            told: told.then(Vec::new),
            numbers: Numbers::default(),
        };
        world.note_policies();
        world
    }

    /// A life of some days, and then calm, in which everything must come to its end.
    pub(crate) fn live(&mut self) -> Verdict {
        tell!(
            self,
            "seed {}: {:?}, tags {}, {} schedules",
            self.seed,
            self.profile,
            self.api.tags,
            self.file.schedules.len()
        );
        let days = self.dice.range(1, 3);
        let end = self.t + days * DAY;
        for _ in 0..days * self.profile.events_per_day {
            let at = self.t + self.dice.range(0, days * DAY);
            let operation = self.any_operation();
            self.at(at, Item::Operator(operation));
        }
        self.at(self.t, Item::Boot);
        self.go_on(end)?;
        tell!(self, "calm");
        self.t = self.t.max(self.asleep_until);
        self.calm = true;
        self.api.down_until = self.t;
        if self.process.is_none() {
            self.at(self.t, Item::Boot);
        }
        self.come_to_an_end()?;
        self.numbers.compared = self.ledger.audit()?;
        Ok(())
    }

    fn go_on(&mut self, until: Millis) -> Verdict {
        while let Some((at, _)) = self.queue.first_key_value().map(|(at, _)| *at).filter(|(at, _)| *at <= until) {
            let Some((_, item)) = self.queue.pop_first() else { break };
            self.t = self.t.max(at);
            self.step(item)?;
            self.numbers.steps += 1;
            self.check()?;
        }
        self.t = self.t.max(until);
        Ok(())
    }

    /// Whatever was open is over after a while, and nothing is due that is not accounted for.
    fn come_to_an_end(&mut self) -> Verdict {
        self.go_on(self.t + 30 * MINUTE)?;
        let open = self.ledger.open.clone();
        let patience = self.t + 10 * DAY;
        while self.ledger.open.iter().any(|key| open.contains(key)) {
            ensure!(self.t < patience, "still open after ten days without faults: {:?}", self.ledger.open);
            // Runs that died with the server stay as they are for ever: the operator clears them away.
            let dead: Vec<RunId> = self
                .api
                .runs
                .iter()
                .filter(|run| run.dead && run.created_at < self.t - HOUR)
                .map(|run| run.id.clone())
                .collect();
            for id in dead {
                self.api.cancel(self.t, &id);
            }
            self.go_on(self.t + HOUR)?;
        }
        let now = self.now();
        for schedule in &self.file.schedules {
            let account = &self.ledger.schedules[&schedule.id];
            let through = account.accounted_through.unwrap();
            ensure!(through <= now, "{} is accounted for up to {through}, it is {now}", schedule.id);
            if schedule.enabled {
                let waits = schedule.policies.jitter.as_millis() as i64;
                let late = now - TimeDelta::milliseconds(waits) - TimeDelta::minutes(5);
                let due = schedule.timetable.next_after(through).filter(|due| *due < late);
                ensure!(due.is_none(), "{} was due at {due:?}, it is {now}", schedule.id);
            }
        }
        Ok(())
    }

    fn at(&mut self, at: Millis, item: Item) {
        self.queued += 1;
        self.queue.insert((at.max(self.t), self.queued), item);
    }

    fn now(&self) -> DateTime<Utc> {
        instant(self.t + self.clock_error)
    }

    fn fails(&mut self) -> bool {
        !self.calm && self.dice.chance(self.profile.look_faults)
    }

    fn process(&mut self, number: u64) -> Option<&mut Process> {
        self.process.as_mut().filter(|process| process.number == number)
    }

    fn step(&mut self, item: Item) -> Verdict {
        if self.t < self.asleep_until
            && !matches!(item, Item::Arrive { .. } | Item::Look { .. } | Item::Cancel { .. } | Item::Operator(_))
        {
            let until = self.asleep_until;
            self.at(until, item);
            return Ok(());
        }
        match item {
            Item::Boot => self.boot(),
            Item::Timer { process, armed } => {
                let due = self.process(process).is_some_and(|process| process.armed == armed);
                if due { self.turn(vec![Event::Wake]) } else { Ok(()) }
            }
            Item::Turn { process } => {
                let Some(process) = self.process(process) else { return Ok(()) };
                process.turn_is_due = false;
                let events: Vec<Event> = process.inbox.drain(..).collect();
                if events.is_empty() { Ok(()) } else { self.turn(events) }
            }
            Item::Committed { process } => self.committed(process),
            Item::Tell { process, event } => {
                if self.crashes("an answer came in") {
                    return self.kill();
                }
                self.tell_process(process, event);
                Ok(())
            }
            Item::Stopped { process } => {
                if self.process(process).is_some() {
                    self.end_process("waited long enough for answers");
                }
                Ok(())
            }
            Item::Arrive { process, launch, effect, answer, answered_at } => {
                self.arrive(process, &launch, effect, answer, answered_at)
            }
            Item::Inquire { process, id } => self.inquire(process, id),
            Item::Look { process, id, step, looked_at, fails } => {
                let seen = self.look(process, id, &step, fails);
                let back = self.t + self.dice.range(1, 200);
                if let Some(seen) = seen {
                    self.at(back, Item::Seen { process, id, looked_at, seen });
                }
                Ok(())
            }
            Item::Seen { process, id, looked_at, seen } => {
                if self.crashes("a look brought something") {
                    return self.kill();
                }
                let t = self.t;
                let Some((inquiry, ..)) = self.process(process).and_then(|process| process.inquiries.get_mut(&id))
                else {
                    return Ok(());
                };
                inquiry.saw(looked_at, seen);
                self.at(t, Item::Inquire { process, id });
                Ok(())
            }
            Item::Poll { process, key, run_id, since, told } => {
                self.poll(process, key, run_id, since, told);
                Ok(())
            }
            Item::Cancel { run_id, attempt } => {
                if (self.fails() || self.api.is_down(self.t)) && attempt < 5 {
                    let later = self.t + (1_000 << attempt);
                    self.at(later, Item::Cancel { run_id, attempt: attempt + 1 });
                } else {
                    self.api.cancel(self.t, &run_id);
                }
                Ok(())
            }
            Item::Operator(operation) => self.operate(operation),
        }
    }

    // --- the process ------------------------------------------------------------------------------------------------

    fn boot(&mut self) -> Verdict {
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
            instance: Instance::new("sim").unwrap(),
            launches_in_flight_max: LAUNCHES_IN_FLIGHT_MAX,
            launches_per_second_max: Some(3),
            fires: true,
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
            stopping: false,
        });
        self.turn(vec![Event::Boot { schedules: self.file.schedules.clone(), memory, former, ahead }])
    }

    /// As the daemon's loop: the events in their order, one list of changes, deeds once it is committed.
    fn turn(&mut self, events: Vec<Event>) -> Verdict {
        let (now, monotonic) = (self.now(), self.t - self.slept);
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
    fn ahead(&mut self, now: DateTime<Utc>) -> Result<Vec<Ahead>, String> {
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
    fn arm(&mut self) {
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

    fn committed(&mut self, number: u64) -> Verdict {
        let Some(process) = self.process(number) else { return Ok(()) };
        let Some((changes, actions)) = process.commits.pop_front() else { return Ok(()) };
        self.commit(&changes)?;
        if self.crashes("after the commit") {
            return self.kill();
        }
        self.act(actions)
    }

    fn commit(&mut self, changes: &[Change]) -> Verdict {
        self.store.apply(changes).map_err(|error| format!("the history refuses: {error}: {changes:?}"))?;
        self.ledger.take_in(changes)
    }

    fn act(&mut self, actions: Vec<Action>) -> Verdict {
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
                Action::Answer { .. } => {}
            }
        }
        Ok(())
    }

    fn tell_process(&mut self, number: u64, event: Event) {
        let wait = self.dice.range(0, 3);
        let at = self.t + wait;
        let Some(process) = self.process(number) else { return };
        process.inbox.push_back(event);
        if !std::mem::replace(&mut process.turn_is_due, true) {
            self.at(at, Item::Turn { process: number });
        }
    }

    /// Whether the process is killed at this point of the protocol.
    fn crashes(&mut self, point: &str) -> bool {
        let crashes = !self.calm && self.process.is_some() && self.dice.chance(self.profile.kills);
        if crashes {
            tell!(self, "killed: {point}");
        }
        crashes
    }

    /// kill -9. What the process handed to its writer may still have been committed; nothing is done for it any more.
    fn kill(&mut self) -> Verdict {
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

    fn boot_later(&mut self) {
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

    fn end_process(&mut self, why: &str) {
        if let Some(process) = self.process.take() {
            tell!(self, "process {} ends: {why}", process.number);
            self.boot_later();
        }
    }

    // --- requests ---------------------------------------------------------------------------------------------------

    fn launch(&mut self, process: u64, launch: Box<Launch>) {
        let fate = match self.calm {
            true => Fate::good(&mut self.dice),
            false => Fate::any(&mut self.dice, &self.profile),
        };
        let mut fate = fate;
        if self.api.is_down(self.t) {
            fate.arrives = None;
            fate.answer = Answer::NotStarted { http_status: None, retry_after: None };
        }
        if fate.answer == Answer::Silence || fate.answered > REQUEST_TIMEOUT_MS {
            (fate.answer, fate.answered) = (Answer::Unknown { http_status: None }, REQUEST_TIMEOUT_MS);
        }
        self.numbers.starts += 1;
        self.numbers.faults += u64::from(fate.answer != Answer::Started);
        tell!(self, "start {} attempt {}: {fate:?}", launch.key, launch.attempt);
        let answered_at = self.t + fate.answered;
        match fate.arrives {
            // An answer that says something was given by the server; silence comes by itself.
            Some(after) if after <= fate.answered || matches!(fate.answer, Answer::Unknown { .. }) => {
                let at = self.t + after;
                if matches!(fate.answer, Answer::Unknown { .. }) {
                    self.answer(process, &launch, None, &fate.answer, answered_at);
                }
                self.at(at, Item::Arrive { process, launch, effect: fate.effect, answer: fate.answer, answered_at });
            }
            _ => self.answer(process, &launch, None, &fate.answer, answered_at),
        }
    }

    fn answer(&mut self, process: u64, launch: &Launch, run_id: Option<RunId>, answer: &Answer, at: Millis) {
        let reply = match answer {
            Answer::Started => {
                let report = run_id.and_then(|id| self.api.report(self.t, &id));
                LaunchReply::Started(Box::new(report.unwrap()))
            }
            Answer::Refused(status) => {
                LaunchReply::Refused { http_status: Some(*status), message: "refused".to_owned() }
            }
            Answer::NotStarted { http_status, retry_after } => LaunchReply::NotStarted {
                retry_after: *retry_after,
                http_status: *http_status,
                message: "not now".to_owned(),
            },
            Answer::Unknown { http_status } => {
                LaunchReply::Unknown { http_status: *http_status, message: "no answer".to_owned() }
            }
            Answer::Silence => return,
        };
        let event = Event::LaunchEnded { key: launch.key.clone(), attempt: launch.attempt, reply };
        self.at(at, Item::Tell { process, event });
    }

    /// A start reaches the server: the moment at which it can do harm.
    fn arrive(
        &mut self,
        process: u64,
        launch: &Launch,
        effect: Effect,
        answer: Answer,
        answered_at: Millis,
    ) -> Verdict {
        let Launch { key, attempt, schedule, parameters } = launch;
        if self.api.is_down(self.t) {
            if !matches!(answer, Answer::Unknown { .. }) {
                self.answer(process, launch, None, &Answer::Unknown { http_status: None }, answered_at);
            }
            return Ok(());
        }
        let row = self.ledger.rows.get(key);
        ensure!(row.is_some(), "a start of {key} reached the server, and there is no row");
        let begun = row.is_some_and(|row| row.attempts.len() >= *attempt as usize);
        ensure!(begun, "attempt {attempt} of {key} reached the server, and there is no row of it");
        let asked_by = Some((key.clone(), *attempt));
        let id =
            self.api.start(self.t, &mut self.dice, effect, schedule.workflow_id.clone(), parameters.clone(), asked_by);
        tell!(self, "at the server: {key} attempt {attempt} made {id:?} ({effect:?})");
        if !matches!(answer, Answer::Unknown { .. }) {
            self.answer(process, launch, id.clone(), &answer, answered_at);
        }
        if let Some(id) = id {
            self.once(key, &id)?;
        }
        Ok(())
    }

    /// One occurrence, one run. Runs that never ran do not count: the server died, or refused, while it made them.
    fn once(&self, key: &OccurrenceKey, id: &RunId) -> Verdict {
        let runs = self.api.runs.iter().filter(|run| !run.never_ran);
        let of: Vec<&RunId> = runs
            .filter(|run| run.asked_by.as_ref().is_some_and(|(asked, _)| asked == key))
            .map(|run| &run.id)
            .collect();
        // What the server leaves unknowable: a run that does not show its tag is known by the time of its making only, and means
        // nothing where our clock is wrong by more than the two are allowed to differ.
        let untagged = |id: &&RunId| self.api.run(id).is_some_and(|run| run.tag_seen_from > self.t);
        let excused = self.retries_unknown.contains(&key.schedule) || (self.profile.clock && of.iter().any(untagged));
        ensure!(of.len() <= 1 || excused, "{key} has two runs: {of:?} ({id} just now)");
        Ok(())
    }

    fn settle(&mut self, process: u64, settle: Settle) {
        self.numbers.settled += 1;
        let before = settle.last_attempt_at;
        let key = settle.key.clone();
        let lazily = match self.mistake {
            Mistake::RetryOnUnknown => true,
            Mistake::NoSettleAtBoot => {
                self.process(process).is_some_and(|process| process.settled.is_empty() && process.requests == 0)
                    && before < self.now() - TimeDelta::seconds(1)
            }
            _ => false,
        };
        if lazily {
            let event = Event::Settled { key, verdict: Found::Absent { evidence: "a mistake".to_owned() } };
            return self.tell_process(process, event);
        }
        self.ids += 1;
        let (id, now, monotonic) = (self.ids, self.now(), self.t - self.slept);
        if let Some(process) = self.process(process) {
            let parameters = settle.asked.as_ref().map(|(_, parameters)| parameters.clone());
            let inquiry = Inquiry::new(&settle, parameters, now, TimeDelta::milliseconds(GRACE_MS));
            process.inquiries.insert(id, (inquiry, now, monotonic));
            process.settled.insert(id, settle);
        }
        self.at(self.t, Item::Inquire { process, id });
    }

    /// One step of the dialogue, as dispatch makes it.
    fn inquire(&mut self, number: u64, id: u64) -> Verdict {
        let monotonic = self.t - self.slept;
        let Some((inquiry, begun, then)) = self.process(number).and_then(|process| process.inquiries.get(&id)) else {
            return Ok(());
        };
        let now = *begun + TimeDelta::milliseconds(monotonic - then);
        match inquiry.step(now) {
            Step::Conclude(verdict) => {
                let Some(process) = self.process(number) else { return Ok(()) };
                process.inquiries.remove(&id);
                let Some(settle) = process.settled.remove(&id) else { return Ok(()) };
                tell!(self, "settled {}: {verdict:?}", settle.key);
                self.tell_process(number, Event::Settled { key: settle.key, verdict });
            }
            Step::WaitUntil(instant) => {
                let wait = (instant - now).num_milliseconds().clamp(1, 5_000);
                self.at(self.t + wait, Item::Inquire { process: number, id });
            }
            step => {
                if self.crashes("before a look") {
                    return self.kill();
                }
                let fails = self.fails();
                let at = self.t + self.dice.range(1, 2_000);
                self.at(at, Item::Look { process: number, id, step, looked_at: now, fails });
            }
        }
        Ok(())
    }

    /// What the server shows, and what the process makes of it with the help of its history.
    fn look(&mut self, process: u64, id: u64, step: &Step, fails: bool) -> Option<Seen> {
        let settle = self.process(process)?.settled.get(&id)?.clone();
        if fails || self.api.is_down(self.t) {
            return Some(Seen::Failed("the server is away".to_owned()));
        }
        let (t, workflow_id, key) = (self.t, &settle.workflow_id, &settle.key);
        let mine = |run_id: &RunId| self.ledger.runs.get(run_id).is_none_or(|owner| owner == key);
        Some(match step {
            Step::AskWhetherTagsWork => Seen::TagsWork(self.api.tags),
            Step::SearchByTag => Seen::Tagged(self.api.tagged(t, workflow_id, key)),
            Step::ListSince(since) => {
                let mut runs = self.api.since(t, workflow_id, key, *since);
                runs.iter_mut().for_each(|run| run.taken |= !mine(&run.run_id));
                Seen::Listed(runs)
            }
            Step::WaitUntil(_) | Step::Conclude(_) => return None,
        })
    }

    fn poll_later(&mut self, process: u64, key: OccurrenceKey, run_id: RunId, since: Millis, told: Option<String>) {
        let wait = ((self.t - since) / 20).clamp(5_000, 10 * MINUTE);
        let at = self.t + wait;
        self.at(at, Item::Poll { process, key, run_id, since, told });
    }

    fn poll(&mut self, process: u64, key: OccurrenceKey, run_id: RunId, since: Millis, mut told: Option<String>) {
        if self.process(process).is_none() {
            return;
        }
        let report = if self.fails() || self.api.is_down(self.t) { None } else { self.api.report(self.t, &run_id) };
        if let Some(report) = report {
            let (news, over) = (format!("{} {}", report.status, report.retry_pending), report.is_over());
            if over || told.as_ref() != Some(&news) {
                told = Some(news);
                let at = self.t + self.dice.range(1, 100);
                let event = Event::RunReported { key: key.clone(), report: Box::new(report) };
                self.at(at, Item::Tell { process, event });
            }
            if over {
                return;
            }
        }
        self.poll_later(process, key, run_id, since, told);
    }

    // --- from outside -----------------------------------------------------------------------------------------------

    fn any_operation(&mut self) -> Operation {
        let dice = &mut self.dice;
        let clock = self.profile.clock;
        loop {
            return match dice.range(0, 14) {
                0 | 1 => Operation::Kill,
                2 => Operation::Stop,
                3 | 4 => Operation::Edit,
                5 => Operation::EditWrongly,
                6 => Operation::Pause,
                7 => Operation::Resume,
                8 => Operation::Trigger,
                9 if clock => Operation::SetClock(dice.pick(&[-1, 1]) * dice.skewed(6 * HOUR)),
                10 if clock => Operation::SetClock(i64::MAX),
                11 if self.profile.sleep => Operation::Sleep(dice.skewed(10 * HOUR)),
                12 => Operation::ServerDown,
                13 if self.profile.server_crashes => Operation::ServerCrash,
                14 if self.profile.others => dice.pick(&[Operation::OtherRun, Operation::RetryByHand]),
                _ => continue,
            };
        }
    }

    fn operate(&mut self, operation: Operation) -> Verdict {
        tell!(self, "{operation:?}");
        match operation {
            Operation::Kill => return self.kill(),
            Operation::Stop => {
                if let Some(process) = &mut self.process
                    && !process.stopping
                {
                    process.stopping = true;
                    let process = process.number;
                    self.at(self.t + STOP_GRACE_MS, Item::Stopped { process });
                    return self.turn(vec![Event::Stop]);
                }
            }
            Operation::Edit => {
                let edits = self.dice.range(1, 3);
                for _ in 0..edits {
                    self.file.edit(&mut self.dice, self.t);
                }
                self.note_policies();
                let schedules = self.file.schedules.clone();
                return self.ask(|_, _| Event::Reload { schedules });
            }
            Operation::EditWrongly => return self.ask(|_, _| Event::ReloadRefused { text: "wrong".to_owned() }),
            Operation::Pause | Operation::Resume | Operation::Trigger => {
                let name = ScheduleId::new(&format!("s{}", self.dice.range(0, 5))).unwrap();
                let until = self.dice.chance(500).then(|| TimeDelta::milliseconds(self.dice.skewed(8 * HOUR)));
                return self.ask(|request, now| match operation {
                    Operation::Pause => {
                        let pause = Pause { since: now, until: until.map(|wait| now + wait), note: None };
                        Event::Pause { request, schedule: name, pause: Some(pause) }
                    }
                    Operation::Resume => Event::Pause { request, schedule: name, pause: None },
                    _ => Event::Trigger { request, schedule: name, parameters: serde_json::Map::new() },
                });
            }
            Operation::SetClock(by) => {
                let by = if by == i64::MAX { -self.clock_error } else { by };
                self.clock_error += by;
                self.numbers.steps_of_the_clock += u64::from(by != 0);
                // The kernel cancels the wait.
                if let Some(process) = &mut self.process {
                    process.armed += 1;
                    let (process, armed) = (process.number, process.armed);
                    self.at(self.t, Item::Timer { process, armed });
                }
            }
            Operation::Sleep(for_ms) => {
                if self.t >= self.asleep_until {
                    self.asleep_until = self.t + for_ms;
                    self.slept += for_ms;
                }
            }
            Operation::ServerDown => self.api.down_until = self.t + self.dice.skewed(3 * HOUR),
            Operation::ServerCrash => self.api.crash(self.t, self.t + self.dice.range(1_000, 10 * MINUTE)),
            Operation::OtherRun => {
                let workflow = files::any_workflow(&mut self.dice);
                self.api.start(self.t, &mut self.dice, Effect::Run, workflow, serde_json::Map::new(), None);
            }
            Operation::RetryByHand => {
                if let Some(id) = self.api.runs.last().map(|run| run.id.clone()) {
                    self.api.retry_by_hand(self.t, &mut self.dice, &id);
                }
            }
        }
        Ok(())
    }

    /// Something is asked of the running process, if there is one that is not ending.
    fn ask(&mut self, event: impl FnOnce(RequestId, DateTime<Utc>) -> Event) -> Verdict {
        let now = self.now();
        if self.t < self.asleep_until {
            return Ok(());
        }
        let Some(process) = self.process.as_mut().filter(|process| !process.stopping) else { return Ok(()) };
        process.requests += 1;
        let event = event(RequestId(process.requests), now);
        self.turn(vec![event])
    }

    fn note_policies(&mut self) {
        for schedule in &self.file.schedules {
            let window = TimeDelta::from_std(schedule.policies.catch_up_window).unwrap();
            let most = self.ledger.window_max.entry(schedule.id.clone()).or_insert(window);
            *most = window.max(*most);
            if schedule.policies.overlap == Overlap::Allow {
                self.ledger.parallel.insert(schedule.id.clone());
            }
            if schedule.policies.on_unknown == OnUnknown::Retry && !self.retries_unknown.contains(&schedule.id) {
                self.retries_unknown.push(schedule.id.clone());
            }
        }
    }

    /// What holds between any two steps.
    fn check(&mut self) -> Verdict {
        let Some(process) = &self.process else { return Ok(()) };
        if process.commits.is_empty() {
            let open = process.engine.snapshot().open;
            ensure!(
                open.len() == self.ledger.open.len()
                    && open.iter().all(|flight| self.ledger.open.contains(&flight.key)),
                "the engine has {open:?} open, the history {:?}",
                self.ledger.open
            );
            if process.stopping && process.engine.launches_in_flight() == 0 {
                self.end_process("everything is answered");
            }
        }
        Ok(())
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
