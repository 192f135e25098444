//! The way into a running daemon: a socket in the state folder, one JSON object a line, one answer a line.
//!
//! Only who may enter the state folder (mode 0700) may ask. Commands use it when a daemon holds the history; it changes
//! nothing by itself, it hands the request to the event loop.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
};

/// The socket's name in the state folder.
pub const SOCKET_NAME: &str = "control.sock";
/// The longest request, in bytes: the largest parameters that a person can hand to a start.
pub const REQUEST_BYTES_MAX: u64 = 1024 * 1024;
/// Requests that are served at one time.
const CONNECTIONS_MAX: usize = 16;
/// How long a request may take to arrive, and a command waits for its answer.
const ANSWER_SECONDS_MAX: u64 = 30;
/// The same where the daemon asks the server many things first.
const MIRROR_SECONDS_MAX: u64 = 600;
/// The longest answer, in bytes: a line for each step of a large mirror.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

impl Request {
    /// How long a command waits for the answer.
    fn patience(&self) -> Duration {
        Duration::from_secs(match self {
            Self::MirrorApply { .. } => MIRROR_SECONDS_MAX,
            _ => ANSWER_SECONDS_MAX,
        })
    }
}

/// What can be asked of a running daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Start a schedule now.
    Trigger {
        /// The schedule's id.
        schedule: String,
        /// Parameters that replace the schedule's.
        parameters: Map<String, Value>,
    },
    /// Start occurrences of the past, once each.
    Backfill {
        /// The schedule's id.
        schedule: String,
        /// From this instant on, itself included.
        from: DateTime<Utc>,
        /// Up to this instant, itself included.
        to: DateTime<Utc>,
    },
    /// Do not start a schedule's occurrences.
    Pause {
        /// The schedule's id.
        schedule: String,
        /// Why.
        note: Option<String>,
        /// Until when.
        until: Option<DateTime<Utc>>,
    },
    /// Start a schedule's occurrences again, from now on.
    Resume {
        /// The schedule's id.
        schedule: String,
    },
    /// Make the server's own schedules equal to the file's.
    MirrorApply {
        /// Copies that may be deleted, by the server's ids: whoever asks saw them in a plan.
        deletes: Vec<String>,
    },
    /// Tell how it is; nothing happens.
    State,
}

/// What a running daemon answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// Done, and durable.
    Done {
        /// The occurrences that came of it.
        occurrences: Vec<String>,
    },
    /// The mirror was applied.
    Mirrored {
        /// What came of each step, as [`crate::mirror::StepResult::to_json`].
        results: Vec<Value>,
    },
    /// How it is.
    State {
        /// Schedules of the file that is in force.
        schedules: usize,
        /// Occurrences that are not over.
        open: usize,
        /// Since when and why the history cannot be written; nothing is started meanwhile.
        stalled: Option<String>,
        /// Since when it is up; `None`: it is of a version that does not tell.
        #[serde(default)]
        since: Option<DateTime<Utc>>,
        /// What it last heard of the API; `None`: nothing yet.
        #[serde(default)]
        api: Option<ApiHeard>,
    },
    /// Not done.
    Error {
        /// Why not.
        message: String,
    },
}

/// What a daemon last heard of the API, on any of its calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiHeard {
    /// So many seconds ago.
    pub seconds_ago: u64,
    /// Why no answer came, or that the key was not accepted; `None`: all was well.
    pub trouble: Option<String>,
}

/// A request on its way to the event loop, and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// The request.
    pub request: Request,
    /// The way back.
    pub answer: oneshot::Sender<Answer>,
}

/// The listening end. Removes its socket when it goes.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens in the state folder. A socket that an earlier process left is replaced: the history's lock says that there is
    /// no other daemon.
    ///
    /// # Errors
    /// The folder is not writable, or its path is too long for a socket (108 bytes on Linux).
    pub fn listen(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join(SOCKET_NAME);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self { listener: UnixListener::bind(&path)?, path })
    }

    /// Serves requests until the receiving end is gone.
    pub async fn serve(self, asked: mpsc::Sender<Asked>) {
        let places = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: a pause, so that this does not spin.
                    tracing::warn!(%error, "a request to the control socket could not be taken");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            if asked.is_closed() {
                return;
            }
            let asked = asked.clone();
            tokio::spawn(async move {
                let _place = place;
                if let Err(error) = serve_one(stream, asked).await {
                    tracing::debug!(%error, "a request to the control socket broke off");
                }
            });
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve_one(stream: UnixStream, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(REQUEST_BYTES_MAX));
    let limit = Duration::from_secs(ANSWER_SECONDS_MAX);
    tokio::time::timeout(limit, reader.read_line(&mut line)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let answer = match serde_json::from_str::<Request>(&line) {
        Err(error) => Answer::Error { message: format!("not a request: {error}") },
        Ok(request) => {
            let (answer, answered) = oneshot::channel();
            let gone = || Answer::Error { message: "the daemon is stopping".to_owned() };
            let limit = request.patience();
            let exchange = async {
                match asked.send(Asked { request, answer }).await {
                    Ok(()) => answered.await.unwrap_or_else(|_| gone()),
                    Err(_) => gone(),
                }
            };
            // Whoever asked has gone by then.
            tokio::time::timeout(limit, exchange).await.map_err(|_| io::ErrorKind::TimedOut)?
        }
    };
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await
}

/// Asks the daemon of a state folder.
///
/// # Errors
/// Nobody listens there (`NotFound`, `ConnectionRefused`), or no answer comes within half a minute (ten for the mirror).
pub async fn ask(state_dir: &Path, request: &Request) -> io::Result<Answer> {
    let exchange = async {
        let mut stream = UnixStream::connect(state_dir.join(SOCKET_NAME)).await?;
        let mut text = serde_json::to_string(request)?;
        text.push('\n');
        stream.write_all(text.as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_line(&mut line).await?;
        Ok(serde_json::from_str(&line)?)
    };
    tokio::time::timeout(request.patience(), exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
