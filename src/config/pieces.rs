//! Where a file can be cut: its head, and each `[[schedule]]` with what belongs to it. Each piece is TOML of its own, so that a
//! large file is read one schedule at a time; the tree of all of them at once takes twenty times the room of the text.
//!
//! It understands no more than it needs for that. A file that is not simply a head and then schedules is not cut.

use std::ops::Range;

use toml_parser::{
    Source,
    lexer::{Token, TokenKind},
};

/// A file that can be cut.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pieces {
    /// Everything before the first schedule.
    pub head: Range<usize>,
    /// Each schedule, with its own tables.
    pub schedules: Vec<Range<usize>>,
}

/// The name of the array of tables.
const SCHEDULE: &str = "schedule";

/// Finds the pieces; `None` where there are no schedules, or another table follows them.
pub(super) fn cut(text: &str) -> Option<Pieces> {
    let mut starts = Vec::new();
    // Inside an array or an inline table a bracket at the start of a line is no header.
    let mut depth = 0_usize;
    let mut line_begins = true;
    let mut tokens = Source::new(text).lex();
    while let Some(token) = tokens.next() {
        match token.kind() {
            TokenKind::LeftSquareBracket if depth == 0 && line_begins => {
                let header = Header::read(text, &mut tokens)?;
                match (header.is_schedule, header.is_array && !header.has_more, starts.is_empty()) {
                    (true, true, _) => starts.push(token.span().start()),
                    // A table of the schedule above it, or of the head.
                    (true, false, false) | (false, _, true) => {}
                    _ => return None,
                }
                line_begins = false;
            }
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => depth += 1,
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => depth = depth.checked_sub(1)?,
            TokenKind::Newline => line_begins = true,
            TokenKind::Whitespace => {}
            _ => line_begins = false,
        }
    }
    let first = *starts.first()?;
    let ends = starts[1..].iter().copied().chain([text.len()]);
    let schedules = starts.iter().zip(ends).map(|(start, end)| *start..end).collect();
    Some(Pieces { head: 0..first, schedules })
}

/// What is between the brackets of a header.
struct Header {
    is_array: bool,
    /// Its first key is `schedule`.
    is_schedule: bool,
    /// More keys follow the first one.
    has_more: bool,
}

impl Header {
    /// Reads on behind the first bracket, to the end of the header. `None`: it is none, or its key is written in a way that
    /// is not worth following.
    fn read(text: &str, tokens: &mut impl Iterator<Item = Token>) -> Option<Self> {
        let mut header = Self { is_array: false, is_schedule: false, has_more: false };
        let (mut keys, mut closed) = (0, 0);
        for token in tokens {
            let span = token.span();
            match token.kind() {
                TokenKind::LeftSquareBracket if keys == 0 && !header.is_array => header.is_array = true,
                TokenKind::Whitespace => {}
                TokenKind::Atom => {
                    keys += 1;
                    let key = text.get(span.start()..span.end())?;
                    header.is_schedule |= keys == 1 && key == SCHEDULE;
                    header.has_more = keys > 1;
                }
                TokenKind::BasicString | TokenKind::LiteralString if keys > 0 => keys += 1,
                TokenKind::Dot if keys > 0 => header.has_more = true,
                TokenKind::RightSquareBracket if keys > 0 => {
                    closed += 1;
                    if closed == if header.is_array { 2 } else { 1 } {
                        return Some(header);
                    }
                }
                _ => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    /// The first line of each piece but the head; `None`: not cut.
    fn check(text: &str, expected: Option<&[&str]>) {
        let pieces = cut(text);
        let lines = pieces.as_ref().map(|pieces| {
            let mut end = pieces.head.end;
            for piece in &pieces.schedules {
                assert_eq!(piece.start, end, "nothing lies between two pieces");
                end = piece.end;
            }
            assert_eq!(end, text.len(), "nothing is left out");
            pieces
                .schedules
                .iter()
                .map(|piece| text[piece.clone()].lines().nth(1).unwrap_or_default())
                .collect::<Vec<_>>()
        });
        assert_eq!(lines.as_deref(), expected, "{text:?}");
    }

    #[test]
    fn pieces() {
        check("a = 1\n[api]\nb = 2\n[[schedule]]\nid = 1\n\n[[schedule]]\nid = 2\n", Some(&["id = 1", "id = 2"]));
        check("[[schedule]]\nid = 1\n[schedule.retry]\nx = 1\n [[ schedule ]]\nid = 2", Some(&["id = 1", "id = 2"]));
        check("[[schedule]]\nid = 1\n[schedule.parameters.\"a b\"]\nx = 1\n", Some(&["id = 1"]));
        check("[[schedule]]\nid = 1\n[[schedule.parameters.list]]\nx = 1\n", Some(&["id = 1"]));
    }

    #[test]
    fn brackets_that_are_no_headers() {
        check("[[schedule]]\nid = 1\na = [\n[1],\n[\"[[schedule]]\"]]\n# [[schedule]]\n", Some(&["id = 1"]));
        check("[[schedule]]\nid = 1\na = '''\n[[schedule]]\n'''\nb = \"\"\"\n[api]\n\"\"\"", Some(&["id = 1"]));
        check("a = [\n[[schedule]],\n]\n[[schedule]]\nid = 2\n", Some(&["id = 2"]));
    }

    #[test]
    fn files_that_are_not_cut() {
        check("", None);
        check("[api]\n", None);
        check("schedule = [{ id = 1 }]\n", None);
        check("[[schedule]]\nid = 1\n[api]\nb = 2\n", None);
        check("[schedule]\nid = 1\n[[schedule]]\nid = 2\n", None);
        check("[schedule.retry]\nid = 1\n[[schedule]]\nid = 2\n", None);
        check("[[\"schedule\"]]\nid = 1\n", None);
        check("a = ]\n[[schedule]]\nid = 1\n", None);
        check("[[schedule\nid = 1\n", None);
    }
}
