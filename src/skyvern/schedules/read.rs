//! Reading schedules: complete, or an error. A short answer that passed for the whole would make the mirror create what is
//! there already.

use std::collections::HashSet;

use reqwest::Method;

use super::{
    ScheduleFilter, ServerSchedule,
    path::Place,
    wire::{OfWorkflow, One, Page, Schedule},
};
use crate::{
    ids::{ServerScheduleId, WorkflowId},
    skyvern::{
        answer::{Answer, Said},
        client::{Client, HINT_NO_SCHEDULES, describe, read},
        error::{ApiError, ApiErrorKind},
        transport::Failure,
    },
};

/// The most rows that the server gives at a time.
const PAGE_SIZE: usize = 100;
/// The most schedules of an organisation that are read.
const SCHEDULES_MAX: usize = 100_000;
/// How often a list that does not fit together is read.
const READINGS_MAX: usize = 6;

impl Client {
    /// All schedules of the organisation, the newest first, with at most one of `next_runs` each. A list of more than a page is
    /// believed once two readings in a row agree: while it is read, a schedule can move from a page that is still to come to
    /// one that was read already.
    ///
    /// # Errors
    /// `NoSchedules`: the server has none. `Unavailable` without a status: the list did not fit together, however often it was
    /// read. `Nonsense` also where there are more than 100,000.
    pub async fn server_schedules(&self, filter: &ScheduleFilter) -> Result<Vec<ServerSchedule>, ApiError> {
        let mut last: Option<Vec<ServerSchedule>> = None;
        let mut problem = "it changed from reading to reading".to_owned();
        for _ in 0..READINGS_MAX {
            match self.read_all(filter).await? {
                Ok(schedules) if schedules.len() <= PAGE_SIZE => return Ok(schedules),
                Ok(schedules) => {
                    if last.is_some_and(|last| last.iter().map(|s| &s.id).eq(schedules.iter().map(|s| &s.id))) {
                        return Ok(schedules);
                    }
                    last = Some(schedules);
                }
                Err(what) => {
                    last = None;
                    problem = what;
                }
            }
        }
        Err(ApiError {
            kind: ApiErrorKind::Unavailable,
            http_status: None,
            retry_after: None,
            message: format!("the list of schedules did not fit together in {READINGS_MAX} readings: {problem}"),
            hint: "somebody changes schedules at the server all the time, or the server answers in part: try again later",
        })
    }

    /// A workflow's schedules, without `next_runs`.
    ///
    /// # Errors
    /// `NoSchedules`: the server has none. `NotFound`: there is no such workflow.
    pub async fn workflow_schedules(&self, workflow: &WorkflowId) -> Result<Vec<ServerSchedule>, ApiError> {
        let answer = self.ask_schedules(Method::GET, Place::Of(workflow), &[], None).await;
        let answer = self.expect_schedules(answer)?;
        in_our_words(&answer, read::<OfWorkflow>(&answer)?.schedules)
    }

    /// One schedule.
    ///
    /// # Errors
    /// `NoSchedules`: the server has none. `NotFound`: there is no such workflow, or it has no such schedule.
    pub async fn server_schedule(
        &self,
        workflow: &WorkflowId,
        id: &ServerScheduleId,
    ) -> Result<ServerSchedule, ApiError> {
        let answer = self.ask_schedules(Method::GET, Place::One(workflow, id), &[], None).await;
        let answer = self.expect_schedules(answer)?;
        read::<One>(&answer)?.into_schedule().ok_or_else(|| no_schedule(&answer))
    }

    /// One reading of all pages; the inner error says why they do not fit together.
    async fn read_all(&self, filter: &ScheduleFilter) -> Result<Result<Vec<ServerSchedule>, String>, ApiError> {
        let mut all = Vec::new();
        let mut total = None;
        for number in 1..=SCHEDULES_MAX / PAGE_SIZE {
            let (answer, page) = self.read_page(filter, number).await?;
            if (page.page, page.page_size) != (number, PAGE_SIZE) {
                let message = format!(
                    "the server answered page {} of {} rows where page {number} of {PAGE_SIZE} was asked for",
                    page.page, page.page_size
                );
                return Err(nonsense(&answer, message));
            }
            if *total.get_or_insert(page.total_count) != page.total_count {
                return Ok(Err("its length changed between two pages".to_owned()));
            }
            let expected = (page.total_count - all.len().min(page.total_count)).min(PAGE_SIZE);
            let found = page.schedules.len();
            if found != expected {
                return Ok(Err(format!(
                    "page {number} has {found} rows, of a list of {} it should have {expected}",
                    page.total_count
                )));
            }
            all.extend(in_our_words(&answer, page.schedules)?);
            if all.len() == page.total_count {
                let ids: HashSet<&ServerScheduleId> = all.iter().map(|schedule| &schedule.id).collect();
                return Ok(if ids.len() == all.len() { Ok(all) } else { Err("a row came twice".to_owned()) });
            }
        }
        Err(ApiError {
            kind: ApiErrorKind::Nonsense,
            http_status: None,
            retry_after: None,
            message: format!("the server has more than {SCHEDULES_MAX} schedules"),
            hint: "that many are not mirrored: delete those that nobody needs",
        })
    }

    async fn read_page(&self, filter: &ScheduleFilter, number: usize) -> Result<(Answer, Page), ApiError> {
        let mut query = vec![("page", number.to_string()), ("page_size", PAGE_SIZE.to_string())];
        query.extend(filter.status.map(|status| ("status", status.word().to_owned())));
        query.extend(filter.search.clone().map(|search| ("search", search)));
        let answer = self.ask_schedules(Method::GET, Place::All, &query, None).await;
        let answer = self.expect_schedules(answer)?;
        let page = read(&answer)?;
        Ok((answer, page))
    }

    /// A 2xx, or the sorted error: as for every other call, but that a missing call means missing schedules.
    fn expect_schedules(&self, answer: Result<Answer, Failure>) -> Result<Answer, ApiError> {
        if let Ok(answer) = &answer {
            let said = answer.said(&[self.key()]);
            if matches!((answer.status, &said), (404, Said::NoRoute) | (501, Said::Skyvern(_))) {
                return Err(ApiError {
                    kind: ApiErrorKind::NoSchedules,
                    http_status: Some(answer.status),
                    retry_after: None,
                    message: describe(answer.status, &said),
                    hint: HINT_NO_SCHEDULES,
                });
            }
        }
        self.expect_success(answer)
    }
}

/// All of them, or an error: a schedule that is not understood must not be taken for one that is not there.
fn in_our_words(answer: &Answer, schedules: Vec<Schedule>) -> Result<Vec<ServerSchedule>, ApiError> {
    schedules.into_iter().map(|row| row.into_schedule().ok_or_else(|| no_schedule(answer))).collect()
}

fn no_schedule(answer: &Answer) -> ApiError {
    nonsense(answer, "the server's answer has a schedule whose id, or whose workflow's id, is none".to_owned())
}

fn nonsense(answer: &Answer, message: String) -> ApiError {
    ApiError {
        kind: ApiErrorKind::Nonsense,
        http_status: Some(answer.status),
        retry_after: None,
        message,
        hint: "the answer is not what Skyvern sends: check base_url",
    }
}
