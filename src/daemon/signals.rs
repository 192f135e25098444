//! Signals as a stream of what they ask for.
//!
//! TERM and INT ask to stop in order; a second one ends the process at once, even if the event loop hangs, since that is
//! arranged in the signal handler itself. HUP asks to read the file again, USR1 for the state in the log.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
    flag,
    iterator::{Handle, Signals},
};
use tokio::sync::mpsc;

/// The exit code of a process that was told twice to stop.
const EXIT_CODE_AT_ONCE: i32 = 1;
/// Signals that may wait for the event loop; more of them are dropped, since they would ask for the same.
const WAITING_MAX: usize = 16;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// Stop in order.
    Stop,
    /// Read the file again.
    Reload,
    /// Write the state to the log.
    State,
}

/// The listening end; signals are taken from it until it is dropped.
#[derive(Debug)]
pub struct SignalStream {
    received: mpsc::Receiver<Asks>,
    handle: Handle,
}

impl SignalStream {
    /// Takes over the four signals of this process.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn listen() -> io::Result<Self> {
        let told = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag unset and sets it, the second one finds it set.
            flag::register_conditional_shutdown(signal, EXIT_CODE_AT_ONCE, Arc::clone(&told))?;
            flag::register(signal, Arc::clone(&told))?;
        }
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
        let handle = signals.handle();
        let (sender, received) = mpsc::channel(WAITING_MAX);
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in &mut signals {
                let asks = match signal {
                    SIGHUP => Asks::Reload,
                    SIGUSR1 => Asks::State,
                    _ => Asks::Stop,
                };
                // A stop must not be lost behind requests for the state.
                if asks == Asks::Stop {
                    if sender.blocking_send(asks).is_err() {
                        return;
                    }
                } else {
                    let _ = sender.try_send(asks);
                }
            }
        })?;
        Ok(Self { received, handle })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Asks {
        match self.received.recv().await {
            Some(asks) => asks,
            // The thread ends only with this value; nothing more will come.
            None => std::future::pending().await,
        }
    }
}

impl Drop for SignalStream {
    fn drop(&mut self) {
        self.handle.close();
    }
}
