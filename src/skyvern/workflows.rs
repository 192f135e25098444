//! Workflows: which there are, and what parameters one declares.

use serde_json::{Map, Value};

use super::{client::Client, error::ApiError, wire};
use crate::ids::WorkflowId;

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
}

impl Client {
    /// The workflows of the organisation, a page (from 1) at a time; `search` looks at titles, among other things.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn list_workflows(
        &self,
        page: u32,
        page_size: u32,
        search: Option<&str>,
    ) -> Result<Vec<Workflow>, ApiError> {
        let mut url = self.url(&["v1", "workflows"]);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("page", &page.to_string()).append_pair("page_size", &page_size.to_string());
            if let Some(search) = search {
                query.append_pair("search_key", search);
            }
        }
        let workflows: Vec<wire::Workflow> = self.get(url, false).await?;
        Ok(workflows.into_iter().filter_map(|workflow| Some(in_our_words(workflow.id()?, workflow))).collect())
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
        kind,
    })
}
