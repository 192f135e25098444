//! The file is read again: at a signal, when it changes, with fresh zone rules. What is wrong with it stays visible.

use crate::support::{Daemon, Project};

/// Due on 1 July: months away or hours, but never within the run of a test and at both instants.
const FILE: &str = "[[schedule]]\nid = \"a\"\nworkflow_id = \"wpid_1\"\ncron_expression = \"0 9 1 7 *\"\n\
                    timezone = \"America/Vancouver\"\n";
const VANCOUVER: &[u8] = include_bytes!("../data/zoneinfo/America/Vancouver");
const TOKYO: &[u8] = include_bytes!("../data/zoneinfo/Asia/Tokyo");
fn zone_files(project: &Project, release: &str, vancouver: &[u8]) {
    std::fs::create_dir_all(project.path("zones/America")).unwrap();
    project.write("zones/America/Vancouver", vancouver);
    project.write("zones/tzdata.zi", format!("# version {release}\n"));
}

/// When a schedule is due next, as a new process sees it.
fn next_of(project: &Project, schedule: &str) -> String {
    let ran = project.run(&["next", schedule, "--count", "1", "--format", "json"]).code(0);
    ran.objects()[0]["scheduled_for"].as_str().unwrap().to_owned()
}

/// Puts a file into the place of the old one, as editors do.
fn replace(project: &Project, text: &str) {
    project.write("new.toml", text);
    std::fs::rename(project.path("new.toml"), project.path("schedules.toml")).unwrap();
}

#[test]
fn a_reload_reads_the_zone_files_afresh() {
    let project = Project::with_file(FILE);
    let project = {
        let zones = project.path("zones").display().to_string();
        project.variable("TZDIR", &zones)
    };
    zone_files(&project, "2026e", TOKYO);
    let daemon = Daemon::start(&project);
    let before = next_of(&project, "a");
    assert!(before.ends_with("T00:00:00Z"), "Tokyo's nine o'clock: {before}");
    assert!(daemon.state().contains(&format!("a at {before}")));

    zone_files(&project, "2026f", VANCOUVER);
    assert!(daemon.state().contains(&format!("a at {before}")), "nobody asked yet");
    daemon.signal("HUP");
    let log = daemon.wait_for("reloaded: ", 1);
    assert!(log.contains("reloaded: a follows other zone rules"), "{log}");
    assert!(log.contains("zone rules: tzdata 2026f from"), "{log}");
    let after = next_of(&project, "a");
    assert!(after.ends_with("T16:00:00Z"), "{after}");
    assert!(daemon.state().contains(&format!("a at {after}")));

    daemon.signal("HUP");
    let log = daemon.wait_for("reloaded: ", 2);
    assert_eq!(log.matches("zone rules: ").count(), 1, "said once: {log}");
}

#[test]
fn a_refused_file_stays_in_the_state_until_it_is_mended() {
    let project = Project::with_file(FILE);
    let daemon = Daemon::start(&project);
    assert!(!daemon.state().contains("refused"));
    project.write("schedules.toml", FILE.replace("0 9 1 7 *", "0 9 31 6 *"));
    daemon.signal("HUP");
    daemon.wait_for("reload_refused: ", 1);
    daemon.state();
    daemon.wait_for("state: schedules.toml is refused (1 error), and the one before it goes on: 4:", 1);
    project.write("schedules.toml", FILE);
    daemon.signal("HUP");
    daemon.wait_for("reloaded: ", 1);
    // The line would follow on its heels; a second state proves that it did not.
    daemon.state();
    daemon.state();
    assert_eq!(daemon.log().matches("state: schedules.toml is refused").count(), 1);
}

#[test]
fn a_change_of_the_file_is_noticed_if_asked_for() {
    let file = format!("reload_on_change = true\n{FILE}");
    let project = Project::with_file(&file);
    let daemon = Daemon::start(&project);
    let check = |change: &dyn Fn(), expected: &str| {
        change();
        daemon.wait_for(expected, 1);
    };
    check(&|| replace(&project, &file.replace("\"a\"", "\"b\"")), "reloaded: b is new; a is gone");
    check(&|| project.write("schedules.toml", file.replace("\"a\"", "\"c\"")), "reloaded: c is new; b is gone");
    check(&|| replace(&project, "[[schedule]]\n"), "reload_refused: ");
    check(&|| std::fs::remove_file(project.path("schedules.toml")).unwrap(), "the file cannot be read");
    check(&|| project.write("schedules.toml", file.replace("\"a\"", "\"d\"")), "reloaded: d is new; c is gone");
    assert_eq!(daemon.log().matches("the file changed").count(), 5, "{}", daemon.log());
}

#[test]
fn a_link_that_points_elsewhere_is_a_change() {
    let file = format!("reload_on_change = true\n{FILE}");
    let project = Project::new();
    for (folder, id) in [("one", "\"a\""), ("two", "\"b\"")] {
        std::fs::create_dir(project.path(folder)).unwrap();
        project.write(&format!("{folder}/schedules.toml"), file.replace("\"a\"", id));
    }
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, project.path(name)).unwrap();
    // As mounted configuration has it: the file is a link through another link, which is replaced.
    link("one", "current");
    link("current/schedules.toml", "schedules.toml");
    let daemon = Daemon::start(&project);
    link("two", "next");
    std::fs::rename(project.path("next"), project.path("current")).unwrap();
    daemon.wait_for("reloaded: b is new; a is gone", 1);
}

#[test]
fn nobody_watches_if_nobody_asks() {
    let project = Project::with_file(FILE);
    let daemon = Daemon::start(&project);
    replace(&project, &FILE.replace("\"a\"", "\"b\""));
    // What a watch would have told by then: a reload by hand comes first, and is the only one.
    daemon.signal("HUP");
    let log = daemon.wait_for("reloaded: ", 1);
    assert!(!log.contains("the file changed"), "{log}");
}
