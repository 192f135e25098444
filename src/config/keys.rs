//! The vocabulary of the file: every table with its keys, what is planned and not there yet, and what somebody probably
//! meant by a key that does not exist.
//!
//! The keys themselves are declared once, by the shapes; this only asks them.

use serde_json::Value;

use super::{
    api::{RawApi, RawKeySource},
    file::RawFile,
    history::RawHistory,
    http::RawHttp,
    mirror::RawMirror,
    notify::RawChannel,
    policies::RawRetry,
    problem::{Code, Problem},
    reader::Shape,
    schedule::{RawDefaults, RawSchedule},
    webhook::RawWebhook,
};

/// A key of the file, with everything that its reference says.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key itself.
    pub name: &'static str,
    /// What it is for: the lines of its documentation.
    pub doc: &'static str,
    /// What kind of value it takes, in words.
    pub takes: &'static str,
    /// Where only certain words are possible: each with its meaning.
    pub words: Vec<(&'static str, &'static str)>,
    /// The least and the largest value, written as in the file.
    pub bounds: Option<(&'static str, &'static str)>,
    /// What holds if it is not set, written as in the file.
    pub default: Option<&'static str>,
    /// What a JSON Schema says of its value.
    pub(super) schema: Value,
}

impl Key {
    /// Its documentation as one paragraph.
    #[must_use]
    pub fn paragraph(&self) -> String {
        self.doc.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A table of the file.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name: `""` for the top level, `schedule.retry` for the table that the key `retry` takes.
    pub name: &'static str,
    /// Its keys, in the order of the reference.
    pub keys: Vec<Key>,
}

impl Table {
    fn of<S: Shape>() -> Self {
        Self { name: S::TABLE, keys: S::keys() }
    }

    /// How it is written in the file.
    #[must_use]
    pub fn header(&self) -> String {
        header(self.name)
    }
}

/// Every table with its keys.
#[must_use]
pub fn tables() -> Vec<Table> {
    vec![
        Table::of::<RawFile>(),
        Table::of::<RawApi>(),
        Table::of::<RawKeySource>(),
        Table::of::<RawHistory>(),
        Table::of::<RawHttp>(),
        Table::of::<RawWebhook>(),
        Table::of::<RawMirror>(),
        Table::of::<RawChannel>(),
        Table::of::<RawDefaults>(),
        Table::of::<RawSchedule>(),
        Table::of::<RawRetry>(),
    ]
}

/// Tables and keys that belong to the plan and are not in this version: they are refused by name, never ignored.
const LATER: &[(&str, &str)] = &[("schedule", "cdp_connect_headers")];

/// What people write who know another program, and what it is called here.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("schedules", "schedule"),
    ("cron", "cron_expression"),
    ("expression", "cron_expression"),
    ("interval", "interval_seconds"),
    ("tz", "timezone"),
    ("zone", "timezone"),
    ("workflow", "workflow_id"),
    ("agent_id", "workflow_id"),
    ("params", "parameters"),
    ("parameter", "parameters"),
    ("key", "api_key"),
    ("url", "base_url"),
    ("timeout", "run_timeout"),
    ("retries", "retry"),
    ("metadata", "run_metadata"),
    ("headers", "extra_http_headers"),
    ("concurrency", "overlap"),
    ("misfire", "catch_up"),
    ("template", "body"),
    ("events", "on"),
    ("deadman", "no_success_for"),
    ("dead_man", "no_success_for"),
];

/// How a table is written in the file.
fn header(table: &str) -> String {
    match table {
        "" => "the top of the file".to_owned(),
        "schedule" => "[[schedule]]".to_owned(),
        "api.api_key" => "api_key".to_owned(),
        "schedule.retry" => "retry".to_owned(),
        "notify" => "a channel of [notify]".to_owned(),
        table => format!("[{table}]"),
    }
}

/// The problem of a key that its table does not have, and the key that was probably meant.
pub(super) fn unknown(table: &str, key: &str) -> (Problem, Option<String>) {
    if LATER.contains(&(table, key)) {
        let problem = Problem::error(Code::NotAvailable, format!("`{key}` is not available in this version"));
        return (problem.hint("take it out: nothing would act on it"), None);
    }
    let what = if table.is_empty() { "the file has no".to_owned() } else { format!("{} has no", header(table)) };
    let problem = Problem::error(Code::UnknownKey, format!("{what} key `{key}`"));
    let tables = tables();
    let names = |table: &Table| table.keys.iter().map(|key| key.name).collect::<Vec<_>>();
    let known = tables.iter().find(|known| known.name == table).map(names).unwrap_or_default();
    let alias = OTHER_NAMES.iter().find(|(other, name)| *other == key && known.contains(name)).map(|(_, name)| *name);
    if let Some(name) = alias.or_else(|| nearest(key, known.iter().copied())) {
        return (problem.hint(format!("did you mean `{name}`?")), Some(name.to_owned()));
    }
    let home = tables.iter().find(|other| other.name != table && names(other).contains(&key));
    let problem = match home {
        Some(Table { name: "", .. }) => {
            problem.hint(format!("`{key}` belongs at the top of the file, before the first [table]"))
        }
        Some(home) => problem.hint(format!("`{key}` belongs to {}", home.header())),
        None => problem.hint(format!("it has: {}", known.join(", "))),
    };
    (problem, None)
}

/// Whether the value of a key that does not exist may be a secret, as under a slip in `api_key`.
pub(super) fn may_hold_a_secret(table: &str, key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    table.starts_with("api")
        || table == "notify"
        || ["key", "secret", "token", "password"].iter().any(|word| key.contains(word))
}

/// The name that somebody probably meant, if one is near enough.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', ' '], "_");
    let name = plain(name);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&name, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(table: &str, key: &str, hint: &str) {
        assert_eq!(unknown(table, key).0.hint.as_deref(), Some(hint), "{table:?} {key:?}");
    }

    #[test]
    fn a_slip_leads_to_the_name() {
        check("schedule", "cron_expresion", "did you mean `cron_expression`?");
        check("schedule", "catch-up", "did you mean `catch_up`?");
        check("schedule", "Timezone", "did you mean `timezone`?");
        check("schedule", "cron", "did you mean `cron_expression`?");
        check("", "schedules", "did you mean `schedule`?");
        check("", "workflow_id", "`workflow_id` belongs to [[schedule]]");
        check("schedule", "zone_rules", "`zone_rules` belongs at the top of the file, before the first [table]");
        check("api.api_key", "color", "it has: env, file, credential");
    }

    #[test]
    fn other_names_lead_to_keys_that_exist() {
        let tables = tables();
        let has = |table: &Table, name: &str| table.keys.iter().any(|key| key.name == name);
        for (other, name) in OTHER_NAMES {
            assert!(tables.iter().any(|table| has(table, name)), "{name}");
            // A key of its own beside the one that is meant would never be taken for a slip.
            assert!(!tables.iter().any(|table| has(table, name) && has(table, other)), "{other}");
        }
    }

    #[test]
    fn what_is_planned_is_not_known_yet() {
        for (table, key) in LATER {
            assert_eq!(unknown(table, key).0.code, Code::NotAvailable);
            let is_it = |known: Table| known.name == *table && known.keys.iter().any(|other| other.name == *key);
            let known = tables().into_iter().any(is_it);
            assert!(!known, "{table} {key}");
        }
    }
}
