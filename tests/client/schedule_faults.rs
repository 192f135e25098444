//! The calls for schedules against the sandbox with faults on order: what is concluded from each, and what had become of the
//! server's state; and its scheduler.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use skycron::{
    clock::{Clock, parse_rfc3339},
    ids::WorkflowId,
    sandbox::{Sandbox, SandboxOptions, SandboxParameter, SandboxWorkflow, ServerSchedules},
    skyvern::{
        ApiErrorKind, Client, DispatchStatus, RunFilter, ScheduleDraft, ScheduleFilter, ServerCadence, ServerSchedule,
        WriteErrorKind, scheduled_run_id,
    },
};

use crate::{block_on, client};

fn sandbox(options: SandboxOptions) -> (Sandbox, Client) {
    let sandbox = Sandbox::start(options).unwrap();
    let client = client(&sandbox.base_url(), sandbox.key().expose());
    (sandbox, client)
}

fn workflow() -> WorkflowId {
    WorkflowId::new("wpid_1").unwrap()
}

fn draft(name: &str) -> ScheduleDraft {
    ScheduleDraft {
        cadence: ServerCadence::Cron("0 9 * * *".to_owned()),
        timezone: "UTC".to_owned(),
        name: Some(name.to_owned()),
        description: None,
        parameters: json!({}).as_object().unwrap().clone(),
        enabled: true,
    }
}

/// One change of a schedule that is there, with this fault in its way: what is concluded, and whether it was done.
#[track_caller]
fn check(fault: &str, kind: WriteErrorKind, is_done: bool) {
    for call in ["create", "update", "enable", "disable", "delete"] {
        let (sandbox, client) =
            sandbox(SandboxOptions { schedule_poll_interval: std::time::Duration::ZERO, ..SandboxOptions::default() });
        let (workflow, is_enabled) = (workflow(), call != "enable");
        let before =
            block_on(client.create_schedule(&workflow, &ScheduleDraft { enabled: is_enabled, ..draft("old") }))
                .unwrap();
        sandbox.set_faults(format!("{call}:1={fault}").parse().unwrap());
        let result = block_on(async {
            match call {
                "create" => client.create_schedule(&workflow, &draft("new")).await.map(|_| ()),
                "update" => client.update_schedule(&workflow, &before.id, &draft("new")).await.map(|_| ()),
                "enable" => client.enable_schedule(&workflow, &before.id).await.map(|_| ()),
                "disable" => client.disable_schedule(&workflow, &before.id).await.map(|_| ()),
                _ => client.delete_schedule(&workflow, &before.id).await,
            }
        });
        let error = result.expect_err(call);
        assert_eq!(error.kind, kind, "{call} {fault}: {error:?}");
        let after = sandbox.schedules();
        let found = match call {
            "create" => after.len() == 2,
            "update" => after[0].name.as_deref() == Some("new"),
            "enable" | "disable" => after[0].enabled != is_enabled,
            _ => after.is_empty(),
        };
        assert_eq!(found, is_done, "{call} {fault}: {after:#?}");
        assert_eq!(sandbox.changes_received(), 2, "{call} {fault}: one call is one request");
    }
}

#[test]
fn what_is_concluded_from_a_fault_and_what_was_done() {
    use WriteErrorKind::{LimitReached, NoSchedules, NotDone, NotFound, Unauthorized, Unknown};
    check("reset-before", Unknown, false);
    check("reset-after", Unknown, true);
    check("500-before", Unknown, false);
    check("500-after", Unknown, true);
    check("db-before", Unknown, false);
    check("db-after", Unknown, true);
    check("502-before", Unknown, false);
    check("502-after", Unknown, true);
    check("unreadable", Unknown, true);
    check("truncated", Unknown, true);
    check("huge:100000", Unknown, true);
    check("plain:502", Unknown, false);
    check("plain:404", NotDone, false);
    check("429:5", NotDone, false);
    check("status:307", NotDone, false);
    check("403", Unauthorized, false);
    check("404", NotFound, false);
    check("501", NoSchedules, false);
    check("limit:5", LimitReached, false);
}

#[test]
fn a_reply_that_comes_too_late_is_no_reply() {
    check("delay:2s", WriteErrorKind::Unknown, true);
}

#[test]
fn servers_of_every_kind() {
    let kinds =
        [ServerSchedules::Whole, ServerSchedules::NewerNames, ServerSchedules::Disabled, ServerSchedules::Absent];
    for kind in kinds {
        let (sandbox, client) = sandbox(SandboxOptions { server_schedules: kind, ..SandboxOptions::default() });
        let has_some = matches!(kind, ServerSchedules::Whole | ServerSchedules::NewerNames);
        let made = block_on(client.create_schedule(&workflow(), &draft("a")));
        let listed = block_on(client.server_schedules(&ScheduleFilter::default()));
        if has_some {
            assert_eq!(made.unwrap().id, listed.unwrap()[0].id, "{kind:?}");
        } else {
            assert_eq!(made.unwrap_err().kind, WriteErrorKind::NoSchedules, "{kind:?}");
            assert_eq!(listed.unwrap_err().kind, ApiErrorKind::NoSchedules, "{kind:?}");
        }
        assert_eq!(sandbox.schedules().len(), usize::from(has_some), "{kind:?}");
    }
}

#[test]
fn a_plan_has_its_limit() {
    let (sandbox, client) = sandbox(SandboxOptions { schedules_max: Some(2), ..SandboxOptions::default() });
    let make = |name: &str| block_on(client.create_schedule(&workflow(), &draft(name)));
    let first = make("a").unwrap();
    make("b").unwrap();
    let error = make("c").unwrap_err();
    assert_eq!((error.kind, error.http_status), (WriteErrorKind::LimitReached, Some(409)));
    assert_eq!(error.message, "the server answered 409: Maximum of 2 schedules reached for your plan");
    block_on(client.delete_schedule(&workflow(), &first.id)).unwrap();
    make("c").unwrap();
    assert_eq!(sandbox.schedules().len(), 2);
}

/// Reads all of 150 schedules with these faults in the way.
fn read(faults: &str) -> Result<Vec<ServerSchedule>, String> {
    let (sandbox, client) = sandbox(SandboxOptions::default());
    block_on(async {
        for number in 0..150 {
            client.create_schedule(&workflow(), &draft(&format!("n{number}"))).await.unwrap();
        }
        sandbox.set_faults(faults.parse().unwrap());
        client.server_schedules(&ScheduleFilter::default()).await.map_err(|error| error.message)
    })
}

#[test]
fn a_list_of_several_pages_is_whole_or_an_error() {
    for faults in
        ["", "schedules:1=half", "schedules:2=half", "schedules:2=shifted", "schedules:3=shifted", "schedules:1-3=half"]
    {
        let all = read(faults).unwrap_or_else(|error| panic!("{faults}: {error}"));
        let names: Vec<String> = all.into_iter().map(|schedule| schedule.name.unwrap()).collect();
        let expected: Vec<String> = (0..150).rev().map(|number| format!("n{number}")).collect();
        assert_eq!(names, expected, "{faults}");
    }
    let error = read("schedules:*=half").unwrap_err();
    assert!(error.contains("page 1 has 50 rows, of a list of 150 it should have 100"), "{error}");
    assert!(read("schedules:3=500-before").is_err(), "half a list is none");
}

/// A clock that is set by hand.
struct Hand(Mutex<DateTime<Utc>>);

impl Clock for Hand {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

/// A sandbox at an instant, whose scheduler looks when it is told to.
struct Rig {
    sandbox: Sandbox,
    client: Client,
    hand: Arc<Hand>,
}

impl Rig {
    fn at(instant: &str, schedule_runs_max: usize) -> Self {
        let hand = Arc::new(Hand(Mutex::new(parse_rfc3339(instant).unwrap())));
        let parameter = SandboxParameter { key: "need".to_owned(), kind: "integer".to_owned(), default: None };
        let strict = SandboxWorkflow {
            parameters: Some(vec![parameter]),
            ..SandboxWorkflow::new(WorkflowId::new("wpid_strict").unwrap())
        };
        let (sandbox, client) = sandbox(SandboxOptions {
            clock: Arc::clone(&hand) as Arc<dyn Clock>,
            schedule_poll_interval: std::time::Duration::ZERO,
            schedule_runs_max,
            workflows: vec![strict],
            ..SandboxOptions::default()
        });
        Self { sandbox, client, hand }
    }

    fn make(&self, draft: &ScheduleDraft) -> ServerSchedule {
        block_on(self.client.create_schedule(&workflow(), draft)).unwrap()
    }

    /// What the scheduler has started by this instant: the ids of the schedules, in the order of their starts.
    fn fired_by(&self, instant: &str) -> Vec<String> {
        *self.hand.0.lock().unwrap() = parse_rfc3339(instant).unwrap();
        self.sandbox.poll_schedules();
        self.sandbox.runs().into_iter().map(|run| run.server_schedule_id.unwrap()).collect()
    }
}

#[test]
fn the_scheduler_starts_the_latest_that_is_due_once() {
    let rig = Rig::at("2026-11-22T08:00:00Z", 8);
    let made = rig.make(&draft("daily"));
    let id = made.id.to_string();
    assert_eq!(rig.fired_by("2026-11-22T08:59:59Z"), [""; 0], "not before");
    assert_eq!(rig.fired_by("2026-11-22T09:00:00Z"), std::slice::from_ref(&id));
    assert_eq!(rig.fired_by("2026-11-22T09:00:01Z").len(), 1, "once");
    let due = parse_rfc3339("2026-11-22T09:00:00Z").unwrap();
    let rows = block_on(rig.client.list_workflow_runs(&workflow(), &RunFilter::default())).unwrap();
    assert_eq!(rows[0].run_id, scheduled_run_id(&made.id, due));
    assert_eq!(
        (rows[0].trigger_type.as_deref(), rows[0].server_schedule_id.as_deref()),
        (Some("scheduled"), Some(id.as_str()))
    );
    // Of several that were missed the latest only, however late.
    assert_eq!(rig.fired_by("2026-11-25T20:00:00Z").len(), 2);
    // What was due before a change is dropped.
    *rig.hand.0.lock().unwrap() += TimeDelta::hours(14);
    block_on(rig.client.enable_schedule(&workflow(), &made.id)).unwrap();
    assert_eq!(rig.fired_by("2026-11-26T10:00:00Z").len(), 2);
    block_on(rig.client.disable_schedule(&workflow(), &made.id)).unwrap();
    assert_eq!(rig.fired_by("2026-11-27T10:00:00Z").len(), 2);
}

#[test]
fn the_scheduler_has_so_many_places() {
    let rig = Rig::at("2026-11-22T08:00:00Z", 1);
    let ids: Vec<String> = ["a", "b"].map(|name| rig.make(&draft(name)).id.to_string()).into();
    assert_eq!(rig.fired_by("2026-11-22T09:00:10Z"), [ids[0].clone()]);
    assert_eq!(rig.fired_by("2026-11-22T09:00:12Z").len(), 1, "a run takes three seconds");
    assert_eq!(rig.fired_by("2026-11-22T09:00:20Z"), ids);
}

#[test]
fn a_schedule_that_is_due_once_is_over_then() {
    let rig = Rig::at("2026-11-22T08:00:00Z", 8);
    let run_at = parse_rfc3339("2026-11-22T09:30:00Z").unwrap();
    let once = rig.make(&ScheduleDraft { cadence: ServerCadence::Once { run_at }, ..draft("once") });
    assert_eq!(once.dispatch_status, Some(DispatchStatus::Pending));
    assert_eq!(rig.fired_by("2026-11-22T11:00:00Z"), [once.id.to_string()]);
    assert_eq!(rig.fired_by("2026-11-23T11:00:00Z").len(), 1);
    let after = block_on(rig.client.server_schedule(&workflow(), &once.id)).unwrap();
    assert_eq!(
        (after.dispatch_status, after.run_id),
        (Some(DispatchStatus::Fired), Some(scheduled_run_id(&once.id, run_at)))
    );
    let error = block_on(rig.client.cancel_schedule(&workflow(), &once.id)).unwrap_err();
    assert_eq!(error.kind, WriteErrorKind::Over);
    let error = block_on(rig.client.update_schedule(
        &workflow(),
        &once.id,
        &ScheduleDraft { cadence: ServerCadence::Once { run_at }, ..draft("x") },
    ));
    assert_eq!(error.unwrap_err().kind, WriteErrorKind::Over);
}

#[test]
fn an_occurrence_that_the_server_lets_pass() {
    let rig = Rig::at("2026-11-22T08:00:00Z", 8);
    rig.make(&draft("daily"));
    rig.sandbox.set_faults("fire:1=missed".parse().unwrap());
    assert_eq!(rig.fired_by("2026-11-22T09:00:30Z"), [""; 0]);
    assert_eq!(rig.fired_by("2026-11-22T09:01:30Z"), [""; 0], "it is not made up for");
    assert_eq!(rig.fired_by("2026-11-23T09:00:30Z").len(), 1);
}

#[test]
fn a_value_of_the_wrong_kind_is_found_when_it_fires() {
    let rig = Rig::at("2026-11-22T08:00:00Z", 8);
    let strict = WorkflowId::new("wpid_strict").unwrap();
    let with = |parameters: serde_json::Value| {
        let draft = ScheduleDraft { parameters: parameters.as_object().unwrap().clone(), ..draft("strict") };
        block_on(rig.client.create_schedule(&strict, &draft))
    };
    for parameters in [json!({}), json!({"need": 1, "more": 1})] {
        assert_eq!(with(parameters).unwrap_err().kind, WriteErrorKind::Refused);
    }
    let made = with(json!({"need": "no number"})).unwrap();
    assert_eq!(rig.fired_by("2026-11-22T09:00:00Z"), [made.id.to_string()]);
    *rig.hand.0.lock().unwrap() += TimeDelta::seconds(1);
    assert_eq!(rig.sandbox.runs()[0].status.word(), "failed");
}
