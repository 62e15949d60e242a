//! VMDK descriptors: which extent files an image consists of, and whether they stay beside it.
//!
//! Source of the format: VMware's "Virtual Disk Format 5.0"; QEMU's `block/vmdk.c` for what it opens.

use crate::error::ImportError;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path};

pub(crate) const SPARSE_MAGIC: &[u8] = b"KDMV";
pub(crate) const DESCRIPTOR_MAGIC: &[u8] = b"# Disk DescriptorFile";

const SECTOR: u64 = 512;
/// Longer descriptors do not occur: a 64 TiB disk in 2 GiB extents has 2 MiB.
const DESCRIPTOR_LIMIT: u64 = 4 << 20;
/// `parentCID` of a disk without a parent.
const NO_PARENT: &str = "ffffffff";

/// One line `RW 4192256 SPARSE "disk-s001.vmdk" 0`.
#[derive(Debug, PartialEq, Eq)]
struct Extent {
    sectors: u64,
    kind: String,
    file: Option<String>,
    offset: u64,
}

/// Refuses descriptors that lead out of the image's folder, have a parent, or name extents that are not there.
pub(crate) fn refuse_outside(path: &Path, file: &mut File) -> Result<(), ImportError> {
    let text = descriptor(file).map_err(|source| ImportError::Unreadable { path: path.into(), source })?;
    let Some(text) = text else { return Ok(()) };
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case(key).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    if let Some(names) = value("parentFileNameHint") {
        return Err(ImportError::BackingFile { path: path.into(), names });
    }
    if value("parentCID").is_some_and(|id| !id.eq_ignore_ascii_case(NO_PARENT)) {
        return Err(ImportError::BackingFile { path: path.into(), names: "its parent disk".into() });
    }
    // In a sparse file the descriptor describes the file itself, by the name it had when it was made.
    let embedded =
        !starts_with_descriptor(file).map_err(|source| ImportError::Unreadable { path: path.into(), source })?;
    if embedded {
        return Ok(());
    }
    text.lines().filter_map(extent).try_for_each(|extent| refuse_extent(path, &extent))
}

fn refuse_extent(path: &Path, extent: &Extent) -> Result<(), ImportError> {
    let Some(name) = &extent.file else { return Ok(()) };
    let outside = || ImportError::OutsideExtent { path: path.into(), extent: name.clone() };
    let mut components = Path::new(name).components();
    let plain = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    // A colon would let QEMU read a protocol into the name.
    if !plain || name.contains(':') {
        return Err(outside());
    }
    let file = path.parent().unwrap_or(Path::new("/")).join(name);
    let found = std::fs::symlink_metadata(&file).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ImportError::Missing { path: file.clone() },
        _ => ImportError::Unreadable { path: file.clone(), source },
    })?;
    if !found.is_file() {
        return Err(outside());
    }
    let needed = extent.offset.saturating_add(extent.sectors).saturating_mul(SECTOR);
    if matches!(extent.kind.as_str(), "FLAT" | "VMFS") && found.len() < needed {
        return Err(ImportError::Corrupt {
            path: file,
            details: format!("it should have {needed} bytes, and has {}", found.len()),
        });
    }
    // An extent is opened by its content: one that is a descriptor again could lead anywhere.
    if extent.kind != "FLAT" && extent.kind != "VMFS" {
        let mut magic = [0; 4];
        let read = File::open(&file).and_then(|mut file| file.read_exact(&mut magic));
        if read.is_err() || !(magic == *SPARSE_MAGIC || magic == *b"COWD") {
            return Err(ImportError::Corrupt { path: file, details: "it is no sparse extent".into() });
        }
    }
    Ok(())
}

fn starts_with_descriptor(file: &mut File) -> io::Result<bool> {
    let mut magic = [0; 4];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut magic)?;
    Ok(magic != *SPARSE_MAGIC)
}

/// The descriptor's text: the whole file, or the part of a sparse file that its header points at.
fn descriptor(file: &mut File) -> io::Result<Option<String>> {
    let (offset, length) = if starts_with_descriptor(file)? {
        (0, DESCRIPTOR_LIMIT)
    } else {
        let mut header = [0; 44];
        file.seek(SeekFrom::Start(0))?;
        file.read_exact(&mut header)?;
        let at = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        (at(28).saturating_mul(SECTOR), at(36).saturating_mul(SECTOR).min(DESCRIPTOR_LIMIT))
    };
    if length == 0 {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))?;
    file.take(length).read_to_end(&mut bytes)?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    Ok(Some(String::from_utf8_lossy(&bytes[..end]).into_owned()))
}

fn extent(line: &str) -> Option<Extent> {
    let line = line.trim();
    let (access, rest) = line.split_once(char::is_whitespace)?;
    if !matches!(access, "RW" | "RDONLY" | "NOACCESS") {
        return None;
    }
    let (sectors, rest) = rest.trim_start().split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let quoted = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
    let (file, offset) = match quoted {
        Some((name, rest)) => (Some(name.to_owned()), rest.trim().parse().unwrap_or(0)),
        None => (None, 0),
    };
    Some(Extent { sectors: sectors.parse().ok()?, kind: kind.to_owned(), file, offset })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn extent_lines_are_read() {
        assert_eq!(
            extent("RW 4192256 SPARSE \"a b-s001.vmdk\""),
            Some(Extent { sectors: 4_192_256, kind: "SPARSE".into(), file: Some("a b-s001.vmdk".into()), offset: 0 })
        );
        assert_eq!(extent("RW 63 ZERO"), Some(Extent { sectors: 63, kind: "ZERO".into(), file: None, offset: 0 }));
        assert_eq!(extent("RW 9 FLAT \"x\" 128").map(|extent| extent.offset), Some(128));
        assert_eq!(extent("version=1"), None);
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in "\\PC{0,80}") {
            let _ = extent(&line);
        }
    }
}
