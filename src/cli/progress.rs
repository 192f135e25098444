//! How far something is that takes long: a bar where there is a terminal, a line now and then where there is none, nothing for
//! programs. On standard error, since it is talk.

use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::JoinHandle,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{args::Format, output::Output};
use crate::clock::Stopwatch;

/// Where there is no terminal, a line is written this often; what is done before needs none.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Between two turns of the sign that something goes on, where it cannot be told how far.
const TICK: Duration = Duration::from_millis(200);

/// Between two looks at something that goes on elsewhere.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How far it is.
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
    quiet: bool,
    what: String,
    total: Option<u64>,
    done: u64,
    /// Since the last line.
    told: Stopwatch,
}

impl Progress {
    /// Of so many of something: `workflows`.
    #[must_use]
    pub fn of(total: u64, what: &str, output: &Output) -> Self {
        Self::new(Some(total), what, output)
    }

    /// Of something of which nobody knows how long it takes.
    #[must_use]
    pub fn waiting(what: &str, output: &Output) -> Self {
        Self::new(None, what, output)
    }

    fn new(total: Option<u64>, what: &str, output: &Output) -> Self {
        let look = output.talk_look();
        let quiet = output.format() == Format::Json;
        let shown = look.terminal && !quiet;
        let bar = match total {
            Some(total) => ProgressBar::with_draw_target(Some(total), target(shown)),
            None => ProgressBar::with_draw_target(None, target(shown)),
        };
        let marks = if look.unicode { "█▉▊▋▌▍▎▏ " } else { "#- " };
        let template = match (total, look.colors) {
            (Some(_), true) => "{bar:30.green} {pos}/{len} {msg} {eta_precise:.dim}",
            (Some(_), false) => "{bar:30} {pos}/{len} {msg} {eta_precise}",
            (None, _) => "{spinner} {msg} {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            let signs = if look.unicode { "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ " } else { "|/-\\ " };
            bar.set_style(style.progress_chars(marks).tick_chars(signs));
        }
        bar.set_message(what.to_owned());
        if total.is_none() && shown {
            bar.enable_steady_tick(TICK);
        }
        Self { bar, terminal: look.terminal, quiet, what: what.to_owned(), total, done: 0, told: Stopwatch::start() }
    }

    /// So many are done.
    pub fn set(&mut self, done: u64, output: &mut Output) {
        self.done = done;
        self.bar.set_position(done);
        if self.terminal || self.quiet {
            return;
        }
        // The end is told by what the command prints.
        if let Some(total) = self.total.filter(|total| done < *total)
            && self.told.elapsed() >= LINE_EVERY
        {
            self.told = Stopwatch::start();
            output.note(format_args!("{done} of {total} {}", self.what));
        }
    }

    /// One more is done.
    pub fn step(&mut self, output: &mut Output) {
        self.set(self.done + 1, output);
    }
}

/// It leaves no trace.
impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn target(shown: bool) -> ProgressDrawTarget {
    if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

/// A progress that is kept current by looking, while the command waits for something else. It ends with this.
pub struct Watched {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watched {
    /// Looks every now and then at how many are done; `None`: it cannot be seen now. `output` is the looker's own: the
    /// command goes on with its.
    #[must_use]
    pub fn start(
        total: u64,
        what: &str,
        mut output: Output,
        mut done: impl FnMut() -> Option<u64> + Send + 'static,
    ) -> Self {
        let (stop, stopped) = mpsc::channel();
        let what = what.to_owned();
        let look = move || {
            let mut progress = Progress::of(total, &what, &output);
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK_EVERY) {
                if let Some(done) = done() {
                    progress.set(done, &mut output);
                }
            }
        };
        // Without a thread to spare there is no progress to be seen, and that is all.
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(look).ok();
        Self { stop: Some(stop), thread }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
