//! What a request says about a schedule: read and checked in a real server's order and words, but for what needs the rest of
//! the world. Pure.
//!
//! Expressions are read in skycron's own dialect, which is a little stricter than the server's, and occurrences are computed
//! as skycron computes them: the server's mistakes around clock changes are not imitated.

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use serde_json::{Map, Value, json};

use super::{
    check::{object, problem},
    exchange::Reply,
};
use crate::{
    clock::parse_rfc3339,
    schedule::{CronExpression, Fold, Gap, Timetable, TimetableError, Zone, cron::CronErrorKind},
    skyvern::ServerCadence,
};

/// The least and the most seconds of an interval.
const INTERVAL_SECONDS: std::ops::RangeInclusive<i64> = 300..=2_147_483_647;
/// How far ahead an instant must be.
const LEAD_SECONDS: i64 = 60;

/// What a request asks for.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) cadence: ServerCadence,
    pub(super) timezone: String,
    /// `None`: the request is silent.
    pub(super) enabled: Option<bool>,
    pub(super) parameters: Map<String, Value>,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
}

/// Reads a body, field by field in the order of the API's documentation; then what only the whole tells.
pub(super) fn read(body: &Map<String, Value>) -> Result<Draft, Reply> {
    let mut problems = Vec::new();
    let cron = text(body, "cron_expression", &mut problems);
    let interval = interval(body, &mut problems);
    let first_fire_at = instant(body, "first_fire_at", &mut problems);
    let run_at = instant(body, "run_at", &mut problems);
    let timezone = match body.get("timezone") {
        Some(Value::String(name)) => name.clone(),
        Some(other) => {
            problems.push(problem("string_type", &["body", "timezone"], "Input should be a valid string", other));
            String::new()
        }
        None => {
            problems.push(problem("missing", &["body", "timezone"], "Field required", &Value::Object(body.clone())));
            String::new()
        }
    };
    let enabled = match body.get("enabled") {
        None => None,
        Some(Value::Null) => None,
        Some(Value::Bool(enabled)) => Some(*enabled),
        Some(other) => {
            let msg = "Input should be a valid boolean, unable to interpret input";
            problems.push(problem("bool_parsing", &["body", "enabled"], msg, other));
            None
        }
    };
    let parameters = object(body, "parameters", &mut problems);
    let name = text(body, "name", &mut problems);
    let description = text(body, "description", &mut problems);
    if !problems.is_empty() {
        return Err(Reply::detail(422, problems));
    }
    let refuse = |words: &str| {
        let msg = format!("Value error, {words}");
        Err(Reply::detail(422, vec![problem("value_error", &["body"], &msg, &Value::Object(body.clone()))]))
    };
    let cadence = match (cron, interval, run_at) {
        (Some(expression), None, None) => ServerCadence::Cron(expression),
        (None, Some(interval_seconds), None) => ServerCadence::Interval { interval_seconds, first_fire_at },
        (None, None, Some(run_at)) => ServerCadence::Once { run_at },
        _ => return refuse("Set exactly one of cron_expression, interval_seconds or run_at"),
    };
    if first_fire_at.is_some() && !matches!(cadence, ServerCadence::Interval { .. }) {
        return refuse("first_fire_at requires interval_seconds");
    }
    if matches!(cadence, ServerCadence::Once { .. }) && enabled == Some(false) {
        return refuse("A one-time schedule cannot be disabled; cancel it or change run_at instead");
    }
    Ok(Draft { cadence, timezone, enabled, parameters, name, description })
}

impl Draft {
    /// Checks the expression and the zone, then the instants, which an unchanged schedule may have in the past; fills in the
    /// first instant of an interval. The result is when it is due.
    pub(super) fn settle(&mut self, existing: Option<&ServerCadence>, now: DateTime<Utc>) -> Result<Timetable, Reply> {
        let expression = match &self.cadence {
            ServerCadence::Cron(text) => Some(read_expression(text)?),
            _ => None,
        };
        let Some(zone) = Zone::bundled(&self.timezone) else {
            return Err(Reply::detail(400, format!("Invalid timezone '{}'", self.timezone)));
        };
        let timetable = match (&mut self.cadence, expression) {
            (ServerCadence::Interval { interval_seconds, first_fire_at }, _) => {
                let first = first_of_interval(*interval_seconds, *first_fire_at, existing, now)?;
                *first_fire_at = Some(first);
                Timetable::interval(*interval_seconds, first, zone)
            }
            (ServerCadence::Once { run_at }, _) => {
                if existing != Some(&ServerCadence::Once { run_at: *run_at }) {
                    require_ahead("run_at", *run_at, now)?;
                }
                Timetable::once(*run_at, zone)
            }
            (ServerCadence::Cron(_), Some(expression)) => Timetable::cron(expression, zone, Gap::Shift, Fold::Auto),
            (ServerCadence::Cron(_), None) => return Err(Reply::detail(400, "Invalid cron expression")),
        };
        timetable.map_err(|error| match error {
            TimetableError::TooFrequent(_) => Reply::detail(400, "Cron interval must be at least 5 minutes"),
            TimetableError::IntervalTooShort { .. } | TimetableError::OutsideCalendar { .. } => {
                Reply::detail(422, error.to_string())
            }
        })
    }

    /// The parameters as they are kept: a null falls back to the workflow's default when it runs.
    pub(super) fn kept_parameters(&self) -> Map<String, Value> {
        self.parameters.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

fn read_expression(text: &str) -> Result<CronExpression, Reply> {
    CronExpression::parse(text).map_err(|error| match error.kind {
        CronErrorKind::NeverDue => Reply::detail(400, "failed to find next date"),
        _ => Reply::detail(400, "Invalid cron expression"),
    })
}

fn first_of_interval(
    interval_seconds: u64,
    asked: Option<DateTime<Utc>>,
    existing: Option<&ServerCadence>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, Reply> {
    if let Some(ServerCadence::Interval { first_fire_at: Some(kept), .. }) = existing
        && asked.is_none_or(|asked| asked == *kept)
    {
        return Ok(*kept);
    }
    match asked {
        Some(asked) => require_ahead("first_fire_at", asked, now),
        None => Ok(whole_second(now) + TimeDelta::seconds(i64::try_from(interval_seconds).unwrap_or(i64::MAX / 1000))),
    }
}

fn require_ahead(field: &str, at: DateTime<Utc>, now: DateTime<Utc>) -> Result<DateTime<Utc>, Reply> {
    if at >= now + TimeDelta::seconds(LEAD_SECONDS) {
        return Ok(at);
    }
    let msg = format!("{field} must be at least {LEAD_SECONDS} seconds in the future");
    Err(Reply::detail(422, vec![problem("value_error", &["body", field], &msg, &at.to_rfc3339().into())]))
}

fn whole_second(at: DateTime<Utc>) -> DateTime<Utc> {
    at.with_nanosecond(0).unwrap_or(at)
}

fn text(body: &Map<String, Value>, field: &str, problems: &mut Vec<Value>) -> Option<String> {
    match body.get(field) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => {
            problems.push(problem("string_type", &["body", field], "Input should be a valid string", other));
            None
        }
    }
}

fn interval(body: &Map<String, Value>, problems: &mut Vec<Value>) -> Option<u64> {
    let field = "interval_seconds";
    let mut refuse = |kind: &str, msg: &str, value: &Value| problems.push(problem(kind, &["body", field], msg, value));
    let value = body.get(field).filter(|value| !value.is_null())?;
    let seconds = match value {
        Value::Number(number) if number.is_i64() => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(_) => {
            let msg = "Input should be a valid integer, got a number with a fractional part";
            refuse("int_from_float", msg, value);
            return None;
        }
        _ => {
            refuse("int_type", "Input should be a valid integer", value);
            return None;
        }
    };
    match seconds {
        None => {
            let msg = "Input should be a valid integer, unable to parse string as an integer";
            refuse("int_parsing", msg, value);
            None
        }
        Some(seconds) if seconds < *INTERVAL_SECONDS.start() => {
            let msg = format!("Input should be greater than or equal to {}", INTERVAL_SECONDS.start());
            refuse("greater_than_equal", &msg, value);
            None
        }
        Some(seconds) if seconds > *INTERVAL_SECONDS.end() => {
            let msg = format!("Input should be less than or equal to {}", INTERVAL_SECONDS.end());
            refuse("less_than_equal", &msg, value);
            None
        }
        Some(seconds) => u64::try_from(seconds).ok(),
    }
}

fn instant(body: &Map<String, Value>, field: &str, problems: &mut Vec<Value>) -> Option<DateTime<Utc>> {
    let value = body.get(field).filter(|value| !value.is_null())?;
    let text = value.as_str().unwrap_or_default();
    let naive = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").is_ok();
    let Some(at) = parse_rfc3339(text) else {
        let (kind, msg) = if naive {
            ("timezone_aware", "Input should have timezone info")
        } else {
            ("datetime_from_date_parsing", "Input should be a valid datetime or date, input is too short")
        };
        problems.push(problem(kind, &["body", field], msg, value));
        return None;
    };
    let latest = DateTime::from_timestamp(4_133_980_799, 0).unwrap_or_default();
    if field == "run_at" && at > latest {
        let msg = format!("Value error, run_at must be no later than {}", latest.to_rfc3339());
        problems.push(json!({"type": "value_error", "loc": ["body", field], "msg": msg, "input": value}));
        return None;
    }
    Some(whole_second(at))
}
