//! The exit codes: a closed list, the same for every command. What leads to one is decided where the error is made.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: it ran and the answer is bad (a run failed, something was not found), or it could not do its work for a reason
    /// that has no code of its own (a full disk, a broken database).
    Bad,
    /// 2: the file or the arguments are wrong. Nothing was changed.
    Usage,
    /// 3: the API could not be used: not reached, the key refused, no clear answer.
    Api,
    /// 4: another daemon holds the history.
    Held,
}

/// The list as `--help` shows it.
pub const HELP: &str = "\
Exit codes:
  0  done
  1  it ran and the answer is bad, or a disk or database failed
  2  the file or the arguments are wrong; nothing was changed
  3  the API could not be used
  4  another daemon holds the history";

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Bad => 1,
            Self::Usage => 2,
            Self::Api => 3,
            Self::Held => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
