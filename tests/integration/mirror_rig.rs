//! A project with a sandbox of the real binary behind it, for the tests of the mirror.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{Project, Ran};

/// A project and its server, which is ended with this value.
pub(crate) struct Rig {
    pub(crate) project: Project,
    server: Child,
    host: String,
}

impl Rig {
    /// A sandbox whose own scheduler never looks, and a file with these schedules.
    pub(crate) fn new(schedules: &str) -> Self {
        let project = Project::new().variable("SKYVERN_API_KEY", "k-1234").variable("SKYCRON_STATE_DIR", "state");
        let mut server = project
            .command()
            .args(["sandbox", "--listen", "127.0.0.1:0", "--key", "k-1234", "--format", "json"])
            .args(["--schedule-poll", "0s"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let host = said["base_url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        let rig = Self { project, server, host };
        rig.file("enabled = true", schedules);
        rig
    }

    /// The lines that lead a file to this server.
    pub(crate) fn head(&self) -> String {
        format!("[api]\nbase_url = \"http://{}\"\n", self.host)
    }

    /// Replaces the file.
    pub(crate) fn file(&self, mirror: &str, schedules: &str) {
        self.project.write("schedules.toml", format!("{}[mirror]\n{mirror}\n{schedules}", self.head()));
    }

    /// `skycron mirror …`.
    pub(crate) fn mirror(&self, args: &[&str]) -> Ran {
        self.project.run(&[&["mirror"], args].concat())
    }

    /// The same, killed at a place.
    pub(crate) fn killed_at(&self, place: &str, args: &[&str]) -> bool {
        let mut command: Command = self.project.command();
        let output = command.arg("mirror").args(args).env("SKYCRON_CRASH_AT", place).output().unwrap();
        output.status.code().is_none()
    }

    /// One request to the server: its status, and its JSON.
    pub(crate) fn ask(&self, head: &str, body: &Value) -> (String, Value) {
        let body = match body {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut stream = TcpStream::connect(&self.host).unwrap();
        write!(
            stream,
            "{head} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nx-api-key: k-1234\r\ncontent-length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// What goes wrong from now on.
    pub(crate) fn faults(&self, plan: &str) {
        assert_eq!(self.ask("POST /sandbox/faults", &json!(plan)).0, "200", "{plan}");
    }

    /// The server's schedules, the oldest first.
    pub(crate) fn schedules(&self) -> Vec<Value> {
        let (_, found) = self.ask("GET /api/v1/schedules?page_size=100", &Value::Null);
        let mut schedules = found["schedules"].as_array().unwrap_or_else(|| panic!("{found}")).clone();
        schedules.sort_by_key(|schedule| schedule["workflow_schedule_id"].as_str().unwrap().to_owned());
        schedules
    }

    /// Makes a schedule by hand.
    pub(crate) fn create(&self, workflow: &str, body: &Value) -> String {
        let (status, made) = self.ask(&format!("POST /api/v1/workflows/{workflow}/schedules"), body);
        assert_eq!(status, "200", "{made}");
        let made = made.get("schedule").unwrap_or(&made);
        made["workflow_schedule_id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    }

    /// How many changes of schedules the server received.
    pub(crate) fn changes(&self) -> u64 {
        let (_, status) = self.ask("GET /sandbox/status", &Value::Null);
        let changes = status.as_object().unwrap().iter().find(|(key, _)| key.contains("changes"));
        changes.unwrap().1.as_u64().unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
