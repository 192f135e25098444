//! Links between the pages: each leads to a file that is there, and every page is in the table of contents.

use std::{fs, path::Path};

use crate::source;

/// Every page: the README, what stands beside it, and the handbook.
fn pages() -> Vec<String> {
    let mut pages = vec![];
    for folder in ["", "systemd", "docs/src", "docs/src/reference"] {
        for entry in fs::read_dir(source(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                pages.push(if folder.is_empty() { name } else { format!("{folder}/{name}") });
            }
        }
    }
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// What stands between `](` and `)`.
fn targets(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// How renderers name a heading.
fn anchors(text: &str) -> Vec<String> {
    let heading = |line: &str| {
        let kept = |c: &char| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_';
        line.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
    };
    text.lines().filter(|line| line.starts_with('#')).map(heading).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut counted = 0;
    for page in pages() {
        let text = fs::read_to_string(source(&page)).unwrap();
        for target in targets(&text).into_iter().filter(|target| !target.contains("://")) {
            counted += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let folder = Path::new(&page).parent().unwrap();
            let path = if file.is_empty() { source(&page) } else { source("").join(folder).join(file) };
            assert!(path.exists(), "{page} links to {target}");
            if !anchor.is_empty() {
                let other = fs::read_to_string(&path).unwrap();
                assert!(
                    anchors(&other).iter().any(|known| known == anchor),
                    "{page} links to {target}: {:?}",
                    anchors(&other)
                );
            }
        }
    }
    assert!(counted > 20, "{counted}");
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let summary = fs::read_to_string(source("docs/src/SUMMARY.md")).unwrap();
    let listed = targets(&summary);
    for page in pages() {
        if let Some(name) = page.strip_prefix("docs/src/").filter(|name| *name != "SUMMARY.md") {
            assert!(listed.contains(&name), "{name} is not in SUMMARY.md");
        }
    }
}
