//! The record of an image: an immutable disk, and what boots it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{name::ImageName, record::Record, size::ByteSize};

/// A name for a disk in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ImageRecord {
    /// Unique in the store.
    pub name: ImageName,
    /// BLAKE3 of its content, in hexadecimal.
    pub digest: String,
    /// What a guest sees.
    pub virtual_size: ByteSize,
    /// What it takes in the vault.
    pub disk_size: ByteSize,
    /// The format it was imported from.
    pub format: String,
    /// Whether it carries its own kernel; otherwise its disk boots itself.
    pub kernel: bool,
    /// When it was imported.
    #[schemars(with = "String")]
    pub imported: Timestamp,
}

impl Record for ImageRecord {
    const PREFIX: &'static str = "images/";

    fn key(&self) -> String {
        Self::key_of(&self.name)
    }
}

impl ImageRecord {
    /// Where the image of that name is kept.
    #[must_use]
    pub fn key_of(name: &ImageName) -> String {
        format!("{}{name}", Self::PREFIX)
    }
}
