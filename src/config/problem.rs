//! What is wrong with the file, and where: every problem carries its place, and what to do about it.
//!
//! Values only. They are drawn by `cli`, logged by `daemon`.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::words::words;

words! {
    /// How bad it is.
    Severity {
        /// The file cannot be used.
        Error = "error",
        /// It can be used, and may surprise.
        Warning = "warning",
    }
}

words! {
    /// The kind of a problem: a word that programs can rely on.
    Code {
        /// The file is missing, cannot be read, is not text, or is too large.
        Unreadable = "unreadable",
        /// Not TOML.
        Syntax = "syntax",
        /// A key or table that is not known.
        UnknownKey = "unknown_key",
        /// A value of another type than the key takes.
        WrongType = "wrong_type",
        /// A key that is needed is not there.
        MissingKey = "missing_key",
        /// A value that the key does not take.
        BadValue = "bad_value",
        /// Keys that do not go together.
        Conflict = "conflict",
        /// Two schedules with one id.
        DuplicateId = "duplicate_id",
        /// A time zone that nobody knows.
        UnknownZone = "unknown_zone",
        /// A cron expression that cannot be understood, or that is never due.
        BadCron = "bad_cron",
        /// Occurrences that are closer together than `min_interval`.
        TooFrequent = "too_frequent",
        /// A template that cannot be read, or speaks of what is not there.
        BadTemplate = "bad_template",
        /// Part of the plan, and not of this version.
        NotAvailable = "not_available",
        /// A secret in the file itself.
        LiteralSecret = "literal_secret",
        /// The API key is not where the file says.
        MissingSecret = "missing_secret",
        /// A file with a secret that others can read.
        ExposedSecret = "exposed_secret",
        /// A file that every user of the machine can change, and that says where the key is sent, or is the key.
        ExposedFile = "exposed_file",
        /// A timetable that may not do what its writer expects.
        Surprise = "surprise",
        /// The server has no such workflow, or it was deleted.
        NoWorkflow = "no_workflow",
        /// A parameter that the workflow does not declare.
        UndeclaredParameter = "undeclared_parameter",
        /// A parameter that the workflow requires is not there.
        MissingParameter = "missing_parameter",
        /// A parameter of another type than the workflow takes.
        WrongParameter = "wrong_parameter",
        /// The server has no such browser session or profile, or the session is over.
        NoBrowser = "no_browser",
        /// The server's clock and this machine's differ.
        ClocksApart = "clocks_apart",
    }
}

/// A place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Bytes of the text.
    pub span: Range<usize>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Its kind.
    pub code: Code,
    /// What is wrong, as a lowercase fragment; never a secret.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The schedule that has it.
    pub schedule: Option<Box<str>>,
    /// Where; `None` for what has no place in the text.
    pub place: Option<Place>,
    /// Another place that matters, with what is there.
    pub related: Option<Box<(Place, &'static str)>>,
}

impl Problem {
    /// An error without a place.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            hint: None,
            schedule: None,
            place: None,
            related: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Makes it a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

/// The problems of one file, in the order of their places, with the text that they point into.
#[derive(Debug, Clone)]
pub struct Problems {
    /// The file.
    pub path: PathBuf,
    /// Its text, in which what may be a secret is blanked out, byte for byte.
    pub text: Arc<str>,
    /// The problems.
    pub list: Vec<Problem>,
}

impl Problems {
    /// One problem of a file that has no text to point into.
    #[must_use]
    pub fn of_file(path: &Path, problem: Problem) -> Self {
        Self { path: path.to_owned(), text: "".into(), list: vec![problem] }
    }

    /// How many of this severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|problem| problem.severity == severity).count()
    }

    /// `2 errors, 1 warning`.
    #[must_use]
    pub fn summary(&self) -> String {
        let part = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        match (self.count(Severity::Error), self.count(Severity::Warning)) {
            (0, 0) => "no problems".to_owned(),
            (errors, 0) => part(errors, "error"),
            (0, warnings) => part(warnings, "warning"),
            (errors, warnings) => format!("{}, {}", part(errors, "error"), part(warnings, "warning")),
        }
    }
}

/// Turns byte offsets into lines and columns.
#[derive(Debug)]
pub(super) struct LineIndex<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> LineIndex<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let start = span.start.min(self.text.len());
        let line = self.starts.partition_point(|line_start| *line_start <= start);
        let line_start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(line_start..start).unwrap_or("");
        Place { line, column: before.chars().count() + 1, span: start..span.end.clamp(start, self.text.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "a\nöb = 1\n\nc";
        let index = LineIndex::new(text);
        let at = |start: usize| {
            let place = index.place(&(start..start));
            (place.line, place.column)
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(1), (1, 2));
        assert_eq!(at(2), (2, 1));
        assert_eq!(at(4), (2, 2), "ö is two bytes and one column");
        assert_eq!(at(text.len()), (4, 2));
        assert_eq!(at(999), (4, 2), "past the end counts as the end");
    }
}
