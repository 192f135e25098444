//! `skycron mirror` against a server of its own: plan, apply, status, import, and what happens when it dies in the middle.

use serde_json::{Value, json};

use crate::mirror_rig::Rig;

const DAILY: &str = "[[schedule]]\nid = \"daily\"\nworkflow_id = \"wpid_a\"\ncron_expression = \"0 9 * * *\"\n\
                     name = \"Daily\"\nparameters = { url = \"https://example.com\" }\nfires = \"server\"\n";
const WEEKLY: &str = "[[schedule]]\nid = \"weekly\"\nworkflow_id = \"wpid_b\"\ncron_expression = \"0 9 * * 1\"\n";
const OFTEN: &str = "[[schedule]]\nid = \"often\"\nworkflow_id = \"wpid_b\"\ninterval_seconds = 3600\n\
                     first_fire_at = 2026-11-01T00:30:00Z\n";

fn all() -> String {
    [DAILY, WEEKLY, OFTEN].concat()
}

/// The schedule of ours with this id, by its marker.
fn copies<'a>(schedules: &'a [Value], id: &str) -> Vec<&'a Value> {
    let marker = format!("[skycron main/{id}]");
    let has = |schedule: &&Value| schedule["description"].as_str().is_some_and(|text| text.ends_with(&marker));
    schedules.iter().filter(has).collect()
}

fn id(schedule: &Value) -> &str {
    schedule["workflow_schedule_id"].as_str().unwrap()
}

/// Applied, and settled: nothing to do, nothing sent, each schedule there once.
#[track_caller]
fn check_settled(rig: &Rig, ids: &[&str]) {
    let before = rig.changes();
    rig.mirror(&["apply"]).code(0).stdout_has("nothing to do");
    assert_eq!(rig.changes(), before, "nothing differs, nothing is sent");
    rig.mirror(&["status"]).code(0);
    let schedules = rig.schedules();
    for id in ids {
        assert_eq!(copies(&schedules, id).len(), 1, "{id}: {schedules:#?}");
    }
}

#[test]
fn a_plan_is_applied_and_the_second_is_empty() {
    let rig = Rig::new(&all());
    rig.mirror(&["status"]).code(1).stdout_has("pending");
    let plan = rig.mirror(&["plan", "--format", "json"]).code(0).objects();
    let steps = plan.iter().filter_map(|o| Some(format!("{} {}", o["step"].as_str()?, o["schedule"].as_str()?)));
    let steps = steps.collect::<Vec<_>>();
    assert_eq!(steps, ["create daily", "create weekly", "create often", "enable daily"]);
    assert_eq!(rig.changes(), 0);

    let done = rig.mirror(&["apply", "--format", "json"]).code(0).objects();
    assert!(done.iter().all(|step| step["outcome"] == "done"), "{done:#?}");
    let schedules = rig.schedules();
    for (id, enabled) in [("daily", true), ("weekly", false), ("often", false)] {
        assert_eq!(copies(&schedules, id)[0]["enabled"], enabled, "{id}");
    }
    assert_eq!(copies(&schedules, "daily")[0]["parameters"]["url"], "https://example.com");
    check_settled(&rig, &["daily", "weekly", "often"]);

    // The file decides, in both directions.
    rig.file("enabled = true", &all().replace("fires = \"server\"", "fires = \"local\"").replace("* 1", "* 2"));
    rig.mirror(&["plan"])
        .code(0)
        .stdout_has("cron_expression: \"0 9 * * 1\" -> \"0 9 * * 2\"")
        .stdout_has("1 to update, 1 to disable");
    rig.mirror(&["apply"]).code(0);
    check_settled(&rig, &["daily", "weekly", "often"]);
    assert!(rig.schedules().iter().all(|schedule| schedule["enabled"] == false));
}

#[test]
fn what_is_changed_at_the_server_is_seen_and_restored() {
    let rig = Rig::new(&all());
    rig.mirror(&["apply"]).code(0);
    let schedules = rig.schedules();
    let path = |name: &str| {
        let copy = copies(&schedules, name)[0];
        format!("/api/v1/workflows/{}/schedules/{}", copy["workflow_permanent_id"].as_str().unwrap(), id(copy))
    };
    assert_eq!(rig.ask(&format!("POST {}/disable", path("daily")), &Value::Null).0, "200");
    assert_eq!(rig.ask(&format!("POST {}/enable", path("weekly")), &Value::Null).0, "200");
    assert_eq!(rig.ask(&format!("DELETE {}", path("often")), &Value::Null).0, "200");
    let status = rig.mirror(&["status", "--format", "json"]).code(1).objects();
    assert!(status.iter().all(|line| line["state"] == "drift"), "{status:#?}");
    rig.mirror(&["plan"])
        .code(0)
        .stdout_has("it was disabled at the server")
        .stdout_has("it was enabled at the server, and this daemon fires it")
        .stdout_has("was deleted at the server");
    rig.mirror(&["apply"]).code(0);
    check_settled(&rig, &["daily", "weekly", "often"]);
}

#[test]
fn lost_answers_make_nothing_twice() {
    for faults in
        ["create:1=reset-after", "create:1=500-after", "create:1=reset-before", "create:2=truncated,enable:1=500-after"]
    {
        let rig = Rig::new(&[DAILY, WEEKLY].concat());
        rig.faults(faults);
        rig.mirror(&["apply"]).code(0);
        check_settled(&rig, &["daily", "weekly"]);
        assert_eq!(rig.schedules().len(), 2, "{faults}");
    }
}

#[test]
fn killed_anywhere_the_next_apply_finishes() {
    let places = ["before-write", "after-write", "mirror-before-row", "mirror-after-row"];
    let mut killed = 0;
    let rig = Rig::new(&all());
    let by_hand = rig.create(
        "wpid_a",
        &json!({ "cron_expression": "0 9 * * *", "timezone": "UTC", "name": "by hand", "enabled": true }),
    );
    for (round, place) in places.iter().enumerate() {
        for passage in 1..=6 {
            // Something to create, to update, to enable or disable, and to delete, each time.
            let changed = if passage % 2 == 0 { "30 8" } else { "30 7" };
            let mut file = all().replace("0 9", changed).replace("wpid_b", &format!("wpid_{round}{passage}"));
            if passage % 2 == 1 {
                file = file.replace("fires = \"server\"\n", "");
            }
            rig.file("enabled = true\nprune = true", &file);
            killed += usize::from(rig.killed_at(&format!("{place}:{passage}"), &["apply", "--yes"]));
            rig.mirror(&["apply", "--yes"]).code(0);
            check_settled(&rig, &["daily", "weekly", "often"]);
            let schedules = rig.schedules();
            assert_eq!(schedules.len(), 4, "{place}:{passage} {schedules:#?}");
            let mine = schedules.iter().find(|schedule| id(schedule) == by_hand).unwrap();
            assert_eq!((&mine["name"], &mine["enabled"]), (&json!("by hand"), &json!(true)));
        }
    }
    assert!(killed >= 20, "only {killed} were killed");
}

#[test]
fn nothing_is_deleted_unasked() {
    let rig = Rig::new(&all());
    rig.mirror(&["apply"]).code(0);
    rig.file("enabled = true", DAILY);
    rig.mirror(&["apply"]).code(0);
    rig.mirror(&["plan"]).code(0).stdout_has("is kept, disabled (prune = true deletes it)");
    assert_eq!(rig.schedules().len(), 3);

    rig.file("enabled = true\nprune = true", DAILY);
    let before = rig.changes();
    rig.mirror(&["apply"])
        .code(2)
        .stderr_has("it would delete 2 schedules at the server: nothing was applied")
        .stderr_has("`--yes` deletes without asking");
    assert_eq!(rig.changes(), before);
    rig.mirror(&["apply", "--yes"]).code(0);
    check_settled(&rig, &["daily"]);
    assert_eq!(rig.schedules().len(), 1);
}

#[test]
fn a_lost_history_is_rebuilt_by_adoption() {
    let rig = Rig::new(&all());
    rig.mirror(&["apply"]).code(0);
    let before = rig.schedules();
    std::fs::remove_dir_all(rig.project.path("state")).unwrap();
    let changes = rig.changes();
    rig.mirror(&["plan"]).code(0).stdout_has("3 to adopt");
    rig.mirror(&["apply"]).code(0);
    assert_eq!(rig.changes(), changes, "adopting sends nothing");
    check_settled(&rig, &["daily", "weekly", "often"]);
    assert_eq!(rig.schedules(), before);
}

#[test]
fn two_installations_do_not_fight() {
    let rig = Rig::new(&all());
    rig.mirror(&["apply"]).code(0);
    let other = format!("instance = \"other\"\n{}[mirror]\nenabled = true\nprune = true\n{DAILY}", rig.head());
    rig.project.write("other.toml", other);
    let apply = ["apply", "--config", "other.toml", "--state-dir", "state-of-other"];
    rig.mirror(&apply).code(0).stdout_has("create");
    assert_eq!(rig.schedules().len(), 4);
    check_settled(&rig, &["daily", "weekly", "often"]);
    rig.mirror(&apply).code(0).stdout_has("nothing to do");
}

#[test]
fn what_is_imported_is_equal() {
    let rig = Rig::new("");
    let at = |workflow: &str, body: Value| rig.create(workflow, &body);
    at(
        "wpid_a",
        json!({ "cron_expression": "0 9 * * 1-5", "timezone": "America/New_York", "name": "Börse: früh!",
        "description": "two\nlines \"quoted\"", "parameters": { "n": 1, "list": [1.5, { "a b": true }] }, "enabled": true }),
    );
    at(
        "wpid_a",
        json!({ "cron_expression": "0 10 * * *", "timezone": "UTC", "name": "Börse: früh!", "enabled": false }),
    );
    let first = "2099-01-01T00:00:00Z";
    at("wpid_b", json!({ "interval_seconds": 7200, "first_fire_at": first, "timezone": "UTC" }));
    let text = rig.mirror(&["import"]).code(0).stderr_has("taken over: 3, left out: 0").stdout;
    for line in ["id = \"b-rse-fr-h\"", "id = \"b-rse-fr-h-2\"", "enabled = false", "server_schedule_id = \"wfs_"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    rig.project.write("schedules.toml", format!("{}{text}", rig.head()));
    rig.project.run(&["check"]).code(0);
    let plan = rig.mirror(&["plan", "--format", "json"]).code(0).objects();
    assert!(plan.iter().all(|object| object.get("step").is_none()), "{plan:#?}");
    let before = rig.changes();
    rig.mirror(&["apply"]).code(0).stdout_has("nothing to do");
    assert_eq!(rig.changes(), before);
    // From then on they are ours: one that is taken out of the file fires no more.
    rig.file("enabled = true", "");
    rig.mirror(&["plan"]).code(0).stdout_has("it is gone from the file").stdout_has("2 to disable");
    rig.mirror(&["import", "--workflow", "wpid_b"]).code(0).stderr_has("taken over: 1");
}

#[test]
fn what_cannot_be_imported_is_said() {
    let rig = Rig::new("");
    rig.create("wpid_a", &json!({ "cron_expression": "0 9 * * *", "timezone": "UTC", "parameters": { "x": [null] } }));
    rig.create("wpid_a", &json!({ "run_at": "2099-01-01T00:00:00Z", "timezone": "UTC" }));
    rig.create(
        "wpid_a",
        &json!({ "cron_expression": "0 9 * * *", "timezone": "UTC", "description": "[skycron other/a]" }),
    );
    rig.create(
        "wpid_a",
        &json!({ "cron_expression": "0 9 * * *", "timezone": "UTC", "parameters": { "x": "{{ y }}" } }),
    );
    rig.mirror(&["import"])
        .code(1)
        .stdout_has("is left out: its parameter \"x\" holds a null, which TOML does not have")
        .stdout_has("is left out: it is due once, which is not mirrored")
        .stdout_has("is left out: it belongs to another skycron, instance other")
        .stdout_has("is left out: fires = \"server\": the server would send templates as they stand")
        .stderr_has("taken over: 0, left out: 4");
}

#[test]
fn a_server_without_schedules_is_told_once() {
    let rig = Rig::new(&all());
    for fault in ["any:*=501", "any:*=no-route"] {
        rig.faults(fault);
        for command in ["plan", "apply", "status", "import"] {
            let ran = rig.mirror(&[command]).code(3).stderr_has("this server has no schedules of its own");
            assert_eq!(ran.stderr.matches("error:").count(), 1, "{}", ran.stderr);
        }
    }
    rig.faults("create:*=limit:2");
    rig.mirror(&["apply"]).code(1).stdout_has("(made before: ");
    rig.faults("create:*=404");
    rig.mirror(&["apply"]).code(1).stdout_has("refused");
}

#[test]
fn without_the_mirror_nothing_is_applied() {
    let rig = Rig::new("");
    rig.file("enabled = false", WEEKLY);
    rig.mirror(&["apply"]).code(2).stderr_has("the mirror is not enabled").stderr_has("[mirror] enabled = true");
    rig.mirror(&["plan"]).code(0).stderr_has("nothing of this is applied");
    assert_eq!(rig.changes(), 0);
}
