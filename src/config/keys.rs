//! The vocabulary of the file: every table with its keys, what is planned and not there yet, and what somebody probably
//! meant by a key that does not exist.
//!
//! The keys themselves are declared once, by the shapes; this only asks them.

use super::{
    api::{RawApi, RawKeySource},
    file::RawFile,
    history::RawHistory,
    http::RawHttp,
    mirror::RawMirror,
    notify::RawChannel,
    options::RawOptions,
    policies::{RawPolicies, RawRetry},
    problem::{Code, Problem},
    reader::Shape,
    schedule::{RawDefaults, RawSchedule},
    timetable::RawTimetable,
    webhook::RawWebhook,
};

/// Every table with its keys. The top level is `""`.
#[must_use]
pub fn tables() -> Vec<(&'static str, Vec<&'static str>)> {
    let join = |lists: &[&[&'static str]]| lists.concat();
    vec![
        (RawFile::TABLE, join(&[RawFile::KEYS])),
        (RawApi::TABLE, join(&[RawApi::KEYS])),
        (RawKeySource::TABLE, join(&[RawKeySource::KEYS])),
        (RawHistory::TABLE, join(&[RawHistory::KEYS])),
        (RawChannel::TABLE, join(&[RawChannel::KEYS])),
        (RawHttp::TABLE, join(&[RawHttp::KEYS])),
        (RawWebhook::TABLE, join(&[RawWebhook::KEYS])),
        (RawMirror::TABLE, join(&[RawMirror::KEYS])),
        (RawDefaults::TABLE, join(&[RawDefaults::KEYS, RawPolicies::KEYS])),
        (RawSchedule::TABLE, join(&[RawSchedule::KEYS, RawTimetable::KEYS, RawPolicies::KEYS, RawOptions::KEYS])),
        (RawRetry::TABLE, join(&[RawRetry::KEYS])),
    ]
}

/// Tables and keys that belong to the plan and are not in this version: they are refused by name, never ignored.
const LATER: &[(&str, &str)] = &[
    ("", "log"),
    ("schedule", "failover"),
    ("schedule", "server_grace"),
    ("schedule", "cdp_connect_headers"),
];

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
    let known = tables.iter().find(|(name, _)| *name == table).map_or(&[][..], |(_, keys)| keys);
    let alias = OTHER_NAMES.iter().find(|(other, name)| *other == key && known.contains(name)).map(|(_, name)| *name);
    if let Some(name) = alias.or_else(|| nearest(key, known.iter().copied())) {
        return (problem.hint(format!("did you mean `{name}`?")), Some(name.to_owned()));
    }
    let home = tables.iter().find(|(name, keys)| *name != table && keys.contains(&key));
    let problem = match home {
        Some(("", _)) => problem.hint(format!("`{key}` belongs at the top of the file, before the first [table]")),
        Some((home, _)) => problem.hint(format!("`{key}` belongs to {}", header(home))),
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
        for (other, name) in OTHER_NAMES {
            assert!(tables.iter().any(|(_, keys)| keys.contains(name)), "{name}");
            assert!(!tables.iter().any(|(_, keys)| keys.contains(other)), "{other}");
        }
    }

    #[test]
    fn what_is_planned_is_not_known_yet() {
        for (table, key) in LATER {
            assert_eq!(unknown(table, key).0.code, Code::NotAvailable);
            let known = tables().into_iter().any(|(name, keys)| name == *table && keys.contains(key));
            assert!(!known, "{table} {key}");
        }
    }
}
