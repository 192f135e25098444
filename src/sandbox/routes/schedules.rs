//! The server's own schedules: list, make, look at, replace, switch, cancel and delete them; with the checks in a real
//! server's order.

use hyper::Method;
use serde_json::{Value, json};

use crate::{
    ids::WorkflowId,
    sandbox::{
        bodies,
        check::{positive, problem, read_object},
        draft::{self, Draft},
        exchange::{Question, Reply},
        fault::{Call, Fault},
        schedule::Schedule,
        workflow::{self, SandboxWorkflow},
        world::{ServerSchedules, World},
    },
};

/// What a path names.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    All,
    Of(&'a str),
    One(&'a str, &'a str),
    Deed(&'a str, &'a str, Deed),
}

/// What can be done to one besides replacing it.
#[derive(Clone, Copy)]
pub(super) enum Deed {
    Enable,
    Disable,
    Cancel,
}

/// The place of a path behind `/v1` or (`api`) `/api/v1`, and whether it is under the newer name.
pub(super) fn place<'a>(api: bool, path: &[&'a str]) -> Option<(Place<'a>, bool)> {
    let (newer, workflow, rest) = match path {
        ["schedules"] => return Some((Place::All, !api)),
        ["workflows", workflow, "schedules", rest @ ..] => (false, *workflow, rest),
        ["agents", workflow, "schedules", rest @ ..] if !api => (true, *workflow, rest),
        _ => return None,
    };
    let place = match rest {
        [] => Place::Of(workflow),
        [id] => Place::One(workflow, id),
        [id, "enable"] => Place::Deed(workflow, id, Deed::Enable),
        [id, "disable"] => Place::Deed(workflow, id, Deed::Disable),
        [id, "cancel"] => Place::Deed(workflow, id, Deed::Cancel),
        _ => return None,
    };
    Some((place, newer))
}

impl Place<'_> {
    pub(super) fn methods(self) -> &'static str {
        match self {
            Self::All => "GET",
            Self::Of(_) => "GET, POST",
            Self::One(..) => "GET, PUT, DELETE",
            Self::Deed(..) => "POST",
        }
    }

    pub(super) fn call(self, method: &Method) -> Call {
        match self {
            Self::Deed(_, _, Deed::Enable) => Call::Enable,
            Self::Deed(_, _, Deed::Disable) => Call::Disable,
            Self::Deed(_, _, Deed::Cancel) => Call::CancelSchedule,
            _ if *method == Method::POST => Call::Create,
            _ if *method == Method::PUT => Call::Update,
            _ if *method == Method::DELETE => Call::Delete,
            _ => Call::Schedules,
        }
    }
}

/// Whether a server of this kind has the path at all; a router says so before it asks for a key.
pub(super) fn is_there(world: &World, newer: bool) -> bool {
    match world.server_schedules {
        ServerSchedules::Whole | ServerSchedules::Disabled => true,
        ServerSchedules::NewerNames => newer,
        ServerSchedules::Absent => false,
    }
}

/// The answer for schedules that are switched off.
pub(in crate::sandbox) fn disabled() -> Reply {
    let words = "Workflow schedules are disabled in this Skyvern build. \
                 Use Skyvern Cloud or override AgentFunction with a scheduling backend.";
    Reply::detail(501, words)
}

/// The answer where a plan's limit is reached.
pub(in crate::sandbox) fn limit_reached(max: usize) -> Reply {
    Reply::detail(409, format!("Maximum of {max} schedules reached for your plan"))
}

/// Does what is asked, and answers.
pub(super) fn answer(world: &mut World, place: Place<'_>, question: &Question, fault: Option<&Fault>) -> Reply {
    if world.server_schedules == ServerSchedules::Disabled {
        return disabled();
    }
    let done = match place {
        Place::All => all(world, question, fault),
        Place::Of(workflow) if question.method == Method::POST => create(world, workflow, question),
        Place::Of(workflow) => of_workflow(world, workflow, fault),
        Place::One(workflow, id) if question.method == Method::PUT => update(world, workflow, id, question),
        Place::One(workflow, id) if question.method == Method::DELETE => delete(world, workflow, id),
        Place::One(workflow, id) => find(world, workflow, id).map(|schedule| one(world, schedule)),
        Place::Deed(workflow, id, deed) => change(world, workflow, id, deed),
    };
    done.unwrap_or_else(|reply| reply)
}

fn all(world: &World, question: &Question, fault: Option<&Fault>) -> Result<Reply, Reply> {
    let (mut page, mut page_size, mut enabled, mut search) = (1, 10, None, None);
    for (key, value) in url::form_urlencoded::parse(question.query.as_bytes()) {
        match key.as_ref() {
            "page" => page = positive("page", &value, None)?,
            "page_size" => page_size = positive("page_size", &value, Some(100))?,
            "status" => enabled = Some(status(&value)?),
            "search" if !value.is_empty() => search = Some(value.to_lowercase()),
            _ => {}
        }
    }
    let fits = |schedule: &Schedule, title: &str| {
        let has = |text: &str| search.as_ref().is_none_or(|search| text.to_lowercase().contains(search));
        enabled.is_none_or(|enabled| schedule.enabled == enabled && !schedule.is_over())
            && (has(title) || schedule.name.as_deref().is_some_and(has))
    };
    let mut rows: Vec<(&Schedule, String)> = world
        .schedules
        .all()
        .rev()
        .map(|schedule| (schedule, title(world, schedule)))
        .filter(|(schedule, title)| fits(schedule, title))
        .collect();
    // As if the newest had been deleted a moment ago.
    if fault == Some(&Fault::Shifted) && !rows.is_empty() {
        rows.remove(0);
    }
    let total = rows.len();
    let first = (page - 1).saturating_mul(page_size).min(total);
    let mut shown = &rows[first..first.saturating_add(page_size).min(total)];
    if fault == Some(&Fault::Half) {
        shown = &shown[..shown.len() / 2];
    }
    let now = world.now();
    let items: Vec<Value> = shown.iter().map(|(schedule, title)| bodies::schedule_item(schedule, title, now)).collect();
    Ok(Reply::ok(&json!({"schedules": items, "total_count": total, "page": page, "page_size": page_size})))
}

fn status(word: &str) -> Result<bool, Reply> {
    match word {
        "active" => Ok(true),
        "paused" => Ok(false),
        other => {
            let msg = "Input should be 'active' or 'paused'";
            Err(Reply::detail(422, vec![problem("literal_error", &["query", "status"], msg, &other.into())]))
        }
    }
}

fn title(world: &World, schedule: &Schedule) -> String {
    world.workflow(schedule.workflow_id.as_str()).map(|workflow| workflow.title.clone()).unwrap_or_default()
}

fn of_workflow(world: &World, workflow: &str, fault: Option<&Fault>) -> Result<Reply, Reply> {
    let workflow = workflow_of(world, workflow)?;
    let rows = world.schedules.all().filter(|schedule| schedule.workflow_id == workflow.id);
    let mut rows: Vec<Value> = rows.map(bodies::schedule).collect();
    if fault == Some(&Fault::Half) {
        rows.truncate(rows.len() / 2);
    }
    Ok(Reply::ok(&json!({"schedules": rows})))
}

fn create(world: &mut World, workflow: &str, question: &Question) -> Result<Reply, Reply> {
    let mut draft = read_draft(question)?;
    let now = world.now();
    let timetable = draft.settle(None, now)?;
    let workflow = workflow_of(world, workflow)?;
    check_parameters(&workflow, &draft)?;
    if let Some(max) = world.schedules_max.filter(|max| world.schedules.counted() >= *max) {
        return Err(limit_reached(max));
    }
    let first_id = world.first_id();
    let made = world.schedules.add(first_id, workflow.id, draft, timetable, now).cloned();
    made.map(|schedule| one(world, &schedule)).ok_or_else(|| Reply::json(500, &json!({"error": "Unexpected error"})))
}

fn update(world: &mut World, workflow: &str, id: &str, question: &Question) -> Result<Reply, Reply> {
    let mut draft = read_draft(question)?;
    let existing = find(world, workflow, id)?.clone();
    if existing.is_once() != matches!(draft.cadence, crate::skyvern::ServerCadence::Once { .. }) {
        let words = "A schedule cannot switch between one-time and recurring; create a new schedule instead";
        return Err(Reply::detail(422, words));
    }
    if existing.is_over() {
        return Err(over(id));
    }
    let now = world.now();
    let timetable = draft.settle(Some(&existing.cadence), now)?;
    check_parameters(&workflow_of(world, workflow)?, &draft)?;
    world.schedules.update(id, draft, timetable, now);
    find(world, workflow, id).map(|schedule| one(world, schedule))
}

fn change(world: &mut World, workflow: &str, id: &str, deed: Deed) -> Result<Reply, Reply> {
    let existing = find(world, workflow, id)?;
    let (is_once, is_over) = (existing.is_once(), existing.is_over());
    let now = world.now();
    match deed {
        Deed::Enable | Deed::Disable if is_once => {
            let words = "A one-time schedule cannot be paused or resumed; cancel it, or update run_at to move it";
            return Err(Reply::detail(422, words));
        }
        Deed::Enable => world.schedules.enable(id, true, now),
        Deed::Disable => world.schedules.enable(id, false, now),
        Deed::Cancel if !is_once => {
            let words = "Only a one-time schedule can be canceled; disable or delete a recurring schedule instead";
            return Err(Reply::detail(422, words));
        }
        Deed::Cancel if is_over => return Err(over(id)),
        Deed::Cancel => world.schedules.cancel(id, now),
    }
    find(world, workflow, id).map(|schedule| one(world, schedule))
}

fn delete(world: &mut World, workflow: &str, id: &str) -> Result<Reply, Reply> {
    find(world, workflow, id)?;
    world.schedules.delete(id);
    Ok(Reply::ok(&json!({"ok": true})))
}

fn read_draft(question: &Question) -> Result<Draft, Reply> {
    draft::read(&read_object(&question.body)?)
}

fn check_parameters(workflow: &SandboxWorkflow, draft: &Draft) -> Result<(), Reply> {
    workflow::accept_schedule(workflow, &draft.parameters).map_err(|words| Reply::detail(400, words))
}

fn workflow_of(world: &World, id: &str) -> Result<SandboxWorkflow, Reply> {
    let workflow = WorkflowId::new(id).ok().and_then(|_| world.workflow(id)).filter(|workflow| !workflow.deleted);
    workflow.map(std::borrow::Cow::into_owned).ok_or_else(|| Reply::detail(404, format!("Workflow {id} not found")))
}

fn find<'a>(world: &'a World, workflow: &str, id: &str) -> Result<&'a Schedule, Reply> {
    let workflow = workflow_of(world, workflow)?;
    let found = world.schedules.get(id).filter(|schedule| schedule.workflow_id == workflow.id);
    found.ok_or_else(|| Reply::detail(404, format!("Schedule {id} not found")))
}

fn one(world: &World, schedule: &Schedule) -> Reply {
    Reply::ok(&bodies::one_schedule(schedule, world.now()))
}

fn over(id: &str) -> Reply {
    Reply::detail(409, format!("Schedule {id} already fired or was canceled, so it can no longer change"))
}
