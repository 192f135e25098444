//! What the server would do differently, in the plan.

use super::{super::plan, *};

#[track_caller]
fn check(schedule: &str, expected: &[&str]) {
    let server = "wfs_1 1 0 9 * * *; marker=main/daily; on";
    let mut observed = observed(&[server], &["wfs_1 1 0 9 * * *; marker=main/daily; on => daily"]);
    let next = ["2026-11-23T09:00:00Z", "2026-11-24T09:00:00Z", "2026-11-25T10:00:00Z"];
    let next = next.map(|at| parse_rfc3339(at).unwrap()).to_vec();
    observed.next_runs.insert(ServerScheduleId::new("wfs_1").unwrap(), next);
    let plan = plan(&file(&[schedule]), &observed, &settings(false), now());
    let found: Vec<String> = plan.remarks.iter().map(|remark| format!("{}: {}", remark.kind, remark.message)).collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

const PREVIEW: &str = "preview: the server announces 2026-11-25T10:00:00Z, and by the file it is due next at \
                       2026-11-25T09:00:00Z";

#[test]
fn what_the_server_would_do_differently_is_said() {
    let scheduler = "scheduler: fires = \"server\": Skyvern's open-source scheduler looks once a minute";
    check("daily 1 0 9 * * *", &[]);
    check("daily 1 0 9 * * *; fires = \"server\"", &[scheduler, PREVIEW]);
    check(
        "daily 1 0 9 * * *; fires = \"server\"; overlap = \"allow\"; jitter = \"5m\"; gap = \"skip\"; title = \"x\"",
        &[
            scheduler,
            "not_carried: the server does not carry overlap = \"allow\", jitter, gap = \"skip\", title",
            PREVIEW,
        ],
    );
    check(
        "daily 1 30 2 * * *; fires = \"server\"; timezone = \"Europe/Berlin\"",
        &[
            scheduler,
            "evaluation: the clock change skips 2027-03-28 02:30:00: the server starts it at about 2027-03-28T01:00:00Z",
        ],
    );
    check(
        "daily 1 0 9 * * *; parameters = { day = \"{{ scheduled_for }}\" }",
        &["template: its copy has templates as they stand"],
    );
}
