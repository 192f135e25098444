//! `kill -9` against the real server: at random moments and at named places of the protocol, judged by the server's own list
//! of runs.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value};
use skycron::{
    clock::Stopwatch,
    daemon::control::{Answer, Request, ask},
};

use crate::{
    on_request,
    rig::{Home, Live, wait_for},
};

/// How often, unless `SKYCRON_LIVE_KILLS` says otherwise.
const KILLS_DEFAULT: usize = 36;
/// The longest life at whose end it is killed, if it did not die before at the place that was named.
const LIFE_MILLIS_MAX: u64 = 2500;
/// For the runs that are going at the end, and for the searches: each takes the grace, and waits.
const SETTLE_SECONDS_MAX: u64 = 180;
/// The places; every other life is without one.
const PLACES: &[&str] = &[
    "before-post:1",
    "in-answer:1",
    "after-answer:1",
    "before-commit:2",
    "before-commit:3",
    "after-commit:2",
    "after-commit:3",
    "in-transaction:2",
    "in-transaction:3",
    "written:2",
    "in-answer:2",
    "in-settle:1",
    "in-settle:2",
    "settled:1",
    "after-memory:1",
];

/// Asks the daemon for a start. `None`: it is not there, or died before it answered.
fn trigger(home: &Home) -> Option<String> {
    let request = Request::Trigger { schedule: "probe".to_owned(), parameters: Map::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(ask(&home.state_dir(), &request)) {
        Ok(Answer::Done { occurrences, .. }) => occurrences.into_iter().next(),
        Ok(answer) => panic!("{answer:?}\n{}", home.log()),
        Err(_) => None,
    }
}

/// The runs of the server that carry a key of this test, by key.
fn runs_by_key(live: &Live, workflow: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for run in live.ask(&format!("/api/v1/workflows/{workflow}/runs?page_size=1000")).as_array().unwrap() {
        let id = run["workflow_run_id"].as_str().unwrap();
        for tag in live.ask(&format!("/v1/runs/{id}/tags"))["tags"].as_array().unwrap() {
            let value = tag["value"].as_str().unwrap_or_default();
            if value.starts_with("kills/") {
                found.entry(value.to_owned()).or_default().push(id.to_owned());
            }
        }
    }
    found
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn killed_again_and_again_it_loses_and_doubles_nothing() {
    let live = Live::get();
    let workflow = Live::named("WORKFLOW");
    let kills = std::env::var("SKYCRON_LIVE_KILLS").map_or(KILLS_DEFAULT, |text| text.parse().unwrap());
    // Still within [api]: the server makes a run within a tenth of a second, so nobody has to wait for minutes.
    let settings =
        "request_timeout = \"20s\"\nsettle_grace = \"20s\"\npoll_interval = \"1s\"\npoll_interval_max = \"1s\"\n\n";
    let home = Home::new(&live, "kills", &format!("{settings}{}", on_request(&workflow, "")));
    let mut acknowledged = Vec::new();
    for life in 0..kills {
        let place = (life % 2 == 0).then(|| PLACES[life / 2 % PLACES.len()]);
        let mut daemon = home.daemon_that_dies(place);
        // Spread over the whole of a life, the same at every repetition.
        let millis = (life as u64 * 811) % LIFE_MILLIS_MAX;
        let watch = Stopwatch::start();
        let mut asked = 0;
        while watch.elapsed() < Duration::from_millis(millis) && !daemon.is_dead() {
            if asked < 2
                && let Some(key) = trigger(&home)
            {
                acknowledged.push(key);
                asked += 1;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon.kill();
    }
    let daemon = home.daemon_that_dies(None);
    acknowledged.push(wait_for("the daemon to be up", 60, || trigger(&home)));
    let open = |row: &Value| ["pending", "launching", "running"].contains(&row["status"].as_str().unwrap());
    let rows = wait_for(&format!("everything to be settled\n{}", home.log()), SETTLE_SECONDS_MAX, || {
        let rows = home.all_history();
        (!rows.iter().any(open)).then_some(rows)
    });
    daemon.stop();

    let runs = runs_by_key(&live, &workflow);
    let mut rows_by_key: BTreeMap<&str, &Value> = BTreeMap::new();
    for row in &rows {
        assert!(
            rows_by_key.insert(row["occurrence"].as_str().unwrap(), row).is_none(),
            "twice in the history: {row:#}"
        );
    }
    for (key, ids) in &runs {
        assert_eq!(ids.len(), 1, "{key} was started {} times: {ids:?}\n{}", ids.len(), home.log());
        let row =
            rows_by_key.get(key.as_str()).unwrap_or_else(|| panic!("{ids:?} of {key} has no row\n{}", home.log()));
        assert_eq!(row["run_id"], ids[0].as_str(), "{row:#}\n{}", home.log());
        let by_tag =
            live.ask(&format!("/api/v1/workflows/{workflow}/runs?tags=skycron_occurrence:{}", key.replace('#', "%23")));
        assert_eq!(by_tag.as_array().map(Vec::len), Some(1), "{key}: {by_tag:#}");
    }
    for key in &acknowledged {
        let row = rows_by_key.get(key.as_str()).unwrap_or_else(|| panic!("{key} was acknowledged and has no row"));
        // A start by hand that surely was not made is not made up for after a minute; everything else came to its run.
        assert!(runs.contains_key(key) || row["status"] == "missed", "lost: {row:#}\n{}", home.log());
    }
    assert!(rows.iter().all(|row| row["status"] != "unknown"), "{rows:#?}");
    let missed = rows.iter().filter(|row| row["status"] == "missed").count();
    eprintln!(
        "live: {kills} kills, {} acknowledged, {} rows, {} runs at the server, {missed} missed, lost 0, doubled 0",
        acknowledged.len(),
        rows.len(),
        runs.len()
    );
}
