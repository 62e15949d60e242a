//! What can go wrong with a memory file, named for people, each with a `hint`.

use super::format;
use super::temporary::folder_of;
use crate::error::io_hint;
use crate::space::human;
use std::io;
use std::path::PathBuf;

/// A memory file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The file is something else.
    #[error("{} is not a memory file", path.display())]
    NotMemory {
        /// The file.
        path: PathBuf,
    },
    /// A later Wardian wrote it.
    #[error("{} has version {version} of the memory format, and this Wardian reads up to {}",
        path.display(), format::VERSION)]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Its end is missing.
    #[error("{} is cut short: it has {found} bytes instead of {expected}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes it should have, or at least the beginning should.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// Some bytes are not those that were written.
    #[error("{} is damaged: the checksum of its {part} is wrong", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage is: `head` or `body`.
        part: &'static str,
    },
    /// All bytes are those that were written, and still cannot be a machine's memory.
    #[error("{} cannot be used: {details}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is impossible.
        details: String,
    },
    /// The facts are not understood.
    #[error("the facts in {} cannot be read", path.display())]
    Facts {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// What was to be saved is not what the facts say.
    #[error("{} cannot be saved: {details}", path.display())]
    Unsuitable {
        /// The guest memory or the device state.
        path: PathBuf,
        /// What does not fit.
        details: String,
    },
    /// The memory would not fit, and nothing was written.
    #[error("{} does not fit: {} are needed, and {} has only {} available",
        path.display(), human(*needed), folder.display(), human(*available))]
    NoSpace {
        /// The memory file.
        path: PathBuf,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are available.
        available: u64,
        /// Where.
        folder: PathBuf,
    },
    /// The file system became full on the way.
    #[error("{} became full while {} was written; nothing of it was kept", folder.display(), path.display())]
    DiskFull {
        /// What was written.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl MemoryError {
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let folder = folder_of(&path).to_owned();
                Self::DiskFull { path, folder }
            }
            _ => Self::Io { what, path, source },
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotMemory { .. } => "check the path: the snapshot's own file is wanted".into(),
            Self::Newer { .. } => "use a Wardian at least as new as the one that saved it, \
                or restore the disks only, which boots the machine"
                .into(),
            Self::Truncated { .. } | Self::Damaged { .. } => "copy it again from where it came; \
                the disks of the snapshot can be restored without the memory, which boots the machine"
                .into(),
            Self::Malformed { .. } | Self::Facts { .. } => "no Wardian writes such a file: \
                make sure that it comes from a place you trust, or restore the disks only"
                .into(),
            Self::Unsuitable { .. } => "take the snapshot again".into(),
            Self::NoSpace { folder, .. } | Self::DiskFull { folder, .. } => format!(
                "free some space on the file system of {}: stopped machines and snapshots that may go",
                folder.display()
            ),
            Self::Io { source, .. } => io_hint(source),
        }
    }
}
