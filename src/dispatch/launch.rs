//! One start: the request, its answer, and a word about parameters that the server will drop.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::{Map, Value};

use crate::{
    crash_point::crash_point,
    dispatch::Shared,
    engine::{
        Event,
        event::{Launch, LaunchReply},
    },
    ids::{OccurrenceKey, WorkflowId},
    schedule::{
        Schedule,
        template::{self, Occasion, TemplateError},
    },
    secret::Secret,
    skyvern::{StartReply, StartRun, occurrence_metadata, refuses_the_webhook},
};

/// The option of a run that names the address for its webhook.
const WEBHOOK_URL: &str = "webhook_url";
/// How long a start waits, at most, for the word whether its workflow has a webhook of its own.
const LOOK_BEFORE_START_MAX: Duration = Duration::from_secs(1);

/// The parameters and the other options of a request.
type Rendered = (Map<String, Value>, Map<String, Value>);

impl Shared {
    /// The parameters and options with their templates filled in. They go into the request, and nowhere else.
    pub(super) fn rendered(
        &self,
        key: &OccurrenceKey,
        schedule: &Schedule,
        parameters: &Map<String, Value>,
    ) -> Result<Rendered, TemplateError> {
        let occasion = Occasion::of(key, &schedule.timetable);
        let parameters = template::render_all(parameters, &occasion, &self.secrets)?;
        let run_options = template::render_all(&schedule.run_options, &occasion, &self.secrets)?;
        Ok((parameters, run_options))
    }

    /// Puts an address for the run's webhook among the options, where we listen for one and nobody else wants it: the file's own
    /// stays, and so does the workflow's, which one that is given with a run would replace. `true`: it is there.
    async fn ask_for_webhook(
        &self,
        key: &OccurrenceKey,
        workflow_id: &WorkflowId,
        run_options: &mut Map<String, Value>,
    ) -> bool {
        let Some(hints) = self.hints.get().filter(|_| !run_options.contains_key(WEBHOOK_URL)) else { return false };
        let Some(address) = hints.address(key) else { return false };
        let known = tokio::time::timeout(LOOK_BEFORE_START_MAX, self.workflow(workflow_id)).await;
        if !matches!(known, Ok(Ok(known)) if !known.has_webhook) {
            return false;
        }
        hints.watch(key).asked.store(true, Ordering::Relaxed);
        run_options.insert(WEBHOOK_URL.to_owned(), address.into());
        true
    }

    fn webhook_refused(&self, reply: &StartReply) {
        if let (Some(hints), StartReply::Refused { message, .. }) = (self.hints.get(), reply)
            && hints.refused()
        {
            let hint = "runs are followed by looking alone; let public_url be an address that Skyvern may reach, or ask its \
                        operator for ALLOWED_HOSTS";
            tracing::warn!(hint, "the server takes no webhooks to public_url: {message}");
        }
    }

    pub(super) async fn launch(&self, launch: Launch) {
        let Launch { key, attempt, schedule, parameters } = launch;
        let (parameters, mut run_options) = match self.rendered(&key, &schedule, &parameters) {
            Ok(rendered) => rendered,
            Err(error) => {
                // `check` has tried it out; this occurrence has something that its trial had not, or lacks it.
                let message = format!("{error}; nothing was sent: mend the template and trigger it");
                self.tell(Event::LaunchEnded {
                    key,
                    attempt,
                    reply: LaunchReply::Refused { http_status: None, message },
                })
                .await;
                return;
            }
        };
        let asked = self.ask_for_webhook(&key, &schedule.workflow_id, &mut run_options).await;
        let metadata = occurrence_metadata(&key);
        let secrets: Vec<Secret> = self.secrets.values().cloned().collect();
        let start = StartRun {
            workflow_id: &schedule.workflow_id,
            parameters: &parameters,
            run_options: &run_options,
            run_metadata: &metadata,
            secrets: &secrets,
        };
        let advised = |message: String, hint: &str| format!("{message}; {hint}");
        crash_point("before-post");
        let mut reply = self.client.start_run(&start).await;
        if asked && refuses_the_webhook(&reply) {
            // Surely no run was made, and the occurrence must not be lost for the sake of a convenience.
            self.webhook_refused(&reply);
            let mut plain = run_options.clone();
            plain.remove(WEBHOOK_URL);
            reply = self.client.start_run(&StartRun { run_options: &plain, ..start }).await;
        }
        let reply = match reply {
            StartReply::Started(report) => LaunchReply::Started(Box::new(self.without_secrets(*report))),
            StartReply::Refused { http_status, message, hint } => {
                LaunchReply::Refused { http_status: Some(http_status), message: advised(message, hint) }
            }
            StartReply::NotStarted { retry_after, http_status, message, hint } => {
                LaunchReply::NotStarted { retry_after, http_status, message: advised(message, hint) }
            }
            StartReply::Unknown { http_status, message, hint } => {
                LaunchReply::Unknown { http_status, message: advised(message, hint) }
            }
        };
        crash_point("after-answer");
        let started = matches!(reply, LaunchReply::Started(_));
        if let Some(hints) = self.hints.get().filter(|_| !started) {
            hints.forget(&key);
        }
        self.tell(Event::LaunchEnded { key: key.clone(), attempt, reply }).await;
        if started {
            self.warn_of_dropped(key, &schedule.workflow_id, &parameters).await;
        }
    }
}
