//! `workflows` and `check --online` on the real binary, against the built-in look-alike.

use serde_json::json;
use skycron::{
    ids::WorkflowId,
    sandbox::{Sandbox, SandboxOptions, SandboxParameter, SandboxWorkflow},
};

use crate::support::Project;

pub(crate) fn parameter(key: &str, kind: &str, default: Option<serde_json::Value>) -> SandboxParameter {
    SandboxParameter { key: key.to_owned(), kind: kind.to_owned(), default }
}

/// A server with three workflows: one with parameters of every kind, one without any, one that was deleted.
pub(crate) fn server() -> Sandbox {
    let workflow = |id: &str, title: &str, parameters| SandboxWorkflow {
        title: title.to_owned(),
        parameters: Some(parameters),
        ..SandboxWorkflow::new(WorkflowId::new(id).unwrap())
    };
    let everything = vec![
        parameter("url", "string", Some(json!("https://example.com"))),
        parameter("count", "integer", None),
        parameter("deep", "json", Some(json!({ "a": [1] }))),
        parameter("sure", "boolean", Some(json!(false))),
        parameter("login", "credential_id", None),
    ];
    let gone = SandboxWorkflow { deleted: true, ..workflow("wpid_3", "Gone", vec![]) };
    let workflows = vec![
        workflow("wpid_1", "Invoices\u{1b}]0;title\u{7}", everything),
        workflow("wpid_2", "Nothing to say", vec![]),
        gone,
    ];
    Sandbox::start(SandboxOptions { workflows, any_workflow: false, ..SandboxOptions::default() }).unwrap()
}

pub(crate) fn project(server: &Sandbox, schedules: &str) -> Project {
    let api = format!("[api]\nbase_url = {:?}\n\n[defaults]\ntimezone = \"UTC\"\n", server.base_url());
    Project::with_file(&(api + schedules)).variable("SKYVERN_API_KEY", server.key().expose())
}

fn schedule(id: &str, workflow: &str, more: &str) -> String {
    format!("\n[[schedule]]\nid = {id:?}\nworkflow_id = {workflow:?}\ncron_expression = \"0 9 * * 1-5\"\n{more}\n")
}

#[test]
fn workflows_are_listed() {
    let server = server();
    let project = project(&server, &schedule("a", "wpid_1", ""));
    let ran = project.run(&["workflows", "--format", "json"]).code(0);
    let ids: Vec<_> = ran.objects().iter().map(|o| o["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["wpid_1", "wpid_2"]);
    assert_eq!(
        ran.objects()[0]["parameters"][1],
        json!({ "key": "count", "type": "integer", "default": null, "required": true })
    );
    project
        .run(&["workflows", "invoices"])
        .code(0)
        .stdout_has("count      integer        required")
        .stdout_has("Invoices")
        .never_shows("\u{1b}")
        .never_shows("\u{7}")
        .never_shows("wpid_2");
    project.run(&["workflows", "nothing like it"]).code(0).stdout_is("").stderr_has("no workflow is like that");
    // Without a file, and with the key of another server.
    let nobody = Project::new().variable("SKYVERN_API_KEY", "wrong");
    let url = server.base_url();
    nobody.run(&["workflows", "--base-url", &url]).code(3).stderr_has("check the API key");
    nobody.write("key", server.key().expose());
    nobody.run(&["workflows", "--base-url", &url, "--api-key-file", "key"]).code(0).stdout_has("wpid_2");
    Project::new().run(&["workflows", "--base-url", &url]).code(2).stderr_has("SKYVERN_API_KEY is not set");
}

/// What is found in one schedule: `code` and the text at its place.
#[track_caller]
fn check(workflow: &str, more: &str, code: i32, expected: &[(&str, &str)]) {
    let server = server();
    let project = project(&server, &schedule("a", workflow, more));
    let ran = project.run(&["check", "--online", "--format", "json"]).code(code);
    let text = std::fs::read_to_string(project.path("schedules.toml")).unwrap();
    let found: Vec<(String, String)> = ran
        .objects()
        .iter()
        .map(|o| {
            let number = |key: &str| usize::try_from(o[key].as_u64().unwrap()).unwrap() - 1;
            let line = text.lines().nth(number("line")).unwrap();
            (o["code"].as_str().unwrap().to_owned(), line[number("column")..].to_owned())
        })
        .collect();
    let found: Vec<(&str, &str)> = found.iter().map(|(code, at)| (code.as_str(), at.as_str())).collect();
    assert_eq!(found, expected, "{workflow} {more}\n{}", ran.stdout);
}

#[test]
fn what_only_the_server_knows() {
    check("wpid_1", "parameters = { count = 7 }", 0, &[]);
    check("wpid_1", "parameters = { count = \"{{ scheduled_for | date('%d') }}\" }", 0, &[]);
    check("wpid_2", "", 0, &[]);
    check("wpid_3", "", 2, &[("no_workflow", "\"wpid_3\"")]);
    check("wpid_4", "", 2, &[("no_workflow", "\"wpid_4\"")]);
    check("wpid_1", "", 2, &[("missing_parameter", "[[schedule]]")]);
    check("wpid_1", "parameters = { uri = 1, count = 7 }", 2, &[("undeclared_parameter", "uri = 1, count = 7 }")]);
    check(
        "wpid_1",
        "parameters = { count = \"many\", sure = \"perhaps\", deep = 1 }",
        2,
        &[
            ("wrong_parameter", "\"many\", sure = \"perhaps\", deep = 1 }"),
            ("wrong_parameter", "\"perhaps\", deep = 1 }"),
            ("wrong_parameter", "1 }"),
        ],
    );
    check("wpid_2", "parameters = { a = 1 }\nenabled = false", 0, &[("undeclared_parameter", "a = 1 }")]);
    check("wpid_2", "browser_session_id = \"pbs_sandbox\"", 0, &[]);
    check("wpid_2", "browser_session_id = \"pbs_over\"", 2, &[("no_browser", "\"pbs_over\"")]);
    check("wpid_2", "browser_session_id = \"pbs_1\"", 2, &[("no_browser", "\"pbs_1\"")]);
    check("wpid_2", "browser_profile_id = \"bp_sandbox\"", 0, &[]);
    check("wpid_2", "browser_profile_id = \"bp_1\"", 2, &[("no_browser", "\"bp_1\"")]);
}

#[test]
fn all_of_it_at_once_with_words_and_hints() {
    let server = server();
    let file = schedule("report", "wpid_1", "parameters = { cuont = 7 }") + &schedule("gone", "wpid_3", "");
    let project = project(&server, &file);
    project
        .run(&["check", "--online"])
        .code(2)
        .stdout_has("report    0 9 * * 1-5  At 09:00 on weekdays, UTC")
        .stdout_has("did you mean \"count\"?")
        .stdout_has("requires the parameter \"count\"")
        .stdout_has("the server has no workflow wpid_3")
        .stdout_has("2 schedules, 3 errors")
        .stdout_has("answers: Skyvern 1.0.56; the key is accepted, for organisation o_");
    // Nothing was asked, and nothing is wrong.
    project.run(&["check"]).code(0).stdout_has("no problems");
    assert_eq!(server.starts_received(), 0);
}

#[test]
fn a_server_that_cannot_be_asked_is_no_fault_of_the_file() {
    let server = server();
    let project = project(&server, &schedule("a", "wpid_2", ""));
    let wrong = Project::with_file(&std::fs::read_to_string(project.path("schedules.toml")).unwrap());
    wrong.run(&["check", "--online"]).code(2).stderr_has("SKYVERN_API_KEY is not set").stdout_has("no problems");
    let wrong = wrong.variable("SKYVERN_API_KEY", "wrong");
    wrong.run(&["check", "--online"]).code(3).stderr_has("Could not validate credentials").stdout_has("no problems");
    drop(server);
    project.run(&["check", "--online"]).code(3).stderr_has("no connection to the server");
}
