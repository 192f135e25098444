//! `[secrets]`: where the secrets are that templates speak of by name. The secrets themselves are never in the file.

use std::{collections::BTreeMap, ops::Range, path::Path};

use serde_json::{Value, json};
use toml::de::DeValue;

use super::{
    api::{RawKey, source},
    problem::{Code, Problem},
    reader::{At, FromToml, Reading},
    settings::ApiKeySource,
};

/// Secrets that a file can name.
const SECRETS_MAX: usize = 1000;

/// `[secrets]` as it is written: a name and a table that says where, for each.
#[derive(Debug, Clone)]
pub(super) struct RawSecrets(Vec<(String, Range<usize>, RawKey, Range<usize>)>);

impl FromToml for RawSecrets {
    const EXPECTED: &'static str = "a table";

    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Table(table) = value else {
            reading.hide(span);
            reading.wrong_type(
                span,
                Self::EXPECTED,
                value,
                Some("write name = { env = \"VARIABLE\" } below [secrets]"),
            );
            return None;
        };
        let mut secrets = Vec::with_capacity(table.len());
        for (key, item) in table {
            let raw = RawKey::from_toml(item.get_ref(), &item.span(), reading);
            secrets.extend(raw.map(|raw| (key.get_ref().to_string(), key.span(), raw, item.span())));
        }
        Some(Self(secrets))
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "patternProperties": { "^[A-Za-z_][A-Za-z0-9_]*$": RawKey::schema() },
            "additionalProperties": false,
        })
    }
}

/// Checks `[secrets]`.
pub(super) fn check(
    raw: Option<&At<RawSecrets>>,
    file: &Path,
    reading: &mut Reading<'_>,
) -> BTreeMap<String, ApiKeySource> {
    let Some(raw) = raw else { return BTreeMap::new() };
    if raw.value.0.len() > SECRETS_MAX {
        reading.add(&raw.span, Problem::error(Code::BadValue, format!("more than {SECRETS_MAX} secrets")));
    }
    let mut secrets = BTreeMap::new();
    for (name, name_span, key, span) in &raw.value.0 {
        // A name that a template cannot say is of no use.
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            reading.add(
                name_span,
                Problem::error(Code::BadValue, "a secret's name has letters, digits and _ only")
                    .hint("templates say it as {{ secrets.name }}"),
            );
        }
        if let Some(source) = source(key, span, name, file, reading) {
            secrets.insert(name.clone(), source);
        }
    }
    secrets
}
