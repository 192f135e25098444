//! `/sandbox/…`: what a real server does not have. Its own record of what happened, and faults at run time.
//!
//! | call | does |
//! |---|---|
//! | `GET /sandbox/runs?after=N` | every run that it made after its N-th, the oldest first |
//! | `GET /sandbox/schedules` | every schedule of its own, the oldest first |
//! | `POST /sandbox/poll` | its scheduler looks now for what is due |
//! | `GET /sandbox/status` | how many runs it made, how many starts and how many changes of schedules it received |
//! | `POST /sandbox/faults` | the body is a fault plan, which replaces the one before; its numbers count from now |
//! | `DELETE /sandbox/faults` | nothing goes wrong any more |
//! | `PUT /sandbox/workflows` | adds a workflow: `{"id", "title", "parameters": [{"key", "type", "default"}]}` |

use hyper::Method;
use serde_json::{Value, json};

use super::{
    bodies,
    exchange::{Question, Reply},
    fault::FaultPlan,
    workflow::{SandboxParameter, SandboxWorkflow},
    world::World,
};
use crate::ids::WorkflowId;

pub(super) fn answer(world: &mut World, path: &[&str], question: &Question) -> Reply {
    match (&question.method, path) {
        (&Method::GET, ["runs"]) => {
            let after = url::form_urlencoded::parse(question.query.as_bytes())
                .find(|(key, _)| key == "after")
                .and_then(|(_, value)| value.parse().ok())
                .unwrap_or(0);
            let runs: Vec<Value> = world.records(after).iter().map(bodies::record).collect();
            Reply::json(200, &json!({"runs": runs}))
        }
        (&Method::GET, ["status"]) => {
            let (starts, changes) = (world.starts_received(), world.changes_received());
            Reply::json(200, &bodies::status(world.runs_made(), starts, changes, world.now()))
        }
        (&Method::GET, ["schedules"]) => {
            let schedules: Vec<Value> = world.schedule_records().iter().map(bodies::schedule_record).collect();
            Reply::json(200, &json!({"schedules": schedules}))
        }
        (&Method::POST, ["poll"]) => {
            world.poll_schedules();
            Reply::json(200, &Value::Null)
        }
        (&Method::POST, ["faults"]) => match String::from_utf8_lossy(&question.body).parse::<FaultPlan>() {
            Ok(plan) => {
                world.set_faults(plan);
                Reply::json(200, &Value::Null)
            }
            Err(error) => Reply::detail(400, error.to_string()),
        },
        (&Method::DELETE, ["faults"]) => {
            world.set_faults(FaultPlan::default());
            Reply::json(200, &Value::Null)
        }
        (&Method::PUT, ["workflows"]) => match workflow(&question.body) {
            Ok(workflow) => {
                let body = bodies::workflow(&workflow);
                if world.put_workflow(workflow) {
                    Reply::json(200, &body)
                } else {
                    Reply::detail(400, "too many workflows")
                }
            }
            Err(problem) => Reply::detail(400, problem),
        },
        _ => Reply::detail(404, "Not Found"),
    }
}

fn workflow(body: &[u8]) -> Result<SandboxWorkflow, String> {
    let fields: Value = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
    let id = WorkflowId::new(fields["id"].as_str().unwrap_or_default()).map_err(|error| format!("the id {error}"))?;
    let mut workflow = SandboxWorkflow::new(id);
    if let Some(title) = fields["title"].as_str() {
        title.clone_into(&mut workflow.title);
    }
    if let Some(parameters) = fields["parameters"].as_array() {
        workflow.parameters = Some(parameters.iter().map(parameter).collect::<Result<_, _>>()?);
    }
    Ok(workflow)
}

fn parameter(fields: &Value) -> Result<SandboxParameter, String> {
    Ok(SandboxParameter {
        key: fields["key"].as_str().ok_or("a parameter has no key")?.to_owned(),
        kind: fields["type"].as_str().unwrap_or("string").to_owned(),
        default: Some(fields["default"].clone()).filter(|value| !value.is_null()),
    })
}
