//! What only the README says: its file, its demo, and the names of commands, exit codes and statuses.

use std::{fs, path::Path, process::Command};

use skycron::engine::Status;

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let readme = readme();
    let fence = format!("```{language}\n");
    readme.split(&fence).skip(1).filter_map(|rest| rest.split("\n```").next()).map(str::to_owned).collect()
}

fn skycron(arguments: &[&str], folder: &Path) -> (bool, String) {
    let ended = Command::new(env!("CARGO_BIN_EXE_skycron"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("SKYCRON_STATE_DIR", folder)
        .output()
        .unwrap();
    let text = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (ended.status.success(), text)
}

#[test]
fn files_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks("toml");
    assert!(blocks.len() >= 2);
    fs::write(folder.path().join("schedules.toml"), blocks.join("\n")).unwrap();
    let (good, text) = skycron(&["check"], folder.path());
    assert!(good, "{text}");
}

/// The first thing that anybody does. Its schedules are due at the next minute, so this takes one and a half at most.
#[test]
fn demo_ends_with_completed_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (good, text) = skycron(&["demo", "--for", "3m"], folder.path());
    assert!(good, "{text}");
    let (good, rows) = skycron(&["history", "--format", "json"], folder.path());
    assert!(good, "{rows}");
    let rows: Vec<serde_json::Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.len() >= 2, "{rows:#?}");
    for row in rows {
        assert_eq!(row["status"], "completed", "{row:#}");
        assert!(row["run_id"].is_string(), "{row:#}");
    }
}

#[test]
fn commands_are_those_of_the_program() {
    let readme = readme();
    let folder = tempfile::tempdir().unwrap();
    let (good, help) = skycron(&["--help"], folder.path());
    assert!(good, "{help}");
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    // clap indents each command by two, and what is said of it by more.
    let commands: Vec<_> = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() >= 8, "{help}");
    for command in commands {
        assert!(readme.contains(&format!("`{command}")), "`{command}` is not in the README");
    }
    let codes = help.split("Exit codes:\n").nth(1).unwrap();
    for line in codes.lines().filter(|line| line.starts_with("  ")) {
        let (code, meaning) = line.trim().split_once("  ").unwrap();
        assert!(readme.contains(&format!("| {code} | {meaning}")), "exit code {code} in the README: {meaning}");
    }
}

#[test]
fn statuses_are_those_of_the_program() {
    let readme = readme();
    for status in Status::ALL {
        assert!(readme.contains(&format!("`{status}`")), "`{status}` is not in the README");
    }
}
