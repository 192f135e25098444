//! Entries of systemd's journal, in its own protocol: each field of an event is a field of the entry, and can be asked for
//! (`journalctl SKYCRON_SCHEDULE=nightly`).
//!
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. The crate tracing-journald does much of this; its entries have the message
//! alone as text, so that `journalctl` shows "failed" and not what.

use std::{
    fmt::{self, Write},
    io,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use nix::sys::stat::fstat;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::ids::OccurrenceKey;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Of a value so much is sent: an entry of [`FIELDS_MAX`] such values still is one datagram.
const VALUE_BYTES_MAX: usize = 8 << 10;
/// More fields than any event has.
const FIELDS_MAX: usize = 16;
/// So long a line waits for a journal that does not take it; the ones after it do not wait until it does.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether standard error goes to the journal: systemd says which file it gave, as `device:inode`.
pub(super) fn is_standard_error(journal_stream: Option<&str>) -> bool {
    let Some((device, inode)) = journal_stream.and_then(|text| text.split_once(':')) else { return false };
    fstat(io::stderr()).is_ok_and(|file| device.parse() == Ok(file.st_dev) && inode.parse() == Ok(file.st_ino))
}

/// Sends events to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    patient: UnixDatagram,
    hasty: UnixDatagram,
    path: PathBuf,
    is_stuck: AtomicBool,
    lost: AtomicU64,
}

impl Journal {
    /// The machine's.
    pub(super) fn connect() -> io::Result<Self> {
        Self::at(SOCKET.into())
    }

    fn at(path: PathBuf) -> io::Result<Self> {
        let (patient, hasty) = (UnixDatagram::unbound()?, UnixDatagram::unbound()?);
        patient.set_write_timeout(Some(PATIENCE))?;
        hasty.set_nonblocking(true)?;
        let journal = Self { patient, hasty, path, is_stuck: AtomicBool::new(false), lost: AtomicU64::new(0) };
        // Says whether somebody listens; an entry without fields is none.
        journal.hasty.send_to(b"", &journal.path)?;
        Ok(journal)
    }

    fn send(&self, mut entry: Entry) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            entry.field("SKYCRON_LOG_LINES_LOST", &lost.to_string());
        }
        // A journal that hangs must not make the daemon hang.
        let socket = if self.is_stuck.load(Ordering::Relaxed) { &self.hasty } else { &self.patient };
        let taken = socket.send_to(&entry.bytes, &self.path).is_ok();
        self.is_stuck.store(!taken, Ordering::Relaxed);
        if taken {
            self.lost.fetch_sub(lost, Ordering::Relaxed);
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.send(Entry::new(event.metadata(), fields));
    }
}

/// The fields of an event, as text.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    fn add(&mut self, field: &Field, mut value: String) {
        value.truncate(value.floor_char_boundary(VALUE_BYTES_MAX));
        match field.name() {
            "message" => self.message = value,
            // What the crate log says about its own lines.
            name if name.starts_with("log.") => {}
            name if self.others.len() < FIELDS_MAX => self.others.push((name, value)),
            _ => {}
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.others.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }
}

/// The bytes of an entry.
#[derive(Default)]
struct Entry {
    bytes: Vec<u8>,
}

impl Entry {
    fn new(metadata: &Metadata<'_>, fields: Fields) -> Self {
        let mut entry = Self::default();
        let priority = match *metadata.level() {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            _ => "7",
        };
        entry.field("PRIORITY", priority);
        entry.field("SYSLOG_IDENTIFIER", "skycron");
        entry.field("MESSAGE", &text(&fields));
        entry.field("TARGET", metadata.target());
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            entry.field("CODE_FILE", file);
            entry.field("CODE_LINE", &line.to_string());
        }
        if fields.get("schedule").is_none()
            && let Some(Ok(key)) = fields.get("occurrence").map(str::parse::<OccurrenceKey>)
        {
            entry.field("SKYCRON_SCHEDULE", &key.schedule.to_string());
        }
        for (name, value) in &fields.others {
            entry.field(&format!("SKYCRON_{}", name_of(name)), value);
        }
        entry
    }

    fn field(&mut self, name: &str, value: &str) {
        self.bytes.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            // With its length, since a line break would end it.
            self.bytes.push(b'\n');
            self.bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.bytes.push(b'=');
        }
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(b'\n');
    }
}

/// As the log on standard error has it: the message, then the fields.
fn text(fields: &Fields) -> String {
    let mut text = fields.message.clone();
    for (name, value) in &fields.others {
        // Writing to a text cannot fail.
        let _ = match value.contains([' ', '"', '\n']) {
            true => write!(text, " {name}={value:?}"),
            false => write!(text, " {name}={value}"),
        };
    }
    text.truncate(text.floor_char_boundary(VALUE_BYTES_MAX));
    text
}

/// The journal knows capital letters, digits and `_`.
fn name_of(name: &str) -> String {
    name.chars().map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What the journal is sent for what is logged.
    fn sent(log: impl FnOnce()) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(path).unwrap();
        let mut bytes = vec![0; 1 << 20];
        assert_eq!(listener.recv(&mut bytes).unwrap(), 0, "the first one asks whether somebody is there");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), log);
        let length = listener.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    fn check(log: impl FnOnce(), expected: &[&str]) {
        let sent = sent(log);
        for line in expected {
            assert!(format!("\n{sent}").contains(&format!("\n{line}\n")), "{line:?} in {sent}");
        }
    }

    #[test]
    fn fields_of_an_entry() {
        let key = "main/nightly@2026-12-24T00:00:00Z".parse::<OccurrenceKey>().unwrap();
        check(
            || tracing::error!(occurrence = %key, run_id = "wr_1", reason = Some("it is broken"), "failed"),
            &[
                "PRIORITY=3",
                "SYSLOG_IDENTIFIER=skycron",
                "MESSAGE=failed occurrence=main/nightly@2026-12-24T00:00:00Z run_id=wr_1 reason=\"it is broken\"",
                "SKYCRON_SCHEDULE=nightly",
                "SKYCRON_OCCURRENCE=main/nightly@2026-12-24T00:00:00Z",
                "SKYCRON_RUN_ID=wr_1",
                "SKYCRON_REASON=it is broken",
            ],
        );
        check(
            || tracing::warn!(schedule = "a", http_status = 503, "x"),
            &["PRIORITY=4", "SKYCRON_SCHEDULE=a", "SKYCRON_HTTP_STATUS=503"],
        );
        check(|| tracing::info!("no field"), &["PRIORITY=6", "MESSAGE=no field"]);
    }

    #[test]
    fn a_line_break_does_not_begin_a_field() {
        let sent = sent(|| tracing::warn!(answer = "a\nPRIORITY=0", "x"));
        assert!(sent.contains("SKYCRON_ANSWER\n\u{c}\0\0\0\0\0\0\0a\nPRIORITY=0\n"), "{sent:?}");
        assert!(sent.contains(r#"MESSAGE=x answer="a\nPRIORITY=0""#), "{sent:?}");
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        let sent = sent(|| tracing::warn!(answer = "é".repeat(1 << 20), "x"));
        assert!(sent.len() < 3 * VALUE_BYTES_MAX, "{}", sent.len());
        assert!(!sent.contains('\u{fffd}'));
    }

    #[test]
    fn a_journal_that_takes_nothing_does_not_hold_up_more_than_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert_eq!(Journal::at(path.clone()).unwrap_err().kind(), ErrorKind::NotFound);
        let listener = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(path).unwrap();
        let entry = || Entry { bytes: b"MESSAGE=x\n".to_vec() };
        while !journal.is_stuck.load(Ordering::Relaxed) {
            journal.send(entry());
        }
        journal.send(entry());
        assert_eq!(journal.lost.load(Ordering::Relaxed), 2);
        let mut bytes = [0; 100];
        let mut take = || {
            let length = listener.recv(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        take();
        journal.send(entry());
        assert_eq!(journal.lost.load(Ordering::Relaxed), 0, "it goes on");
        let last = loop {
            let entry = take();
            if entry.contains("LOST") {
                break entry;
            }
        };
        assert_eq!(last, "MESSAGE=x\nSKYCRON_LOG_LINES_LOST=2\n");
    }

    #[test]
    fn only_the_file_that_systemd_names_is_the_journal() {
        let file = fstat(io::stderr()).unwrap();
        let check = |stream: Option<&str>, expected| assert_eq!(is_standard_error(stream), expected, "{stream:?}");
        check(Some(&format!("{}:{}", file.st_dev, file.st_ino)), true);
        check(Some(&format!("{}:{}", file.st_dev, file.st_ino + 1)), false);
        check(Some("8"), false);
        check(None, false);
    }
}
