//! One daemon for each history: an advisory lock (flock) on a file beside the database.
//!
//! The kernel lets go of it when the process ends, however it ends: a lock file that is left over locks nothing. Readers
//! do not need it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use super::HistoryError;

/// The file that is locked, in the state folder.
pub const LOCK_FILE: &str = "skycron.lock";
/// The kernel's list of locks: some 60 bytes for each.
const LOCKS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a state folder, without waiting, and writes this process's id into it for the others' message.
    ///
    /// # Errors
    /// [`HistoryError::Locked`] where another process (or another [`Lock`] of this one) has it; [`HistoryError::Folder`]
    /// where the file cannot be opened.
    pub fn take(dir: &Path) -> Result<Self, HistoryError> {
        let path = dir.join(LOCK_FILE);
        let folder_error = |doing| {
            let path = path.clone();
            move |source| HistoryError::Folder { doing, path, source }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(folder_error("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(HistoryError::Locked { path: dir.to_owned(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(folder_error("lock")(source)),
        }
        // The pid is a courtesy: on a full disk it cannot be written, and the lock holds all the same.
        let _ = write_pid(&mut file);
        Ok(Self { _file: file })
    }
}

/// The process that holds the lock of a state folder, if it can be seen, by the kernel's list of locks: looking takes no lock
/// itself, so that a daemon that starts at this moment is not refused.
#[must_use]
pub fn holder(dir: &Path) -> Option<u32> {
    let mut file = File::open(dir.join(LOCK_FILE)).ok()?;
    let inode = file.metadata().ok()?.ino();
    let pid = read_pid(&mut file)?;
    let mut locks = String::new();
    File::open("/proc/locks").ok()?.take(LOCKS_BYTES_MAX).read_to_string(&mut locks).ok()?;
    locks.lines().any(|line| is_lock_of(line, inode, pid)).then_some(pid)
}

/// A line as `1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF`. The device is not compared: some file systems tell different
/// ones in different places.
fn is_lock_of(line: &str, inode: u64, pid: u32) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", _, _, owner, place, ..] = words[..] else { return false };
    owner.parse() == Ok(pid) && place.rsplit(':').next().and_then(|text| text.parse().ok()) == Some(inode)
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_seen_without_taking_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(holder(folder.path()), None, "no lock file");
        let lock = Lock::take(folder.path()).unwrap();
        assert_eq!(holder(folder.path()), Some(std::process::id()));
        drop(lock);
        assert_eq!(holder(folder.path()), None, "a file that is left over locks nothing");
    }

    #[test]
    fn lines_of_the_list_of_locks() {
        let check = |line: &str, expected: bool| assert_eq!(is_lock_of(line, 131, 4711), expected, "{line}");
        check("1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF", true);
        check("1: POSIX  ADVISORY  WRITE 4711 08:01:131 0 EOF", false);
        check("1: FLOCK  ADVISORY  WRITE 4712 08:01:131 0 EOF", false);
        check("1: FLOCK  ADVISORY  WRITE 4711 08:01:1311 0 EOF", false);
        check("1: -> FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF", false);
        check("", false);
    }
}
