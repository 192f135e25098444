//! A server, a folder with a file, and the real binary as a daemon on both; on the machine's clock or on one that is shifted
//! and runs faster. No expectations about skycron itself.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    sync::Arc,
    thread,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Map;
use skycron::{
    clock::{Clock, Stopwatch, SystemClock},
    daemon::control::{Answer, Request, ask},
    sandbox::{Behaviour, Sandbox, SandboxOptions},
};

use crate::support::Project;

/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Where Debian keeps the library that shifts the clock of a process with threads.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// A wall clock that began at `from` and runs `speed` times as fast as the machine's.
#[derive(Clone)]
pub(crate) struct FastClock {
    from: DateTime<Utc>,
    speed: u32,
    watch: Stopwatch,
}

impl FastClock {
    pub(crate) fn new(from: DateTime<Utc>, speed: u32) -> Self {
        Self { from, speed, watch: Stopwatch::start() }
    }

    /// What makes a process that starts now go by this clock.
    fn variable(&self) -> String {
        format!("@{} x{}", self.now().format("%Y-%m-%d %H:%M:%S"), self.speed)
    }
}

impl Clock for FastClock {
    fn now(&self) -> DateTime<Utc> {
        self.from + TimeDelta::from_std(self.watch.elapsed() * self.speed).unwrap()
    }
}

/// The library that shifts clocks, where it is installed.
pub(crate) fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    folders
        .chain(["/usr/lib".into(), "/usr/lib64".into()])
        .map(|folder| folder.join(FAKETIME))
        .find(|path| path.exists())
}

/// Says something past the capture of a test's output: what was skipped, and what was counted, is to be seen.
pub(crate) fn say(text: &str) {
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// As [`faketime`], and says so where it is not.
pub(crate) fn faketime_or_skip(test: &str) -> Option<PathBuf> {
    let found = faketime();
    if found.is_none() {
        say(&format!("SKIPPED {test}: there is no {FAKETIME}; Debian: apt-get install libfaketime"));
    }
    found
}

/// The settings of `[api]` for a machine where nothing takes long.
pub(crate) const QUICK: &str = "connect_timeout = \"1s\"\nrequest_timeout = \"2s\"\npoll_interval = \"1s\"\n\
                                poll_interval_max = \"1s\"\nsettle_grace = \"2s\"\n";

/// A server, a folder, and what the daemons wrote.
pub(crate) struct Rig {
    pub(crate) project: Project,
    pub(crate) sandbox: Sandbox,
    clock: Option<FastClock>,
}

impl Rig {
    /// On the machine's clock. `settings` stand in `[api]`, `schedules` after it.
    pub(crate) fn new(settings: &str, schedules: &str) -> Self {
        Self::with(SandboxOptions::default(), None, settings, schedules)
    }

    pub(crate) fn with(options: SandboxOptions, clock: Option<FastClock>, settings: &str, schedules: &str) -> Self {
        let now: Arc<dyn Clock> = match &clock {
            Some(clock) => Arc::new(clock.clone()),
            None => Arc::new(SystemClock),
        };
        let behaviour = Behaviour { run_time: Duration::from_millis(200), ..options.behaviour.clone() };
        let behaviour = if options.behaviour == Behaviour::default() { behaviour } else { options.behaviour.clone() };
        let sandbox = Sandbox::start(SandboxOptions { clock: now, behaviour, ..options }).unwrap();
        let mut project = Project::new().variable("SKYVERN_API_KEY", sandbox.key().expose());
        if clock.is_some() {
            // The library reads the instant in the process's own zone.
            project = project.variable("TZ", "UTC").variable("LD_PRELOAD", &faketime().unwrap().display().to_string());
        }
        let rig = Self { project, sandbox, clock };
        rig.write_file(settings, schedules);
        rig
    }

    /// Replaces the file.
    pub(crate) fn write_file(&self, settings: &str, schedules: &str) {
        let url = self.sandbox.base_url();
        self.project.write("new", format!("instance = \"t\"\n[api]\nbase_url = {url:?}\n{settings}\n{schedules}"));
        fs::rename(self.project.path("new"), self.project.path("schedules.toml")).unwrap();
    }

    /// The present, as the server and the daemons see it.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.as_ref().map_or_else(|| SystemClock.now(), Clock::now)
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.project.path("state")
    }

    /// A command on the folder's file and history, not started yet.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.project.command();
        command.args(args).env("SKYCRON_STATE_DIR", self.state_dir());
        if let Some(clock) = &self.clock {
            command.env("FAKETIME", clock.variable());
        }
        command
    }

    /// Starts the daemon, with a place at which it is to die.
    pub(crate) fn daemon(&self, crash_at: Option<&str>) -> Daemon {
        self.daemon_with(crash_at.map(|place| ("SKYCRON_CRASH_AT", place)).as_slice())
    }

    /// Starts the daemon, with these in its environment.
    pub(crate) fn daemon_with(&self, variables: &[(&str, &str)]) -> Daemon {
        let log = File::options().create(true).append(true).open(self.project.path("log")).unwrap();
        let mut command = self.command(&["run"]);
        command.envs(variables.iter().copied());
        Daemon { child: command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap() }
    }

    /// What all daemons of this folder wrote.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.project.path("log")).unwrap_or_default()).into_owned()
    }

    /// The end of it: a long series of kills writes thousands of lines.
    pub(crate) fn log_end(&self) -> String {
        const LINES: usize = 200;
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Asks the running daemon for a start.
    pub(crate) fn trigger(&self, schedule: &str) -> io::Result<Answer> {
        let request = Request::Trigger { schedule: schedule.to_owned(), parameters: Map::new() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(ask(&self.state_dir(), &request))
    }

    /// Asks for a start until a daemon answers: the key. `None`: it ended before.
    pub(crate) fn trigger_when_up(&self, schedule: &str, daemon: &mut Daemon) -> Option<String> {
        wait_for("an answer of the daemon", 20, || match self.trigger(schedule) {
            Ok(Answer::Done { occurrences, .. }) => Some(occurrences.into_iter().next()),
            Ok(answer @ (Answer::State { .. } | Answer::Mirrored { .. })) => {
                panic!("the daemon answered another question: {answer:?}")
            }
            Ok(Answer::Error { message }) => panic!("the daemon refused: {message}\n{}", self.log()),
            Err(_) => daemon.ended().map(|_| None),
        })
    }
}

/// A running daemon; killed when it is dropped.
pub(crate) struct Daemon {
    child: Child,
}

impl Daemon {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// A signal, unless it ended by itself.
    pub(crate) fn signal_if_up(&mut self, signal: Signal) {
        if self.ended().is_none() {
            self.signal(signal);
        }
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// SIGKILL. Whether that is what ended it.
    pub(crate) fn kill(mut self) -> bool {
        self.child.kill().unwrap();
        self.child.wait().unwrap().signal() == Some(9)
    }

    /// SIGTERM, and the orderly end that it asks for.
    #[track_caller]
    pub(crate) fn stop(mut self, rig: &Rig) {
        self.signal(Signal::SIGTERM);
        let status = wait_for("the daemon's end", 30, || self.ended());
        assert_eq!(status.code(), Some(0), "{}", rig.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Polls until there is a value; panics after the bound.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, seconds_max: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let watch = Stopwatch::start();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(watch.elapsed() < Duration::from_secs(seconds_max), "waited {seconds_max} s for {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// Numbers that look random and depend on the seed alone (splitmix64).
pub(crate) struct Chance(u64);

impl Chance {
    /// From `SKYCRON_CRASH_SEED`, else from the test's own.
    pub(crate) fn new(seed: u64) -> Self {
        let given = std::env::var("SKYCRON_CRASH_SEED").ok().map(|text| text.parse().unwrap());
        let seed = given.unwrap_or(seed);
        say(&format!("SKYCRON_CRASH_SEED={seed}"));
        Self(seed)
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}
