//! The types that values of the file can have: texts, numbers, durations, instants, words, JSON.
//!
//! Each says what it expects and what is wrong with what it found. Bounds of single keys are checked where they are read.

use std::{ops::Range, time::Duration};

use chrono::{DateTime, Timelike, Utc};
use serde_json::{Map, Number, Value, json};
use toml::de::{DeInteger, DeTable, DeValue};

use super::{
    keys,
    problem::{Code, Problem},
    reader::{FromToml, Reading, Shape, read_shape},
    schema,
    settings::OnDrift,
    zones::ZoneRulesChoice,
};
use crate::{
    clock::parse_rfc3339,
    schedule::{CatchUp, Failover, Fires, Fold, Gap, OnUnknown, Overlap, template::is_template},
};

/// The longest duration that the file may name: ten years. Longer ones are slips, and would overflow dates.
const DURATION_MAX: Duration = Duration::from_secs(3660 * 24 * 3600);

/// A number with its unit, once or more often; which units there are is left to the parser.
const DURATION_PATTERN: &str = "^[ ]*(0|([0-9]+(\\.[0-9]+)?[ ]*[A-Za-z\u{b5}]+[ ]*)+)$";
/// An instant with its offset, in whole seconds.
const INSTANT_PATTERN: &str =
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.0+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$";

impl FromToml for String {
    const EXPECTED: &'static str = "a string";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::String(text) = value else {
            reading.wrong_type(span, Self::EXPECTED, value, Some("put it in quotes"));
            return None;
        };
        Some(text.to_string())
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

impl FromToml for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Boolean(value) = value else {
            let quoted = matches!(value, DeValue::String(text) if matches!(text.as_ref(), "true" | "false"));
            reading.wrong_type(span, Self::EXPECTED, value, quoted.then_some("write it without quotes"));
            return None;
        };
        Some(*value)
    }

    fn schema() -> Value {
        json!({ "type": "boolean" })
    }
}

impl FromToml for u64 {
    const EXPECTED: &'static str = "a whole number of 0 or more";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Integer(integer) = value else {
            let quoted = matches!(value, DeValue::String(text) if text.parse::<Self>().is_ok());
            reading.wrong_type(span, Self::EXPECTED, value, quoted.then_some("write it without quotes"));
            return None;
        };
        let number = Self::from_str_radix(integer.as_str(), integer.radix()).ok();
        if number.is_none() {
            let message = format!("`{}` takes {}, and this is {integer}", reading.key, Self::EXPECTED);
            reading.add(span, Problem::error(Code::BadValue, message));
        }
        number
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 0 })
    }
}

impl FromToml for Duration {
    const EXPECTED: &'static str = "a duration such as \"90s\", \"5m\", \"24h\"";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        let problem = match value {
            DeValue::String(text) => match humantime::parse_duration(text) {
                Ok(duration) if duration <= DURATION_MAX => return Some(duration),
                Ok(_) => Problem::error(Code::BadValue, format!("`{}` is longer than ten years", reading.key)),
                Err(_) => Problem::error(Code::BadValue, format!("`{}` is not a duration: {text:?}", reading.key))
                    .hint("write a number with its unit: \"90s\", \"5m\", \"1h 30m\", \"7days\""),
            },
            DeValue::Integer(number) => {
                let hint = format!("write the unit, in quotes: \"{number}s\" for {number} seconds");
                reading.wrong_type(span, Self::EXPECTED, value, Some(&hint));
                return None;
            }
            _ => {
                reading.wrong_type(span, Self::EXPECTED, value, None);
                return None;
            }
        };
        reading.add(span, problem);
        None
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": DURATION_PATTERN })
    }
}

/// A value, or the word `"none"`, which takes back what `[defaults]` says.
#[derive(Debug, Clone)]
pub(super) enum OrNone<T> {
    None,
    Some(T),
}

impl<T: FromToml> FromToml for OrNone<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        if matches!(value, DeValue::String(text) if text == "none") {
            return Some(Self::None);
        }
        T::from_toml(value, span, reading).map(Self::Some)
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "enum": ["none"] }, T::schema()] })
    }
}

impl FromToml for DateTime<Utc> {
    const EXPECTED: &'static str = "an instant with its offset, such as 2026-11-02T09:00:00-05:00";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        let text = match value {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(datetime) => datetime.to_string(),
            _ => {
                reading.wrong_type(span, Self::EXPECTED, value, None);
                return None;
            }
        };
        let problem = match parse_rfc3339(&text) {
            Some(instant) if instant.nanosecond() == 0 => return Some(instant),
            Some(_) => {
                Problem::error(Code::BadValue, format!("{text} has a fraction of a second; whole ones are possible"))
            }
            None if ["Z", "+00:00"].iter().any(|offset| parse_rfc3339(&format!("{text}{offset}")).is_some()) => {
                Problem::error(Code::BadValue, format!("{text} does not say in which zone"))
                    .hint(format!("add the offset: {text}Z for UTC, or such as {text}-05:00"))
            }
            None => Problem::error(Code::BadValue, format!("{text} is not an instant that exists"))
                .hint("write date, time and offset: 2026-11-02T09:00:00-05:00, or 2026-11-02T14:00:00Z"),
        };
        reading.add(span, problem);
        None
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": INSTANT_PATTERN })
    }
}

/// Reads closed lists of words.
macro_rules! words_from_toml {
    ($($name:ty: $expected:literal),+ $(,)?) => {$(
        impl FromToml for $name {
            const EXPECTED: &'static str = $expected;

            fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
                let DeValue::String(text) = value else {
                    reading.wrong_type(span, Self::EXPECTED, value, None);
                    return None;
                };
                let word = Self::from_word(text);
                if word.is_none() {
                    let problem = Problem::error(Code::BadValue, format!("`{}` takes {}, and this is {text:?}", reading.key, Self::EXPECTED));
                    let nearest = keys::nearest(text, Self::ALL.iter().map(|value| value.word()));
                    reading.add(span, match nearest {
                        Some(nearest) => problem.hint(format!("did you mean {nearest:?}?")),
                        None => problem,
                    });
                }
                word
            }

            fn schema() -> Value {
                let words: Vec<_> = Self::ALL.iter().map(|value| value.word()).collect();
                json!({ "enum": words })
            }

            fn words() -> Vec<(&'static str, &'static str)> {
                Self::ALL.iter().map(|value| (value.word(), value.meaning())).collect()
            }
        }
    )+};
}

words_from_toml! {
    Fires: "\"local\" or \"server\"",
    Failover: "\"none\" or \"local\"",
    Overlap: "\"skip\", \"buffer_one\", \"cancel_running\" or \"allow\"",
    CatchUp: "\"latest\", \"all\" or \"none\"",
    OnUnknown: "\"hold\" or \"retry\"",
    Gap: "\"shift\" or \"skip\"",
    Fold: "\"auto\", \"first\" or \"both\"",
    OnDrift: "\"report\" or \"restore\"",
    ZoneRulesChoice: "\"auto\", \"system\" or \"bundled\"",
}

/// A table inside a table, read as its own shape.
#[derive(Debug, Clone, Default)]
pub(super) struct Nested<S>(pub S);

impl<S: Shape> FromToml for Nested<S> {
    const EXPECTED: &'static str = "a table";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Table(table) = value else {
            reading.wrong_type(span, Self::EXPECTED, value, None);
            return None;
        };
        Some(Self(read_shape(table, reading)))
    }

    fn schema() -> Value {
        schema::of_shape::<S>()
    }
}

/// An array of strings, each with its place.
#[derive(Debug, Clone)]
pub(super) struct Texts(pub Vec<(String, Range<usize>)>);

impl FromToml for Texts {
    const EXPECTED: &'static str = "an array of strings";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Array(array) = value else {
            reading.wrong_type(span, Self::EXPECTED, value, None);
            return None;
        };
        let name = reading.key.clone();
        let mut texts = Vec::with_capacity(array.len());
        for (index, item) in array.iter().enumerate() {
            reading.key = format!("{name}[{index}]");
            texts.extend(String::from_toml(item.get_ref(), &item.span(), reading).map(|text| (text, item.span())));
        }
        (texts.len() == array.len()).then_some(Self(texts))
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": { "type": "string" } })
    }
}

/// A table of strings.
#[derive(Debug, Clone)]
pub(super) struct TextMap(pub Vec<(String, Range<usize>, String, Range<usize>)>);

impl FromToml for TextMap {
    const EXPECTED: &'static str = "a table of strings";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Table(table) = value else {
            reading.wrong_type(span, Self::EXPECTED, value, None);
            return None;
        };
        let name = reading.key.clone();
        let mut entries = Vec::with_capacity(table.len());
        for (key, item) in table {
            reading.key = format!("{name}.{}", key.get_ref());
            let text = String::from_toml(item.get_ref(), &item.span(), reading);
            entries.extend(text.map(|text| (key.get_ref().to_string(), key.span(), text, item.span())));
        }
        (entries.len() == table.len()).then_some(Self(entries))
    }

    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}

/// A table of anything that JSON can say.
#[derive(Debug, Clone)]
pub(super) struct JsonTable(pub Map<String, Value>);

impl FromToml for JsonTable {
    const EXPECTED: &'static str = "a table";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Table(table) = value else {
            reading.wrong_type(span, Self::EXPECTED, value, None);
            return None;
        };
        json_table(table, reading).map(Self)
    }

    fn schema() -> Value {
        json!({ "type": "object" })
    }
}

/// A string, or a table of anything that JSON can say.
#[derive(Debug, Clone)]
pub(super) struct TextOrTable(pub Value);

impl FromToml for TextOrTable {
    const EXPECTED: &'static str = "a string or a table";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        if matches!(value, DeValue::String(_) | DeValue::Table(_)) {
            return json(value, span, reading).map(Self);
        }
        reading.wrong_type(span, Self::EXPECTED, value, None);
        None
    }

    fn schema() -> Value {
        json!({ "type": ["string", "object"] })
    }
}

fn json_table(table: &DeTable<'_>, reading: &mut Reading<'_>) -> Option<Map<String, Value>> {
    // Of the right size: it is kept for as long as the schedule.
    let mut map = Map::with_capacity(table.len());
    for (key, item) in table {
        if let Some(value) = json(item.get_ref(), &item.span(), reading) {
            map.insert(key.get_ref().to_string(), value);
        }
    }
    (map.len() == table.len()).then_some(map)
}

fn json(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Value> {
    let problem = match value {
        DeValue::String(text) => {
            if is_template(text) {
                reading.templates.push((text.to_string(), span.clone()));
            }
            return Some(Value::String(text.to_string()));
        }
        DeValue::Boolean(value) => return Some(Value::Bool(*value)),
        DeValue::Integer(integer) => match json_integer(integer) {
            Some(number) => return Some(Value::Number(number)),
            None => {
                Problem::error(Code::BadValue, format!("{integer} does not fit into 64 bits")).hint("put it in quotes")
            }
        },
        DeValue::Float(float) => match float.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => return Some(Value::Number(number)),
            None => {
                Problem::error(Code::BadValue, format!("JSON, which the API takes, has no number {}", float.as_str()))
            }
        },
        DeValue::Datetime(datetime) => {
            Problem::error(Code::WrongType, "JSON, which the API takes, has no dates and times".to_owned())
                .hint(format!("put it in quotes: \"{datetime}\""))
        }
        DeValue::Array(array) => {
            let items: Vec<_> = array.iter().filter_map(|item| json(item.get_ref(), &item.span(), reading)).collect();
            return (items.len() == array.len()).then_some(Value::Array(items));
        }
        DeValue::Table(table) => return json_table(table, reading).map(Value::Object),
    };
    reading.add(span, problem);
    None
}

fn json_integer(integer: &DeInteger<'_>) -> Option<Number> {
    let (digits, radix) = (integer.as_str(), integer.radix());
    i64::from_str_radix(digits, radix)
        .map(Number::from)
        .or_else(|_| u64::from_str_radix(digits, radix).map(Number::from))
        .ok()
}

/// Where no template is rendered, a string that looks like one must not reach the API as it is.
pub(super) fn template_refused(text: &str) -> Option<Problem> {
    is_template(text).then(|| {
        Problem::error(Code::BadValue, "a template ({{ … }}) is possible in `parameters` and `title` only")
            .hint("write the value itself; it would be sent to the API as it stands")
    })
}
