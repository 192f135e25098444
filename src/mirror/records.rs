//! Where the mirror writes down what is ours: rows of the history, durable before the next request leaves.

use std::future::Future;

use chrono::{DateTime, Utc};

use crate::{
    engine::{Change, change::MirrorCopy},
    history::History,
    ids::ServerScheduleId,
};

/// The book of what is ours at the server. An error is a fragment for people; nothing more is sent after one.
pub trait Records: Sync {
    /// This copy is ours, and like this.
    fn owned(&self, copy: MirrorCopy, at: DateTime<Utc>) -> impl Future<Output = Result<(), String>> + Send;

    /// This copy is not ours any more, or not there.
    fn forgotten(&self, id: &ServerScheduleId, at: DateTime<Utc>) -> impl Future<Output = Result<(), String>> + Send;
}

impl Records for History {
    async fn owned(&self, copy: MirrorCopy, at: DateTime<Utc>) -> Result<(), String> {
        write(self, Change::Mirrored { copy: Box::new(copy), at }).await
    }

    async fn forgotten(&self, id: &ServerScheduleId, at: DateTime<Utc>) -> Result<(), String> {
        write(self, Change::Unmirrored { server_schedule_id: id.clone(), at }).await
    }
}

async fn write(history: &History, change: Change) -> Result<(), String> {
    let durable = history.submit(vec![change]).await.map_err(|error| error.to_string())?;
    durable.await.map_err(|error| error.to_string())
}
