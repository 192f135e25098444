//! A person at a terminal: the real binary in the terminal of `script` (Debian's bsdutils, which is essential there), which
//! hands on what is typed.

use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use crate::support::Project;

/// Longest wait for a question.
const LOOKS_MAX: usize = 1_000;

/// Somebody who reads before they type.
pub(crate) struct Person {
    child: Child,
    typed: ChildStdin,
    shown: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
    read_to: usize,
}

impl Person {
    /// Starts the program in a terminal.
    pub(crate) fn at(project: &Project, args: &[&str]) -> Self {
        let program = project.command();
        let line = [&[program.get_program().to_str().unwrap()], args].concat().join(" ");
        // Raw from the beginning: what is typed while nobody reads is kept as it is.
        let line = format!("stty raw -echo; exec {line}");
        let mut terminal = Command::new("script");
        terminal.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
        terminal.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        terminal.env("TERM", "xterm").env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh");
        terminal.current_dir(program.get_current_dir().unwrap());
        let mut child = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (typed, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let filled = Arc::clone(&shown);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = screen.read(&mut bytes)
                && count > 0
            {
                filled.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Self { child, typed, shown, reader, read_to: 0 }
    }

    /// Types this once that is on the screen, with a prompt (`?`) behind it that waits for keys.
    #[track_caller]
    pub(crate) fn answers(&mut self, question: &str, keys: &str) {
        for _ in 0..LOOKS_MAX {
            let shown = self.shown.lock().unwrap().clone();
            let found = shown[self.read_to..].find(question).map(|at| self.read_to + at);
            if let Some(at) = found.filter(|at| question.ends_with(')') || shown[*at..].contains('?')) {
                self.read_to = at + question.len();
                self.typed.write_all(keys.as_bytes()).unwrap();
                self.typed.flush().unwrap();
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill().unwrap();
        panic!("{question:?} was not asked:\n{}", self.shown.lock().unwrap());
    }

    #[track_caller]
    /// Waits for the end, which is a good one: what was shown.
    pub(crate) fn ends(mut self) -> String {
        let ended = self.child.wait().unwrap();
        let shown = self.reader.join().map(|()| self.shown.lock().unwrap().clone()).unwrap();
        assert!(ended.success(), "{shown}");
        shown
    }
}
