//! What the mirror asks of a server: the client's calls, as a trait, so that plan and apply can be tried against a model.

use std::future::Future;

use crate::{
    ids::{ServerScheduleId, WorkflowId},
    skyvern::{ApiError, Client, ScheduleDraft, ScheduleFilter, ServerSchedule, WriteError},
};

/// The calls; what each does and how it fails is told at [`Client`].
#[expect(missing_docs, reason = "the same calls as the client's")]
pub trait Server: Sync {
    fn all(&self) -> impl Future<Output = Result<Vec<ServerSchedule>, ApiError>> + Send;
    fn of_workflow(&self, workflow: &WorkflowId) -> impl Future<Output = Result<Vec<ServerSchedule>, ApiError>> + Send;
    fn one(
        &self,
        workflow: &WorkflowId,
        id: &ServerScheduleId,
    ) -> impl Future<Output = Result<ServerSchedule, ApiError>> + Send;
    fn version(&self) -> impl Future<Output = Result<Option<String>, ApiError>> + Send;
    fn create(
        &self,
        workflow: &WorkflowId,
        draft: &ScheduleDraft,
    ) -> impl Future<Output = Result<ServerSchedule, WriteError>> + Send;
    fn update(
        &self,
        workflow: &WorkflowId,
        id: &ServerScheduleId,
        draft: &ScheduleDraft,
    ) -> impl Future<Output = Result<ServerSchedule, WriteError>> + Send;
    fn enable(
        &self,
        workflow: &WorkflowId,
        id: &ServerScheduleId,
    ) -> impl Future<Output = Result<ServerSchedule, WriteError>> + Send;
    fn disable(
        &self,
        workflow: &WorkflowId,
        id: &ServerScheduleId,
    ) -> impl Future<Output = Result<ServerSchedule, WriteError>> + Send;
    fn cancel(
        &self,
        workflow: &WorkflowId,
        id: &ServerScheduleId,
    ) -> impl Future<Output = Result<ServerSchedule, WriteError>> + Send;
    fn delete(
        &self,
        workflow: &WorkflowId,
        id: &ServerScheduleId,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;
}

impl Server for Client {
    async fn all(&self) -> Result<Vec<ServerSchedule>, ApiError> {
        self.server_schedules(&ScheduleFilter::default()).await
    }

    async fn of_workflow(&self, workflow: &WorkflowId) -> Result<Vec<ServerSchedule>, ApiError> {
        self.workflow_schedules(workflow).await
    }

    async fn one(&self, workflow: &WorkflowId, id: &ServerScheduleId) -> Result<ServerSchedule, ApiError> {
        self.server_schedule(workflow, id).await
    }

    async fn version(&self) -> Result<Option<String>, ApiError> {
        self.server_version().await
    }

    async fn create(&self, workflow: &WorkflowId, draft: &ScheduleDraft) -> Result<ServerSchedule, WriteError> {
        self.create_schedule(workflow, draft).await
    }

    async fn update(
        &self,
        workflow: &WorkflowId,
        id: &ServerScheduleId,
        draft: &ScheduleDraft,
    ) -> Result<ServerSchedule, WriteError> {
        self.update_schedule(workflow, id, draft).await
    }

    async fn enable(&self, workflow: &WorkflowId, id: &ServerScheduleId) -> Result<ServerSchedule, WriteError> {
        self.enable_schedule(workflow, id).await
    }

    async fn disable(&self, workflow: &WorkflowId, id: &ServerScheduleId) -> Result<ServerSchedule, WriteError> {
        self.disable_schedule(workflow, id).await
    }

    async fn cancel(&self, workflow: &WorkflowId, id: &ServerScheduleId) -> Result<ServerSchedule, WriteError> {
        self.cancel_schedule(workflow, id).await
    }

    async fn delete(&self, workflow: &WorkflowId, id: &ServerScheduleId) -> Result<(), WriteError> {
        self.delete_schedule(workflow, id).await
    }
}
