//! Sources of zone rules, in folders that the tests make.

use std::fs;

use super::*;
use crate::{
    clock::parse_rfc3339,
    schedule::{Fold, Gap},
};

/// The zone files that come with the tests: tzdata 2026f.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/zoneinfo")
}

/// A folder with some of the shipped files, under names, and with texts.
fn folder(zones: &[(&str, &str)], texts: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, shipped_name) in zones {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(shipped().join(shipped_name), path).unwrap();
    }
    for (name, text) in texts {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn at(text: &str) -> DateTime<Utc> {
    parse_rfc3339(text).unwrap()
}

fn daily(zone: Zone) -> Timetable {
    Timetable::cron("0 9 * * *".parse().unwrap(), zone, Gap::Shift, Fold::Auto).unwrap()
}

/// The instant of 09:00 in Vancouver on 2 November 2026, which tells the two sources apart.
fn vancouver(source: &ZoneSource) -> String {
    let next = daily(source.zone("America/Vancouver").unwrap()).next_after(at("2026-11-02T00:00:00Z"));
    next.unwrap().format("%H:%M").to_string()
}

#[test]
fn the_newer_rules_are_in_force() {
    let (system, bundled) = ("16:00", "17:00");
    let vancouver_file = [("America/Vancouver", "America/Vancouver")];
    let check = |texts: &[(&str, &str)], choice: ZoneRulesChoice, expected: &str, release: &str| {
        let folder = folder(&vancouver_file, texts);
        let source = ZoneSource::load(choice, Some(folder.path())).unwrap();
        assert_eq!(vancouver(&source), expected, "{texts:?}, {choice}");
        assert_eq!(source.is_system(), expected == system, "{texts:?}, {choice}");
        let release = release.replace("{}", &folder.path().display().to_string());
        assert_eq!(source.release(), release, "{texts:?}, {choice}");
    };
    use ZoneRulesChoice::{Auto, Bundled, System};
    let newer = "tzdata 2026f from {} (newer than the 2025b that is built in)";
    check(&[("tzdata.zi", "# version 2026f\nR ...")], Auto, system, newer);
    check(&[("tzdata.zi", "# version 2026f-dirty\n")], Auto, system, newer);
    check(&[("+VERSION", "2026f\n")], Auto, system, newer);
    check(
        &[("tzdata.zi", "# version 2025c\n")],
        Auto,
        system,
        "tzdata 2025c from {} (newer than the 2025b that is built in)",
    );
    check(
        &[("tzdata.zi", "# version 2025b\n")],
        Auto,
        bundled,
        "tzdata 2025b, built in (tzdata 2025b from {} is not newer)",
    );
    check(
        &[("tzdata.zi", "# version 2024a\n")],
        Auto,
        bundled,
        "tzdata 2025b, built in (tzdata 2024a from {} is not newer)",
    );
    // After z comes za.
    check(
        &[("tzdata.zi", "# version 2025zb\n")],
        Auto,
        system,
        "tzdata 2025zb from {} (newer than the 2025b that is built in)",
    );
    // Whatever was chosen, and why.
    check(&[("tzdata.zi", "# version 2024a\n")], System, system, "tzdata 2024a from {} (chosen)");
    check(&[("tzdata.zi", "# version 2026f\n")], Bundled, bundled, "tzdata 2025b, built in (chosen)");
    // No release to be read: the rules themselves say that they are newer.
    let unknown = "tzdata of unknown release from {} (newer than the 2025b that is built in)";
    check(&[], Auto, system, unknown);
    check(&[("tzdata.zi", "no version here\n"), ("+VERSION", "unknown\n")], Auto, system, unknown);
}

#[test]
fn a_folder_without_release_counts_when_it_differs_only_after_the_crates() {
    // The rules of another zone under this name differ before the release: not a successor.
    let other = folder(&[("America/Vancouver", "America/Vancouver"), ("Europe/Paris", "Asia/Tokyo")], &[]);
    let source = ZoneSource::load(ZoneRulesChoice::Auto, Some(other.path())).unwrap();
    assert!(!source.is_system());
    // No difference at all: nothing is gained by it.
    let same = folder(&[("America/New_York", "America/New_York")], &[]);
    let source = ZoneSource::load(ZoneRulesChoice::Auto, Some(same.path())).unwrap();
    assert!(!source.is_system());
    assert_eq!(
        source.release(),
        format!("tzdata 2025b, built in (tzdata of unknown release from {} is not newer)", same.path().display())
    );
}

/// The date beside it must follow when the crate comes with another release.
#[test]
fn the_release_of_the_crate_is_the_one_that_is_dated() {
    assert_eq!(Zone::BUNDLED_RELEASE, "2025b");
    assert_eq!(DateTime::from_timestamp(BUNDLED_RELEASED, 0).unwrap().to_rfc3339(), "2025-03-23T00:00:00+00:00");
}

#[test]
fn no_zone_files() {
    let nowhere = Path::new("/nowhere/zoneinfo");
    let error = ZoneSource::load(ZoneRulesChoice::System, Some(nowhere)).unwrap_err();
    assert_eq!(error.to_string(), "there are no zone files in /nowhere/zoneinfo");
    let source = ZoneSource::load(ZoneRulesChoice::Auto, Some(nowhere)).unwrap();
    assert_eq!(source.release(), "tzdata 2025b, built in (no zone files were found)");
    assert_eq!(vancouver(&source), "17:00");
    assert_eq!(vancouver(&ZoneSource::bundled()), "17:00");
}

#[test]
fn a_name_that_one_source_knows_is_taken_from_it() {
    let texts = [("tzdata.zi", "# version 2026f\nZ Moon/Base 0 - -\nL America/Vancouver Moon/Old\n")];
    let folder = folder(&[("Moon/Base", "Asia/Kathmandu"), ("Moon/Old", "Asia/Tokyo")], &texts);
    let source = ZoneSource::load(ZoneRulesChoice::Auto, Some(folder.path())).unwrap();
    assert!(source.is_system());
    assert_eq!(source.zone("Moon/Base").unwrap().offset_at(at("2026-01-01T00:00:00Z")).to_string(), "+05:45");
    assert_eq!(source.zone("Europe/Berlin").unwrap(), Zone::bundled("Europe/Berlin").unwrap());
    let nearest = |name: &str| match source.zone(name) {
        Err(UnknownZone::Name { nearest, .. }) => nearest,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(nearest("Moon/Bse").as_deref(), Some("Moon/Base"));
    assert_eq!(nearest("Moon/Odl").as_deref(), Some("Moon/Old"));
    // The choice is whose rules come first.
    let bundled = ZoneSource::load(ZoneRulesChoice::Bundled, Some(folder.path())).unwrap();
    assert_eq!(bundled.zone("Moon/Base").unwrap().offset_at(at("2026-01-01T00:00:00Z")).to_string(), "+05:45");
    assert!(matches!(ZoneSource::bundled().zone("Moon/Base"), Err(UnknownZone::Name { nearest: None, .. })));
}

#[test]
fn links_and_old_names() {
    let source = ZoneSource::load(ZoneRulesChoice::Auto, Some(&shipped())).unwrap();
    let instant = at("2026-07-01T00:00:00Z");
    for (old, new) in
        [("Europe/Kiev", "Europe/Kyiv"), ("US/Eastern", "America/New_York"), ("Asia/Calcutta", "Asia/Kolkata")]
    {
        let (old, new) = (source.zone(old).unwrap(), source.zone(new).unwrap());
        assert_eq!(old.offset_at(instant), new.offset_at(instant));
        assert_ne!(old.name(), new.name());
    }
}

#[test]
fn nearest_names() {
    let source = ZoneSource::bundled();
    let check = |name: &str, nearest: Option<&str>| {
        let error = source.zone(name).unwrap_err();
        assert_eq!(error.to_string(), format!("the time zone `{name}` is not known"));
        let hint = nearest.map_or_else(
            || "zones have IANA names, as `America/New_York` or `UTC`".to_owned(),
            |nearest| format!("did you mean `{nearest}`?"),
        );
        assert_eq!(error.hint(), hint, "{name}");
    };
    check("America/New_Yrok", Some("America/New_York"));
    check("new york", Some("America/New_York"));
    check("america/new_york", Some("America/New_York"));
    check("Europe/Berln", Some("Europe/Berlin"));
    check("Berlin", Some("Europe/Berlin"));
    check("utc", Some("UTC"));
    check("PST", None);
    check("Mars/Olympus", None);
    check("", None);
}

#[test]
fn names_do_not_leave_the_folder() {
    let outer = folder(
        &[("secret", "Asia/Tokyo"), ("in/Asia/Tokyo", "Asia/Tokyo"), ("in/right/Asia/Tokyo", "Asia/Tokyo")],
        &[("in/tzdata.zi", "# version 2026f\n")],
    );
    let source = ZoneSource::load(ZoneRulesChoice::System, Some(&outer.path().join("in"))).unwrap();
    assert!(source.zone("Asia/Tokyo").is_ok());
    let absolute = outer.path().join("secret").display().to_string();
    for name in [
        "../secret",
        "Asia/../../secret",
        &absolute,
        "right/Asia/Tokyo",
        "tzdata.zi",
        "Asia",
        "Asia//Tokyo",
        "Asia/Tokyo/",
        "Asia/Tokyo\0",
    ] {
        assert!(matches!(source.zone(name), Err(UnknownZone::Name { .. })), "{name:?}");
    }
}

#[test]
fn a_broken_file_is_loud() {
    let folder = folder(&[], &[("tzdata.zi", "# version 2026f\n"), ("EST", "this is no zone file")]);
    let source = ZoneSource::load(ZoneRulesChoice::Auto, Some(folder.path())).unwrap();
    let error = source.zone("EST").unwrap_err();
    let path = folder.path().join("EST").display().to_string();
    assert!(
        error
            .to_string()
            .starts_with(&format!("the rules of the time zone `EST` cannot be read: {path}: not a zone file")),
        "{error}"
    );
    assert!(error.hint().contains("reinstall tzdata"));
    fs::write(folder.path().join("EST"), vec![0; 1024 * 1024 + 1]).unwrap();
    let source = ZoneSource::load(ZoneRulesChoice::Auto, Some(folder.path())).unwrap();
    assert!(source.zone("EST").unwrap_err().to_string().ends_with("larger than 1048576 bytes"));
}

#[test]
fn what_the_two_sources_say_otherwise() {
    let source = ZoneSource::load(ZoneRulesChoice::Auto, Some(&shipped())).unwrap();
    let from = at("2026-10-01T00:00:00Z");
    let difference = |source: &ZoneSource, zone: &str| source.difference(&daily(source.zone(zone).unwrap()), from);
    let (earlier, later) = (at("2026-11-01T16:00:00Z"), at("2026-11-01T17:00:00Z"));
    assert_eq!(
        difference(&source, "America/Vancouver"),
        Some(Difference { at: earlier, in_force: Some(earlier), other: Some(later) })
    );
    assert_eq!(difference(&source, "America/New_York"), None);
    assert_eq!(difference(&source, "UTC"), None);
    // The other way round.
    let bundled = ZoneSource::load(ZoneRulesChoice::Bundled, Some(&shipped())).unwrap();
    assert_eq!(
        difference(&bundled, "America/Vancouver"),
        Some(Difference { at: earlier, in_force: Some(later), other: Some(earlier) })
    );
    // Not due where they differ; not a matter of clocks; not within two years; only one source.
    let summer = Timetable::cron(
        "0 9 * 7 *".parse().unwrap(),
        source.zone("America/Vancouver").unwrap(),
        Gap::Shift,
        Fold::Auto,
    );
    assert_eq!(source.difference(&summer.unwrap(), from), None);
    let interval = Timetable::interval(86_400, from, source.zone("America/Vancouver").unwrap()).unwrap();
    assert_eq!(source.difference(&interval, from), None);
    let long_before = source.difference(&daily(source.zone("America/Vancouver").unwrap()), at("2020-01-01T00:00:00Z"));
    assert_eq!(long_before, None);
    assert_eq!(difference(&ZoneSource::bundled(), "America/Vancouver"), None);
}

/// A daemon that loads afresh sees an upgrade of the files; one source alone does not change under its schedules.
#[test]
fn loading_again_reads_again() {
    let folder = folder(&[("America/Vancouver", "Asia/Tokyo")], &[("tzdata.zi", "# version 2026f\n")]);
    let before = ZoneSource::load(ZoneRulesChoice::Auto, Some(folder.path())).unwrap();
    let zone = before.zone("America/Vancouver").unwrap();
    fs::copy(shipped().join("America/Vancouver"), folder.path().join("America/Vancouver")).unwrap();
    assert_eq!(before.zone("America/Vancouver").unwrap(), zone);
    let after = ZoneSource::load(ZoneRulesChoice::Auto, Some(folder.path())).unwrap();
    assert_ne!(after.zone("America/Vancouver").unwrap(), zone);
}
