//! The questions that `init` asks in a terminal. What is a good answer is decided elsewhere.

use std::fmt;

use inquire::{Confirm, InquireError, MultiSelect, Text, validator::Validation};
use serde_json::Value;

use crate::{
    cli::{error::CliError, history::one_line, output::Output},
    skyvern::{Workflow, WorkflowParameter},
};

/// Workflows that are shown at a time.
const PAGE: usize = 15;
const TITLE_CHARS_MAX: usize = 60;

/// What is wrong with an answer, and a hint.
type Wrong = (String, String);

/// A workflow as a line to choose.
struct Choice(Workflow);

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What the server sends must not reach the terminal as it is: this does not go through `Output`.
        write!(f, "{} ({})", one_line(&self.0.title, TITLE_CHARS_MAX), self.0.id)
    }
}

/// Which of them.
pub(super) fn workflows(all: Vec<Workflow>) -> Result<Vec<Workflow>, CliError> {
    let choices = all.into_iter().map(Choice).collect();
    let chosen = MultiSelect::new("Which workflows are to be started on a schedule?", choices)
        .with_page_size(PAGE)
        .with_help_message("type to search, space chooses, enter goes on")
        .with_validator(|chosen: &[inquire::list_option::ListOption<&Choice>]| {
            Ok(if chosen.is_empty() {
                Validation::Invalid("choose one or more with space".into())
            } else {
                Validation::Valid
            })
        })
        .prompt()
        .map_err(ended)?;
    Ok(chosen.into_iter().map(|choice| choice.0).collect())
}

/// Whose clocks.
pub(super) fn zone(
    proposed: &str,
    check: impl Fn(&str) -> Result<(), Wrong>,
    output: &mut Output,
) -> Result<String, CliError> {
    let mut proposed = proposed.to_owned();
    loop {
        let answer = Text::new("Whose clocks are meant?")
            .with_initial_value(&proposed)
            .with_help_message("a time zone, as in America/New_York or UTC")
            .prompt()
            .map_err(ended)?;
        let answer = answer.trim().to_owned();
        match check(&answer) {
            Ok(()) => return Ok(answer),
            Err(wrong) => say(&wrong, output),
        }
        proposed = answer;
    }
}

/// When: asked until the next occurrences are what was meant.
pub(super) fn cadence<T>(
    title: &str,
    read: impl Fn(&str) -> Result<(T, String), Wrong>,
    output: &mut Output,
) -> Result<T, CliError> {
    let question = format!("When is {title} to start?");
    let mut proposed = "weekdays at 9".to_owned();
    loop {
        let answer = Text::new(&question)
            .with_initial_value(&proposed)
            .with_help_message("as in \"every 15 minutes\", \"first of the month at 06:30\", or five cron fields")
            .prompt()
            .map_err(ended)?;
        match read(&answer) {
            Ok((cadence, shown)) => {
                output.note(shown);
                if Confirm::new("Is that what you mean?").with_default(true).prompt().map_err(ended)? {
                    return Ok(cadence);
                }
            }
            Err(wrong) => say(&wrong, output),
        }
        proposed = answer;
    }
}

/// A value for a parameter that has no default.
pub(super) fn parameter(title: &str, parameter: &WorkflowParameter, output: &mut Output) -> Result<Value, CliError> {
    let (key, kind) = (one_line(&parameter.key, TITLE_CHARS_MAX), one_line(&parameter.kind, TITLE_CHARS_MAX));
    loop {
        let answer = Text::new(&format!("{title} requires {key} ({kind}):")).prompt().map_err(ended)?;
        let value = value(&parameter.kind, &answer);
        match parameter.unfit(&value) {
            None => return Ok(value),
            Some(what) => say(&(format!("`{answer}` {what}"), String::new()), output),
        }
    }
}

/// A text stays one where the workflow wants one; anything else is read as JSON where it can be.
fn value(kind: &str, answer: &str) -> Value {
    let text = || Value::String(answer.to_owned());
    match kind {
        "string" | "file_url" | "credential_id" => text(),
        _ => serde_json::from_str(answer.trim()).unwrap_or_else(|_| text()),
    }
}

/// What is wrong with an answer.
fn say((message, hint): &Wrong, output: &mut Output) {
    output.note(format_args!("  {message}"));
    if !hint.is_empty() {
        output.note(format_args!("  {hint}"));
    }
}

fn ended(error: InquireError) -> CliError {
    match error {
        InquireError::OperationCanceled | InquireError::OperationInterrupted => {
            CliError::usage("ended by you: no file was written")
        }
        other => CliError::usage("the question could not be asked")
            .source(other)
            .hint("without a terminal say it with options: `skycron init --help`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::value;

    #[test]
    fn answers_are_read_by_the_type_that_is_wanted() {
        let check = |kind: &str, answer: &str, expected| assert_eq!(value(kind, answer), expected, "{kind} {answer}");
        check("string", "7", json!("7"));
        check("string", " a ", json!(" a "));
        check("integer", " 7 ", json!(7));
        check("integer", "seven", json!("seven"));
        check("boolean", "true", json!(true));
        check("json", "{\"a\": [1]}", json!({"a": [1]}));
        check("credential_id", "1234", json!("1234"));
    }
}
