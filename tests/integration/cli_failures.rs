//! What the commands do when the world is not as it should be: the API, the database, a second daemon. A clear word with a
//! remedy, the documented exit code, and nothing changed.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Child, Stdio},
    thread,
};

use rusqlite::Connection;
use skycron::sandbox::{Sandbox, SandboxOptions};

use crate::support::Project;

/// A project whose API is at `url`, impatient.
fn project(url: &str) -> Project {
    Project::with_file(&format!(
        "[api]\nbase_url = \"{url}\"\nconnect_timeout = \"1s\"\nrequest_timeout = \"1s\"\nsettle_grace = \"1s\"\n\
         poll_interval = \"1s\"\n[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 0 1 1 *\"\n"
    ))
    .variable("SKYVERN_API_KEY", "sandbox-key")
    .variable("SKYCRON_STATE_DIR", "state")
}

fn sandbox(faults: &str) -> Sandbox {
    Sandbox::start(SandboxOptions { faults: faults.parse().unwrap(), ..SandboxOptions::default() }).unwrap()
}

/// A daemon that is up; ended when it is dropped.
struct Daemon(Child);

impl Daemon {
    fn start(project: &Project) -> Self {
        let mut child = project.command().arg("run").stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (up, is_up) = std::sync::mpsc::channel();
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if line.contains("started: with") {
                    let _ = up.send(());
                }
            }
        });
        is_up.recv_timeout(std::time::Duration::from_secs(20)).expect("the daemon comes up");
        Self(child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A start that meets this: the exit code, a part of what is said, and the status in the history.
fn check_start(faults: &str, code: i32, says: &str, status: &str) {
    let sandbox = sandbox(faults);
    let project = project(&sandbox.base_url());
    let ran = project.run(&["trigger", "a", "--wait"]).code(code);
    assert!(ran.stdout.contains(says) || ran.stderr.contains(says), "{faults}: {}\n{}", ran.stdout, ran.stderr);
    project.run(&["history"]).code(0).stdout_has(&format!("  {status} "));
}

#[test]
fn an_api_that_fails() {
    check_start("", 0, "completed", "completed");
    check_start("start:*=403", 3, "Could not validate credentials", "missed");
    check_start("start:*=404", 1, "Workflow not found", "refused");
    check_start("start:*=status:302", 3, "redirect", "missed");
    check_start("start:*=429", 3, "Rate limit exceeded", "missed");
    // Slow, or nonsense: it is found out what became of it.
    check_start("start:1=delay:2s", 0, "completed", "completed");
    check_start("start:1=unreadable", 0, "completed", "completed");
    check_start("start:1=huge", 0, "completed", "completed");
    check_start("start:1=reset-before", 0, "completed", "completed");
}

#[test]
fn an_api_that_is_not_there() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let project = project(&format!("http://{address}"));
    project.run(&["trigger", "a"]).code(3).stdout_has("missed").stdout_has("Connection refused");
    project.run(&["history"]).code(0).stdout_has("check that the server is up");
}

#[test]
fn a_second_daemon() {
    let sandbox = sandbox("");
    let project = project(&sandbox.base_url());
    let daemon = Daemon::start(&project);
    let ran = project.run(&["run"]).code(4).stderr_has("is in use by another skycron (process ");
    assert!(ran.stderr.contains("--state-dir"), "no remedy: {}", ran.stderr);
    // The first one goes on, and does what is asked for.
    project.run(&["trigger", "a", "--wait"]).code(0).stdout_has("completed");
    drop(daemon);
    // Killed as it was, it leaves a socket and a lock file; neither holds anybody up.
    project.run(&["trigger", "a", "--wait"]).code(0).stdout_has("completed");
    let daemon = Daemon::start(&project);
    drop(daemon);
    assert_eq!(sandbox.runs().len(), 2);
}

/// Every command that needs the history, on one that was changed like this: the exit code and what is said. Nothing is
/// started, and the file stays as it is.
fn check_database(change: fn(&std::path::Path), code: i32, says: &str) {
    let sandbox = sandbox("");
    let project = project(&sandbox.base_url());
    project.run(&["trigger", "a", "--wait"]).code(0);
    let path = project.path("state/history.db");
    change(&path);
    let before = std::fs::read(&path).unwrap();
    for command in [["run"].as_slice(), &["trigger", "a"], &["history"]] {
        project.run(command).code(code).stdout_is("").stderr_has(says);
    }
    assert!(std::fs::read(&path).unwrap() == before, "{says}: the file was changed");
    assert_eq!(sandbox.runs().len(), 1);
}

#[test]
fn a_database_that_cannot_be_used() {
    check_database(
        |path| Connection::open(path).unwrap().pragma_update(None, "user_version", 99).unwrap(),
        2,
        "was written by a newer skycron (its shape is 99",
    );
    check_database(
        |path| {
            std::fs::remove_file(path).unwrap();
            Connection::open(path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
        },
        2,
        "is not a history of skycron",
    );
    check_database(
        |path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[..100].fill(0xFF);
            std::fs::write(path, bytes).unwrap();
        },
        1,
        "the history is damaged",
    );
}

/// Pages that a crash of the machine left as garbage are found by the check that follows a crash, before anything is started.
#[test]
fn a_database_that_fails_its_check() {
    let sandbox = sandbox("");
    let project = project(&sandbox.base_url());
    let daemon = Daemon::start(&project);
    project.run(&["trigger", "a", "--wait"]).code(0);
    drop(daemon);
    let path = project.path("state/history.db");
    // So that the garbage is not covered by newer pages of the log, as it would be in a real crash for some of them.
    Connection::open(&path).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let pages = bytes.len() / 4096;
    for page in 2..pages {
        bytes[page * 4096..page * 4096 + 64].fill(0xFF);
    }
    std::fs::write(&path, &bytes).unwrap();
    // What says that the last writer did not close it: something in the log.
    std::fs::write(project.path("state/history.db-wal"), [0_u8; 64]).unwrap();
    project.run(&["run"]).code(1).stderr_has("the history is damaged").stderr_has(".recover");
    assert_eq!(sandbox.runs().len(), 1);
}

/// Whatever answers at `base_url` is not Skyvern.
#[test]
fn an_api_that_is_something_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let project = project(&format!("http://{}", listener.local_addr().unwrap()));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\nconnection: close\r\n\r\nnope");
        }
    });
    project.run(&["trigger", "a"]).code(3);
}
