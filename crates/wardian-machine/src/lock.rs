//! The lock that proves a machine runs: `flock` on `DIR/lock`, held by the QEMU process itself.
//!
//! The starter takes the lock and lets the child inherit the open file, then closes its own copy. From then on exactly
//! the QEMU process holds it, until it dies, however it dies. So there is no record to go stale, and a machine cannot
//! run twice. The process id is the file's text, written by the child *before* it becomes QEMU: whoever finds the lock
//! held and the text there knows the process, even if the starter was killed in between.
//!
//! Looked at and not chosen: `SO_PEERCRED` on the monitor's socket (names who listened first, which is the starter),
//! scanning `/proc/*/cmdline` (costs with every process of the host, and a command line can be imitated).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// What the lock of a runtime directory says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Nobody holds it: no machine runs.
    Nobody,
    /// A starter is at work, or died before there was a process and is about to let go.
    Starting,
    /// This process holds it.
    Process(i32),
}

/// Takes the lock for a start. `None` when somebody holds it.
pub(crate) fn take(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => {
            // The last holder's number must not be taken for the next one's.
            file.set_len(0)?;
            Ok(Some(file))
        }
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Who holds the lock at `path`. A missing file is held by nobody.
pub fn holder(path: &Path) -> io::Result<Holder> {
    let mut file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Nobody),
        Err(error) => return Err(error),
    };
    // A shared lock is enough to ask, and two who ask do not see each other.
    match file.try_lock_shared() {
        Ok(()) => return Ok(Holder::Nobody),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text.strip_suffix('\n').and_then(|pid| pid.parse().ok()).map_or(Holder::Starting, Holder::Process))
}

/// Whether the process has the lock's file open: a number left over from a machine that is gone may be another
/// program's now.
pub(crate) fn is_open_in(path: &Path, pid: i32) -> io::Result<bool> {
    let lock = std::fs::metadata(path)?;
    let descriptors = match std::fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(descriptors) => descriptors,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for descriptor in descriptors {
        // One that was closed meanwhile is none we look for.
        let Ok(file) = descriptor.and_then(|d| std::fs::metadata(d.path())) else { continue };
        if (file.dev(), file.ino()) == (lock.dev(), lock.ino()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a machine runs in the directory whose lock this is.
pub fn is_held(path: &Path) -> io::Result<bool> {
    Ok(holder(path)? != Holder::Nobody)
}
