//! Images: what machines start from, and how one gets in.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardian_model::image::ImageRecord;

/// An immutable disk that machines start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Image {
    /// Its name, unique in the store.
    pub name: String,
    /// BLAKE3 of its content, in hexadecimal.
    pub digest: String,
    /// The size a guest sees.
    pub virtual_size_bytes: u64,
    /// What it takes on the host.
    pub disk_size_bytes: u64,
    /// The format it was imported from.
    pub format: String,
    /// Whether it carries its own kernel; otherwise its disk boots itself.
    pub kernel: bool,
    /// When it was imported.
    pub imported: String,
}

impl From<ImageRecord> for Image {
    fn from(image: ImageRecord) -> Self {
        Self {
            name: image.name.to_string(),
            digest: image.digest,
            virtual_size_bytes: image.virtual_size.as_bytes(),
            disk_size_bytes: image.disk_size.as_bytes(),
            format: image.format,
            kernel: image.kernel,
            imported: image.imported.to_string(),
        }
    }
}

/// Images, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ImageList {
    /// They.
    pub images: Vec<Image>,
}

/// A disk to import. Paths are absolute, on the daemon's host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImportRequest {
    /// The name it gets.
    pub name: String,
    /// The disk: qcow2, raw, vmdk, vhdx or vhd.
    pub path: String,
    /// A kernel that boots it; without one the disk boots itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// An initial RAM disk, beside a kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initrd: Option<String>,
    /// The kernel's command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
}

/// How far an import is. The last one carries the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "is")]
pub enum ImportProgress {
    /// Being done.
    Doing {
        /// What: `inspect`, `convert`, `digest`.
        step: String,
        /// How much of the step, 0 to 100, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        percent: Option<u8>,
    },
    /// Imported.
    Done {
        /// As it is kept.
        image: Image,
    },
}
