//! Fault by fault: how the client sorts the start, and what the sandbox's own record says about the run.

use std::time::Duration;

use skycron::{
    ids::{RunId, WorkflowId},
    sandbox::{Behaviour, Sandbox, SandboxOptions, SandboxWorkflow},
    skyvern::{ApiErrorKind, Detail, RunFilter, StartReply, TagSearch},
};

use crate::{block_on, client, message, sorted, start};

const WORKFLOW: &str = "wpid_1";

fn sandbox(faults: &str) -> Sandbox {
    Sandbox::start(SandboxOptions { faults: faults.parse().unwrap(), ..SandboxOptions::default() }).unwrap()
}

/// One start that meets the fault: how it is sorted, a piece of its message, and how many runs there are then.
fn check(fault: &str, expected: &str, says: &str, runs: usize) {
    let sandbox = sandbox(&format!("start:1={fault}"));
    let client = client(&sandbox.base_url(), sandbox.key().expose());
    let reply = block_on(start(&client, WORKFLOW));
    assert_eq!(sorted(&reply), expected, "{fault}: {reply:?}");
    assert!(message(&reply).contains(says), "{fault}: {reply:?}");
    assert_eq!(sandbox.runs().len(), runs, "{fault}");
    assert_eq!(sandbox.starts_received(), 1, "{fault}: a start is sent once");
}

#[test]
fn starts() {
    check("delay:1ms", "started", "", 1);
    check("delay:5s", "unknown", "did not answer in time", 1);
    check("reset-before", "unknown", "broke before the answer", 0);
    check("reset-after", "unknown", "broke before the answer", 1);
    check("500-before", "unknown 500", "Unexpected error", 0);
    check("500-after", "unknown 500", "Unexpected error", 1);
    check("429", "not_started 429", "Rate limit exceeded", 0);
    check("429:30", "not_started 429 after 30", "Rate limit exceeded", 0);
    check("busy", "not_started 503 after 5", "No run was created", 0);
    check("db-before", "unknown 503", "Database temporarily unavailable", 0);
    check("db-after", "unknown 503", "Database temporarily unavailable", 1);
    check("unreadable", "unknown 200", "not JSON", 1);
    check("truncated", "unknown 200", "broke within the answer", 1);
    check("huge", "unknown 200", "larger than 65536 bytes", 1);
    check("403", "not_started 403", "Could not validate credentials", 0);
    check("404", "refused 404", "Workflow not found. workflow_permanent_id=wpid_1", 0);
    check("tag-late:1s", "started", "", 1);
    check("crash-row", "unknown", "broke before the answer", 1);
    check("crash-tag", "unknown", "broke before the answer", 1);
    check("status:302", "not_started 302", "redirect", 0);
    check("plain:502", "unknown 502", "a proxy's page", 0);
}

#[test]
fn a_reset_is_a_reset() {
    let sandbox = sandbox("start:1=reset-after");
    let client = client(&sandbox.base_url(), sandbox.key().expose());
    let reply = block_on(start(&client, WORKFLOW));
    assert!(message(&reply).contains("reset by peer"), "{reply:?}");
}

#[test]
fn a_stalled_start_becomes_a_run_after_the_client_gave_up() {
    let sandbox = sandbox("start:1=stall:1500ms");
    let client = client(&sandbox.base_url(), sandbox.key().expose());
    let reply = block_on(start(&client, WORKFLOW));
    assert_eq!(sorted(&reply), "unknown", "{reply:?}");
    assert_eq!(sandbox.runs().len(), 0);
    for _ in 0..1000 {
        if !sandbox.runs().is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the run was never made");
}

#[test]
fn a_run_from_its_start_to_its_end() {
    let behaviour = Behaviour { run_time: Duration::from_millis(100), ..Behaviour::default() };
    let sandbox = Sandbox::start(SandboxOptions { behaviour, ..SandboxOptions::default() }).unwrap();
    let client = client(&sandbox.base_url(), sandbox.key().expose());
    block_on(async {
        let StartReply::Started(report) = start(&client, WORKFLOW).await else { panic!("not started") };
        assert_eq!(report.status.word(), "created");
        let end = loop {
            let report = client.get_run(&report.run_id, Detail::Full).await.unwrap();
            if report.is_over() {
                break report;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(end.status.word(), "completed");
        assert!(end.output.as_ref().unwrap().contains("https://example.com/"), "{end:?}");
        assert!(end.started_at.unwrap() < end.finished_at.unwrap());
        client.cancel_run(&report.run_id).await.unwrap();
        let after = client.get_run(&report.run_id, Detail::Brief).await.unwrap();
        assert_eq!(after.status.word(), "completed", "cancelling what is over has no effect");
    });
    let record = &sandbox.runs()[0];
    assert_eq!(record.run_metadata["skycron_occurrence"], "main/daily@2026-11-02T14:00:00Z");
    assert_eq!(record.request["proxy_location"], serde_json::Value::Null);
    assert_eq!(record.request.keys().filter(|key| *key == "proxy_location").count(), 1);
}

#[test]
fn cancelling() {
    let sandbox = sandbox("start:2=crash-tag");
    let client = client(&sandbox.base_url(), sandbox.key().expose());
    block_on(async {
        let StartReply::Started(report) = start(&client, WORKFLOW).await else { panic!("not started") };
        client.cancel_run(&report.run_id).await.unwrap();
        let run = client.get_run(&report.run_id, Detail::Brief).await.unwrap();
        assert_eq!(run.status.word(), "canceled");
        // A half-made run is seen and cancelled on the older paths.
        assert_eq!(sorted(&start(&client, WORKFLOW).await), "unknown");
        let half_made = RunId::new(&sandbox.runs()[1].run_id).unwrap();
        assert_eq!(client.get_run(&half_made, Detail::Full).await.unwrap().status.word(), "created");
        client.cancel_run(&half_made).await.unwrap();
        assert_eq!(client.get_run(&half_made, Detail::Full).await.unwrap().status.word(), "canceled");
        let error = client.cancel_run(&RunId::new("wr_1").unwrap()).await.unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ApiErrorKind::NotFound, "the server answered 404: Run not found wr_1")
        );
    });
}

/// The ids that a search for the occurrence's tag finds.
async fn found(client: &skycron::skyvern::Client) -> Vec<String> {
    let tag = Some(("skycron_occurrence".to_owned(), "main/daily@2026-11-02T14:00:00Z".to_owned()));
    let workflow = WorkflowId::new(WORKFLOW).unwrap();
    let filter = RunFilter { tag, ..RunFilter::default() };
    client.list_workflow_runs(&workflow, &filter).await.unwrap().into_iter().map(|run| run.run_id.to_string()).collect()
}

#[test]
fn a_run_is_found_by_its_tag() {
    let sandbox = sandbox("start:1=reset-after,start:2=crash-row,start:3=tag-late:400ms");
    let client = client(&sandbox.base_url(), sandbox.key().expose());
    let workflow = WorkflowId::new(WORKFLOW).unwrap();
    block_on(async {
        assert_eq!(client.tag_search(&workflow).await.unwrap(), TagSearch::Works);
        start(&client, WORKFLOW).await;
        start(&client, WORKFLOW).await;
        start(&client, WORKFLOW).await;
        let id = |number: usize| sandbox.runs()[number].run_id.clone();
        // The second was left without a tag; that of the third comes later.
        assert_eq!(found(&client).await, [id(0)]);
        for _ in 0..200 {
            if found(&client).await.len() > 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(found(&client).await, [id(2), id(0)], "the newest first");
        let all = client.list_workflow_runs(&workflow, &RunFilter::default()).await.unwrap();
        assert_eq!(all.len(), 3);
        let tags = client.run_tags(&RunId::new(&id(0)).unwrap()).await.unwrap();
        assert!(
            tags.contains(&("skycron_occurrence".to_owned(), "main/daily@2026-11-02T14:00:00Z".to_owned())),
            "{tags:?}"
        );
        let later = RunFilter { created_at_start: Some(sandbox.runs()[1].created_at), ..RunFilter::default() };
        // The filter is written in milliseconds, so the row of the same millisecond may be among them.
        assert!((2..=3).contains(&client.list_workflow_runs(&workflow, &later).await.unwrap().len()));
        let page = RunFilter { page: 2, page_size: 2, ..RunFilter::default() };
        assert_eq!(client.list_workflow_runs(&workflow, &page).await.unwrap()[0].run_id.as_str(), id(0));
    });
}

/// What is concluded about the search by tag, with no run and with one.
fn check_tag_search(version: Option<&str>, tags_ignored: bool, without_runs: TagSearch, with_runs: TagSearch) {
    let options = SandboxOptions { version: version.map(str::to_owned), tags_ignored, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).unwrap();
    let client = client(&sandbox.base_url(), sandbox.key().expose());
    let workflow = WorkflowId::new(WORKFLOW).unwrap();
    block_on(async {
        assert_eq!(client.tag_search(&workflow).await.unwrap(), without_runs, "{version:?}");
        assert_eq!(sorted(&start(&client, WORKFLOW).await), "started");
        assert_eq!(client.tag_search(&workflow).await.unwrap(), with_runs, "{version:?}");
    });
}

#[test]
fn whether_tags_can_be_searched() {
    use TagSearch::{Ignored, Unproven, Works};
    check_tag_search(Some("1.0.56"), false, Works, Works);
    check_tag_search(Some("1.0.46"), true, Ignored, Ignored);
    // A version that cannot be read is no evidence; an empty list beside a full one is.
    check_tag_search(None, true, Unproven, Ignored);
    check_tag_search(Some("7e2f9c1"), false, Unproven, Works);
    // What it says of itself does not count against what it does.
    check_tag_search(Some("1.0.56"), true, Works, Ignored);
}

#[test]
fn workflows() {
    let workflow = |id: &str, deleted| SandboxWorkflow {
        parameters: Some(vec![skycron::sandbox::SandboxParameter {
            key: "need".to_owned(),
            kind: "integer".to_owned(),
            default: None,
        }]),
        deleted,
        ..SandboxWorkflow::new(WorkflowId::new(id).unwrap())
    };
    let options = SandboxOptions {
        workflows: vec![workflow("wpid_1", false), workflow("wpid_2", true)],
        any_workflow: false,
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).unwrap();
    let client = client(&sandbox.base_url(), sandbox.key().expose());
    block_on(async {
        let declared = client.get_workflow(&WorkflowId::new("wpid_1").unwrap()).await.unwrap();
        let given = serde_json::json!({"url": 1}).as_object().unwrap().clone();
        assert_eq!((declared.undeclared(&given), declared.missing(&given)), (vec!["url"], vec!["need"]));
        let reply = start(&client, "wpid_1").await;
        assert_eq!(message(&reply), "the server answered 400: Missing value for parameter need in workflow wpid_1");
        for id in ["wpid_2", "wpid_3"] {
            let error = client.get_workflow(&WorkflowId::new(id).unwrap()).await.unwrap_err();
            assert_eq!(error.kind, ApiErrorKind::NotFound);
            assert_eq!(sorted(&start(&client, id).await), "refused 404");
        }
        assert_eq!(client.list_workflows(None, 10).await.unwrap(), vec![declared]);
        assert_eq!(client.list_workflows(Some("nothing is called this"), 10).await.unwrap(), vec![]);
        // More than two pages, each once, and no more than asked for.
        for number in 10..75 {
            sandbox.put_workflow(workflow(&format!("wpid_{number}"), false));
        }
        let all = client.list_workflows(None, 1_000).await.unwrap();
        let ids: std::collections::BTreeSet<_> = all.iter().map(|workflow| workflow.id.as_str()).collect();
        assert_eq!((all.len(), ids.len()), (66, 66));
        assert_eq!(client.list_workflows(None, 30).await.unwrap().len(), 30);
    });
}

#[test]
fn the_run_of_a_deleted_workflow_is_still_found() {
    let sandbox = sandbox("");
    let client = client(&sandbox.base_url(), sandbox.key().expose());
    block_on(async {
        let StartReply::Started(report) = start(&client, WORKFLOW).await else { panic!("not started") };
        let gone = SandboxWorkflow { deleted: true, ..SandboxWorkflow::new(WorkflowId::new(WORKFLOW).unwrap()) };
        sandbox.put_workflow(gone);
        let found = client.get_run(&report.run_id, Detail::Full).await.unwrap();
        assert_eq!(found.run_id, report.run_id);
        client.cancel_run(&report.run_id).await.unwrap();
        assert_eq!(client.get_run(&report.run_id, Detail::Full).await.unwrap().status.word(), "canceled");
    });
}

/// A read that meets a fault: the kind of its error.
fn check_read(fault: &str, kind: ApiErrorKind, passing: bool) {
    let sandbox = sandbox(&format!("get:*={fault}"));
    let client = client(&sandbox.base_url(), sandbox.key().expose());
    block_on(async {
        let StartReply::Started(report) = start(&client, WORKFLOW).await else { panic!("not started") };
        let error = client.get_run(&report.run_id, Detail::Full).await.unwrap_err();
        assert_eq!((error.kind, error.is_passing()), (kind, passing), "{fault}: {error:?}");
    });
}

#[test]
fn reads() {
    use ApiErrorKind::{Nonsense, NotFound, RateLimited, Refused, Unauthorized, Unavailable};
    check_read("403", Unauthorized, false);
    check_read("404", NotFound, false);
    // A proxy whose server is away does not mean that the run is gone.
    check_read("plain:404", Unavailable, true);
    check_read("status:400", Refused, false);
    check_read("status:302", Nonsense, false);
    check_read("429:7", RateLimited, true);
    check_read("500-before", Unavailable, true);
    check_read("db-before", Unavailable, true);
    check_read("reset-before", Unavailable, true);
    check_read("delay:5s", Unavailable, true);
    check_read("truncated", Unavailable, true);
    check_read("unreadable", Nonsense, false);
    check_read("huge", Nonsense, false);
}

#[test]
fn a_run_that_is_too_large_is_told_in_brief() {
    let behaviour = Behaviour { run_time: Duration::ZERO, output_bytes: 200_000, ..Behaviour::default() };
    let sandbox = Sandbox::start(SandboxOptions { behaviour, ..SandboxOptions::default() }).unwrap();
    let client = client(&sandbox.base_url(), sandbox.key().expose());
    block_on(async {
        let StartReply::Started(report) = start(&client, WORKFLOW).await else { panic!("not started") };
        let end = loop {
            let report = client.get_run(&report.run_id, Detail::Full).await.unwrap();
            if report.is_over() {
                break report;
            }
        };
        assert!(end.truncated);
        assert!(end.output.unwrap().contains("https://example.com/"));
    });
}

#[test]
fn keys() {
    let sandbox = sandbox("");
    block_on(async {
        let good = client(&sandbox.base_url(), sandbox.key().expose());
        assert!(good.check_key().await.unwrap().unwrap().id.starts_with("o_"));
        assert_eq!(good.server_version().await.unwrap().as_deref(), Some("1.0.56"));
        let wrong = client(&sandbox.base_url(), "another-key");
        assert_eq!(wrong.check_key().await.unwrap_err().kind, ApiErrorKind::Unauthorized);
        let reply = start(&wrong, WORKFLOW).await;
        assert_eq!((sorted(&reply).as_str(), sandbox.runs().len()), ("not_started 403", 0));
    });
}
