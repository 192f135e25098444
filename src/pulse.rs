//! A sign of life: whoever works counts, and whoever watches waits for the next count.
//!
//! It says that something goes on, not what. Nobody is woken by it who does not wait.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// What is counted by a worker, for its watcher.
#[derive(Debug, Default)]
pub struct Pulse {
    beats: Mutex<u64>,
    beaten: Condvar,
}

impl Pulse {
    /// One more piece of work is done.
    pub fn beat(&self) {
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        *beats = beats.wrapping_add(1);
        self.beaten.notify_all();
    }

    /// The count so far, for [`Pulse::goes_on_from`].
    #[must_use]
    pub fn count(&self) -> u64 {
        *self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the count is another one than `before`, `within_max` at most. Whether it is.
    #[must_use]
    pub fn goes_on_from(&self, before: u64, within_max: Duration) -> bool {
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.beaten.wait_timeout_while(beats, within_max, |beats| *beats == before);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    /// Far more than any machine needs.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_beat_ends_the_wait_and_silence_does_not() {
        let pulse = Arc::new(Pulse::default());
        let before = pulse.count();
        assert!(!pulse.goes_on_from(before, Duration::from_millis(1)), "nobody beat");
        pulse.beat();
        assert!(pulse.goes_on_from(before, Duration::ZERO), "a beat from before the wait counts");
        assert!(!pulse.goes_on_from(pulse.count(), Duration::from_millis(1)), "once");
        let worker = {
            let pulse = Arc::clone(&pulse);
            thread::spawn(move || pulse.beat())
        };
        assert!(pulse.goes_on_from(before + 1, LONG), "a beat during the wait");
        worker.join().unwrap();
    }
}
