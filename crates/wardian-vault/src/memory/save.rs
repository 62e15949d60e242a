//! Writing a memory file.

use super::error::MemoryError;
use super::extents::{data_ranges, pack};
use super::facts::MemoryFacts;
use super::format::{EXTENT, FACTS_LIMIT, HEAD, Head, MEMORY_LIMIT, STATE_LIMIT, body_hasher};
use super::temporary::Temporary;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Memory is read, looked at, hashed and written in pieces that stay in the processor's cache in between.
const PIECE: usize = 256 << 10;

/// What was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of guest memory in it; the rest is zero.
    pub data_bytes: u64,
}

/// Saves a machine's memory `ram`, a sparse file of `facts.memory_bytes` that nobody writes any more, and its device
/// state as the file `to`, which replaces what was there. When it returns, the file survives a power failure.
///
/// `progress` gets the bytes of memory that are done and those there are, a few hundred times, at last both the same.
/// It takes time: not for an async context. The file may be read by its owner only.
///
/// # Errors
/// When the memory is not of the size in the facts, a file cannot be read or written, or there is no room; `to` is
/// then as before.
pub fn save(
    facts: &MemoryFacts,
    ram: &Path,
    state: &Path,
    to: &Path,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<Saved, MemoryError> {
    let text = serde_json::to_vec(facts).map_err(|error| MemoryError::io("describe", to)(error.into()))?;
    if text.len() > FACTS_LIMIT {
        let details = format!("its facts take {} bytes, more than {FACTS_LIMIT}", text.len());
        return Err(MemoryError::Unsuitable { path: to.into(), details });
    }
    let memory = open_memory(ram, facts.memory_bytes)?;
    let (state_file, state_length) = open_file(state)?;
    if state_length > STATE_LIMIT {
        let details = format!("a device state has at most {STATE_LIMIT} bytes, and this file {state_length}");
        return Err(MemoryError::Unsuitable { path: state.into(), details });
    }

    let temporary = Temporary::beside(to)?;
    let mut out = Out { file: temporary.file(), path: to, hasher: body_hasher() };
    // The head comes last: only then are lengths and checksum known.
    out.file.seek(SeekFrom::Start((HEAD + text.len()) as u64)).map_err(MemoryError::io("write", to))?;
    let mut buffer = vec![0; EXTENT + PIECE];
    copy_state(state_file, state_length, state, &mut buffer, &mut out)?;
    let (extents, data) = copy_memory(&memory, facts.memory_bytes, ram, &mut buffer, &mut out, &mut progress)?;

    let body = *out.hasher.finalize().as_bytes();
    let head = Head { facts: text.len(), state: state_length, extents, data, body };
    let start = [&head.encode(&text)[..], &text].concat();
    temporary.file().write_all_at(&start, 0).map_err(MemoryError::io("write", to))?;
    temporary.place_durably()?;
    Ok(Saved { file_bytes: head.file_length(), data_bytes: data })
}

/// The file that is written, and the hash of what went into it.
struct Out<'a> {
    file: &'a File,
    path: &'a Path,
    hasher: blake3::Hasher,
}

impl Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), MemoryError> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(MemoryError::io("write", self.path))
    }
}

fn open_memory(path: &Path, expected: u64) -> Result<File, MemoryError> {
    let (file, found) = open_file(path)?;
    let details = if found != expected {
        format!("it has {found} bytes, and the machine {expected} bytes of memory")
    } else if found == 0 {
        "it is empty".into()
    } else if found > MEMORY_LIMIT {
        format!("a memory file has at most {MEMORY_LIMIT} bytes of memory, and this one {found}")
    } else {
        return Ok(file);
    };
    Err(MemoryError::Unsuitable { path: path.into(), details })
}

fn open_file(path: &Path) -> Result<(File, u64), MemoryError> {
    let file = File::open(path).map_err(MemoryError::io("open", path))?;
    let found = file.metadata().map_err(MemoryError::io("read", path))?;
    if !found.is_file() {
        return Err(MemoryError::Unsuitable { path: path.into(), details: "it is not a file".into() });
    }
    Ok((file, found.len()))
}

fn copy_state(
    mut file: File,
    length: u64,
    path: &Path,
    buffer: &mut [u8],
    out: &mut Out<'_>,
) -> Result<(), MemoryError> {
    let mut left = length;
    loop {
        let read = read_some(|buffer| file.read(buffer), buffer).map_err(MemoryError::io("read", path))?;
        if read == 0 && left == 0 {
            return Ok(());
        }
        left = match left.checked_sub(read as u64) {
            Some(left) if read > 0 => left,
            _ => return Err(changed(path)),
        };
        out.write(&buffer[..read])?;
    }
}

/// Returns how many extents were written, and the bytes of memory in them.
fn copy_memory(
    file: &File,
    length: u64,
    path: &Path,
    buffer: &mut [u8],
    out: &mut Out<'_>,
    progress: &mut impl FnMut(u64, u64),
) -> Result<(u64, u64), MemoryError> {
    let failed = || MemoryError::io("read", path);
    let mut total = 0;
    for range in data_ranges(file, length) {
        let range = range.map_err(failed())?;
        total += range.end - range.start;
    }
    let (mut done, mut extents, mut data) = (0, 0, 0);
    progress(0, total);
    for range in data_ranges(file, length) {
        let mut range = range.map_err(failed())?;
        while !range.is_empty() {
            let wanted = usize::try_from(range.end - range.start).map_or(PIECE, |left| left.min(PIECE));
            let piece = &mut buffer[..EXTENT + wanted];
            let read = read_some(|piece| file.read_at(piece, range.start), &mut piece[EXTENT..]).map_err(failed())?;
            if read == 0 {
                return Err(changed(path));
            }
            let packed = pack(&mut piece[..EXTENT + read], range.start);
            out.write(&piece[..packed.bytes])?;
            extents += packed.extents;
            data += packed.data;
            range.start += read as u64;
            done += read as u64;
            progress(done.min(total), total);
        }
    }
    progress(total, total);
    Ok((extents, data))
}

fn read_some(mut read: impl FnMut(&mut [u8]) -> io::Result<usize>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn changed(path: &Path) -> MemoryError {
    MemoryError::Unsuitable { path: path.into(), details: "its length changed meanwhile".into() }
}
