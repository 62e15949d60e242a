//! The header of a qcow2 file: as much as is needed to see which other files it would make QEMU open.
//!
//! Source of the format: QEMU's `docs/interop/qcow2.rst`. Reading the header here, instead of asking `qemu-img info`,
//! costs no process and opens nothing but the file itself.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub(crate) const MAGIC: [u8; 4] = *b"QFI\xfb";

const INCOMPATIBLE_DIRTY: u64 = 1;
const INCOMPATIBLE_CORRUPT: u64 = 1 << 1;
const INCOMPATIBLE_DATA_FILE: u64 = 1 << 2;
const EXTENSION_BACKING_FORMAT: u32 = 0xE279_2ACA;
const EXTENSION_END: u32 = 0;
/// The longest name the format allows.
const NAME_LIMIT: u32 = 1023;

/// What a qcow2 header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) virtual_size: u64,
    pub(crate) backing_file: Option<String>,
    pub(crate) backing_format: Option<String>,
    pub(crate) encrypted: bool,
    pub(crate) external_data: bool,
    pub(crate) marked_corrupt: bool,
    pub(crate) dirty: bool,
}

impl Header {
    /// Reads the header of the file at `path`.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        Self::parse(&mut File::open(path)?)
    }

    /// Reads a header from the start of `file`.
    pub(crate) fn parse<F: Read + Seek>(file: &mut F) -> io::Result<Self> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut fixed = [0; 72];
        file.seek(SeekFrom::Start(0))?;
        file.read_exact(&mut fixed)?;
        let u32_at = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let u64_at = |at: usize| (u64::from(u32_at(at)) << 32) | u64::from(u32_at(at + 4));
        if fixed[..4] != MAGIC {
            return Err(wrong("no qcow2 magic number"));
        }
        let version = u32_at(4);
        if !(2..=3).contains(&version) {
            return Err(wrong("a qcow2 version other than 2 and 3"));
        }
        let (incompatible, header_length) = if version == 2 {
            (0, 72)
        } else {
            let mut more = [0; 32];
            file.read_exact(&mut more)?;
            let incompatible =
                u64::from_be_bytes([more[0], more[1], more[2], more[3], more[4], more[5], more[6], more[7]]);
            (incompatible, u32::from_be_bytes([more[28], more[29], more[30], more[31]]))
        };
        let (name_offset, name_length) = (u64_at(8), u32_at(16));
        let backing_file = if name_offset == 0 || name_length == 0 {
            None
        } else if name_length > NAME_LIMIT {
            return Err(wrong("a backing file name longer than the format allows"));
        } else {
            let mut name = vec![0; name_length as usize];
            file.seek(SeekFrom::Start(name_offset))?;
            file.read_exact(&mut name)?;
            Some(String::from_utf8_lossy(&name).into_owned())
        };
        let backing_format = backing_format(file, u64::from(header_length), name_offset)?;
        Ok(Self {
            version,
            virtual_size: u64_at(24),
            backing_file,
            backing_format,
            encrypted: u32_at(32) != 0,
            external_data: incompatible & INCOMPATIBLE_DATA_FILE != 0,
            marked_corrupt: incompatible & INCOMPATIBLE_CORRUPT != 0,
            dirty: incompatible & INCOMPATIBLE_DIRTY != 0,
        })
    }

    /// The backing file, resolved as QEMU would: relative names start at the folder of `path`.
    pub(crate) fn backing_path(&self, path: &Path) -> Option<PathBuf> {
        let name = self.backing_file.as_ref()?;
        Some(path.parent().unwrap_or(Path::new("/")).join(name))
    }
}

/// Walks the header extensions for the one that names the backing file's format.
fn backing_format<F: Read + Seek>(file: &mut F, start: u64, name_offset: u64) -> io::Result<Option<String>> {
    let mut at = start;
    // Extensions lie within the first cluster; a hostile chain of empty ones must still end.
    for _ in 0..64 {
        if name_offset != 0 && at >= name_offset {
            break;
        }
        let mut head = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        if let Err(error) = file.read_exact(&mut head) {
            return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
        }
        let kind = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        if kind == EXTENSION_END {
            break;
        }
        if kind == EXTENSION_BACKING_FORMAT {
            let mut name = vec![0; length.min(NAME_LIMIT) as usize];
            file.read_exact(&mut name)?;
            return Ok(Some(String::from_utf8_lossy(&name).into_owned()));
        }
        at += 8 + u64::from(length).next_multiple_of(8);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn header(version: u32, name: &str) -> Vec<u8> {
        let mut bytes = vec![0; 104];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&version.to_be_bytes());
        if !name.is_empty() {
            bytes[8..16].copy_from_slice(&200_u64.to_be_bytes());
            bytes[16..20].copy_from_slice(&u32::try_from(name.len()).unwrap().to_be_bytes());
        }
        bytes[24..32].copy_from_slice(&(1_u64 << 30).to_be_bytes());
        bytes[100..104].copy_from_slice(&104_u32.to_be_bytes());
        bytes.resize(200, 0);
        bytes.extend_from_slice(name.as_bytes());
        bytes
    }

    #[test]
    fn a_backing_file_is_found_in_both_versions() {
        for version in [2, 3] {
            let read = Header::parse(&mut Cursor::new(header(version, "/etc/shadow"))).unwrap();
            assert_eq!(read.backing_file.as_deref(), Some("/etc/shadow"));
            assert_eq!(read.virtual_size, 1 << 30);
        }
    }

    #[test]
    fn an_external_data_file_and_encryption_are_seen() {
        let mut bytes = header(3, "");
        bytes[79] = 4;
        bytes[35] = 2;
        let read = Header::parse(&mut Cursor::new(bytes)).unwrap();
        assert!(read.external_data && read.encrypted && read.backing_file.is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic_or_run_on(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if bytes.len() > 8 {
                bytes[..4].copy_from_slice(&MAGIC);
                bytes[4..8].copy_from_slice(&[0, 0, 0, 3]);
            }
            let _ = Header::parse(&mut Cursor::new(bytes));
        }
    }
}
