//! Named places of the protocol at which a test lets the process die as by `kill -9`, or a thread hang. Not there in a
//! release build.
//!
//! `SKYCRON_CRASH_AT=after-commit:3` ends the process at the third passage of that place: SIGKILL, so that no destructor and
//! no handler runs. `tests/crash` goes through all of them. `SKYCRON_CRASH_AT=written:3:hang` lets the thread that passes there
//! hang for ever instead, for tests of the watchdog; `…:panic` lets it panic.

/// A place that has a name.
#[cfg(debug_assertions)]
pub(crate) fn crash_point(name: &str) {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };
    static WANTED: OnceLock<Option<(String, u64, String)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("SKYCRON_CRASH_AT").ok()?;
        let (name, passage) = text.split_once(':')?;
        let (passage, how) = passage.split_once(':').unwrap_or((passage, "kill"));
        Some((name.to_owned(), passage.parse().ok()?, how.to_owned()))
    });
    if let Some((wanted, passage, how)) = wanted
        && wanted == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *passage
    {
        use nix::{
            sys::signal::{Signal, kill},
            unistd::Pid,
        };
        match how.as_str() {
            "hang" => {}
            "panic" => fail(name),
            _ => drop(kill(Pid::this(), Signal::SIGKILL)),
        }
        // The signal ends all threads; this one must not get further before it is delivered.
        loop {
            std::thread::park();
        }
    }
}

/// As a mistake in the program would, at its worst: with the key in what it says.
#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "that is what it is for")]
fn fail(name: &str) {
    panic!("{name}, with {}", std::env::var("SKYVERN_API_KEY").unwrap_or_default());
}

/// A place that has a name: nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn crash_point(_name: &str) {}
