//! What the README and the handbook (`docs/`) say is held to the program: generated pages and pictures are current, files and
//! queries work, commands are run, links lead somewhere.
//!
//! `SKYCRON_WRITE_DOCS=1 cargo test --test handbook` writes the generated files anew. Prose is not judged.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    fs,
    path::{Path, PathBuf},
};

mod commands;
mod dashboard;
mod generated;
mod links;

mod pages;
mod readme;
mod timelines;

/// A path of the source tree.
fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Holds a generated file to what the program says now, or writes it where that is asked for.
fn is_current(path: &str, expected: &str) {
    let file = source(path);
    if std::env::var_os("SKYCRON_WRITE_DOCS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, expected).unwrap();
        return;
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "{path} is not what the program says (line {}): SKYCRON_WRITE_DOCS=1 cargo test --test handbook writes it anew",
        differs.map_or_else(|| found.lines().count().min(expected.lines().count()), |line| line + 1),
    );
}
