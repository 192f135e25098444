//! Notices that the file changed, by inotify on its folder: editors put a new file in the place of the old one, so that the
//! file itself is not what can be watched. Reading it is `reload`'s business.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, AsRawFd, RawFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use tokio::{io::unix::AsyncFd, sync::mpsc};

use crate::daemon::signals::Asks;

/// A change is told when the folder was quiet for so long.
const QUIET: Duration = Duration::from_millis(300);
/// A folder that is never quiet is not waited for longer than so many times that.
const QUIET_WAITS_MAX: usize = 10;

/// The kernel's descriptor. tokio wants it as a number, nix lends it.
#[derive(Debug)]
struct Kernel(Inotify);

impl AsRawFd for Kernel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// A watch on one file.
#[derive(Debug)]
pub(super) struct FileWatch {
    inotify: AsyncFd<Kernel>,
    path: PathBuf,
    name: OsString,
    seen: Option<Signature>,
    /// Somebody made the file anew and has not closed it.
    half_written: bool,
}

/// What tells one state of the file from another: device, inode, size, and when it was changed.
type Signature = (u64, u64, u64, (i64, i64), (i64, i64));

impl FileWatch {
    /// Watches the folder of a file, and, where the path is a link, the folder in which it ends.
    ///
    /// # Errors
    /// The kernel gives no watch, or the folder cannot be read.
    #[expect(
        deprecated,
        reason = "its successor is `unsafe`; what that guards against, a descriptor that changes, cannot happen here"
    )]
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let mut folders = vec![folder_of(path)];
        folders.extend(path.canonicalize().ok().map(|real| folder_of(&real)).filter(|folder| *folder != folders[0]));
        for folder in folders {
            // Not the writing itself: a file that is half written must not be read.
            let flags = AddWatchFlags::IN_CLOSE_WRITE
                | AddWatchFlags::IN_MOVE
                | AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_ONLYDIR;
            inotify.add_watch(&folder, flags)?;
        }
        let name = path.file_name().unwrap_or_default().to_owned();
        Ok(Self {
            inotify: AsyncFd::new(Kernel(inotify))?,
            path: path.to_owned(),
            name,
            seen: signature(path),
            half_written: false,
        })
    }

    /// Asks for a reload whenever the file changed, until nobody listens.
    pub(super) async fn serve(mut self, asks: mpsc::Sender<Asks>) {
        loop {
            if let Err(error) = self.changed().await {
                let hint = "a signal (HUP) still reads the file again";
                tracing::warn!(%error, hint, "changes of the file are not noticed any more");
                return;
            }
            tracing::info!(file = %self.path.display(), "the file changed");
            // Full: a reload is waiting already.
            if let Err(mpsc::error::TrySendError::Closed(_)) = asks.try_send(Asks::Reload) {
                return;
            }
        }
    }

    /// Ends when the file is another than it was, and at rest.
    async fn changed(&mut self) -> io::Result<()> {
        loop {
            let events = self.events().await?;
            let mut matters = self.take_in(&events)?;
            for _ in 0..QUIET_WAITS_MAX {
                if !matters {
                    break;
                }
                match tokio::time::timeout(QUIET, self.events()).await {
                    Ok(events) => matters |= self.take_in(&events?)?,
                    Err(_) => break,
                }
            }
            let now = signature(&self.path);
            if matters && !self.half_written && now != self.seen {
                self.seen = now;
                return Ok(());
            }
        }
    }

    async fn events(&self) -> io::Result<Vec<InotifyEvent>> {
        loop {
            let mut ready = self.inotify.readable().await?;
            if let Ok(read) = ready.try_io(|inotify| inotify.get_ref().0.read_events().map_err(io::Error::from)) {
                return read;
            }
        }
    }

    /// Whether the file may be another after these events.
    fn take_in(&mut self, events: &[InotifyEvent]) -> io::Result<bool> {
        let is_link = self.path.is_symlink();
        let mut matters = false;
        for InotifyEvent { mask, name, .. } in events {
            if mask.contains(AddWatchFlags::IN_IGNORED) {
                return Err(io::Error::other("the folder of the file is gone"));
            }
            let overflow = mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
            // Any name may be on the way of a link.
            if overflow || is_link || name.as_ref() == Some(&self.name) {
                // A link is whole at once; another file that was just made is not written yet, and is closed when it is.
                self.half_written = !is_link && mask.contains(AddWatchFlags::IN_CREATE);
                matters = true;
            }
        }
        Ok(matters)
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn signature(path: &Path) -> Option<Signature> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.size(), (meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write};

    use super::*;

    #[test]
    fn a_file_is_told_when_it_is_another_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("schedules.toml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("one");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut watch = FileWatch::new(&path).unwrap();
            let told = async |watch: &mut FileWatch| {
                tokio::time::timeout(QUIET * 3, watch.changed()).await.map(|changed| changed.unwrap()).is_ok()
            };
            write("two");
            assert!(told(&mut watch).await, "written in place");
            std::fs::write(folder.path().join("other"), "one").unwrap();
            assert!(!told(&mut watch).await, "another file");
            std::fs::rename(folder.path().join("other"), &path).unwrap();
            assert!(told(&mut watch).await, "replaced");
            std::fs::remove_file(&path).unwrap();
            assert!(told(&mut watch).await, "removed");
            let mut slow = File::create(&path).unwrap();
            slow.write_all(b"a part").unwrap();
            assert!(!told(&mut watch).await, "half written");
            drop(slow);
            assert!(told(&mut watch).await, "and now whole");
            std::fs::remove_file(&path).unwrap();
            std::fs::remove_dir_all(folder.path()).unwrap();
            assert!(watch.changed().await.is_err(), "nothing to watch any more");
        });
    }
}
