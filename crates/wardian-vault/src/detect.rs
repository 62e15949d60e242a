//! Which format a file has, decided from its magic numbers alone, and what it would make QEMU open besides itself.
//!
//! `qemu-img` could guess the format too, but guessing is exactly what must not happen twice: a guest that owns a raw
//! disk can write any header into it. The answer given here is stored with the image.

use crate::error::ImportError;
use crate::{qcow2, vmdk};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// A disk format that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// QEMU's own, versions 2 and 3.
    Qcow2,
    /// The bytes of the disk as they are.
    Raw,
    /// VMware: sparse, stream-optimized, or a text descriptor beside its extents.
    Vmdk,
    /// Hyper-V, generation 2 (`.vhdx`).
    Vhdx,
    /// Hyper-V and Virtual PC (`.vhd`).
    Vhd,
}

impl Format {
    /// The name `qemu-img -f` knows it by.
    #[must_use]
    pub fn driver(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
            Self::Vmdk => "vmdk",
            Self::Vhdx => "vhdx",
            Self::Vhd => "vpc",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Vhd => "vhd",
            other => other.driver(),
        })
    }
}

const SECTOR: u64 = 512;
const VHD_COOKIE: &[u8] = b"conectix";
const VHD_DIFFERENCING: u32 = 4;

/// Headers of things that are not disks, or disks of formats this vault does not take: they must not pass as raw.
const FOREIGN: &[(usize, &[u8], &str)] = &[
    (0, b"QED\0", "a QED image"),
    (0x40, b"\x7f\x10\xda\xbe", "a VirtualBox disk (vdi)"),
    (0, b"WithoutFreeSpace", "a Parallels disk"),
    (0, b"WithouFreSpacExt", "a Parallels disk"),
    (0, b"COWD", "an ESX sparse extent without its descriptor"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\xfd7zXZ\0", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (257, b"ustar", "a tar archive (an OVA is one)"),
    (0, b"\x7fELF", "a program"),
    (0, b"<?xml", "an XML document"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<html", "a web page"),
];

/// Finds the format of the file at `path` and refuses what points outside of it.
pub(crate) fn detect(path: &Path) -> Result<Format, ImportError> {
    let unreadable = |source| ImportError::Unreadable { path: path.into(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length == 0 {
        return Err(ImportError::ZeroSize { path: path.into() });
    }
    let head = head(&mut file).map_err(unreadable)?;
    let unknown = |looks: &str| ImportError::UnknownFormat { path: path.into(), looks: looks.to_owned() };

    if head.starts_with(&qcow2::MAGIC) {
        refuse_qcow2(path, &mut file)?;
        return Ok(Format::Qcow2);
    }
    if head.starts_with(b"vhdxfile") {
        return Ok(Format::Vhdx);
    }
    if head.starts_with(vmdk::SPARSE_MAGIC) || head.starts_with(vmdk::DESCRIPTOR_MAGIC) {
        vmdk::refuse_outside(path, &mut file)?;
        return Ok(Format::Vmdk);
    }
    if let Some(kind) = vhd_kind(&head, &mut file, length).map_err(unreadable)? {
        if kind == VHD_DIFFERENCING {
            return Err(ImportError::BackingFile { path: path.into(), names: "its parent disk".into() });
        }
        return Ok(Format::Vhd);
    }
    if head.starts_with(b"LUKS\xba\xbe") {
        return Err(ImportError::Encrypted { path: path.into() });
    }
    for (offset, magic, name) in FOREIGN {
        if head.get(*offset..).is_some_and(|rest| rest.starts_with(magic)) {
            return Err(unknown(name));
        }
    }
    if !length.is_multiple_of(SECTOR) {
        return Err(unknown("no known header, and a length that is no multiple of 512 bytes, as a raw disk's is"));
    }
    Ok(Format::Raw)
}

fn head(file: &mut File) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1024);
    file.seek(SeekFrom::Start(0))?;
    file.take(1024).read_to_end(&mut head)?;
    Ok(head)
}

fn refuse_qcow2(path: &Path, file: &mut File) -> Result<(), ImportError> {
    let header = qcow2::Header::parse(file)
        .map_err(|source| ImportError::Corrupt { path: path.into(), details: source.to_string() })?;
    if let Some(names) = header.backing_file {
        return Err(ImportError::BackingFile { path: path.into(), names });
    }
    if header.external_data {
        return Err(ImportError::ExternalData { path: path.into() });
    }
    if header.encrypted {
        return Err(ImportError::Encrypted { path: path.into() });
    }
    if header.marked_corrupt {
        return Err(ImportError::Corrupt { path: path.into(), details: "QEMU has marked it as corrupt".into() });
    }
    Ok(())
}

/// The disk type in a VHD's header or footer: 2 fixed, 3 dynamic, 4 differencing; `None` when it is no VHD.
///
/// Dynamic disks carry a copy of the footer in front. A fixed one has it only in the last 512 bytes, where the guest
/// cannot write; the vault trusts it there only when its size field and checksum agree with the file.
fn vhd_kind(head: &[u8], file: &mut File, length: u64) -> io::Result<Option<u32>> {
    let kind = |footer: &[u8]| -> Option<u32> { Some(u32::from_be_bytes(footer.get(60..64)?.try_into().ok()?)) };
    if head.starts_with(VHD_COOKIE) {
        return Ok(kind(head));
    }
    if length < 2 * SECTOR {
        return Ok(None);
    }
    let mut footer = [0; SECTOR as usize];
    file.seek(SeekFrom::Start(length - SECTOR))?;
    file.read_exact(&mut footer)?;
    if !footer.starts_with(VHD_COOKIE) {
        return Ok(None);
    }
    let stored = u32::from_be_bytes([footer[64], footer[65], footer[66], footer[67]]);
    let sum = footer
        .iter()
        .enumerate()
        .filter(|(at, _)| !(64..68).contains(at))
        .fold(0_u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)));
    Ok(if stored == !sum { kind(&footer) } else { None })
}
