//! The mirror against the real server: what it makes, edits, disables, deletes and takes over, judged by the server's own
//! lists; and `kill -9` in the middle of an apply, again and again.

use std::{collections::BTreeMap, time::Duration};

use chrono::{TimeDelta, Timelike};
use serde_json::{Value, json};
use skycron::clock::{Clock, SystemClock, rfc3339};

use crate::rig::{Ended, Home, Live};

const ENABLED: &str = "[mirror]\nenabled = true\n";
/// How many applies are killed, unless `SKYCRON_LIVE_MIRROR_KILLS` says otherwise.
const KILLS_DEFAULT: usize = 60;
/// An apply that got so far without dying at the place that was named is killed wherever it is.
const LIFE_MILLIS_MAX: u64 = 1500;

/// A `[[schedule]]`.
fn schedule(id: &str, workflow: &str, more: &str) -> String {
    format!("\n[[schedule]]\nid = {id:?}\nworkflow_id = {workflow:?}\n{more}\n")
}

/// The steps of a plan or an apply, as `create daily`.
fn steps(ended: &Ended) -> Vec<String> {
    let text = |object: &Value, field: &str| object[field].as_str().map(str::to_owned);
    let step = |object: Value| Some(format!("{} {}", text(&object, "step")?, text(&object, "schedule")?));
    ended.json().into_iter().filter_map(step).collect()
}

fn plan(home: &Home) -> Vec<String> {
    steps(&home.skycron(&["mirror", "plan", "--format", "json"]))
}

/// Applies, and expects everything to be done.
#[track_caller]
fn apply(home: &Home) -> Vec<String> {
    steps(&home.skycron(&["mirror", "apply", "--yes", "--format", "json"]).expect_code(0))
}

/// A workflow's schedules at the server, by name.
fn at_server(live: &Live, workflow: &str) -> Vec<Value> {
    let answer = live.ask(&format!("/api/v1/workflows/{workflow}/schedules"));
    answer["schedules"].as_array().unwrap().clone()
}

/// The ids and the times of the last change: equal where nothing was sent.
fn untouched(live: &Live, workflow: &str) -> Vec<(String, String)> {
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    at_server(live, workflow).iter().map(|row| (text(row, "workflow_schedule_id"), text(row, "modified_at"))).collect()
}

/// The copies that carry the marker of this instance, by schedule; each once.
#[track_caller]
fn copies(live: &Live, workflow: &str, instance: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for row in at_server(live, workflow) {
        let description = row["description"].as_str().unwrap_or_default().to_owned();
        let marker =
            description.rsplit_once(&format!("[skycron {instance}/")).and_then(|(_, rest)| rest.strip_suffix(']'));
        if let Some(id) = marker {
            assert!(found.insert(id.to_owned(), row).is_none(), "{id} is at the server twice");
        }
    }
    found
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn the_mirror_makes_edits_disables_and_deletes() {
    let live = Live::get();
    let workflow = live.make_workflow();
    let weekday = "cron_expression = \"0 9 * * 1-5\"\ntimezone = \"America/New_York\"\nname = \"Weekdays\"\n\
                   description = \"Every weekday\"\nparameters = { url = \"https://example.com/\" }";
    let first = server_instant(3600);
    let every = format!("interval_seconds = 5400\nfirst_fire_at = {}\nfires = \"server\"", rfc3339(first));
    let both = format!("{ENABLED}{}{}", schedule("weekdays", &workflow, weekday), schedule("every", &workflow, &every));
    let home = Home::new(&live, "mirror-life", &both);

    // Nothing is sent by a plan.
    assert_eq!(plan(&home), ["create weekdays", "create every", "enable every"]);
    assert_eq!(at_server(&live, &workflow), Vec::<Value>::new());
    apply(&home);
    let made = copies(&live, &workflow, "mirror-life");
    let check = |row: &Value, fields: Value| {
        for (field, value) in fields.as_object().unwrap() {
            assert_eq!(&row[field], value, "{field}: {row:#}");
        }
    };
    check(
        &made["weekdays"],
        json!({
            "cron_expression": "0 9 * * 1-5", "timezone": "America/New_York", "name": "Weekdays", "enabled": false,
            "description": "Every weekday\n[skycron mirror-life/weekdays]", "parameters": {"url": "https://example.com/"},
        }),
    );
    check(&made["every"], json!({"interval_seconds": 5400, "first_fire_at": rfc3339(first), "enabled": true}));
    assert_eq!(at_server(&live, &workflow).len(), 2);

    // Nothing differs, nothing is sent.
    let before = untouched(&live, &workflow);
    assert_eq!(plan(&home), [""; 0]);
    assert_eq!(apply(&home), [""; 0]);
    assert_eq!(untouched(&live, &workflow), before);
    home.skycron(&["mirror", "status"]).expect_code(0);

    // Edited.
    let edited =
        weekday.replace("0 9 * * 1-5", "30 8 * * 1-5").replace("https://example.com/", "https://example.com/b");
    home.write(&format!(
        "{ENABLED}{}{}",
        schedule("weekdays", &workflow, &edited),
        schedule("every", &workflow, &every)
    ));
    assert_eq!(plan(&home), ["update weekdays"]);
    apply(&home);
    let after = copies(&live, &workflow, "mirror-life");
    let expected =
        json!({"cron_expression": "30 8 * * 1-5", "parameters": {"url": "https://example.com/b"}, "enabled": false});
    check(&after["weekdays"], expected);
    assert_eq!(after["every"], made["every"], "nothing was sent about the other");

    // Gone from the file: disabled, and only with `prune` deleted.
    home.write(&format!("{ENABLED}{}", schedule("weekdays", &workflow, &edited)));
    assert_eq!(plan(&home), ["disable every"]);
    apply(&home);
    check(&copies(&live, &workflow, "mirror-life")["every"], json!({"enabled": false}));
    assert_eq!(plan(&home), [""; 0]);
    home.write(&format!("{ENABLED}prune = true\n{}", schedule("weekdays", &workflow, &edited)));
    assert_eq!(plan(&home), ["delete every"]);
    // Nobody is there to be asked.
    home.skycron(&["mirror", "apply"]).expect_code(2);
    apply(&home);
    let after = copies(&live, &workflow, "mirror-life");
    assert_eq!(after.keys().collect::<Vec<_>>(), ["weekdays"]);
    assert_eq!(plan(&home), [""; 0]);
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn a_lost_history_is_rebuilt_by_adoption() {
    let live = Live::get();
    let workflow = live.make_workflow();
    let file = |minute: u32| {
        let a = schedule("a", &workflow, "cron_expression = \"0 9 * * *\"\nname = \"A\"\ndescription = \"first\"");
        let b = schedule("b", &workflow, &format!("cron_expression = \"{minute} 10 * * *\"\nfires = \"server\""));
        format!("{ENABLED}{a}{b}")
    };
    let home = Home::new(&live, "mirror-adopt", &file(0));
    apply(&home);
    let before = untouched(&live, &workflow);
    let copies_before = copies(&live, &workflow, "mirror-adopt");

    home.lose_the_history();
    assert_eq!(plan(&home), ["adopt a", "adopt b"]);
    apply(&home);
    assert_eq!(untouched(&live, &workflow), before, "nothing was sent");
    assert_eq!(plan(&home), [""; 0]);

    // Lost again, and the file was edited meanwhile: the same copy is edited.
    home.lose_the_history();
    home.write(&file(30));
    apply(&home);
    let after = copies(&live, &workflow, "mirror-adopt");
    assert_eq!(after["b"]["workflow_schedule_id"], copies_before["b"]["workflow_schedule_id"]);
    assert_eq!(after["b"]["cron_expression"], "30 10 * * *");
    assert_eq!(at_server(&live, &workflow).len(), 2);
    assert_eq!(plan(&home), [""; 0]);
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn what_is_imported_is_accepted_and_has_an_empty_plan() {
    let live = Live::get();
    let workflow = live.make_workflow();
    let path = format!("/api/v1/workflows/{workflow}/schedules");
    let first = rfc3339(server_instant(3600));
    for body in [
        json!({"cron_expression": "0 9 * * 1-5", "timezone": "America/New_York", "name": "Weekday report",
            "description": "two\nlines with \"quotes\" and \\", "parameters": {"url": "https://example.com/ä?a=1&b='2'"}}),
        json!({"cron_expression": "  */30  * * * * ", "timezone": "Europe/Berlin", "enabled": false}),
        json!({"interval_seconds": 5400, "first_fire_at": first, "timezone": "UTC", "name": "Weekday report"}),
        json!({"cron_expression": "@daily", "timezone": "UTC", "name": "", "description": ""}),
    ] {
        live.send("POST", &path, &body);
    }
    let home = Home::new(&live, "mirror-import", "");
    let imported = home.skycron(&["mirror", "import", "--workflow", &workflow]).expect_code(0);
    home.write(&imported.stdout);
    home.skycron(&["check"]).expect_code(0);

    // To take over is not to change: only the history learns of it.
    let before = untouched(&live, &workflow);
    let steps = plan(&home);
    assert!(steps.iter().all(|step| step.starts_with("adopt ")), "{steps:?}\n{}", imported.stdout);
    apply(&home);
    assert_eq!(untouched(&live, &workflow), before, "nothing was sent\n{}", imported.stdout);
    assert_eq!(plan(&home), [""; 0], "{}", imported.stdout);
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn drift_is_seen_and_restored() {
    let live = Live::get();
    let workflow = live.make_workflow();
    let more = "cron_expression = \"0 9 * * *\"\nname = \"Mine\"\nfires = \"server\"";
    let home = Home::new(&live, "mirror-drift", &format!("{ENABLED}{}", schedule("mine", &workflow, more)));
    apply(&home);
    let copy = |live: &Live| copies(live, &workflow, "mirror-drift")["mine"].clone();
    let original = copy(&live);
    let path = format!("/api/v1/workflows/{workflow}/schedules/{}", original["workflow_schedule_id"].as_str().unwrap());
    let edit = |cron: &str, name: &str| {
        let description = original["description"].clone();
        let body = json!({"cron_expression": cron, "timezone": "UTC", "name": name, "description": description});
        live.send("PUT", &path, &body);
    };
    let is_restored = |what: &str| {
        home.skycron(&["mirror", "status"]).expect_code(1);
        apply(&home);
        let found = copy(&live);
        for field in ["cron_expression", "name", "description", "enabled", "timezone", "parameters"] {
            assert_eq!(found[field], original[field], "{what}: {field}");
        }
        home.skycron(&["mirror", "status"]).expect_code(0);
        assert_eq!(plan(&home), [""; 0], "{what}");
        assert_eq!(at_server(&live, &workflow).len(), 1, "{what}");
    };
    edit("0 17 * * *", "Theirs");
    is_restored("edited");
    live.send("POST", &format!("{path}/disable"), &Value::Null);
    is_restored("disabled");
    live.send("DELETE", &path, &Value::Null);
    is_restored("deleted");
    assert_ne!(copy(&live)["workflow_schedule_id"], original["workflow_schedule_id"], "a new one");
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn two_installations_and_a_stranger_leave_each_other_alone() {
    let live = Live::get();
    let workflow = live.make_workflow();
    let path = format!("/api/v1/workflows/{workflow}/schedules");
    let stranger =
        live.send("POST", &path, &json!({"cron_expression": "0 9 * * *", "timezone": "UTC", "name": "daily"}));
    let file = format!("{ENABLED}prune = true\n{}", schedule("daily", &workflow, "cron_expression = \"0 9 * * *\""));
    let homes = ["mirror-one", "mirror-two"].map(|instance| Home::new(&live, instance, &file));
    for home in &homes {
        apply(home);
    }
    let before = untouched(&live, &workflow);
    assert_eq!(before.len(), 3);
    for home in &homes {
        assert_eq!(plan(home), [""; 0]);
        assert_eq!(apply(home), [""; 0]);
    }
    // The one's schedule goes; the other's, of the same id and the same content, stays, and so does the stranger's.
    homes[0].write(&format!("{ENABLED}prune = true\n"));
    assert_eq!(apply(&homes[0]), ["delete daily"]);
    let after = untouched(&live, &workflow);
    assert_eq!(after.len(), 2);
    assert!(after.iter().all(|row| before.contains(row)), "{before:?} {after:?}");
    assert_eq!(after[0].0, stranger["schedule"]["workflow_schedule_id"].as_str().unwrap());
    assert_eq!(plan(&homes[1]), [""; 0]);
}

/// The places of an apply at which it dies; every other life is without one, and ends after some time.
const PLACES: &[&str] = &[
    "before-write:1",
    "in-answer:2",
    "in-answer:3",
    "after-write:1",
    "mirror-before-row:1",
    "written:1",
    "mirror-after-row:1",
    "before-write:2",
    "in-answer:4",
    "after-write:2",
    "mirror-before-row:2",
    "mirror-after-row:2",
    "in-transaction:2",
    "after-write:3",
    "mirror-before-row:3",
    "before-write:4",
];

/// The file of a life: three schedules that change in every other life, and one that comes and goes.
fn file_of_life(life: usize, workflow: &str) -> (String, BTreeMap<String, Value>) {
    let mut text = format!("{ENABLED}prune = true\n");
    let mut wanted = BTreeMap::new();
    for (number, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let comes_and_goes = number == life / 2 % 5;
        if comes_and_goes {
            continue;
        }
        let minute = (life / 2 + number) % 60;
        let is_fired = (life / 2 + number).is_multiple_of(2);
        let fires = if is_fired { "server" } else { "local" };
        let more = format!("cron_expression = \"{minute} 3 1 1 *\"\nname = \"Life {}\"\nfires = {fires:?}", life / 2);
        text += &schedule(id, workflow, &more);
        let expression = format!("{minute} 3 1 1 *");
        wanted.insert(id.to_owned(), json!({"cron_expression": expression, "enabled": is_fired}));
    }
    (text, wanted)
}

#[test]
#[ignore = "needs a real Skyvern server: tests/live/run"]
fn an_apply_that_is_killed_again_and_again_makes_nothing_twice() {
    let live = Live::get();
    let workflow = live.make_workflow();
    let kills = std::env::var("SKYCRON_LIVE_MIRROR_KILLS").map_or(KILLS_DEFAULT, |text| text.parse().unwrap());
    let home = Home::new(&live, "mirror-kills", ENABLED);
    let (mut died, mut lost) = (0, 0);
    for life in 0..kills {
        let (file, wanted) = file_of_life(life, &workflow);
        home.write(&file);
        let place = (life % 4 != 3).then(|| PLACES[life % PLACES.len()]);
        // Spread over the whole of a life, the same at every repetition.
        let millis = if place.is_some() { LIFE_MILLIS_MAX * 4 } else { (life as u64 * 97) % LIFE_MILLIS_MAX };
        let mut live_once = || {
            let arguments = ["mirror", "apply", "--yes", "--format", "json"];
            died += usize::from(home.killed(&arguments, place, Duration::from_millis(millis)).code.is_none());
            copies(&live, &workflow, "mirror-kills")
        };
        let found = live_once();
        // Without the history a copy whose schedule is gone from the file is nobody's, and left: so it is lost only where there
        // is none, and the file stays until everything is adopted.
        let is_lost = life % 4 == 1 && found.keys().all(|id| wanted.contains_key(id)) && home.state_dir().exists();
        if is_lost {
            home.lose_the_history();
            lost += 1;
            live_once();
        }
        // Now and then it may finish; at other times the next file finds what the last one left.
        if is_lost || life % 3 == 2 {
            apply(&home);
            check_mirrored(&live, &workflow, &wanted);
            assert_eq!(plan(&home), [""; 0], "life {life}");
        }
    }
    let (file, wanted) = file_of_life(kills, &workflow);
    home.write(&file);
    apply(&home);
    check_mirrored(&live, &workflow, &wanted);
    assert_eq!(plan(&home), [""; 0]);
    let before = untouched(&live, &workflow);
    assert_eq!(apply(&home), [""; 0]);
    assert_eq!(untouched(&live, &workflow), before);
    assert!(died * 2 > kills, "{died} of {} died: the places do not fit any more", kills + lost);
    eprintln!("live: {} applies, {died} killed, the history lost {lost} times, nothing twice", kills + lost);
}

/// The server has these schedules of ours, each once, and nothing else of this workflow.
#[track_caller]
fn check_mirrored(live: &Live, workflow: &str, wanted: &BTreeMap<String, Value>) {
    let found = copies(live, workflow, "mirror-kills");
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    assert_eq!(at_server(live, workflow).len(), wanted.len());
    for (id, fields) in wanted {
        let row = &found[id];
        for (field, value) in fields.as_object().unwrap() {
            assert_eq!(&row[field], value, "{id}: {field}: {row:#}");
        }
    }
}

/// An instant on the server's clock, which is this machine's, to the second.
fn server_instant(seconds: i64) -> chrono::DateTime<chrono::Utc> {
    (SystemClock.now() + TimeDelta::seconds(seconds)).with_nanosecond(0).unwrap()
}
