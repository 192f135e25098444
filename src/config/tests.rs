//! What a good file means: values, defaults, and which of two wins. What is wrong with a bad one is tested on the binary.

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::json;

use super::{ApiKeySource, Config, Environment, ZoneRulesChoice};
use crate::schedule::{CatchUp, Overlap, RunRetry, Schedule};

const HEAD: &str = "[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 * * *\"\n";

fn parse(text: &str) -> Config {
    let environment = Environment::from_pairs([("TZDIR", "/nowhere")]);
    Config::parse(Path::new("/etc/skycron/schedules.toml"), text, &environment)
        .unwrap_or_else(|found| panic!("{found:#?}"))
}

fn schedule(text: &str) -> Arc<Schedule> {
    parse(text).schedules.remove(0)
}

#[test]
fn parameters_are_the_json_that_the_api_takes() {
    let text = r#"
[schedule.parameters]
text = "a\tb"
long = """
two
lines"""
integer = -9_223_372_036_854_775_808
large = 18446744073709551615
hex = 0xff
float = 1.5
whole = 2.0
exponent = 1e3
yes = true
mixed = [1, "two", [3.5], { four = false }]
nested = { a.b = 1, "key with blanks" = "x" }
empty = {}
"#;
    let expected = json!({
        "text": "a\tb", "long": "two\nlines", "integer": i64::MIN, "large": u64::MAX, "hex": 255, "float": 1.5, "whole": 2.0,
        "exponent": 1000.0, "yes": true, "mixed": [1, "two", [3.5], { "four": false }],
        "nested": { "a": { "b": 1 }, "key with blanks": "x" }, "empty": {},
    });
    let parameters = &schedule(&format!("{HEAD}{text}")).parameters;
    assert_eq!(serde_json::Value::Object(parameters.clone()), expected);
    assert_eq!(parameters.keys().next().map(String::as_str), Some("text"), "in the order of the file");
}

#[test]
fn options_are_sent_only_if_the_file_sets_them() {
    assert!(schedule(HEAD).run_options.is_empty());
    let text = r#"
proxy_location = { country = "US", subdivision = "CA" }
webhook_url = "https://example.com/hook"
max_elapsed_time_minutes = 480
max_screenshot_scrolls = 0
start_fresh_browser = true
file_ids = ["file_1", "file_2"]
extra_http_headers = { "Accept-Language" = "de" }
run_metadata = { team = "finance" }
"#;
    let expected = json!({
        "proxy_location": { "country": "US", "subdivision": "CA" }, "webhook_url": "https://example.com/hook",
        "max_screenshot_scrolls": 0, "max_elapsed_time_minutes": 480, "start_fresh_browser": true,
        "file_ids": ["file_1", "file_2"], "extra_http_headers": { "Accept-Language": "de" },
        "run_metadata": { "team": "finance" },
    });
    assert_eq!(serde_json::Value::Object(schedule(&format!("{HEAD}{text}")).run_options.clone()), expected);
}

#[test]
fn a_schedule_wins_over_the_defaults() {
    let defaults = "[defaults]\ntimezone = \"Europe/Berlin\"\noverlap = \"allow\"\nrun_timeout = \"1h\"\n\
                    retry = { max_attempts = 3, delay = \"2m\" }\njitter = \"1m\"\n";
    let retry = RunRetry {
        max_attempts: 3,
        on: vec!["failed".to_owned(), "timed_out".to_owned()],
        delay: Duration::from_secs(120),
        max_delay: Duration::from_secs(3600),
    };
    let inherited = schedule(&format!("{defaults}{HEAD}"));
    assert_eq!(inherited.timetable.zone().name(), "Europe/Berlin");
    assert_eq!(inherited.policies.overlap, Overlap::Allow);
    assert_eq!(inherited.policies.catch_up, CatchUp::Latest, "what nobody says is the default");
    assert_eq!(inherited.policies.run_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(inherited.policies.retry, Some(retry));

    let own =
        "timezone = \"Asia/Tokyo\"\noverlap = \"skip\"\nrun_timeout = \"none\"\nretry = \"none\"\njitter = \"0s\"\n";
    let own = schedule(&format!("{defaults}{HEAD}{own}"));
    assert_eq!(own.timetable.zone().name(), "Asia/Tokyo");
    assert_eq!(own.policies, crate::schedule::Policies::default());
}

#[test]
fn schedules_that_share_an_expression_keep_their_own_zone_and_rules() {
    let text = format!(
        "{HEAD}timezone = \"Asia/Tokyo\"\n{}timezone = \"Europe/Berlin\"\n{}timezone = \"Asia/Tokyo\"\ngap = \"skip\"\n\
         starts_at = 2027-01-01T00:00:00Z\n{}timezone = \"Asia/Tokyo\"\n",
        HEAD.replace("\"a\"", "\"b\""),
        HEAD.replace("\"a\"", "\"c\""),
        HEAD.replace("\"a\"", "\"d\"")
    );
    let schedules = parse(&text).schedules;
    let definition = |index: usize| schedules[index].timetable.definition(true);
    assert_eq!(definition(1).timezone, "Europe/Berlin");
    assert_eq!((definition(2).gap.as_str(), definition(2).starts_at.is_some()), ("skip", true));
    assert_eq!(definition(3), definition(0));
    assert_eq!((definition(3).gap.as_str(), definition(3).starts_at), ("shift", None));
}

#[test]
fn settings() {
    let config = parse("");
    assert_eq!(config.settings.instance.as_str(), "main");
    assert_eq!(config.settings.zone_rules, ZoneRulesChoice::Auto);
    assert_eq!(config.settings.min_interval, Duration::from_secs(300));
    assert_eq!(config.settings.api.api_key, ApiKeySource::Env("SKYVERN_API_KEY".to_owned()));
    assert_eq!(config.settings.api.poll_interval_max, Duration::from_secs(60));
    assert!(config.text.is_empty());

    let key = |text: &str| parse(&format!("[api]\napi_key = {text}\n")).settings.api.api_key;
    assert_eq!(key("{ env = \"MY_KEY\" }"), ApiKeySource::Env("MY_KEY".to_owned()));
    assert_eq!(key("{ file = \"key\" }"), ApiKeySource::File("/etc/skycron/key".into()), "beside the file");
    assert_eq!(key("{ file = \"/run/key\" }"), ApiKeySource::File("/run/key".into()));
    assert_eq!(key("{ credential = \"sky.key\" }"), ApiKeySource::Credential("sky.key".to_owned()));
    let slow = parse("[api]\npoll_interval = \"5m\"\n").settings.api;
    assert_eq!(slow.poll_interval_max, slow.poll_interval, "never shorter than the one it grows from");
}

#[test]
fn the_text_is_kept_as_it_was() {
    let text = format!("# a comment\r\n{HEAD}");
    assert_eq!(&*parse(&text).text, text);
    assert!(!format!("{:?}", parse(&text)).contains("comment"), "and does not go into a log by accident");
}

#[test]
fn schedules_are_found_by_id_or_by_what_was_meant() {
    let config = parse(HEAD.replace("\"a\"", "\"weekday-report\"").as_str());
    assert!(config.schedule("weekday-report").is_ok());
    assert_eq!(config.schedule("weekday_report").unwrap_err(), Some("weekday-report"));
    assert_eq!(config.schedule("night").unwrap_err(), None);
}
