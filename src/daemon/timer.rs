//! Waiting for an instant of the wall clock.
//!
//! A `CLOCK_REALTIME` timer of the kernel, which fires when the clock *shows* the instant, however the clock came there, and
//! which is cancelled when the clock is set. So there is no tick, and no sleep whose length could turn out wrong: an idle
//! daemon does not wake up. What time it is then is not decided here: whoever waited reads the clock again.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use chrono::{DateTime, Utc};
use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::io::unix::AsyncFd;

/// The kernel's timer. tokio wants the descriptor as a number, nix lends it.
#[derive(Debug)]
struct Kernel(TimerFd);

impl AsRawFd for Kernel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// A wait for one instant at a time.
#[derive(Debug)]
pub struct WallTimer {
    timer: AsyncFd<Kernel>,
    armed: Option<DateTime<Utc>>,
}

impl WallTimer {
    /// A timer that waits for nothing yet.
    ///
    /// # Errors
    /// The kernel gives no timer (no file descriptors left), or there is no runtime.
    #[expect(
        deprecated,
        reason = "its successor is `unsafe`; what that guards against, a descriptor that changes, cannot happen here"
    )]
    pub fn new() -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        Ok(Self { timer: AsyncFd::new(Kernel(timer))?, armed: None })
    }

    /// Waits for `instant` from now on, in place of what it waited for; `None`: for nothing.
    ///
    /// # Errors
    /// The kernel refuses the instant.
    pub fn set(&mut self, instant: Option<DateTime<Utc>>) -> io::Result<()> {
        if instant == self.armed {
            return Ok(());
        }
        match instant {
            Some(instant) => {
                // Zero would disarm; an instant before 1970 is as due as any other that has passed.
                let seconds = instant.timestamp().max(1);
                let nanos = i64::from(instant.timestamp_subsec_nanos());
                self.timer.get_ref().0.set(
                    Expiration::OneShot(TimeSpec::new(seconds, nanos)),
                    TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET,
                )?;
            }
            None => self.timer.get_ref().0.unset()?,
        }
        self.armed = instant;
        Ok(())
    }

    /// The next [`WallTimer::set`] sets the kernel's timer in any case. For a clock that was seen to be set: where the kernel did
    /// not notice (a virtual machine that was moved, a namespace of its own), the wait would still go by the one of before.
    pub fn forget(&mut self) {
        self.armed = None;
    }

    /// Ends when the instant has come, or when the clock was set (the kernel cancels the wait then, and whoever waited has to
    /// look at the clock anyway); never, while it waits for nothing. The timer is to be set again afterwards. May be dropped
    /// and asked again without losing anything.
    ///
    /// # Errors
    /// The kernel's timer fails.
    pub async fn woken(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.timer.readable().await?;
            if let Ok(read) = ready.try_io(|timer| timer.get_ref().0.wait().map_err(io::Error::from)) {
                self.armed = None;
                return read;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::clock::{Clock, SystemClock};

    fn check(offset: TimeDelta) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let instant = SystemClock.now() + offset;
            let mut timer = WallTimer::new().unwrap();
            timer.set(Some(instant)).unwrap();
            timer.woken().await.unwrap();
            assert!(SystemClock.now() >= instant);
        });
    }

    #[test]
    fn waits_until_the_clock_shows_the_instant() {
        check(TimeDelta::milliseconds(30));
        check(TimeDelta::seconds(-5));
        check(TimeDelta::days(-100_000));
    }
}
