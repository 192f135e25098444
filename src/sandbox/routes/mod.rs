//! Request → answer: the paths, and which of them need a key.

mod lists;
mod runs;
mod schedules;

use hyper::Method;
use serde_json::{Value, json};

use self::{
    lists::{Rows, rows, workflows},
    runs::{cancel, older_run, run, start, tags},
    schedules::Place,
};
use super::{
    admin, bodies,
    check::read_object,
    exchange::{Question, Reply},
    fault::{Call, Fault},
    world::World,
};

pub(super) use schedules::{disabled, limit_reached};

/// What a path names.
enum Route<'a> {
    Heartbeat,
    Version,
    Start,
    OlderStart(&'a str),
    Run(&'a str),
    OlderRun(&'a str, bool),
    Cancel(&'a str),
    OlderCancel(&'a str),
    Tags(&'a str),
    TaskRows,
    Rows(Option<&'a str>),
    /// All rows, on a path that does not filter by tag.
    UnfilteredRows,
    Workflows,
    Workflow(&'a str),
    Organizations,
    /// A browser session or profile: the word for people, and the id.
    Browser(&'static str, &'a str),
    /// One of the schedules' paths, and whether it is under their newer name.
    Schedules(Place<'a>, bool),
    Admin(Vec<&'a str>),
}

fn route(path: &str) -> Option<Route<'_>> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (api, rest) = match parts.as_slice() {
        ["api", "v1", rest @ ..] => (true, rest),
        ["v1", rest @ ..] => (false, rest),
        ["sandbox", rest @ ..] => return Some(Route::Admin(rest.to_vec())),
        _ => return None,
    };
    if let Some((place, newer)) = schedules::place(api, rest) {
        return Some(Route::Schedules(place, newer));
    }
    Some(match (api, rest) {
        (true, ["heartbeat"]) => Route::Heartbeat,
        (_, ["version"]) => Route::Version,
        (true, ["organizations"]) => Route::Organizations,
        (false, ["run", "workflows" | "agents"]) => Route::Start,
        (false, ["browser_sessions", id]) => Route::Browser("session", id),
        (false, ["browser_profiles", id]) => Route::Browser("profile", id),
        (false, ["runs"]) => Route::TaskRows,
        (true, ["runs"]) => Route::UnfilteredRows,
        (false, ["runs", id]) => Route::Run(id),
        (false, ["runs", id, "cancel"]) => Route::Cancel(id),
        (_, ["runs", id, "tags"]) => Route::Tags(id),
        (_, ["workflows"]) | (false, ["agents"]) => Route::Workflows,
        (_, ["workflows", "runs"]) => Route::Rows(None),
        (_, ["workflows", "runs", id]) => Route::OlderRun(id, api),
        (true, ["workflows", "runs", id, "cancel"]) => Route::OlderCancel(id),
        (true, ["workflows", id, "run"]) => Route::OlderStart(id),
        (_, ["workflows", id]) | (false, ["agents", id]) => Route::Workflow(id),
        (_, ["workflows", id, "runs"]) | (false, ["agents", id, "runs"]) => Route::Rows(Some(id)),
        _ => return None,
    })
}

impl Route<'_> {
    fn methods(&self) -> &'static str {
        match self {
            Self::Start | Self::OlderStart(_) | Self::Cancel(_) | Self::OlderCancel(_) => "POST",
            Self::Workflows => "GET, POST",
            Self::Workflow(_) => "GET, DELETE",
            Self::Schedules(place, _) => place.methods(),
            Self::Admin(_) => "GET, POST, PUT, DELETE",
            _ => "GET",
        }
    }
}

/// The kind of call that a request is, for the fault plan.
pub(super) fn call(method: &Method, path: &str) -> Option<Call> {
    let route = route(path)?;
    if !route.methods().split(", ").any(|allowed| allowed == method.as_str()) {
        return None;
    }
    Some(match route {
        Route::Start | Route::OlderStart(_) => Call::Start,
        Route::Run(_) | Route::OlderRun(..) => Call::Get,
        Route::Cancel(_) | Route::OlderCancel(_) => Call::Cancel,
        Route::TaskRows | Route::Rows(_) | Route::UnfilteredRows => Call::List,
        Route::Schedules(place, _) => place.call(method),
        Route::Admin(_) => return None,
        _ => Call::Any,
    })
}

/// Does what is asked, and answers.
pub(super) fn answer(world: &mut World, question: &Question, fault: Option<&Fault>) -> Reply {
    let Some(route) = route(&question.path) else { return Reply::no_route() };
    if matches!(route, Route::Schedules(_, newer) if !schedules::is_there(world, newer)) {
        return Reply::no_route();
    }
    let methods = route.methods();
    if !methods.split(", ").any(|allowed| allowed == question.method.as_str()) {
        return Reply::not_allowed(methods);
    }
    // The two that need no key.
    match route {
        Route::Heartbeat => return Reply::text(200, "Server is running."),
        Route::Version => {
            return world
                .version
                .as_ref()
                .map_or_else(Reply::no_route, |version| Reply::ok(&json!({"version": version})));
        }
        _ => {}
    }
    match question.key.as_deref() {
        None | Some("") => return Reply::detail(403, "Invalid credentials"),
        Some(key) if key != world.key.expose() => return Reply::detail(403, "Could not validate credentials"),
        Some(_) => {}
    }
    match route {
        Route::Heartbeat | Route::Version => Reply::no_route(),
        Route::Start => start(world, question, None, fault),
        Route::OlderStart(id) => start(world, question, Some(id), fault),
        Route::Run(id) => run(world, id, question.user_agent.as_deref() == Some("skyvern-ui")),
        Route::OlderRun(id, api) => older_run(world, id, api),
        Route::Cancel(id) => cancel(world, id, false),
        Route::OlderCancel(id) => cancel(world, id, true),
        Route::Tags(id) => tags(world, id),
        Route::TaskRows => rows(world, None, question, Rows::Tasks),
        Route::UnfilteredRows => rows(world, None, question, Rows::Unfiltered),
        Route::Rows(id) => rows(world, id, question, Rows::Plain),
        Route::Workflows if question.method == Method::POST => create(world, question),
        Route::Workflows => workflows(world, question),
        Route::Workflow(id) if question.method == Method::DELETE => {
            world.delete_workflow(id);
            Reply::ok(&Value::Null)
        }
        Route::Workflow(id) => match world.workflow(id) {
            Some(workflow) if !workflow.deleted => Reply::ok(&bodies::workflow(&workflow)),
            _ => Reply::no_workflow(id),
        },
        Route::Organizations => Reply::ok(&bodies::organizations()),
        Route::Browser(what, id) => browser(what, id),
        Route::Schedules(place, _) => schedules::answer(world, place, question, fault),
        Route::Admin(path) => admin::answer(world, &path, question),
    }
}

/// There are one open session, one that is over, and one profile.
fn browser(what: &str, id: &str) -> Reply {
    match (what, id) {
        ("session", "pbs_sandbox") => Reply::ok(&json!({"browser_session_id": id, "status": "running"})),
        ("session", "pbs_over") => Reply::ok(&json!({"browser_session_id": id, "status": "completed"})),
        ("profile", "bp_sandbox") => Reply::ok(&json!({"browser_profile_id": id, "name": "sandbox"})),
        ("session", _) => Reply::detail(404, format!("Browser session {id} not found")),
        _ => Reply::detail(404, format!("Browser profile {id} not found for organization {}", bodies::ORGANIZATION)),
    }
}

fn create(world: &mut World, question: &Question) -> Reply {
    match read_object(&question.body) {
        Err(reply) => reply,
        Ok(body) => match world.make_workflow(&body) {
            Some(workflow) => Reply::ok(&bodies::workflow(workflow)),
            None => Reply::detail(422, "Invalid workflow definition"),
        },
    }
}
