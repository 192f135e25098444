//! Telling systemd where the daemon stands. Without systemd, nobody is told and nothing fails.

use sd_notify::NotifyState;

/// The daemon can fire.
pub(super) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
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

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}
