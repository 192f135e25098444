//! `[notify]`: the channels that alarms go to. Where each is, what it is told, and in which form.
//!
//! An address may be a secret (whoever knows the path of a ping can ping): it is blanked out wherever the file is shown, and
//! may stand outside of it. Sending is `alarm`'s work.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};
use toml::de::DeValue;

use super::{
    Environment,
    api::{self, RawKey},
    bounds::duration,
    keys,
    kinds::{TextMap, Texts},
    options::header_name_refused,
    problem::{Code, Problem},
    reader::{At, FromToml, Reading, read_shape, shape},
    schema,
    settings::{Channel, ChannelKind, UrlSource},
};
use crate::{
    engine::alarm::{self, AlarmEvent},
    ids::ChannelName,
    schedule::template,
    secret::Secret,
};

/// Channels that a file can have.
const CHANNELS_MAX: usize = 1000;
/// The longest template, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 32;

shape! {
    /// `[notify.NAME]` as it is written.
    RawChannel as "notify" {
        /// Where each alarm is POSTed to. The address may be a secret, and stand elsewhere.
        webhook: RawUrl,
        /// Where the start and the end of each run are POSTed to, in the way of healthchecks.io: `/start`, nothing or `/fail`
        /// is added to the path. It may speak of `{{ schedule }}`.
        ping: RawUrl,
        /// What a webhook is told. Without it: everything but `started` and `completed`.
        on: Texts,
        /// Headers of a webhook. The values are templates, which may speak of secrets.
        headers: TextMap,
        /// The template of a webhook's body. Without it: a JSON object with all facts.
        body: String,
        /// The media type of the body.
        content_type: String = "application/json",
        /// Allow `http://` to hosts other than this machine.
        allow_plain_http: bool = false,
        /// How long a request may take.
        request_timeout: Duration ["1s", "5m"] = "10s",
    }
}

/// An address, or a table that says where it is.
#[derive(Debug, Clone)]
pub(super) enum RawUrl {
    Here(String),
    At(RawKey),
}

impl FromToml for RawUrl {
    const EXPECTED: &'static str = "an address, or a table that says where it is";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        match value {
            DeValue::Table(table) => Some(Self::At(RawKey::of_table(table, reading))),
            DeValue::String(text) => {
                reading.hide(span);
                Some(Self::Here(text.to_string()))
            }
            _ => {
                reading.wrong_type(
                    span,
                    Self::EXPECTED,
                    value,
                    Some("write \"https://…\" or { env = \"OPS_WEBHOOK\" }"),
                );
                None
            }
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "type": "string" }, RawKey::schema()] })
    }
}

/// `[notify]` as it is written: a table for each channel.
#[derive(Debug, Clone)]
pub(super) struct RawChannels(Vec<(String, Range<usize>, RawChannel)>);

impl RawChannels {
    /// The names of all channels that can be named.
    pub(super) fn names(&self) -> impl Iterator<Item = ChannelName> {
        self.0.iter().filter_map(|(name, ..)| ChannelName::new(name).ok())
    }
}

impl FromToml for RawChannels {
    const EXPECTED: &'static str = "a table";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        const HINT: &str = "write [notify.ops], and below it webhook = { env = \"OPS_WEBHOOK\" }";
        let DeValue::Table(table) = value else {
            reading.hide(span);
            reading.wrong_type(span, Self::EXPECTED, value, Some(HINT));
            return None;
        };
        let mut channels = Vec::with_capacity(table.len());
        for (key, item) in table {
            match item.get_ref() {
                DeValue::Table(table) => {
                    channels.push((key.get_ref().to_string(), key.span(), read_shape(table, reading)));
                }
                other => {
                    reading.hide_value(item);
                    reading.key = format!("notify.{}", key.get_ref());
                    reading.wrong_type(&item.span(), Self::EXPECTED, other, Some(HINT));
                }
            }
        }
        Some(Self(channels))
    }

    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": schema::of_shape::<RawChannel>() })
    }
}

/// Checks `[notify]`.
pub(super) fn check(
    raw: Option<&At<RawChannels>>,
    file: &Path,
    reading: &mut Reading<'_>,
) -> BTreeMap<ChannelName, Channel> {
    let Some(raw) = raw else { return BTreeMap::new() };
    if raw.value.0.len() > CHANNELS_MAX {
        reading.add(&raw.span, Problem::error(Code::BadValue, format!("more than {CHANNELS_MAX} channels")));
    }
    let mut channels = BTreeMap::new();
    for (name, name_span, channel) in &raw.value.0 {
        let checked = check_channel(channel, name_span, file, reading);
        match ChannelName::new(name) {
            Ok(name) => channels.extend(checked.map(|channel| (name, channel))),
            Err(error) => {
                reading.add(name_span, Problem::error(Code::BadValue, format!("the name of the channel {error}")));
            }
        }
    }
    channels
}

fn check_channel(
    raw: &RawChannel,
    name_span: &Range<usize>,
    file: &Path,
    reading: &mut Reading<'_>,
) -> Option<Channel> {
    let (url, is_ping) = match (&raw.webhook, &raw.ping) {
        (Some(url), None) => (url, false),
        (None, Some(url)) => (url, true),
        _ if reading.is_unused("webhook") || reading.is_unused("ping") => return None,
        _ => {
            let problem = Problem::error(Code::Conflict, "a channel has either a `webhook` or a `ping`");
            reading.add(
                name_span,
                problem.hint("`webhook` gets a POST for each alarm, `ping` one for the start and the end of each run"),
            );
            return None;
        }
    };
    let allow_plain_http = raw.allow_plain_http.as_ref().is_some_and(|at| at.value);
    let source = match &url.value {
        RawUrl::Here(text) => {
            try_out(text, &url.span, reading, |text| check_address(text, allow_plain_http).err());
            UrlSource::Here(Secret::new(text.clone()))
        }
        RawUrl::At(key) => {
            let name = reading.name(&url.key);
            UrlSource::At(api::source(key, &url.span, name, file, reading)?)
        }
    };
    let kind = if is_ping { ping(raw, reading) } else { webhook(raw, reading) };
    Some(Channel {
        kind,
        url: source,
        allow_plain_http,
        timeout: duration(raw.request_timeout.as_ref(), 10, 1, 300, reading),
    })
}

impl Channel {
    /// Reads the address, which may be a template: `{{ schedule }}` in the path of a ping.
    ///
    /// # Errors
    /// It is not where the file says, or is no address. The message names the channel, never the address.
    pub fn resolve_url(&self, name: &ChannelName, environment: &Environment) -> Result<Secret, Problem> {
        let secret = match &self.url {
            UrlSource::Here(secret) => return Ok(secret.clone()),
            UrlSource::At(source) => source.resolve_secret(&format!("address of notify.{name}"), environment)?,
        };
        let secret = Secret::new(secret.expose().trim().to_owned());
        match check_address(secret.expose(), self.allow_plain_http) {
            Ok(_) => Ok(secret),
            Err(problem) => {
                let message = format!("the address of notify.{name}: {}", problem.message);
                Err(Problem { message, ..problem })
            }
        }
    }

    /// Whether the channel is told of this.
    #[must_use]
    pub fn hears(&self, event: AlarmEvent) -> bool {
        match &self.kind {
            ChannelKind::Webhook { on, .. } => on.contains(&event),
            ChannelKind::Ping => matches!(
                event,
                AlarmEvent::Started
                    | AlarmEvent::Completed
                    | AlarmEvent::Failed
                    | AlarmEvent::Missed
                    | AlarmEvent::Refused
                    | AlarmEvent::Unknown
            ),
        }
    }
}

/// Whether a text is an address that alarms can be sent to.
///
/// # Errors
/// What is wrong with it; it does not repeat the address.
fn check_address(text: &str, allow_plain_http: bool) -> Result<url::Url, Problem> {
    let bad = |message: &str| Problem::error(Code::BadValue, message);
    let url = url::Url::parse(text)
        .map_err(|error| bad(&format!("not an address: {error}")).hint("write it whole: \"https://…\""))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_plain_http || api::is_loopback(&url) => {}
        "http" => {
            return Err(bad("plain http would send it in the clear")
                .hint("write https://; or, in a network that you trust, allow_plain_http = true"));
        }
        scheme => return Err(bad(&format!("alarms cannot be sent by {scheme}")).hint("write https://")),
    }
    if !url.has_host() {
        return Err(bad("the address names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Problem::error(Code::LiteralSecret, "a user or password does not belong into the address")
            .hint("send it as a header: headers = { Authorization = \"Basic {{ secrets.name }}\" }"));
    }
    Ok(url)
}

/// A ping is told of every run, in a form that is given.
fn ping(raw: &RawChannel, reading: &mut Reading<'_>) -> ChannelKind {
    let given = [
        raw.on.as_ref().map(|at| &at.key),
        raw.headers.as_ref().map(|at| &at.key),
        raw.body.as_ref().map(|at| &at.key),
        raw.content_type.as_ref().map(|at| &at.key),
    ];
    for key in given.into_iter().flatten() {
        let problem = Problem::error(Code::Conflict, format!("a ping takes no `{}`", reading.name(key)));
        reading.add(key, problem.hint("it tells the start and the end of every run; a `webhook` has this key"));
    }
    ChannelKind::Ping
}

fn webhook(raw: &RawChannel, reading: &mut Reading<'_>) -> ChannelKind {
    let on = match &raw.on {
        None => AlarmEvent::ALL.iter().copied().filter(|event| event.is_default()).collect(),
        Some(at) if at.value.0.is_empty() => {
            reading.bad(at, "names no alarm");
            BTreeSet::new()
        }
        Some(at) => at.value.0.iter().filter_map(|(word, span)| event(word, span, reading)).collect(),
    };
    let content_type = raw.content_type.as_ref().map_or_else(|| "application/json".to_owned(), |at| at.value.clone());
    if let Some(at) = raw.content_type.as_ref().filter(|at| !is_header_value(&at.value) || !at.value.contains('/')) {
        reading.bad(at, "is not a media type");
    }
    let body = raw.body.as_ref().map(|at| {
        if at.value.len() > BODY_BYTES_MAX {
            reading.bad(at, &format!("is longer than {BODY_BYTES_MAX} bytes"));
        }
        let is_json = content_type.contains("json");
        try_out(&at.value, &at.span, reading, |text| match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Err(error) if is_json => Some(
                Problem::error(Code::BadTemplate, format!("the template makes no JSON: {error}"))
                    .hint("put texts in with {{ text | tojson }}, which adds the quotes; or set content_type"),
            ),
            _ => None,
        });
        at.value.clone()
    });
    let headers = raw.headers.as_ref().map(|at| headers(at, reading)).unwrap_or_default();
    ChannelKind::Webhook { on, headers, body, content_type }
}

fn event(word: &str, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<AlarmEvent> {
    let words = || AlarmEvent::ALL.iter().filter(|event| event.can_be_chosen()).map(|event| event.word());
    let event = AlarmEvent::from_word(word).filter(|event| event.can_be_chosen());
    if event.is_none() {
        let problem = Problem::error(Code::BadValue, format!("there is no alarm {word:?}"));
        reading.add(
            span,
            match keys::nearest(word, words()) {
                Some(nearest) => problem.hint(format!("did you mean {nearest:?}?")),
                None => problem.hint(format!("there are: {}", words().collect::<Vec<_>>().join(", "))),
            },
        );
    }
    event
}

fn headers(at: &At<TextMap>, reading: &mut Reading<'_>) -> Vec<(String, String)> {
    if at.value.0.len() > HEADERS_MAX {
        reading.bad(at, &format!("has more than {HEADERS_MAX} headers"));
    }
    let mut headers = Vec::new();
    for (name, name_span, value, value_span) in &at.value.0 {
        if let Some(problem) = header_name_refused(name) {
            reading.add(name_span, problem);
        }
        // Most often a token, whatever was meant.
        reading.hide(value_span);
        try_out(value, value_span, reading, |text| {
            (!is_header_value(text))
                .then(|| Problem::error(Code::BadValue, "a header cannot hold line breaks or control characters"))
        });
        headers.push((name.clone(), value.clone()));
    }
    headers
}

fn is_header_value(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c == '\t' || !c.is_control())
}

/// Renders a template with made-up alarms of both forms, and looks at what it makes.
fn try_out(text: &str, span: &Range<usize>, reading: &mut Reading<'_>, look: impl Fn(&str) -> Option<Problem>) {
    for facts in alarm::samples() {
        let problem = match template::render_facts(text, &facts, &reading.secrets) {
            Ok(made) => look(&made),
            Err(error) => Some(
                Problem::error(Code::BadTemplate, format!("the template cannot be rendered: {}", error.message))
                    .hint(format!("it can speak of {} and secrets", alarm::FACTS.join(", "))),
            ),
        };
        if let Some(problem) = problem {
            reading.add(span, problem);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, allowed: bool, expected: Option<Code>| {
            assert_eq!(check_address(text, allowed).err().map(|problem| problem.code), expected, "{text}");
        };
        check("https://hc-ping.com/8f1a", false, None);
        check("https://hooks.example/x?key=1", false, None);
        check("http://127.0.0.1:8080/x", false, None);
        check("http://localhost/x", false, None);
        check("http://hooks.example/x", false, Some(Code::BadValue));
        check("http://hooks.example/x", true, None);
        check("https://user:pw@hooks.example/x", false, Some(Code::LiteralSecret));
        check("mailto:a@example.com", true, Some(Code::BadValue));
        check("hooks.example/x", true, Some(Code::BadValue));
    }
}
