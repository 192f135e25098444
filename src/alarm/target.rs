//! A channel as it is used: its address read, its templates filled in, its request sent. The only place of alarms that holds
//! secrets; what is stored never goes through here.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use url::Url;

use super::facts::{About, facts, sentence};
use crate::{
    config::{Channel, ChannelKind, Environment, Problem},
    engine::alarm::AlarmEvent,
    ids::{ChannelName, Instance},
    schedule::template::{self, Secrets},
    secret::Secret,
    skyvern::{Posted, Poster},
};

/// A channel with its secrets.
#[derive(Debug)]
pub struct Target {
    channel: Channel,
    url: Secret,
    secrets: Secrets,
    /// Made when it is needed: most channels of a good day are not.
    poster: OnceCell<Poster>,
}

/// Every channel of the file, ready to be sent to.
pub type Targets = BTreeMap<ChannelName, Target>;

/// The request of one alarm.
struct Request {
    url: Url,
    content_type: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Target {
    /// Reads where the channels are.
    ///
    /// # Errors
    /// An address is not where the file says, or is none.
    pub fn all(
        channels: &BTreeMap<ChannelName, Channel>,
        secrets: &Secrets,
        environment: &Environment,
    ) -> Result<Targets, Problem> {
        let target = |(name, channel): (&ChannelName, &Channel)| {
            let url = channel.resolve_url(name, environment)?;
            let (channel, secrets) = (channel.clone(), secrets.clone());
            Ok((name.clone(), Self { channel, url, secrets, poster: OnceCell::new() }))
        };
        channels.iter().map(target).collect()
    }

    /// Whether the channel gets a ping for each run: these are told one by one, and in their order.
    #[must_use]
    pub fn is_ping(&self) -> bool {
        self.channel.kind == ChannelKind::Ping
    }

    /// Whether the channel is told of this.
    #[must_use]
    pub fn hears(&self, event: AlarmEvent) -> bool {
        self.channel.hears(event)
    }

    /// Sends one alarm.
    pub async fn send(&self, event: AlarmEvent, facts: &Map<String, Value>) -> Posted {
        let request = match self.request(event, facts) {
            Ok(request) => request,
            Err(text) => return Posted::Refused { text },
        };
        let poster = self.poster.get_or_try_init(|| async { Poster::new(&request.url, self.channel.timeout) }).await;
        let poster = match poster {
            Ok(poster) => poster,
            Err(error) => return Posted::NotNow { text: error.to_string(), retry_after: None },
        };
        // What a receiver says may repeat what it was sent.
        let path = Secret::new(request.url.path().to_owned());
        let secrets: Vec<&Secret> = [&self.url, &path].into_iter().chain(self.secrets.values()).collect();
        poster.post(request.url, &request.content_type, &request.headers, request.body, &secrets).await
    }

    fn request(&self, event: AlarmEvent, facts: &Map<String, Value>) -> Result<Request, String> {
        let render = |text: &str| {
            template::render_facts(text, facts, &self.secrets)
                .map_err(|error| format!("its template cannot be rendered: {}", error.message))
        };
        let address = render(self.url.expose())?;
        let mut url = Url::parse(&address).map_err(|error| format!("its address is none: {error}"))?;
        let id = facts.get("id").and_then(Value::as_str).unwrap_or_default();
        // The name by which a repetition is known, also to those that look at no body.
        let mut all = vec![("idempotency-key".to_owned(), format!("\"{id}\""))];
        let (content_type, body) = match &self.channel.kind {
            ChannelKind::Ping => {
                if let (Some(end), Ok(mut path)) = (ping_end(event), url.path_segments_mut()) {
                    path.pop_if_empty().push(end);
                }
                let text = facts.get("text").and_then(Value::as_str).unwrap_or_default();
                ("text/plain; charset=utf-8".to_owned(), text.to_owned())
            }
            ChannelKind::Webhook { headers, body, content_type, .. } => {
                for (name, value) in headers {
                    all.push((name.clone(), render(value)?));
                }
                let body = match body {
                    Some(template) => render(template)?,
                    None => Value::Object(facts.clone()).to_string(),
                };
                (content_type.clone(), body)
            }
        };
        Ok(Request { url, content_type, headers: all, body: body.into_bytes() })
    }
}

/// What is added to the address of a ping.
fn ping_end(event: AlarmEvent) -> Option<&'static str> {
    match event {
        AlarmEvent::Started => Some("start"),
        AlarmEvent::Completed => None,
        // Written down by healthchecks, and no verdict.
        AlarmEvent::Test => Some("log"),
        _ => Some("fail"),
    }
}

/// An alarm that tries a channel out.
#[must_use]
pub fn test_alarm(now: DateTime<Utc>, instance: &Instance) -> Map<String, Value> {
    let about = About { count: 1, ..About::default() };
    let id = format!("{instance}@{}:test", crate::clock::rfc3339_millis(now));
    let text = sentence(AlarmEvent::Test, &about, "");
    facts(&id, AlarmEvent::Test, now, instance, &text, &about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn target(file: &str) -> Target {
        let environment =
            Environment::from_pairs([("HC", "https://hc.example/key/{{ schedule }}?x=1"), ("T", "t0ken")]);
        let config = Config::parse("a.toml".as_ref(), file, &environment).unwrap_or_else(|p| panic!("{p:#?}"));
        let secrets = Secrets::from([("token".to_owned(), Secret::new("t0ken".to_owned()))]);
        let mut targets = Target::all(&config.settings.notify, &secrets, &environment).unwrap();
        targets.pop_first().unwrap().1
    }

    fn check(file: &str, event: AlarmEvent, url: &str, body: &str) {
        let facts = &crate::engine::alarm::samples()[0];
        let request = target(file).request(event, facts).unwrap();
        assert_eq!((request.url.as_str(), std::str::from_utf8(&request.body).unwrap()), (url, body));
    }

    #[test]
    fn pings_say_what_happened_by_their_path() {
        let file = "[notify.a]\nping = { env = \"HC\" }\n";
        check(file, AlarmEvent::Started, "https://hc.example/key/daily/start?x=1", "a \"text\"");
        check(file, AlarmEvent::Completed, "https://hc.example/key/daily?x=1", "a \"text\"");
        check(file, AlarmEvent::Failed, "https://hc.example/key/daily/fail?x=1", "a \"text\"");
        check(file, AlarmEvent::Missed, "https://hc.example/key/daily/fail?x=1", "a \"text\"");
        let plain = "[notify.a]\nping = \"http://127.0.0.1:1/u/\"\n";
        check(plain, AlarmEvent::Failed, "http://127.0.0.1:1/u/fail", "a \"text\"");
        check(plain, AlarmEvent::Completed, "http://127.0.0.1:1/u/", "a \"text\"");
    }

    #[test]
    fn webhooks_say_it_in_the_form_that_was_asked_for() {
        let file = "[secrets]\ntoken = { env = \"T\" }\n[notify.a]\nwebhook = \"https://x.example/h\"\n\
                    body = '{\"content\": {{ text | tojson }}, \"key\": \"{{ secrets.token }}\"}'\n\
                    headers = { Authorization = \"Bearer {{ secrets.token }}\" }\n";
        check(file, AlarmEvent::Failed, "https://x.example/h", r#"{"content": "a \"text\"", "key": "t0ken"}"#);
        let request = target(file).request(AlarmEvent::Failed, &crate::engine::alarm::samples()[0]).unwrap();
        assert!(request.headers.contains(&("Authorization".to_owned(), "Bearer t0ken".to_owned())));
        assert!(
            request
                .headers
                .contains(&("idempotency-key".to_owned(), "\"main/daily@2026-11-02T14:00:00Z:failed\"".to_owned()))
        );
        assert!(!format!("{:?}", target(file)).contains("x.example"), "an address is a secret");
    }

    #[test]
    fn without_a_template_the_body_is_every_fact() {
        let facts = &crate::engine::alarm::samples()[2];
        let request =
            target("[notify.a]\nwebhook = \"https://x.example/h\"\n").request(AlarmEvent::Summary, facts).unwrap();
        let body: Map<String, Value> = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body.keys().collect::<Vec<_>>(), crate::engine::alarm::FACTS.iter().collect::<Vec<_>>());
        assert_eq!(body["events"]["failed"], 10);
    }
}
