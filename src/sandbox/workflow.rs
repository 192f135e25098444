//! The workflows: what they declare, and which starts they accept. Pure.

use std::time::Duration;

use serde_json::{Map, Value};

use super::life::Behaviour;
use crate::ids::WorkflowId;

/// A workflow of the look-alike.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxWorkflow {
    /// `wpid_…`
    pub id: WorkflowId,
    /// For people.
    pub title: String,
    /// What it declares; `None`: it accepts and keeps every parameter.
    pub parameters: Option<Vec<SandboxParameter>>,
    /// How its runs go; `None`: as the options say.
    pub behaviour: Option<Behaviour>,
    /// It was deleted; its runs are still there.
    pub deleted: bool,
    /// Where its runs' webhooks go that name no other place.
    pub webhook_callback_url: Option<String>,
}

impl SandboxWorkflow {
    /// A workflow that accepts every parameter.
    #[must_use]
    pub fn new(id: WorkflowId) -> Self {
        Self {
            title: format!("Workflow {id}"),
            id,
            parameters: None,
            behaviour: None,
            deleted: false,
            webhook_callback_url: None,
        }
    }
}

/// A parameter of a workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxParameter {
    /// Its name.
    pub key: String,
    /// `string`, `integer`, `float`, `boolean`, `json`, `file_url` or `credential_id`.
    pub kind: String,
    /// Without a default a value is required.
    pub default: Option<Value>,
}

/// Reads a workflow as a real server takes it (`POST /v1/workflows`, `json_definition`): title, parameters, and for how long
/// its wait blocks wait. Every other block takes no time. `None`: there is no title or no definition.
pub(super) fn from_definition(id: WorkflowId, body: &Map<String, Value>, plain: &Behaviour) -> Option<SandboxWorkflow> {
    let definition = body.get("json_definition")?;
    let inner = definition["workflow_definition"].as_object()?;
    let list = |key: &str| inner.get(key).and_then(Value::as_array).into_iter().flatten();
    let parameters = list("parameters").filter(|parameter| parameter["parameter_type"] == "workflow");
    let parameters = parameters.filter_map(|parameter| {
        Some(SandboxParameter {
            key: parameter["key"].as_str()?.to_owned(),
            kind: parameter["workflow_parameter_type"].as_str().unwrap_or("string").to_owned(),
            default: parameter.get("default_value").filter(|value| !value.is_null()).cloned(),
        })
    });
    let seconds = list("blocks").filter_map(|block| block["wait_sec"].as_u64()).fold(0, u64::saturating_add);
    Some(SandboxWorkflow {
        id,
        title: definition["title"].as_str()?.to_owned(),
        parameters: Some(parameters.collect()),
        behaviour: Some(Behaviour { run_time: Duration::from_secs(seconds.min(86_400)), ..plain.clone() }),
        deleted: false,
        webhook_callback_url: None,
    })
}

/// The values that a run gets, or the words in which the server refuses them.
pub(super) fn accept(workflow: &SandboxWorkflow, given: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let Some(declared) = &workflow.parameters else { return Ok(given.clone()) };
    let mut values = Map::new();
    let mut missing = Vec::new();
    for parameter in declared {
        let value = given.get(&parameter.key).filter(|value| !value.is_null()).or(parameter.default.as_ref());
        match value {
            Some(value) if !is_missing(&parameter.kind, value) => {
                values.insert(parameter.key.clone(), value.clone());
            }
            _ if parameter.kind == "credential_id" && parameter.default.is_none() => {}
            _ => missing.push(parameter.key.as_str()),
        }
    }
    if !missing.is_empty() {
        missing.sort_unstable();
        return Err(format!("Missing value for parameter {} in workflow {}", missing.join(", "), workflow.id));
    }
    for parameter in declared {
        if let Some(value) = values.get(&parameter.key)
            && !fits(&parameter.kind, value)
        {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return Err(format!(
                "Invalid workflow parameter. Expected parameter type: {}. Value: {text}.",
                parameter.kind
            ));
        }
    }
    Ok(values)
}

/// Whether a schedule may be made with these parameters, or the words in which the server refuses it. Kinds are not looked at:
/// a value of the wrong one is found when it fires.
pub(super) fn accept_schedule(workflow: &SandboxWorkflow, given: &Map<String, Value>) -> Result<(), String> {
    let Some(declared) = &workflow.parameters else { return Ok(()) };
    let list = |mut keys: Vec<&str>, what: &str| {
        keys.sort_unstable();
        Err(format!("{what} schedule parameters for workflow {}: {}", workflow.id, keys.join(", ")))
    };
    let unknown: Vec<&str> =
        given.keys().map(String::as_str).filter(|key| declared.iter().all(|known| known.key != *key)).collect();
    if !unknown.is_empty() {
        return list(unknown, "Unknown");
    }
    let is_there = |parameter: &SandboxParameter| {
        let value = given.get(&parameter.key).filter(|value| !value.is_null()).or(parameter.default.as_ref());
        value.is_some_and(|value| !is_missing(&parameter.kind, value))
            || (parameter.kind == "credential_id" && parameter.default.is_none())
    };
    let missing: Vec<&str> =
        declared.iter().filter(|parameter| !is_there(parameter)).map(|parameter| parameter.key.as_str()).collect();
    if missing.is_empty() { Ok(()) } else { list(missing, "Missing") }
}

/// An empty text counts as a value for a string only.
fn is_missing(kind: &str, value: &Value) -> bool {
    kind != "string" && value.as_str().is_some_and(|text| text.trim().is_empty())
}

fn fits(kind: &str, value: &Value) -> bool {
    match (kind, value) {
        ("integer", Value::String(text)) => text.trim().parse::<i64>().is_ok(),
        ("float", Value::String(text)) => text.trim().parse::<f64>().is_ok(),
        ("integer" | "float", value) => value.is_number() || value.is_boolean(),
        ("boolean", Value::String(text)) => matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "1" | "0"),
        ("boolean", Value::Number(number)) => matches!(number.as_u64(), Some(0 | 1)),
        ("boolean", value) => value.is_boolean(),
        ("json", Value::String(text)) => serde_json::from_str::<Value>(text).is_ok(),
        ("json", value) => value.is_object() || value.is_array(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(given: Value, expected: Result<Value, &str>) {
        let parameter =
            |key: &str, kind: &str, default| SandboxParameter { key: key.into(), kind: kind.into(), default };
        let workflow = SandboxWorkflow {
            parameters: Some(vec![
                parameter("url", "string", Some(json!("x"))),
                parameter("need", "integer", None),
                parameter("login", "credential_id", None),
            ]),
            ..SandboxWorkflow::new(WorkflowId::new("wpid_1").unwrap())
        };
        let accepted = accept(&workflow, given.as_object().unwrap()).map(Value::Object);
        assert_eq!(accepted, expected.map_err(str::to_owned), "{given}");
    }

    // The words were recorded from a real server.
    #[test]
    fn what_is_accepted() {
        check(json!({"need": 1, "zzz": 2}), Ok(json!({"url": "x", "need": 1})));
        check(json!({"need": "7", "url": ""}), Ok(json!({"url": "", "need": "7"})));
        check(json!({}), Err("Missing value for parameter need in workflow wpid_1"));
        check(json!({"need": null}), Err("Missing value for parameter need in workflow wpid_1"));
        check(json!({"need": ""}), Err("Missing value for parameter need in workflow wpid_1"));
        check(json!({"need": "abc"}), Err("Invalid workflow parameter. Expected parameter type: integer. Value: abc."));
    }
}
