//! The options of the run request, under the API's own names: what a schedule may send beside the workflow and its
//! parameters.
//!
//! Only what the file sets is sent; how the request is made is `skyvern`'s work.

use serde_json::{Map, Value, json};
use url::Url;

use super::{
    bounds::number as number_within,
    kinds::{TextMap, TextOrTable, Texts, template_refused},
    problem::{Code, Problem},
    reader::{At, Reading, shape},
};
use crate::schedule::template::is_template;

shape! {
    /// The options as they are written.
    RawOptions as "options" {
        /// The title of the run. It may be a template over the occurrence.
        title: String,
        /// Where the browser's requests come from: a word of the API, or a table of it. If it is not set, the workflow's own.
        proxy_location: TextOrTable,
        /// Told by Skyvern when the run has ended.
        webhook_url: String,
        /// Asked by Skyvern for one-time codes.
        totp_url: String,
        /// Whose one-time codes.
        totp_identifier: String,
        /// Run in this browser session.
        browser_session_id: String,
        /// Use a browser session of the workflow again.
        reuse_browser_session: bool,
        /// Run with this browser profile.
        browser_profile_id: String,
        /// Begin with a fresh browser, whatever the workflow keeps.
        start_fresh_browser: bool,
        /// How far a page is scrolled for screenshots.
        max_screenshot_scrolls: u64 [0, 1_000],
        /// Skyvern ends the run after so many minutes.
        max_elapsed_time_minutes: u64 [1, 480],
        /// Headers for the browser's requests.
        extra_http_headers: TextMap,
        /// A browser of your own, by its address for remote control.
        browser_address: String,
        /// Let the agent take over where generated code fails.
        ai_fallback: bool,
        /// `agent` or `code`.
        run_with: String,
        /// The kind of browser.
        browser_type: String,
        /// Files that were uploaded to Skyvern, for the run.
        file_ids: Texts,
        /// Labels of the run: up to 16 pairs of texts.
        run_metadata: TextMap,
    }
}

/// The bounds of the API: it answers 422 beyond them.
const ELAPSED_MINUTES_MAX: u64 = 480;
const FILE_IDS_MAX: usize = 50;
const METADATA_KEY_CHARS_MAX: usize = 64;
const METADATA_VALUE_CHARS_MAX: usize = 256;
/// The API takes 20; the rest is for the keys that this program adds to find its runs again.
const METADATA_KEYS_MAX: usize = 16;

/// Checks the options and writes them as the API takes them.
pub(super) fn check(raw: RawOptions, reading: &mut Reading<'_>) -> Map<String, Value> {
    let mut options = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            options.insert(name.to_owned(), value);
        }
    };
    put("title", raw.title.and_then(|at| title(at, reading)));
    put("proxy_location", raw.proxy_location.map(|at| at.value.0));
    put("webhook_url", address(raw.webhook_url, &["http", "https"], reading));
    put("totp_url", address(raw.totp_url, &["http", "https"], reading));
    put("totp_identifier", text(raw.totp_identifier, reading));
    put("browser_session_id", text(raw.browser_session_id, reading));
    put("reuse_browser_session", raw.reuse_browser_session.map(|at| json!(at.value)));
    put("browser_profile_id", text(raw.browser_profile_id, reading));
    put("start_fresh_browser", raw.start_fresh_browser.map(|at| json!(at.value)));
    put("max_screenshot_scrolls", number(raw.max_screenshot_scrolls, 0, 1_000, reading));
    put("max_elapsed_time_minutes", number(raw.max_elapsed_time_minutes, 1, ELAPSED_MINUTES_MAX, reading));
    put("extra_http_headers", raw.extra_http_headers.map(|at| headers(at, reading)));
    put("browser_address", address(raw.browser_address, &["http", "https", "ws", "wss"], reading));
    put("ai_fallback", raw.ai_fallback.map(|at| json!(at.value)));
    put("run_with", run_with(raw.run_with, reading));
    put("browser_type", text(raw.browser_type, reading));
    put("file_ids", raw.file_ids.map(|at| file_ids(at, reading)));
    put("run_metadata", raw.run_metadata.map(|at| metadata(at, reading)));
    options
}

/// The title may be a template; it is tried out with the schedule's others.
fn title(at: At<String>, reading: &mut Reading<'_>) -> Option<Value> {
    if is_template(&at.value) {
        reading.templates.push((at.value.clone(), at.span));
        return Some(Value::String(at.value));
    }
    text(Some(at), reading)
}

fn text(raw: Option<At<String>>, reading: &mut Reading<'_>) -> Option<Value> {
    let at = raw?;
    if at.value.trim().is_empty() {
        reading.add(
            &at.span,
            Problem::error(Code::BadValue, format!("`{}` is empty", reading.name(&at.key)))
                .hint("leave it out instead"),
        );
    } else if let Some(problem) = template_refused(&at.value) {
        reading.add(&at.span, problem);
    }
    Some(Value::String(at.value))
}

fn address(raw: Option<At<String>>, schemes: &[&str], reading: &mut Reading<'_>) -> Option<Value> {
    let at = raw?;
    let name = reading.name(&at.key);
    let problem = match Url::parse(&at.value) {
        _ if template_refused(&at.value).is_some() => template_refused(&at.value),
        Err(error) => Some(Problem::error(Code::BadValue, format!("`{name}` is not an address: {error}"))),
        Ok(url) if !schemes.contains(&url.scheme()) => Some(Problem::error(
            Code::BadValue,
            format!("`{name}` begins with {}:, and takes {}", url.scheme(), schemes.join(", ")),
        )),
        Ok(url) if !url.has_host() => Some(Problem::error(Code::BadValue, format!("`{name}` names no host"))),
        Ok(_) => None,
    };
    if let Some(problem) = problem {
        reading.add(&at.span, problem);
    }
    Some(Value::String(at.value))
}

fn number(raw: Option<At<u64>>, least: u64, most: u64, reading: &mut Reading<'_>) -> Option<Value> {
    raw.as_ref().map(|at| json!(number_within(Some(at), least, least, most, reading)))
}

fn run_with(raw: Option<At<String>>, reading: &mut Reading<'_>) -> Option<Value> {
    let at = raw?;
    if !["agent", "code"].contains(&at.value.as_str()) {
        // The server takes any other word for "agent", and says so only in its own log.
        reading.add(
            &at.span,
            Problem::error(
                Code::BadValue,
                format!("`run_with` takes \"agent\" or \"code\", and this is {:?}", at.value),
            ),
        );
    }
    Some(Value::String(at.value))
}

fn headers(raw: At<TextMap>, reading: &mut Reading<'_>) -> Value {
    let mut headers = Map::new();
    for (name, name_span, value, value_span) in raw.value.0 {
        if let Some(problem) = header_name_refused(&name) {
            reading.add(&name_span, problem);
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            reading.add(
                &value_span,
                Problem::error(Code::BadValue, "a header cannot hold line breaks or control characters"),
            );
        }
        if let Some(problem) = template_refused(&value) {
            reading.add(&value_span, problem);
        }
        headers.insert(name, Value::String(value));
    }
    Value::Object(headers)
}

/// What is wrong with the name of a header.
pub(super) fn header_name_refused(name: &str) -> Option<Problem> {
    let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    (!token).then(|| Problem::error(Code::BadValue, format!("{name:?} is not the name of a header")))
}

fn file_ids(raw: At<Texts>, reading: &mut Reading<'_>) -> Value {
    if raw.value.0.len() > FILE_IDS_MAX {
        let message = format!("{} files, and the API takes {FILE_IDS_MAX} at most", raw.value.0.len());
        reading.add(&raw.span, Problem::error(Code::BadValue, message));
    }
    raw.value.0.into_iter().map(|(id, _)| Value::String(id)).collect()
}

fn metadata(raw: At<TextMap>, reading: &mut Reading<'_>) -> Value {
    let bad = |message: String| Problem::error(Code::BadValue, message);
    if raw.value.0.len() > METADATA_KEYS_MAX {
        reading.add(&raw.span, bad(format!("{} keys, and {METADATA_KEYS_MAX} are possible", raw.value.0.len())));
    }
    let mut map = Map::new();
    for (name, name_span, value, value_span) in raw.value.0 {
        if name.starts_with("skycron") || name.starts_with("skyvern.") {
            reading.add(
                &name_span,
                bad(format!("`{name}` is kept for the tags by which runs are found again"))
                    .hint("choose a name that does not begin with skycron or skyvern."),
            );
        } else if name.trim().is_empty() || name.chars().count() > METADATA_KEY_CHARS_MAX || name.contains([':', ',']) {
            reading.add(
                &name_span,
                bad(format!("a key has 1 to {METADATA_KEY_CHARS_MAX} characters, without ':' and ','")),
            );
        }
        if value.trim().is_empty() || value.chars().count() > METADATA_VALUE_CHARS_MAX {
            reading.add(&value_span, bad(format!("a value has 1 to {METADATA_VALUE_CHARS_MAX} characters")));
        } else if ["__other__", "__untagged__"].contains(&value.trim()) {
            reading.add(&value_span, bad(format!("the API keeps {value:?} for itself")));
        } else if let Some(problem) = template_refused(&value) {
            reading.add(&value_span, problem);
        }
        map.insert(name, Value::String(value));
    }
    Value::Object(map)
}
