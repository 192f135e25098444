//! The webhooks that the server sends when a run is over: signed as a real server signs them, tried three times.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::{SharedWorld, bodies};
use crate::{
    mac::Mac,
    skyvern::{Posted, Poster},
};

/// How often it is looked whether a run is over. A real server sends at once.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const TRIES_MAX: u32 = 3;
/// Between two tries; a real server waits two seconds.
const TRY_AGAIN: Duration = Duration::from_millis(200);
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// A webhook that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRecord {
    /// `wr_…`
    pub run_id: String,
    /// Where to.
    pub url: String,
    /// How often it was tried.
    pub tries: u32,
    /// Whether it was taken.
    pub taken: bool,
}

/// Begins to wait for the end of every run that was made since the last time and asks for a webhook.
pub(super) fn begin(world: &SharedWorld) {
    let asked = world.lock().take_hooks();
    for (run_id, url) in asked {
        drop(tokio::spawn(deliver(world.clone(), run_id, url)));
    }
}

async fn deliver(world: SharedWorld, run_id: String, url: String) {
    let Ok(address) = url.parse::<Url>() else { return };
    let body = loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let world = world.lock();
        // Forgotten with many others.
        let Some(run) = world.run(&run_id) else { return };
        let view = world.view(run);
        if view.is_over() {
            let mut body = bodies::run(run, &view, false);
            if let Value::Object(body) = &mut body {
                body.insert("workflow_run_id".to_owned(), json!(run_id));
                body.insert("run_type".to_owned(), json!("workflow_run"));
                body.insert("webhook_callback_url".to_owned(), json!(url));
            }
            break body.to_string();
        }
    };
    let (signature, timestamp) = {
        let world = world.lock();
        let mac = Mac::new(world.key.expose().as_bytes());
        (mac.mark(body.as_bytes()), world.now().timestamp())
    };
    let headers =
        [("x-skyvern-signature".to_owned(), signature), ("x-skyvern-timestamp".to_owned(), timestamp.to_string())];
    let Ok(poster) = Poster::new(&address, REQUEST_TIME_MAX) else { return };
    for tries in 1..=TRIES_MAX {
        let body = body.clone().into_bytes();
        let posted = poster.post(address.clone(), "application/json", &headers, body, &[]).await;
        let again = matches!(posted, Posted::NotNow { .. }) && tries < TRIES_MAX;
        if !again {
            let taken = posted == Posted::Taken;
            world.lock().hook_sent(HookRecord { run_id, url, tries, taken });
            return;
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}
