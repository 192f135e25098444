//! What the tests share: a project (a folder of its own with a file in it) and a way to run the real binary there, with an
//! environment that holds nothing of the machine's.

mod daemon;

pub(crate) use daemon::Daemon;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A folder of its own, gone when it is dropped.
pub(crate) struct Project {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

impl Project {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder for a test"), variables: Vec::new() }
    }

    /// One with this `schedules.toml`.
    pub(crate) fn with_file(text: &str) -> Self {
        let project = Self::new();
        project.write("schedules.toml", text);
        project
    }

    /// Adds a variable to the environment of everything that is run here.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file in it.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("a file of a test is written");
    }

    /// The binary, not started yet: in this folder, with an environment that has a home folder here, a zone that must not
    /// matter, and no zone files, so that the rules are always those that are built in.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skycron"));
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .env("LANG", "C.UTF-8")
            .env("TZ", "Asia/Kathmandu")
            .env("TZDIR", "/nowhere/zoneinfo")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let output = self.command().args(args).output().expect("the binary runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the binary prints UTF-8");
        Ran {
            args: args.iter().map(ToString::to_string).collect(),
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            folder: self.dir.path().to_owned(),
        }
    }

    /// The names of everything in it, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).expect("the folder of a test is read");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// What came of a run of the binary. The assertions return it, so that they can be chained.
pub(crate) struct Ran {
    args: Vec<String>,
    code: Option<i32>,
    /// What it printed as data.
    pub(crate) stdout: String,
    /// What it said.
    pub(crate) stderr: String,
    folder: PathBuf,
}

impl Ran {
    fn context(&self) -> String {
        format!(
            "\nskycron {}\n-- code {:?}\n-- stdout\n{}\n-- stderr\n{}",
            self.args.join(" "),
            self.code,
            self.stdout,
            self.stderr
        )
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, Some(expected), "{}", self.context());
        self
    }

    /// Asserts all of standard output; `[DIR]` stands for the project's folder.
    #[track_caller]
    pub(crate) fn stdout_is(self, expected: &str) -> Self {
        assert_eq!(self.without_folder(&self.stdout), expected, "{}", self.context());
        self
    }

    /// Asserts all of standard error; `[DIR]` stands for the project's folder.
    #[track_caller]
    pub(crate) fn stderr_is(self, expected: &str) -> Self {
        assert_eq!(self.without_folder(&self.stderr), expected, "{}", self.context());
        self
    }

    /// Asserts a part of standard output.
    #[track_caller]
    pub(crate) fn stdout_has(self, part: &str) -> Self {
        assert!(self.stdout.contains(part), "no {part:?} in standard output{}", self.context());
        self
    }

    /// Asserts a part of standard error.
    #[track_caller]
    pub(crate) fn stderr_has(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "no {part:?} in standard error{}", self.context());
        self
    }

    /// Asserts that a text is nowhere in what was printed.
    #[track_caller]
    pub(crate) fn never_shows(self, text: &str) -> Self {
        assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "shows {text:?}{}", self.context());
        self
    }

    /// Standard output as one JSON object a line.
    #[track_caller]
    pub(crate) fn objects(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}{}", self.context()));
        self.stdout.lines().map(parse).collect()
    }

    fn without_folder(&self, text: &str) -> String {
        text.replace(&folder_text(&self.folder), "[DIR]")
    }
}

fn folder_text(folder: &Path) -> String {
    folder.display().to_string()
}
