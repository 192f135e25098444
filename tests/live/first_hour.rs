//! From nothing but a key to a workflow that runs on schedule, by the commands for a beginner, on a real server.

use std::fs;

use super::{
    FIRE_SECONDS_MAX, RUN_SECONDS_MAX,
    rig::{Home, Live, next_minute},
};

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn init_check_run_and_why() {
    let live = Live::get();
    let (workflow, required) = (Live::named("WORKFLOW"), Live::named("WORKFLOW_REQUIRED"));
    let home = Home::new(&live, "first-hour", "");
    let folder = home.state_dir().parent().unwrap().to_owned();
    let file = folder.join("schedules.toml");
    fs::remove_file(&file).unwrap();
    let server = ["--base-url", live.url.as_str(), "--api-key-file", "skyvern.key"];

    let all = home.skycron(&[&["workflows", "--format", "json"], &server[..]].concat()).expect_code(0).json();
    for id in [&workflow, &required] {
        assert!(all.iter().any(|found| found["id"] == id.as_str()), "{id} in {all:#?}");
    }
    let needs = all.iter().find(|found| found["id"] == required.as_str()).unwrap();
    assert!(needs["parameters"].as_array().unwrap().iter().any(|p| p["key"] == "need" && p["required"] == true));

    // What the server would refuse is not written down.
    let init = [&["init", "--yes", "--timezone", "UTC"], &server[..]].concat();
    let refused = home.skycron(&[&init[..], &["-w", &required, "--cadence", "daily at noon"]].concat()).expect_code(2);
    assert!(refused.stderr.contains("--parameter need=…") && !file.exists(), "{}", refused.stderr);

    let (expression, instant) = next_minute();
    let wanted =
        ["-w", &workflow, "--cadence", &expression, "-w", &required, "--cadence", "first of the month at 06:30"];
    let ended = home.skycron(&[&init[..], &wanted, &["--parameter", "need=7"]].concat()).expect_code(0);
    assert!(ended.stderr.contains("At 06:30 on the 1st of the month, UTC (30 6 1 * *), next:"), "{}", ended.stderr);
    let ended = home.skycron(&["check", "--online"]).expect_code(0);
    assert!(ended.stdout.contains("2 schedules, no problems"), "{}", ended.stdout);
    assert!(ended.stdout.contains("the key is accepted, for organisation o_"), "{}", ended.stdout);

    let mut daemon = home.daemon();
    let row = daemon
        .wait_for_occurrence("a completed run", FIRE_SECONDS_MAX + RUN_SECONDS_MAX, |row| row["status"] == "completed");
    assert_eq!(row["scheduled_for"], instant.as_str());
    let seen = home.skycron(&["status", "--format", "json"]).expect_code(0).json().remove(0);
    assert_eq!((&seen["daemon"]["running"], &seen["api"]["reachable"]), (&true.into(), &true.into()), "{seen:#}");
    let id = row["schedule"].as_str().unwrap();
    let why = home.skycron(&["why", id, &instant, "--format", "json"]).expect_code(0).json().remove(0);
    assert_eq!(why["cause"], "completed", "{why:#}");
    daemon.stop();

    // What only the server knows: wrong in the file, and found in its place.
    let text = fs::read_to_string(&file).unwrap();
    let wrong = text.replace("need = 7", "need = 7\nzzz = 1").replace(workflow.as_str(), "wpid_1");
    fs::write(
        &file,
        wrong
            + "\n[[schedule]]\nid = \"x\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 * * *\"\n\
        browser_session_id = \"pbs_1\"\nbrowser_profile_id = \"bp_1\"\n",
    )
    .unwrap();
    let found = home.skycron(&["check", "--online", "--format", "json"]).expect_code(2).json();
    let mut codes: Vec<&str> = found.iter().map(|problem| problem["code"].as_str().unwrap()).collect();
    codes.sort_unstable();
    let expected = ["no_browser", "no_browser", "no_workflow", "no_workflow", "undeclared_parameter"];
    assert_eq!(codes, expected, "{found:#?}");
}
