//! What a server said, in one line: bounded, without line breaks, and without what was sent to it.
//!
//! Skyvern's own errors are `{"detail": text}`, `{"detail": [{loc, msg, input}]}` (of which the input, which repeats what was
//! sent, is left out) or `{"error": text}`; a proxy's are HTML or plain text.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::secret::Secret;

/// The longest text of a server that is kept, in characters.
pub(super) const TEXT_CHARS_MAX: usize = 400;
/// The longest wait that a server can ask for, in seconds.
const RETRY_AFTER_SECONDS_MAX: u64 = 3600;

/// An answer with its body, whatever its status.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// How long the server asked to wait.
    pub(super) retry_after: Option<Duration>,
    /// The server's clock when it answered, cut to the second.
    pub(super) date: Option<DateTime<Utc>>,
    /// Where a redirect points.
    pub(super) location: Option<String>,
    /// The body.
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Whether the status is a 2xx.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What the server said, without these secrets.
    pub(super) fn said(&self, secrets: &[&Secret]) -> Said {
        said(&self.body, secrets)
    }
}

/// The words of an error body, and whose they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Skyvern's form.
    Skyvern(String),
    /// FastAPI's words for a path that it does not have: the server is there, the path is not.
    NoRoute,
    /// Anything else: a proxy, another program. Perhaps empty.
    Other(String),
}

impl Said {
    /// The text, for people.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Skyvern(text) | Self::Other(text) => text,
            Self::NoRoute => "Not Found",
        }
    }
}

fn said(body: &[u8], secrets: &[&Secret]) -> Said {
    // Before the text is cut: half a secret would not be found any more.
    let clean = |text: &str| one_line(&secrets.iter().fold(text.to_owned(), |text, secret| secret.redact(&text)));
    if let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(body) {
        match (fields.get("detail"), fields.get("error")) {
            (Some(Value::String(text)), _) if text == "Not Found" => return Said::NoRoute,
            (Some(Value::String(text)), _) | (None, Some(Value::String(text))) => return Said::Skyvern(clean(text)),
            (Some(Value::Array(problems)), _) => {
                let texts: Vec<String> = problems.iter().take(10).map(problem).collect();
                return Said::Skyvern(clean(&texts.join("; ")));
            }
            _ => {}
        }
    }
    let text = String::from_utf8_lossy(body);
    Said::Other(clean(html_title(&text).unwrap_or(&text)))
}

/// One validation problem, as `body.parameters: Input should be a valid dictionary`.
fn problem(problem: &Value) -> String {
    let place: Vec<String> = problem["loc"]
        .as_array()
        .map(|parts| parts.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned)).collect())
        .unwrap_or_default();
    format!("{}: {}", place.join("."), problem["msg"].as_str().unwrap_or("not valid"))
}

fn html_title(text: &str) -> Option<&str> {
    let start = text.find("<title>")? + "<title>".len();
    let length = text[start..].find("</title>")?;
    Some(&text[start..start + length])
}

/// The text on one line, without control characters, cut at [`TEXT_CHARS_MAX`].
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    // A bound on the words looked at, too: the text may be megabytes of them.
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > 4 * TEXT_CHARS_MAX {
            break;
        }
    }
    match line.char_indices().nth(TEXT_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

/// Reads `Retry-After`: seconds, or an instant, which is taken against the answer's own `Date`, so that a clock that is
/// wrong here does no harm. At most an hour.
pub(super) fn retry_after(value: Option<&str>, date: Option<&str>) -> Option<Duration> {
    let value = value?.trim();
    let seconds = match value.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let until = DateTime::parse_from_rfc2822(value).ok()?;
            let from = DateTime::parse_from_rfc2822(date?).ok()?;
            u64::try_from((until - from).num_seconds()).unwrap_or(0)
        }
    };
    Some(Duration::from_secs(seconds.min(RETRY_AFTER_SECONDS_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bodies() {
        let check = |body: &str, expected: Said| assert_eq!(said(body.as_bytes(), &[]), expected, "{body}");
        check(r#"{"detail":"Invalid credentials"}"#, Said::Skyvern("Invalid credentials".into()));
        check(r#"{"detail":"Not Found"}"#, Said::NoRoute);
        check(
            r#"{"error":"Database temporarily unavailable"}"#,
            Said::Skyvern("Database temporarily unavailable".into()),
        );
        // The input is what was sent, secrets included: it must not come back.
        check(
            r#"{"detail":[{"type":"missing","loc":["body","agent_id"],"msg":"Field required","input":{"pin":"1234"}},{"type":"json_invalid","loc":["body",0],"msg":"JSON decode error"}]}"#,
            Said::Skyvern("body.agent_id: Field required; body.0: JSON decode error".into()),
        );
        check("<html><head><title>502 Bad Gateway</title></head><body>x</body>", Said::Other("502 Bad Gateway".into()));
        check("404 page not found\n", Said::Other("404 page not found".into()));
        check(r#"{"code":1}"#, Said::Other(r#"{"code":1}"#.into()));
        check("", Said::Other(String::new()));
    }

    #[test]
    fn secrets_do_not_come_back() {
        let pin = Secret::new("pin \"4711\"".to_owned());
        let key = Secret::new("sk-long-enough".to_owned());
        let check = |body: &str, expected: &str| {
            assert_eq!(said(body.as_bytes(), &[&key, &pin]).text(), expected, "{body}");
        };
        check(r#"{"detail":"Value: pin \"4711\"."}"#, "Value: [secret].");
        check("no such key: sk-long-enough", "no such key: [secret]");
        // Cut in the middle of the secret, its first half would remain.
        let long = format!("{}sk-long-enough", "x".repeat(TEXT_CHARS_MAX - 5));
        check(&long, &format!("{}[secr…", "x".repeat(TEXT_CHARS_MAX - 5)));
    }

    #[test]
    fn lines_are_bounded() {
        assert_eq!(one_line("a\r\n\tb\u{1b}[31m c\0"), "a b [31m c");
        let long = one_line(&"ä".repeat(10_000));
        assert_eq!(long.chars().count(), TEXT_CHARS_MAX + 1);
        assert!(one_line(&"a ".repeat(1_000_000)).len() < 4 * TEXT_CHARS_MAX);
    }

    #[test]
    fn waits() {
        let check = |value: Option<&str>, date: Option<&str>, seconds: Option<u64>| {
            assert_eq!(retry_after(value, date), seconds.map(Duration::from_secs), "{value:?} {date:?}");
        };
        check(None, None, None);
        check(Some("5"), None, Some(5));
        check(Some("999999"), None, Some(3600));
        check(Some("-1"), None, None);
        check(Some("soon"), None, None);
        let date = Some("Wed, 21 Oct 2015 07:28:00 GMT");
        check(Some("Wed, 21 Oct 2015 07:28:30 GMT"), date, Some(30));
        check(Some("Wed, 21 Oct 2015 07:27:00 GMT"), date, Some(0));
        check(Some("Wed, 21 Oct 2015 07:28:30 GMT"), None, None);
    }
}
