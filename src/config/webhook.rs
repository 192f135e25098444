//! `[webhook]`: where Skyvern tells that a run has ended. Off unless it says under which address Skyvern reaches this machine.

use std::net::SocketAddr;

use url::Url;

use super::{
    api,
    problem::{Code, Problem},
    reader::{At, Reading, shape},
    settings::WebhookSettings,
};

/// Beside the port of the status.
const LISTEN: &str = "127.0.0.1:8766";
/// Skyvern takes addresses of 2083 characters; each run's own part needs some of them.
const PUBLIC_URL_BYTES_MAX: usize = 1500;

shape! {
    /// `[webhook]` as it is written.
    RawWebhook as "webhook" {
        /// How Skyvern reaches this machine, as in "https://hooks.example.com/skycron". Each run adds a path of its own.
        public_url: String,
        /// Where to listen: an IP address and a port.
        listen: String = "127.0.0.1:8766",
        /// Allow `http://` to hosts other than this machine: what runs put out travels in the clear.
        allow_plain_http: bool = false,
    }
    rules { "required": ["public_url"] }
}

/// Checks `[webhook]`.
pub(super) fn check(raw: &RawWebhook, place: &At<()>, reading: &mut Reading<'_>) -> Option<WebhookSettings> {
    let allow_plain_http = raw.allow_plain_http.as_ref().is_some_and(|at| at.value);
    let text = raw.listen.as_ref().map_or(LISTEN, |at| &at.value);
    let listen = text.parse::<SocketAddr>();
    if let (Err(_), Some(at)) = (&listen, &raw.listen) {
        let problem = Problem::error(Code::BadValue, format!("`listen` is not an address: {text:?}"));
        reading.add(&at.span, problem.hint("write an IP address and a port: \"127.0.0.1:8766\", \"0.0.0.0:8766\""));
    }
    let Some(at) = &raw.public_url else {
        if !reading.is_unused("public_url") {
            let problem = Problem::error(Code::MissingKey, "[webhook] has no public_url");
            reading.add(
                &place.key,
                problem
                    .hint("say how Skyvern reaches this machine: public_url = \"https://hooks.example.com/skycron\""),
            );
        }
        return None;
    };
    match parse(&at.value, allow_plain_http) {
        Ok(public_url) => Some(WebhookSettings { public_url, listen: listen.ok()? }),
        Err(problem) => {
            reading.add(&at.span, problem);
            None
        }
    }
}

fn parse(text: &str, allow_plain_http: bool) -> Result<Url, Problem> {
    let bad = |message: &str| Problem::error(Code::BadValue, message);
    let url = Url::parse(text).map_err(|error| {
        bad(&format!("not an address: {error}")).hint("write it whole: \"https://hooks.example.com\"")
    })?;
    match url.scheme() {
        "https" => {}
        "http" if allow_plain_http || api::is_loopback(&url) => {}
        "http" => {
            return Err(bad("plain http would show what runs put out")
                .hint("write https://; or, in a network that you trust, allow_plain_http = true"));
        }
        scheme => return Err(bad(&format!("Skyvern does not send webhooks by {scheme}")).hint("write https://")),
    }
    if !url.has_host() {
        return Err(bad("the address names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(bad("the address is more than the beginning of a path")
            .hint("each run adds its own part: no user, no password, nothing after ? or #"));
    }
    if text.len() > PUBLIC_URL_BYTES_MAX {
        return Err(bad(&format!("longer than {PUBLIC_URL_BYTES_MAX} bytes")));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, allowed: bool, good: bool| assert_eq!(parse(text, allowed).is_ok(), good, "{text}");
        check("https://hooks.example.com/skycron/", false, true);
        check("http://127.0.0.1:8766", false, true);
        check("http://hooks.example.com", false, false);
        check("http://host.docker.internal:8766", true, true);
        check("https://hooks.example.com/?a=1", false, false);
        check("https://user@hooks.example.com/", false, false);
        check("hooks.example.com", false, false);
        check("ftp://hooks.example.com", true, false);
    }
}
