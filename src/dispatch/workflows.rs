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
};

/// How long what a workflow declares is taken as it was.
const REMEMBERED_MINUTES: i64 = 60;
/// Workflows that are remembered; past it, all are forgotten and asked for again.
const WORKFLOWS_MAX: usize = 10_000;

/// Names of the parameters that each workflow declares, and when that was read.
#[derive(Debug, Default)]
pub(super) struct Workflows(Mutex<HashMap<WorkflowId, Declared>>);

/// When it was read, and the names.
type Declared = (DateTime<Utc>, Vec<String>);

impl Workflows {
    fn get(&self, id: &WorkflowId, now: DateTime<Utc>) -> Option<Vec<String>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, keys) = known.get(id)?;
        (now - *at < TimeDelta::minutes(REMEMBERED_MINUTES)).then(|| keys.clone())
    }

    fn put(&self, id: &WorkflowId, now: DateTime<Utc>, keys: Vec<String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= WORKFLOWS_MAX {
            known.clear();
        }
        known.insert(id.clone(), (now, keys));
    }
}

impl Shared {
    /// Tells which of the parameters of a start the server dropped, if any. After the start: a look before it would hold it up.
    pub(super) async fn warn_of_dropped(&self, key: OccurrenceKey, id: &WorkflowId, parameters: &Map<String, Value>) {
        if parameters.is_empty() {
            return;
        }
        let now = self.clock.now();
        let declared = match self.workflows.get(id, now) {
            Some(declared) => declared,
            None => match self.client.get_workflow(id).await {
                Ok(workflow) => {
                    let keys: Vec<String> = workflow.parameters.into_iter().map(|parameter| parameter.key).collect();
                    self.workflows.put(id, now, keys.clone());
                    keys
                }
                Err(error) => {
                    tracing::debug!(occurrence = %key, %error, "what the workflow declares could not be read");
                    return;
                }
            },
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
