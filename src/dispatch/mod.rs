//! Carrying out the engine's actions: starting a run, following it, cancelling it, looking for one that may have started.
//!
//! Each action is a task of its own that ends by telling the engine an event. Nothing is decided here, and no row is written:
//! whoever calls [`Dispatcher::carry_out`] has made the action's rows durable.

mod follow;
mod hints;
mod launch;
mod look;
mod settle;
mod workflows;

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::sync::mpsc;

use crate::{
    clock::Clock,
    engine::{Action, Event, RunReport},
    ids::{OccurrenceKey, RunId},
    schedule::template::Secrets,
    secret::Secret,
    skyvern::{ApiError, ApiErrorKind, Client},
};
pub use hints::Hints;
use workflows::Workflows;

/// How often a cancel is tried, and the longest wait between two tries: about four hours, the limit that servers set to a run.
const CANCEL_ATTEMPTS_MAX: u32 = 250;
const CANCEL_WAIT_SECONDS_MAX: u64 = 60;

/// How patient to be.
#[derive(Debug, Clone)]
pub struct Patience {
    /// The first wait between two looks at a run.
    pub poll_interval: Duration,
    /// The longest one, for runs that take long.
    pub poll_interval_max: Duration,
    /// How long after a start without a clear answer its request may still become a run.
    pub settle_grace: Duration,
}

/// Carries out actions. Cheap to clone.
#[derive(Clone)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    clock: Arc<dyn Clock>,
    state_dir: PathBuf,
    patience: Patience,
    events: mpsc::Sender<Event>,
    secrets: Secrets,
    workflows: Workflows,
    /// Set once, by who listens for webhooks.
    hints: OnceLock<Arc<Hints>>,
}

impl Dispatcher {
    /// A dispatcher that reports to `events`. `secrets` are what templates may speak of. The history in `state_dir` is only read, to tell whose run is whose.
    #[must_use]
    pub fn new(
        client: Client,
        clock: Arc<dyn Clock>,
        state_dir: PathBuf,
        patience: Patience,
        secrets: Secrets,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let shared = Shared {
            client,
            clock,
            state_dir,
            patience,
            events,
            secrets,
            workflows: Workflows::default(),
            hints: OnceLock::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// From now on, each run gets an address at which its server can tell of its end.
    pub fn ask_for_webhooks(&self, hints: Arc<Hints>) {
        let _ = self.shared.hints.set(hints);
    }

    /// How long ago the API was last heard of, and what was wrong with it then; `None`: never.
    #[must_use]
    pub fn heard(&self) -> Option<(Duration, Option<String>)> {
        self.shared.client.heard()
    }

    /// Starts carrying out one action; the event that it ends with comes later. [`Action::Answer`], [`Action::Handover`]
    /// and [`Action::Mirror`] are not deeds of this kind and are left to the caller.
    ///
    /// Must be called within a tokio runtime.
    pub fn carry_out(&self, action: Action) {
        let shared = Arc::clone(&self.shared);
        match action {
            Action::Launch(launch) => drop(tokio::spawn(async move { shared.launch(*launch).await })),
            Action::Follow { key, run_id, since } => {
                drop(tokio::spawn(async move { shared.follow(key, run_id, since).await }));
            }
            Action::Settle(settle) => drop(tokio::spawn(async move { shared.settle(*settle).await })),
            Action::Cancel { key, run_id } => drop(tokio::spawn(async move { shared.cancel(key, run_id).await })),
            Action::Look(look) => drop(tokio::spawn(async move { shared.look_at_server_runs(*look).await })),
            Action::Handover { .. } | Action::Mirror | Action::Answer { .. } => {}
        }
    }
}

impl Shared {
    /// Tells the engine. A loop that has gone does not want to know.
    async fn tell(&self, event: Event) {
        let _ = self.events.send(event).await;
    }

    /// A report without the secrets that went into the request: a workflow may well put what it was given into its output.
    fn without_secrets(&self, mut report: RunReport) -> RunReport {
        let texts = [&mut report.output, &mut report.errors, &mut report.failure_reason, &mut report.downloaded_files];
        for text in texts.into_iter().flatten() {
            for secret in self.secrets.values() {
                *text = secret.redact(text);
                // As it stands inside a JSON string.
                let quoted = serde_json::Value::from(secret.expose()).to_string();
                *text = Secret::new(quoted[1..quoted.len() - 1].to_owned()).redact(text);
            }
        }
        report
    }

    /// Whether nobody is told any more.
    fn over(&self) -> bool {
        self.events.is_closed()
    }

    /// Cancelling is a wish: what became of it is seen where the run is followed.
    async fn cancel(&self, key: OccurrenceKey, run_id: RunId) {
        for attempt in 1..=CANCEL_ATTEMPTS_MAX {
            match self.client.cancel_run(&run_id).await {
                Ok(()) => return,
                // A key can be repaired, and what cannot be understood now may be a proxy that goes away again.
                Err(error) if !is_final(&error) && attempt < CANCEL_ATTEMPTS_MAX && !self.over() => {
                    let wait = error.retry_after.unwrap_or(Duration::from_secs(1 << attempt.min(6)));
                    let wait = wait.min(Duration::from_secs(CANCEL_WAIT_SECONDS_MAX));
                    tracing::warn!(occurrence = %key, %run_id, %error, "the run could not be cancelled yet");
                    tokio::time::sleep(wait).await;
                }
                Err(error) => {
                    tracing::error!(occurrence = %key, %run_id, %error, hint = error.hint, "the run could not be cancelled");
                    return;
                }
            }
        }
    }
}

/// The same cancel would get the same answer for ever.
fn is_final(error: &ApiError) -> bool {
    matches!(error.kind, ApiErrorKind::NotFound | ApiErrorKind::Refused)
}
