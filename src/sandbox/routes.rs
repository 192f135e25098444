//! Request → answer: the paths, the checks in the order in which a real server makes them, and its words.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime, Utc};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::{
    admin, bodies,
    fault::{Call, Fault},
    life::View,
    workflow,
    world::{NewRun, Run, World},
};
use crate::ids::WorkflowId;

/// A request, read.
pub(super) struct Question {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) key: Option<String>,
    pub(super) user_agent: Option<String>,
    pub(super) body: Bytes,
    /// When its head had been read.
    pub(super) received_at: DateTime<Utc>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let body = Bytes::from(body.to_string());
        Self { status, content_type: "application/json", headers: Vec::new(), body }
    }

    pub(super) fn detail(status: u16, text: impl Into<Value>) -> Self {
        Self::json(status, &json!({"detail": text.into()}))
    }

    pub(super) fn text(status: u16, text: &'static str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            headers: Vec::new(),
            body: Bytes::from_static(text.as_bytes()),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn ok(body: &Value) -> Self {
        Self::json(200, body)
    }

    fn no_route() -> Self {
        Self::detail(404, "Not Found")
    }

    fn not_allowed(allowed: &'static str) -> Self {
        Self::detail(405, "Method Not Allowed").with("allow", allowed)
    }
}

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
        Route::Admin(_) => return None,
        _ => Call::Any,
    })
}

/// Does what is asked, and answers.
pub(super) fn answer(world: &mut World, question: &Question, fault: Option<&Fault>) -> Reply {
    let Some(route) = route(&question.path) else { return Reply::no_route() };
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
            _ => no_workflow(id),
        },
        Route::Organizations => Reply::ok(&bodies::organizations()),
        Route::Browser(what, id) => browser(what, id),
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

pub(super) fn no_workflow(id: &str) -> Reply {
    Reply::detail(404, format!("Workflow not found. workflow_permanent_id={id}"))
}

fn start(world: &mut World, question: &Question, older: Option<&str>, fault: Option<&Fault>) -> Reply {
    let mut request = match read_object(&question.body) {
        Ok(request) => request,
        Err(reply) => return reply,
    };
    if let Some(id) = older {
        // The older call has the id in its path and the parameters under another name.
        let parameters = request.remove("data").unwrap_or(Value::Null);
        request.insert("workflow_id".to_owned(), id.into());
        request.insert("parameters".to_owned(), parameters);
    }
    let checked = match check_start(&request) {
        Ok(checked) => checked,
        Err(reply) => return reply,
    };
    let id = checked.workflow_id;
    let tags_ignored = world.tags_ignored;
    let Some(workflow) = world.workflow(&id).filter(|workflow| !workflow.deleted) else { return no_workflow(&id) };
    let parameters = match workflow::accept(&workflow, &checked.parameters) {
        Ok(parameters) => parameters,
        Err(words) => return Reply::detail(400, words),
    };
    let new = NewRun {
        workflow_id: workflow.id.clone(),
        title: workflow.title.clone(),
        behaviour: workflow.behaviour.clone(),
        received_at: question.received_at,
        request,
        parameters,
        tags: if tags_ignored { BTreeMap::new() } else { checked.tags },
        trigger_type: match question.user_agent.as_deref() {
            Some("skyvern-ui") => "manual",
            Some("skyvern-mcp") => "mcp",
            _ => "api",
        },
    };
    let run = world.make_run(new, fault);
    if older.is_some() {
        let id = run.workflow_id.as_str();
        return Reply::ok(&json!({
            "workflow_id": id, "workflow_run_id": run.id, "agent_id": id, "agent_run_id": run.id,
        }));
    }
    Reply::ok(&bodies::started(run))
}

/// What a start asks for.
struct Start {
    workflow_id: String,
    parameters: Map<String, Value>,
    tags: BTreeMap<String, String>,
}

/// One problem of a request, as the validation of a real server words it.
fn problem(kind: &str, loc: &[&str], msg: &str, input: &Value) -> Value {
    json!({"type": kind, "loc": loc, "msg": msg, "input": input})
}

fn read_object(body: &[u8]) -> Result<Map<String, Value>, Reply> {
    let refuse = |problem: Value| Err(Reply::detail(422, vec![problem]));
    if body.is_empty() {
        return refuse(problem("missing", &["body"], "Field required", &Value::Null));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => refuse(problem(
            "model_attributes_type",
            &["body"],
            "Input should be a valid dictionary or object to extract fields from",
            &other,
        )),
        Err(_) => refuse(json!({"type": "json_invalid", "loc": ["body", 0], "msg": "JSON decode error", "input": {},
            "ctx": {"error": "Expecting value"}})),
    }
}

fn check_start(request: &Map<String, Value>) -> Result<Start, Reply> {
    let mut problems = Vec::new();
    let name = if request.contains_key("agent_id") { "agent_id" } else { "workflow_id" };
    let workflow_id = match request.get(name) {
        Some(Value::String(id)) => id.clone(),
        Some(other) => {
            problems.push(problem("string_type", &["body", name], "Input should be a valid string", other));
            String::new()
        }
        None => {
            problems.push(problem("missing", &["body", "agent_id"], "Field required", &Value::Object(request.clone())));
            String::new()
        }
    };
    let parameters = object(request, "parameters", &mut problems);
    let metadata = object(request, "run_metadata", &mut problems);
    if let Some(Value::String(url)) = request.get("webhook_url")
        && url.split_once("://").is_some_and(|(scheme, _)| scheme != "http" && scheme != "https")
    {
        let words = "Invalid webhook_url: unsupported scheme. Use an HTTP or HTTPS URL with at most 2083 characters.";
        return Err(Reply::detail(400, words));
    }
    if let Some(place @ Value::String(word)) = request.get("proxy_location")
        && !(word.starts_with("RESIDENTIAL") || word.starts_with("US-") || word == "NONE")
    {
        let loc = ["body", "proxy_location", "str-enum[ProxyLocation]"];
        problems.push(problem("enum", &loc, "Input should be 'RESIDENTIAL', 'US-CA', … or 'NONE'", place));
    }
    let mut tags = BTreeMap::new();
    match tags_of(&metadata, &mut problems) {
        Ok(pairs) => tags = pairs,
        Err(words) => {
            let msg = format!("Value error, {words}");
            problems.push(problem("value_error", &["body", "run_metadata"], &msg, &Value::Object(metadata)));
        }
    }
    if problems.is_empty() { Ok(Start { workflow_id, parameters, tags }) } else { Err(Reply::detail(422, problems)) }
}

fn object(request: &Map<String, Value>, key: &str, problems: &mut Vec<Value>) -> Map<String, Value> {
    match request.get(key) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(fields)) => fields.clone(),
        Some(other) => {
            problems.push(problem("dict_type", &["body", key], "Input should be a valid dictionary", other));
            Map::new()
        }
    }
}

/// The tags that `run_metadata` becomes.
fn tags_of(metadata: &Map<String, Value>, problems: &mut Vec<Value>) -> Result<BTreeMap<String, String>, String> {
    let mut tags = BTreeMap::new();
    for (key, value) in metadata {
        match value {
            Value::String(value) => drop(tags.insert(key.trim().to_owned(), value.trim().to_owned())),
            other => {
                let loc = ["body", "run_metadata", key.as_str()];
                problems.push(problem("string_type", &loc, "Input should be a valid string", other));
            }
        }
    }
    if metadata.len() > 20 {
        return Err("run_metadata can include at most 20 entries".to_owned());
    }
    tags.retain(|key, value| !key.is_empty() && !value.is_empty());
    if tags.keys().any(|key| key.chars().count() > 64) {
        return Err("run_metadata keys must be at most 64 characters".to_owned());
    }
    if tags.values().any(|value| value.chars().count() > 256) {
        return Err("run_metadata values must be at most 256 characters".to_owned());
    }
    tags.retain(|key, _| !key.starts_with("skyvern."));
    if let Some(reserved) = tags.values().find(|value| matches!(value.as_str(), "__other__" | "__untagged__")) {
        return Err(format!("tag values must not be exactly '{reserved}' (reserved as an analytics bucket marker)"));
    }
    Ok(tags)
}

fn run(world: &World, id: &str, as_ui: bool) -> Reply {
    match world.run(id).filter(|run| !run.life.half_made) {
        None => Reply::detail(404, format!("Task run not found {id}")),
        Some(run) if world.is_deleted(&run.workflow_id) => no_workflow(run.workflow_id.as_str()),
        Some(run) => Reply::ok(&bodies::run(run, &world.view(run), as_ui)),
    }
}

fn older_run(world: &World, id: &str, api: bool) -> Reply {
    match world.run(id) {
        None if api => Reply::detail(404, format!("WorkflowRun {id} not found")),
        None => Reply::detail(404, format!("Workflow not found for workflow run {id}")),
        Some(run) if api && world.is_deleted(&run.workflow_id) => no_workflow(run.workflow_id.as_str()),
        Some(run) => Reply::ok(&bodies::older_run(run, &world.view(run))),
    }
}

fn cancel(world: &mut World, id: &str, older: bool) -> Reply {
    let now = world.now();
    match world.run_mut(id).filter(|run| older || !run.life.half_made) {
        None if older => Reply::detail(404, format!("Workflow run not found {id}")),
        None => Reply::detail(404, format!("Run not found {id}")),
        Some(run) => {
            run.life.cancel(now);
            Reply::ok(&Value::Null)
        }
    }
}

fn tags(world: &World, id: &str) -> Reply {
    if world.tags_ignored {
        return Reply::no_route();
    }
    match world.run(id) {
        None => Reply::detail(404, format!("Workflow run {id} not found")),
        Some(run) => Reply::ok(&bodies::tags(run, run.tags_at(world.now()))),
    }
}

/// Which of the lists of runs.
#[derive(Clone, Copy, PartialEq)]
enum Rows {
    Plain,
    Tasks,
    Unfiltered,
}

fn rows(world: &World, workflow: Option<&str>, question: &Question, kind: Rows) -> Reply {
    let filter = match Filter::read(&question.query, if kind == Rows::Tasks { Some(100) } else { None }) {
        Ok(filter) => filter,
        Err(reply) => return reply,
    };
    let workflow = match workflow.map(WorkflowId::new) {
        None => None,
        Some(Ok(id)) => Some(id),
        // A workflow that does not exist has no runs.
        Some(Err(_)) => return Reply::ok(&json!([])),
    };
    let now = world.now();
    let filter_tags = kind != Rows::Unfiltered && !world.tags_ignored;
    let rows: Vec<Value> = world
        .newest_first(workflow.as_ref())
        // The list of tasks does not have what a crash left half-made.
        .filter(|run| kind != Rows::Tasks || !run.life.half_made)
        .filter(|run| !filter_tags || filter.tags.iter().all(|(key, values)| has_tag(run, now, key, values)))
        .filter(|run| filter.from.is_none_or(|from| run.life.created_at >= from))
        .filter(|run| filter.to.is_none_or(|to| run.life.created_at <= to))
        .map(|run| (run, world.view(run)))
        .filter(|(_, view)| filter.statuses.is_empty() || filter.statuses.iter().any(|word| word == view.status.word()))
        .skip(filter.skip)
        .take(filter.take)
        .map(|(run, view)| row(world, run, &view, kind))
        .collect();
    Reply::ok(&Value::Array(rows))
}

fn row(world: &World, run: &Run, view: &View, kind: Rows) -> Value {
    if kind == Rows::Tasks {
        bodies::task_row(run, view, world.is_deleted(&run.workflow_id))
    } else {
        bodies::row(run, view)
    }
}

/// Whether the run has one of these values (`None`: any) for the tag's name.
fn has_tag(run: &Run, now: DateTime<Utc>, key: &str, values: &[Option<String>]) -> bool {
    run.tags_at(now)
        .and_then(|tags| tags.get(key))
        .is_some_and(|value| values.iter().any(|wanted| wanted.as_ref().is_none_or(|wanted| wanted == value)))
}

/// The query of a list.
#[derive(Default)]
struct Filter {
    skip: usize,
    take: usize,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    statuses: Vec<String>,
    /// By name; values of one name are alternatives.
    tags: BTreeMap<String, Vec<Option<String>>>,
    search: Option<String>,
}

impl Filter {
    fn read(query: &str, page_size_max: Option<usize>) -> Result<Self, Reply> {
        let mut filter = Self::default();
        let (mut page, mut page_size) = (1_usize, 10_usize);
        let mut terms = 0_usize;
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "page" => page = positive("page", &value, None)?,
                "page_size" => page_size = positive("page_size", &value, page_size_max)?,
                "created_at_start" => filter.from = Some(instant("created_at_start", &value)?),
                "created_at_end" => filter.to = Some(instant("created_at_end", &value)?),
                "status" => filter.statuses.push(value.into_owned()),
                "search_key" | "title" if !value.is_empty() => filter.search = Some(value.to_lowercase()),
                "tags" if !value.is_empty() => {
                    for term in value.split(',') {
                        terms += 1;
                        let (name, value) = tag_term(term)?;
                        filter.tags.entry(name).or_default().push(value);
                    }
                }
                _ => {}
            }
        }
        if terms > 20 {
            return Err(Reply::detail(400, "Too many tag filter terms; at most 20 distinct terms are allowed."));
        }
        filter.take = page_size;
        filter.skip = (page - 1).saturating_mul(page_size);
        Ok(filter)
    }
}

fn tag_term(term: &str) -> Result<(String, Option<String>), Reply> {
    let wrong = || {
        let words = format!("Invalid tag filter '{term}'; expected 'label', 'key:*', or 'key:value'.");
        Err(Reply::detail(400, words))
    };
    match term.split_once(':') {
        // A label is a tag without a value, which metadata cannot make.
        None if !term.is_empty() => Ok((String::new(), Some(term.to_owned()))),
        Some((key, "*")) if !key.is_empty() => Ok((key.to_owned(), None)),
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), Some(value.to_owned()))),
        _ => wrong(),
    }
}

fn positive(name: &str, value: &str, max: Option<usize>) -> Result<usize, Reply> {
    let refuse =
        |kind: &str, msg: &str| Err(Reply::detail(422, vec![problem(kind, &["query", name], msg, &value.into())]));
    match value.parse::<usize>() {
        Ok(0) => refuse("greater_than_equal", "Input should be greater than or equal to 1"),
        Ok(number) => match max {
            Some(max) if number > max => {
                refuse("less_than_equal", &format!("Input should be less than or equal to {max}"))
            }
            _ => Ok(number),
        },
        Err(_) => refuse("int_parsing", "Input should be a valid integer, unable to parse string as an integer"),
    }
}

fn instant(name: &str, value: &str) -> Result<DateTime<Utc>, Reply> {
    let naive = || NaiveDateTime::parse_from_str(value, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|time| time.and_utc());
    crate::clock::parse_rfc3339(value).or_else(naive).ok_or_else(|| {
        let msg = "Input should be a valid datetime or date, invalid character in year";
        Reply::detail(422, vec![problem("datetime_from_date_parsing", &["query", name], msg, &value.into())])
    })
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

fn workflows(world: &World, question: &Question) -> Reply {
    let filter = match Filter::read(&question.query, None) {
        Ok(filter) => filter,
        Err(reply) => return reply,
    };
    let rows: Vec<Value> = world
        .workflows()
        .filter(|workflow| {
            filter
                .search
                .as_ref()
                .is_none_or(|text| workflow.title.to_lowercase().contains(text) || workflow.id.as_str().contains(text))
        })
        .skip(filter.skip)
        .take(filter.take)
        .map(bodies::workflow)
        .collect();
    Reply::ok(&Value::Array(rows))
}
