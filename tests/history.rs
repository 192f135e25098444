//! `skycron history` and `skycron show`, run as a person runs them, on a history that is made through the library.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{path::Path, process::Command};

use chrono::TimeDelta;
use serde_json::{Value, json};
use skycron::{
    clock::parse_rfc3339,
    engine::{
        Change, Reason, ReasonCode, RunReport, RunStatus, Status, Trigger,
        change::{AttemptOutcome, NewOccurrence, NoteKind},
    },
    history::{HistoryOptions, Store},
    ids::{OccurrenceKey, RunId, ScheduleId, WorkflowId},
    schedule::Definition,
};

fn occurred(key: &OccurrenceKey, status: Status, reason: Option<Reason>) -> NewOccurrence {
    NewOccurrence {
        key: key.clone(),
        workflow_id: WorkflowId::new("wpid_1").unwrap(),
        trigger: Trigger::Schedule,
        status,
        reason,
        at: key.scheduled_for + TimeDelta::milliseconds(2),
        count: 1,
        through: None,
        parameters: None,
    }
}

/// One occurrence that failed at its second attempt, one that was skipped, a stretch that was missed.
fn make(dir: &Path) {
    let at = |time: &str| parse_rfc3339(&format!("2026-11-02T{time}Z")).unwrap();
    let key = |text: &str| text.parse::<OccurrenceKey>().unwrap();
    let mut store = Store::open(dir, &HistoryOptions::default()).unwrap();
    let mut changes: Vec<Change> = ["report", "hourly"]
        .map(|id| Change::Defined {
            schedule: ScheduleId::new(id).unwrap(),
            at: at("00:00:00"),
            definition: Some(Box::new((Definition::default(), WorkflowId::new("wpid_1").unwrap()))),
        })
        .into();
    let failed = key("main/report@2026-11-02T14:00:00Z");
    let ended =
        |number, time, outcome, message: Option<&str>, http_status, run_id: Option<&str>| Change::AttemptEnded {
            key: failed.clone(),
            number,
            at: at(time),
            outcome,
            message: message.map(str::to_owned),
            http_status,
            run_id: run_id.map(|id| RunId::new(id).unwrap()),
        };
    let mut report = RunReport::bare(RunId::new("wr_1").unwrap(), RunStatus::Failed);
    report.failure_reason = Some("the button\n\u{1b}[31mwas gone".to_owned());
    report.output = Some(r#"{"rows":3}"#.to_owned());
    report.app_url = Some("https://app.example.com/wr_1".to_owned());
    report.finished_at = Some(at("14:01:30"));
    changes.extend([
        Change::Occurred(Box::new(occurred(&failed, Status::Pending, None))),
        Change::AttemptBegun { key: failed.clone(), number: 1, at: at("14:00:00.003") },
        ended(1, "14:00:00.010", AttemptOutcome::NotStarted, Some("the server is busy"), Some(503), None),
        Change::AttemptBegun { key: failed.clone(), number: 2, at: at("14:00:05.010") },
        ended(2, "14:00:05.060", AttemptOutcome::Started, None, Some(200), Some("wr_1")),
        Change::Noted { at: at("14:01:00"), kind: NoteKind::Reloaded, text: "1 schedule changed".to_owned() },
        Change::RunReported { key: failed.clone(), report: Box::new(report), at: at("14:01:31") },
        Change::StatusChanged {
            key: failed.clone(),
            status: Status::Failed,
            reason: Some(Reason::new(ReasonCode::RunFailed, "the run failed")),
            at: at("14:01:31"),
        },
    ]);
    let overlap = Reason::new(ReasonCode::Overlap, "wr_1 was still going");
    let skipped = occurred(&key("main/report@2026-11-02T15:00:00Z"), Status::Skipped, Some(overlap));
    changes.push(Change::Occurred(Box::new(skipped)));
    let late = Reason::new(ReasonCode::Late, "nothing could fire");
    let mut missed = occurred(&key("main/hourly@2026-11-02T02:00:00Z"), Status::Missed, Some(late));
    missed.count = 7;
    missed.through = Some(at("08:00:00"));
    changes.push(Change::Occurred(Box::new(missed)));
    store.apply(&changes).unwrap();
    store.close().unwrap();
}

/// Runs the program on the folder: exit code, standard output, standard error.
fn skycron(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_skycron"))
        .args(args)
        .arg("--state-dir")
        .arg(dir)
        .env_clear()
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn check(args: &[&str], code: i32, stdout: &str, stderr: &str) {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let (found_code, found_stdout, found_stderr) = skycron(dir.path(), args);
    assert_eq!(found_stdout, stdout, "{args:?}");
    assert_eq!(found_stderr.replace(&dir.path().display().to_string(), "DIR"), stderr, "{args:?}");
    assert_eq!(found_code, code, "{args:?}");
}

#[test]
fn history_for_people() {
    check(
        &["history"],
        0,
        "\
OCCURRENCE                        STATUS   TRIGGER   LATE   TOOK        RUN   WHY
main/report@2026-11-02T15:00:00Z  skipped  schedule                           overlap: wr_1 was still going
main/report@2026-11-02T14:00:00Z  failed   schedule  5.0 s  1 min 24 s  wr_1  the button  [31mwas gone
main/hourly@2026-11-02T02:00:00Z  missed   schedule                           7 until 2026-11-02T08:00:00Z; late: nothing could fire
",
        "",
    );
    check(
        &["history", "report", "--limit", "1"],
        0,
        "\
OCCURRENCE                        STATUS   TRIGGER   LATE  TOOK  RUN  WHY
main/report@2026-11-02T15:00:00Z  skipped  schedule                   overlap: wr_1 was still going
",
        "the newest 1; --limit shows more\n",
    );
    check(&["history", "--status", "completed,running"], 0, "", "nothing: no occurrence is like that\n");
}

#[test]
fn history_for_programs() {
    check(
        &[
            "history",
            "--format",
            "json",
            "--status",
            "failed",
            "--since",
            "2026-11-02",
            "--until",
            "2026-11-02T14:00:00Z",
        ],
        0,
        concat!(
            r#"{"occurrence":"main/report@2026-11-02T14:00:00Z","schedule":"report","#,
            r#""scheduled_for":"2026-11-02T14:00:00Z","trigger":"schedule","status":"failed","#,
            r#""reason":"run_failed: the run failed","attempts":2,"run_id":"wr_1","#,
            r#""launched_at":"2026-11-02T14:00:05.010Z","finished_at":"2026-11-02T14:01:30.000Z","#,
            r#""failure_reason":"the button\n\u001b[31mwas gone"}"#,
            "\n"
        ),
        "",
    );
    check(&["history", "hourly", "--format", "json", "--since", "2026-11-02T08:00:01Z"], 0, "", "");
}

#[test]
fn questions_that_cannot_be_answered() {
    check(
        &["history", "reprot"],
        2,
        "",
        "error: the history has never seen a schedule \"reprot\"\nhint: did you mean \"report\"?\n",
    );
    check(&["history", "nothing-like-it"], 2, "", "error: the history has never seen a schedule \"nothing-like-it\"\n");
    check(
        &["show", "wr_2"],
        1,
        "",
        "error: the history has no occurrence wr_2\n\
         hint: skycron history lists them; what is older than [history] keep_for is gone\n",
    );
    check(
        &["show", "report"],
        1,
        "",
        "error: the history has no occurrence report\n\
         hint: skycron history lists them; what is older than [history] keep_for is gone\n",
    );
    check(
        &["show", "main/report"],
        2,
        "",
        "error: \"main/report\" is not an occurrence: expected <instance>/<schedule>@<instant>, as in \
         main/weekday-report@2026-11-02T14:00:00Z\n",
    );
    let nowhere = tempfile::tempdir().unwrap();
    for args in [&["history"][..], &["show", "wr_1"]] {
        let (code, stdout, stderr) = skycron(nowhere.path(), args);
        let expected = format!(
            "error: there is no history in {}\nhint: the daemon makes it when it starts; --state-dir or SKYCRON_STATE_DIR \
             name another folder\n",
            nowhere.path().display()
        );
        assert_eq!((code, stdout.as_str(), stderr), (2, "", expected), "{args:?}");
    }
    let (code, _, stderr) = skycron(nowhere.path(), &["history", "--status", "done"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("invalid value 'done'") && stderr.contains("timed_out"), "{stderr}");
}

#[test]
fn one_occurrence_for_people() {
    let expected = "\
main/report@2026-11-02T14:00:00Z
  status      failed
  reason      run_failed: the run failed
  trigger     schedule
  workflow    wpid_1
  due         2026-11-02T14:00:00Z
  decided     2026-11-02T14:00:00.002Z
  launched    2026-11-02T14:00:05.010Z, 5.0 s after it was due
  finished    2026-11-02T14:01:30.000Z, after 1 min 24 s
attempts
  1  2026-11-02T14:00:00.003Z  not_started after 7 ms, HTTP 503: the server is busy
  2  2026-11-02T14:00:05.010Z  started after 50 ms, HTTP 200, wr_1
run wr_1
  status      failed at 2026-11-02T14:01:31.000Z
  finished    2026-11-02T14:01:30.000Z
  failure     the button  [31mwas gone
  page        https://app.example.com/wr_1
  output      {\"rows\":3}
the daemon meanwhile
  2026-11-02T14:01:00.000Z  reloaded: 1 schedule changed
";
    check(&["show", "wr_1"], 0, expected, "");
    check(&["show", "main/report@2026-11-02T14:00:00Z"], 0, expected, "");
    check(
        &["show", "main/hourly@2026-11-02T02:00:00Z"],
        0,
        "\
main/hourly@2026-11-02T02:00:00Z
  status      missed
  reason      late: nothing could fire
  trigger     schedule
  stands for  7 occurrences, the last at 2026-11-02T08:00:00Z
  workflow    wpid_1
  due         2026-11-02T02:00:00Z
  decided     2026-11-02T02:00:00.002Z
",
        "",
    );
}

#[test]
fn one_occurrence_for_programs() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let (code, stdout, _) = skycron(dir.path(), &["show", "wr_1", "--format", "json"]);
    assert_eq!((code, stdout.lines().count()), (0, 1));
    let detail: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(detail["run"]["output"], json!({"rows": 3}));
    assert_eq!(detail["attempt_list"][0]["outcome"], "not_started");
    assert_eq!(
        detail["notes"],
        json!([{"at": "2026-11-02T14:01:00.000Z", "kind": "reloaded", "text": "1 schedule changed"}])
    );
    let fields: Vec<&str> = detail.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "occurrence",
            "schedule",
            "scheduled_for",
            "trigger",
            "status",
            "reason",
            "attempts",
            "run_id",
            "launched_at",
            "finished_at",
            "failure_reason",
            "count",
            "through",
            "workflow_id",
            "decided_at",
            "parameters",
            "attempt_list",
            "run",
            "related",
            "notes",
        ]
    );
}
