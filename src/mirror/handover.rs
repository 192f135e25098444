//! The door through which whoever fires learns that the server is about to fire a schedule, or to stop. Who fires is the
//! engine's decision; that both sides change at one moment is why this exists.
//!
//! [`super::apply`] calls it around each request that decides whether the server fires: before, so that an intent can be
//! committed, and after, with the instant that the server wrote down. Where no answer came, nothing is called after: the
//! next plan tells what the server really has ([`super::Plan::copies`]).

use std::{fmt, future::Future};

use chrono::{DateTime, Utc};

use crate::ids::{ScheduleId, ServerScheduleId, WorkflowId};

/// One of the server's own schedules, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CopyName {
    /// Its id.
    pub id: ServerScheduleId,
    /// The workflow that it runs.
    pub workflow_id: WorkflowId,
}

/// Not now: the request must wait for a later apply. The reason is a fragment for people, as in "a run is being started".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postponed(pub String);

impl fmt::Display for Postponed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is told about the moments at which the server starts or stops to fire a schedule. All calls for one schedule come
/// one after the other.
///
/// `modified_at` is the server's own word; it starts no occurrence from before it. `None`: the server did not say.
pub trait Handover: Sync {
    /// The server is about to fire `schedule`. Once this returned `Ok`, the request leaves. The copy is surely disabled.
    fn before_enable(
        &self,
        schedule: &ScheduleId,
        copy: &CopyName,
    ) -> impl Future<Output = Result<(), Postponed>> + Send;

    /// The server fires it from now on.
    fn enabled(
        &self,
        schedule: &ScheduleId,
        copy: &CopyName,
        modified_at: Option<DateTime<Utc>>,
    ) -> impl Future<Output = ()> + Send;

    /// After [`Handover::before_enable`]: the copy is surely disabled still, and no request that enables it is on its way.
    fn not_enabled(&self, schedule: &ScheduleId, copy: &CopyName, why: &str) -> impl Future<Output = ()> + Send;

    /// The server is about to fire `schedule` no more. Once this returned `Ok`, the request leaves. The schedule may be gone
    /// from the file.
    fn before_disable(
        &self,
        schedule: &ScheduleId,
        copy: &CopyName,
    ) -> impl Future<Output = Result<(), Postponed>> + Send;

    /// The server does not fire it any more: nothing that is due from now on. A run that it began goes on.
    fn disabled(
        &self,
        schedule: &ScheduleId,
        copy: &CopyName,
        modified_at: Option<DateTime<Utc>>,
    ) -> impl Future<Output = ()> + Send;

    /// A schedule that the server fires, and goes on to fire, is about to be rewritten: what was due and is not started when
    /// that happens, the server will not start.
    fn before_rewrite(
        &self,
        schedule: &ScheduleId,
        copy: &CopyName,
    ) -> impl Future<Output = Result<(), Postponed>> + Send;

    /// It was rewritten.
    fn rewritten(
        &self,
        schedule: &ScheduleId,
        copy: &CopyName,
        modified_at: Option<DateTime<Utc>>,
    ) -> impl Future<Output = ()> + Send;
}

/// Nobody fires here: for a command without a daemon.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHandover;

impl Handover for NoHandover {
    async fn before_enable(&self, _: &ScheduleId, _: &CopyName) -> Result<(), Postponed> {
        Ok(())
    }

    async fn enabled(&self, _: &ScheduleId, _: &CopyName, _: Option<DateTime<Utc>>) {}

    async fn not_enabled(&self, _: &ScheduleId, _: &CopyName, _: &str) {}

    async fn before_disable(&self, _: &ScheduleId, _: &CopyName) -> Result<(), Postponed> {
        Ok(())
    }

    async fn disabled(&self, _: &ScheduleId, _: &CopyName, _: Option<DateTime<Utc>>) {}

    async fn before_rewrite(&self, _: &ScheduleId, _: &CopyName) -> Result<(), Postponed> {
        Ok(())
    }

    async fn rewritten(&self, _: &ScheduleId, _: &CopyName, _: Option<DateTime<Utc>>) {}
}
