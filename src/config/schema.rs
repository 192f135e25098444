//! The JSON Schema of the file, for editors: made from the same declarations as the parser.
//!
//! A schema is looser than the parser: it knows keys, types, words and bounds, and nothing of what needs a calendar, a zone or
//! two values side by side. What the parser takes, the schema takes.
//!
//! Written out by hand and not by schemars: the shapes are no serde types, so that a derive would find nothing to derive from.

use serde_json::{Map, Value, json};

use super::{file::RawFile, keys::Key, reader::Shape};

/// Draft 7: what the editors' TOML plug-ins read.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The JSON Schema of the file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = json!({
        "$schema": DRAFT,
        "title": "schedules.toml",
        "description": "The schedules of skycron",
    });
    merge(&mut schema, of_shape::<RawFile>());
    schema
}

/// The schema of a table.
pub(super) fn of_shape<S: Shape>() -> Value {
    let properties: Map<_, _> = S::keys().iter().map(|key| (key.name.to_owned(), of_key(key))).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    merge(&mut schema, S::rules());
    schema
}

fn of_key(key: &Key) -> Value {
    let mut schema = key.schema.clone();
    let mut description = key.paragraph();
    for (word, meaning) in &key.words {
        description += &format!("\n- {word}: {meaning}");
    }
    if let Some((least, most)) = key.bounds {
        description += &format!("\nFrom {least} to {most}.");
        if let (Some(least), Some(most)) = (number(least), number(most)) {
            merge(&mut schema, json!({ "minimum": least, "maximum": most }));
        }
    }
    merge(&mut schema, json!({ "description": description }));
    if let Some(default) = key.default_json() {
        merge(&mut schema, json!({ "default": default }));
    }
    schema
}

/// A number as it is written in the file.
fn number(written: &str) -> Option<u64> {
    written.replace('_', "").parse().ok()
}

impl Key {
    /// The default as JSON.
    #[must_use]
    pub fn default_json(&self) -> Option<Value> {
        let line = format!("value = {}", self.default?);
        let mut table: Map<String, Value> = toml::from_str(&line).ok()?;
        table.remove("value")
    }
}

fn merge(schema: &mut Value, more: Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}
