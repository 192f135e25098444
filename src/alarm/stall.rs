//! The one alarm that cannot be a row: the history cannot be written. It goes out at once, from memory, and so does the word
//! that it is well again.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};
use tokio::sync::watch;

use super::{
    facts::{About, facts, sentence},
    target::Targets,
};
use crate::{
    clock::{Clock, rfc3339_millis},
    engine::alarm::AlarmEvent,
    history::Stall,
    ids::{ChannelName, Instance},
    skyvern::Posted,
};

/// A stall that passes within this is worth a line in the log and no alarm: somebody held the database for a moment.
const GRACE: Duration = Duration::from_secs(10);
/// The wait between two tries to tell a channel; it doubles up to the longest.
const WAIT_SECONDS_MIN: u64 = 2;
const WAIT_SECONDS_MAX: u64 = 300;
/// How often the end of a stall is tried to be told to a channel that was told of its beginning.
const TRIES_MAX: u32 = 5;

/// Tells the channels of every stall, as long as it is polled.
pub(super) async fn tell(
    mut stalls: watch::Receiver<Option<Stall>>,
    targets: watch::Receiver<Arc<Targets>>,
    clock: Arc<dyn Clock>,
    instance: Instance,
) {
    loop {
        let begun = stalls.wait_for(Option::is_some).await.map(|stall| stall.clone());
        let Ok(begun) = begun else { return std::future::pending().await };
        let Some(stall) = begun else { continue };
        if tokio::time::timeout(GRACE, stalls.wait_for(Option::is_none)).await.is_ok() {
            continue;
        }
        let stem = format!("{instance}@{}", rfc3339_millis(stall.since));
        let made = |event: AlarmEvent, stem: &str, reason: Option<String>, more: &str| {
            let about = About { reason, ..About::default() };
            let id = format!("{stem}:{event}");
            facts(&id, event, clock.now(), &instance, &sentence(event, &about, more), &about)
        };
        let told_of = made(AlarmEvent::HistoryStalled, &stem, Some(stall.reason.clone()), "");
        let channels = |event: AlarmEvent| -> Vec<ChannelName> {
            let targets = targets.borrow();
            targets.iter().filter(|(_, target)| target.hears(event)).map(|(name, _)| name.clone()).collect()
        };
        let mut waiting = channels(AlarmEvent::HistoryStalled);
        let mut told = Vec::new();
        let mut wait = WAIT_SECONDS_MIN;
        // Until everybody knows, or it is over.
        while !waiting.is_empty() && stalls.borrow().is_some() {
            told.extend(send(&mut waiting, &targets, AlarmEvent::HistoryStalled, &told_of).await);
            if !waiting.is_empty() {
                let pause = Duration::from_secs(wait);
                let _ = tokio::time::timeout(pause, stalls.wait_for(Option::is_none)).await;
                wait = (wait * 2).min(WAIT_SECONDS_MAX);
            }
        }
        if stalls.wait_for(Option::is_none).await.is_err() {
            return std::future::pending().await;
        }
        let well =
            made(AlarmEvent::Recovered, &format!("{stem}:history_stalled"), None, ": its history is written again");
        let hearers = channels(AlarmEvent::Recovered);
        told.retain(|name| hearers.contains(name));
        for attempt in 1..=TRIES_MAX {
            let _ = send(&mut told, &targets, AlarmEvent::Recovered, &well).await;
            if told.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(WAIT_SECONDS_MIN << attempt)).await;
        }
    }
}

/// Tries each of `waiting` once; those that took it leave the list, and are the answer.
async fn send(
    waiting: &mut Vec<ChannelName>,
    targets: &watch::Receiver<Arc<Targets>>,
    event: AlarmEvent,
    facts: &Map<String, Value>,
) -> Vec<ChannelName> {
    let targets = Arc::clone(&targets.borrow());
    let mut taken = Vec::new();
    for name in std::mem::take(waiting) {
        let Some(target) = targets.get(&name) else { continue };
        match target.send(event, facts).await {
            Posted::Taken => taken.push(name),
            Posted::NotNow { text, .. } | Posted::Refused { text } => {
                tracing::warn!(channel = %name, "an alarm could not be sent: {text}");
                waiting.push(name);
            }
        }
    }
    taken
}
