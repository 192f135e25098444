//! Every command that the README and the handbook show is run: here, on a look-alike server, in the order of its page; or by
//! whom the comment above it names. Commands in running text are held to the command line's definitions.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use clap::CommandFactory;
use skycron::{
    cli::args::Cli,
    history::{DATABASE_FILE, HistoryOptions, Store},
    sandbox::{Behaviour, Sandbox, SandboxOptions},
    secret::Secret,
};

use crate::{
    pages::{Block, blocks, inline_code, pages},
    source,
};

const KEY: &str = "sandbox-key";
/// Shown, and run by nobody: each says why.
const NOT_RUN_MAX: usize = 6;

/// A folder as a reader of the page has it: the example as the file, with the look-alike's address, and a run in the history.
fn prepared(sandbox: &Sandbox) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let example = fs::read_to_string(source("schedules.example.toml")).unwrap();
    let address = format!("[api]\nbase_url = {:?}\npoll_interval = \"1s\"\n", sandbox.base_url());
    fs::write(folder.path().join("schedules.toml"), example.replacen("[api]\n", &address, 1)).unwrap();
    fs::copy(source("schedules.example.toml"), folder.path().join("schedules.example.toml")).unwrap();
    fs::create_dir(folder.path().join("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_skycron"), folder.path().join("bin/skycron")).unwrap();
    run("skycron trigger weekday-report --wait", folder.path()).unwrap();
    folder
}

fn run(script: &str, folder: &Path) -> Result<String, String> {
    let ended = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(folder)
        .env_clear()
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", folder.join("bin").display()))
        .env("HOME", folder)
        .env("SKYVERN_API_KEY", KEY)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    if ended.status.success() { Ok(text) } else { Err(format!("{}\n{text}", ended.status)) }
}

/// Whether the one whom a comment names is there: a file of the source tree, or a test.
fn is_there(name: &str) -> bool {
    source(name).exists()
        || ["commands.rs", "readme.rs"].iter().any(|file| {
            fs::read_to_string(source("tests/handbook").join(file)).unwrap().contains(&format!("fn {name}("))
        })
}

#[test]
fn commands_are_run() {
    let behaviour = Behaviour { run_time: Duration::from_millis(300), ..Behaviour::default() };
    let options =
        SandboxOptions { key: Secret::new(KEY.to_owned()), any_workflow: true, behaviour, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).unwrap();
    let (mut here, mut not_run) = (0, 0);
    for (name, page) in pages() {
        let folder = prepared(&sandbox);
        for Block { text, line, comment, .. } in blocks(&page).into_iter().filter(|block| block.language == "sh") {
            match comment.as_deref() {
                Some(comment) if comment.starts_with("run by ") => {
                    assert!(
                        is_there(&comment["run by ".len()..]),
                        "{name}:{line}: {comment}: there is no such file or test"
                    );
                }
                Some(comment) if comment.starts_with("not run: ") => not_run += 1,
                _ => {
                    here += 1;
                    run(&text, folder.path()).unwrap_or_else(|error| panic!("{name}:{line}: {error}\n{text}"));
                }
            }
        }
    }
    assert!(here > 10, "{here}");
    assert!(not_run <= NOT_RUN_MAX, "{not_run} blocks of commands are run by nobody");
}

#[test]
fn files_are_accepted() {
    let mut checked = 0;
    for (name, page) in pages().into_iter().filter(|(name, _)| name != "README.md") {
        for Block { text, line, .. } in blocks(&page).into_iter().filter(|block| block.language == "toml") {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("schedules.toml"), &text).unwrap();
            let ended = Command::new(env!("CARGO_BIN_EXE_skycron"))
                .arg("check")
                .current_dir(folder.path())
                .env_clear()
                .output()
                .unwrap();
            assert!(ended.status.success(), "{name}:{line}: {}\n{text}", String::from_utf8_lossy(&ended.stdout));
            checked += 1;
        }
    }
    assert!(checked >= 5, "{checked}");
}

#[test]
fn queries_run() {
    let folder = tempfile::tempdir().unwrap();
    Store::open(folder.path(), &HistoryOptions::default()).unwrap().close().unwrap();
    let path = folder.path().join(DATABASE_FILE);
    let connection = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut ran = 0;
    for (name, page) in pages() {
        for Block { text, line, .. } in blocks(&page).into_iter().filter(|block| block.language == "sql") {
            for query in text.split(';').filter(|query| !query.trim().is_empty()) {
                let mut statement =
                    connection.prepare(query).unwrap_or_else(|error| panic!("{name}:{line}: {error}:\n{query}"));
                assert!(statement.query([]).unwrap().next().unwrap().is_none(), "an empty history answered:\n{query}");
                ran += 1;
            }
        }
    }
    assert!(ran >= 8, "{ran}");
}

/// `skycron COMMAND --option` in running text: the command and its options exist.
#[test]
fn commands_in_running_text_exist() {
    let mut program = Cli::command();
    program.build();
    let mut counted = 0;
    for (name, page) in pages() {
        for code in inline_code(&page).iter().filter_map(|code| code.strip_prefix("skycron ")) {
            let mut words = code.split_whitespace().peekable();
            let Some(word) = words.next().filter(|word| !word.starts_with('-') && *word != "COMMAND") else { continue };
            let mut command =
                program.find_subcommand(word).unwrap_or_else(|| panic!("{name}: there is no `skycron {code}`"));
            while let Some(inner) = words.peek().and_then(|word| command.find_subcommand(word)) {
                command = inner;
                words.next();
            }
            counted += 1;
            for option in words.filter_map(|word| word.strip_prefix("--")) {
                let option = option.split('=').next().unwrap();
                let known = command.get_arguments().any(|known| known.get_long() == Some(option));
                assert!(known, "{name}: `skycron {word}` has no --{option}");
            }
        }
    }
    assert!(counted > 10, "{counted}");
}
