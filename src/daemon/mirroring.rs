//! The mirror of a running daemon: at its start, after a reload, now and then, and when somebody asks, it looks at the server,
//! settles who fires what, and carries out the plan. It never holds up what is due: it talks to the event loop like anybody.
//!
//! What is to be done is decided by `mirror`, who fires by the engine. Here: when, and what is believed of requests that got no
//! answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::{
    control::Answer,
    event_loop::{Input, Unsettled},
    service::Setup,
};
use crate::{
    clock::{Clock, Stopwatch, delta},
    config::MirrorSettings,
    crash_point::crash_point,
    engine::{
        change::{MirrorCopy, Owner, Ownership, ServerCopy},
        event::{HandoverAnswer, HandoverStep},
    },
    history::{History, Reader},
    ids::{Instance, ScheduleId, ServerScheduleId},
    mirror::{
        ApplyOptions, Content, CopyName, Deed, Deletes, Handover, Observed, Outcome, Plan, PlanSettings, Postponed,
        Records, Server, StepResult, apply, observe, plan,
    },
    schedule::Schedule,
    skyvern::{ApiError, ApiErrorKind, Client, ServerSchedule, WriteErrorKind},
};

/// After a round that failed, the next one comes this soon; doubled each time, up to the interval.
const RETRY: Duration = Duration::from_secs(30);
/// Rounds in a row that follow at once from what the one before did, at most.
const ROUNDS_AT_ONCE_MAX: u32 = 5;

/// A command that wants the mirror applied.
#[derive(Debug)]
pub(super) struct ApplyAsked {
    /// Copies that may be deleted.
    pub(super) deletes: Vec<String>,
    /// The way back.
    pub(super) answer: oneshot::Sender<Answer>,
}

/// The mirror of one daemon.
pub(super) struct Mirroring {
    client: Client,
    clock: Arc<dyn Clock>,
    instance: Instance,
    settings: MirrorSettings,
    /// So long after it left, a request without an answer may still be carried out.
    settle_grace: Duration,
    state_dir: PathBuf,
    history: Arc<History>,
    inputs: mpsc::Sender<Input>,
    wake: Arc<Notify>,
    schedules: watch::Receiver<Vec<Arc<Schedule>>>,
    /// Since this process began: what an earlier one sent may still be carried out for a while.
    since: Stopwatch,
    /// Schedules with a request without an answer, and until when (since the beginning) it may still be carried out.
    doubts: Mutex<BTreeMap<ScheduleId, Duration>>,
    /// When something that was put off may be done.
    later: Mutex<Option<DateTime<Utc>>>,
    /// What was changed at the server, as it was last told.
    told: BTreeSet<String>,
    failures: u32,
    /// There is no daemon.
    alone: bool,
}

/// Why a round broke off.
#[derive(Debug)]
enum Broken {
    /// The loop has gone.
    Stopping,
    /// This could not be read.
    Unread { error: ApiError },
}

/// What came of a round.
#[derive(Debug, Default)]
struct Round {
    plan: Plan,
    results: Vec<StepResult>,
    /// Something was done that makes another look useful at once.
    again: bool,
}

impl Mirroring {
    /// For the daemon of this setup.
    pub(super) fn new(
        setup: &Setup,
        client: Client,
        history: Arc<History>,
        inputs: mpsc::Sender<Input>,
        wake: Arc<Notify>,
        schedules: watch::Receiver<Vec<Arc<Schedule>>>,
    ) -> Self {
        let settings = &setup.config.settings;
        Self {
            client,
            clock: Arc::clone(&setup.clock),
            instance: settings.instance.clone(),
            settings: settings.mirror.clone(),
            settle_grace: settings.api.settle_grace,
            state_dir: setup.state_dir.clone(),
            history,
            inputs,
            wake,
            schedules,
            since: Stopwatch::start(),
            doubts: Mutex::default(),
            later: Mutex::default(),
            told: BTreeSet::new(),
            failures: 0,
            alone: false,
        }
    }

    /// Makes rounds until the loop has gone.
    pub(super) async fn serve(mut self, mut asked: mpsc::Receiver<ApplyAsked>) {
        let mut wanted: Option<ApplyAsked> = None;
        let mut at_once = 0_u32;
        loop {
            let deletes = match &wanted {
                Some(asked) => {
                    Deletes::Only(asked.deletes.iter().filter_map(|id| ServerScheduleId::new(id).ok()).collect())
                }
                // A file that says `prune` has agreed.
                None => Deletes::All,
            };
            let wait = match self.round(deletes, wanted.is_some()).await {
                Ok(Round { results, again, .. }) => {
                    self.failures = 0;
                    if let Some(asked) = wanted.take() {
                        let results = results.iter().map(StepResult::to_json).collect();
                        let _ = asked.answer.send(Answer::Mirrored { results });
                    }
                    at_once = if again { at_once + 1 } else { 0 };
                    if again && at_once <= ROUNDS_AT_ONCE_MAX { Duration::from_secs(1) } else { self.settings.interval }
                }
                Err(Broken::Stopping) => return,
                Err(Broken::Unread { error }) => {
                    let (message, hint) = (error.message, error.hint);
                    self.failures = self.failures.saturating_add(1);
                    if self.failures.is_power_of_two() {
                        let failures = self.failures;
                        tracing::warn!(failures, hint, "the mirror cannot be made: {message}");
                    }
                    if let Some(asked) = wanted.take() {
                        let _ = asked.answer.send(Answer::Error { message: format!("{message} ({hint})") });
                    }
                    RETRY.saturating_mul(1 << self.failures.saturating_sub(1).min(10)).min(self.settings.interval)
                }
            };
            let wait = wait.min(self.until_later());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.wake.notified() => at_once = 0,
                changed = self.schedules.changed() => if changed.is_err() { return },
                next = asked.recv() => match next {
                    Some(next) => wanted = Some(next),
                    None => return,
                },
            }
        }
    }

    /// How long until something that was put off, or is in doubt, is to be looked at again.
    fn until_later(&self) -> Duration {
        let later = self.later.lock().unwrap_or_else(PoisonError::into_inner).take();
        let later = later.map(|at| (at - self.clock.now()).to_std().unwrap_or_default() + Duration::from_secs(1));
        let passed = self.since.elapsed();
        let doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        let doubt = doubts.values().filter(|until| **until > passed).min().map(|until| *until - passed);
        later.into_iter().chain(doubt).min().unwrap_or(Duration::MAX).max(Duration::from_secs(1))
    }

    /// Looks, settles, plans, applies.
    async fn round(&mut self, deletes: Deletes, by_hand: bool) -> Result<Round, Broken> {
        let schedules: Vec<Arc<Schedule>> = self.schedules.borrow_and_update().clone();
        let observed = self.observe(&schedules).await?;
        let unsettled = self.unsettled().await?;
        let mut written = false;
        for (id, ownership) in &unsettled.open {
            written |= self.settle(id, ownership, &observed).await?;
        }
        // Without a daemon nobody fires here: the next one sees to it before it does.
        let not_handed_over = if self.alone { BTreeSet::new() } else { unsettled.not_handed_over };
        let settling: BTreeSet<&ScheduleId> = unsettled.open.iter().map(|(id, _)| id).collect();
        for row in &observed.rows {
            // Enabled by somebody else, or by a request that nobody heard of: both would fire.
            let copy = observed.server.iter().find(|copy| copy.enabled && copy.id == row.server_schedule_id);
            if let Some(copy) = copy
                && not_handed_over.contains(&row.schedule)
                && !settling.contains(&row.schedule)
            {
                tracing::warn!(schedule = %row.schedule, copy = %copy.id, "its copy is enabled at the server while this daemon fires it: it is disabled first");
                written |= self.disable(&row.schedule, copy).await?;
            }
        }
        if written {
            // What was seen is old.
            return Ok(Round { again: true, ..Round::default() });
        }
        // One whose copy is disabled still, although it was to be enabled, may be asked for again.
        let still = self.unsettled().await?.open.into_iter();
        let still = still.filter(|(_, ownership)| ownership.owner != Owner::HandingOver || ownership.copy.is_none());
        let still: BTreeSet<ScheduleId> = still.map(|(id, _)| id).collect();
        let plan_settings = PlanSettings { instance: self.instance.clone(), prune: self.settings.prune };
        let mut plan = plan(&schedules, &observed, &plan_settings, self.clock.now());
        self.tell_drift(&plan);
        if !by_hand {
            plan = plan.for_daemon(self.settings.on_drift);
        }
        plan.steps.retain(|step| !still.contains(&step.schedule));
        if plan.steps.is_empty() && plan.claims.is_empty() {
            return Ok(Round { plan, ..Round::default() });
        }
        crash_point("mirror-planned");
        let options = ApplyOptions::new(self.instance.clone(), deletes);
        let results =
            apply(&self.client, &plan, &options, self.history.as_ref(), &Door(self), self.clock.as_ref()).await;
        for result in &results {
            self.tell_result(result);
        }
        Ok(Round { plan, results, again: false })
    }

    /// For a command without a daemon: until there is nothing more to settle, and then once.
    ///
    /// # Errors
    /// What could not be read, and what to do. Nothing was changed that is not written down.
    pub(super) async fn alone(mut self, deletes: Deletes) -> Result<(Plan, Vec<StepResult>), ApiError> {
        self.alone = true;
        for _ in 0..ROUNDS_AT_ONCE_MAX {
            match self.round(deletes.clone(), true).await {
                Ok(Round { again: true, .. }) => {}
                Ok(Round { plan, results, .. }) => return Ok((plan, results)),
                Err(Broken::Unread { error }) => return Err(error),
                Err(Broken::Stopping) => break,
            }
        }
        Ok((Plan::default(), Vec::new()))
    }

    async fn observe(&self, schedules: &[Arc<Schedule>]) -> Result<Observed, Broken> {
        let (state_dir, now) = (self.state_dir.clone(), self.clock.now());
        let read = tokio::task::spawn_blocking(move || known(&state_dir, now)).await;
        let (rows, paused) = match read {
            Ok(Ok(known)) => known,
            Ok(Err(message)) => {
                let error = ApiError {
                    kind: ApiErrorKind::Unavailable,
                    http_status: None,
                    retry_after: None,
                    message: format!("the history cannot be read: {message}"),
                    hint: "look at the history's disk",
                };
                return Err(Broken::Unread { error });
            }
            Err(_) => return Err(Broken::Stopping),
        };
        match observe(&self.client, schedules, rows, paused).await {
            Ok(observed) => Ok(observed),
            Err(error) => {
                if error.kind == ApiErrorKind::NoSchedules {
                    // Then it fires nothing either.
                    for (id, ownership) in self.unsettled().await?.open {
                        if ownership.owner == Owner::HandingOver {
                            let _ = self.step(&id, HandoverStep::NotGiven { why: error.message.clone() }).await?;
                        }
                    }
                }
                Err(Broken::Unread { error })
            }
        }
    }

    /// Settles who fires one schedule, as far as what was seen allows. `true`: something was written at the server.
    async fn settle(&self, id: &ScheduleId, ownership: &Ownership, observed: &Observed) -> Result<bool, Broken> {
        let Some(name) = &ownership.copy else { return self.settle_new(id, ownership, observed).await };
        let copy = observed.server.iter().find(|copy| copy.id == name.id);
        let now = self.clock.now();
        let enabled = copy.filter(|copy| copy.enabled);
        match (ownership.owner, enabled) {
            (Owner::HandingOver, Some(enabled)) => {
                if let Some(modified_at) = enabled.modified_at {
                    let _ = self.step(id, HandoverStep::Given { modified_at }).await?;
                } else {
                    let _ = self.step(id, HandoverStep::Take).await?;
                }
                Ok(false)
            }
            // The request may be on its way.
            (Owner::HandingOver, None) if now < ownership.since + delta(self.settle_grace) => {
                self.come_back(ownership.since + delta(self.settle_grace));
                Ok(false)
            }
            (Owner::HandingOver, None) => {
                let why = "its copy at the server is disabled".to_owned();
                self.step(id, HandoverStep::NotGiven { why }).await.map(|_| false)
            }
            (_, Some(enabled)) => {
                if let Ok(HandoverAnswer::Go) = self.step(id, HandoverStep::Take).await? {
                    return self.disable(id, enabled).await;
                }
                Ok(false)
            }
            (_, None) => {
                self.taken(id).await?;
                Ok(false)
            }
        }
    }

    /// One that is new in the file, or was before it was known which copy it has.
    async fn settle_new(&self, id: &ScheduleId, ownership: &Ownership, observed: &Observed) -> Result<bool, Broken> {
        let rows = observed.rows.iter().filter(|row| row.schedule == *id).map(|row| &row.server_schedule_id);
        let named = self.schedules.borrow().iter().find(|schedule| schedule.id == *id).cloned();
        let mut ids: BTreeSet<ServerScheduleId> = rows.cloned().collect();
        ids.extend(named.as_ref().and_then(|schedule| schedule.server_schedule_id.clone()));
        let marked = |copy: &ServerSchedule| {
            crate::mirror::Marker::find(copy.description.as_deref())
                .is_some_and(|marker| marker.instance == self.instance && marker.schedule == *id)
        };
        let mut enabled =
            observed.server.iter().filter(|copy| copy.enabled && (ids.contains(&copy.id) || marked(copy)));
        let (first, more) = (enabled.next(), enabled.next().is_some());
        let fits = |copy: &&ServerSchedule| {
            !more && named.as_ref().is_some_and(|schedule| schedule.workflow_id == copy.workflow_id)
        };
        match (ownership.owner, first) {
            (Owner::HandingOver, Some(copy)) if fits(&copy) => {
                let copy = ServerCopy { id: copy.id.clone(), workflow_id: copy.workflow_id.clone() };
                let _ = self.step(id, HandoverStep::Found { copy }).await?;
                Ok(false)
            }
            (_, Some(copy)) => self.disable(id, copy).await,
            (Owner::HandingOver, None) => {
                let why = "the server has no enabled copy of it".to_owned();
                self.step(id, HandoverStep::NotGiven { why }).await.map(|_| false)
            }
            (_, None) => {
                self.taken(id).await?;
                Ok(false)
            }
        }
    }

    /// Disables a copy, and writes down that it is. The engine is told once no request can be on its way any more.
    async fn disable(&self, id: &ScheduleId, copy: &ServerSchedule) -> Result<bool, Broken> {
        crash_point("mirror-before-disable");
        match Server::disable(&self.client, &copy.workflow_id, &copy.id).await {
            Ok(_) => {
                crash_point("mirror-after-disable");
                let content = Content { enabled: false, ..Content::of_server(copy) };
                let row = MirrorCopy {
                    server_schedule_id: copy.id.clone(),
                    instance: self.instance.clone(),
                    schedule: id.clone(),
                    workflow_id: copy.workflow_id.clone(),
                    applied: content.to_json(),
                };
                if let Err(error) = self.history.owned(row, self.clock.now()).await {
                    tracing::warn!(schedule = %id, error, "what was done at the server could not be written down");
                }
                self.taken(id).await?;
                Ok(true)
            }
            Err(error) => {
                if error.kind == WriteErrorKind::Unknown {
                    self.doubt(id);
                }
                self.come_back(self.clock.now() + delta(RETRY));
                tracing::warn!(schedule = %id, %error, hint = error.hint, "its copy at the server could not be disabled yet; what is due is held");
                Ok(false)
            }
        }
    }

    /// Tells the engine that the copy is disabled, unless a request that enables it may still be on its way.
    async fn taken(&self, id: &ScheduleId) -> Result<(), Broken> {
        let doubt = {
            let doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
            doubts.get(id).copied().unwrap_or_default().max(self.settle_grace)
        };
        let passed = self.since.elapsed();
        if passed < doubt && !self.alone {
            self.come_back(self.clock.now() + delta(doubt - passed));
            return Ok(());
        }
        self.step(id, HandoverStep::Taken).await.map(|_| ())
    }

    fn doubt(&self, id: &ScheduleId) {
        let until = self.since.elapsed() + self.settle_grace;
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), until);
    }

    fn come_back(&self, at: DateTime<Utc>) {
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        *later = Some(later.map_or(at, |other| other.min(at)));
    }

    /// One step, told to the engine; its answer comes once what follows is durable.
    async fn step(&self, id: &ScheduleId, step: HandoverStep) -> Result<Result<HandoverAnswer, String>, Broken> {
        let (answer, answered) = oneshot::channel();
        let input = Input::Handover { schedule: id.clone(), step, answer };
        self.inputs.send(input).await.map_err(|_| Broken::Stopping)?;
        let answer = answered.await.map_err(|_| Broken::Stopping)?;
        match &answer {
            Ok(HandoverAnswer::Postponed { until: Some(until), .. }) => self.come_back(*until),
            Ok(_) => {}
            Err(why) => tracing::warn!(schedule = %id, "it is not handed over: {why}"),
        }
        Ok(answer)
    }

    async fn unsettled(&self) -> Result<Unsettled, Broken> {
        let (answer, answered) = oneshot::channel();
        self.inputs.send(Input::Unsettled(answer)).await.map_err(|_| Broken::Stopping)?;
        answered.await.map_err(|_| Broken::Stopping)
    }

    /// Each difference once, and when it is gone.
    fn tell_drift(&mut self, plan: &Plan) {
        let line = |step: &crate::mirror::Step| {
            let fields: Vec<&str> = step.changes.iter().map(|change| change.field).collect();
            let fields = if fields.is_empty() { String::new() } else { format!(" ({})", fields.join(", ")) };
            format!("{}: {}{fields}", step.schedule, step.reason)
        };
        let drift: BTreeSet<String> = plan.drift().map(line).collect();
        for new in drift.difference(&self.told) {
            let on_drift = self.settings.on_drift.word();
            tracing::warn!(on_drift, "changed at the server: {new}");
        }
        for gone in self.told.difference(&drift) {
            tracing::info!("no more changed at the server: {gone}");
        }
        self.told = drift;
    }

    fn tell_result(&self, result: &StepResult) {
        let step = &result.step;
        let (schedule, deed) = (&step.schedule, step.deed);
        let copy = result.server_id.as_ref().map(ToString::to_string);
        match &result.outcome {
            Outcome::Done => tracing::info!(%schedule, copy, "mirror: {deed}, done: {}", step.reason),
            Outcome::Later(why) => tracing::info!(%schedule, copy, "mirror: {deed}, later: {why}"),
            Outcome::NotTried(why) => tracing::warn!(%schedule, copy, "mirror: {deed}, not tried: {why}"),
            Outcome::Failed(error) => {
                if error.kind == WriteErrorKind::Unknown && matches!(deed, Deed::Enable | Deed::Update | Deed::Disable)
                {
                    self.doubt(schedule);
                }
                self.come_back(self.clock.now() + delta(RETRY));
                tracing::warn!(%schedule, copy, %error, hint = error.hint, "mirror: {deed}, not done");
            }
            Outcome::Unrecorded(why) => {
                tracing::error!(%schedule, copy, "mirror: {deed}, done and not written down: {why}");
            }
        }
    }
}

/// What the history knows to be ours, and what is paused.
fn known(state_dir: &std::path::Path, now: DateTime<Utc>) -> Result<(Vec<MirrorCopy>, BTreeSet<ScheduleId>), String> {
    let reader = Reader::open(state_dir).map_err(|error| error.to_string())?;
    let rows = reader.mirror().map_err(|error| error.to_string())?;
    let schedules = reader.schedules().map_err(|error| error.to_string())?.into_iter();
    let paused = schedules
        .filter(|known| known.pause.as_ref().is_some_and(|pause| pause.until.is_none_or(|until| until > now)))
        .map(|known| known.id);
    Ok((rows, paused.collect()))
}

/// The engine behind the mirror's door. Where the loop has gone, nothing is begun any more.
struct Door<'a>(&'a Mirroring);

impl Door<'_> {
    async fn before(&self, id: &ScheduleId, step: HandoverStep) -> Result<(), Postponed> {
        match self.0.step(id, step).await {
            Ok(Ok(HandoverAnswer::Go)) => Ok(()),
            Ok(Ok(HandoverAnswer::Postponed { why, .. }) | Err(why)) => Err(Postponed(why)),
            Err(_) => Err(Postponed("the daemon is stopping".to_owned())),
        }
    }

    async fn after(&self, id: &ScheduleId, step: HandoverStep) {
        // What could not be told is found by the next look.
        let _ = self.0.step(id, step).await;
    }
}

impl Handover for Door<'_> {
    async fn before_enable(&self, schedule: &ScheduleId, copy: &CopyName) -> Result<(), Postponed> {
        let copy = ServerCopy { id: copy.id.clone(), workflow_id: copy.workflow_id.clone() };
        let answer = self.before(schedule, HandoverStep::Give { copy }).await;
        crash_point("mirror-before-enable");
        answer
    }

    async fn enabled(&self, schedule: &ScheduleId, _: &CopyName, modified_at: Option<DateTime<Utc>>) {
        crash_point("mirror-after-enable");
        if let Some(modified_at) = modified_at {
            self.after(schedule, HandoverStep::Given { modified_at }).await;
        }
    }

    async fn not_enabled(&self, schedule: &ScheduleId, _: &CopyName, why: &str) {
        self.after(schedule, HandoverStep::NotGiven { why: why.to_owned() }).await;
    }

    async fn before_disable(&self, schedule: &ScheduleId, _: &CopyName) -> Result<(), Postponed> {
        self.before(schedule, HandoverStep::Take).await
    }

    async fn disabled(&self, schedule: &ScheduleId, _: &CopyName, _: Option<DateTime<Utc>>) {
        let _ = self.0.taken(schedule).await;
    }

    async fn before_rewrite(&self, schedule: &ScheduleId, _: &CopyName) -> Result<(), Postponed> {
        self.before(schedule, HandoverStep::Touch).await
    }

    async fn rewritten(&self, _: &ScheduleId, _: &CopyName, _: Option<DateTime<Utc>>) {}
}

/// Hands requests for the mirror to it, and everything else on.
pub(super) async fn sort_requests(
    mut requests: mpsc::Receiver<super::control::Asked>,
    mirror: Option<mpsc::Sender<ApplyAsked>>,
    inputs: mpsc::Sender<Input>,
) {
    while let Some(asked) = requests.recv().await {
        let sent = match (asked.request, &mirror) {
            (super::control::Request::MirrorApply { deletes }, Some(mirror)) => {
                mirror.send(ApplyAsked { deletes, answer: asked.answer }).await.is_ok()
            }
            (request, _) => {
                inputs.send(Input::Asked(super::control::Asked { request, answer: asked.answer })).await.is_ok()
            }
        };
        if !sent {
            return;
        }
    }
}
