//! The Grafana dashboard asks for metrics that there are.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::source;

/// The words of a text that are the names of metrics.
fn metrics(text: &str) -> BTreeSet<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c)).filter(|name| name.starts_with("skycron_")).collect()
}

/// The names of the metrics in the program: what a text of its source begins with a quotation mark and `skycron_`.
fn names_in(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names_in(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            names.extend(
                code.split("\"skycron_")
                    .skip(1)
                    .filter_map(|rest| rest.split('"').next())
                    .map(|rest| format!("skycron_{rest}")),
            );
        }
    }
}

#[test]
fn dashboard_asks_for_what_there_is() {
    let board: Value =
        serde_json::from_str(&fs::read_to_string(source("docs/src/grafana-dashboard.json")).unwrap()).unwrap();
    let mut known = BTreeSet::new();
    names_in(&source("src"), &mut known);
    let mut asked = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let found = metrics(target["expr"].as_str().unwrap());
            assert!(!found.is_empty(), "{target}");
            asked.extend(found.into_iter().map(|name| {
                let bare = name.strip_suffix("_bucket").unwrap_or(name);
                bare.to_owned()
            }));
        }
    }
    // Those that the handbook shows, too.
    let page = fs::read_to_string(source("docs/src/running.md")).unwrap();
    asked.extend(metrics(&page).into_iter().map(str::to_owned));
    let missing: Vec<_> = asked.difference(&known).collect();
    assert!(missing.is_empty(), "there is no metric {missing:?}; there are {known:?}");
    assert!(asked.len() >= 10, "{asked:?}");
}
