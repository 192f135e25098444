//! `skycron sandbox`: it says where it listens, does what it was told to do wrong, and stops in order.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::Project;

/// One request: the status, and the JSON.
fn ask(host: &str, head: &str, body: &str) -> Option<(String, Value)> {
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "{head} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nx-api-key: k-1234\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    // A reset ends it with an error.
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.to_owned(), serde_json::from_str(body).ok()?))
}

#[test]
fn it_serves_until_it_is_told_to_stop() {
    let project = Project::new();
    let args = ["sandbox", "--listen", "127.0.0.1:0", "--key", "k-1234", "--workflow", "wpid_a", "--format", "json"];
    let mut child = project
        .command()
        .args(args)
        .args(["--faults", "start:2=reset-after", "--run-time", "1h", "--no-tags"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(said["api_key"], "k-1234");
    let host = said["base_url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();

    let start = |workflow: &str| ask(&host, "POST /v1/run/workflows", &format!("{{\"workflow_id\":{workflow:?}}}"));
    assert_eq!(start("wpid_a").unwrap().0, "200");
    assert_eq!(start("wpid_a"), None, "the second start is reset");
    assert_eq!(start("wpid_b").unwrap().0, "404");
    let (_, record) = ask(&host, "GET /sandbox/runs", "").unwrap();
    assert_eq!(record["runs"].as_array().unwrap().len(), 2, "{record}");
    assert_eq!(ask(&host, "GET /sandbox/runs?after=1", "").unwrap().1["runs"][0]["number"], 2);
    assert_eq!(ask(&host, "GET /sandbox/status", "").unwrap().1["starts_received"], 3);
    assert_eq!(ask(&host, "GET /api/v1/version", "").unwrap().1["version"], "1.0.46");

    assert_eq!(ask(&host, "POST /sandbox/faults", "start:1=wrong").unwrap().0, "400");
    assert_eq!(ask(&host, "POST /sandbox/faults", "start:1=429").unwrap().0, "200");
    assert_eq!(start("wpid_a").unwrap().0, "429");
    assert_eq!(start("wpid_a").unwrap().0, "200");
    assert_eq!(ask(&host, "POST /sandbox/faults", "start:*=429").unwrap().0, "200");
    assert_eq!(ask(&host, "DELETE /sandbox/faults", "").unwrap().0, "200");
    assert_eq!(start("wpid_a").unwrap().0, "200");

    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn where_it_cannot_listen() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let project = Project::new();
    project.run(&["sandbox", "--listen", &address]).code(1).stdout_is("").stderr_has("cannot listen on 127.0.0.1");
    project
        .run(&["sandbox", "--listen", "0.0.0.0:0"])
        .code(2)
        .stdout_is("")
        .stderr_has("not an address of this machine");
    project
        .run(&["sandbox", "--faults", "start:x=busy"])
        .code(2)
        .stdout_is("")
        .stderr_has("is none of 3, 2-5, 7-, *, 10%");
    project.run(&["sandbox", "--workflow", "w_1"]).code(2).stdout_is("").stderr_has("names one version of a workflow");
    project.run(&["sandbox", "--failed", "101"]).code(2).stdout_is("").stderr_has("101");
}
