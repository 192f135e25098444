//! What a schedule at the server is like, in one form for all that are compared: what the file wants, what the server has,
//! and what was applied last. Without the marker, which is ownership and not content.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::marker::{Marker, without_marker};
use crate::{
    clock::{parse_rfc3339, rfc3339},
    schedule::{Definition, Schedule},
    skyvern::{ScheduleDraft, ServerCadence, ServerSchedule},
};

/// The server takes a first occurrence only if it is a minute ahead; another one for the way there.
pub(super) const AHEAD_SECONDS: i64 = 120;

/// What a schedule is like: everything but whose it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Content {
    /// When it is due; `None`: the server has it in a way that this program does not know.
    pub cadence: Option<ServerCadence>,
    /// IANA name.
    pub timezone: String,
    /// For people; never empty.
    pub name: Option<String>,
    /// For people; never empty, without the marker.
    pub description: Option<String>,
    /// What runs are started with.
    pub parameters: Map<String, Value>,
    /// Whether it fires.
    pub enabled: bool,
}

/// A key of the file whose value at the server is another one.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    /// The key; `marker` for the mark of ownership.
    pub field: &'static str,
    /// What the server has; null: nothing.
    pub before: Value,
    /// What it is to have; null: nothing.
    pub after: Value,
}

impl Content {
    /// What the file wants of the server's copy.
    #[must_use]
    pub fn of_file(schedule: &Schedule, enabled: bool) -> Self {
        let definition = schedule.timetable.definition(enabled);
        Self {
            cadence: cadence(&definition),
            timezone: definition.timezone,
            name: some(schedule.name.as_deref()),
            description: some(schedule.description.as_deref()),
            parameters: schedule.parameters.clone(),
            enabled,
        }
    }

    /// What the server has.
    #[must_use]
    pub fn of_server(server: &ServerSchedule) -> Self {
        Self {
            cadence: server.cadence.clone(),
            timezone: server.timezone.clone(),
            name: some(server.name.as_deref()),
            description: without_marker(server.description.as_deref()),
            parameters: server.parameters.clone(),
            enabled: server.enabled,
        }
    }

    /// The request that makes the server's copy like this. An interval begins at the first of its instants that the server
    /// still takes. `None`: nothing says when it is due.
    #[must_use]
    pub fn draft(&self, marker: &Marker, enabled: bool, now: DateTime<Utc>) -> Option<ScheduleDraft> {
        let cadence = match self.cadence.clone()? {
            ServerCadence::Interval { interval_seconds, first_fire_at } => ServerCadence::Interval {
                interval_seconds,
                first_fire_at: first_fire_at.map(|first| {
                    let soonest = now + TimeDelta::seconds(AHEAD_SECONDS);
                    first.max(on_grid(first, interval_seconds, soonest))
                }),
            },
            other => other,
        };
        Some(ScheduleDraft {
            cadence,
            timezone: self.timezone.clone(),
            name: self.name.clone(),
            description: Some(marker.added_to(self.description.as_deref())),
            parameters: self.parameters.clone(),
            enabled,
        })
    }

    /// What of `self`, which is at the server, is not as `wanted`. Whether it fires is not part of it.
    #[must_use]
    pub fn differences(&self, wanted: &Self, now: DateTime<Utc>) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        let mut compare = |field: &'static str, before: Value, after: Value| {
            if !same(&before, &after) {
                changes.push(FieldChange { field, before, after });
            }
        };
        if !same_cadence(self.cadence.as_ref(), wanted.cadence.as_ref(), now) {
            let (before, after) = (cadence_fields(self.cadence.as_ref()), cadence_fields(wanted.cadence.as_ref()));
            for field in CADENCE_FIELDS {
                let value = |fields: &Map<String, Value>| fields.get(field).cloned().unwrap_or_default();
                compare(field, value(&before), value(&after));
            }
        }
        compare("timezone", json!(self.timezone), json!(wanted.timezone));
        compare("name", json!(self.name), json!(wanted.name));
        compare("description", json!(self.description), json!(wanted.description));
        compare("parameters", parameters(&self.parameters), parameters(&wanted.parameters));
        changes
    }

    /// As it is stored.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut fields = cadence_fields(self.cadence.as_ref());
        fields.insert("timezone".to_owned(), json!(self.timezone));
        fields.insert("name".to_owned(), json!(self.name));
        fields.insert("description".to_owned(), json!(self.description));
        fields.insert("parameters".to_owned(), Value::Object(self.parameters.clone()));
        fields.insert("enabled".to_owned(), json!(self.enabled));
        Value::Object(fields).to_string()
    }

    /// The way back; `None`: not written by this program.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        let Value::Object(fields) = serde_json::from_str(text).ok()? else { return None };
        let text = |field: &str| fields.get(field).and_then(Value::as_str).map(str::to_owned);
        let instant = |field: &str| fields.get(field).and_then(Value::as_str).and_then(parse_rfc3339);
        let interval = fields.get("interval_seconds").and_then(Value::as_u64);
        let cadence = match (text("cron_expression"), interval, instant("run_at")) {
            (Some(expression), None, None) => Some(ServerCadence::Cron(expression)),
            (None, Some(interval_seconds), None) => {
                Some(ServerCadence::Interval { interval_seconds, first_fire_at: instant("first_fire_at") })
            }
            (None, None, Some(run_at)) => Some(ServerCadence::Once { run_at }),
            _ => None,
        };
        Some(Self {
            cadence,
            timezone: text("timezone")?,
            name: text("name"),
            description: text("description"),
            parameters: fields.get("parameters").and_then(Value::as_object).cloned().unwrap_or_default(),
            enabled: fields.get("enabled").and_then(Value::as_bool)?,
        })
    }
}

const CADENCE_FIELDS: [&str; 4] = ["cron_expression", "interval_seconds", "first_fire_at", "run_at"];

fn some(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn cadence(definition: &Definition) -> Option<ServerCadence> {
    let instant = |text: &Option<String>| text.as_deref().and_then(parse_rfc3339);
    match (&definition.cron_expression, definition.interval_seconds, instant(&definition.run_at)) {
        (Some(expression), ..) => Some(ServerCadence::Cron(expression.clone())),
        (None, Some(interval_seconds), _) => {
            Some(ServerCadence::Interval { interval_seconds, first_fire_at: instant(&definition.first_fire_at) })
        }
        (None, None, run_at) => run_at.map(|run_at| ServerCadence::Once { run_at }),
    }
}

fn cadence_fields(cadence: Option<&ServerCadence>) -> Map<String, Value> {
    let mut fields = Map::new();
    match cadence {
        None => {}
        Some(ServerCadence::Cron(expression)) => {
            fields.insert("cron_expression".to_owned(), json!(expression));
        }
        Some(ServerCadence::Interval { interval_seconds, first_fire_at }) => {
            fields.insert("interval_seconds".to_owned(), json!(interval_seconds));
            fields.insert("first_fire_at".to_owned(), json!(first_fire_at.map(rfc3339)));
        }
        Some(ServerCadence::Once { run_at }) => {
            fields.insert("run_at".to_owned(), json!(rfc3339(*run_at)));
        }
    }
    fields
}

/// Intervals are the same where their instants are, from about now on: the server was given a later first one.
fn same_cadence(server: Option<&ServerCadence>, wanted: Option<&ServerCadence>, now: DateTime<Utc>) -> bool {
    match (server, wanted) {
        (
            Some(ServerCadence::Interval { interval_seconds: at_server, first_fire_at: Some(first_at_server) }),
            Some(ServerCadence::Interval { interval_seconds, first_fire_at: Some(first) }),
        ) => {
            let latest = (*first).max(on_grid(*first, *interval_seconds, now + TimeDelta::seconds(AHEAD_SECONDS)));
            at_server == interval_seconds
                && on_grid(*first, *interval_seconds, *first_at_server) == *first_at_server
                && (first..=&latest).contains(&first_at_server)
        }
        (
            Some(ServerCadence::Interval { interval_seconds: at_server, first_fire_at: None }),
            Some(ServerCadence::Interval { interval_seconds, .. }),
        ) => at_server == interval_seconds,
        (server, wanted) => server == wanted,
    }
}

/// The first instant of an interval's grid that is not before `instant`. The grid goes on before its first instant, too.
fn on_grid(first: DateTime<Utc>, interval_seconds: u64, instant: DateTime<Utc>) -> DateTime<Utc> {
    let interval = i64::try_from(interval_seconds).unwrap_or(i64::MAX).max(1);
    let from = instant.timestamp().saturating_add(i64::from(instant.timestamp_subsec_nanos() > 0));
    let missing = (first.timestamp() - from).rem_euclid(interval);
    DateTime::from_timestamp(from.saturating_add(missing), 0).unwrap_or(instant)
}

/// The server stores nothing, nulls and an empty object all as nothing.
fn parameters(map: &Map<String, Value>) -> Value {
    let kept: Map<String, Value> =
        map.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone())).collect();
    if kept.is_empty() { Value::Null } else { Value::Object(kept) }
}

/// Whether two values are the same on the wire: a whole number may come back without its `.0`.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| same(one, other)))
        }
        _ => one == other,
    }
}
