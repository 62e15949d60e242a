//! Seed disks: a small read-only disk labelled `cidata` from which cloud-init (data source NoCloud) and guests like it
//! configure themselves at their first boot.
//!
//! Written here as an ISO 9660 image with the Rock Ridge and Joliet extensions, because names like `user-data` do not
//! fit plain ISO 9660: Linux reads the former, Windows the latter. The bytes depend on the files alone; all times in it
//! are the epoch.
//!
//! Sources: ECMA-119 (numbers of sections in the code), the Rock Ridge Interchange Protocol 1.12, the Joliet
//! specification, cloud-init's NoCloud documentation.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The label by which guests find the disk.
pub const LABEL: &str = "cidata";

const SECTOR: usize = 2048;
/// A seed is a few texts; more than this is a mistake.
const SIZE_LIMIT: usize = 16 << 20;
/// What keeps a directory record, with its Rock Ridge name, below the 255 bytes it may have.
const NAME_LIMIT: usize = 64;
const FILE_LIMIT: usize = 64;

const PRIMARY: usize = 16;
const JOLIET: usize = 17;
const TERMINATOR: usize = 18;
const PATH_TABLES: usize = 19;
const FIRST_FREE: usize = 23;

/// A seed disk cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// A name that is no plain file name, or too long.
    #[error("`{name}` cannot be the name of a file on a seed disk")]
    Name {
        /// The name.
        name: String,
    },
    /// Two files of one name.
    #[error("the seed disk has two files named `{name}`")]
    Twice {
        /// The name.
        name: String,
    },
    /// More than 64 files, or more than 16 MiB.
    #[error("the files for the seed disk are too many or too large")]
    TooMuch,
    /// It cannot be written.
    #[error("cannot write the seed disk {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl SeedError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Name { .. } => "use up to 64 letters, digits, dots, dashes and underscores",
            Self::Twice { .. } => "leave one of them out",
            Self::TooMuch => "a seed holds up to 64 files and 16 MiB; let the guest fetch what is larger",
            Self::Write { .. } => "check that there is room, and that the daemon may write there",
        }
    }
}

/// Writes a seed disk to `path`, in one step: whoever opens it sees the old one or the new one. Files are names and
/// contents, such as `user-data`, `meta-data` and `network-config`.
///
/// # Errors
/// When the files do not fit, or the disk cannot be written.
pub fn build(path: &Path, files: &[(&str, &[u8])]) -> Result<(), SeedError> {
    let image = image(files)?;
    let write = || -> io::Result<()> {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(".new");
        let temporary = path.with_file_name(name);
        fs::write(&temporary, &image)?;
        fs::File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| SeedError::Write { path: path.into(), source })
}

/// The bytes of a seed disk.
///
/// # Errors
/// When a name or the amount is not allowed.
pub fn image(files: &[(&str, &[u8])]) -> Result<Vec<u8>, SeedError> {
    let files = placed(files)?;
    let end = files.last().map_or(FIRST_FREE + 2 * DIRECTORY_SECTORS, |file| file.sector + sectors(file.content.len()));
    let mut image = vec![0; end * SECTOR];
    let mut put = |sector: usize, bytes: &[u8]| {
        image[sector * SECTOR..sector * SECTOR + bytes.len()].copy_from_slice(bytes);
    };
    let (plain, joliet) = (FIRST_FREE, FIRST_FREE + DIRECTORY_SECTORS);
    put(PRIMARY, &volume(Kind::Primary, end, plain));
    put(JOLIET, &volume(Kind::Joliet, end, joliet));
    put(TERMINATOR, b"\xffCD001\x01");
    for (index, root) in [plain, joliet].into_iter().enumerate() {
        put(PATH_TABLES + 2 * index, &path_table(root, false));
        put(PATH_TABLES + 2 * index + 1, &path_table(root, true));
    }
    put(plain, &directory(Kind::Primary, plain, &files));
    put(joliet, &directory(Kind::Joliet, joliet, &files));
    for file in &files {
        put(file.sector, file.content);
    }
    Ok(image)
}

/// Room for 64 records of at most 255 bytes.
const DIRECTORY_SECTORS: usize = 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// ISO 9660 with Rock Ridge.
    Primary,
    Joliet,
}

struct Placed<'a> {
    name: &'a str,
    content: &'a [u8],
    sector: usize,
}

fn sectors(bytes: usize) -> usize {
    bytes.div_ceil(SECTOR)
}

fn placed<'a>(files: &[(&'a str, &'a [u8])]) -> Result<Vec<Placed<'a>>, SeedError> {
    if files.len() > FILE_LIMIT || files.iter().map(|(_, content)| content.len()).sum::<usize>() > SIZE_LIMIT {
        return Err(SeedError::TooMuch);
    }
    let mut sorted = files.to_vec();
    sorted.sort_by_key(|(name, _)| *name);
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(SeedError::Twice { name: pair[0].0.to_owned() });
    }
    let mut sector = FIRST_FREE + 2 * DIRECTORY_SECTORS;
    let mut placed = Vec::new();
    for (name, content) in sorted {
        let fits = |letter: u8| letter.is_ascii_alphanumeric() || b".-_".contains(&letter);
        if name.is_empty() || name.len() > NAME_LIMIT || name.starts_with('.') || !name.bytes().all(fits) {
            return Err(SeedError::Name { name: name.to_owned() });
        }
        placed.push(Placed { name, content, sector });
        sector += sectors(content.len());
    }
    Ok(placed)
}

/// A number in both byte orders (7.3.3).
fn both_u32(value: usize) -> [u8; 8] {
    let value = u32::try_from(value).unwrap_or(u32::MAX);
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

/// A number in both byte orders (7.2.3).
fn both_u16(value: u16) -> [u8; 4] {
    let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
    [little[0], little[1], big[0], big[1]]
}

/// The epoch as a directory record has it (9.1.5): years since 1900, month, day, hour, minute, second, zone.
const EPOCH: [u8; 7] = [70, 1, 1, 0, 0, 0, 0];

/// A volume descriptor (8.4, 8.5).
fn volume(kind: Kind, total: usize, root: usize) -> Vec<u8> {
    let mut bytes = vec![0; SECTOR];
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    put(0, if kind == Kind::Primary { b"\x01CD001\x01" } else { b"\x02CD001\x01" });
    let text = |length: usize, value: &str| -> Vec<u8> {
        match kind {
            Kind::Primary => {
                let mut field = value.as_bytes().to_vec();
                field.resize(length, b' ');
                field
            }
            Kind::Joliet => {
                let mut field = ucs2(value);
                while field.len() + 1 < length {
                    field.extend([0, b' ']);
                }
                field.resize(length, 0);
                field
            }
        }
    };
    put(8, &text(32, ""));
    put(40, &text(32, LABEL));
    put(80, &both_u32(total));
    if kind == Kind::Joliet {
        // The escape sequence of UCS-2 level 3.
        put(88, b"%/E");
    }
    put(120, &both_u16(1));
    put(124, &both_u16(1));
    put(128, &both_u16(2048));
    put(132, &both_u32(path_table(root, false).len()));
    let table = if kind == Kind::Primary { PATH_TABLES } else { PATH_TABLES + 2 };
    put(140, &u32::try_from(table).unwrap_or(0).to_le_bytes());
    put(148, &u32::try_from(table + 1).unwrap_or(0).to_be_bytes());
    put(156, &record(&[0], root, DIRECTORY_SECTORS * SECTOR, true, &[]));
    for (at, length) in [(190, 128), (318, 128), (446, 128), (574, 128), (702, 37), (739, 37), (776, 37)] {
        put(at, &text(length, ""));
    }
    // Created and modified at the epoch, never to expire (8.4.26.1).
    for at in [813, 830] {
        put(at, b"1970010100000000\0");
    }
    for at in [847, 864] {
        put(at, b"0000000000000000\0");
    }
    put(881, &[1]);
    bytes
}

/// The path table (9.4) of a volume with a root and nothing else.
fn path_table(root: usize, big: bool) -> [u8; 10] {
    let root = u32::try_from(root).unwrap_or(0);
    let (sector, parent) = if big { (root.to_be_bytes(), [0, 1]) } else { (root.to_le_bytes(), [1, 0]) };
    let mut bytes = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[2..6].copy_from_slice(&sector);
    bytes[6..8].copy_from_slice(&parent);
    bytes
}

fn ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// A directory record (9.1), with what a system adds to it.
fn record(name: &[u8], sector: usize, length: usize, folder: bool, system: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(both_u32(sector));
    bytes.extend(both_u32(length));
    bytes.extend(EPOCH);
    bytes.extend([if folder { 2 } else { 0 }, 0, 0]);
    bytes.extend(both_u16(1));
    bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    bytes.extend(name);
    if name.len().is_multiple_of(2) {
        bytes.push(0);
    }
    bytes.extend(system);
    if !bytes.len().is_multiple_of(2) {
        bytes.push(0);
    }
    bytes[0] = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    bytes
}

fn directory(kind: Kind, own: usize, files: &[Placed<'_>]) -> Vec<u8> {
    let mut records = Vec::new();
    for (index, name) in [[0], [1]].iter().enumerate() {
        let system = match kind {
            Kind::Primary if index == 0 => [announcement(), attributes(true)].concat(),
            Kind::Primary => attributes(true),
            Kind::Joliet => Vec::new(),
        };
        records.push(record(name, own, DIRECTORY_SECTORS * SECTOR, true, &system));
    }
    for (index, file) in files.iter().enumerate() {
        let (name, system) = match kind {
            // Short and unique; the true name follows in Rock Ridge.
            Kind::Primary => {
                (format!("F{index:03}.;1").into_bytes(), [attributes(false), rock_ridge_name(file.name)].concat())
            }
            Kind::Joliet => (ucs2(&format!("{};1", file.name)), Vec::new()),
        };
        records.push(record(&name, file.sector, file.content.len(), false, &system));
    }
    let mut bytes = Vec::new();
    for record in records {
        // A record does not cross the end of a sector (6.8.1.1).
        if bytes.len() % SECTOR + record.len() > SECTOR {
            bytes.resize(sectors(bytes.len()) * SECTOR, 0);
        }
        bytes.extend(record);
    }
    bytes
}

/// SUSP's SP entry, without which the others are not looked for, and ER, which names the extension.
fn announcement() -> Vec<u8> {
    let mut bytes = b"SP\x07\x01\xbe\xef\x00".to_vec();
    bytes.extend(b"ER\x12\x01\x0a\x00\x00\x01RRIP_1991A");
    bytes
}

/// Rock Ridge PX: mode, links, user, group.
fn attributes(folder: bool) -> Vec<u8> {
    let (mode, links) = if folder { (0o040_555, 2) } else { (0o100_444, 1) };
    let mut bytes = b"PX\x24\x01".to_vec();
    for value in [mode, links, 0, 0] {
        bytes.extend(both_u32(value));
    }
    bytes
}

/// Rock Ridge NM: the name as it is.
fn rock_ridge_name(name: &str) -> Vec<u8> {
    let mut bytes = b"NM".to_vec();
    bytes.push(u8::try_from(name.len() + 5).unwrap_or(u8::MAX));
    bytes.extend([1, 0]);
    bytes.extend(name.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_same_files_give_the_same_bytes_in_any_order() {
        let one = image(&[("user-data", b"#!/bin/sh\n"), ("meta-data", b"instance-id: a\n")]).unwrap();
        let two = image(&[("meta-data", b"instance-id: a\n"), ("user-data", b"#!/bin/sh\n")]).unwrap();
        assert_eq!(one, two);
        assert_eq!(&one[PRIMARY * SECTOR + 40..PRIMARY * SECTOR + 46], LABEL.as_bytes());
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["", "..", "a/b", ".hidden", "ä", &"x".repeat(65)] {
            assert!(matches!(image(&[(name, b"")]), Err(SeedError::Name { .. })), "{name}");
        }
        assert!(matches!(image(&[("a", b""), ("a", b"")]), Err(SeedError::Twice { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_allowed_files_fit(files in proptest::collection::btree_map("[a-z][a-z0-9._-]{0,63}", proptest::collection::vec(any::<u8>(), 0..2500), 0..FILE_LIMIT)) {
            let list: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
            let image = image(&list).unwrap();
            prop_assert!(image.len().is_multiple_of(SECTOR));
            let files = placed(&list).unwrap();
            for kind in [Kind::Primary, Kind::Joliet] {
                prop_assert!(directory(kind, FIRST_FREE, &files).len() <= DIRECTORY_SECTORS * SECTOR);
            }
            for file in &files {
                prop_assert_eq!(&image[file.sector * SECTOR..file.sector * SECTOR + file.content.len()], file.content);
            }
        }
    }
}
