//! `why` on the real binary, on a history that was written for it.

use chrono::{DateTime, Utc};
use skycron::{
    engine::{Change, Reason, ReasonCode, Status, Trigger, change::NewOccurrence},
    history::{HistoryOptions, Store},
    ids::{Instance, OccurrenceKey, ScheduleId, WorkflowId},
    schedule::Definition,
};

use crate::support::Project;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// 09:00 in New York on weekdays, known since Sunday the 1st; at noon UTC of the 5th changed to 10:00; gone on the 6th. The
/// start of the 2nd was skipped, that of the 3rd refused, that of the 4th failed to be in time.
fn history() -> Project {
    let project = Project::with_file("");
    let (id, workflow_id) = (ScheduleId::new("report").unwrap(), WorkflowId::new("wpid_1").unwrap());
    let defined = |from: &str, expression: Option<&str>| Change::Defined {
        schedule: id.clone(),
        at: at(from),
        definition: expression.map(|expression| {
            let definition = Definition {
                cron_expression: Some(expression.to_owned()),
                timezone: "America/New_York".to_owned(),
                gap: "shift".to_owned(),
                fold: "auto".to_owned(),
                enabled: true,
                ..Definition::default()
            };
            Box::new((definition, workflow_id.clone()))
        }),
    };
    let row = |day: &str, status, code, detail: &str| {
        Change::Occurred(Box::new(NewOccurrence {
            key: OccurrenceKey {
                instance: Instance::new("main").unwrap(),
                schedule: id.clone(),
                scheduled_for: at(&format!("{day}T14:00:00Z")),
                suffix: String::new(),
            },
            workflow_id: workflow_id.clone(),
            trigger: Trigger::Schedule,
            status,
            reason: Some(Reason::new(code, detail)),
            at: at(&format!("{day}T14:00:00Z")),
            count: 1,
            through: None,
            parameters: None,
        }))
    };
    let changes = [
        defined("2026-11-01T00:00:00Z", Some("0 9 * * 1-5")),
        row("2026-11-02", Status::Skipped, ReasonCode::Overlap, "a run is still going"),
        row("2026-11-03", Status::Refused, ReasonCode::Refused, "Missing value for parameter need\u{1b}[2J"),
        row("2026-11-04", Status::Completed, ReasonCode::ParametersDropped, "zzz"),
        defined("2026-11-05T12:00:00Z", Some("0 10 * * 1-5")),
        defined("2026-11-06T00:00:00Z", None),
        Change::AccountedThrough { schedule: id.clone(), through: at("2026-11-05T13:00:00Z") },
    ];
    let mut store = Store::open(&project.path("state"), &HistoryOptions::default()).unwrap();
    store.apply(&changes).unwrap();
    store.close().unwrap();
    project
}

#[test]
fn each_instant_has_its_cause() {
    let project = history();
    let check = |instant: &[&str], cause: &str, at: &str, part: &str| {
        let ran =
            project.run(&[&["why", "report", "--state-dir", "state", "--format", "json"], instant].concat()).code(0);
        let object = ran.objects().remove(0);
        let seen = (object["cause"].as_str().unwrap(), object["at"].as_str().unwrap());
        assert_eq!(seen, (cause, at), "{instant:?} {object:#}");
        assert!(object.to_string().contains(part), "{part:?} in {object:#}");
    };
    // The last that did not go as it should.
    check(&[], "refused", "2026-11-03T14:00:00Z", "Missing value");
    check(&["2026-11-02 09:00"], "overlap", "2026-11-02T14:00:00Z", "still going");
    check(&["2026-11-02", "09:00"], "overlap", "2026-11-02T14:00:00Z", "buffer_one");
    check(&["2026-11-04"], "completed", "2026-11-04T14:00:00Z", "refused");
    check(&["2026-11-02 10:00"], "not_due", "2026-11-02T15:00:00Z", "the hour is 10, and the expression has 9");
    // By the definition of that day.
    check(&["2026-11-05 09:00"], "not_due", "2026-11-05T14:00:00Z", "0 10 * * 1-5");
    check(&["2026-11-05 10:00"], "not_accounted", "2026-11-05T15:00:00Z", "2026-11-05T13:00:00Z");
    check(&["2026-11-09 10:00"], "removed", "2026-11-09T15:00:00Z", "2026-11-06T00:00:00Z");
    check(&["2026-10-30 09:00"], "not_seen", "2026-10-30T13:00:00Z", "first seen");
}

#[test]
fn text_is_a_few_safe_lines() {
    let project = history();
    let ran = project.run(&["why", "report", "2026-11-03T14:00:00Z", "--state-dir", "state"]).code(0);
    ran.stdout_is(
        "report at Tue 2026-11-03 09:00:00 -05:00 (2026-11-03T14:00:00Z)\n  \
         it was not started: the server refused\n  \
         - Missing value for parameter need [2J\n  \
         before it Mon 2026-11-02 09:00 -05:00: skipped\n  \
         after it  Wed 2026-11-04 09:00 -05:00: completed\n  \
         hint: `skycron check --online` says what the server does not take\n",
    );
    project.run(&["why", "reprot", "--state-dir", "state"]).code(2).stderr_has("did you mean \"report\"?");
    project.run(&["why", "report", "someday", "--state-dir", "state"]).code(2).stderr_has("\"someday\" is no instant");
}

#[test]
fn without_a_history_the_file_decides() {
    let project = Project::with_file(
        "[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 * * *\"\ntimezone = \"UTC\"\n",
    );
    project.run(&["why", "a", "2026-11-02 10:00"]).code(0).stdout_has("the hour is 10, and the expression has 9");
    project.run(&["why", "a"]).code(0).stdout_has("it is due in");
    project.run(&["why", "b"]).code(2).stderr_has("neither the history nor the file knows a schedule \"b\"");
}
