//! A server on a thread of its own, for as long as its [`Listener`] is kept: what the status and the webhooks have in common. What
//! is answered is none of its business.

use std::{io, net::SocketAddr, thread, time::Duration};

use axum::Router;
use tokio::{runtime::Runtime, sync::oneshot};

use super::server::{Hosts, Limits, Server};

/// Between two tries to listen, where the address is taken.
const LISTEN_AGAIN: Duration = Duration::from_secs(30);

/// Where to listen, and what is said of it in the log.
pub(super) struct Listening {
    /// Of the thread, and of the lines in the log.
    pub name: &'static str,
    /// What nobody can do while the address is taken.
    pub trouble: &'static str,
    pub address: SocketAddr,
    pub limits: Limits,
    pub hosts: Hosts,
}

/// The running thread. It ends when this is dropped; nothing waits for it but the answers under way.
#[derive(Debug)]
pub(super) struct Listener {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Listener {
    /// Starts the thread; `router` is made on it. Where the address is taken, it is tried again now and then: nothing that comes
    /// in from outside is a reason not to fire.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        listening: Listening,
        runtime: Runtime,
        router: impl FnOnce() -> Router + Send + 'static,
    ) -> io::Result<Self> {
        let Listening { name, trouble, address: listen, limits, hosts } = listening;
        let (stop, mut stopped) = oneshot::channel();
        let serving = async move {
            let router = router();
            let mut told = false;
            let server = loop {
                match Server::bind(listen, limits, hosts.clone()) {
                    Ok(server) => break server,
                    Err(error) if !told => {
                        let hint = "another program has the address, or it is not this machine's; it is tried again";
                        tracing::error!(%listen, %error, hint, "{trouble}");
                        told = true;
                    }
                    Err(_) => {}
                }
                tokio::select! {
                    () = tokio::time::sleep(LISTEN_AGAIN) => {}
                    _ = &mut stopped => return,
                }
            };
            let address = server.address().map_or_else(|_| listen.to_string(), |address| address.to_string());
            tracing::info!(address, "{name}: listening");
            server.serve(router, async move { drop(stopped.await) }).await;
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(serving);
            // A reader that is in the middle of a long question is not waited for: it only reads.
            runtime.shutdown_background();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
