//! Runs: start one, look at one, cancel one, its tags; with the checks in a real server's order.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::sandbox::{
    bodies,
    check::{object, problem, read_object},
    exchange::{Question, Reply},
    fault::Fault,
    workflow,
    world::{NewRun, World},
};

pub(super) fn start(world: &mut World, question: &Question, older: Option<&str>, fault: Option<&Fault>) -> Reply {
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
    if world.local_webhooks_refused && request.get("webhook_url").and_then(Value::as_str).is_some_and(is_local) {
        return Reply::detail(400, "Invalid webhook_url: blocked host.");
    }
    let id = checked.workflow_id;
    let tags_ignored = world.tags_ignored;
    let Some(workflow) = world.workflow(&id).filter(|workflow| !workflow.deleted) else {
        return Reply::no_workflow(&id);
    };
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
        scheduled: None,
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

/// Whether an address is one of this machine.
fn is_local(url: &str) -> bool {
    let host = url.parse::<url::Url>().ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."))
}

/// What a start asks for.
struct Start {
    workflow_id: String,
    parameters: Map<String, Value>,
    tags: BTreeMap<String, String>,
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

pub(super) fn run(world: &World, id: &str, as_ui: bool) -> Reply {
    match world.run(id).filter(|run| !run.life.half_made) {
        None => Reply::detail(404, format!("Task run not found {id}")),
        Some(run) if world.is_deleted(&run.workflow_id) => Reply::no_workflow(run.workflow_id.as_str()),
        Some(run) => Reply::ok(&bodies::run(run, &world.view(run), as_ui)),
    }
}

pub(super) fn older_run(world: &World, id: &str, api: bool) -> Reply {
    match world.run(id) {
        None if api => Reply::detail(404, format!("WorkflowRun {id} not found")),
        None => Reply::detail(404, format!("Workflow not found for workflow run {id}")),
        Some(run) if api && world.is_deleted(&run.workflow_id) => Reply::no_workflow(run.workflow_id.as_str()),
        Some(run) => Reply::ok(&bodies::older_run(run, &world.view(run))),
    }
}

pub(super) fn cancel(world: &mut World, id: &str, older: bool) -> Reply {
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

pub(super) fn tags(world: &World, id: &str) -> Reply {
    if world.tags_ignored {
        return Reply::no_route();
    }
    match world.run(id) {
        None => Reply::detail(404, format!("Workflow run {id} not found")),
        Some(run) => Reply::ok(&bodies::tags(run, run.tags_at(world.now()))),
    }
}
