//! What the live tests stand on: the server that `live.py` started, a folder with a file and a history of its own for each
//! test, and the real binary, run to its end or as a daemon. No expectations about skycron itself.

use std::{
    env, fs,
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use chrono::{TimeDelta, Timelike};
use serde_json::{Value, json};
use skycron::clock::{Clock, Stopwatch, SystemClock, rfc3339};
use tempfile::TempDir;

const COMMAND_SECONDS_MAX: u64 = 120;
const STOP_SECONDS_MAX: u64 = 45;
const POLL_MILLIS: u64 = 100;

/// The server, as the environment describes it (see `live.py`).
pub(crate) struct Live {
    pub(crate) url: String,
    pub(crate) key_file: PathBuf,
}

impl Live {
    /// The server.
    #[track_caller]
    pub(crate) fn get() -> Self {
        Self { url: Self::named("URL"), key_file: PathBuf::from(Self::named("KEY_FILE")) }
    }

    /// What else `live.py` says, for instance the workflow `WORKFLOW_LONG`.
    pub(crate) fn named(name: &str) -> String {
        let name = format!("SKYCRON_LIVE_{name}");
        env::var(&name).unwrap_or_else(|_| panic!("{name} is not set: tests/live/run starts a server and runs this"))
    }

    /// Asks the server itself, past skycron: the JSON at a path.
    #[track_caller]
    pub(crate) fn ask(&self, path: &str) -> Value {
        self.send("GET", path, &Value::Null)
    }

    /// Sends the server a request, past skycron, as somebody else would; the JSON of its answer.
    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let host = self.url.strip_prefix("http://").unwrap();
        let key = fs::read_to_string(&self.key_file).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // HTTP/1.0: the body ends where the connection does.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nhost: {host}\r\nx-api-key: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            key.trim(),
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, found) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{method} {path} {body}: {answer}");
        serde_json::from_str(found).unwrap()
    }

    /// A workflow of a test's own, which waits for a second: what others do at this server stays apart.
    pub(crate) fn make_workflow(&self) -> String {
        let url = json!({"parameter_type": "workflow", "key": "url", "workflow_parameter_type": "string", "default_value": "x"});
        let inner = json!({"parameters": [url], "blocks": [{"block_type": "wait", "label": "w1", "wait_sec": 1}]});
        let body = json!({"json_definition": {"title": "skycron live: mirror", "workflow_definition": inner}});
        let made = self.send("POST", "/v1/workflows", &body);
        made["workflow_permanent_id"].as_str().unwrap().to_owned()
    }

    /// The runs of a workflow that carry an occurrence's key, as the server knows them.
    pub(crate) fn runs_of(&self, workflow: &str, occurrence: &str) -> Vec<Value> {
        let runs = self.ask(&format!("/api/v1/workflows/{workflow}/runs?page_size=100"));
        let carries = |run: &&Value| {
            let id = run["workflow_run_id"].as_str().unwrap();
            self.ask(&format!("/v1/runs/{id}/tags"))["tags"]
                .as_array()
                .unwrap()
                .iter()
                .any(|tag| tag["value"] == occurrence)
        };
        runs.as_array().unwrap().iter().filter(carries).cloned().collect()
    }
}

/// A folder with a `schedules.toml` and a state folder.
pub(crate) struct Home {
    folder: TempDir,
    /// What is before the schedules in its file.
    head: String,
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The objects on standard output.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// Checks the exit code, and shows everything where it is another.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }
}

impl Home {
    /// A folder whose file has these schedules. `instance` is the test's name, so that tests tell their runs apart.
    pub(crate) fn new(live: &Live, instance: &str, schedules: &str) -> Self {
        Self::with_key(live, instance, schedules, &fs::read_to_string(&live.key_file).unwrap())
    }

    /// The same with another key.
    pub(crate) fn with_key(live: &Live, instance: &str, schedules: &str, key: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("skycron-live-test-").tempdir().unwrap();
        let key_file = folder.path().join("skyvern.key");
        fs::write(&key_file, key).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let head = format!(
            "instance = {instance:?}\n\n[api]\nbase_url = {:?}\napi_key = {{ file = {key_file:?} }}\n",
            live.url
        );
        let home = Self { folder, head };
        home.write(schedules);
        home
    }

    /// Writes the file anew, with these schedules.
    pub(crate) fn write(&self, schedules: &str) {
        fs::write(self.folder.path().join("schedules.toml"), format!("{}\n{schedules}", self.head)).unwrap();
    }

    /// The history is lost.
    pub(crate) fn lose_the_history(&self) {
        fs::remove_dir_all(self.state_dir()).unwrap();
    }

    fn command(&self, arguments: &[&str], stdout: File, stderr: File) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skycron"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        command.env_clear().env("SKYCRON_STATE_DIR", self.folder.path().join("state"));
        command
    }

    /// Runs a command to its end, with a bound.
    #[track_caller]
    pub(crate) fn skycron(&self, arguments: &[&str]) -> Ended {
        let files = [tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap()];
        let [stdout, stderr] = files.each_ref().map(|file| file.reopen().unwrap());
        let mut child = Killed(self.command(arguments, stdout, stderr).spawn().unwrap());
        let status =
            wait_for(&format!("the end of skycron {arguments:?}"), COMMAND_SECONDS_MAX, || child.0.try_wait().unwrap());
        let [stdout, stderr] = files.each_ref().map(|file| fs::read_to_string(file.path()).unwrap());
        Ended { code: status.code(), stdout, stderr }
    }

    /// Runs a command that is killed (-9) at a place of the protocol, or after so long, or not at all if it was faster.
    #[track_caller]
    pub(crate) fn killed(&self, arguments: &[&str], place: Option<&str>, after: Duration) -> Ended {
        let files = [tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap()];
        let [stdout, stderr] = files.each_ref().map(|file| file.reopen().unwrap());
        let mut command = self.command(arguments, stdout, stderr);
        if let Some(place) = place {
            command.env("SKYCRON_CRASH_AT", place);
        }
        let mut child = command.spawn().unwrap();
        let watch = Stopwatch::start();
        while watch.elapsed() < after && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let status = child.wait().unwrap();
        let [stdout, stderr] = files.each_ref().map(|file| fs::read_to_string(file.path()).unwrap());
        Ended { code: status.code(), stdout, stderr }
    }

    /// The history, oldest or newest first as the command has it.
    #[track_caller]
    pub(crate) fn history(&self) -> Vec<Value> {
        let ran = self.skycron(&["history", "--format", "json"]);
        // Until the daemon has made it, there is none.
        if ran.stderr.contains("there is no history in") { Vec::new() } else { ran.expect_code(0).json() }
    }

    /// Starts the daemon; its log goes to `daemon.log`, behind what an earlier one wrote there.
    pub(crate) fn daemon(&self) -> Daemon<'_> {
        self.daemon_that_dies(None)
    }

    /// The same, with a place at which it kills itself.
    pub(crate) fn daemon_that_dies(&self, place: Option<&str>) -> Daemon<'_> {
        let path = self.folder.path().join("daemon.log");
        let log = File::options().create(true).append(true).open(path).unwrap();
        let mut command = self.command(&["run"], log.try_clone().unwrap(), log);
        if let Some(place) = place {
            command.env("SKYCRON_CRASH_AT", place);
        }
        Daemon { child: Killed(command.spawn().unwrap()), home: self }
    }

    /// Where the history is.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The whole history.
    #[track_caller]
    pub(crate) fn all_history(&self) -> Vec<Value> {
        self.skycron(&["history", "--limit", "100000", "--format", "json"]).expect_code(0).json()
    }

    /// What the daemons of this folder have written.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("daemon.log")).unwrap_or_default()
    }
}

/// A child that is killed when the test is done with it, also by a panic.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// A running daemon.
pub(crate) struct Daemon<'home> {
    child: Killed,
    home: &'home Home,
}

impl Daemon<'_> {
    /// Waits until the only occurrence in the history satisfies a condition.
    #[track_caller]
    pub(crate) fn wait_for_occurrence(
        &mut self,
        what: &str,
        seconds_max: u64,
        condition: impl Fn(&Value) -> bool,
    ) -> Value {
        let home = self.home;
        let child = &mut self.child.0;
        wait_for(&format!("{what}; the daemon's log so far:\n{}", home.log()), seconds_max, || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the daemon ended with {status}:\n{}", home.log());
            }
            let rows = home.history();
            assert!(rows.len() <= 1, "one occurrence was due, found {rows:#?}\n{}", home.log());
            rows.into_iter().next().filter(&condition)
        })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Whether it has ended.
    pub(crate) fn is_dead(&mut self) -> bool {
        self.child.0.try_wait().unwrap().is_some()
    }

    /// SIGKILL: no chance to write anything.
    pub(crate) fn kill(mut self) {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap();
    }

    /// SIGTERM, and the orderly end that it asks for.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        let pid = self.child.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = wait_for("the daemon's end", STOP_SECONDS_MAX, || self.child.0.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{}", self.home.log());
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
        thread::sleep(Duration::from_millis(POLL_MILLIS));
    }
}

/// A cron expression (UTC) whose next instant is a minute that begins soon, and that instant.
pub(crate) fn next_minute() -> (String, String) {
    // Enough for a daemon to start; with less, the minute after.
    const SECONDS_MIN: i64 = 8;
    let soon = SystemClock.now() + TimeDelta::seconds(SECONDS_MIN);
    let minute = soon.with_second(0).unwrap().with_nanosecond(0).unwrap() + TimeDelta::minutes(1);
    (format!("{} {} * * *", minute.minute(), minute.hour()), rfc3339(minute))
}
