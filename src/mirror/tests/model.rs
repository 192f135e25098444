//! Applies against a model server: what was applied is settled, also when the apply is cut off at any of its calls, or any
//! answer is lost; nothing is there twice, nothing fires twice, and nothing of others is touched.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use super::{
    super::{
        ApplyOptions, CopyName, Deletes, Handover, NoHandover, Outcome, Postponed, Records, Server, StepResult, apply,
        observe, plan,
    },
    *,
};
use crate::{
    clock::Clock,
    skyvern::{ApiError, ApiErrorKind, ScheduleDraft, WriteError, WriteErrorKind},
};

/// What happens at one of the calls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    /// The process dies before it.
    DiesBefore,
    /// The process dies after it was carried out.
    DiesAfter,
    /// It is carried out, and no answer comes.
    AnswerLost,
    /// It is not carried out, and no answer comes.
    RequestLost,
    /// It is carried out only once the next two calls are over, and no answer comes.
    Late,
    /// The server asks to come again.
    Busy,
}

pub(super) const FAULTS: [Fault; 6] =
    [Fault::DiesBefore, Fault::DiesAfter, Fault::AnswerLost, Fault::RequestLost, Fault::Late, Fault::Busy];

type Deed = Box<dyn FnOnce(&mut Vec<ServerSchedule>) + Send>;

#[derive(Default)]
pub(super) struct State {
    pub(super) schedules: Vec<ServerSchedule>,
    pub(super) rows: BTreeMap<ServerScheduleId, MirrorCopy>,
    made: usize,
    calls: usize,
    writes: usize,
    pub(super) fault: Option<(usize, Fault)>,
    pub(super) dead: bool,
    /// What fires twice before anything was done.
    twice: BTreeSet<String>,
    /// Requests on their way, each with the calls that it still takes.
    late: Vec<(usize, Deed)>,
    limit: Option<usize>,
    /// What was told at the door.
    told: Vec<String>,
}

/// The server, the history and the clock in one.
#[derive(Default)]
pub(super) struct Model(Mutex<State>);

enum Then {
    Answer,
    Lost,
    Busy,
    Dead,
}

impl Model {
    pub(super) fn new(server: &[&str], rows: &[&str]) -> Self {
        let observed = observed(server, rows);
        let rows = observed.rows.into_iter().map(|row| (row.server_schedule_id.clone(), row)).collect();
        let twice = firing_twice(&observed.server, &rows);
        Self(Mutex::new(State { schedules: observed.server, rows, twice, ..State::default() }))
    }

    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// One call: whether its deed is done, and what the caller learns.
    fn call(&self, deed: impl FnOnce(&mut Vec<ServerSchedule>) + Send + 'static) -> Then {
        let state = &mut *self.state();
        if state.dead {
            return Then::Dead;
        }
        let mut due = Vec::new();
        for (left, deed) in std::mem::take(&mut state.late) {
            if left == 0 { due.push(deed) } else { state.late.push((left - 1, deed)) }
        }
        due.into_iter().for_each(|deed| deed(&mut state.schedules));
        let fault = state.fault.filter(|(at, _)| *at == state.calls).map(|(_, fault)| fault);
        state.calls += 1;
        let then = match fault {
            Some(Fault::DiesBefore) => Then::Dead,
            Some(Fault::DiesAfter) => {
                deed(&mut state.schedules);
                Then::Dead
            }
            Some(Fault::AnswerLost) => {
                deed(&mut state.schedules);
                Then::Lost
            }
            Some(Fault::RequestLost) => Then::Lost,
            Some(Fault::Late) => {
                state.late.push((1, Box::new(deed)));
                Then::Lost
            }
            Some(Fault::Busy) => Then::Busy,
            None => {
                deed(&mut state.schedules);
                Then::Answer
            }
        };
        state.dead |= matches!(then, Then::Dead);
        // Nothing of ours ever fires in two copies that did not before.
        let twice = firing_twice(&state.schedules, &state.rows);
        assert!(twice.is_subset(&state.twice), "fires twice: {twice:?}");
        then
    }

    fn write(&self, deed: impl FnOnce(&mut Vec<ServerSchedule>) + Send + 'static) -> Result<(), WriteError> {
        self.state().writes += 1;
        match self.call(deed) {
            Then::Answer => Ok(()),
            Then::Lost => Err(write_error(WriteErrorKind::Unknown)),
            Then::Busy => Err(write_error(WriteErrorKind::NotDone)),
            Then::Dead => Err(write_error(WriteErrorKind::Unauthorized)),
        }
    }

    fn change(
        &self,
        id: &ServerScheduleId,
        change: impl FnOnce(&mut ServerSchedule) + Send + 'static,
    ) -> Result<ServerSchedule, WriteError> {
        let wanted = id.clone();
        self.write(move |schedules| {
            if let Some(schedule) = schedules.iter_mut().find(|schedule| schedule.id == wanted) {
                change(schedule);
                schedule.modified_at = Some(now());
            }
        })?;
        let state = self.state();
        let found = state.schedules.iter().find(|schedule| schedule.id == *id).cloned();
        found.ok_or_else(|| write_error(WriteErrorKind::NotFound))
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T, ApiError> {
        match self.call(|_| {}) {
            Then::Answer => Ok(read(&self.state())),
            _ => Err(api_error(ApiErrorKind::Unavailable)),
        }
    }

    fn told(&self, what: &str, schedule: &ScheduleId) {
        let mut state = self.state();
        if !state.dead {
            state.told.push(format!("{what} {schedule}"));
        }
    }
}

/// The schedules of which more than one copy fires, by the rows, else by the markers.
fn firing_twice(schedules: &[ServerSchedule], rows: &BTreeMap<ServerScheduleId, MirrorCopy>) -> BTreeSet<String> {
    let firing = schedules.iter().filter(|copy| copy.enabled);
    let owners = firing.filter_map(|copy| match (rows.get(&copy.id), Marker::find(copy.description.as_deref())) {
        (_, Some(marker)) if marker.instance != instance() => Some(marker.to_string()),
        (Some(row), _) => Some(row.schedule.to_string()),
        (None, marker) => marker.map(|marker| marker.schedule.to_string()),
    });
    let mut seen = BTreeSet::new();
    owners.filter(|owner| !seen.insert(owner.clone())).collect()
}

fn write_error(kind: WriteErrorKind) -> WriteError {
    WriteError { kind, http_status: None, retry_after: None, message: "no".to_owned(), hint: "" }
}

fn api_error(kind: ApiErrorKind) -> ApiError {
    ApiError { kind, http_status: None, retry_after: None, message: "no".to_owned(), hint: "" }
}

impl Server for Model {
    async fn all(&self) -> Result<Vec<ServerSchedule>, ApiError> {
        self.read(|state| state.schedules.clone())
    }

    async fn of_workflow(&self, workflow: &WorkflowId) -> Result<Vec<ServerSchedule>, ApiError> {
        self.read(|state| {
            state.schedules.iter().filter(|schedule| schedule.workflow_id == *workflow).cloned().collect()
        })
    }

    async fn one(&self, _: &WorkflowId, id: &ServerScheduleId) -> Result<ServerSchedule, ApiError> {
        let found = self.read(|state| state.schedules.iter().find(|schedule| schedule.id == *id).cloned())?;
        found.ok_or_else(|| api_error(ApiErrorKind::NotFound))
    }

    async fn version(&self) -> Result<Option<String>, ApiError> {
        Ok(None)
    }

    async fn create(&self, workflow: &WorkflowId, draft: &ScheduleDraft) -> Result<ServerSchedule, WriteError> {
        let made = {
            let state = &mut *self.state();
            if state.limit.is_some_and(|limit| state.schedules.len() >= limit) {
                return Err(write_error(WriteErrorKind::LimitReached));
            }
            state.made += 1;
            ServerSchedule {
                workflow_id: workflow.clone(),
                created_at: Some(now()),
                ..drafted(draft, &format!("wfs_new{}", state.made))
            }
        };
        let stored = made.clone();
        self.write(move |schedules| schedules.push(stored))?;
        Ok(made)
    }

    async fn update(
        &self,
        _: &WorkflowId,
        id: &ServerScheduleId,
        draft: &ScheduleDraft,
    ) -> Result<ServerSchedule, WriteError> {
        let new = drafted(draft, id.as_str());
        self.change(id, move |schedule| {
            *schedule =
                ServerSchedule { workflow_id: schedule.workflow_id.clone(), created_at: schedule.created_at, ..new };
        })
    }

    async fn enable(&self, _: &WorkflowId, id: &ServerScheduleId) -> Result<ServerSchedule, WriteError> {
        self.change(id, |schedule| schedule.enabled = true)
    }

    async fn disable(&self, _: &WorkflowId, id: &ServerScheduleId) -> Result<ServerSchedule, WriteError> {
        self.change(id, |schedule| schedule.enabled = false)
    }

    async fn cancel(&self, _: &WorkflowId, _: &ServerScheduleId) -> Result<ServerSchedule, WriteError> {
        Err(write_error(WriteErrorKind::Refused))
    }

    async fn delete(&self, _: &WorkflowId, id: &ServerScheduleId) -> Result<(), WriteError> {
        let id = id.clone();
        self.write(move |schedules| schedules.retain(|schedule| schedule.id != id))
    }
}

fn drafted(draft: &ScheduleDraft, id: &str) -> ServerSchedule {
    ServerSchedule {
        enabled: draft.enabled,
        cadence: Some(draft.cadence.clone()),
        timezone: draft.timezone.clone(),
        name: draft.name.clone(),
        description: draft.description.clone(),
        parameters: draft.parameters.clone(),
        ..at_server(&format!("{id} 1 -"))
    }
}

impl Records for Model {
    async fn owned(&self, copy: MirrorCopy, _: DateTime<Utc>) -> Result<(), String> {
        let row = copy.clone();
        self.record(|rows| {
            rows.insert(row.server_schedule_id.clone(), row);
        })
    }

    async fn forgotten(&self, id: &ServerScheduleId, _: DateTime<Utc>) -> Result<(), String> {
        self.record(|rows| {
            rows.remove(id);
        })
    }
}

impl Model {
    fn record(&self, deed: impl FnOnce(&mut BTreeMap<ServerScheduleId, MirrorCopy>)) -> Result<(), String> {
        let state = &mut *self.state();
        let fault = state.fault.filter(|(at, _)| *at == state.calls).map(|(_, fault)| fault);
        state.calls += 1;
        if state.dead || fault == Some(Fault::DiesBefore) {
            state.dead = true;
            return Err("dead".to_owned());
        }
        deed(&mut state.rows);
        state.dead = fault == Some(Fault::DiesAfter);
        if state.dead { Err("dead".to_owned()) } else { Ok(()) }
    }
}

impl Clock for Model {
    fn now(&self) -> DateTime<Utc> {
        now()
    }
}

/// The door, which writes down what it is told.
impl Handover for Model {
    async fn before_enable(&self, schedule: &ScheduleId, _: &CopyName) -> Result<(), Postponed> {
        self.told("before_enable", schedule);
        Ok(())
    }

    async fn enabled(&self, schedule: &ScheduleId, _: &CopyName, _: Option<DateTime<Utc>>) {
        self.told("enabled", schedule);
    }

    async fn not_enabled(&self, schedule: &ScheduleId, _: &CopyName, _: &str) {
        self.told("not_enabled", schedule);
    }

    async fn before_disable(&self, schedule: &ScheduleId, _: &CopyName) -> Result<(), Postponed> {
        self.told("before_disable", schedule);
        Ok(())
    }

    async fn disabled(&self, schedule: &ScheduleId, _: &CopyName, _: Option<DateTime<Utc>>) {
        self.told("disabled", schedule);
    }

    async fn before_rewrite(&self, schedule: &ScheduleId, _: &CopyName) -> Result<(), Postponed> {
        self.told("before_rewrite", schedule);
        Ok(())
    }

    async fn rewritten(&self, schedule: &ScheduleId, _: &CopyName, _: Option<DateTime<Utc>>) {
        self.told("rewritten", schedule);
    }
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

pub(super) async fn look(model: &Model, wanted: &[Arc<Schedule>], prune: bool) -> Plan {
    let rows = model.state().rows.values().cloned().collect();
    let observed = observe(model, wanted, rows, BTreeSet::new()).await.unwrap();
    plan(wanted, &observed, &settings(prune), now())
}

pub(super) async fn run(
    model: &Model,
    wanted: &[Arc<Schedule>],
    prune: bool,
    handover: &impl Handover,
) -> Vec<StepResult> {
    let plan = look(model, wanted, prune).await;
    let options = ApplyOptions { pause: Duration::ZERO, ..ApplyOptions::new(instance(), Deletes::All) };
    apply(model, &plan, &options, model, handover, model).await
}

struct Story {
    file: &'static [&'static str],
    server: &'static [&'static str],
    rows: &'static [&'static str],
    prune: bool,
}

const FOREIGN: &str = "wfs_8 1 0 9 * * *; marker=other/daily; on";
const MINE: &str = "wfs_9 1 0 9 * * *; text=by hand; on";

const STORIES: &[Story] = &[
    // A first apply.
    Story {
        file: &["daily 1 0 9 * * *; fires = \"server\"", "weekly 1 0 9 * * 1", "other 2 0 9 * * 2; name = \"O\""],
        server: &[FOREIGN, MINE],
        rows: &[],
        prune: false,
    },
    // Everything changes: an expression, a workflow, who fires, one goes, one comes.
    Story {
        file: &[
            "daily 1 30 9 * * *; fires = \"server\"",
            "moved 2 0 9 * * *; fires = \"server\"",
            "back 1 0 9 * * *",
            "new 1 0 10 * * *",
        ],
        server: &[
            FOREIGN,
            MINE,
            "wfs_1 1 0 9 * * *; marker=main/daily; on",
            "wfs_2 1 0 9 * * *; marker=main/moved; on",
            "wfs_3 1 0 9 * * *; marker=main/back; on",
            "wfs_4 1 0 9 * * *; marker=main/gone; on",
        ],
        rows: &[
            "wfs_1 1 0 9 * * *; marker=main/daily; on => daily",
            "wfs_2 1 0 9 * * *; marker=main/moved; on => moved",
            "wfs_3 1 0 9 * * *; marker=main/back; on => back",
            "wfs_4 1 0 9 * * *; marker=main/gone; on => gone",
        ],
        prune: true,
    },
    // A lost database, and a second copy.
    Story {
        file: &["daily 1 0 9 * * *; fires = \"server\"", "weekly 1 0 9 * * 1"],
        server: &[
            FOREIGN,
            MINE,
            "wfs_1 1 0 9 * * *; marker=main/daily; on",
            "wfs_2 1 0 9 * * *; marker=main/daily; age=10",
            "wfs_3 1 0 8 * * 1; marker=main/weekly",
        ],
        rows: &[],
        prune: false,
    },
];

/// What must hold once everything is applied.
#[track_caller]
fn check_settled(model: &Model, story: &Story, wanted: &[Arc<Schedule>], what: &str) {
    let settled = block_on(look(model, wanted, story.prune));
    assert_eq!(lines(&settled).iter().filter(|line| !line.starts_with("foreign")).count(), 0, "{what}: {settled:#?}");
    let state = model.state();
    for schedule in wanted {
        let copies: Vec<_> = state
            .schedules
            .iter()
            .filter(|copy| {
                Marker::find(copy.description.as_deref())
                    .is_some_and(|marker| marker.instance.as_str() == "main" && marker.schedule == schedule.id)
            })
            .collect();
        assert_eq!(copies.len(), 1, "{what}: {} is there {} times", schedule.id, copies.len());
        assert_eq!(copies[0].enabled, schedule.policies.fires.word() == "server", "{what}: {}", schedule.id);
        assert!(state.rows.contains_key(&copies[0].id), "{what}: {} is not written down", schedule.id);
    }
    for others in [FOREIGN, MINE].map(at_server) {
        assert!(state.schedules.contains(&others), "{what}: {others:?} was touched");
    }
    assert_eq!(state.schedules.len(), wanted.len() + 2, "{what}");
    assert_eq!(state.rows.len(), wanted.len(), "{what}");
}

#[test]
fn an_apply_settles_and_a_second_sends_nothing() {
    for story in STORIES {
        let (model, wanted) = (Model::new(story.server, story.rows), file(story.file));
        let results = block_on(run(&model, &wanted, story.prune, &NoHandover));
        assert!(results.iter().all(|result| result.outcome == Outcome::Done), "{results:#?}");
        check_settled(&model, story, &wanted, "");
        let before = model.state().writes;
        block_on(run(&model, &wanted, story.prune, &NoHandover));
        assert_eq!(model.state().writes, before);
    }
}

#[test]
fn cut_off_anywhere_the_next_apply_finishes() {
    let mut worlds = 0;
    for story in STORIES {
        let wanted = file(story.file);
        for fault in FAULTS {
            for at in 1.. {
                let model = Model::new(story.server, story.rows);
                model.state().fault = Some((at, fault));
                block_on(run(&model, &wanted, story.prune, &NoHandover));
                let reached = {
                    let mut state = model.state();
                    (state.dead, state.fault) = (false, None);
                    state.calls > at
                };
                // The next two: a request that was late makes a second copy after the first of them has looked.
                block_on(run(&model, &wanted, story.prune, &NoHandover));
                block_on(run(&model, &wanted, story.prune, &NoHandover));
                check_settled(&model, story, &wanted, &format!("{fault:?} at {at}"));
                worlds += 1;
                if !reached {
                    break;
                }
            }
        }
    }
    assert!(worlds > 200, "{worlds}");
}

#[test]
fn an_unanswered_create_is_looked_for_before_it_is_sent_again() {
    let wanted = file(&["daily 1 0 9 * * *"]);
    for (fault, sent) in [(Fault::AnswerLost, 1), (Fault::RequestLost, 2), (Fault::Busy, 2), (Fault::Late, 1)] {
        let model = Model::new(&[], &[]);
        // The list of all, the workflow's, the create.
        model.state().fault = Some((2, fault));
        let results = block_on(run(&model, &wanted, false, &NoHandover));
        assert_eq!(outcomes(&results), ["create daily: done"], "{fault:?}");
        let state = model.state();
        assert_eq!((state.schedules.len(), state.writes), (1, sent), "{fault:?}");
    }
}

/// A request of a process that was killed arrives when the next one has planned already.
#[test]
fn a_copy_that_comes_after_the_plan_is_taken_over() {
    let wanted = file(&["daily 1 0 9 * * *; fires = \"server\""]);
    for (late, then) in [
        ("wfs_1 1 0 9 * * *; marker=main/daily", ["create daily: done", "enable daily: done"]),
        (
            "wfs_1 1 0 8 * * *; marker=main/daily",
            [
                "create daily: later, a copy was found, which the next apply makes equal to the file",
                "enable daily: not tried, a step before it was not done",
            ],
        ),
    ] {
        let model = Model::new(&[], &[]);
        let plan = block_on(look(&model, &wanted, false));
        model.state().schedules.push(at_server(late));
        let options = ApplyOptions { pause: Duration::ZERO, ..ApplyOptions::new(instance(), Deletes::All) };
        let results = block_on(apply(&model, &plan, &options, &model, &NoHandover, &model));
        assert_eq!(outcomes(&results), then);
        assert_eq!(model.state().schedules.len(), 1, "{late}");
        block_on(run(&model, &wanted, false, &NoHandover));
        let settled = block_on(look(&model, &wanted, false));
        assert_eq!(lines(&settled), [""; 0], "{late}");
    }
}

#[test]
fn whoever_fires_is_told_before_and_after() {
    let story = &STORIES[1];
    let (model, wanted) = (Model::new(story.server, story.rows), file(story.file));
    block_on(run(&model, &wanted, true, &model));
    let told = std::mem::take(&mut model.state().told);
    assert_eq!(
        told,
        [
            "before_rewrite daily",
            "rewritten daily",
            "before_disable moved",
            "disabled moved",
            "before_disable back",
            "disabled back",
            "before_disable gone",
            "disabled gone",
            "before_enable moved",
            "enabled moved",
        ]
    );
}

/// A door that lets nothing through.
struct Closed;

impl Handover for Closed {
    async fn before_enable(&self, _: &ScheduleId, _: &CopyName) -> Result<(), Postponed> {
        Err(Postponed("a run is being started".to_owned()))
    }
    async fn enabled(&self, _: &ScheduleId, _: &CopyName, _: Option<DateTime<Utc>>) {}
    async fn not_enabled(&self, _: &ScheduleId, _: &CopyName, _: &str) {}
    async fn before_disable(&self, _: &ScheduleId, _: &CopyName) -> Result<(), Postponed> {
        Err(Postponed("a run is being started".to_owned()))
    }
    async fn disabled(&self, _: &ScheduleId, _: &CopyName, _: Option<DateTime<Utc>>) {}
    async fn before_rewrite(&self, _: &ScheduleId, _: &CopyName) -> Result<(), Postponed> {
        Err(Postponed("a run is being started".to_owned()))
    }
    async fn rewritten(&self, _: &ScheduleId, _: &CopyName, _: Option<DateTime<Utc>>) {}
}

fn outcomes(results: &[StepResult]) -> Vec<String> {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::Later(why) => format!("later, {why}"),
        Outcome::Failed(error) => format!("failed, {:?}", error.kind),
        Outcome::NotTried(why) => format!("not tried, {why}"),
        Outcome::Unrecorded(why) => format!("unrecorded, {why}"),
    };
    results.iter().map(|r| format!("{} {}: {}", r.step.deed, r.step.schedule, word(&r.outcome))).collect()
}

#[test]
fn what_is_postponed_holds_back_what_builds_on_it() {
    let story = &STORIES[1];
    let (model, wanted) = (Model::new(story.server, story.rows), file(story.file));
    let results = block_on(run(&model, &wanted, true, &Closed));
    assert_eq!(
        outcomes(&results),
        [
            "create moved: done",
            "create new: done",
            "update daily: later, a run is being started",
            "disable moved: later, a run is being started",
            "disable back: later, a run is being started",
            "disable gone: later, a run is being started",
            "enable moved: not tried, a step before it was not done",
            "delete moved: not tried, a step before it was not done",
            "delete gone: not tried, a step before it was not done",
        ]
    );
}

#[test]
fn a_limit_is_told_with_what_was_made() {
    let wanted = file(&["a 1 0 9 * * *", "b 1 0 9 * * *", "c 1 0 9 * * *; fires = \"server\""]);
    let model = Model::new(&[], &[]);
    model.state().limit = Some(1);
    let results = block_on(run(&model, &wanted, false, &NoHandover));
    assert_eq!(
        outcomes(&results),
        [
            "create a: done",
            "create b: failed, LimitReached",
            "create c: not tried, no (made before: 1)",
            "enable c: not tried, a step before it was not done",
        ]
    );
}

#[test]
fn nothing_is_deleted_without_a_yes() {
    let model = Model::new(STORIES[1].server, STORIES[1].rows);
    let wanted = file(STORIES[1].file);
    let results = block_on(async {
        let plan = look(&model, &wanted, true).await;
        let options =
            ApplyOptions { pause: Duration::ZERO, ..ApplyOptions::new(instance(), Deletes::Only(BTreeSet::new())) };
        apply(&model, &plan, &options, &model, &NoHandover, &model).await
    });
    let deletes: Vec<_> = outcomes(&results).into_iter().filter(|line| line.starts_with("delete")).collect();
    assert_eq!(
        deletes,
        ["delete moved: not tried, nobody agreed to delete it", "delete gone: not tried, nobody agreed to delete it"]
    );
    assert_eq!(model.state().schedules.len(), 8);
}
