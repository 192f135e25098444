//! The tables of the calendar through the real binary: every row of `tests/data/occurrences.toml` and
//! `tests/data/refusals.toml`. `tests/calendar` looks at the same rows from inside, and says what they mean.

use std::path::Path;

use crate::support::Project;

/// The rows of a table, and the text of one of their keys.
fn rows(name: &str) -> Vec<toml::Table> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let table: toml::Table = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let rows = table["row"].as_array().unwrap().iter().map(|row| row.as_table().unwrap().clone());
    rows.collect()
}

fn text<'a>(row: &'a toml::Table, key: &str) -> Option<&'a str> {
    row.get(key).map(|value| value.as_str().unwrap())
}

fn zone_files() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/zoneinfo").display().to_string()
}

/// `next` in JSON gives the row's instants, in UTC and on the clocks of the zone.
#[track_caller]
fn check(project: &Project, args: &[&str], row: &toml::Table) {
    let expected: Vec<_> = row["expected"].as_array().unwrap().iter().map(|at| at.as_str().unwrap()).collect();
    let count = expected.len().to_string();
    let after = text(row, "after").unwrap();
    let common = ["next", "--format", "json", "--after", after, "--count", &count];
    let ran = project.run(&[&common[..], args].concat()).code(0);
    let objects = ran.objects();
    let found: Vec<_> = objects.iter().map(|object| object["scheduled_for"].as_str().unwrap()).collect();
    assert_eq!(found, expected, "{row:?}");
    for object in &objects {
        let local = chrono::DateTime::parse_from_rfc3339(object["local"].as_str().unwrap()).unwrap();
        assert_eq!(local, chrono::DateTime::parse_from_rfc3339(object["scheduled_for"].as_str().unwrap()).unwrap());
    }
}

/// From a file with the row's policies; and, where it has none of its own, from the command line.
#[test]
fn occurrences() {
    for row in rows("occurrences.toml") {
        let mut file = String::new();
        if let Some(rules) = text(&row, "rules") {
            file += &format!("zone_rules = \"{rules}\"\n");
        }
        file += "[[schedule]]\nid = \"row\"\nworkflow_id = \"wpid_1\"\n";
        file += &format!("cron_expression = \"{}\"\n", text(&row, "expression").unwrap());
        file += &format!("timezone = \"{}\"\n", text(&row, "zone").unwrap());
        for key in ["gap", "fold"] {
            if let Some(word) = text(&row, key) {
                file += &format!("{key} = \"{word}\"\n");
            }
        }
        let project = Project::with_file(&file).variable("TZDIR", &zone_files());
        check(&project, &["row"], &row);
        if !["rules", "gap", "fold"].iter().any(|key| row.contains_key(*key)) {
            let args = ["--cron", text(&row, "expression").unwrap(), "--timezone", text(&row, "zone").unwrap()];
            check(&project, &args, &row);
        }
    }
}

/// Refused with exit code 2 and without data; the message, and the expression that was probably meant, are there.
#[test]
fn refusals() {
    let project = Project::new();
    for row in rows("refusals.toml") {
        let expression = text(&row, "expression").unwrap();
        // In one argument: some expressions begin with a sign.
        let ran = project.run(&["next", &format!("--cron={expression}")]).code(2).stdout_is("");
        // Lines are broken to the width of the terminal.
        let flat =
            |text: &str| text.split([' ', '\n', '│']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let said = flat(&ran.stderr);
        for part in [text(&row, "message"), text(&row, "correction")].into_iter().flatten() {
            assert!(said.contains(&flat(part)), "no {part:?} for {expression:?} in\n{}", ran.stderr);
        }
    }
}
