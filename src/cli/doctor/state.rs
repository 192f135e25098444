//! What `doctor` finds in the state folder: the history, the daemon that holds it, and whether that daemon took over the file.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path, time::Duration};

use chrono::{DateTime, Utc};
use indicatif::BinaryBytes;
use nix::{
    sys::statvfs::statvfs,
    unistd::{AccessFlags, access},
};

use super::Finding;
use crate::{
    cli::exit::Exit,
    clock::rfc3339,
    daemon::control::{self, Answer, Request},
    engine::change::NoteKind,
    history::{DATABASE_FILE, HistoryError, NoteRow, Reader, lock},
};

/// How many of the latest notes are looked through for the last word on the file.
const NOTES_MAX: u32 = 1000;
/// With less free space the history may soon stand still.
const FREE_BYTES_MIN: u64 = 100 << 20;
/// How long a daemon may take for its answer.
const ANSWER_SECONDS_MAX: u64 = 5;

/// What the history tells of the daemon.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Newest first.
    notes: Vec<NoteRow>,
}

impl Past {
    /// The latest instant that it has.
    pub(super) fn latest(&self) -> Option<DateTime<Utc>> {
        self.notes.iter().map(|note| note.at).max()
    }
}

/// The state folder and the history in it.
pub(super) fn database(dir: &Path) -> (Vec<Finding>, Past) {
    const CHECK: &str = "database";
    let shown = dir.display();
    let bad = |message: String| Finding::problem(CHECK, Exit::Bad, message);
    let only = |finding: Finding| (vec![finding], Past::default());
    let meta = match fs::metadata(dir) {
        Ok(meta) if meta.is_dir() => meta,
        Ok(_) => return only(bad(format!("{shown} is not a folder")).hint("name another with --state-dir")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let hint = "the daemon makes it when it starts; --state-dir or SKYCRON_STATE_DIR name another";
            return only(Finding::warning(CHECK, format!("there is no folder {shown} yet")).hint(hint));
        }
        Err(error) => return only(bad(format!("{shown} cannot be looked at: {error}"))),
    };
    if meta.mode() & 0o002 != 0 {
        let hint = format!("chmod o-w {shown}");
        return only(
            bad(format!("{shown} can be written by every user of this machine: no daemon starts on it")).hint(hint),
        );
    }
    let mut found = Vec::new();
    if access(dir, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        let hint = "the user that runs skycron must be able to; another one can only read the history";
        found.push(Finding::warning(CHECK, format!("this user cannot write to {shown}")).hint(hint));
    }
    let free = statvfs(dir).map(|disk| disk.blocks_available().saturating_mul(disk.fragment_size())).ok();
    if let Some(free) = free.filter(|free| *free < FREE_BYTES_MIN) {
        let message = format!("the disk of {shown} has {} left", BinaryBytes(free));
        found.push(Finding::warning(CHECK, message).hint("make room: nothing is started that cannot be written down"));
    }
    let opened = Reader::open(dir).and_then(|reader| Ok((reader.shape(), reader.notes(NOTES_MAX)?)));
    let notes = match opened {
        Ok((shape, notes)) => {
            let size = |name: &str| fs::metadata(dir.join(name)).map_or(0, |meta| meta.len());
            let size = size(DATABASE_FILE) + size(&format!("{DATABASE_FILE}-wal"));
            let last = notes.first().map_or_else(
                || "no daemon wrote to it yet".to_owned(),
                |note| format!("latest note {} at {}", note.kind, rfc3339(note.at)),
            );
            let message =
                format!("{}: shape {shape}, {}, {last}", dir.join(DATABASE_FILE).display(), BinaryBytes(size));
            found.push(Finding::ok(CHECK, message));
            notes
        }
        Err(error @ (HistoryError::Absent(_) | HistoryError::Older { .. })) => {
            found.push(Finding::warning(CHECK, error.to_string()).maybe_hint(error.hint()));
            Vec::new()
        }
        Err(error) => {
            found.push(bad(error.to_string()).maybe_hint(error.hint()));
            Vec::new()
        }
    };
    (found, Past { notes })
}

/// The daemon of a state folder, and whether there is one.
pub(super) async fn daemon(dir: &Path) -> (Finding, bool) {
    const CHECK: &str = "daemon";
    let holder = lock::holder(dir);
    let process = holder.map_or_else(|| "a daemon".to_owned(), |pid| format!("process {pid}"));
    let limit = Duration::from_secs(ANSWER_SECONDS_MAX);
    let answer = tokio::time::timeout(limit, control::ask(dir, &Request::State)).await;
    let bad = |message: String| Finding::problem(CHECK, Exit::Bad, message);
    let finding = match answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(Answer::State { schedules, open, stalled: None, .. }) => {
            Finding::ok(CHECK, format!("{process} runs {schedules} schedules, {open} occurrences are open"))
        }
        Ok(Answer::State { stalled: Some(stalled), .. }) => {
            bad(format!("{process} cannot write the history, {stalled}"))
                .hint("its log says what to do; nothing is started meanwhile")
        }
        Ok(Answer::Done { .. } | Answer::Mirrored { .. } | Answer::Error { .. }) => {
            let hint = "start it again after an upgrade: systemctl restart skycron";
            Finding::warning(CHECK, format!("{process} is of another version")).hint(hint)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            let Some(pid) = holder else {
                let finding = Finding::warning(CHECK, "none runs on this history: nothing is started");
                return (finding.hint("skycron run, or systemctl start skycron"), false);
            };
            let message = format!(
                "process {pid} holds the history and is not (yet) a daemon: a command at work, or one that starts"
            );
            return (Finding::warning(CHECK, message).hint("look again in a moment"), false);
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Finding::warning(CHECK, format!("{process} may not be asked by this user"))
                .hint("ask as the user that runs it")
        }
        Err(error) => {
            let message = format!("{process} does not answer: {error}");
            bad(message)
                .hint("if it stays so, its log says more; stopping it twice ends it at once, and nothing is lost")
        }
    };
    (finding, true)
}

/// Whether the daemon took over the file as it is now; nothing where none runs, or nothing is known of it.
pub(super) fn reload(past: &Past, file: Option<&Path>, daemon_runs: bool) -> Option<Finding> {
    takeover(&past.notes, file).filter(|_| daemon_runs)
}

/// Whether the daemon that wrote these notes, the newest first, took over the file as it is now.
pub(in crate::cli) fn takeover(notes: &[NoteRow], file: Option<&Path>) -> Option<Finding> {
    let changed = file.and_then(|path| fs::metadata(path).ok()?.modified().ok()).map(DateTime::<Utc>::from);
    verdict(notes, changed)
}

fn verdict(notes: &[NoteRow], changed: Option<DateTime<Utc>>) -> Option<Finding> {
    const CHECK: &str = "reload";
    let last = notes
        .iter()
        .find(|note| matches!(note.kind, NoteKind::Started | NoteKind::Reloaded | NoteKind::ReloadRefused))?;
    let at = rfc3339(last.at);
    if last.kind == NoteKind::ReloadRefused {
        let hint = "mend it (`skycron check`), then reload: systemctl reload skycron, or the signal HUP";
        return Some(
            Finding::problem(CHECK, Exit::Usage, format!("at {at} the daemon refused the file: {}", last.text))
                .hint(hint),
        );
    }
    if let Some(changed) = changed.filter(|changed| *changed > last.at) {
        let message = format!("the file was changed at {}, after the daemon read it at {at}", rfc3339(changed));
        let hint = "reload it: systemctl reload skycron, or the signal HUP";
        return Some(Finding::warning(CHECK, message).hint(hint));
    }
    Some(Finding::ok(CHECK, format!("the daemon read the file at {at}; it was not changed since")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::doctor::Verdict, clock::parse_rfc3339};

    #[test]
    fn the_last_word_on_the_file_counts() {
        let check = |notes: &[(NoteKind, &str)], changed: Option<&str>, expected: Option<Verdict>| {
            let at = |hour: &str| parse_rfc3339(&format!("2026-11-22T{hour}:00:00Z")).unwrap();
            let note = |(kind, hour): &(NoteKind, &str)| NoteRow { at: at(hour), kind: *kind, text: String::new() };
            let mut notes: Vec<NoteRow> = notes.iter().map(note).collect();
            notes.reverse();
            assert_eq!(verdict(&notes, changed.map(at)).map(|found| found.verdict), expected, "{notes:?} {changed:?}");
        };
        use NoteKind::{ClockStepped, ReloadRefused, Reloaded, Started};
        check(&[], Some("10"), None);
        check(&[(Started, "10")], Some("09"), Some(Verdict::Ok));
        check(&[(Started, "10")], None, Some(Verdict::Ok));
        check(&[(Started, "10")], Some("11"), Some(Verdict::Warning));
        check(&[(Started, "10"), (Reloaded, "12")], Some("11"), Some(Verdict::Ok));
        check(&[(Started, "10"), (ReloadRefused, "12")], Some("11"), Some(Verdict::Problem));
        check(&[(Started, "10"), (ReloadRefused, "12"), (ClockStepped, "13")], None, Some(Verdict::Problem));
        check(&[(ReloadRefused, "12"), (Reloaded, "13")], Some("11"), Some(Verdict::Ok));
        check(&[(ReloadRefused, "12"), (Started, "13")], Some("11"), Some(Verdict::Ok));
    }
}
