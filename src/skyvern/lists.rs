//! A workflow's runs, and the tags of a run: where the run of an unanswered start is looked for.

use chrono::{DateTime, Utc};

use super::{client::Client, error::ApiError, wire};
use crate::{
    clock::rfc3339_millis,
    engine::RunStatus,
    ids::{RunId, WorkflowId},
};

/// Which runs of a workflow. The newest come first; rows shift between pages while runs are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFilter {
    /// Only those with this tag (name, value). Servers before 1.0.47 ignore it and answer with every run: ask
    /// [`Client::tag_search`] first.
    pub tag: Option<(String, String)>,
    /// Only those created at or after this instant. Servers before 1.0.45 ignore it.
    pub created_at_start: Option<DateTime<Utc>>,
    /// From 1.
    pub page: u32,
    /// Rows to a page.
    pub page_size: u32,
}

impl Default for RunFilter {
    fn default() -> Self {
        Self { tag: None, created_at_start: None, page: 1, page_size: 100 }
    }
}

/// A row of a workflow's runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunListEntry {
    /// The run.
    pub run_id: RunId,
    /// Where it stands.
    pub status: RunStatus,
    /// The server will run it again under the same id.
    pub retry_pending: bool,
    /// `api`, `scheduled`, `manual`, …
    pub trigger_type: Option<String>,
    /// The server's schedule that started it.
    pub server_schedule_id: Option<String>,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// When the server made it.
    pub created_at: Option<DateTime<Utc>>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

impl Client {
    /// A workflow's runs, the newest first. A workflow that does not exist has none.
    ///
    /// # Errors
    /// `Unauthorized` also where the organisation may not search by tag.
    pub async fn list_workflow_runs(
        &self,
        workflow: &WorkflowId,
        filter: &RunFilter,
    ) -> Result<Vec<RunListEntry>, ApiError> {
        let mut url = self.url(&["api", "v1", "workflows", workflow.as_str(), "runs"]);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("page", &filter.page.to_string());
            query.append_pair("page_size", &filter.page_size.to_string());
            if let Some((key, value)) = &filter.tag {
                query.append_pair("tags", &format!("{key}:{value}"));
            }
            if let Some(from) = filter.created_at_start {
                query.append_pair("created_at_start", &rfc3339_millis(from));
            }
        }
        let rows: Vec<wire::RunRow> = self.get(url, false).await?;
        Ok(rows.into_iter().filter_map(entry).collect())
    }

    /// The tags of a run, as (name, value); a label's value is empty.
    ///
    /// # Errors
    /// `Nonsense` with 404 on servers before 1.0.47, which do not have the call.
    pub async fn run_tags(&self, run: &RunId) -> Result<Vec<(String, String)>, ApiError> {
        let tags: wire::RunTags = self.get(self.url(&["v1", "runs", run.as_str(), "tags"]), false).await?;
        Ok(tags.tags.into_iter().map(|tag| (tag.key, tag.value.unwrap_or_default())).collect())
    }
}

/// The row in our words; `None` for one without an id, which nothing could be done with.
fn entry(row: wire::RunRow) -> Option<RunListEntry> {
    Some(RunListEntry {
        run_id: RunId::new(&row.workflow_run_id?).ok()?,
        status: RunStatus::from_word(&row.status?),
        retry_pending: row.retry_pending.unwrap_or(false),
        trigger_type: row.trigger_type,
        server_schedule_id: row.workflow_schedule_id,
        failure_reason: row.failure_reason,
        created_at: row.created_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
    })
}
