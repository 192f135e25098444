//! Applying the mirror without a daemon: with the history's lock, so that none can start meanwhile.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{DateTime, Utc};

use super::service::{DaemonError, Setup, client_options};
use crate::{
    history::{History, HistoryError, HistoryOptions, Store},
    ids::ScheduleId,
    mirror::{
        ApplyOptions, CopyName, Deletes, Handover, Plan, PlanSettings, Postponed, StepResult, apply, observe, plan,
    },
    skyvern::{ApiError, Client},
};

/// What came of an apply.
#[derive(Debug)]
pub struct Applied {
    /// What was to be done.
    pub plan: Plan,
    /// What came of each of its steps.
    pub results: Vec<StepResult>,
}

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The history or the client could not be used; `Locked` among it: a daemon runs.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The server could not be read. Nothing was changed.
    #[error("{0}")]
    Server(ApiError),
}

impl From<HistoryError> for ApplyError {
    fn from(error: HistoryError) -> Self {
        Self::Daemon(error.into())
    }
}

/// Looks, plans and applies, and closes the history again.
///
/// # Errors
/// Nothing was changed.
pub async fn apply_mirror_alone(setup: &Setup, deletes: Deletes) -> Result<Applied, ApplyError> {
    let settings = &setup.config.settings;
    let client = Client::new(&client_options(&settings.api, setup.api_key.clone())).map_err(DaemonError::from)?;
    let store = Store::open(&setup.state_dir, &HistoryOptions::default())?;
    let (rows, memory) = (store.mirror()?, store.memory()?);
    let now = setup.clock.now();
    let paused = |until: Option<DateTime<Utc>>| until.is_none_or(|until| until > now);
    let schedules = memory.schedules.iter();
    let is_paused = schedules.filter(|known| known.pause.as_ref().is_some_and(|pause| paused(pause.until)));
    let paused = is_paused.map(|known| known.id.clone()).collect();
    let wanted = &setup.config.schedules;
    let observed = observe(&client, wanted, rows, paused).await.map_err(ApplyError::Server)?;
    let plan_settings = PlanSettings { instance: settings.instance.clone(), prune: settings.mirror.prune };
    let plan = plan(wanted, &observed, &plan_settings, now);
    let history = History::start(store, &HistoryOptions::default(), Arc::clone(&setup.clock))?;
    let alone = Alone { fired_here: memory.schedules.into_iter().map(|known| known.id).collect() };
    let options = ApplyOptions::new(settings.instance.clone(), deletes);
    let results = apply(&client, &plan, &options, &history, &alone, setup.clock.as_ref()).await;
    history.close().await.map_err(DaemonError::Close)?;
    Ok(Applied { plan, results })
}

/// The door where no daemon is behind it. What a daemon fired before is handed to the server by a daemon only: it knows which
/// occurrences were its own, and this process would leave the one that is due just now to both, or to nobody.
struct Alone {
    fired_here: BTreeSet<ScheduleId>,
}

impl Handover for Alone {
    async fn before_enable(&self, schedule: &ScheduleId, _: &CopyName) -> Result<(), Postponed> {
        if self.fired_here.contains(schedule) {
            return Err(Postponed("a daemon had this schedule: it hands it over when it runs again".to_owned()));
        }
        Ok(())
    }

    async fn enabled(&self, _: &ScheduleId, _: &CopyName, _: Option<DateTime<Utc>>) {}

    async fn not_enabled(&self, _: &ScheduleId, _: &CopyName, _: &str) {}

    async fn before_disable(&self, _: &ScheduleId, _: &CopyName) -> Result<(), Postponed> {
        Ok(())
    }

    async fn disabled(&self, _: &ScheduleId, _: &CopyName, _: Option<DateTime<Utc>>) {}

    async fn before_rewrite(&self, _: &ScheduleId, _: &CopyName) -> Result<(), Postponed> {
        Ok(())
    }

    async fn rewritten(&self, _: &ScheduleId, _: &CopyName, _: Option<DateTime<Utc>>) {}
}
