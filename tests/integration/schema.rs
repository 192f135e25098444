//! The JSON Schema, the declarations of the keys and the parser say the same: bounds and defaults are those in force, what the
//! parser takes the schema takes, and what a schema can know to be wrong it refuses.

use std::time::Duration;

use serde_json::Value as Json;
use skycron::config::{Code, Config, Environment, Key, Problem, Severity, Table, schema, tables};
use toml::{Table as Toml, Value};

use crate::example_file::{EXAMPLE, uncommented};

const BASE: &str = "
[[schedule]]
id = 'a'
workflow_id = 'wpid_1'
cron_expression = '0 9 * * *'
";

/// The errors of a text.
fn errors(text: &str) -> Vec<Problem> {
    let environment = Environment::from_pairs([("TZDIR", "/nowhere")]);
    match Config::parse("schedules.toml".as_ref(), text, &environment) {
        Ok(_) => vec![],
        Err(problems) => problems.list.into_iter().filter(|problem| problem.severity == Severity::Error).collect(),
    }
}

/// TOML as an editor's schema check sees it: instants are texts.
fn json(value: &Value) -> Json {
    match value {
        Value::String(text) => Json::from(text.as_str()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Boolean(value) => Json::from(*value),
        Value::Datetime(datetime) => Json::from(datetime.to_string()),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), json(value))).collect(),
    }
}

fn validator() -> jsonschema::Validator {
    jsonschema::draft7::new(&schema()).unwrap()
}

fn refused_by_schema(validator: &jsonschema::Validator, text: &str) -> Option<String> {
    let tree: Toml = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    validator.iter_errors(&json(&Value::Table(tree))).next().map(|error| error.to_string())
}

/// A file in which a key of a table has a value that is written so.
fn file_with(table: &Table, key: &str, value: &str) -> String {
    let mut tree: Toml = BASE.parse().unwrap();
    let set: Toml = format!("{key} = {value}").parse().unwrap_or_else(|error| panic!("{error}: {key} = {value}"));
    let schedule = |tree: &mut Toml, more: Toml| {
        let schedule = tree["schedule"][0].as_table_mut().unwrap();
        if more.keys().any(|key| ["interval_seconds", "first_fire_at", "run_at"].contains(&key.as_str())) {
            schedule.remove("cron_expression");
        }
        schedule.extend(more);
    };
    let inside = |path: &str, more: &Toml| -> Toml { Toml::from_iter([(path.to_owned(), Value::Table(more.clone()))]) };
    match table.name {
        "" => tree.extend(set),
        "schedule" => {
            let companion = match key {
                "interval_seconds" => "first_fire_at = 2026-01-01T00:00:00Z",
                "first_fire_at" => "interval_seconds = 3600",
                _ => "",
            };
            schedule(&mut tree, companion.parse().unwrap());
            schedule(&mut tree, set);
        }
        "schedule.retry" => {
            let mut retry: Toml = "max_attempts = 2".parse().unwrap();
            retry.extend(set);
            schedule(&mut tree, inside("retry", &retry));
        }
        "webhook" => {
            let mut webhook: Toml = "public_url = \"https://a.example/\"".parse().unwrap();
            webhook.extend(set);
            tree.extend(inside("webhook", &webhook));
        }
        // One channel; where it is has two keys.
        "notify" => {
            let mut channel: Toml =
                if key == "ping" { "" } else { "webhook = \"https://a.example/\"" }.parse().unwrap();
            channel.extend(set);
            tree.extend(inside("notify", &inside("ops", &channel)));
        }
        // A table in a table: below its own header.
        name => {
            let nested = name.rsplit('.').fold(set, |inner, part| inside(part, &inner));
            tree.extend(nested);
        }
    }
    toml::to_string(&tree).unwrap()
}

fn keys() -> impl Iterator<Item = (Table, Key)> {
    tables().into_iter().flat_map(|table| table.keys.clone().into_iter().map(move |key| (table.clone(), key)))
}

#[test]
fn every_key_is_documented() {
    for (table, key) in keys() {
        let place = format!("{} of {:?}", key.name, table.name);
        assert!(
            key.doc.trim().ends_with(['.', ':']),
            "{place}: say what it is for, in sentences, above it in its shape!"
        );
        assert!(key.words.iter().all(|(_, meaning)| meaning.ends_with('.')), "{place}: a word has no meaning");
    }
}

#[test]
fn the_example_is_good() {
    let validator = validator();
    assert_eq!(refused_by_schema(&validator, EXAMPLE), None);
    assert_eq!(refused_by_schema(&validator, &uncommented()), None);
    assert!(EXAMPLE.starts_with("#:schema ./schedules.schema.json\n"), "editors look at the first line");
}

/// A number or duration beside a bound.
fn beyond(bound: &str, up: bool) -> Option<String> {
    if let Ok(number) = bound.replace('_', "").parse::<u64>() {
        let next = if up { number.checked_add(1) } else { number.checked_sub(1) };
        return next.map(|number| number.to_string());
    }
    let bound = humantime::parse_duration(bound.trim_matches('"')).unwrap();
    let second = Duration::from_secs(1);
    let next = if up { bound.checked_add(second) } else { bound.checked_sub(second) };
    next.map(|duration| format!("\"{}\"", humantime::format_duration(duration)))
}

#[test]
fn bounds_are_those_in_force() {
    let validator = validator();
    for (table, key) in keys() {
        let check = |value: &str, expected: bool| {
            let text = file_with(&table, key.name, value);
            let told = errors(&text);
            // Whether it fits to its neighbours is not a matter of its bounds.
            let elsewhere = told.iter().all(|problem| [Code::Conflict, Code::TooFrequent].contains(&problem.code));
            assert!(if expected { elsewhere } else { !told.is_empty() }, "{told:#?}\n{text}");
            if let (false, Ok(_)) = (expected, value.parse::<u64>()) {
                assert!(refused_by_schema(&validator, &text).is_some(), "{text}");
            }
        };
        match key.bounds {
            Some((least, most)) => {
                check(least, true);
                check(most, true);
                beyond(least, false).into_iter().for_each(|value| check(&value, false));
                beyond(most, true).into_iter().for_each(|value| check(&value, false));
            }
            None if key.takes.contains("whole number") && key.name != "interval_seconds" => {
                panic!("{} of {:?} is a number without bounds", key.name, table.name)
            }
            None if key.takes.contains("duration") => {
                panic!("{} of {:?} is a duration without bounds", key.name, table.name)
            }
            None => {}
        }
    }
}

#[test]
fn defaults_are_those_in_force() {
    let environment = Environment::from_pairs([("TZDIR", "/nowhere")]);
    let parsed = |text: &str| {
        let config = Config::parse("schedules.toml".as_ref(), text, &environment);
        let config = config.unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
        format!("{:#?}\n{:#?}", config.settings, config.schedules)
    };
    for (table, key) in keys() {
        let Some(default) = key.default else { continue };
        let with = file_with(&table, key.name, default);
        let without = match table.name {
            "schedule.retry" => file_with(&table, "max_attempts", "2"),
            "webhook" => file_with(&table, "public_url", "\"https://a.example/\""),
            "notify" => file_with(&table, "webhook", "\"https://a.example/\""),
            _ => BASE.to_owned(),
        };
        assert_eq!(parsed(&with), parsed(&without), "{with}");
        assert!(key.default_json().is_some(), "{with}");
    }
}

/// Values of every type, each a likely slip for another.
const VALUES: &[&str] = &[
    "true",
    "7",
    "-7",
    "7.5",
    "\"\"",
    "\"junk\"",
    "\"7m\"",
    "\"none\"",
    "\"2026-11-02T09:00:00-05:00\"",
    "2026-11-02T09:00:00-05:00",
    "2026-11-02",
    "[]",
    "[7]",
    "[\"failed\"]",
    "{}",
    "{ junk = 7 }",
    "{ junk = \"7\" }",
    "{ env = \"JUNK\" }",
    "{ env = \"JUNK\", file = \"junk\" }",
    "[{}]",
];

#[test]
fn parser_and_schema_agree_on_types_and_words() {
    let validator = validator();
    let (mut taken, mut refused) = (0, 0);
    for (table, key) in keys() {
        for value in VALUES {
            let text = file_with(&table, key.name, value);
            let (told, schema) = (errors(&text), refused_by_schema(&validator, &text));
            if let Some(error) = &schema {
                assert!(!told.is_empty(), "the schema refuses what is good: {error}\n{text}");
            }
            let known = |problem: &Problem| match problem.code {
                Code::WrongType | Code::UnknownKey | Code::MissingKey => true,
                Code::BadValue => !key.words.is_empty(),
                _ => false,
            };
            // To a schema a date is a text.
            let date = value.starts_with("2026");
            if told.iter().any(known) && !date {
                assert!(schema.is_some(), "the schema takes what is wrong: {told:#?}\n{text}");
                refused += 1;
            } else if told.is_empty() {
                taken += 1;
            }
        }
    }
    assert!(taken > 50 && refused > 500, "{taken} {refused}");
}

#[test]
fn slips_are_refused_by_both() {
    let validator = validator();
    let check = |text: &str, code: Code| {
        let told = errors(text);
        assert!(told.iter().any(|problem| problem.code == code), "{told:#?}\n{text}");
        assert!(refused_by_schema(&validator, text).is_some(), "{text}");
    };
    for line in BASE.lines().filter(|line| line.contains('=')) {
        check(&BASE.replace(line, ""), Code::MissingKey);
        check(&BASE.replace(line, &format!("x{line}")), Code::UnknownKey);
    }
    check(&format!("{BASE}run_at = 2026-11-02T09:00:00Z"), Code::Conflict);
    check(&format!("{BASE}first_fire_at = 2026-11-02T09:00:00Z"), Code::Conflict);
    check(&format!("{BASE}retry = {{ on = ['failed'] }}"), Code::MissingKey);
    check(&format!("{BASE}overlap = 'skipp'"), Code::BadValue);
    check(&format!("{BASE}[api]\napi_key = 'sk-1'"), Code::LiteralSecret);
    check(&format!("{BASE}[secrets]\n'a-b' = {{ env = 'X' }}"), Code::BadValue);
}
