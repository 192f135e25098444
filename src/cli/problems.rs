//! Draws the problems of the file: the line, the offending text underlined, and what to do; or as JSON, one object a line.
//!
//! What the problems are is `config`'s work.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity as Drawn, SourceCode,
};
use serde_json::{Value, json};

use super::{
    args::Format,
    error::CliError,
    output::{Look, Output},
};
use crate::config::{Problem, Problems, Severity};

/// So many problems are drawn; the others are counted. In JSON there are always all of them.
const DRAWN_MAX: usize = 100;

/// Prints the problems to standard output, as the data of `check`.
///
/// # Errors
/// Standard output cannot be written.
pub fn as_data(problems: &Problems, output: &mut Output) -> Result<(), CliError> {
    let look = output.data_look();
    for text in texts(problems, output.format(), look) {
        output.line(text)?;
    }
    Ok(())
}

/// Prints the problems to standard error, and makes the error of a command that needs a good file.
pub fn as_error(problems: &Problems, output: &mut Output) -> CliError {
    let look = output.talk_look();
    for text in texts(problems, output.format(), look) {
        output.note(text);
    }
    CliError::usage(format!("{}: {}", problems.path.display(), problems.summary()))
        .hint("`skycron check` shows these problems again, and changes nothing")
}

fn texts(problems: &Problems, format: Format, look: Look) -> Vec<String> {
    if format == Format::Json {
        return problems.list.iter().map(|problem| object(problems, problem).to_string()).collect();
    }
    let theme = match (look.unicode, look.colors) {
        (true, true) => GraphicalTheme::unicode(),
        (true, false) => GraphicalTheme::unicode_nocolor(),
        (false, colors) => GraphicalTheme {
            styles: if colors { miette::ThemeStyles::ansi() } else { miette::ThemeStyles::none() },
            ..GraphicalTheme::ascii()
        },
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_links(false)
        .with_width(look.width.into())
        // Where nobody looks at a terminal, a message stays on its line.
        .with_wrap_lines(look.terminal);
    let source = NamedSource::new(problems.path.display().to_string(), problems.text.clone());
    let mut texts: Vec<String> = problems
        .list
        .iter()
        .take(DRAWN_MAX)
        .map(|problem| {
            let mut text = String::new();
            let drawn = handler.render_report(&mut text, &Drawing { problem, source: &source });
            // Drawing writes into a string; if it fails all the same, the plain words remain.
            if drawn.is_ok() { text } else { problem.message.clone() }
        })
        .collect();
    if problems.list.len() > DRAWN_MAX {
        texts.push(format!("and {} more; --format json lists all", problems.list.len() - DRAWN_MAX));
    }
    texts
}

fn object(problems: &Problems, problem: &Problem) -> Value {
    json!({
        "file": problems.path.display().to_string(),
        "line": problem.place.as_ref().map(|place| place.line),
        "column": problem.place.as_ref().map(|place| place.column),
        "severity": problem.severity.word(),
        "code": problem.code.word(),
        "message": problem.message,
        "hint": problem.hint,
        "schedule": problem.schedule,
    })
}

/// A problem in the form that miette draws.
struct Drawing<'a> {
    problem: &'a Problem,
    source: &'a NamedSource<std::sync::Arc<str>>,
}

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl fmt::Debug for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.problem, f)
    }
}

impl std::error::Error for Drawing<'_> {}

impl Diagnostic for Drawing<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(match &self.problem.schedule {
            Some(schedule) => Box::new(format!("{} in schedule {schedule}", self.problem.code)),
            None => Box::new(self.problem.code),
        })
    }

    fn severity(&self) -> Option<Drawn> {
        Some(match self.problem.severity {
            Severity::Error => Drawn::Error,
            Severity::Warning => Drawn::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.problem.place.as_ref().map(|_| self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.problem.place.as_ref()?;
        let related = self.problem.related.as_deref();
        let related =
            related.map(|(place, text)| LabeledSpan::new_with_span(Some((*text).to_owned()), place.span.clone()));
        let main = LabeledSpan::new_primary_with_span(None, place.span.clone());
        Some(Box::new(std::iter::once(main).chain(related)))
    }
}
