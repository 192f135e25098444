//! Carrying out a plan: one request after the other, each with its row, and each failure told where it happened.
//!
//! If the process dies anywhere in here, the next plan finds what was done: a copy that was made and not written down is
//! known by its marker. A request without an answer is looked after before it is sent again, and before the first copy of a
//! workflow is made its list is read afresh: nothing is made twice.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use super::{
    content::Content,
    handover::{CopyName, Handover},
    marker::Marker,
    plan::{Deed, Plan, Step},
    records::Records,
    server::Server,
};
use crate::{
    clock::Clock,
    crash_point::crash_point,
    engine::change::MirrorCopy,
    ids::{Instance, ScheduleId, ServerScheduleId, WorkflowId},
    skyvern::{ApiErrorKind, ScheduleDraft, ServerSchedule, WriteError, WriteErrorKind},
};

/// How often a request is sent at most.
const TRIES_MAX: u32 = 3;
/// How often is looked whether a request without an answer was carried out, before it is sent again.
const LOOKS_MAX: u32 = 3;
/// A server that asks to wait longer is asked again by the next apply.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After so many steps in a row that could not be done, the rest is left to the next apply.
const FAILURES_MAX: u32 = 3;

/// Which copies may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletes {
    /// Whatever the plan says.
    All,
    /// These, which somebody saw and agreed to.
    Only(BTreeSet<ServerScheduleId>),
}

/// How a plan is carried out.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// This installation, for the markers.
    pub instance: Instance,
    /// Which copies may be deleted.
    pub deletes: Deletes,
    /// Before the first retry and the first look; doubled from one to the next.
    pub pause: Duration,
}

impl ApplyOptions {
    /// The defaults: a second.
    #[must_use]
    pub fn new(instance: Instance, deletes: Deletes) -> Self {
        Self { instance, deletes, pause: Duration::from_secs(1) }
    }
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done, and written down.
    Done,
    /// Not now: whoever fires is busy with it. The next apply tries again.
    Later(String),
    /// The server did not do it, or nobody knows.
    Failed(WriteError),
    /// Not tried, because of what came before, or because it was not allowed.
    NotTried(String),
    /// Done at the server, and could not be written down. Nothing more was tried.
    Unrecorded(String),
}

/// A step, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct StepResult {
    /// The step.
    pub step: Step,
    /// The copy, also one that was made just now.
    pub server_id: Option<ServerScheduleId>,
    /// What came of it.
    pub outcome: Outcome,
}

/// Carries out a plan: a result for each of its steps, in their order.
pub async fn apply(
    server: &impl Server,
    plan: &Plan,
    options: &ApplyOptions,
    records: &impl Records,
    handover: &impl Handover,
    clock: &dyn Clock,
) -> Vec<StepResult> {
    let known = plan.copies.iter().map(|copy| copy.copy.id.clone()).collect();
    let mut apply = Apply {
        server,
        options,
        records,
        handover,
        clock,
        known,
        looked: BTreeMap::new(),
        made: HashMap::new(),
        like: HashMap::new(),
        failed: BTreeSet::new(),
        failures: 0,
        stop: None,
        no_creates: None,
    };
    for claim in &plan.claims {
        if let Err(why) = records.owned(claim.clone(), clock.now()).await {
            apply.stop = Some(format!("the history cannot be written: {why}"));
        }
    }
    let mut results = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        let outcome = apply.step(step).await;
        let server_id = step.server_id.clone().or_else(|| apply.made.get(&step.schedule).map(|copy| copy.id.clone()));
        results.push(StepResult { step: step.clone(), server_id, outcome });
    }
    results
}

struct Apply<'a, S, R, H> {
    server: &'a S,
    options: &'a ApplyOptions,
    records: &'a R,
    handover: &'a H,
    clock: &'a dyn Clock,
    /// Copies that the plan knows.
    known: BTreeSet<ServerScheduleId>,
    /// What a workflow had when it was looked at, before the first copy was made there.
    looked: BTreeMap<WorkflowId, Vec<ServerSchedule>>,
    made: HashMap<ScheduleId, CopyName>,
    /// What this apply wrote down about a copy.
    like: HashMap<ServerScheduleId, Content>,
    /// Schedules of which a step was not done: what builds on it is not tried.
    failed: BTreeSet<ScheduleId>,
    /// In a row.
    failures: u32,
    stop: Option<String>,
    no_creates: Option<String>,
}

/// A change at the server.
enum Request<'a> {
    Create(&'a ScheduleDraft),
    Update(&'a ServerScheduleId, &'a ScheduleDraft),
    Enable(&'a ServerScheduleId),
    Disable(&'a ServerScheduleId),
    Delete(&'a ServerScheduleId),
}

/// How a request ended that was not done.
struct Undone {
    error: WriteError,
    /// One of its tries may still be carried out.
    open: bool,
}

impl<S: Server, R: Records, H: Handover> Apply<'_, S, R, H> {
    async fn step(&mut self, step: &Step) -> Outcome {
        if let Some(why) = &self.stop {
            return Outcome::NotTried(why.clone());
        }
        let builds_on_others = matches!(step.deed, Deed::Enable | Deed::Delete | Deed::Forget);
        if builds_on_others && self.failed.contains(&step.schedule) {
            return Outcome::NotTried("a step before it was not done".to_owned());
        }
        let outcome = match step.deed {
            Deed::Adopt => match &step.server_id {
                Some(id) => self.own(step, id, (*step.content).clone()).await,
                None => Outcome::Done,
            },
            Deed::Create => self.create(step).await,
            Deed::Update => self.update(step).await,
            Deed::Disable => self.disable(step).await,
            Deed::Enable => self.enable(step).await,
            Deed::Delete => self.delete(step).await,
            Deed::Forget => self.forget(step).await,
        };
        self.learn(step, &outcome);
        outcome
    }

    /// What an outcome means for the steps behind it.
    fn learn(&mut self, step: &Step, outcome: &Outcome) {
        if *outcome != Outcome::Done {
            self.failed.insert(step.schedule.clone());
        }
        let Outcome::Failed(error) = outcome else {
            if let Outcome::Unrecorded(why) = outcome {
                self.stop = Some(format!("the history cannot be written: {why}"));
            }
            self.failures = 0;
            return;
        };
        match error.kind {
            WriteErrorKind::NoSchedules | WriteErrorKind::Unauthorized => self.stop = Some(error.message.clone()),
            WriteErrorKind::LimitReached => {
                self.no_creates = Some(format!("{} (made before: {})", error.message, self.made.len()));
            }
            WriteErrorKind::NotDone | WriteErrorKind::Unknown => {
                self.failures += 1;
                if self.failures >= FAILURES_MAX {
                    self.stop = Some(format!("{} steps before it could not be done", self.failures));
                }
            }
            WriteErrorKind::NotFound | WriteErrorKind::Over | WriteErrorKind::Refused => self.failures = 0,
        }
    }

    async fn create(&mut self, step: &Step) -> Outcome {
        if let Some(why) = &self.no_creates {
            return Outcome::NotTried(why.clone());
        }
        if !self.looked.contains_key(&step.workflow_id) {
            match self.server.of_workflow(&step.workflow_id).await {
                Ok(schedules) => self.looked.insert(step.workflow_id.clone(), schedules),
                Err(error) => return Outcome::Failed(reading_failed(&error)),
            };
        }
        let there = self.looked.get(&step.workflow_id).map(Vec::as_slice).unwrap_or_default();
        if let Some(found) = self.find_copy(there, &step.schedule).cloned() {
            return self.take_over(step, found).await;
        }
        let Some(draft) = step.content.draft(&self.marker(step), false, self.clock.now()) else {
            return Outcome::Failed(undrafted());
        };
        match self.send(step, &Request::Create(&draft)).await {
            Ok(Some(made)) => {
                let outcome = self.own(step, &made.id, (*step.content).clone()).await;
                self.made.insert(step.schedule.clone(), CopyName { id: made.id, workflow_id: made.workflow_id });
                outcome
            }
            Ok(None) => Outcome::Failed(undrafted()),
            Err(undone) => Outcome::Failed(undone.error),
        }
    }

    /// A copy that the plan did not see: made by a request whose answer was lost.
    async fn take_over(&mut self, step: &Step, found: ServerSchedule) -> Outcome {
        let copy = CopyName { id: found.id.clone(), workflow_id: found.workflow_id.clone() };
        self.made.insert(step.schedule.clone(), copy);
        // It is written down as it was found; what differs is the next plan's, and until then nothing builds on it.
        let content = Content::of_server(&found);
        let differs = found.enabled || !content.differences(&step.content, self.clock.now()).is_empty();
        match self.own(step, &found.id, content).await {
            Outcome::Done if differs => {
                Outcome::Later("a copy was found, which the next apply makes equal to the file".to_owned())
            }
            outcome => outcome,
        }
    }

    async fn update(&mut self, step: &Step) -> Outcome {
        let Some(copy) = self.copy(step) else { return Outcome::Failed(undrafted()) };
        let Some(draft) = step.content.draft(&self.marker(step), step.fires, self.clock.now()) else {
            return Outcome::Failed(undrafted());
        };
        if step.fires
            && let Err(postponed) = self.handover.before_rewrite(&step.schedule, &copy).await
        {
            return Outcome::Later(postponed.0);
        }
        match self.send(step, &Request::Update(&copy.id, &draft)).await {
            Ok(answer) => {
                if step.fires {
                    self.handover.rewritten(&step.schedule, &copy, answer.and_then(|copy| copy.modified_at)).await;
                }
                self.own(step, &copy.id, (*step.content).clone()).await
            }
            Err(undone) => Outcome::Failed(undone.error),
        }
    }

    async fn disable(&mut self, step: &Step) -> Outcome {
        let Some(copy) = self.copy(step) else { return Outcome::Failed(undrafted()) };
        if let Err(postponed) = self.handover.before_disable(&step.schedule, &copy).await {
            return Outcome::Later(postponed.0);
        }
        match self.send(step, &Request::Disable(&copy.id)).await {
            Ok(answer) => {
                self.handover.disabled(&step.schedule, &copy, answer.and_then(|copy| copy.modified_at)).await;
                self.own_as(step, &copy.id, false).await
            }
            // Gone: it fires no more either.
            Err(Undone { error: WriteError { kind: WriteErrorKind::NotFound, .. }, .. }) => {
                self.handover.disabled(&step.schedule, &copy, None).await;
                written(self.records.forgotten(&copy.id, self.clock.now()).await)
            }
            Err(undone) => Outcome::Failed(undone.error),
        }
    }

    async fn enable(&mut self, step: &Step) -> Outcome {
        let Some(copy) = self.copy(step) else {
            return Outcome::NotTried("it has no copy at the server".to_owned());
        };
        if let Err(postponed) = self.handover.before_enable(&step.schedule, &copy).await {
            return Outcome::Later(postponed.0);
        }
        match self.send(step, &Request::Enable(&copy.id)).await {
            Ok(answer) => {
                self.handover.enabled(&step.schedule, &copy, answer.and_then(|copy| copy.modified_at)).await;
                self.own_as(step, &copy.id, true).await
            }
            Err(Undone { error, open }) => {
                if !open {
                    self.handover.not_enabled(&step.schedule, &copy, &error.message).await;
                }
                Outcome::Failed(error)
            }
        }
    }

    async fn delete(&mut self, step: &Step) -> Outcome {
        let Some(id) = &step.server_id else { return Outcome::Done };
        if let Deletes::Only(agreed) = &self.options.deletes
            && !agreed.contains(id)
        {
            return Outcome::NotTried("nobody agreed to delete it".to_owned());
        }
        match self.send(step, &Request::Delete(id)).await {
            Ok(_) | Err(Undone { error: WriteError { kind: WriteErrorKind::NotFound, .. }, .. }) => {
                written(self.records.forgotten(id, self.clock.now()).await)
            }
            Err(undone) => Outcome::Failed(undone.error),
        }
    }

    async fn forget(&mut self, step: &Step) -> Outcome {
        match &step.server_id {
            Some(id) => written(self.records.forgotten(id, self.clock.now()).await),
            None => Outcome::Done,
        }
    }

    /// Sends a request, again where that is right, and looks where no answer came.
    async fn send(&self, step: &Step, request: &Request<'_>) -> Result<Option<ServerSchedule>, Undone> {
        let mut open = false;
        let mut tries = 1;
        loop {
            let error = match self.send_once(&step.workflow_id, request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            crash_point("mirror-unanswered");
            match error.kind {
                WriteErrorKind::NotDone if tries < TRIES_MAX => {
                    let asked = error.retry_after.unwrap_or_default();
                    if asked > PAUSE_MAX {
                        return Err(Undone { error, open });
                    }
                    tokio::time::sleep(asked.max(self.options.pause * 2_u32.pow(tries - 1))).await;
                }
                WriteErrorKind::Unknown => {
                    open = true;
                    for look in 0..LOOKS_MAX {
                        tokio::time::sleep(self.options.pause * 2_u32.pow(look)).await;
                        if let Some(found) = self.look(step, request).await {
                            return Ok(found);
                        }
                    }
                    if tries == TRIES_MAX {
                        return Err(Undone { error, open });
                    }
                }
                _ => return Err(Undone { error, open }),
            }
            tries += 1;
        }
    }

    async fn send_once(
        &self,
        workflow: &WorkflowId,
        request: &Request<'_>,
    ) -> Result<Option<ServerSchedule>, WriteError> {
        match request {
            Request::Create(draft) => self.server.create(workflow, draft).await.map(Some),
            Request::Update(id, draft) => self.server.update(workflow, id, draft).await.map(Some),
            Request::Enable(id) => self.server.enable(workflow, id).await.map(Some),
            Request::Disable(id) => self.server.disable(workflow, id).await.map(Some),
            Request::Delete(id) => self.server.delete(workflow, id).await.map(|()| None),
        }
    }

    /// Whether a request without an answer was carried out: what is there then. `None`: not that it can be seen.
    async fn look(&self, step: &Step, request: &Request<'_>) -> Option<Option<ServerSchedule>> {
        let id = match request {
            Request::Create(_) => {
                let there = self.server.of_workflow(&step.workflow_id).await.ok()?;
                return self.find_copy(&there, &step.schedule).cloned().map(Some);
            }
            Request::Update(id, _) | Request::Enable(id) | Request::Disable(id) | Request::Delete(id) => id,
        };
        let found = match (self.server.one(&step.workflow_id, id).await, request) {
            (Err(error), Request::Delete(_)) if error.kind == ApiErrorKind::NotFound => return Some(None),
            (Err(_), _) | (Ok(_), Request::Delete(_)) => return None,
            (Ok(found), _) => found,
        };
        let done = match request {
            Request::Update(_, draft) => {
                Content::of_server(&found).differences(&step.content, self.clock.now()).is_empty()
                    && found.description == draft.description
            }
            Request::Enable(_) => found.enabled,
            Request::Disable(_) => !found.enabled,
            Request::Create(_) | Request::Delete(_) => false,
        };
        done.then_some(Some(found))
    }

    /// A copy with the schedule's marker that the plan did not know.
    fn find_copy<'s>(&self, there: &'s [ServerSchedule], schedule: &ScheduleId) -> Option<&'s ServerSchedule> {
        there.iter().filter(|copy| !self.known.contains(&copy.id)).find(|copy| {
            let marker = Marker::find(copy.description.as_deref());
            marker.is_some_and(|marker| marker.instance == self.options.instance && marker.schedule == *schedule)
        })
    }

    fn copy(&self, step: &Step) -> Option<CopyName> {
        match &step.server_id {
            Some(id) => Some(CopyName { id: id.clone(), workflow_id: step.workflow_id.clone() }),
            None => self.made.get(&step.schedule).cloned(),
        }
    }

    fn marker(&self, step: &Step) -> Marker {
        Marker { instance: self.options.instance.clone(), schedule: step.schedule.clone() }
    }

    /// Writes down that a copy is ours, and what it is like.
    async fn own(&mut self, step: &Step, id: &ServerScheduleId, content: Content) -> Outcome {
        let row = MirrorCopy {
            server_schedule_id: id.clone(),
            instance: self.options.instance.clone(),
            schedule: step.schedule.clone(),
            workflow_id: step.workflow_id.clone(),
            applied: content.to_json(),
        };
        self.like.insert(id.clone(), content);
        crash_point("mirror-before-row");
        let outcome = written(self.records.owned(row, self.clock.now()).await);
        crash_point("mirror-after-row");
        outcome
    }

    /// The same, where only whether it fires has changed.
    async fn own_as(&mut self, step: &Step, id: &ServerScheduleId, enabled: bool) -> Outcome {
        let content = self.like.get(id).cloned().unwrap_or_else(|| (*step.content).clone());
        self.own(step, id, Content { enabled, ..content }).await
    }
}

fn written(result: Result<(), String>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(why) => Outcome::Unrecorded(why),
    }
}

/// A list that could not be read, before a request that was therefore not sent.
fn reading_failed(error: &crate::skyvern::ApiError) -> WriteError {
    let kind = match error.kind {
        ApiErrorKind::NoSchedules => WriteErrorKind::NoSchedules,
        ApiErrorKind::Unauthorized => WriteErrorKind::Unauthorized,
        ApiErrorKind::NotFound => WriteErrorKind::NotFound,
        ApiErrorKind::Refused | ApiErrorKind::Nonsense => WriteErrorKind::Refused,
        ApiErrorKind::RateLimited | ApiErrorKind::Unavailable => WriteErrorKind::NotDone,
    };
    WriteError {
        kind,
        http_status: error.http_status,
        retry_after: error.retry_after,
        message: error.message.clone(),
        hint: error.hint,
    }
}

/// A plan that this program does not make.
fn undrafted() -> WriteError {
    WriteError {
        kind: WriteErrorKind::Refused,
        http_status: None,
        retry_after: None,
        message: "the step says neither when the copy is due nor which it is".to_owned(),
        hint: "this is a mistake in skycron: please report it",
    }
}
