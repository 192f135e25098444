//! Webhooks from Skyvern, as hints: somebody says that a run has news, and whoever follows that run looks at once. Nothing else
//! follows from one: what is true is what the API answers.
//!
//! Each occurrence has an address of its own, which nobody can guess and which can be checked without remembering any. Taking in
//! requests is `daemon`'s work.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;
use url::Url;

use crate::{
    clock::rfc3339,
    ids::OccurrenceKey,
    mac::{self, Mac, Marking},
    secret::Secret,
};

/// The file in the state folder with the key that addresses are made with.
const KEY_FILE: &str = "webhook.key";
/// In the place of a suffix that is empty.
const NO_SUFFIX: &str = "-";
/// Parts of an address after the common beginning: instance, schedule, instant, suffix, mark.
const PARTS: usize = 5;

/// Makes and reads the addresses, checks who speaks, and passes hints on.
#[derive(Debug)]
pub struct Hints {
    public_url: Url,
    addresses: Mac,
    api_key: Mac,
    /// Runs that are started or followed.
    watched: Mutex<HashMap<OccurrenceKey, Arc<Watched>>>,
    /// A webhook came lately, where one was to come.
    proven: AtomicBool,
    /// The server does not take our addresses.
    refused: AtomicBool,
}

/// A run that is started or followed.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// There is news.
    pub news: Notify,
    /// Its server was given our address.
    pub asked: AtomicBool,
}

impl Hints {
    /// Reads the key for addresses from the state folder, or makes one.
    ///
    /// # Errors
    /// The folder cannot be written, or its key cannot be read.
    pub fn new(public_url: Url, state_dir: &Path, api_key: &Secret) -> io::Result<Self> {
        Ok(Self {
            public_url,
            addresses: Mac::new(&address_key(state_dir)?),
            // The text itself: that is what Skyvern signs with.
            api_key: Mac::new(api_key.expose().as_bytes()),
            watched: Mutex::default(),
            proven: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        })
    }

    /// The address of an occurrence; `None`: the server does not take ours.
    pub(super) fn address(&self, key: &OccurrenceKey) -> Option<String> {
        if self.refused.load(Ordering::Relaxed) {
            return None;
        }
        let mut url = self.public_url.clone();
        let suffix = if key.suffix.is_empty() { NO_SUFFIX } else { &key.suffix };
        let (instant, mark) = (rfc3339(key.scheduled_for), self.addresses.mark(key.to_string().as_bytes()));
        url.path_segments_mut().ok()?.pop_if_empty().extend([
            key.instance.as_str(),
            key.schedule.as_str(),
            &instant,
            suffix,
            &mark,
        ]);
        Some(url.into())
    }

    /// The occurrence of an address that was given out; `None`: it was not. What a proxy did to its beginning does not matter.
    #[must_use]
    pub fn occurrence(&self, path: &str) -> Option<OccurrenceKey> {
        let mut parts = [""; PARTS];
        let mut last = path.rsplit('/');
        for part in parts.iter_mut().rev() {
            *part = last.next()?;
        }
        let [instance, schedule, instant, suffix, mark] = parts;
        // Some proxies write the colons of the instant in their own way.
        let instant = instant.replace("%3A", ":").replace("%3a", ":");
        let suffix = if suffix == NO_SUFFIX { String::new() } else { format!("#{suffix}") };
        let name = format!("{instance}/{schedule}@{instant}{suffix}");
        if !self.addresses.is_mark(name.as_bytes(), mark) {
            return None;
        }
        name.parse().ok()
    }

    /// Begins a body, of which it is to be found out whether Skyvern signed it.
    #[must_use]
    pub fn begin_body(&self) -> Marking {
        self.api_key.begin()
    }

    /// There is news of this occurrence: whoever follows its run looks.
    pub fn tell(&self, key: &OccurrenceKey) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(watched) = watched {
            self.proven.store(true, Ordering::Relaxed);
            watched.news.notify_one();
        }
    }

    /// What is known of an occurrence that is started or followed.
    pub(super) fn watch(&self, key: &OccurrenceKey) -> Arc<Watched> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(watched.entry(key.clone()).or_default())
    }

    /// It is neither any more.
    pub(super) fn forget(&self, key: &OccurrenceKey) {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The server does not take our addresses. `true`: that is new.
    pub(super) fn refused(&self) -> bool {
        !self.refused.swap(true, Ordering::Relaxed)
    }

    /// Whether webhooks arrive, as far as is known.
    pub(super) fn arrive(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// One was to come and did not.
    pub(super) fn missed(&self) {
        self.proven.store(false, Ordering::Relaxed);
    }
}

/// The key in the state folder, made if there is none. Whole or not there, whenever the process dies.
fn address_key(state_dir: &Path) -> io::Result<[u8; mac::BYTES]> {
    let path = state_dir.join(KEY_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => mac::unhex(text.trim()).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} holds no key: remove it, and another is made", path.display()),
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = mac::random_key()?;
            let unfinished = state_dir.join(format!("{KEY_FILE}.new"));
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            writeln!(file, "{}", mac::hex(&key))?;
            file.sync_all()?;
            fs::rename(unfinished, path)?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn hints(folder: &Path, public_url: &str) -> Hints {
        Hints::new(public_url.parse().unwrap(), folder, &Secret::new("api-key".to_owned())).unwrap()
    }

    #[test]
    fn addresses_come_back_and_cannot_be_made_up() {
        let folder = tempfile::tempdir().unwrap();
        let key: OccurrenceKey = "main/daily@2026-11-02T14:00:00Z#manual-7".parse().unwrap();
        let plain: OccurrenceKey = "main/daily@2026-11-02T14:00:00Z".parse().unwrap();
        let ours = hints(folder.path(), "https://hooks.example/skycron/");
        let address = ours.address(&key).unwrap();
        let start = "https://hooks.example/skycron/main/daily/2026-11-02T14:00:00Z/manual-7/";
        assert!(address.starts_with(start) && address.len() == start.len() + 64, "{address}");
        let path = |address: &str| address.parse::<Url>().unwrap().path().to_owned();
        let check = |path: &str, expected: Option<&OccurrenceKey>| {
            assert_eq!(ours.occurrence(path).as_ref(), expected, "{path}");
        };
        check(&path(&address), Some(&key));
        check(&path(&ours.address(&plain).unwrap()), Some(&plain));
        // A proxy took its beginning away, or wrote it in another way.
        check(path(&address).trim_start_matches("/skycron"), Some(&key));
        check(&path(&address).replace(':', "%3A"), Some(&key));
        // Another process of the same folder.
        assert_eq!(hints(folder.path(), "https://hooks.example").occurrence(&path(&address)), Some(key.clone()));
        // Anything else.
        check(&path(&address).replace("manual-7", "manual-8"), None);
        check(&path(&address).replace("daily", "other"), None);
        check(&path(&address)[..path(&address).len() - 1], None);
        check("/", None);
        check("", None);
        let other = tempfile::tempdir().unwrap();
        assert_eq!(hints(other.path(), "https://hooks.example").occurrence(&path(&address)), None);
        let mode = fs::metadata(folder.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_is_none_is_said_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(KEY_FILE), "short").unwrap();
        let error = Hints::new("https://a.example".parse().unwrap(), folder.path(), &Secret::new("k".to_owned()));
        assert!(error.unwrap_err().to_string().contains("holds no key"));
    }
}
