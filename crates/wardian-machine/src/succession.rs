//! Handing a machine's place over to its successor: two processes in `DIR` and `DIR.next`, and one step that decides.
//!
//! The successor is started in `DIR.next` while the machine in `DIR` runs. Once it has loaded the state, [`exchange`]
//! swaps the two directories in one step of the file system: before it the machine is who it was, after it the machine
//! is its successor, whoever is killed at any moment. So [`crate::Machine::adopt`] of `DIR` always takes the right one,
//! and whoever stands in `DIR.next` is to be [ended](end_other). The successor must not run before the exchange, for
//! then two would have lived.
//!
//! | killed | is in `DIR` | what to do |
//! |---|---|---|
//! | before the exchange | the source, perhaps paused | [`end_other`], then [`crate::Machine::resume`] |
//! | after it | the successor, perhaps not yet let go | the same |

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::directory::{DirectoryError, RuntimeDirectory, next};
use crate::lock::{self, Holder};
use crate::process::ProcessFd;

/// How long a starter may take between taking the lock and forking.
const STARTER: Duration = Duration::from_secs(10);
/// How long after SIGKILL a process may take to be gone.
const KILL: Duration = Duration::from_secs(30);

/// Why a successor's directory cannot be prepared or cleared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuccessionError {
    /// Something of it cannot be looked at, made or removed.
    #[error("{} cannot be prepared or cleared", .path.display())]
    Files {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its directory cannot be made.
    #[error("the successor's directory cannot be made")]
    Directory {
        /// Why.
        source: DirectoryError,
    },
    /// Somebody is in there.
    #[error("a process still stands in {}: end it first", .directory.display())]
    Occupied {
        /// The successor's directory.
        directory: PathBuf,
    },
    /// Somebody is starting a machine in there and does not finish.
    #[error("a starter holds {} and does not get on", .directory.display())]
    Starting {
        /// The successor's directory.
        directory: PathBuf,
    },
    /// The process cannot be killed.
    #[error("process {pid} in {} cannot be killed", .directory.display())]
    Kill {
        /// The successor's directory.
        directory: PathBuf,
        /// The process.
        pid: i32,
        /// Why.
        source: io::Error,
    },
    /// The process is still there long after SIGKILL.
    #[error("process {pid} in {} is still there {} s after it was killed", .directory.display(), KILL.as_secs())]
    Unkillable {
        /// The successor's directory.
        directory: PathBuf,
        /// The process.
        pid: i32,
    },
}

/// Clears `DIR.next` of what an ended process left and links the console's log of the machine in `directory` there: a
/// successor goes on writing the same file. Gives `DIR.next`, for [`crate::Launch::directory`].
///
/// # Errors
/// [`SuccessionError::Occupied`] while somebody is in there; see [`end_other`].
pub fn prepare(directory: &Path) -> Result<PathBuf, SuccessionError> {
    let other = RuntimeDirectory::new(next(directory));
    let at = |path: PathBuf| move |source| SuccessionError::Files { path, source };
    if lock::is_held(&other.lock()).map_err(at(other.lock()))? {
        return Err(SuccessionError::Occupied { directory: other.path().to_owned() });
    }
    other.remove().map_err(at(other.path().to_owned()))?;
    other.prepare(None).map_err(|source| SuccessionError::Directory { source })?;
    match std::fs::hard_link(RuntimeDirectory::new(directory).console_log(), other.console_log()) {
        // A machine that never printed; its successor makes a log of its own.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => done.map_err(at(other.console_log()))?,
    }
    Ok(other.path().to_owned())
}

/// Swaps `directory` and `DIR.next` in one step: the commit of a hand-over. Doing it again swaps them back.
///
/// # Errors
/// When nobody runs in `DIR.next`, or the file system refuses; nothing has changed then.
pub fn exchange(directory: &Path) -> io::Result<()> {
    let other = next(directory);
    if !matches!(lock::holder(&RuntimeDirectory::new(&other).lock())?, Holder::Process(_)) {
        let message = format!("no successor runs in {}", other.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    renameat2(AT_FDCWD, directory, AT_FDCWD, other.as_path(), RenameFlags::RENAME_EXCHANGE).map_err(io::Error::from)
}

/// Kills whoever holds the lock in `DIR.next`, waits until the process is gone, and removes that directory. Fine when
/// nobody and nothing is there. Never touches who is in `directory`.
pub async fn end_other(directory: &Path) -> Result<(), SuccessionError> {
    let other = RuntimeDirectory::new(next(directory));
    let at = |path: PathBuf| move |source| SuccessionError::Files { path, source };
    let deadline = tokio::time::Instant::now() + STARTER;
    loop {
        match lock::holder(&other.lock()).map_err(at(other.lock()))? {
            Holder::Nobody => break,
            Holder::Process(pid) => {
                if let Some(process) = ProcessFd::open(pid).map_err(at(other.lock()))?
                    // Looked at after it was opened: it is that process, and no later one of its number.
                    && lock::is_open_in(&other.lock(), pid).map_err(at(other.lock()))?
                {
                    end(&process, other.path(), pid).await?;
                    continue;
                }
            }
            Holder::Starting => {}
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(SuccessionError::Starting { directory: other.path().to_owned() });
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    other.remove().map_err(at(other.path().to_owned()))
}

async fn end(process: &ProcessFd, directory: &Path, pid: i32) -> Result<(), SuccessionError> {
    let kill = |source| SuccessionError::Kill { directory: directory.to_owned(), pid, source };
    process.signal(libc::SIGKILL).map_err(kill)?;
    match tokio::time::timeout(KILL, process.ended()).await {
        Ok(ended) => ended.map(drop).map_err(kill),
        Err(_) => Err(SuccessionError::Unkillable { directory: directory.to_owned(), pid }),
    }
}
