//! One start: the request, its answer, and a word about parameters that the server will drop.

use crate::{
    crash_point::crash_point,
    dispatch::Shared,
    engine::{
        Event,
        event::{Launch, LaunchReply},
    },
    skyvern::{StartReply, StartRun, occurrence_metadata},
};

impl Shared {
    pub(super) async fn launch(&self, launch: Launch) {
        let Launch { key, attempt, schedule, parameters } = launch;
        let metadata = occurrence_metadata(&key);
        let start = StartRun {
            workflow_id: &schedule.workflow_id,
            parameters: &parameters,
            run_options: &schedule.run_options,
            run_metadata: &metadata,
            secrets: &[],
        };
        let advised = |message: String, hint: &str| format!("{message}; {hint}");
        crash_point("before-post");
        let reply = match self.client.start_run(&start).await {
            StartReply::Started(report) => LaunchReply::Started(report),
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
