//! What the status knows and whom it asks: the event loop for the present, the history for the past, the API's pulse, the
//! file. Everything that is shown, measured or served as JSON comes from here.
//!
//! Nothing here runs on the event loop's thread but the brief look at the engine; the history is read by readers of its own, at
//! most as many at a time as the runtime has threads for blocking work.

use std::{path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    audits::Audits,
    health::{Check, Health, LOOP_ANSWER_TIME_MAX},
    trouble::Trouble,
};
use crate::{
    clock::Clock,
    daemon::{
        event_loop::{Input, Sight},
        metrics::Metrics,
        reload::InForce,
    },
    engine::OverviewOf,
    history::Reader,
    ids::Instance,
    skyvern::Client,
};

/// Whom the status asks.
pub(in crate::daemon) struct Sources {
    /// The installation's name.
    pub instance: Instance,
    /// Where the history is.
    pub state_dir: PathBuf,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The way to the event loop.
    pub inputs: mpsc::Sender<Input>,
    /// The file in force.
    pub in_force: watch::Receiver<InForce>,
    /// The API's client, for its pulse.
    pub client: Client,
    /// The runtime of the event loop: the client's connections live there, whoever asks.
    pub runtime: tokio::runtime::Handle,
    /// The counters.
    pub metrics: Arc<Metrics>,
}

/// What the routes share.
pub(super) struct Status {
    pub(super) sources: Sources,
    pub(super) started_at: DateTime<Utc>,
    pub(super) health: Health,
    pub(super) audits: Audits,
}

impl Status {
    pub(super) fn new(sources: Sources) -> Self {
        let started_at = sources.clock.now();
        let health = Health::new(sources.client.clone(), sources.runtime.clone());
        Self { sources, started_at, health, audits: Audits::default() }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.sources.clock.now()
    }

    /// The file in force.
    pub(super) fn in_force(&self) -> InForce {
        self.sources.in_force.borrow().clone()
    }

    /// A look at the event loop.
    pub(super) async fn sight(&self, of: OverviewOf) -> Result<Sight, Trouble> {
        let (answer, answered) = oneshot::channel();
        let exchange = async {
            self.sources.inputs.send(Input::Look(of, answer)).await.ok()?;
            answered.await.ok()
        };
        tokio::time::timeout(LOOP_ANSWER_TIME_MAX, exchange).await.ok().flatten().ok_or(Trouble::Loop)
    }

    /// Whether the daemon can fire, with a look at the loop that was had already.
    pub(super) async fn checks(&self, sight: Option<&Sight>) -> Vec<Check> {
        self.health.checks(self.now(), sight, self.in_force()).await
    }

    /// Does what blocks or takes long, apart from the connections.
    pub(super) async fn apart<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let status = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&status)).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Trouble::Ended),
            },
        }
    }

    /// A reader of the history. Blocks: to be called within [`Status::apart`].
    pub(super) fn reader(&self) -> Result<Reader, Trouble> {
        Ok(Reader::open(&self.sources.state_dir)?)
    }
}
