//! How far something is that takes long: a bar where there is a terminal, a line now and then where there is none, nothing for
//! programs. On standard error, since it is talk.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{args::Format, output::Output};

/// Lines that are written at most where there is no terminal.
const LINES_MAX: u64 = 10;
/// Between two turns of the sign that something goes on, where it cannot be told how far.
const TICK: Duration = Duration::from_millis(200);

/// How far it is.
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
    quiet: bool,
    what: String,
    total: Option<u64>,
    done: u64,
    told: u64,
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
        Self { bar, terminal: look.terminal, quiet, what: what.to_owned(), total, done: 0, told: 0 }
    }

    /// So many are done.
    pub fn set(&mut self, done: u64, output: &mut Output) {
        self.done = done;
        self.bar.set_position(done);
        if self.terminal || self.quiet {
            return;
        }
        let Some(total) = self.total.filter(|total| *total > 0) else { return };
        // The end is told by what the command prints.
        if done < total && done / (total.div_ceil(LINES_MAX)) > self.told {
            self.told = done / (total.div_ceil(LINES_MAX));
            output.note(format_args!("{done} of {total} {}", self.what));
        }
    }

    /// One more is done.
    pub fn step(&mut self, output: &mut Output) {
        self.set(self.done + 1, output);
    }

    /// What goes on; where there is no terminal, a line when it changes.
    pub fn say(&mut self, what: &str, output: &mut Output) {
        if self.what == what {
            return;
        }
        self.what = what.to_owned();
        self.bar.set_message(self.what.clone());
        if !self.terminal && !self.quiet {
            output.note(what);
        }
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
