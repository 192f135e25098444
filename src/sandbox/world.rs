//! What the server knows: its workflows, its runs with their tags, and what is to go wrong.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{
    SandboxOptions,
    fault::{Call, Fault, FaultPlan},
    hooks::HookRecord,
    life::{Behaviour, Life, View},
    schedule::{ScheduleRecord, Schedules},
    workflow::{self, SandboxWorkflow},
};
use crate::{
    clock::Clock,
    engine::RunStatus,
    ids::{RunId, ServerScheduleId, WorkflowId},
    secret::Secret,
};

/// The most workflows that are kept.
const WORKFLOWS_MAX: usize = 100_000;

/// A run as the look-alike knows it: what tests judge by.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// From 1, in the order in which they were made.
    pub number: u64,
    /// `wr_…`
    pub run_id: String,
    /// `wpid_…`
    pub workflow_id: String,
    /// When the head of the POST had been read.
    pub received_at: DateTime<Utc>,
    /// When the run was made.
    pub created_at: DateTime<Utc>,
    /// Where it stands now.
    pub status: RunStatus,
    /// `parameters` as they were sent.
    pub parameters: Map<String, Value>,
    /// `run_metadata` as it was sent.
    pub run_metadata: BTreeMap<String, String>,
    /// The whole body of the POST.
    pub request: Map<String, Value>,
    /// The server died while it made the run: it never begins.
    pub half_made: bool,
    /// `api`, `scheduled`, …
    pub trigger_type: &'static str,
    /// The server's schedule that started it.
    pub server_schedule_id: Option<String>,
}

/// Which of the calls for schedules a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerSchedules {
    /// All, under both names.
    #[default]
    Whole,
    /// All, under the newer names only (`/v1/agents/…`, `/v1/schedules`).
    NewerNames,
    /// All, each answered with the 501 of a server where they are switched off.
    Disabled,
    /// None, as before 1.0.30.
    Absent,
}

/// A run.
pub(super) struct Run {
    pub(super) number: u64,
    pub(super) id: String,
    pub(super) workflow_id: WorkflowId,
    pub(super) title: String,
    pub(super) received_at: DateTime<Utc>,
    pub(super) request: Map<String, Value>,
    /// The values after defaults.
    pub(super) parameters: Map<String, Value>,
    pub(super) tags: BTreeMap<String, String>,
    /// From when on the tags can be seen; `None`: never.
    pub(super) tags_from: Option<DateTime<Utc>>,
    pub(super) trigger_type: &'static str,
    /// The server's schedule that started it.
    pub(super) schedule_id: Option<ServerScheduleId>,
    pub(super) life: Life,
}

impl Run {
    pub(super) fn tags_at(&self, now: DateTime<Utc>) -> Option<&BTreeMap<String, String>> {
        self.tags_from.filter(|from| *from <= now).map(|_| &self.tags)
    }

    fn record(&self, now: DateTime<Utc>) -> RunRecord {
        let sent = |key: &str| self.request.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
        RunRecord {
            number: self.number,
            run_id: self.id.clone(),
            workflow_id: self.workflow_id.to_string(),
            received_at: self.received_at,
            created_at: self.life.created_at,
            status: self.life.view(now).status,
            parameters: sent("parameters"),
            run_metadata: sent("run_metadata")
                .into_iter()
                .map(|(key, value)| (key, value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            request: self.request.clone(),
            half_made: self.life.half_made,
            trigger_type: self.trigger_type,
            server_schedule_id: self.schedule_id.as_ref().map(ToString::to_string),
        }
    }
}

/// A start that was found in order.
pub(super) struct NewRun {
    pub(super) workflow_id: WorkflowId,
    pub(super) title: String,
    pub(super) behaviour: Option<Behaviour>,
    pub(super) received_at: DateTime<Utc>,
    pub(super) request: Map<String, Value>,
    pub(super) parameters: Map<String, Value>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) trigger_type: &'static str,
    /// The schedule that starts it, and the id that its run then has.
    pub(super) scheduled: Option<(ServerScheduleId, RunId)>,
}

/// Everything.
pub(super) struct World {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) key: Secret,
    pub(super) version: Option<String>,
    pub(super) tags_ignored: bool,
    pub(super) seed: u64,
    pub(super) server_schedules: ServerSchedules,
    pub(super) schedules_max: Option<usize>,
    pub(super) schedule_runs_max: usize,
    pub(super) schedules: Schedules,
    any_workflow: bool,
    behaviour: Behaviour,
    runs_kept_max: usize,
    workflows: BTreeMap<WorkflowId, SandboxWorkflow>,
    runs: VecDeque<Run>,
    /// The numbers of a workflow's runs, ascending.
    by_workflow: HashMap<WorkflowId, VecDeque<u64>>,
    runs_made: u64,
    workflows_made: u64,
    starts_received: u64,
    changes_received: u64,
    /// The numbers of the runs whose ids are not made of them.
    by_id: HashMap<String, u64>,
    faults: FaultPlan,
    pub(super) local_webhooks_refused: bool,
    /// Runs that ask for a webhook, and where; not waited for yet.
    hooks: Vec<(String, String)>,
    hooks_sent: Vec<HookRecord>,
    /// Run ids are this plus the run's number, so that no two look-alikes of a machine give out the same.
    first_id: u64,
}

impl World {
    pub(super) fn new(options: SandboxOptions) -> Self {
        let micros = u64::try_from(options.clock.now().timestamp_micros()).unwrap_or(0);
        Self {
            clock: options.clock,
            key: options.key,
            version: options.version,
            tags_ignored: options.tags_ignored,
            local_webhooks_refused: options.local_webhooks_refused,
            hooks: Vec::new(),
            hooks_sent: Vec::new(),
            seed: options.seed,
            server_schedules: options.server_schedules,
            schedules_max: options.schedules_max,
            schedule_runs_max: options.schedule_runs_max.max(1),
            schedules: Schedules::default(),
            any_workflow: options.any_workflow,
            behaviour: options.behaviour,
            runs_kept_max: options.runs_kept_max.max(1),
            workflows: options.workflows.into_iter().map(|workflow| (workflow.id.clone(), workflow)).collect(),
            runs: VecDeque::new(),
            by_workflow: HashMap::new(),
            runs_made: 0,
            workflows_made: 0,
            starts_received: 0,
            changes_received: 0,
            by_id: HashMap::new(),
            faults: options.faults,
            first_id: micros.saturating_mul(100),
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The fault that a call meets; counts it.
    pub(super) fn fault(&mut self, call: Call) -> Option<Fault> {
        if call == Call::Start {
            self.starts_received += 1;
        }
        self.changes_received += u64::from(call.is_change());
        self.faults.pick(call, self.seed)
    }

    pub(super) fn set_faults(&mut self, plan: FaultPlan) {
        self.faults = plan;
    }

    pub(super) fn starts_received(&self) -> u64 {
        self.starts_received
    }

    pub(super) fn changes_received(&self) -> u64 {
        self.changes_received
    }

    pub(super) fn schedule_records(&self) -> Vec<ScheduleRecord> {
        self.schedules.records()
    }

    /// What ids of this server are counted from.
    pub(super) fn first_id(&self) -> u64 {
        self.first_id
    }

    /// How many runs of schedules are not over.
    pub(super) fn scheduled_runs_going(&self) -> usize {
        let now = self.now();
        self.by_id
            .values()
            .filter_map(|number| self.runs.get(self.index_of(*number)?))
            .filter(|run| !run.life.view(now).is_over())
            .count()
    }

    pub(super) fn runs_made(&self) -> u64 {
        self.runs_made
    }

    /// The workflow, deleted or not. Where any is allowed, every id names one.
    pub(super) fn workflow(&self, id: &str) -> Option<Cow<'_, SandboxWorkflow>> {
        let id = WorkflowId::new(id).ok()?;
        match self.workflows.get(&id) {
            Some(workflow) => Some(Cow::Borrowed(workflow)),
            None => self.any_workflow.then(|| Cow::Owned(SandboxWorkflow::new(id))),
        }
    }

    pub(super) fn workflows(&self) -> impl Iterator<Item = &SandboxWorkflow> {
        self.workflows.values().filter(|workflow| !workflow.deleted)
    }

    /// Adds or replaces; `false`: there are too many.
    pub(super) fn put_workflow(&mut self, workflow: SandboxWorkflow) -> bool {
        let fits = self.workflows.len() < WORKFLOWS_MAX || self.workflows.contains_key(&workflow.id);
        if fits {
            self.workflows.insert(workflow.id.clone(), workflow);
        }
        fits
    }

    /// Makes a workflow from its definition, under an id of this server's.
    pub(super) fn make_workflow(&mut self, body: &Map<String, Value>) -> Option<&SandboxWorkflow> {
        self.workflows_made += 1;
        let id = WorkflowId::new(&format!("wpid_{}", self.first_id + self.workflows_made)).ok()?;
        let workflow = workflow::from_definition(id.clone(), body, &self.behaviour)?;
        self.put_workflow(workflow);
        self.workflows.get(&id)
    }

    pub(super) fn delete_workflow(&mut self, id: &str) {
        if let Some(workflow) = self.workflow(id) {
            let deleted = SandboxWorkflow { deleted: true, ..workflow.into_owned() };
            self.schedules.delete_of(&deleted.id);
            self.put_workflow(deleted);
        }
    }

    pub(super) fn is_deleted(&self, id: &WorkflowId) -> bool {
        self.workflows.get(id).is_some_and(|workflow| workflow.deleted)
    }

    /// Makes a run, as the fault wants it.
    pub(super) fn make_run(&mut self, new: NewRun, fault: Option<&Fault>) -> &Run {
        let now = self.now();
        self.runs_made += 1;
        let number = self.runs_made;
        let half_made = matches!(fault, Some(Fault::CrashRow | Fault::CrashTag));
        let tags_from = match fault {
            Some(Fault::CrashRow) => None,
            Some(Fault::TagLate(late)) => Some(now + crate::clock::delta(*late)),
            _ => Some(now),
        };
        let behaviour = new.behaviour.unwrap_or_else(|| self.behaviour.clone());
        if self.runs.len() >= self.runs_kept_max
            && let Some(oldest) = self.runs.pop_front()
            && let Some(numbers) = self.by_workflow.get_mut(&oldest.workflow_id)
        {
            self.by_id.remove(&oldest.id);
            numbers.pop_front();
            if numbers.is_empty() {
                self.by_workflow.remove(&oldest.workflow_id);
            }
        }
        self.by_workflow.entry(new.workflow_id.clone()).or_default().push_back(number);
        let (schedule_id, run_id) = new.scheduled.unzip();
        if let Some(run_id) = &run_id {
            self.by_id.insert(run_id.to_string(), number);
        }
        let run = Run {
            number,
            id: run_id.map_or_else(|| format!("wr_{}", self.first_id + number), |id| id.to_string()),
            workflow_id: new.workflow_id,
            title: new.title,
            received_at: new.received_at,
            request: new.request,
            parameters: new.parameters,
            tags: new.tags,
            tags_from,
            trigger_type: new.trigger_type,
            schedule_id,
            life: Life::new(now, behaviour, self.seed, number, half_made),
        };
        let given = run.request.get("webhook_url").and_then(Value::as_str).map(str::to_owned);
        let own = || self.workflows.get(&run.workflow_id).and_then(|workflow| workflow.webhook_callback_url.clone());
        // One that is given with the run takes the place of the workflow's own.
        if let Some(url) = given.or_else(own).filter(|_| !half_made) {
            self.hooks.push((run.id.clone(), url));
        }
        self.runs.push_back(run);
        let last = self.runs.len() - 1;
        &self.runs[last]
    }

    /// Runs that ask for a webhook and are not waited for yet.
    pub(super) fn take_hooks(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.hooks)
    }

    pub(super) fn hook_sent(&mut self, hook: HookRecord) {
        if self.hooks_sent.len() < self.runs_kept_max {
            self.hooks_sent.push(hook);
        }
    }

    pub(super) fn hooks_sent(&self) -> Vec<HookRecord> {
        self.hooks_sent.clone()
    }

    fn index(&self, id: &str) -> Option<usize> {
        if let Some(number) = self.by_id.get(id) {
            return self.index_of(*number);
        }
        let number = id.strip_prefix("wr_")?.parse::<u64>().ok()?.checked_sub(self.first_id)?;
        self.index_of(number)
    }

    fn index_of(&self, number: u64) -> Option<usize> {
        let first = self.runs.front()?.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        (index < self.runs.len()).then_some(index)
    }

    pub(super) fn run(&self, id: &str) -> Option<&Run> {
        self.index(id).map(|index| &self.runs[index])
    }

    pub(super) fn run_mut(&mut self, id: &str) -> Option<&mut Run> {
        let index = self.index(id)?;
        self.runs.get_mut(index)
    }

    /// All runs, or a workflow's, the newest first.
    pub(super) fn newest_first<'a>(&'a self, workflow: Option<&WorkflowId>) -> Box<dyn Iterator<Item = &'a Run> + 'a> {
        match workflow {
            None => Box::new(self.runs.iter().rev()),
            Some(id) => Box::new(
                self.by_workflow
                    .get(id)
                    .into_iter()
                    .flat_map(|numbers| numbers.iter().rev())
                    .filter_map(|number| self.index_of(*number).map(|index| &self.runs[index])),
            ),
        }
    }

    /// What happened, the oldest first, from the run after `after` on.
    pub(super) fn records(&self, after: u64) -> Vec<RunRecord> {
        let now = self.now();
        self.runs.iter().filter(|run| run.number > after).map(|run| run.record(now)).collect()
    }

    pub(super) fn view(&self, run: &Run) -> View {
        run.life.view(self.now())
    }
}
