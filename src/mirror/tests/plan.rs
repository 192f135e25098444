//! (file, server, rows) → plan, as tables.

use super::{super::plan, *};
use crate::config::OnDrift;

struct Case<'a> {
    file: &'a [&'a str],
    server: &'a [&'a str],
    rows: &'a [&'a str],
    prune: bool,
}

#[track_caller]
fn check(case: &Case<'_>, expected: &[&str]) -> Plan {
    let plan = plan(&file(case.file), &observed(case.server, case.rows), &settings(case.prune), now());
    assert_eq!(lines(&plan), expected);
    plan
}

fn case<'a>(file: &'a [&'a str], server: &'a [&'a str], rows: &'a [&'a str]) -> Case<'a> {
    Case { file, server, rows, prune: false }
}

const LOCAL: &str = "daily 1 0 9 * * *";
const SERVER: &str = "daily 1 0 9 * * *; fires = \"server\"";
const COPY: &str = "wfs_1 1 0 9 * * *; marker=main/daily";
const COPY_ON: &str = "wfs_1 1 0 9 * * *; marker=main/daily; on";
const ROW: &str = "wfs_1 1 0 9 * * *; marker=main/daily => daily";
const ROW_ON: &str = "wfs_1 1 0 9 * * *; marker=main/daily; on => daily";

#[test]
fn what_is_equal_needs_nothing() {
    check(&case(&[LOCAL], &[COPY], &[ROW]), &[]);
    check(&case(&[SERVER], &[COPY_ON], &[ROW_ON]), &[]);
    check(&case(&["daily 1 0 9 * * *; fires = \"server\"; enabled = false"], &[COPY], &[ROW]), &[]);
    check(&case(&[], &["wfs_9 1 0 9 * * *; on"], &[]), &["foreign 1"]);
    // What people write around the marker is the description.
    let text = "daily 1 0 9 * * *; description = \"every day\"";
    check(&case(&[text], &["wfs_1 1 0 9 * * *; text=every day; marker=main/daily"], &[ROW]), &[]);
}

#[test]
fn everything_is_created_disabled() {
    check(&case(&[LOCAL], &[], &[]), &["create daily: the server has no copy of it (wpid_1)"]);
    check(
        &case(&[SERVER, "weekly 2 0 9 * * 1"], &[], &[]),
        &[
            "create daily: the server has no copy of it (wpid_1)",
            "create weekly: the server has no copy of it (wpid_2)",
            "enable daily: fires = \"server\"",
        ],
    );
}

#[test]
fn the_file_decides() {
    check(
        &case(&["daily 1 30 9 * * *; name = \"Daily\"; parameters = { p = \"x\" }"], &[COPY], &[ROW]),
        &[
            "update daily wfs_1: the file wants it otherwise; cron_expression \"0 9 * * *\" -> \"30 9 * * *\"; name null -> \
           \"Daily\"; parameters null -> {\"p\":\"x\"}",
        ],
    );
    check(&case(&[SERVER], &[COPY], &[ROW]), &["enable daily wfs_1: fires = \"server\""]);
    check(&case(&[LOCAL], &[COPY_ON], &[ROW_ON]), &["disable daily wfs_1: fires = \"local\""]);
    check(
        &case(&["daily 1 0 9 * * *; fires = \"server\"; enabled = false"], &[COPY_ON], &[ROW_ON]),
        &["disable daily wfs_1: enabled = false"],
    );
}

#[test]
fn a_paused_schedule_does_not_fire_at_the_server_either() {
    let mut observed = observed(&[COPY_ON], &[ROW_ON]);
    observed.paused.insert(ScheduleId::new("daily").unwrap());
    let found = plan(&file(&[SERVER]), &observed, &settings(false), now());
    assert_eq!(lines(&found), ["disable daily wfs_1: it is paused"]);
}

#[test]
fn what_was_changed_at_the_server_is_drift() {
    let changed = "wfs_1 1 0 10 * * *; marker=main/daily";
    let drift = check(
        &case(&[LOCAL], &[changed], &[ROW]),
        &["update daily wfs_1 [drift]: it was changed at the server; cron_expression \"0 10 * * *\" -> \"0 9 * * *\""],
    );
    assert_eq!(lines(&drift.clone().for_daemon(OnDrift::Report)), [] as [String; 0]);
    assert_eq!(drift.for_daemon(OnDrift::Restore).steps.len(), 1);
    // The file was changed after that: it is the truth.
    check(
        &case(&["daily 1 30 9 * * *"], &[changed], &[ROW]),
        &["update daily wfs_1: the file wants it otherwise; cron_expression \"0 10 * * *\" -> \"30 9 * * *\""],
    );
    let off =
        check(&case(&[SERVER], &[COPY], &[ROW_ON]), &["enable daily wfs_1 [drift]: it was disabled at the server"]);
    assert!(off.for_daemon(OnDrift::Report).steps.is_empty());
    // Never twice comes before leaving things as they are.
    let on = check(
        &case(&[LOCAL], &[COPY_ON], &[ROW]),
        &["disable daily wfs_1 [drift]: it was enabled at the server, and this daemon fires it"],
    );
    assert_eq!(on.for_daemon(OnDrift::Report).steps.len(), 1);
    let gone = check(
        &case(&[LOCAL], &[], &[ROW]),
        &[
            "create daily [drift]: its copy wfs_1 was deleted at the server (wpid_1)",
            "forget daily wfs_1 [drift]: it is not at the server any more",
        ],
    );
    assert!(gone.for_daemon(OnDrift::Report).steps.is_empty());
    check(
        &case(&[LOCAL], &["wfs_1 1 0 9 * * *; text=mine"], &[ROW]),
        &["update daily wfs_1 [drift]: it was changed at the server; description \"mine\" -> null; marker null -> \
             \"[skycron main/daily]\""],
    );
}

#[test]
fn a_lost_database_is_rebuilt_by_adoption() {
    let adopt =
        "adopt daily wfs_1: its description has the marker [skycron main/daily], and the history does not know it";
    check(&case(&[LOCAL], &[COPY], &[]), &[adopt]);
    check(&case(&[SERVER], &[COPY_ON], &[]), &[adopt]);
    check(&case(&[LOCAL], &[COPY_ON], &[]), &[adopt, "disable daily wfs_1: fires = \"local\""]);
    // It moved to another workflow at the same time.
    check(
        &case(&["daily 2 0 9 * * *"], &[COPY_ON], &[]),
        &[
            "create daily: the server has no copy of it (wpid_2)",
            "disable daily wfs_1: its workflow is wpid_2 now",
            "delete daily wfs_1: its workflow is wpid_2 now",
        ],
    );
}

#[test]
fn others_are_never_touched() {
    let others = ["wfs_8 1 0 9 * * *; on", "wfs_9 1 0 9 * * *; marker=other/daily; on"];
    check(&Case { prune: true, ..case(&[], &others, &[]) }, &["foreign 2"]);
    check(&case(&[LOCAL], &others, &[]), &["create daily: the server has no copy of it (wpid_1)", "foreign 2"]);
    // Another installation took it over.
    check(
        &case(&[LOCAL], &["wfs_1 1 0 9 * * *; marker=other/daily"], &[ROW]),
        &[
            "create daily: the server has no copy of it (wpid_1)",
            "forget daily wfs_1: its marker says now that it belongs to another skycron, instance other",
            "foreign 1",
        ],
    );
    // This installation was renamed: the row is from before.
    check(
        &case(&[LOCAL], &["wfs_1 1 0 9 * * *; marker=old/daily"], &["wfs_1 1 0 9 * * *; marker=old/daily => daily"]),
        &[
            "update daily wfs_1: the file wants it otherwise; marker \"[skycron old/daily]\" -> \"[skycron main/daily]\"",
        ],
    );
    // Our name, and nobody knows it: a lost database, or another installation of the same name.
    let unclaimed = Case { prune: true, ..case(&[], &[COPY_ON], &[]) };
    let plan = check(
        &unclaimed,
        &[
            "unclaimed daily: wfs_1 at the server carries this installation's marker, and neither the file nor the history \
             knows daily; it fires: delete it there, or name another `instance` if another skycron made it",
            "foreign 1",
        ],
    );
    assert!(plan.remarks[0].kind.is_trouble());
}

#[test]
fn what_is_gone_from_the_file_is_disabled_or_pruned() {
    check(&case(&[], &[COPY_ON], &[ROW_ON]), &["disable daily wfs_1: it is gone from the file"]);
    check(
        &case(&[], &[COPY], &[ROW]),
        &["kept daily: gone from the file; its copy wfs_1 is kept, disabled (prune = true deletes it)"],
    );
    check(
        &Case { prune: true, ..case(&[], &[COPY_ON], &[ROW_ON]) },
        &["disable daily wfs_1: it is gone from the file", "delete daily wfs_1: it is gone from the file"],
    );
    check(&case(&[], &[], &[ROW]), &["forget daily wfs_1: it is not at the server any more"]);
    // It comes back: the copy that was kept serves again.
    check(&case(&[SERVER], &[COPY], &[ROW]), &["enable daily wfs_1: fires = \"server\""]);
}

#[test]
fn another_workflow_is_another_copy() {
    check(
        &case(&["daily 2 0 9 * * *; fires = \"server\""], &[COPY_ON], &[ROW_ON]),
        &[
            "create daily: the server has no copy of it (wpid_2)",
            "disable daily wfs_1: its workflow is wpid_2 now",
            "enable daily: fires = \"server\"",
            "delete daily wfs_1: its workflow is wpid_2 now",
        ],
    );
}

#[test]
fn of_several_copies_one_is_kept() {
    let second = "wfs_2 1 0 9 * * *; marker=main/daily; age=50";
    let delete = "delete daily wfs_2: a second copy of it, as an unanswered create leaves one";
    check(&case(&[LOCAL], &[second, COPY], &[ROW]), &[delete]);
    // The database knows the younger one.
    check(
        &case(&[LOCAL], &[second, COPY], &["wfs_2 1 0 9 * * *; marker=main/daily => daily"]),
        &["delete daily wfs_1: a second copy of it, as an unanswered create leaves one"],
    );
    // The database knows neither: the oldest.
    check(
        &case(&[LOCAL], &[second, COPY], &[]),
        &[
            "adopt daily wfs_1: its description has the marker [skycron main/daily], and the history does not know it",
            delete,
        ],
    );
    // A variation that somebody made of ours, marker and all, is not ours to delete.
    for variation in [
        "wfs_2 1 0 10 * * *; marker=main/daily; age=50; on",
        "wfs_2 1 0 9 * * *; marker=main/daily; age=50; on",
        "wfs_2 2 0 9 * * *; marker=main/daily; age=50; on",
    ] {
        let plan = check(
            &case(&[LOCAL], &[variation, COPY], &[ROW]),
            &[
                "duplicate daily: wfs_2 at the server carries its marker and is not its copy; it fires as well: delete it \
                 there, or take the marker out of its description",
                "foreign 1",
            ],
        );
        assert!(plan.remarks[0].kind.is_trouble());
    }
}

#[test]
fn nothing_is_enabled_beside_something_that_fires_with_its_marker() {
    let fires = "duplicate daily: wfs_2 at the server carries its marker and is not its copy; it fires as well: delete it \
                 there, or take the marker out of its description";
    let blocked =
        "blocked daily: something else that carries its marker fires at the server (see below): it would fire twice";
    let variation = "wfs_2 2 0 9 * * *; marker=main/daily; on";
    check(&case(&[SERVER], &[variation, COPY], &[ROW]), &[blocked, fires, "foreign 1"]);
    check(&case(&[SERVER], &[variation, COPY_ON], &[ROW_ON]), &[fires, "foreign 1"]);
}

#[test]
fn the_file_may_name_a_copy() {
    let named = "daily 1 0 9 * * *; fires = \"server\"; server_schedule_id = \"wfs_7\"";
    // Nothing to do, not even a marker; only the database learns of it.
    check(&case(&[named], &["wfs_7 1 0 9 * * *; on"], &[]), &["claim daily wfs_7"]);
    check(&case(&[named], &["wfs_7 1 0 9 * * *; on"], &["wfs_7 1 0 9 * * *; on => daily"]), &[]);
    check(
        &case(&[named], &["wfs_7 1 0 10 * * *; on"], &[]),
        &[
            "update daily wfs_7: the file wants it otherwise; cron_expression \"0 10 * * *\" -> \"0 9 * * *\"",
            "claim daily wfs_7",
        ],
    );
    check(&case(&[named], &[], &[]), &["blocked daily: the server has no schedule wfs_7"]);
    check(
        &case(&[named], &["wfs_7 2 0 9 * * *"], &[]),
        &["blocked daily: wfs_7 is a schedule of wpid_2, not of its workflow", "foreign 1"],
    );
    check(
        &case(&[named], &["wfs_7 1 0 9 * * *; marker=other/daily"], &[]),
        &["blocked daily: wfs_7 belongs to another skycron, instance other", "foreign 1"],
    );
    check(
        &case(&[named], &["wfs_7 1 -; once=2027-01-01T00:00:00Z"], &[]),
        &["blocked daily: wfs_7 is due once, which is not mirrored", "foreign 1"],
    );
    // Renamed in the file, and held by its name at the server.
    check(
        &case(&["renamed 1 0 9 * * *; server_schedule_id = \"wfs_1\""], &[COPY], &[ROW]),
        &[
            "update renamed wfs_1: the file wants it otherwise; marker \"[skycron main/daily]\" -> \"[skycron main/renamed]\"",
            "claim renamed wfs_1",
        ],
    );
}

#[test]
fn what_is_due_once_is_not_mirrored() {
    let once = "daily 1 run_at = 2027-01-01T00:00:00Z";
    check(&case(&[once], &[], &[]), &[]);
    check(
        &case(&[once], &[COPY_ON], &[ROW_ON]),
        &[
            "disable daily wfs_1: it is due once now, which is not mirrored",
            "delete daily wfs_1: it is due once now, which is not mirrored",
        ],
    );
    check(&case(&[LOCAL], &["wfs_2 1 -; once=2027-01-01T00:00:00Z; marker=main/daily", COPY], &[ROW]), &["foreign 1"]);
}

#[test]
fn intervals_need_a_server_that_has_them() {
    let interval = file(&["often 1 interval_seconds = 3600; first_fire_at = 2026-11-01T00:30:00Z"]);
    let on = |has_newer_cadences| {
        let observed = Observed { has_newer_cadences, ..Observed::default() };
        lines(&plan(&interval, &observed, &settings(false), now()))
    };
    let create = ["create often: the server has no copy of it (wpid_1)"];
    assert_eq!(on(None), create);
    assert_eq!(on(Some(true)), create);
    assert_eq!(
        on(Some(false)),
        ["blocked often: this server knows cron expressions only, not interval_seconds and run_at"]
    );
}
