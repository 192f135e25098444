//! The way back: schedules of the server as a file that `check` accepts, and whose plan against that server is empty. Each
//! names its copy (`server_schedule_id`), so that the mirror takes it over without a change. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use toml::{Table, Value as Toml};

use super::{content::Content, marker::Marker};
use crate::{
    clock::rfc3339,
    ids::{Instance, NAME_BYTES_MAX, ScheduleId},
    skyvern::{ServerCadence, ServerSchedule},
};

/// Schedules of the server as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The file, with a comment for each schedule that is left out.
    pub text: String,
    /// Schedules in it.
    pub taken: usize,
    /// Schedules that the file cannot express.
    pub left_out: usize,
}

/// The head of a file that has everything that its schedules need.
const HEAD: &str = "\
# Schedules of the server, as `skycron mirror import` found them. Each names its copy there, and the server goes on to fire
# it; with fires = \"local\" this daemon does, and the copy is disabled.

[mirror]
enabled = true
";

/// Writes the file. `accept` says what is wrong with a file (or a schedule of one), as `check` would.
#[must_use]
pub fn import(server: &[ServerSchedule], instance: &Instance, accept: impl Fn(&str) -> Result<(), String>) -> Imported {
    let mut ids = BTreeSet::new();
    let mut imported = Imported { text: HEAD.to_owned(), taken: 0, left_out: 0 };
    let mut sorted: Vec<&ServerSchedule> = server.iter().collect();
    // Oldest first: the order does not change when one is added.
    sorted.sort_by_key(|schedule| (schedule.created_at, schedule.id.clone()));
    for schedule in sorted {
        let block = expressed(schedule, instance, &ids).and_then(|(id, block)| {
            accept(&format!("{HEAD}\n{block}")).map_err(|why| why.replace('\n', " "))?;
            Ok((id, block))
        });
        match block {
            Ok((id, block)) => {
                ids.insert(id);
                imported.taken += 1;
                imported.text += &format!("\n{block}");
            }
            Err(why) => {
                imported.left_out += 1;
                let name = schedule.name.as_deref().map_or(String::new(), |name| format!(" ({name:?})"));
                imported.text += &format!("\n# {}{name} of {} is left out: {why}\n", schedule.id, schedule.workflow_id);
            }
        }
    }
    imported
}

/// One schedule as TOML, or why that cannot be.
fn expressed(
    schedule: &ServerSchedule,
    instance: &Instance,
    taken: &BTreeSet<ScheduleId>,
) -> Result<(ScheduleId, String), String> {
    let marker = Marker::find(schedule.description.as_deref());
    if let Some(marker) = marker.as_ref().filter(|marker| marker.instance != *instance) {
        return Err(format!("it belongs to another skycron, instance {}", marker.instance));
    }
    let wished = marker.map(|marker| marker.schedule);
    let id = free_id(wished, schedule, taken).ok_or("no id can be made for it")?;
    let content = Content::of_server(schedule);
    let mut table = Table::new();
    let mut put = |key: &str, value: Toml| table.insert(key.to_owned(), value);
    put("id", id.as_str().into());
    put("workflow_id", schedule.workflow_id.as_str().into());
    put("server_schedule_id", schedule.id.as_str().into());
    put("fires", "server".into());
    match &content.cadence {
        Some(ServerCadence::Cron(expression)) => put("cron_expression", expression.as_str().into()),
        Some(ServerCadence::Interval { interval_seconds, first_fire_at: Some(first) }) => {
            put("interval_seconds", i64::try_from(*interval_seconds).map_err(|error| error.to_string())?.into());
            let first = rfc3339(*first).parse().map_err(|_| "its first instant is no date".to_owned())?;
            put("first_fire_at", Toml::Datetime(first))
        }
        Some(ServerCadence::Interval { .. }) => return Err("the server does not tell when it began".to_owned()),
        Some(ServerCadence::Once { .. }) => return Err("it is due once, which is not mirrored".to_owned()),
        None => return Err("it is due in a way that this version of skycron does not know".to_owned()),
    };
    put("timezone", content.timezone.as_str().into());
    if !content.enabled {
        put("enabled", false.into());
    }
    content.name.map(|name| put("name", name.into()));
    content.description.map(|description| put("description", description.into()));
    if !content.parameters.is_empty() {
        put("parameters", Toml::Table(parameters(&content.parameters)?));
    }
    // Parameters stand in the schedule's own lines: what follows a table of its own would be taken for more of it.
    let mut text = "[[schedule]]\n".to_owned();
    for (key, value) in &table {
        text += &format!("{key} = {value}\n");
    }
    Ok((id, text))
}

/// The server takes an absent value and a null for the same; what is left must have a form in TOML.
fn parameters(map: &Map<String, Value>) -> Result<Table, String> {
    let kept = map.iter().filter(|(_, value)| !value.is_null());
    kept.map(|(key, value)| Ok((key.clone(), toml_value(key, value)?))).collect()
}

fn toml_value(key: &str, value: &Value) -> Result<Toml, String> {
    Ok(match value {
        Value::Null => return Err(format!("its parameter {key:?} holds a null, which TOML does not have")),
        Value::Bool(value) => Toml::Boolean(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Toml::Integer(number),
            (None, Some(number)) if !number.is_nan() && !value.is_u64() => Toml::Float(number),
            _ => return Err(format!("its parameter {key:?} holds {number}, which TOML does not have")),
        },
        Value::String(text) => Toml::String(text.clone()),
        Value::Array(items) => Toml::Array(items.iter().map(|item| toml_value(key, item)).collect::<Result<_, _>>()?),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| Ok((name.clone(), toml_value(key, value)?)));
            Toml::Table(fields.collect::<Result<_, String>>()?)
        }
    })
}

/// An id from the marker, the name, or the server's own id; with a number behind it where it is taken.
fn free_id(wished: Option<ScheduleId>, schedule: &ServerSchedule, taken: &BTreeSet<ScheduleId>) -> Option<ScheduleId> {
    let named = schedule.name.as_deref().and_then(slug);
    let base = wished.or(named).or_else(|| slug(schedule.id.as_str()))?;
    if !taken.contains(&base) {
        return Some(base);
    }
    let room = NAME_BYTES_MAX - 8;
    let stem = &base.as_str()[..base.as_str().len().min(room)];
    (2..=9_999_999_u32)
        .find_map(|number| ScheduleId::new(&format!("{stem}-{number}")).ok().filter(|id| !taken.contains(id)))
}

/// A name as an id: lower case, what is no letter or digit as a dash. `None`: nothing is left of it.
fn slug(name: &str) -> Option<ScheduleId> {
    let mut id = String::new();
    for character in name.chars() {
        if character.is_ascii_alphanumeric() || (matches!(character, '_' | '.') && !id.is_empty()) {
            id.push(character.to_ascii_lowercase());
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
        if id.len() == NAME_BYTES_MAX {
            break;
        }
    }
    ScheduleId::new(id.trim_end_matches(['-', '_', '.'])).ok()
}
