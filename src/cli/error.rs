//! Why a command ended without doing what it was asked: what happened, what to do next, and the exit code.
//!
//! Errors of the layers below are carried as the source; they are printed once, by [`super::output::Output::error`].

use std::{error::Error, io};

use super::exit::Exit;

/// The end of a command that failed.
#[derive(Debug)]
pub struct CliError {
    /// Decides the exit code.
    pub class: Exit,
    /// What happened, as a lowercase fragment; never a secret.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// What it came from; printed below the message, one line for each step of the chain.
    pub source: Option<Box<dyn Error + Send + Sync>>,
    /// Whoever read standard output has gone (`| head`): nothing is printed, and it is not a failure.
    pub reader_gone: bool,
}

impl CliError {
    /// An error of this class.
    #[must_use]
    pub fn new(class: Exit, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), hint: None, source: None, reader_gone: false }
    }

    /// The file or the arguments are wrong.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what it came from. The message must not repeat it.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Standard output could not be written.
    #[must_use]
    pub fn writing(error: io::Error) -> Self {
        let reader_gone = error.kind() == io::ErrorKind::BrokenPipe;
        Self { reader_gone, ..Self::new(Exit::Bad, "could not write to standard output").source(error) }
    }
}
