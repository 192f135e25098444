//! Telling systemd where the daemon stands. Without systemd, nobody is told and nothing fails.

use std::time::Duration;

use sd_notify::NotifyState;

/// systemd shows a line; what is longer than this says nothing more to anybody.
const STATUS_CHARS_MAX: usize = 1000;

/// Whether somebody listens.
pub(super) fn is_heard() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// The daemon can fire; after [`reloading`]: the file was taken over, or refused.
pub(super) fn ready() {
    send(&[NotifyState::Ready]);
}

/// Where it stands, in a line.
pub(super) fn status(text: &str) {
    send(&[NotifyState::Status(&line(text))]);
}

/// The daemon reads its file again; [`ready`] says that it is done. Goes with the monotonic time, by which systemd tells this
/// reload from an earlier one.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "systemd was not told of the reload"),
    }
}

/// The daemon ends.
pub(super) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// The daemon works.
pub(super) fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How often systemd wants to hear [`alive`] at least, if it does (`WatchdogSec=`).
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
}

/// One line of the protocol: a line break would begin the next field.
fn line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(STATUS_CHARS_MAX).collect()
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(line("a\nWATCHDOG=1\u{1b}[31m"), "a WATCHDOG=1 [31m");
        assert_eq!(line(&"é".repeat(5000)).chars().count(), STATUS_CHARS_MAX);
    }
}
