//! `mirror apply` where the server, or what it is asked for, is not as it should be: what is said and with which exit code; and
//! that the next apply finishes, with nothing there twice.

use std::collections::BTreeMap;

use skycron::{
    ids::WorkflowId,
    sandbox::{Sandbox, SandboxOptions, SandboxParameter, SandboxWorkflow, ServerSchedules},
};

use crate::support::{Project, Ran};

const FILE: &str = "\
[mirror]
enabled = true
prune = true
[[schedule]]
id = \"a\"
workflow_id = \"wpid_1\"
cron_expression = \"0 9 * * *\"
fires = \"server\"
[[schedule]]
id = \"b\"
workflow_id = \"wpid_1\"
cron_expression = \"0 10 * * *\"
[[schedule]]
id = \"c\"
workflow_id = \"wpid_1\"
cron_expression = \"0 11 * * *\"
fires = \"server\"
";

fn sandbox(options: SandboxOptions) -> Sandbox {
    Sandbox::start(SandboxOptions { schedule_poll_interval: std::time::Duration::ZERO, ..options }).unwrap()
}

fn project(sandbox: &Sandbox, schedules: &str) -> Project {
    let project = Project::new().variable("SKYVERN_API_KEY", "sandbox-key").variable("SKYCRON_STATE_DIR", "state");
    write(&project, sandbox, schedules);
    project
}

fn write(project: &Project, sandbox: &Sandbox, schedules: &str) {
    let api =
        format!("[api]\nbase_url = \"{}\"\nconnect_timeout = \"1s\"\nrequest_timeout = \"1s\"\n", sandbox.base_url());
    project.write("schedules.toml", format!("{api}{schedules}"));
}

fn apply(project: &Project) -> Ran {
    project.run(&["mirror", "apply", "--yes"])
}

/// The copies by schedule, each with its expression and whether it fires.
#[track_caller]
fn copies(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for copy in sandbox.schedules() {
        let description = copy.description.unwrap_or_default();
        let id =
            description.rsplit_once("[skycron main/").and_then(|(_, rest)| rest.strip_suffix(']')).unwrap().to_owned();
        let skycron::skyvern::ServerCadence::Cron(expression) = copy.cadence else { unreachable!() };
        let fires = if copy.enabled { "fires" } else { "is off" };
        assert!(found.insert(id.clone(), format!("{expression} {fires}")).is_none(), "{id} is there twice");
    }
    found
}

/// Everything as the file wants it, and nothing more to do or to send.
#[track_caller]
fn check_settled(project: &Project, sandbox: &Sandbox, expected: &[(&str, &str)]) {
    let expected = expected.iter().map(|(id, is)| ((*id).to_owned(), (*is).to_owned())).collect();
    assert_eq!(copies(sandbox), expected);
    let changes = sandbox.changes_received();
    let plan = project.run(&["mirror", "plan", "--format", "json"]).code(0);
    assert!(!plan.stdout.contains("\"step\""), "{}", plan.stdout);
    apply(project).code(0);
    assert_eq!(sandbox.changes_received(), changes, "nothing differs, nothing is sent");
}

const SETTLED: &[(&str, &str)] = &[("a", "0 9 * * * fires"), ("b", "0 10 * * * is off"), ("c", "0 11 * * * fires")];

/// A first apply that meets this: the exit code, and what is said. Then the server is well again.
#[track_caller]
fn check(faults: &str, code: i32, says: &str) {
    check_file(FILE, SETTLED, faults, code, says);
}

/// The same with another file.
#[track_caller]
fn check_file(file: &str, settled: &[(&str, &str)], faults: &str, code: i32, says: &str) {
    let sandbox = sandbox(SandboxOptions { faults: faults.parse().unwrap(), ..SandboxOptions::default() });
    let project = project(&sandbox, file);
    let ran = apply(&project).code(code);
    assert!(ran.stdout.contains(says) || ran.stderr.contains(says), "{faults}: {}\n{}", ran.stdout, ran.stderr);
    copies(&sandbox);
    sandbox.set_faults("".parse().unwrap());
    apply(&project).code(0);
    check_settled(&project, &sandbox, settled);
}

#[test]
fn a_reply_that_is_lost_is_looked_after() {
    for call in ["create", "enable", "change"] {
        for fault in ["reset-after", "500-after", "502-after", "db-after", "unreadable", "truncated"] {
            check(&format!("{call}:1={fault}"), 0, "done");
        }
    }
}

#[test]
fn what_passes_is_tried_again() {
    for fault in ["reset-before", "500-before", "502-before", "plain:503", "429:1"] {
        check(&format!("change:1={fault}"), 0, "done");
    }
}

#[test]
fn what_does_not_pass_is_said() {
    // Alone, since each that nobody can tell about is looked after for some time.
    let alone = "[mirror]\nenabled = true\n[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 * * *\"\n";
    let settled = [("a", "0 9 * * * is off")];
    check_file(alone, &settled, "change:*=502-before", 3, "Failed to sync schedule with scheduling service");
    check("change:*=429:60", 3, "Rate limit exceeded");
    check("change:*=403", 3, "Could not validate credentials");
    check("create:*=limit:5", 1, "Maximum of 5 schedules reached for your plan");
    check("create:2-=limit:1", 1, "Maximum of 1 schedules reached for your plan");
    check("create:*=status:400", 1, "told to answer 400");
}

#[test]
fn a_list_in_part_or_on_the_move_is_read_again() {
    check("schedules:1=half", 0, "done");
    check("schedules:1=shifted", 0, "done");
    check("schedules:*=500-before", 3, "the server's schedules cannot be read");
    check("any:*=501", 3, "this server has no schedules of its own");
    check("any:*=no-route", 3, "this server has no schedules of its own");
    check("schedules:*=unreadable", 3, "not JSON");
}

/// A list that never becomes whole: with copies there, nothing is made beside them.
#[test]
fn half_a_list_is_not_taken_for_the_whole() {
    let sandbox = sandbox(SandboxOptions::default());
    let project = project(&sandbox, FILE);
    apply(&project).code(0);
    let before = sandbox.changes_received();
    sandbox.set_faults("schedules:*=half".parse().unwrap());
    // Not even if the history is lost, too.
    for _ in 0..2 {
        apply(&project).code(3).stderr_has("did not fit together");
        project.run(&["mirror", "status"]).code(3);
        std::fs::remove_dir_all(project.path("state")).unwrap_or_default();
    }
    assert_eq!(sandbox.changes_received(), before);
    sandbox.set_faults("".parse().unwrap());
    apply(&project).code(0);
    assert_eq!(sandbox.changes_received(), before, "all are adopted");
    check_settled(&project, &sandbox, SETTLED);
}

#[test]
fn a_server_that_knows_the_newer_names_only() {
    let sandbox =
        sandbox(SandboxOptions { server_schedules: ServerSchedules::NewerNames, ..SandboxOptions::default() });
    let project = project(&sandbox, FILE);
    apply(&project).code(0);
    check_settled(&project, &sandbox, SETTLED);
}

/// A workflow that declares `need`, and no other.
fn strict() -> Sandbox {
    let need = SandboxParameter { key: "need".to_owned(), kind: "string".to_owned(), default: None };
    let workflow =
        SandboxWorkflow { parameters: Some(vec![need]), ..SandboxWorkflow::new(WorkflowId::new("wpid_1").unwrap()) };
    sandbox(SandboxOptions { workflows: vec![workflow], any_workflow: false, ..SandboxOptions::default() })
}

#[test]
fn what_the_server_refuses_does_not_hold_up_the_rest() {
    let check = |workflow: &str, parameters: &str, says: &str| {
        let sandbox = strict();
        let schedule = |id: &str, workflow: &str, parameters: &str| {
            format!(
                "[[schedule]]\nid = {id:?}\nworkflow_id = {workflow:?}\ncron_expression = \"0 9 * * *\"\n\
                 fires = \"server\"\nparameters = {{ {parameters} }}\n"
            )
        };
        let good = schedule("good", "wpid_1", "need = \"x\"");
        let mirror = "[mirror]\nenabled = true\n";
        let project = project(&sandbox, &format!("{mirror}{}{good}", schedule("bad", workflow, parameters)));
        let ran = apply(&project).code(1);
        assert!(ran.stdout.contains(says), "{says}: {}\n{}", ran.stdout, ran.stderr);
        assert_eq!(copies(&sandbox).keys().collect::<Vec<_>>(), ["good"], "{says}");
        write(&project, &sandbox, &format!("{mirror}{}{good}", schedule("bad", "wpid_1", "need = \"y\"")));
        apply(&project).code(0);
        check_settled(&project, &sandbox, &[("bad", "0 9 * * * fires"), ("good", "0 9 * * * fires")]);
    };
    check("wpid_1", "need = \"x\", zzz = 1", "Unknown schedule parameters for workflow wpid_1: zzz");
    check("wpid_1", "", "Missing schedule parameters for workflow wpid_1: need");
    check("wpid_2", "need = \"x\"", "Workflow wpid_2 not found");
}

/// With its workflow go the copies; with the workflow's return they are made again, once.
#[test]
fn a_workflow_that_is_gone() {
    let sandbox = strict();
    let schedule = "[mirror]\nenabled = true\n[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\n\
                    cron_expression = \"0 9 * * *\"\nfires = \"server\"\nparameters = { need = \"x\" }\n";
    let project = project(&sandbox, schedule);
    apply(&project).code(0);
    let workflow = SandboxWorkflow::new(WorkflowId::new("wpid_1").unwrap());
    sandbox.delete_workflow(&workflow.id);
    assert!(sandbox.schedules().is_empty());
    project.run(&["mirror", "status"]).code(1);
    apply(&project).code(1).stdout_has("Workflow wpid_1 not found");
    assert!(sandbox.put_workflow(workflow));
    apply(&project).code(0);
    check_settled(&project, &sandbox, &[("a", "0 9 * * * fires")]);
}
