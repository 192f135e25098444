//! What workflows declare, remembered for a while: a parameter that a workflow does not declare is dropped by the server in
//! silence, and that must be said.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use crate::{
    dispatch::Shared,
    engine::Event,
    ids::{OccurrenceKey, WorkflowId},
    skyvern::ApiError,
};

/// How long what a workflow declares is taken as it was.
const REMEMBERED_MINUTES: i64 = 60;
/// Workflows that are remembered; past it, all are forgotten and asked for again.
const WORKFLOWS_MAX: usize = 10_000;

/// What is known of each workflow, and since when.
#[derive(Debug, Default)]
pub(super) struct Workflows(Mutex<HashMap<WorkflowId, Declared>>);

/// When it was read, and what.
type Declared = (DateTime<Utc>, Known);

/// What is known of a workflow.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// The names of its parameters.
    parameters: Vec<String>,
    /// It has a webhook of its own, which a run's would replace.
    pub has_webhook: bool,
}

impl Workflows {
    fn get(&self, id: &WorkflowId, now: DateTime<Utc>) -> Option<Known> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, what) = known.get(id)?;
        (now - *at < TimeDelta::minutes(REMEMBERED_MINUTES)).then(|| what.clone())
    }

    fn put(&self, id: &WorkflowId, now: DateTime<Utc>, what: Known) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= WORKFLOWS_MAX {
            known.clear();
        }
        known.insert(id.clone(), (now, what));
    }
}

impl Shared {
    /// What is known of a workflow, asked for where it is not.
    pub(super) async fn workflow(&self, id: &WorkflowId) -> Result<Known, ApiError> {
        let now = self.clock.now();
        if let Some(known) = self.workflows.get(id, now) {
            return Ok(known);
        }
        let workflow = self.client.get_workflow(id).await?;
        let parameters = workflow.parameters.into_iter().map(|parameter| parameter.key).collect();
        let known = Known { parameters, has_webhook: workflow.has_webhook };
        self.workflows.put(id, now, known.clone());
        Ok(known)
    }

    /// Tells which of the parameters of a start the server dropped, if any. After the start: a look before it would hold it up.
    pub(super) async fn warn_of_dropped(&self, key: OccurrenceKey, id: &WorkflowId, parameters: &Map<String, Value>) {
        if parameters.is_empty() {
            return;
        }
        let declared = match self.workflow(id).await {
            Ok(known) => known.parameters,
            Err(error) => {
                tracing::debug!(occurrence = %key, %error, "what the workflow declares could not be read");
                return;
            }
        };
        let dropped: Vec<&str> =
            parameters.keys().map(String::as_str).filter(|name| !declared.iter().any(|d| d == name)).collect();
        if !dropped.is_empty() {
            let text = format!(
                "{id} does not declare {}, and the server dropped what it does not declare: {}; mend the name, or declare it in \
                 the workflow",
                dropped.join(", "),
                if declared.is_empty() {
                    "it declares nothing".to_owned()
                } else {
                    format!("it declares {}", declared.join(", "))
                },
            );
            self.tell(Event::ParametersDropped { key, text }).await;
        }
    }
}
