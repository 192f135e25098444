//! Feeding systemd's watchdog, while both the event loop and the thread that writes the history go on.
//!
//! A thread of its own, so that it can say which of the two hangs; asleep between two rounds. Each round gives both of them
//! something to do, and only when both did it is systemd told. What does not answer is said in the log, and systemd ends the
//! process and starts it again. A disk that is full is not a reason for that: the writer tries again and again, which counts
//! as going on, and the loop may wait for it.

use std::{io, sync::Arc, thread, time::Duration};

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{
    daemon::{event_loop::Input, notify},
    history::WriterPulse,
    pulse::Pulse,
    words::EACH,
};

/// Rounds in a watchdog's period: one that comes late leaves time for another.
const ROUNDS_PER_PERIOD: u32 = 2;
/// Of the period, so much is waited for each of the two before the log says that it does not answer.
const ANSWER_PART: u32 = 8;

/// Who is watched.
pub(super) struct Watchdog {
    /// The way to the event loop.
    pub(super) inputs: mpsc::Sender<Input>,
    /// What the event loop counts.
    pub(super) turns: Arc<Pulse>,
    /// The thread that writes.
    pub(super) writer: WriterPulse,
}

/// What came of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Both go on.
    Alive,
    /// This one does not.
    Silent(&'static str),
    /// The daemon is ending: how long that may take is `TimeoutStopSec`'s business.
    Ending,
}

impl Watchdog {
    /// Begins to feed, if systemd wants it.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(self) -> io::Result<()> {
        let Some(period) = notify::watchdog() else { return Ok(()) };
        thread::Builder::new().name("watchdog".to_owned()).spawn(move || self.feed(period)).map(drop)
    }

    fn feed(&self, period: Duration) {
        let mut silent = None;
        loop {
            match self.round(period / ANSWER_PART) {
                Round::Silent(who) => {
                    if silent != Some(who) {
                        tracing::error!(
                            target: EACH,
                            watchdog_period = %humantime::format_duration(period),
                            "{who} does not answer; if that lasts, systemd ends this process and starts it again"
                        );
                        silent = Some(who);
                    }
                    // No pause: it was waited for.
                    continue;
                }
                Round::Alive => {
                    if let Some(who) = silent.take() {
                        tracing::warn!(target: EACH, "{who} answers again");
                    }
                }
                Round::Ending => {}
            }
            notify::alive();
            thread::sleep(period / ROUNDS_PER_PERIOD);
        }
    }

    fn round(&self, answer_max: Duration) -> Round {
        let (turns, written) = (self.turns.count(), self.writer.pulse().count());
        // Where there is no room for the question, there is enough to be counted.
        let loop_is_there = !matches!(self.inputs.try_send(Input::Probe), Err(TrySendError::Closed(_)));
        if !self.writer.ask() || !loop_is_there {
            return Round::Ending;
        }
        if !self.writer.pulse().goes_on_from(written, answer_max) {
            return Round::Silent("the thread that writes the history");
        }
        if !self.turns.goes_on_from(turns, answer_max) && !self.writer.is_stalled() {
            return Round::Silent("the event loop");
        }
        Round::Alive
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::SystemClock,
        history::{History, HistoryOptions, Store},
    };

    const SHORT: Duration = Duration::from_millis(20);
    /// Far more than any machine needs.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn only_who_answers_is_alive() {
        let options = HistoryOptions::default();
        let store = Store::in_memory(&options).unwrap();
        let history = History::start(store, &options, Arc::new(SystemClock)).unwrap();
        let (inputs, mut asked) = mpsc::channel(1);
        let turns = Arc::new(Pulse::default());
        let watchdog = Watchdog { inputs, turns: Arc::clone(&turns), writer: history.pulse() };

        assert_eq!(watchdog.round(SHORT), Round::Silent("the event loop"), "nobody takes the question");
        assert_eq!(watchdog.round(SHORT), Round::Silent("the event loop"), "a full queue is no sign of life");
        let event_loop = thread::spawn(move || {
            while asked.blocking_recv().is_some() {
                turns.beat();
            }
        });
        assert_eq!(watchdog.round(LONG), Round::Alive);
        assert_eq!(watchdog.round(LONG), Round::Alive, "again, with nothing else to do");

        let Watchdog { writer, inputs, .. } = watchdog;
        drop(inputs);
        event_loop.join().unwrap();
        let (inputs, asked) = mpsc::channel(1);
        let watchdog = Watchdog { inputs, turns: Arc::default(), writer };
        drop(asked);
        assert_eq!(watchdog.round(LONG), Round::Ending, "the loop has gone");
        let (inputs, _asked) = mpsc::channel(1);
        let watchdog = Watchdog { inputs, ..watchdog };
        drop(history);
        assert_eq!(watchdog.round(LONG), Round::Ending, "the writer is told to go");
    }
}
