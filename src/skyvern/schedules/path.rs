//! The paths of the schedules, and the newer names, for a server that only knows those.
//!
//! A 404 in FastAPI's own words means that the path is not there and that nothing was done: only then is the other name
//! tried, also for a change. Which one the server knows is remembered for as long as the client lives.

use std::sync::atomic::Ordering;

use reqwest::Method;

use crate::{
    ids::{ServerScheduleId, WorkflowId},
    skyvern::{
        answer::{Answer, Said},
        client::Client,
        transport::Failure,
    },
};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// All schedules of the organisation.
    All,
    /// A workflow's.
    Of(&'a WorkflowId),
    /// One.
    One(&'a WorkflowId, &'a ServerScheduleId),
    /// `enable`, `disable` or `cancel` of one.
    Deed(&'a WorkflowId, &'a ServerScheduleId, &'static str),
}

impl<'a> Place<'a> {
    fn path(self, newer: bool) -> Vec<&'a str> {
        let mut path = if newer { vec!["v1"] } else { vec!["api", "v1"] };
        let workflows = if newer { "agents" } else { "workflows" };
        match self {
            Self::All => path.push("schedules"),
            Self::Of(workflow) => path.extend([workflows, workflow.as_str(), "schedules"]),
            Self::One(workflow, id) => path.extend([workflows, workflow.as_str(), "schedules", id.as_str()]),
            Self::Deed(workflow, id, deed) => {
                path.extend([workflows, workflow.as_str(), "schedules", id.as_str(), deed]);
            }
        }
        path
    }
}

impl Client {
    /// One request for schedules; two, where the server does not have the path under the name that was tried first.
    pub(super) async fn ask_schedules(
        &self,
        method: Method,
        place: Place<'_>,
        query: &[(&str, String)],
        body: Option<Vec<u8>>,
    ) -> Result<Answer, Failure> {
        let newer = self.newer_names().load(Ordering::Relaxed);
        let first = self.send(method.clone(), self.schedule_url(place, newer, query), body.clone()).await;
        if !has_no_route(&first) {
            return first;
        }
        let second = self.send(method, self.schedule_url(place, !newer, query), body).await;
        if second.is_ok() && !has_no_route(&second) {
            self.newer_names().store(!newer, Ordering::Relaxed);
        }
        second
    }

    fn schedule_url(&self, place: Place<'_>, newer: bool, query: &[(&str, String)]) -> url::Url {
        let mut url = self.url(&place.path(newer));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

fn has_no_route(answer: &Result<Answer, Failure>) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.status == 404 && answer.said(&[]) == Said::NoRoute)
}
