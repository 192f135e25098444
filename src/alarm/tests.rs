//! What follows from which changes: each test is a story of changes, with the alarms that come of it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::decide::{Decider, Start};
use crate::{
    config::{Config, Environment},
    engine::{
        Change, Reason, ReasonCode, RunReport, RunStatus, Status, Trigger,
        alarm::NewAlarm,
        change::{AttemptOutcome, NewOccurrence, NoteKind, Pause},
    },
    ids::{OccurrenceKey, RunId, ScheduleId, WorkflowId},
    schedule::Schedule,
};

const FILE: &str = r#"
[notify.ops]
webhook = "https://ops.example/hook"
[notify.all]
webhook = "https://all.example/hook"
on = ["started", "completed", "failed", "recovered"]
[notify.hc]
ping = "https://hc.example/key/{{ schedule }}"
[[schedule]]
id = "daily"
workflow_id = "wpid_1"
cron_expression = "0 14 * * *"
notify = ["ops"]
late_after = "5m"
failures_in_a_row = 3
no_success_for = "26h"
[[schedule]]
id = "pinged"
workflow_id = "wpid_1"
cron_expression = "0 14 * * *"
notify = ["hc", "all"]
[[schedule]]
id = "quiet"
workflow_id = "wpid_1"
cron_expression = "0 14 * * *"
"#;

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-11-{text}Z").parse().unwrap()
}

fn key(name: &str) -> OccurrenceKey {
    let (schedule, rest) = name.split_once('@').unwrap();
    let (day, suffix) = rest.split_once('#').map_or((rest, String::new()), |(day, suffix)| (day, format!("#{suffix}")));
    format!("main/{schedule}@2026-11-{day}T14:00:00Z{suffix}").parse().unwrap()
}

fn occurred(name: &str, status: Status, trigger: Trigger) -> Change {
    Change::Occurred(Box::new(NewOccurrence {
        key: key(name),
        workflow_id: WorkflowId::new("wpid_1").unwrap(),
        trigger,
        status,
        reason: None,
        at: at("02T14:00:00"),
        count: 1,
        through: None,
        parameters: None,
    }))
}

fn due(name: &str) -> Change {
    occurred(name, Status::Pending, Trigger::Schedule)
}

fn to(name: &str, status: Status, code: Option<ReasonCode>) -> Change {
    let reason = code.map(|code| Reason::new(code, "why"));
    Change::StatusChanged { key: key(name), status, reason, at: at("02T14:00:00") }
}

fn failed(name: &str) -> Change {
    to(name, Status::Failed, Some(ReasonCode::RunFailed))
}

fn noted(kind: NoteKind, text: &str) -> Change {
    Change::Noted { at: at("02T14:00:00"), kind, text: text.to_owned() }
}

fn answered(outcome: AttemptOutcome, status: u16) -> Change {
    let message = Some("Invalid credentials".to_owned());
    let (key, at) = (key("daily@02"), at("02T14:00:00"));
    Change::AttemptEnded { key, number: 1, at, outcome, message, http_status: Some(status), run_id: None }
}

fn paused(is: bool) -> Change {
    let pause = is.then(|| Pause { since: at("02T14:00:00"), until: None, note: None });
    Change::Paused { schedule: ScheduleId::new("daily").unwrap(), at: at("02T14:00:00"), pause }
}

/// A decider, and what it has been told to remember.
struct Story {
    decider: Decider,
    memories: std::collections::BTreeMap<String, String>,
    schedules: Vec<Arc<Schedule>>,
    config: Config,
}

impl Story {
    fn begin() -> Self {
        let environment = Environment::from_pairs([("TZDIR", "/nowhere")]);
        let config = Config::parse("a.toml".as_ref(), FILE, &environment).unwrap_or_else(|p| panic!("{p:#?}"));
        let schedules = config.schedules.clone();
        let start = Start { schedules: &schedules, ..Start::default() };
        let channels = Arc::new(config.settings.notify.clone());
        let decider = Decider::new(at("02T13:00:00"), config.settings.instance.clone(), channels, start);
        Self { decider, memories: std::collections::BTreeMap::new(), schedules, config }
    }

    /// Another process, which knows only what was stored.
    fn restart(&mut self, now: &str) {
        let start = Start { memories: self.memories.clone(), schedules: &self.schedules, ..Start::default() };
        let channels = Arc::new(self.config.settings.notify.clone());
        self.decider = Decider::new(at(now), self.config.settings.instance.clone(), channels, start);
    }

    fn raised(&mut self, now: &str, changes: &[Change]) -> Vec<NewAlarm> {
        let mut raised = Vec::new();
        for change in self.decider.decide(at(now), changes) {
            match change {
                Change::AlarmRaised(alarm) => raised.push(*alarm),
                Change::AlarmsRemembered { schedule, memory, .. } => {
                    let subject = schedule.map_or_else(String::new, |id| id.to_string());
                    self.memories.remove(&subject);
                    self.memories.extend(memory.map(|memory| (subject, memory)));
                }
                other => panic!("{other:?}"),
            }
        }
        raised
    }

    /// What is raised, as `channel:event`.
    #[track_caller]
    fn check(&mut self, now: &str, changes: &[Change], expected: &[&str]) {
        let raised = self.raised(now, changes);
        let got: Vec<String> = raised.iter().map(|alarm| format!("{}:{}", alarm.channel, alarm.event)).collect();
        assert_eq!(got, expected, "{now}");
        for alarm in raised {
            let named = alarm.facts.keys().map(String::as_str).collect::<Vec<_>>();
            assert_eq!(named, crate::engine::alarm::FACTS, "every name is there");
            assert_eq!(alarm.facts["id"], alarm.id.as_str());
            assert!(alarm.id.ends_with(&format!(":{}", alarm.event)), "{}", alarm.id);
        }
    }
}

#[test]
fn a_run_that_goes_well_is_no_alarm() {
    let mut story = Story::begin();
    story.check("02T14:00:00", &[due("daily@02"), due("quiet@02")], &[]);
    story.check("02T14:00:01", &[to("daily@02", Status::Running, None)], &[]);
    story.check("02T14:00:09", &[to("daily@02", Status::Completed, None)], &[]);
    story.check("02T14:00:10", &[failed("quiet@02")], &[]);
}

#[test]
fn a_ping_is_told_of_every_run() {
    let mut story = Story::begin();
    story.check("02T14:00:00", &[due("pinged@02")], &[]);
    story.check("02T14:00:01", &[to("pinged@02", Status::Running, None)], &["hc:started", "all:started"]);
    // A word about a run that goes on is not another start.
    story.check("02T14:00:02", &[to("pinged@02", Status::Running, Some(ReasonCode::ParametersDropped))], &[]);
    story.check("02T14:00:09", &[to("pinged@02", Status::Completed, None)], &["hc:completed", "all:completed"]);
    story.check("02T15:00:00", &[to("pinged@03", Status::Running, None)], &["hc:started", "all:started"]);
    story.check("02T15:00:00", &[failed("pinged@03")], &["hc:failed", "all:failed"]);
    story.check("02T15:00:00", &[occurred("pinged@04", Status::Missed, Trigger::Schedule)], &["hc:missed"]);
    story.check("02T15:00:00", &[to("pinged@05", Status::Skipped, Some(ReasonCode::Overlap))], &[]);
    let recovered = ["hc:completed", "all:completed", "all:recovered"];
    story.check("02T15:00:00", &[to("pinged@06", Status::Completed, None)], &recovered);
}

#[test]
fn bad_ends_are_told_counted_and_taken_back() {
    let mut story = Story::begin();
    story.check("02T14:00:09", &[failed("daily@02")], &["ops:failed"]);
    story.check("03T14:00:09", &[to("daily@03", Status::Refused, Some(ReasonCode::Refused))], &["ops:refused"]);
    story.restart("03T15:00:00");
    let third = [to("daily@04", Status::Unknown, Some(ReasonCode::NoAnswer))];
    let silent_too = ["ops:unknown", "ops:failures_in_a_row", "ops:no_success"];
    story.check("04T14:00:09", &third, &silent_too);
    story.check("05T14:00:09", &[to("daily@05", Status::TimedOut, Some(ReasonCode::RunFailed))], &["ops:failed"]);
    story.restart("05T15:00:00");
    // What a person makes up for out of the past says nothing about today.
    story.check("05T16:00:00", &[to("daily@01#backfill-1", Status::Completed, None)], &[]);
    story.check("06T14:00:09", &[to("daily@06", Status::Completed, None)], &["ops:recovered"]);
    story.check("07T14:00:09", &[to("daily@07", Status::Completed, None)], &[]);
}

#[test]
fn an_end_that_is_tried_again_is_not_told_yet() {
    let mut story = Story::begin();
    let again = occurred("daily@02#retry-2", Status::Pending, Trigger::Retry);
    story.check("02T14:00:09", &[failed("daily@02"), again], &[]);
    story.check("02T14:05:00", &[to("daily@02#retry-2", Status::Running, None)], &[]);
    story.check("02T14:06:00", &[failed("daily@02#retry-2")], &["ops:failed"]);
}

#[test]
fn a_cancelled_run_is_an_alarm_unless_the_overlap_rule_wants_it() {
    let canceled = |code| [to("daily@02", Status::Canceled, Some(code))];
    let mut story = Story::begin();
    story.check("02T14:00:09", &canceled(ReasonCode::Canceled), &[]);
    story.check("02T14:00:09", &canceled(ReasonCode::RunFailed), &["ops:failed"]);
    let mut story = Story::begin();
    story.check("02T14:00:08", &[to("daily@02", Status::Running, Some(ReasonCode::Canceled))], &[]);
    story.check("02T14:00:09", &canceled(ReasonCode::Canceled), &["ops:failed"]);
}

#[test]
fn a_start_that_does_not_come_is_late_once() {
    let mut story = Story::begin();
    story.check("02T14:00:00", &[due("daily@02")], &[]);
    assert_eq!(story.decider.next_wake(), Some(at("02T14:05:00")));
    story.check("02T14:04:59", &[], &[]);
    story.check("02T14:05:00", &[], &["ops:late"]);
    story.check("02T14:09:00", &[to("daily@02", Status::Running, None)], &[]);
    // One that is made up for is late when it is decided.
    story.check(
        "03T16:00:00",
        &[occurred("daily@03", Status::Pending, Trigger::CatchUp)],
        &["ops:late", "ops:no_success"],
    );
    // One that starts in time, or a person's own, is not.
    story.check(
        "04T14:00:00",
        &[due("daily@04"), occurred("daily@04#manual-1", Status::Pending, Trigger::Manual)],
        &[],
    );
    story.check("04T14:00:01", &[to("daily@04", Status::Running, None)], &[]);
    story.check("04T15:00:00", &[], &[]);
}

#[test]
fn silence_is_an_alarm_once_and_ends_with_a_success() {
    let mut story = Story::begin();
    assert_eq!(story.decider.next_wake(), Some(at("03T15:00:00")), "watched since 13:00");
    story.check("02T14:00:09", &[to("daily@02", Status::Completed, None)], &[]);
    assert_eq!(story.decider.next_wake(), Some(at("03T16:00:09")));
    story.restart("03T00:00:00");
    assert_eq!(story.decider.next_wake(), Some(at("03T16:00:09")));
    story.check("03T16:00:09", &[], &["ops:no_success"]);
    assert_eq!(story.decider.next_wake(), None);
    story.restart("09T00:00:00");
    story.check("09T00:00:00", &[], &[]);
    story.check("09T14:00:09", &[to("daily@09", Status::Completed, None)], &["ops:recovered"]);
    // A pause is silent on purpose, and what counts begins at its end.
    story.check("09T15:00:00", &[paused(true)], &[]);
    assert_eq!(story.decider.next_wake(), None);
    story.check("20T00:00:00", &[paused(false)], &[]);
    assert_eq!(story.decider.next_wake(), Some(at("21T02:00:00")));
}

#[test]
fn the_daemon_tells_of_its_file_and_its_key() {
    let mut story = Story::begin();
    story.check("02T14:00:00", &[noted(NoteKind::Started, "")], &[]);
    story.check("02T14:00:01", &[noted(NoteKind::ReloadRefused, "4:1 is wrong")], &["ops:file_refused"]);
    story.check("02T14:00:02", &[noted(NoteKind::ReloadRefused, "4:1 is wrong")], &[]);
    story.restart("02T14:00:03");
    story.check("02T14:00:04", &[noted(NoteKind::ReloadRefused, "5:1 is wrong")], &["ops:file_refused"]);
    story.check("02T14:00:05", &[noted(NoteKind::Reloaded, "")], &["ops:recovered"]);
    story.check("02T14:00:06", &[answered(AttemptOutcome::NotStarted, 503)], &[]);
    story.check("02T14:00:07", &[answered(AttemptOutcome::NotStarted, 403)], &["ops:key_refused"]);
    story.check("02T14:00:08", &[answered(AttemptOutcome::NotStarted, 403)], &[]);
    story.check("02T14:00:09", &[answered(AttemptOutcome::Started, 200)], &["ops:recovered"]);
}

#[test]
fn an_alarm_says_what_there_is_to_say() {
    let mut story = Story::begin();
    let mut report = RunReport::bare(RunId::new("wr_7").unwrap(), RunStatus::Failed);
    report.app_url = Some("https://app.example/wr_7".to_owned());
    let report = Change::RunReported { key: key("daily@02"), report: Box::new(report), at: at("02T14:00:09") };
    let raised = story.raised("02T14:00:09", &[report, failed("daily@02")]);
    let facts = &raised[0].facts;
    let check = |name: &str, expected: &str| assert_eq!(facts[name], expected, "{name}");
    check("id", "main/daily@2026-11-02T14:00:00Z:failed");
    check("schedule", "daily");
    check("status", "failed");
    check("reason", "run_failed: why");
    check("run_id", "wr_7");
    check("app_url", "https://app.example/wr_7");
    check("at", "2026-11-02T14:00:09.000Z");
    check("text", "daily failed (due 2026-11-02T14:00:00Z): run_failed: why");
}

#[test]
fn a_reload_keeps_what_is_known() {
    let mut story = Story::begin();
    story.check("02T14:00:09", &[failed("daily@02")], &["ops:failed"]);
    let (schedules, now) = (story.schedules.clone(), at("02T15:00:00"));
    story.decider.set_schedules(now, &schedules);
    assert_eq!(story.decider.next_wake(), Some(at("02T13:00:00") + TimeDelta::hours(26)));
    // Its runs may go on after it is gone.
    story.decider.set_schedules(now, &schedules[1..]);
    assert_eq!(story.decider.next_wake(), None);
    story.check("02T16:00:00", &[failed("daily@02#retry-2")], &["ops:failed"]);
}
