//! `image.json`: an image description, as image builders write it beside the disk, and as the vault keeps it.

use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// What an image consists of. Paths are relative to the description's folder until [`Description::read`] has made
/// them absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Description {
    /// A name for people; the importer may choose another.
    pub name: String,
    /// The disk.
    pub disk: PathBuf,
    /// A kernel that QEMU starts directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<PathBuf>,
    /// The initial RAM disk for that kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd: Option<PathBuf>,
    /// The command line for that kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
}

/// An image description cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// It cannot be read.
    #[error("cannot read the image description {}", path.display())]
    Unreadable {
        /// The description.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what a description looks like.
    #[error("{} is not an image description", path.display())]
    Malformed {
        /// The description.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl DescriptionError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        "an image description is JSON with name, disk, and optionally kernel, initrd and command-line".into()
    }
}

/// Descriptions are short; a disk given by mistake must not be read into memory.
const LIMIT: u64 = 1 << 20;

impl Description {
    /// Reads a description and resolves its paths against its folder.
    ///
    /// # Errors
    /// When the file cannot be read or is not a description.
    pub fn read(path: &Path) -> Result<Self, DescriptionError> {
        use std::io::Read;
        let unreadable = |source| DescriptionError::Unreadable { path: path.into(), source };
        let mut text = Vec::new();
        std::fs::File::open(path).and_then(|file| file.take(LIMIT).read_to_end(&mut text)).map_err(unreadable)?;
        let mut read: Self = serde_json::from_slice(&text)
            .map_err(|source| DescriptionError::Malformed { path: path.into(), source })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        read.disk = folder.join(&read.disk);
        read.kernel = read.kernel.map(|kernel| folder.join(kernel));
        read.initrd = read.initrd.map(|initrd| folder.join(initrd));
        Ok(read)
    }
}
