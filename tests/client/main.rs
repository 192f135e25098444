//! The API client against servers: the sandbox with faults on order (`faults`), sockets that follow a script where no server
//! would go (`scripted`), and the answers that a real Skyvern 1.0.56 gave (`recorded`, with `data/`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod faults;
mod recorded;
mod schedule_faults;
mod schedules;
mod script;
mod scripted;

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value};
use skycron::{
    ids::WorkflowId,
    secret::Secret,
    skyvern::{Client, ClientOptions, StartReply, StartRun},
};

/// Runs a future on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A client with short patience.
pub(crate) fn client(base_url: &str, key: &str) -> Client {
    let mut options = ClientOptions::new(base_url.parse().unwrap(), Secret::new(key.to_owned()));
    options.connect_timeout = Duration::from_secs(2);
    options.request_timeout = Duration::from_millis(700);
    options.response_bytes_max = 64 * 1024;
    Client::new(&options).unwrap()
}

/// Starts a run that carries one parameter and one tag.
pub(crate) async fn start(client: &Client, workflow: &str) -> StartReply {
    let workflow_id = WorkflowId::new(workflow).unwrap();
    let parameters: Map<String, Value> = serde_json::from_str(r#"{"url":"https://example.com/"}"#).unwrap();
    let run_metadata =
        BTreeMap::from([("skycron_occurrence".to_owned(), "main/daily@2026-11-02T14:00:00Z".to_owned())]);
    let start = StartRun {
        workflow_id: &workflow_id,
        parameters: &parameters,
        run_options: &Map::new(),
        run_metadata: &run_metadata,
        secrets: &[],
    };
    client.start_run(&start).await
}

/// The arm, the status and the wait of a reply, in one word: `started`, `refused 404`, `not_started 429 after 5`, `unknown`.
pub(crate) fn sorted(reply: &StartReply) -> String {
    let (word, status, wait) = match reply {
        StartReply::Started(_) => ("started", None, None),
        StartReply::Refused { http_status, .. } => ("refused", Some(*http_status), None),
        StartReply::NotStarted { http_status, retry_after, .. } => ("not_started", *http_status, *retry_after),
        StartReply::Unknown { http_status, .. } => ("unknown", *http_status, None),
    };
    let status = status.map(|status| format!(" {status}")).unwrap_or_default();
    let wait = wait.map(|wait| format!(" after {}", wait.as_secs())).unwrap_or_default();
    format!("{word}{status}{wait}")
}

/// What a reply says.
pub(crate) fn message(reply: &StartReply) -> &str {
    match reply {
        StartReply::Started(_) => "",
        StartReply::Refused { message, .. }
        | StartReply::NotStarted { message, .. }
        | StartReply::Unknown { message, .. } => message,
    }
}
