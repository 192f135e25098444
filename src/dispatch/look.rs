//! A look at the runs that the server's own schedules of a workflow started.
//!
//! Whose they are, and when to look again, is decided by the engine. Runs that an ended occurrence has are left out here: only
//! the history knows them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::{
    crash_point::crash_point,
    dispatch::Shared,
    engine::{
        Event,
        event::{Look, ServerRun, ServerRuns},
    },
    history::Reader,
    ids::{RunId, ScheduleId, ServerScheduleId},
    skyvern::{RunFilter, RunListEntry, scheduled_run_id},
};

/// Rows of a workflow's list of runs that are looked through, at most: pages of this size, and so many of them.
const PAGE_ROWS: u32 = 100;
const PAGES_MAX: u32 = 20;

impl Shared {
    pub(super) async fn look_at_server_runs(&self, look: Look) {
        let seen = self.server_runs(&look).await;
        if let Err(error) = &seen {
            tracing::warn!(workflow_id = %look.workflow_id, error, "what the server started cannot be looked at yet");
        }
        crash_point("looked");
        self.tell(Event::Looked { workflow_id: look.workflow_id, seen }).await;
    }

    async fn server_runs(&self, look: &Look) -> Result<ServerRuns, String> {
        let mut seen = ServerRuns::default();
        let named: Named = look
            .expected
            .iter()
            .flat_map(|(copy, schedule, instants)| {
                instants.iter().map(move |at| (scheduled_run_id(copy, *at), (schedule.clone(), *at)))
            })
            .collect();
        for page in 1..=PAGES_MAX {
            let filter = RunFilter { page, page_size: PAGE_ROWS, created_at_start: Some(look.since), tag: None };
            let rows = self
                .client
                .list_workflow_runs(&look.workflow_id, &filter)
                .await
                .map_err(|error| format!("{error} ({})", error.hint))?;
            let oldest = rows.last().and_then(|row| row.created_at);
            // Older servers ignore the filter; the list is newest first.
            let last = rows.len() < PAGE_ROWS as usize || oldest.is_some_and(|at| at < look.since);
            let history = Reader::open(&self.state_dir).map_err(|error| error.to_string())?;
            for row in rows {
                let Some(run) = server_run(look, &named, row) else { continue };
                if history.run(&run.run_id).map_err(|error| error.to_string())?.is_none() {
                    seen.runs.push(run);
                }
            }
            if last {
                return Ok(seen);
            }
            seen.complete_since = oldest;
        }
        Ok(seen)
    }
}

/// The ids that the runs of the expected occurrences have, on servers that make them so.
type Named = HashMap<RunId, (ScheduleId, DateTime<Utc>)>;

/// The row in the engine's words; `None` for what no schedule of the server started, or what is too old.
fn server_run(look: &Look, named: &Named, row: RunListEntry) -> Option<ServerRun> {
    let created_at = row.created_at.filter(|at| *at >= look.since)?;
    let of = named.get(&row.run_id).cloned();
    if row.server_schedule_id.is_none() && of.is_none() {
        return None;
    }
    Some(ServerRun {
        run_id: row.run_id,
        status: row.status,
        retry_pending: row.retry_pending,
        copy: row.server_schedule_id.and_then(|id| ServerScheduleId::new(&id).ok()),
        of,
        created_at,
    })
}
