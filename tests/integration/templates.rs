//! Templates and secrets on their way: filled in where the request arrives, and nowhere else.

use serde_json::json;
use skycron::sandbox::{Behaviour, Sandbox, SandboxOptions};

use crate::support::Project;

const PIN: &str = "4711-very-secret";

fn project(sandbox: &Sandbox) -> Project {
    let file = format!(
        "[api]\nbase_url = {:?}\npoll_interval = \"1s\"\n[secrets]\npin = {{ env = \"PIN\" }}\n\
         [[schedule]]\nid = \"daily\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 * * *\"\ntimezone = \"Europe/Berlin\"\n\
         parameters = {{ day = \"{{{{ scheduled_for | date('%Y-%m-%d %H:%M') }}}}\", pin = \"{{{{ secrets.pin }}}}\" }}\n",
        sandbox.base_url()
    );
    Project::with_file(&file).variable("SKYVERN_API_KEY", sandbox.key().expose()).variable("PIN", PIN)
}

fn sandbox() -> Sandbox {
    let behaviour = Behaviour { run_time: std::time::Duration::from_millis(200), ..Behaviour::default() };
    Sandbox::start(SandboxOptions { behaviour, ..SandboxOptions::default() }).unwrap()
}

#[test]
fn a_backfill_sees_each_occurrences_own_time_and_secrets_stay_secret() {
    let sandbox = sandbox();
    let project = project(&sandbox);
    let args =
        ["backfill", "daily", "--from", "2026-03-28", "--to", "2026-03-30", "--log", "trace", "--state-dir", "state"];
    let dry = project.run(&[&args[..], &["--dry-run"]].concat()).code(0);
    assert_eq!(dry.stdout.lines().count(), 2, "{}", dry.stdout);
    assert!(sandbox.runs().is_empty(), "--dry-run starts nothing");

    project.run(&args).code(0).stderr_has("2 occurrences").never_shows(PIN);

    let given: Vec<_> = sandbox.runs().iter().map(|run| json!(run.parameters)).collect();
    let expected = |day: &str| json!({ "day": day, "pin": PIN });
    assert_eq!(
        given,
        [expected("2026-03-28 09:00"), expected("2026-03-29 09:00")],
        "one after the other, by the zone's clock"
    );
    for name in ["history.db", "history.db-wal"] {
        let bytes = std::fs::read(project.path("state").join(name)).unwrap_or_default();
        assert!(!bytes.windows(PIN.len()).any(|window| window == PIN.as_bytes()), "{name} holds the secret");
    }
    project.run(&["audit", "--state-dir", "state"]).code(0);
}

#[test]
fn a_secret_that_is_not_there_starts_nothing() {
    let sandbox = sandbox();
    let project = project(&sandbox).variable("PIN", "");
    project.run(&["trigger", "daily", "--state-dir", "state"]).code(2).stderr_has("PIN");
    assert!(sandbox.runs().is_empty());
}
