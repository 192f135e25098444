//! One daemon for each history: an advisory lock (flock) on a file beside the database.
//!
//! The kernel lets go of it when the process ends, however it ends: a lock file that is left over locks nothing. Readers
//! do not need it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::HistoryError;

/// The file that is locked, in the state folder.
pub const LOCK_FILE: &str = "skycron.lock";

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
