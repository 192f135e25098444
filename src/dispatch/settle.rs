//! Looking for the run of a start that was not clearly answered: the requests of the dialogue in `engine::settle`.
//!
//! What to look at, for how long, and what follows from it, is decided there.

use chrono::{DateTime, Utc};

use crate::{
    clock::{Stopwatch, delta},
    crash_point::crash_point,
    dispatch::Shared,
    engine::{
        Event,
        event::Settle,
        settle::{Candidate, Inquiry, Seen, Step},
    },
    history::{HistoryError, Reader},
    ids::{OccurrenceKey, WorkflowId},
    skyvern::{ApiError, ApiErrorKind, RunFilter, RunListEntry, TAG_KEY, TagSearch, tag_value},
};

/// Rows of a workflow's list of runs that are looked through, at most: pages of this size, and so many of them.
const PAGE_ROWS: u32 = 100;
const PAGES_MAX: u32 = 20;

impl Shared {
    pub(super) async fn settle(&self, settle: Settle) {
        let key = settle.key.clone();
        // What was sent had its templates filled in; a template that fails now was not sent then.
        let parameters = settle.asked.as_ref().and_then(|(schedule, parameters)| {
            self.rendered(&key, schedule, parameters).ok().map(|(parameters, _)| parameters)
        });
        // The wall clock may be set meanwhile, and a step forward must not end the grace early: it is read once, and the
        // monotonic one counts on from there.
        let (begun, watch) = (self.clock.now(), Stopwatch::start());
        let mut inquiry = Inquiry::new(&settle, parameters, begun, delta(self.patience.settle_grace));
        loop {
            if self.over() {
                return;
            }
            let now = begun + delta(watch.elapsed());
            let seen = match inquiry.step(now) {
                Step::Conclude(verdict) => {
                    crash_point("settled");
                    self.tell(Event::Settled { key, verdict }).await;
                    return;
                }
                Step::WaitUntil(instant) => {
                    // Capped, so that it is soon seen that nobody listens any more.
                    let wait = (instant - now).to_std().unwrap_or_default().min(std::time::Duration::from_secs(5));
                    tokio::time::sleep(wait).await;
                    continue;
                }
                Step::AskWhetherTagsWork => self.tags_work(&settle.workflow_id).await.map(Seen::TagsWork),
                Step::SearchByTag => {
                    let tag = Some((TAG_KEY.to_owned(), tag_value(&key)));
                    self.runs(&settle, RunFilter { tag, ..RunFilter::default() }, 1).await.map(Seen::Tagged)
                }
                Step::ListSince(since) => self.listed(&settle, since).await.map(Seen::Listed),
            };
            let seen = seen.unwrap_or_else(|error| {
                tracing::warn!(occurrence = %key, %error, hint = error.hint, "its run cannot be looked for yet");
                Seen::Failed(error.message)
            });
            crash_point("in-settle");
            inquiry.saw(now, seen);
        }
    }

    /// Without proof, the list of the workflow's runs is looked through instead.
    async fn tags_work(&self, workflow: &WorkflowId) -> Result<bool, ApiError> {
        match self.client.tag_search(workflow).await {
            Ok(search) => Ok(search == TagSearch::Works),
            // An organisation may be kept from searching by tag while its key is good.
            Err(error) if error.kind == ApiErrorKind::Unauthorized => self.client.check_key().await.map(|_| false),
            Err(error) => Err(error),
        }
    }

    async fn listed(&self, settle: &Settle, since: DateTime<Utc>) -> Result<Vec<Candidate>, ApiError> {
        let filter = RunFilter { created_at_start: Some(since), ..RunFilter::default() };
        let mut candidates = self.runs(settle, filter, PAGES_MAX).await?;
        candidates.retain(|run| !run.taken && run.by_api && run.created_at.is_none_or(|at| at >= since));
        for candidate in &mut candidates {
            // A tag of another occurrence says whose it is. Servers without tags do not have the call.
            let tags = match self.client.run_tags(&candidate.run_id).await {
                Ok(tags) => tags,
                Err(error)
                    if matches!(
                        error.kind,
                        ApiErrorKind::Nonsense | ApiErrorKind::NotFound | ApiErrorKind::Unauthorized
                    ) =>
                {
                    Vec::new()
                }
                Err(error) => return Err(error),
            };
            candidate.taken = tags.iter().any(|(name, value)| name == TAG_KEY && *value != tag_value(&settle.key));
            if !candidate.taken {
                candidate.parameters = self.client.run_parameters(&candidate.run_id).await.ok();
            }
        }
        Ok(candidates)
    }

    async fn runs(&self, settle: &Settle, filter: RunFilter, pages_max: u32) -> Result<Vec<Candidate>, ApiError> {
        let mut candidates = Vec::new();
        for page in 1..=pages_max {
            let filter = RunFilter { page, page_size: PAGE_ROWS, ..filter.clone() };
            let rows = self.client.list_workflow_runs(&settle.workflow_id, &filter).await?;
            let last = rows.len() < PAGE_ROWS as usize
                || filter.created_at_start.is_some_and(|since| {
                    // Older servers ignore the filter; the list is newest first.
                    rows.last().and_then(|row| row.created_at).is_some_and(|at| at < since)
                });
            // Once for the whole page: opening takes longer than a look-up, and the event loop waits meanwhile.
            let history = Reader::open(&self.state_dir).map_err(|error| unreadable(&error))?;
            for row in rows {
                candidates.push(candidate(&history, &settle.key, row).map_err(|error| unreadable(&error))?);
            }
            if last {
                break;
            }
        }
        Ok(candidates)
    }
}

/// Whose a run is cannot be told without the history: that look has failed, and the run is not free.
fn unreadable(error: &HistoryError) -> ApiError {
    ApiError {
        kind: ApiErrorKind::Unavailable,
        http_status: None,
        retry_after: None,
        message: format!("whose runs they are cannot be looked up: {error}"),
        hint: error.hint().unwrap_or("look at the history's disk"),
    }
}

fn candidate(history: &Reader, key: &OccurrenceKey, row: RunListEntry) -> Result<Candidate, HistoryError> {
    let owner = history.run(&row.run_id)?;
    Ok(Candidate {
        taken: owner.is_some_and(|owner| owner.row.occurrence != *key),
        by_api: row.trigger_type.as_deref().is_none_or(|kind| kind == "api"),
        run_id: row.run_id,
        status: row.status,
        created_at: row.created_at,
        parameters: None,
    })
}
