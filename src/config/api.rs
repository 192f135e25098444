//! `[api]`: where the API is, how it is used, and where its key is.
//!
//! The key itself is never in the file; it is read by [`super::key`], when something needs it.

use std::{ops::Range, path::Path, time::Duration};

use serde_json::Value;
use toml::de::{DeTable, DeValue};
use url::{Host, Url};

use super::{
    bounds::{duration, number, small},
    problem::{Code, Problem},
    reader::{At, FromToml, Reading, read_shape, shape},
    schema,
    settings::{ApiKeySource, ApiSettings},
};

/// Skyvern Cloud.
const BASE_URL: &str = "https://api.skyvern.com/";
/// The variable that Skyvern's own tools use.
const KEY_VARIABLE: &str = "SKYVERN_API_KEY";

shape! {
    /// `[api]` as it is written.
    RawApi as "api" {
        /// The address of the API, without `/v1`. Plain http is for loopback only, unless `allow_plain_http` says otherwise.
        base_url: String = "https://api.skyvern.com",
        /// Where the key is; the key itself is never in the file.
        api_key: RawKey = { env = "SKYVERN_API_KEY" },
        /// Allow an `http://` address that is not loopback. The key then travels in the clear.
        allow_plain_http: bool = false,
        /// Until a connection stands.
        connect_timeout: Duration ["1s", "5m"] = "10s",
        /// From the first byte of a request to the last of its answer.
        request_timeout: Duration ["1s", "1h"] = "60s",
        /// The largest answer that is read, in bytes.
        response_bytes_max: u64 [1_024, 1_073_741_824] = 16_777_216,
        /// Requests of all kinds in a second; 0 is no limit.
        requests_per_second_max: u64 [0, 100_000] = 0,
        /// Starts that wait for their answer at one time.
        launches_in_flight_max: u64 [1, 10_000] = 64,
        /// How often a young run is looked at.
        poll_interval: Duration ["1s", "1h"] = "5s",
        /// How often an old run is looked at; in between it is looked at less and less often.
        poll_interval_max: Duration ["1s", "1day"] = "60s",
        /// A start that brought no clear answer is looked for at the server; only after this time does "not found" mean that
        /// it did not start. If it is not set, it is a minute more than `request_timeout`.
        settle_grace: Duration ["1s", "1day"] = "2m",
    }
}

shape! {
    /// `api_key` as it is written.
    RawKeySource as "api.api_key" {
        /// In this variable of the environment.
        env: String,
        /// In this file, beside the file with the schedules if the path is not absolute. Mode 0600.
        file: String,
        /// In the systemd credential of this name (`LoadCredential=NAME:/path` in the unit).
        credential: String,
    }
    rules { "minProperties": 1, "maxProperties": 1 }
}

/// The value of `api_key`: a table that says where the key is.
#[derive(Debug, Clone)]
pub(super) struct RawKey(RawKeySource);

impl FromToml for RawKey {
    const EXPECTED: &'static str = "a table that says where the key is";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        match value {
            DeValue::Table(table) => Some(Self::of_table(table, reading)),
            DeValue::String(_) => {
                reading.hide(span);
                reading.add(span, Problem::error(Code::LiteralSecret, "`api_key` holds the key itself, which does not belong into the file")
                    .hint("files are copied, committed and shown: write { env = \"SKYVERN_API_KEY\" }, { file = \"…\" } or { credential = \"…\" }, and replace the key if the file was ever shared"));
                None
            }
            _ => {
                reading.hide(span);
                reading.wrong_type(span, Self::EXPECTED, value, Some("write { env = \"SKYVERN_API_KEY\" }"));
                None
            }
        }
    }

    fn schema() -> Value {
        schema::of_shape::<RawKeySource>()
    }
}

/// Checks `[api]`. A value that is wrong is a problem, and its default goes on in its place.
pub(super) fn check(raw: &RawApi, file: &Path, reading: &mut Reading<'_>) -> ApiSettings {
    let allow_plain_http = raw.allow_plain_http.as_ref().is_some_and(|at| at.value);
    // The server itself may take 20 s before it says that it is busy.
    let request_timeout = duration(raw.request_timeout.as_ref(), 60, 1, 3600, reading);
    let poll_interval = duration(raw.poll_interval.as_ref(), 5, 1, 3600, reading);
    let poll_interval_max =
        duration(raw.poll_interval_max.as_ref(), 60.max(poll_interval.as_secs()), 1, 86_400, reading);
    if let Some(at) = raw.poll_interval_max.as_ref().filter(|at| at.value < poll_interval) {
        reading.add(&at.span, Problem::error(Code::Conflict, "`poll_interval_max` is shorter than `poll_interval`"));
    }
    ApiSettings {
        base_url: base_url(raw.base_url.as_ref(), allow_plain_http, reading),
        api_key: key_source(raw.api_key.as_ref(), file, reading),
        allow_plain_http,
        connect_timeout: duration(raw.connect_timeout.as_ref(), 10, 1, 300, reading),
        request_timeout,
        response_bytes_max: number(raw.response_bytes_max.as_ref(), 16 << 20, 1 << 10, 1 << 30, reading),
        requests_per_second_max: small(raw.requests_per_second_max.as_ref(), 0, 0, 100_000, reading),
        launches_in_flight_max: small(raw.launches_in_flight_max.as_ref(), 64, 1, 10_000, reading),
        poll_interval,
        poll_interval_max,
        settle_grace: duration(raw.settle_grace.as_ref(), request_timeout.as_secs() + 60, 1, 86_400, reading),
    }
}

fn default_url() -> Url {
    #[expect(clippy::expect_used, reason = "a constant that every test run parses")]
    Url::parse(BASE_URL).expect("the default address is one")
}

fn base_url(raw: Option<&At<String>>, allow_plain_http: bool, reading: &mut Reading<'_>) -> Url {
    let Some(at) = raw else { return default_url() };
    match parse_base_url(&at.value, allow_plain_http) {
        Ok(url) => url,
        Err(problem) => {
            if at.value.contains('@') {
                reading.hide(&at.span);
            }
            reading.add(&at.span, problem);
            default_url()
        }
    }
}

fn parse_base_url(text: &str, allow_plain_http: bool) -> Result<Url, Problem> {
    let bad = |message: String| Problem::error(Code::BadValue, message);
    let mut url = Url::parse(text)
        .map_err(|error| bad(format!("not an address: {error}")).hint("write it whole: \"https://api.skyvern.com\""))?;
    if !url.has_host() {
        return Err(bad("the address names no host".to_owned()));
    }
    let loopback = is_loopback(&url);
    match url.scheme() {
        "https" => {}
        "http" if loopback || allow_plain_http => {}
        "http" => {
            return Err(bad("plain http would send the key in the clear".to_owned())
                .hint("write https://; or, in a network that you trust, allow_plain_http = true"));
        }
        scheme => return Err(bad(format!("the API does not speak {scheme}")).hint("write https://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Problem::error(Code::LiteralSecret, "a user or password does not belong into the address"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(
            bad("the address has a part after ? or #".to_owned()).hint("write only the beginning of every path")
        );
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    if ["/v1/", "/api/v1/"].iter().any(|end| url.path().ends_with(end)) {
        return Err(bad("the address ends in the version of the API".to_owned())
            .hint("leave out /v1: it is added to every path"));
    }
    Ok(url)
}

/// Whether an address is this machine's own.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        None => false,
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
    }
}

fn key_source(raw: Option<&At<RawKey>>, file: &Path, reading: &mut Reading<'_>) -> ApiKeySource {
    raw.and_then(|at| source(&at.value, &at.span, "api_key", file, reading))
        .unwrap_or_else(|| ApiKeySource::Env(KEY_VARIABLE.to_owned()))
}

impl RawKey {
    /// Reads a table that says where a secret is.
    pub(super) fn of_table(table: &DeTable<'_>, reading: &mut Reading<'_>) -> Self {
        Self(read_shape::<RawKeySource>(table, reading))
    }
}

/// Where a secret is; `None`: a problem was added.
pub(super) fn source(
    RawKey(raw): &RawKey,
    span: &Range<usize>,
    name: &str,
    file: &Path,
    reading: &mut Reading<'_>,
) -> Option<ApiKeySource> {
    let given: Vec<_> = [&raw.env, &raw.file, &raw.credential].into_iter().flatten().collect();
    let [at] = given.as_slice() else {
        if ["env", "file", "credential"].iter().any(|key| reading.is_unused(key)) {
            return None;
        }
        reading.add(
            span,
            Problem::error(Code::Conflict, format!("`{name}` takes exactly one of env, file and credential")),
        );
        return None;
    };
    if at.value.is_empty() {
        reading.bad(at, "is empty");
        return None;
    }
    if raw.file.is_some() {
        // Beside the file, wherever the program is started.
        return Some(ApiKeySource::File(file.parent().unwrap_or(Path::new("")).join(&at.value)));
    }
    let name_fits = |extra: &[char]| at.value.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(&c));
    if raw.env.is_some() {
        if name_fits(&['_']) && !at.value.starts_with(|c: char| c.is_ascii_digit()) {
            return Some(ApiKeySource::Env(at.value.clone()));
        }
        // Most often the key itself, in the wrong place.
        reading.hide(&at.span);
        reading.add(
            &at.span,
            Problem::error(Code::BadValue, "`env` takes the name of a variable: letters, digits and _")
                .hint("write env = \"SKYVERN_API_KEY\", and put the key into that variable"),
        );
        return None;
    }
    if name_fits(&['_', '-', '.']) && !at.value.starts_with('.') {
        return Some(ApiKeySource::Credential(at.value.clone()));
    }
    reading.hide(&at.span);
    reading.add(&at.span, Problem::error(Code::BadValue, "`credential` takes a name, as in LoadCredential=name:/path"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, allow_plain_http: bool, expected: Result<&str, Code>) {
        let got = parse_base_url(text, allow_plain_http);
        assert_eq!(got.as_ref().map(Url::as_str).map_err(|problem| problem.code), expected, "{text:?}");
    }

    #[test]
    fn addresses() {
        assert_eq!(default_url().as_str(), BASE_URL);
        check("https://api.skyvern.com", false, Ok("https://api.skyvern.com/"));
        check("https://proxy.example/skyvern", false, Ok("https://proxy.example/skyvern/"));
        check("http://127.0.0.1:8000", false, Ok("http://127.0.0.1:8000/"));
        check("http://[::1]:8000/", false, Ok("http://[::1]:8000/"));
        check("http://localhost:8000", false, Ok("http://localhost:8000/"));
        check("http://skyvern.lan:8000", false, Err(Code::BadValue));
        check("http://localhost.evil.example", false, Err(Code::BadValue));
        check("http://skyvern.lan:8000", true, Ok("http://skyvern.lan:8000/"));
        check("ftp://127.0.0.1", true, Err(Code::BadValue));
        check("https://user:pw@api.skyvern.com", false, Err(Code::LiteralSecret));
        check("https://api.skyvern.com?x=1", false, Err(Code::BadValue));
        check("https://api.skyvern.com/v1", false, Err(Code::BadValue));
        check("api.skyvern.com", false, Err(Code::BadValue));
        check("", false, Err(Code::BadValue));
    }
}
