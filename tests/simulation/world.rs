//! The simulated machine: true time, a clock that can be set, the queue of what is to come, and one process after another that
//! lives until it is killed. The engine, the store and the settlement dialogue are the real ones; around them everything is
//! wired as the daemon's loop and dispatch wire it. What happens is decided in `faults` and `files`, what must hold in
//! `invariants`.

macro_rules! tell {
    ($world:expr, $($text:tt)+) => {
        if let Some(told) = &mut $world.told {
            told.push(format!("{} {}", instant($world.t).format("%m-%d %H:%M:%S%.3f"), format!($($text)+)));
        }
    };
}

mod mirror;
mod operator;
mod process;
mod requests;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use skycron::{
    engine::{
        Event,
        change::{Pause, ServerCopy},
        event::{Launch, LaunchReply, Look, RequestId, Settle, Verdict as Found},
        settle::{Inquiry, Seen, Step},
    },
    history::{HistoryOptions, Store},
    ids::{OccurrenceKey, RunId, ScheduleId, ServerScheduleId},
    schedule::{OnUnknown, Overlap},
};

use mirror::{Copy, Mirror, MirrorStep};
use operator::Operation;
use process::Process;

use crate::{
    api::{Api, Millis, instant},
    faults::{Answer, Dice, Effect, Fate, GRACE_MS, Profile, REQUEST_TIMEOUT_MS},
    files::{self, File},
    invariants::{INSTANCE, Ledger, Verdict, ensure},
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
    /// The server's copy is enabled without a word.
    EnableUnannounced,
    /// The server's copy is said to be disabled, and is not.
    NotReallyDisabled,
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
    /// The server's own scheduler looks for what is due.
    ServerPoll,
    /// It makes a run.
    ServerStart {
        schedule: ScheduleId,
        copy: ServerCopy,
        due: DateTime<Utc>,
    },
    LookAtRuns {
        process: u64,
        look: Box<Look>,
    },
    Mirror {
        process: u64,
        step: MirrorStep,
    },
    /// A request to enable or disable reaches the server.
    CopyChanges {
        id: ScheduleId,
        copy: ServerScheduleId,
        enable: bool,
    },
    CopyAnswered {
        process: u64,
        id: ScheduleId,
        enable: bool,
        heard: bool,
        refused: bool,
    },
    Operator(Operation),
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
    /// The server's own schedules.
    copies: BTreeMap<ScheduleId, Copy>,
    file: File,
    store: Store,
    pub(crate) ledger: Ledger,
    process: Option<Process>,
    processes: u64,
    ids: u64,
    /// No more faults.
    calm: bool,
    /// Something was decided or written since the last check.
    unchecked: bool,
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
    /// Runs that the server's own scheduler made.
    pub(crate) servers: u64,
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
        self.servers += other.servers;
    }
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
        let file = File::any(&mut dice, t, profile.mirrors);
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
            copies: BTreeMap::new(),
            file,
            store: Store::in_memory(&options).unwrap(),
            ledger: Ledger::default(),
            process: None,
            processes: 0,
            ids: 0,
            calm: false,
            unchecked: false,
            retries_unknown: Vec::new(),
            told: told.then(Vec::new),
            numbers: Numbers::default(),
        };
        world.note_policies();
        world
    }

    /// A life of some days, and then calm, in which everything must come to its end.
    pub(crate) fn live(&mut self) -> Verdict {
        let days = self.dice.range(1, 3);
        self.live_for(days)
    }

    /// A thousand schedules of one day's cadence and more, few faults, a kill a week.
    pub(crate) fn year(seed: u64) -> Self {
        let mut world = Self::new(seed, Mistake::None, false);
        world.profile = Profile::calm();
        world.file = File::thousand(&mut world.dice, world.t);
        world.note_policies();
        world
    }

    pub(crate) fn live_for(&mut self, days: i64) -> Verdict {
        tell!(
            self,
            "seed {}: {:?}, tags {}, {} schedules",
            self.seed,
            self.profile,
            self.api.tags,
            self.file.schedules.len()
        );
        let end = self.t + days * DAY;
        for _ in 0..days * self.profile.events_per_day {
            let at = self.t + self.dice.range(0, days * DAY);
            let operation = self.any_operation();
            self.at(at, Item::Operator(operation));
        }
        self.at(self.t, Item::Boot);
        if self.profile.mirrors {
            let phase = self.dice.range(0, MINUTE);
            self.at(self.t + phase, Item::ServerPoll);
        }
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
                let late = now - TimeDelta::from_std(schedule.policies.jitter).unwrap() - TimeDelta::minutes(5);
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
            && !matches!(
                item,
                Item::Arrive { .. }
                    | Item::Look { .. }
                    | Item::Cancel { .. }
                    | Item::ServerPoll
                    | Item::ServerStart { .. }
                    | Item::LookAtRuns { .. }
                    | Item::CopyChanges { .. }
                    | Item::Operator(_)
            )
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
            Item::ServerPoll => self.server_polls(),
            Item::ServerStart { schedule, copy, due } => self.server_starts(&schedule, &copy, due),
            Item::LookAtRuns { process, look } => {
                self.look_at_runs(process, &look);
                Ok(())
            }
            Item::Mirror { process, step } => self.mirror(process, step),
            Item::CopyChanges { id, copy, enable } => {
                self.copy_changes(&id, &copy, enable);
                Ok(())
            }
            Item::CopyAnswered { process, id, enable, heard, refused } => {
                self.copy_answered(process, id, enable, heard, refused)
            }
            Item::Operator(operation) => self.operate(operation),
        }
    }

    /// What holds between any two steps.
    fn check(&mut self) -> Verdict {
        let Some(process) = &self.process else { return Ok(()) };
        if process.commits.is_empty() && std::mem::take(&mut self.unchecked) {
            let open = &self.ledger.open;
            let lost = open.iter().find(|key| !process.engine.is_open(key));
            ensure!(lost.is_none(), "the engine does not know {lost:?}, which is open in the history");
            // The other direction asks every schedule: not at every step of a year.
            if self.file.schedules.len() < 50 || self.numbers.steps.is_multiple_of(100) {
                let flights = process.engine.snapshot().open.len();
                ensure!(flights == open.len(), "the engine has {flights} open, the history {open:?}");
            }
            if process.stopping && process.engine.launches_in_flight() == 0 {
                self.end_process("everything is answered");
            }
        }
        Ok(())
    }
}
