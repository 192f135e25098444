//! One start: the request, its answer, and a word about parameters that the server will drop.

use crate::{
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
        let start = StartRun {
            workflow_id: schedule.workflow_id.clone(),
            parameters,
            run_options: schedule.run_options.clone(),
            run_metadata: occurrence_metadata(&key),
        };
        let reply = match self.client.start_run(&start).await {
            StartReply::Started(report) => LaunchReply::Started(Box::new(report)),
            StartReply::Refused { http_status, message } => LaunchReply::Refused { http_status, message },
            StartReply::NotStarted { retry_after, http_status, message } => {
                LaunchReply::NotStarted { retry_after, http_status, message }
            }
            StartReply::Unknown { http_status, message } => LaunchReply::Unknown { http_status, message },
        };
        let started = matches!(reply, LaunchReply::Started(_));
        self.tell(Event::LaunchEnded { key: key.clone(), attempt, reply }).await;
        if started {
            self.warn_of_dropped(key, &start).await;
        }
    }
}
