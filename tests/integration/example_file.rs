//! `schedules.example.toml` and the code say the same: every key of the code is in the file, the file has no other, and
//! what it shows as a default is one.

use skycron::config::{Config, Environment, tables};

pub(crate) const EXAMPLE: &str = include_str!("../../schedules.example.toml");

fn parse(text: &str) -> Config {
    // Rules that are built in, whatever the machine has.
    let environment = Environment::from_pairs([("TZDIR", "/nowhere")]);
    Config::parse("schedules.example.toml".as_ref(), text, &environment)
        .unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// A line that begins with # and a key, or a table's header, is a line of the file that is not in force.
pub(crate) fn uncommented() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => rest.to_owned(),
        _ => line.to_owned(),
    };
    EXAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn it_is_good_as_it_is() {
    let config = parse(EXAMPLE);
    assert_eq!(config.warnings.list, [], "no warnings either");
    let ids: Vec<_> = config.schedules.iter().map(|schedule| schedule.id.as_str()).collect();
    assert_eq!(ids, ["weekday-report", "hourly-prices", "monthly-invoices"]);
}

#[test]
fn its_timetables_hold_no_surprise() {
    let now = skycron::clock::parse_rfc3339("2026-11-22T00:00:00Z").unwrap();
    assert_eq!(parse(EXAMPLE).surprises(now), []);
}

#[test]
fn what_it_shows_as_a_default_is_the_default() {
    let (plain, all) = (parse(EXAMPLE), parse(&uncommented()));
    assert_eq!(format!("{:#?}", plain.settings), format!("{:#?}", all.settings));
    for (plain, all) in plain.schedules.iter().zip(&all.schedules) {
        assert_eq!(format!("{plain:#?}"), format!("{all:#?}"));
    }
    assert_eq!(all.schedules.len(), plain.schedules.len() + 2);
}

#[test]
fn every_key_of_the_code_is_in_it() {
    let tree: toml::Table = uncommented().parse().unwrap();
    let (defaults, schedules) = (&tree["defaults"], tree["schedule"].as_array().unwrap());
    for table in tables() {
        for key in table.keys.iter().map(|key| key.name) {
            let there = match table.name {
                "" if key == "notify" => EXAMPLE.contains("\n# [notify."),
                "" if key == "webhook" => EXAMPLE.contains("\n# [webhook]"),
                "" => tree.contains_key(key),
                "schedule" => schedules.iter().chain([defaults]).any(|schedule| schedule.get(key).is_some()),
                "schedule.retry" => {
                    schedules.iter().filter_map(|s| s.get("retry")).any(|retry| retry.get(key).is_some())
                }
                // They are not there unless somebody makes them.
                "notify" | "webhook" => EXAMPLE.contains(&format!("\n# {key} = ")),
                "secrets" => tree.contains_key("secrets"),
                // One of the three can be in force; the others are shown beside it.
                "api.api_key" => EXAMPLE.contains(&format!("{{ {key} = ")),
                table => tree[table].get(key).is_some(),
            };
            assert!(there, "{key:?} of {:?} is not in schedules.example.toml", table.name);
        }
    }
}
