//! Changing schedules: one request each, never repeated in here. A future that is dropped may have changed something.

use reqwest::Method;

use super::{
    ScheduleDraft, ServerSchedule, WriteError,
    path::Place,
    sorting::{deleted, sort_failure, sort_status, written},
    wire,
};
use crate::{
    crash_point::crash_point,
    ids::{ServerScheduleId, WorkflowId},
    skyvern::{answer::Answer, client::Client},
};

impl Client {
    /// Makes a schedule. Two requests make two.
    ///
    /// # Errors
    /// See [`super::WriteErrorKind`]. `Unknown`: look for it before trying again.
    pub async fn create_schedule(
        &self,
        workflow: &WorkflowId,
        draft: &ScheduleDraft,
    ) -> Result<ServerSchedule, WriteError> {
        let answer = self.change(Method::POST, Place::Of(workflow), Some(wire::body(draft))).await?;
        written(&answer, &[self.key()])
    }

    /// Replaces everything about a schedule. The server then starts no occurrence from before this moment. A schedule that is
    /// due once stays one, and one that repeats, too.
    ///
    /// # Errors
    /// See [`super::WriteErrorKind`].
    pub async fn update_schedule(
        &self,
        workflow: &WorkflowId,
        id: &ServerScheduleId,
        draft: &ScheduleDraft,
    ) -> Result<ServerSchedule, WriteError> {
        let answer = self.change(Method::PUT, Place::One(workflow, id), Some(wire::body(draft))).await?;
        written(&answer, &[self.key()])
    }

    /// Lets a schedule fire, from its next occurrence on. Not for one that is due once.
    ///
    /// # Errors
    /// See [`super::WriteErrorKind`].
    pub async fn enable_schedule(
        &self,
        workflow: &WorkflowId,
        id: &ServerScheduleId,
    ) -> Result<ServerSchedule, WriteError> {
        let answer = self.change(Method::POST, Place::Deed(workflow, id, "enable"), None).await?;
        written(&answer, &[self.key()])
    }

    /// Keeps a schedule from firing; an occurrence that is due and was not started is dropped. Not for one that is due once.
    ///
    /// # Errors
    /// See [`super::WriteErrorKind`].
    pub async fn disable_schedule(
        &self,
        workflow: &WorkflowId,
        id: &ServerScheduleId,
    ) -> Result<ServerSchedule, WriteError> {
        let answer = self.change(Method::POST, Place::Deed(workflow, id, "disable"), None).await?;
        written(&answer, &[self.key()])
    }

    /// Keeps a schedule that is due once from being started.
    ///
    /// # Errors
    /// See [`super::WriteErrorKind`]. `Over`: it was started or cancelled before. `NoSchedules`, also: the server is older than
    /// 1.0.55 and has no schedules that are due once.
    pub async fn cancel_schedule(
        &self,
        workflow: &WorkflowId,
        id: &ServerScheduleId,
    ) -> Result<ServerSchedule, WriteError> {
        let answer = self.change(Method::POST, Place::Deed(workflow, id, "cancel"), None).await?;
        written(&answer, &[self.key()])
    }

    /// Deletes a schedule. Its runs stay.
    ///
    /// # Errors
    /// See [`super::WriteErrorKind`]. `NotFound`: it is gone already, which may be what was wanted.
    pub async fn delete_schedule(&self, workflow: &WorkflowId, id: &ServerScheduleId) -> Result<(), WriteError> {
        let answer = self.change(Method::DELETE, Place::One(workflow, id), None).await?;
        deleted(&answer)
    }

    /// A 2xx, or the sorted error.
    async fn change(&self, method: Method, place: Place<'_>, body: Option<Vec<u8>>) -> Result<Answer, WriteError> {
        crash_point("before-write");
        let answer = self.ask_schedules(method, place, &[], body).await;
        crash_point("after-write");
        match answer {
            Ok(answer) if answer.is_success() => Ok(answer),
            Ok(answer) => Err(sort_status(&answer, &[self.key()])),
            Err(failure) => Err(sort_failure(failure)),
        }
    }
}
