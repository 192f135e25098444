//! What all commands have in common: help, usage errors, where the file is looked for, a reader that goes away.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use crate::support::Project;

const FILE: &str = "[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 * * *\"\n";

#[test]
fn help_names_every_command_the_places_and_the_exit_codes() {
    let help = Project::new().run(&["--help"]).code(0).stderr_is("");
    for part in [
        "run",
        "check",
        "next",
        "history",
        "show",
        "trigger",
        "sandbox",
        "demo",
        "SKYCRON_CONFIG",
        "STATE_DIRECTORY",
        "Exit codes:",
        "another daemon holds the history",
        "Examples:",
    ] {
        assert!(help.stdout.contains(part), "{part:?} is not in --help");
    }
    for command in ["run", "check", "next", "history", "show", "trigger", "doctor", "sandbox", "demo"] {
        Project::new().run(&[command, "--help"]).code(0).stdout_has(&format!("Usage: skycron {command}"));
    }
}

#[test]
fn wrong_arguments_are_code_2() {
    let check = |args: &[&str], part: &str| {
        Project::new().run(args).code(2).stdout_is("").stderr_has(part);
    };
    check(&[], "Usage: skycron");
    check(&["chek"], "'check'");
    check(&["next", "--count", "many"], "invalid value 'many'");
    check(&["next", "--after", "tomorrow"], "give an instant with its offset");
    check(&["next", "--timezone", "UTC"], "--cron <EXPR>");
    check(&["next", "a", "--cron", "0 9 * * *"], "cannot be used with");
    check(&["check", "--format", "yaml"], "possible values: text, json");
}

#[test]
fn the_file_is_looked_for_in_order() {
    let project = Project::with_file(FILE).variable("SKYCRON_CONFIG", "named.toml");
    project.write("named.toml", FILE.replace("\"a\"", "\"from-variable\""));
    project.write("option.toml", FILE.replace("\"a\"", "\"from-option\""));
    project.run(&["next", "-n", "1", "--config", "option.toml"]).code(0).stdout_has("from-option");
    project.run(&["next", "-n", "1"]).code(0).stdout_has("from-variable");
    Project::with_file(FILE).run(&["next", "-n", "1"]).code(0).stdout_has("\na  ");
}

#[test]
fn an_empty_variable_counts_as_absent() {
    Project::with_file(FILE).variable("SKYCRON_CONFIG", "").run(&["check"]).code(0).stdout_has("1 schedule");
}

#[test]
fn in_json_an_error_is_an_object_too() {
    let ran = Project::with_file(FILE).run(&["next", "b", "--format", "json"]).code(2).stdout_is("");
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).expect("an object");
    assert_eq!(error["severity"], "error");
    assert_eq!(error["message"], "schedules.toml has no schedule \"b\"");
}

#[test]
fn a_reader_that_goes_away_is_not_a_failure() {
    let project = Project::with_file(FILE);
    let mut child = project
        .command()
        .args(["next", "--count", "100000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut first = String::new();
    BufReader::with_capacity(64, child.stdout.take().expect("a pipe")).read_line(&mut first).expect("a line");
    let output = child.wait_with_output().expect("the binary ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
