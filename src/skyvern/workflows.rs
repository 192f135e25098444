//! Workflows: which there are, what parameters one declares, and what it takes for them.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{client::Client, error::ApiError, wire};
use crate::ids::WorkflowId;

/// Workflows of one organisation that are listed at most.
pub const WORKFLOWS_MAX: usize = 10_000;
/// Workflows to a page: a definition with long prompts in it is large, and an answer has a limit.
const PAGE_SIZE: u32 = 25;

/// A workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Workflow {
    /// Its permanent id.
    pub id: WorkflowId,
    /// Its title.
    pub title: String,
    /// Its newest version.
    pub version: Option<u32>,
    /// What it can be given.
    pub parameters: Vec<WorkflowParameter>,
    /// Whether it was deleted.
    pub deleted: bool,
    /// It has a webhook of its own, which one that is given with a run replaces.
    pub has_webhook: bool,
}

/// A parameter that a workflow declares.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkflowParameter {
    /// Its name.
    pub key: String,
    /// `string`, `integer`, `float`, `boolean`, `json`, `file_url`, `credential_id`; for parameters that are not given with
    /// a run (secrets of other systems), the kind of those.
    pub kind: String,
    /// What it is without a value.
    pub default: Option<Value>,
    /// A run without a value for it is refused.
    pub required: bool,
    /// A run can be given a value for it: not so for secrets of other systems, which the workflow fetches itself.
    pub input: bool,
}

impl Workflow {
    /// The names among these parameters that the workflow does not declare: the server drops them in silence.
    #[must_use]
    pub fn undeclared<'a>(&self, parameters: &'a Map<String, Value>) -> Vec<&'a str> {
        parameters.keys().map(String::as_str).filter(|key| !self.parameters.iter().any(|p| p.key == *key)).collect()
    }

    /// The parameters that the workflow requires and that are absent or null here: the server refuses such a start.
    #[must_use]
    pub fn missing(&self, parameters: &Map<String, Value>) -> Vec<&str> {
        let given = |key: &str| parameters.get(key).is_some_and(|value| !value.is_null());
        self.parameters.iter().filter(|p| p.required && !given(&p.key)).map(|p| p.key.as_str()).collect()
    }

    /// The parameter of this name.
    #[must_use]
    pub fn parameter(&self, key: &str) -> Option<&WorkflowParameter> {
        self.parameters.iter().find(|parameter| parameter.key == key)
    }
}

impl WorkflowParameter {
    /// What is wrong with a value for it, as the end of a sentence; `None`: the server takes it. A kind that is not known
    /// takes everything.
    #[must_use]
    pub fn unfit(&self, value: &Value) -> Option<&'static str> {
        let text = value.as_str().map(str::trim);
        let is_number = value.is_number() || value.is_boolean();
        match self.kind.as_str() {
            _ if value.is_null() => None,
            // An empty text is a value for a text only.
            "string" => None,
            _ if text == Some("") => Some("is empty"),
            // As Python reads numbers, underscores and all; what is not sure is let pass.
            "integer" => {
                let reads = |text: &str| text.replace('_', "").parse::<i128>().is_ok();
                (!is_number && !text.is_some_and(reads)).then_some("is no integer")
            }
            "float" => {
                let reads = |text: &str| text.replace('_', "").parse::<f64>().is_ok();
                (!is_number && !text.is_some_and(reads)).then_some("is no number")
            }
            "boolean" => {
                let word = match value {
                    Value::Bool(_) => return None,
                    Value::Number(number) => number.to_string(),
                    other => other.as_str().unwrap_or_default().to_lowercase(),
                };
                (!["true", "false", "1", "0"].contains(&word.as_str())).then_some("is neither true nor false")
            }
            "json" => {
                let reads = |text: &str| serde_json::from_str::<Value>(text).is_ok();
                let fits = value.is_object() || value.is_array() || text.is_some_and(reads);
                (!fits).then_some("is neither a table nor an array, nor a text that is JSON")
            }
            "file_url" | "credential_id" => text.is_none().then_some("is no text"),
            _ => None,
        }
    }
}

impl Client {
    /// The workflows of the organisation, at most `limit` (and [`WORKFLOWS_MAX`]); `search` looks at titles, among other
    /// things. Each is there once, also where rows shifted between two pages.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn list_workflows(&self, search: Option<&str>, limit: usize) -> Result<Vec<Workflow>, ApiError> {
        let limit = limit.min(WORKFLOWS_MAX);
        let mut found: Vec<Workflow> = Vec::new();
        let mut seen = HashSet::new();
        for page in 1.. {
            let mut url = self.url(&["v1", "workflows"]);
            {
                let mut query = url.query_pairs_mut();
                query.append_pair("page", &page.to_string()).append_pair("page_size", &PAGE_SIZE.to_string());
                if let Some(search) = search {
                    query.append_pair("search_key", search);
                }
            }
            let rows: Vec<wire::Workflow> = self.get(url, false).await?;
            let is_last = rows.len() < PAGE_SIZE as usize;
            let before = found.len();
            let workflows = rows.into_iter().filter_map(|row| Some(in_our_words(row.id()?, row)));
            found.extend(workflows.filter(|workflow| seen.insert(workflow.id.clone())));
            // A server that answers every page with the same rows has no more either.
            if is_last || found.len() >= limit || found.len() == before {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// One workflow, in its newest version.
    ///
    /// # Errors
    /// `NotFound`: the organisation of this key has none of this id, or it was deleted.
    pub async fn get_workflow(&self, workflow: &WorkflowId) -> Result<Workflow, ApiError> {
        let answer = self.get(self.url(&["api", "v1", "workflows", workflow.as_str()]), false).await?;
        Ok(in_our_words(workflow.clone(), answer))
    }
}

fn in_our_words(id: WorkflowId, workflow: wire::Workflow) -> Workflow {
    let parameters = workflow.workflow_definition.unwrap_or_default().parameters;
    Workflow {
        id,
        title: workflow.title.unwrap_or_default(),
        version: workflow.version,
        parameters: parameters.into_iter().filter_map(parameter).collect(),
        deleted: workflow.deleted_at.is_some(),
        has_webhook: workflow.webhook_callback_url.is_some_and(|url| !url.trim().is_empty()),
    }
}

/// `None` for what blocks put out, which the definition lists among the parameters.
fn parameter(parameter: wire::Parameter) -> Option<WorkflowParameter> {
    let family = parameter.parameter_type.unwrap_or_default();
    if family == "output" {
        return None;
    }
    let is_input = family == "workflow";
    let kind = if is_input { parameter.workflow_parameter_type.unwrap_or_default() } else { family };
    Some(WorkflowParameter {
        key: parameter.key?,
        // A credential without a default is one at will: the run goes on without it.
        required: is_input && parameter.default_value.is_none() && kind != "credential_id",
        default: parameter.default_value,
        input: is_input,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // As a real server (1.0.56) takes them: `WorkflowParameterType.convert_value`.
    #[test]
    fn what_fits() {
        let check = |kind: &str, value: Value, fits: bool| {
            let parameter = WorkflowParameter {
                key: "a".to_owned(),
                kind: kind.to_owned(),
                default: None,
                required: false,
                input: true,
            };
            assert_eq!(parameter.unfit(&value).is_none(), fits, "{kind} {value}");
        };
        check("string", json!(""), true);
        check("string", json!({"a": 1}), true);
        check("integer", json!(7), true);
        check("integer", json!(" -7 "), true);
        check("integer", json!("1_000"), true);
        check("integer", json!("7.5"), false);
        check("integer", json!("abc"), false);
        check("integer", json!(""), false);
        check("integer", json!([7]), false);
        check("float", json!("7.5e3"), true);
        check("float", json!("seven"), false);
        check("boolean", json!(true), true);
        check("boolean", json!("False"), true);
        check("boolean", json!(1), true);
        check("boolean", json!(2), false);
        check("boolean", json!("yes"), false);
        check("json", json!([1]), true);
        check("json", json!("{\"a\":1}"), true);
        check("json", json!("{a}"), false);
        check("json", json!(5), false);
        check("file_url", json!("https://example.com/a.csv"), true);
        check("file_url", json!(5), false);
        check("credential_id", json!("cred_1"), true);
        check("credential_id", json!(""), false);
        check("aws_secret", json!([]), true);
        check("integer", json!(null), true);
    }
}
