//! The files of an image, by name: what one vault gives to another.

use crate::digest::Digest;
use crate::error::VaultError;
use crate::vault::Vault;
use std::fmt;
use std::path::PathBuf;

/// A file of an image in the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// What the image consists of; every image has it.
    Description,
    /// The disk; every image has it.
    Disk,
    /// The kernel.
    Kernel,
    /// The initial RAM disk.
    Initrd,
}

impl Part {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Description, Self::Disk, Self::Kernel, Self::Initrd];

    /// What it is called in the image's folder.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Description => "image.json",
            Self::Disk => "disk.qcow2",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
        }
    }

    /// The one that is called so.
    #[must_use]
    pub fn from_file_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.file_name() == name)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.file_name())
    }
}

impl Vault {
    /// Where a file of an image is; nothing when the image has no such file. It never changes, and can be read to its
    /// end even when the image is removed meanwhile.
    ///
    /// # Errors
    /// When there is no such image, or its description is damaged.
    pub fn part(&self, digest: &Digest, part: Part) -> Result<Option<PathBuf>, VaultError> {
        let image = self.image(digest)?;
        Ok(match part {
            Part::Description => Some(self.image_folder(digest).join(part.file_name())),
            Part::Disk => Some(image.disk),
            Part::Kernel => image.kernel,
            Part::Initrd => image.initrd,
        })
    }
}
