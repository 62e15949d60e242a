//! The runtime directory of one machine: where its files are, and that only the right users reach them.
//!
//! It belongs to the starter; QEMU's group may pass through (mode 0710) so that disks may lie inside, but not list or
//! write.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::launch::User;

/// Longest path of a unix socket in bytes: `sun_path` is 108 with its final NUL (unix(7)).
const SOCKET_PATH_LENGTH: usize = 107;

/// Why a runtime directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// A socket in it would have a path longer than the kernel takes.
    #[error("the runtime directory {} is too long a path: a socket's path may have {SOCKET_PATH_LENGTH} bytes, a successor's `.next` included", .0.display())]
    TooLong(PathBuf),
    /// It cannot be made, opened or cleared.
    #[error("the runtime directory's {} cannot be prepared", .path.display())]
    Prepare {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What the directory of a successor is called, more than that of the machine it follows.
const NEXT: &str = ".next";

/// Where the successor of the machine in `directory` is started: `DIR.next` beside `DIR`.
pub fn next(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(NEXT);
    PathBuf::from(name)
}

/// Names the files of a machine's runtime directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeDirectory(PathBuf);

impl RuntimeDirectory {
    /// The layout below `path`; nothing is made or looked at.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        RuntimeDirectory(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The monitor's socket.
    pub fn qmp(&self) -> PathBuf {
        self.0.join("qmp.sock")
    }

    /// The guest agent's socket.
    pub fn agent(&self) -> PathBuf {
        self.0.join("agent.sock")
    }

    /// The serial console's socket.
    pub fn console(&self) -> PathBuf {
        self.0.join("console.sock")
    }

    /// What the guest printed on its console.
    pub fn console_log(&self) -> PathBuf {
        self.0.join("console.log")
    }

    /// QEMU's standard output and error.
    pub fn qemu_log(&self) -> PathBuf {
        self.0.join("qemu.log")
    }

    /// The lock QEMU holds while it lives.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// The record of the last start.
    pub fn process(&self) -> PathBuf {
        self.0.join("process.json")
    }

    /// Makes the directory with the right owner and mode; fine when it is already there.
    pub(crate) fn prepare(&self, user: Option<User>) -> Result<(), DirectoryError> {
        use std::os::unix::ffi::OsStrExt;
        // A successor needs room too; told at the first start and not at the first snapshot.
        let room = if self.0.as_os_str().as_bytes().ends_with(NEXT.as_bytes()) { 0 } else { NEXT.len() };
        if self.console().as_os_str().as_bytes().len() + room > SOCKET_PATH_LENGTH {
            return Err(DirectoryError::TooLong(self.0.clone()));
        }
        let failed = |source| DirectoryError::Prepare { path: self.0.clone(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&self.0).map_err(failed)?;
        let mode = match user {
            Some(user) => {
                chown(&self.0, None, Some(user.gid)).map_err(failed)?;
                0o710
            }
            None => 0o700,
        };
        std::fs::set_permissions(&self.0, std::fs::Permissions::from_mode(mode)).map_err(failed)
    }

    /// Removes the directory and what it holds; fine when it is gone. Refuse to call it while the machine runs:
    /// its lock would vanish with it, see [`crate::lock::is_held`].
    pub fn remove(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// A runtime directory held open: its files are found whatever it is called by now. A machine whose directory was
/// [exchanged](crate::succession::exchange) for its successor's must never speak to the successor.
#[derive(Debug, Clone)]
pub(crate) struct HeldDirectory {
    files: RuntimeDirectory,
    /// The number of this descriptor is in the path.
    _descriptor: Arc<OwnedFd>,
}

impl HeldDirectory {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = std::fs::OpenOptions::new();
        let directory = options.read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(path)?;
        let descriptor = OwnedFd::from(directory);
        let files = RuntimeDirectory::new(format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
        Ok(HeldDirectory { files, _descriptor: Arc::new(descriptor) })
    }
}

impl std::ops::Deref for HeldDirectory {
    type Target = RuntimeDirectory;

    fn deref(&self) -> &RuntimeDirectory {
        &self.files
    }
}
