//! One start: the request, its answer, and a word about parameters that the server will drop.

use serde_json::{Map, Value};

use crate::{
    crash_point::crash_point,
    dispatch::Shared,
    engine::{
        Event,
        event::{Launch, LaunchReply},
    },
    ids::OccurrenceKey,
    schedule::{
        Schedule,
        template::{self, Occasion, TemplateError},
    },
    secret::Secret,
    skyvern::{StartReply, StartRun, occurrence_metadata},
};

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

    pub(super) async fn launch(&self, launch: Launch) {
        let Launch { key, attempt, schedule, parameters } = launch;
        let (parameters, run_options) = match self.rendered(&key, &schedule, &parameters) {
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
        let reply = match self.client.start_run(&start).await {
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
        self.tell(Event::LaunchEnded { key: key.clone(), attempt, reply }).await;
        if started {
            self.warn_of_dropped(key, &schedule.workflow_id, &parameters).await;
        }
    }
}
