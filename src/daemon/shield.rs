//! What keeps secrets inside a process that ends badly: no dump of its memory, and panics that go to the log without them.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::PanicHookInfo,
    thread,
};

use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};

use crate::{secret::Secret, words::EACH};

/// From now on the kernel writes no core dump of this process (which would have every secret in it), and other processes of the
/// same user cannot read its memory and environment. A debugger needs root.
pub fn no_dumps() {
    // Each of the two is enough for most; where a container forbids one, the other holds.
    let limit = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let dumpable = prctl::set_dumpable(false);
    if let Err(error) = limit.and(dumpable) {
        tracing::debug!(%error, "a dump of this process is not ruled out");
    }
}

/// From now on a panic is an error in the log: where it was, and what it said without these secrets.
pub fn panics_to_log(secrets: Vec<Secret>) {
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string);
        let thread = thread::current().name().map(str::to_owned);
        let backtrace = Backtrace::capture();
        // Has names and places alone.
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(target: EACH, place, thread, backtrace, "panicked, which is a mistake in skycron: {}", said(info, &secrets));
    }));
}

fn said(info: &PanicHookInfo<'_>, secrets: &[Secret]) -> String {
    let text = info.payload_as_str().unwrap_or("it did not say why").to_owned();
    secrets.iter().fold(text, |text, secret| secret.redact(&text))
}
