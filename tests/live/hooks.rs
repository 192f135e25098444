//! A webhook of the real server: signed as the daemon expects, taken, and the end of a run known long before the daemon would
//! have looked by itself.

use std::net::TcpListener;

use serde_json::Map;
use skycron::daemon::control::{Answer, Request, ask};

use crate::{
    on_request,
    rig::{Home, Live, wait_for},
};

/// Looks are ten minutes apart.
const SECONDS_MAX: u64 = 150;

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn the_servers_webhook_ends_the_waiting() {
    let live = Live::get();
    let workflow = Live::named("WORKFLOW");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let public_url = format!("http://127.0.0.1:{port}/hooks");
    let settings = format!(
        "poll_interval = \"10m\"\npoll_interval_max = \"10m\"\n\n[webhook]\npublic_url = {public_url:?}\n\
         listen = \"127.0.0.1:{port}\"\n\n"
    );
    let home = Home::new(&live, "hooks", &format!("{settings}{}", on_request(&workflow, "")));
    let daemon = home.daemon();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let request = Request::Trigger { schedule: "probe".to_owned(), parameters: Map::new() };
    wait_for("the daemon", 60, || match runtime.block_on(ask(&home.state_dir(), &request)) {
        Ok(Answer::Done { .. }) => Some(()),
        Ok(answer) => panic!("{answer:?}\n{}", home.log()),
        Err(_) => None,
    });
    let row = wait_for(&format!("the end, by the server's word\n{}", home.log()), SECONDS_MAX, || {
        home.history().into_iter().find(|row| row["status"] == "completed")
    });
    let run = live.ask(&format!("/v1/runs/{}", row["run_id"].as_str().unwrap()));
    let given = run["run_request"]["webhook_url"].as_str().unwrap_or_default().to_owned();
    assert!(given.starts_with(&format!("{public_url}/hooks/probe/")), "{run:#}");
    drop(daemon);
}
