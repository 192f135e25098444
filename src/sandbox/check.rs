//! The checks of a request that all calls share, in the words of a real server's validation.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::{Map, Value, json};

use super::exchange::Reply;

/// One problem of a request, as the validation of a real server words it.
pub(super) fn problem(kind: &str, loc: &[&str], msg: &str, input: &Value) -> Value {
    json!({"type": kind, "loc": loc, "msg": msg, "input": input})
}

/// The body, which must be an object.
pub(super) fn read_object(body: &[u8]) -> Result<Map<String, Value>, Reply> {
    let refuse = |problem: Value| Err(Reply::detail(422, vec![problem]));
    if body.is_empty() {
        return refuse(problem("missing", &["body"], "Field required", &Value::Null));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => refuse(problem(
            "model_attributes_type",
            &["body"],
            "Input should be a valid dictionary or object to extract fields from",
            &other,
        )),
        Err(_) => refuse(json!({"type": "json_invalid", "loc": ["body", 0], "msg": "JSON decode error", "input": {},
            "ctx": {"error": "Expecting value"}})),
    }
}

/// A field that is an object, or absent.
pub(super) fn object(request: &Map<String, Value>, key: &str, problems: &mut Vec<Value>) -> Map<String, Value> {
    match request.get(key) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(fields)) => fields.clone(),
        Some(other) => {
            problems.push(problem("dict_type", &["body", key], "Input should be a valid dictionary", other));
            Map::new()
        }
    }
}

/// A number of a query, from 1 on.
pub(super) fn positive(name: &str, value: &str, max: Option<usize>) -> Result<usize, Reply> {
    let refuse =
        |kind: &str, msg: &str| Err(Reply::detail(422, vec![problem(kind, &["query", name], msg, &value.into())]));
    match value.parse::<usize>() {
        Ok(0) => refuse("greater_than_equal", "Input should be greater than or equal to 1"),
        Ok(number) => match max {
            Some(max) if number > max => {
                refuse("less_than_equal", &format!("Input should be less than or equal to {max}"))
            }
            _ => Ok(number),
        },
        Err(_) => refuse("int_parsing", "Input should be a valid integer, unable to parse string as an integer"),
    }
}

/// An instant of a query, with or without a zone.
pub(super) fn instant(name: &str, value: &str) -> Result<DateTime<Utc>, Reply> {
    let naive = || NaiveDateTime::parse_from_str(value, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|time| time.and_utc());
    crate::clock::parse_rfc3339(value).or_else(naive).ok_or_else(|| {
        let msg = "Input should be a valid datetime or date, invalid character in year";
        Reply::detail(422, vec![problem("datetime_from_date_parsing", &["query", name], msg, &value.into())])
    })
}
