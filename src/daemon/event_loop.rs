//! The one loop that owns the engine: whatever can happen becomes an event, the engine decides, the rows are made durable,
//! and only then the deeds are done.
//!
//! It decides nothing and knows no SQL and no HTTP. Commits overlap with further turns: while rows are on their way to the
//! disk, the next events are taken in; deeds wait for the commit of their own turn.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::{
    alarm::{Channels, Decider},
    clock::{Clock, Stopwatch, rfc3339_millis},
    crash_point::crash_point,
    daemon::{
        control::{Answer, ApiHeard, Asked, Request},
        log,
        metrics::Metrics,
        notify,
        standing::Standing,
        timer::WallTimer,
    },
    dispatch::Dispatcher,
    engine::{
        Action, Change, Engine, Event, Overview, OverviewOf, Turn,
        change::{Ownership, Pause},
        event::{HandoverAnswer, HandoverStep, RequestId},
    },
    history::{Durable, History, HistoryError, Stall},
    ids::{OccurrenceKey, ScheduleId},
    pulse::Pulse,
};

/// Events that are taken into one turn, and so into one transaction.
const EVENTS_PER_TURN_MAX: usize = 1024;
/// A clock that moved by this much more or less than the time that passed was set (or the machine slept). Twice the bound of
/// what a running time service slews away in the same time is allowed on top.
const CLOCK_STEP_SECONDS_MIN: i64 = 2;
const CLOCK_SLEW_PER_MILLE_MAX: i64 = 1;

/// Why the loop ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum LoopError {
    /// A row could not be written, and never will be. Nothing was done that it would have recorded.
    #[error("the history cannot be written")]
    History(#[source] Arc<HistoryError>),
    /// The kernel's timer failed.
    #[error("the timer failed")]
    Timer(#[source] io::Error),
}

/// What comes to the loop from outside.
#[derive(Debug)]
pub enum Input {
    /// A command, over the control socket.
    Asked(Asked),
    /// An event that was made elsewhere (a reload).
    Event(Box<Event>),
    /// Who is told of what, as the file that follows has it.
    Channels(Arc<Channels>),
    /// A step of handing a schedule over to the server or back, and where its answer goes.
    Handover {
        /// The schedule.
        schedule: ScheduleId,
        /// The step.
        step: HandoverStep,
        /// The way back.
        answer: oneshot::Sender<Result<HandoverAnswer, String>>,
    },
    /// Who fires what, as far as it is not as it should be, and where that is told.
    Unsettled(oneshot::Sender<Unsettled>),
    /// Tell the status how it is.
    Look(OverviewOf, oneshot::Sender<Sight>),
    /// Write the state to the log.
    State {
        /// What is wrong with the file on the disk, if it is not the one that is in force.
        refused: Option<String>,
    },
    /// Nothing: taking it is a sign of life.
    Probe,
    /// End in order.
    Stop,
}

/// Who fires what, as far as it is not as it should be.
#[derive(Debug)]
pub struct Unsettled {
    /// Of these it is not settled.
    pub open: Vec<(ScheduleId, Ownership)>,
    /// The server is to fire these, and this daemon does as yet.
    pub not_handed_over: BTreeSet<ScheduleId>,
}

/// The loop, its engine and its history at a moment.
#[derive(Debug, Clone)]
pub struct Sight {
    /// The engine.
    pub overview: Overview,
    /// Rows cannot be written, since when and why.
    pub stall: Option<Stall>,
}

/// When the loop ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// Only when it is told to.
    Stopped,
    /// When it is decided of each of these whether it starts.
    Launched(Vec<OccurrenceKey>),
    /// When each of these is over.
    Ended(Vec<OccurrenceKey>),
}

/// The loop and what it owns.
pub struct EventLoop {
    engine: Engine,
    history: Arc<History>,
    dispatcher: Dispatcher,
    /// Who decides about alarms, and what is rung when some were written; `None`: nobody is told.
    alarms: Option<(Decider, Arc<Notify>)>,
    clock: Arc<dyn Clock>,
    timer: WallTimer,
    events: mpsc::Receiver<Event>,
    inputs: mpsc::Receiver<Input>,
    /// Deeds that wait for their commit, in the order of the turns.
    commits: VecDeque<Commit>,
    answers: HashMap<RequestId, oneshot::Sender<Answer>>,
    handovers: HashMap<RequestId, oneshot::Sender<Result<HandoverAnswer, String>>>,
    /// The mirror is told here that it has something to do.
    mirror: Arc<Notify>,
    requests: u64,
    /// The wall clock and a stopwatch, read together: how far the two have come apart since says whether the clock was set.
    clocks: (DateTime<Utc>, Stopwatch),
    /// When this was made.
    up_since: DateTime<Utc>,
    stop_grace: Duration,
    standing: watch::Sender<Standing>,
    turns: Arc<Pulse>,
    /// Who waits for the boot to be durable.
    ready: Option<oneshot::Sender<()>>,
    metrics: Option<Arc<Metrics>>,
}

struct Commit {
    durable: Durable,
    actions: Vec<Action>,
    /// Alarms are among the rows.
    raised: bool,
}

impl EventLoop {
    /// A loop over an engine that has not booted yet.
    ///
    /// # Errors
    /// The kernel gives no timer.
    pub fn new(
        engine: Engine,
        history: Arc<History>,
        dispatcher: Dispatcher,
        clock: Arc<dyn Clock>,
        events: mpsc::Receiver<Event>,
        inputs: mpsc::Receiver<Input>,
        stop_grace: Duration,
    ) -> io::Result<Self> {
        let clocks = (clock.now(), Stopwatch::start());
        let up_since = clocks.0;
        Ok(Self {
            engine,
            history,
            dispatcher,
            alarms: None,
            timer: WallTimer::new()?,
            clock,
            events,
            inputs,
            commits: VecDeque::new(),
            answers: HashMap::new(),
            handovers: HashMap::new(),
            mirror: Arc::default(),
            requests: 0,
            clocks,
            up_since,
            stop_grace,
            standing: watch::Sender::default(),
            turns: Arc::default(),
            ready: None,
            metrics: None,
        })
    }

    /// Raises alarms for what happens from now on, and rings `bell` when some are written.
    #[must_use]
    pub fn with_alarms(self, decider: Decider, bell: Arc<Notify>) -> Self {
        Self { alarms: Some((decider, bell)), ..self }
    }

    /// Where the mirror is told that it has something to do.
    #[must_use]
    pub fn mirror(&self) -> Arc<Notify> {
        Arc::clone(&self.mirror)
    }

    /// Counted at every turn.
    #[must_use]
    pub fn turns(&self) -> Arc<Pulse> {
        Arc::clone(&self.turns)
    }

    /// Where the daemon stands; others may add to it.
    pub(super) fn standing(&self) -> watch::Sender<Standing> {
        self.standing.clone()
    }

    /// Resolves once the boot is durable: from then on, what is due is fired.
    pub fn ready(&mut self) -> oneshot::Receiver<()> {
        let (ready, booted) = oneshot::channel();
        self.ready = Some(ready);
        booted
    }

    /// Counts what happens from now on.
    pub fn count(&mut self, metrics: Arc<Metrics>) {
        self.metrics = Some(metrics);
    }

    /// Boots the engine with `boot`, and goes on until `until`.
    ///
    /// # Errors
    /// A row that can never be written, or a timer that fails. What was under way is in the history as it is.
    pub async fn run(&mut self, boot: Event, until: &Until) -> Result<(), LoopError> {
        self.turn([boot]).await?;
        self.go_on(until).await
    }

    /// Goes on until `until`, on a booted engine.
    ///
    /// # Errors
    /// As [`EventLoop::run`].
    pub async fn go_on(&mut self, until: &Until) -> Result<(), LoopError> {
        loop {
            if self.reached(until) {
                return self.stop().await;
            }
            let next = self.engine.next_wake().into_iter().chain(self.next_alarm()).min();
            self.timer.set(next).map_err(LoopError::Timer)?;
            self.standing.send_if_modified(|standing| standing.look_at(&self.engine));
            self.turns.beat();
            tokio::select! {
                biased;
                committed = committed(&mut self.commits) => self.done(committed)?,
                input = self.inputs.recv() => match input {
                    Some(Input::Stop) | None => return self.stop().await,
                    Some(input) => self.input(input).await?,
                },
                woken = self.timer.woken() => {
                    woken.map_err(LoopError::Timer)?;
                    self.turn([Event::Wake]).await?;
                }
                Some(event) = self.events.recv() => {
                    let mut batch = vec![event];
                    while batch.len() < EVENTS_PER_TURN_MAX && let Ok(event) = self.events.try_recv() {
                        batch.push(event);
                    }
                    self.turn(batch).await?;
                }
            }
        }
    }

    /// Boots the engine with `boot`, hands it a request from inside this process, and answers once what follows is durable.
    ///
    /// # Errors
    /// As [`EventLoop::run`]; a refusal of the engine is an answer.
    pub async fn boot_and_ask(&mut self, boot: Event, request: Request) -> Result<Answer, LoopError> {
        self.turn([boot]).await?;
        let (answer, mut answered) = oneshot::channel();
        self.input(Input::Asked(Asked { request, answer })).await?;
        loop {
            if let Ok(answer) = answered.try_recv() {
                return Ok(answer);
            }
            let committed = committed(&mut self.commits).await;
            self.done(committed)?;
        }
    }

    /// One turn: the events in their order, one transaction, and its deeds once it is durable.
    async fn turn(&mut self, events: impl IntoIterator<Item = Event>) -> Result<(), LoopError> {
        let now = self.clock.now();
        let mut turn = Turn::default();
        if let Some(by) = self.clock_step(now) {
            self.timer.forget();
            // Everything that was decided so far is asked about, also what is not durable yet: the answer comes after it.
            let ahead = if by < TimeDelta::zero() {
                self.history.ahead(now).await.map_err(LoopError::History)?
            } else {
                Vec::new()
            };
            self.engine.handle(now, Event::ClockStepped { by, ahead }, &mut turn);
        }
        for event in events {
            if let (Event::Reload { schedules }, Some((alarms, _))) = (&event, &mut self.alarms) {
                alarms.set_schedules(now, schedules);
            }
            self.engine.handle(now, event, &mut turn);
        }
        // In the same transaction as what they are about.
        let alarms = self.alarms.as_mut().map(|(decider, _)| decider.decide(now, &turn.changes)).unwrap_or_default();
        let raised = alarms.iter().any(|change| matches!(change, Change::AlarmRaised(_)));
        turn.changes.extend(alarms);
        if turn.changes.is_empty() {
            // Nothing to be recorded: what is left to do are answers and the like, which depend on no row.
            self.act(turn.actions);
            return Ok(());
        }
        for change in &turn.changes {
            log::change(change);
            if let Some(metrics) = &self.metrics {
                metrics.change(change);
            }
            self.standing.send_if_modified(|standing| standing.note(change));
        }
        crash_point("before-commit");
        let durable = self.history.submit(turn.changes).await.map_err(LoopError::History)?;
        self.commits.push_back(Commit { durable, actions: turn.actions, raised });
        Ok(())
    }

    fn done(&mut self, committed: Result<(Vec<Action>, bool), Arc<HistoryError>>) -> Result<(), LoopError> {
        let (actions, raised) = committed.map_err(LoopError::History)?;
        crash_point("after-commit");
        self.act(actions);
        if let Some((_, bell)) = self.alarms.as_ref().filter(|_| raised) {
            bell.notify_one();
        }
        // Commits end in the order of the turns, and the boot is the first.
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(());
        }
        Ok(())
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Answer { request, result } => {
                    if let Some(answer) = self.answers.remove(&request) {
                        let _ = answer.send(match result {
                            Ok(keys) => Answer::Done { occurrences: keys.iter().map(ToString::to_string).collect() },
                            Err(message) => Answer::Error { message },
                        });
                    }
                }
                Action::Handover { request, result } => {
                    if let Some(answer) = self.handovers.remove(&request) {
                        let _ = answer.send(result);
                    }
                }
                Action::Mirror => self.mirror.notify_one(),
                action => self.dispatcher.carry_out(action),
            }
        }
    }

    async fn input(&mut self, input: Input) -> Result<(), LoopError> {
        match input {
            Input::Channels(channels) => {
                if let Some((alarms, _)) = &mut self.alarms {
                    alarms.set_channels(channels);
                }
                Ok(())
            }
            Input::Event(event) => {
                let reload = matches!(*event, Event::Reload { .. } | Event::ReloadRefused { .. });
                self.turn([*event]).await?;
                if reload {
                    notify::ready();
                }
                Ok(())
            }
            Input::Handover { schedule, step, answer } => {
                let request = self.next_request();
                self.handovers.insert(request, answer);
                self.turn([Event::Handover { request, schedule, step }]).await
            }
            Input::Unsettled(answer) => {
                let (open, not_handed_over) = (self.engine.unsettled(), self.engine.not_handed_over());
                let _ = answer.send(Unsettled { open, not_handed_over });
                Ok(())
            }
            Input::State { refused } => {
                crash_point("in-state");
                log::state(&self.engine.snapshot(), self.clock.now(), refused.as_deref());
                Ok(())
            }
            Input::Stop | Input::Probe => Ok(()),
            Input::Look(of, answer) => {
                let overview = self.engine.overview(self.clock.now(), &of);
                let _ = answer.send(Sight { overview, stall: self.history.stall() });
                Ok(())
            }
            Input::Asked(Asked { request: Request::State, answer }) => {
                let _ = answer.send(self.state());
                Ok(())
            }
            Input::Asked(Asked { request, answer }) => {
                let id = self.next_request();
                let event = match event_of(id, request, self.clock.now()) {
                    Ok(event) => event,
                    Err(message) => {
                        let _ = answer.send(Answer::Error { message });
                        return Ok(());
                    }
                };
                self.answers.insert(id, answer);
                self.turn([event]).await
            }
        }
    }

    fn next_alarm(&self) -> Option<DateTime<Utc>> {
        self.alarms.as_ref().and_then(|(alarms, _)| alarms.next_wake())
    }

    fn state(&self) -> Answer {
        let snapshot = self.engine.snapshot();
        let stall = self.history.stall();
        let stalled = stall.map(|stall| format!("since {}: {}", rfc3339_millis(stall.since), stall.reason));
        let heard = self.dispatcher.heard();
        let api = heard.map(|(ago, trouble)| ApiHeard { seconds_ago: ago.as_secs(), trouble });
        let (schedules, open) = (snapshot.schedules, snapshot.open.len());
        Answer::State { schedules, open, stalled, since: Some(self.up_since), api }
    }

    fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn reached(&self, until: &Until) -> bool {
        match until {
            Until::Stopped => false,
            Until::Launched(keys) => !keys.iter().any(|key| self.engine.awaits_launch(key)),
            Until::Ended(keys) => !keys.iter().any(|key| self.engine.is_open(key)),
        }
    }

    /// Ends in order: nothing new is started, the answers to what was started are waited for, every row is made durable.
    /// Runs that are going are followed again by the next process.
    async fn stop(&mut self) -> Result<(), LoopError> {
        crash_point("in-stop");
        notify::stopping();
        self.standing.send_modify(|standing| standing.stopping = true);
        self.turn([Event::Stop]).await?;
        let grace = tokio::time::sleep(self.stop_grace);
        tokio::pin!(grace);
        while self.engine.launches_in_flight() > 0 || !self.commits.is_empty() {
            tokio::select! {
                biased;
                committed = committed(&mut self.commits) => self.done(committed)?,
                Some(event) = self.events.recv() => self.turn([event]).await?,
                // Whoever asks now is told that the daemon is stopping, as the way to answer is dropped.
                Some(_) = self.inputs.recv() => self.turns.beat(),
                () = &mut grace => {
                    let launches = self.engine.launches_in_flight();
                    tracing::warn!(launches, "stopping without the answers to some starts; the next start looks for their runs");
                    break;
                }
            }
        }
        Ok(())
    }

    /// How far the wall clock moved by itself since the last look; `None`: not at all.
    fn clock_step(&mut self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let (then, watch) = &self.clocks;
        let passed = crate::clock::delta(watch.elapsed());
        let by = (now - *then) - passed;
        let slewed = passed * i32::try_from(CLOCK_SLEW_PER_MILLE_MAX).unwrap_or(1) / 1000;
        self.clocks = (now, Stopwatch::start());
        (by.abs() > TimeDelta::seconds(CLOCK_STEP_SECONDS_MIN) + slewed).then_some(by)
    }
}

/// The deeds of the oldest turn, once its rows are durable; never, while nothing is on its way.
async fn committed(commits: &mut VecDeque<Commit>) -> Result<(Vec<Action>, bool), Arc<HistoryError>> {
    let Some(commit) = commits.front_mut() else { return std::future::pending().await };
    let durable = (&mut commit.durable).await;
    let done = commits.pop_front().map(|commit| (commit.actions, commit.raised)).unwrap_or_default();
    durable.map(|()| done)
}

fn event_of(request: RequestId, asked: Request, now: DateTime<Utc>) -> Result<Event, String> {
    let id = |schedule: String| ScheduleId::new(&schedule).map_err(|error| format!("the id {schedule:?} {error}"));
    Ok(match asked {
        Request::Trigger { schedule, parameters } => Event::Trigger { request, schedule: id(schedule)?, parameters },
        Request::Backfill { schedule, from, to } => Event::Backfill { request, schedule: id(schedule)?, from, to },
        Request::Pause { schedule, note, until } => {
            Event::Pause { request, schedule: id(schedule)?, pause: Some(Pause { since: now, until, note }) }
        }
        Request::Resume { schedule } => Event::Pause { request, schedule: id(schedule)?, pause: None },
        Request::MirrorApply { .. } => {
            return Err("[mirror] enabled = true is not in the file that this daemon started with".to_owned());
        }
        Request::State => return Err("the state is told by the loop, nothing has to happen for it".to_owned()),
    })
}
