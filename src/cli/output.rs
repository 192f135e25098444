//! Everything that is printed: data to standard output (text, or JSON with one object a line), talk to standard error.
//!
//! Colours follow each stream's terminal and `NO_COLOR`; width follows the terminal and `COLUMNS`. What is said is the
//! commands' business. That it cannot command a terminal is seen to here, for every line: texts come from the API, from the
//! file and from web pages that a workflow visited.

use std::{
    error::Error,
    fmt::Display,
    io::{self, BufWriter, IsTerminal, Write},
};

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::json;

use super::{args::Format, error::CliError};
use crate::config::Environment;

/// The width that is assumed where there is no terminal to ask.
const WIDTH_DEFAULT: u16 = 120;

/// How a piece of text is meant; the colour follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be: green.
    Good,
    /// Wrong: red.
    Bad,
    /// Worth a look: yellow.
    Warn,
    /// Of less interest: dim.
    Dim,
    /// Of more interest: bold.
    Strong,
}

/// What one stream can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether it is a terminal: what is drawn may be drawn over.
    pub terminal: bool,
    /// Whether colours are wanted.
    pub colors: bool,
    /// Whether characters beyond ASCII are shown as what they are.
    pub unicode: bool,
    /// Columns.
    pub width: u16,
}

impl Look {
    fn of(environment: &Environment, terminal: bool, detected_width: Option<u16>) -> Self {
        let dumb = environment.text("TERM") == Some("dumb");
        let asked_width =
            environment.text("COLUMNS").and_then(|columns| columns.parse().ok()).filter(|width| *width > 0);
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| environment.text(name)).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        Self {
            terminal,
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
            colors: terminal && !dumb && environment.get("NO_COLOR").is_none(),
            width: asked_width.or(detected_width).unwrap_or(WIDTH_DEFAULT),
        }
    }

    /// `text` in the colour of its tone, where colours are wanted.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: impl Display) -> String {
        if !self.colors {
            return text.to_string();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Warn => "33",
            Tone::Dim => "2",
            Tone::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// A cell of a table in the colour of its tone.
#[must_use]
pub fn toned(tone: Tone, text: impl Display) -> Cell {
    let cell = Cell::new(text);
    match tone {
        Tone::Good => cell.fg(Color::DarkGreen),
        Tone::Bad => cell.fg(Color::DarkRed),
        Tone::Warn => cell.fg(Color::DarkYellow),
        Tone::Dim => cell.add_attribute(Attribute::Dim),
        Tone::Strong => cell.add_attribute(Attribute::Bold),
    }
}

/// The two streams and the format.
pub struct Output {
    format: Format,
    data: Box<dyn Write + Send>,
    talk: Box<dyn Write + Send>,
    data_look: Look,
    talk_look: Look,
}

impl Output {
    /// Standard output and standard error of this process.
    #[must_use]
    pub fn of_process(format: Format, environment: &Environment) -> Self {
        let width = Table::new().width();
        Self {
            format,
            data: Box::new(BufWriter::new(io::stdout())),
            talk: Box::new(io::stderr()),
            data_look: Look::of(environment, io::stdout().is_terminal(), width),
            talk_look: Look::of(environment, io::stderr().is_terminal(), width),
        }
    }

    /// Text or JSON.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// What standard output can show.
    #[must_use]
    pub fn data_look(&self) -> Look {
        self.data_look
    }

    /// What standard error can show.
    #[must_use]
    pub fn talk_look(&self) -> Look {
        self.talk_look
    }

    /// One line of data, as text.
    ///
    /// # Errors
    /// Standard output cannot be written; a reader that has gone is marked as such.
    pub fn line(&mut self, text: impl Display) -> Result<(), CliError> {
        let text = harmless(text.to_string(), self.data_look.colors);
        writeln!(self.data, "{text}").map_err(CliError::writing)
    }

    /// Begins a new picture over the one before: where data goes to a terminal, its screen is cleared; else a line is left
    /// empty between the two.
    ///
    /// # Errors
    /// Standard output cannot be written; a reader that has gone is marked as such.
    pub fn new_picture(&mut self, is_first: bool) -> Result<(), CliError> {
        let text = match (self.data_look.terminal, is_first) {
            // To the upper left corner, and everything below it away; nothing that scrolled off is touched.
            (true, _) => "\u{1b}[H\u{1b}[2J",
            (false, true) => "",
            (false, false) => "\n",
        };
        write!(self.data, "{text}").map_err(CliError::writing)
    }

    /// One object of data, as a line of JSON.
    ///
    /// # Errors
    /// Standard output cannot be written; a reader that has gone is marked as such.
    pub fn object(&mut self, object: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(object).map_err(|error| CliError::writing(error.into()))?;
        writeln!(self.data, "{}", harmless_json(&text)).map_err(CliError::writing)
    }

    /// A table of data, as text: aligned columns without lines. Where there is no terminal nothing is wrapped.
    ///
    /// # Errors
    /// Standard output cannot be written; a reader that has gone is marked as such.
    pub fn table(&mut self, headers: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) -> Result<(), CliError> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(headers.iter().map(|header| toned(Tone::Dim, header)));
        if self.data_look.terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(self.data_look.width);
        }
        if self.data_look.colors {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        for row in rows {
            table.add_row(row);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        // Trailing blanks would only get in the way of those who select or compare lines.
        for line in table.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Sends on what was written: at the end, and where something is shown live.
    ///
    /// # Errors
    /// Standard output cannot be written; a reader that has gone is marked as such.
    pub fn flush(&mut self) -> Result<(), CliError> {
        self.data.flush().map_err(CliError::writing)
    }

    /// A line of talk. That standard error cannot be written is nobody's business.
    pub fn note(&mut self, text: impl Display) {
        let text = harmless(text.to_string(), self.talk_look.colors);
        let _ = writeln!(self.talk, "{text}");
    }

    /// The end of a command that failed: message, chain of causes, hint. In JSON, one object on standard error.
    pub fn error(&mut self, error: &CliError) {
        if error.reader_gone {
            return;
        }
        let causes = causes(error);
        if self.format == Format::Json {
            let object = json!({ "severity": "error", "message": error.message, "causes": causes, "hint": error.hint });
            let _ = writeln!(self.talk, "{}", harmless_json(&object.to_string()));
            return;
        }
        let label = self.talk_look.paint(Tone::Bad, "error");
        self.note(format_args!("{label}: {}", error.message));
        for cause in causes {
            let label = self.talk_look.paint(Tone::Dim, "because");
            self.note(format_args!("  {label}: {cause}"));
        }
        if let Some(hint) = &error.hint {
            let label = self.talk_look.paint(Tone::Strong, "hint");
            self.note(format_args!("{label}: {hint}"));
        }
    }
}

/// What stands where a character was that a terminal would obey.
const INSTEAD: char = '\u{fffd}';
/// The longest sequence for a colour: `ESC [ 1 ; 4 ; 38 ; 2 ; 255 ; 255 ; 255 m` and some.
const COLOR_BYTES_MAX: usize = 32;

/// Whether a terminal may do something other than show this character: control characters of both kinds, and those that turn
/// the direction of the text around, by which a line can be made to read as another.
fn commands_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text without what commands a terminal. Line breaks and tabs stay, and where colours are wanted, so do they: the worst
/// that a foreign text can do is to be red.
fn harmless(text: String, colors: bool) -> String {
    if !text.chars().any(|c| commands_terminal(c) && c != '\n') {
        return text;
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        let length = match color_length(rest) {
            Some(length) if colors => {
                clean.push_str(&rest[..length]);
                length
            }
            _ => {
                clean.push(if commands_terminal(c) && !matches!(c, '\n' | '\t') { INSTEAD } else { c });
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    clean
}

/// The length of the sequence for a colour or weight with which the text begins. Hidden text (8) is none.
fn color_length(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("\u{1b}[")?;
    let end = inner.find(|c: char| !c.is_ascii_digit() && c != ';').filter(|end| *end <= COLOR_BYTES_MAX)?;
    let shows = !inner[..end].split(';').any(|number| number == "8" || number == "08");
    (inner[end..].starts_with('m') && shows).then_some(end + 3)
}

/// The same for JSON, in which such a character can only be inside a text, and can be written by its number.
fn harmless_json(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut clean, c| {
        if commands_terminal(c) {
            clean.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            clean.push(c);
        }
        clean
    })
}

fn causes(error: &CliError) -> Vec<String> {
    let first = error.source.as_deref().map(|source| source as &dyn Error);
    std::iter::successors(first, |error: &&dyn Error| (*error).source()).map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(pairs: &[(&str, &str)], terminal: bool) -> Look {
        Look::of(&Environment::from_pairs(pairs.iter().copied()), terminal, None)
    }

    #[test]
    fn no_text_commands_the_terminal() {
        let check = |text: &str, colors: bool, expected: &str| {
            assert_eq!(harmless(text.to_owned(), colors), expected, "{text:?} {colors}");
        };
        check("plain, ünïcode 漢字 🙂", true, "plain, ünïcode 漢字 🙂");
        check("two\nlines\tand a tab", false, "two\nlines\tand a tab");
        check("\u{1b}[31mred\u{1b}[0m", true, "\u{1b}[31mred\u{1b}[0m");
        check("\u{1b}[31mred", false, "\u{fffd}[31mred");
        check("\u{1b}[38;2;1;2;3;1mred", true, "\u{1b}[38;2;1;2;3;1mred");
        check("\u{1b}[8mhidden", true, "\u{fffd}[8mhidden");
        check("\u{1b}[2Jcleared", true, "\u{fffd}[2Jcleared");
        check("\u{1b}]0;title\u{7}", true, "\u{fffd}]0;title\u{fffd}");
        check("\u{9b}2J", true, "\u{fffd}2J");
        check("good\rbad", true, "good\u{fffd}bad");
        check("a\u{202e}b", true, "a\u{fffd}b");
        check("\u{1b}[", true, "\u{fffd}[");
        check("\u{1b}[1", true, "\u{fffd}[1");
        let json = |value: &str| harmless_json(&json!({ "a": value }).to_string());
        assert_eq!(json("\u{1b}[2J\u{9b}2J\u{202e}ü\n"), r#"{"a":"\u001b[2J\u009b2J\u202eü\n"}"#);
    }

    #[test]
    fn colors_follow_the_terminal_and_the_wish() {
        assert!(look(&[], true).colors);
        assert!(!look(&[], false).colors);
        assert!(!look(&[("NO_COLOR", "1")], true).colors);
        assert!(look(&[("NO_COLOR", "")], true).colors, "an empty NO_COLOR counts as absent");
        assert!(!look(&[("TERM", "dumb")], true).colors);
        assert_eq!(look(&[("COLUMNS", "61")], true).width, 61);
        assert_eq!(look(&[("COLUMNS", "wide")], true).width, WIDTH_DEFAULT);
        assert_eq!(look(&[], false).paint(Tone::Bad, "x"), "x");
        assert_eq!(look(&[], true).paint(Tone::Bad, "x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
