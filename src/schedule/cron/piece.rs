//! Pieces of an expression that know where they stand, and what is wrong with one.

use std::ops::Range;

use super::CronErrorKind as Kind;

/// A piece of the expression and where it begins.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) start: usize,
}

impl<'a> Piece<'a> {
    pub(super) fn span(self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    pub(super) fn refuse(self, kind: Kind) -> Refusal {
        Refusal { span: self.span(), kind, replacement: None }
    }

    /// Refused, with what should stand in its place.
    pub(super) fn replace(self, kind: Kind, replacement: impl Into<String>) -> Refusal {
        Refusal { span: self.span(), kind, replacement: Some(replacement.into()) }
    }

    /// The pieces between separators, empty ones too.
    pub(super) fn split(self, separator: char) -> impl Iterator<Item = Piece<'a>> {
        let Piece { text, start } = self;
        text.split(separator).map(move |part| Piece { text: part, start: start + offset_in(text, part) })
    }

    /// What is before and after the first separator.
    pub(super) fn split_once(self, separator: char) -> Option<(Piece<'a>, Piece<'a>)> {
        let (before, after) = self.text.split_once(separator)?;
        Some((
            Piece { text: before, start: self.start },
            Piece { text: after, start: self.start + before.len() + separator.len_utf8() },
        ))
    }
}

/// Where `part`, a slice of `whole`, begins in it.
fn offset_in(whole: &str, part: &str) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// An error before the correction is made into a whole expression.
pub(super) struct Refusal {
    pub(super) span: Range<usize>,
    pub(super) kind: Kind,
    /// What should stand there instead.
    pub(super) replacement: Option<String>,
}
