//! A daemon of the real binary, as a test's own process.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::support::Project;

/// How long something may take that takes milliseconds on a machine with nothing else to do.
const LOOKS_MAX: usize = 600;

/// A running daemon, ended with this value.
pub(crate) struct Daemon<'a> {
    project: &'a Project,
    child: Child,
}

impl<'a> Daemon<'a> {
    /// Starts it on this project, with its state in `state`, and waits until it is up.
    pub(crate) fn start(project: &'a Project) -> Self {
        Self::start_with(project, &[], &["--log", "info"])
    }

    /// Starts it with these in its environment, and with these options.
    pub(crate) fn start_with(project: &'a Project, variables: &[(&str, &str)], options: &[&str]) -> Self {
        let log = File::create(project.path("log")).unwrap();
        let child = project
            .command()
            .args(["run", "--state-dir", "state"])
            .args(options)
            .env("SKYVERN_API_KEY", "k-1234")
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Self { project, child };
        daemon.wait_for("started: with", 1);
        daemon
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let told = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
    }

    /// Sends it a signal again and again until it ends. Its exit code.
    pub(crate) fn signal_until_it_ends(&mut self, name: &str) -> Option<i32> {
        for _ in 0..LOOKS_MAX {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            self.signal(name);
            thread::sleep(Duration::from_millis(20));
        }
        panic!("it goes on:\n{}", self.log());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end. Its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// The log, once it has a text so many times.
    pub(crate) fn wait_for(&self, text: &str, times: usize) -> String {
        for _ in 0..LOOKS_MAX {
            let log = self.log();
            if log.matches(text).count() >= times {
                return log;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{text:?} is not {times} times in the log:\n{}", self.log());
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.project.path("log")).unwrap()
    }

    /// The state as the log has it after one more USR1, from its first line on.
    pub(crate) fn state(&self) -> String {
        let before = self.log().matches(" state ").count();
        self.signal("USR1");
        let log = self.wait_for(" state ", before + 1);
        log[log.rfind(" state ").unwrap()..].to_owned()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_some() || thread::panicking() {
            let _ = self.child.kill();
            return;
        }
        self.signal("TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log());
    }
}
