//! Applying the mirror without a daemon: with the history's lock, so that none can start meanwhile.

use tokio::sync::watch;

use super::{
    event_loop::Input,
    service::{DaemonError, Parts, Setup},
};
use crate::{
    history::HistoryError,
    mirror::{Deletes, Plan, StepResult},
    skyvern::ApiError,
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

/// Looks, plans and applies, and closes the history again. Who fires what is written down as by a daemon: the next one goes on
/// from there, catches up with what was its own, and looks for what the server started.
///
/// # Errors
/// Nothing was changed that is not written down.
pub async fn apply_mirror_alone(setup: &Setup, deletes: Deletes) -> Result<Applied, ApplyError> {
    let mut parts = Parts::assemble(setup, false)?;
    let boot = parts.boot(setup);
    let (_current, schedules) = watch::channel(setup.config.schedules.clone());
    let mirroring = parts.mirroring(setup, schedules);
    let inputs = parts.inputs();
    let apply = async {
        let applied = mirroring.alone(deletes).await;
        let _ = inputs.send(Input::Stop).await;
        applied
    };
    let (ended, applied) = tokio::join!(parts.run(boot), apply);
    parts.close(ended).await?;
    let (plan, results) = applied.map_err(ApplyError::Server)?;
    Ok(Applied { plan, results })
}
