//! The guest's serial console: a stream in both directions, and the bounded tail of what it printed.
//!
//! QEMU appends what the guest prints to `console.log`, also while no daemon runs, and never waits for a reader. So
//! that the file stays small although QEMU writes without end, the front is given back to the file system by punching a
//! hole: no copy, no race with QEMU's appending, and offsets keep their meaning. [`crate::Machine`] does that while it
//! is held; while nobody holds it, the file grows by what the guest prints. (QEMU's `ringbuf` device would be bounded
//! by itself, but vanishes with QEMU just when its text is needed; a full pipe or socket would stall the guest.)

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use tokio::net::UnixStream;

use crate::directory::RuntimeDirectory;

/// How much of a console's text is kept at least, in bytes; up to twice of it stays between two trims.
pub const KEPT: u64 = 1 << 20;
/// Holes are cut at whole blocks of this size.
const BLOCK: u64 = 4096;

/// Connects to the console of the machine in `directory`: raw bytes in both directions.
///
/// QEMU serves one client at a time; a second one connects, and gets nothing until the first has left.
pub async fn console(directory: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(RuntimeDirectory::new(directory).console()).await
}

/// The last `bytes` bytes at most the guest printed; nothing when there is no log yet.
pub fn console_tail(directory: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let path = RuntimeDirectory::new(directory).console_log();
    let mut file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let start = first_data(&file, length.saturating_sub(bytes))?.unwrap_or(length);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(length.saturating_sub(start)).read_to_end(&mut tail)?;
    Ok(tail)
}

/// Gives the front of the log back to the file system when it takes more than twice `keep` bytes. Tells whether it did.
pub fn trim(directory: &Path, keep: u64) -> io::Result<bool> {
    trim_file(&RuntimeDirectory::new(directory).console_log(), keep)
}

/// The same for any file that is only appended to.
pub(crate) fn trim_file(path: &Path, keep: u64) -> io::Result<bool> {
    let file = match OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    // st_blocks counts units of 512 bytes, whatever the file system's block is (stat(2)).
    if metadata.blocks() * 512 <= keep.saturating_mul(2) {
        return Ok(false);
    }
    let end = metadata.len().saturating_sub(keep) / BLOCK * BLOCK;
    if end == 0 {
        return Ok(false);
    }
    let end = libc::off_t::try_from(end).map_err(io::Error::other)?;
    // SAFETY: a system call on an open descriptor and plain numbers.
    let done =
        unsafe { libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 0, end) };
    if done == 0 { Ok(true) } else { Err(io::Error::last_os_error()) }
}

/// Where the first data at or after `offset` is; `None` when there is none.
fn first_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    // SAFETY: a system call on an open descriptor and plain numbers.
    let found = unsafe { libc::lseek(file.as_raw_fd(), offset, libc::SEEK_DATA) };
    if found >= 0 {
        return Ok(Some(found.unsigned_abs()));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENXIO) { Ok(None) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn log_stays_bounded_and_keeps_its_tail() {
        let directory = tempfile::tempdir().unwrap();
        let path = RuntimeDirectory::new(directory.path()).console_log();
        let mut log = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let keep = 64 << 10;
        for round in 0..200u32 {
            log.write_all(format!("{round:07}\n").repeat(1000).as_bytes()).unwrap();
            trim(directory.path(), keep).unwrap();
            assert!(std::fs::metadata(&path).unwrap().blocks() * 512 <= 2 * keep + 16_000);
        }
        let tail = console_tail(directory.path(), 16).unwrap();
        assert_eq!(tail, b"0000199\n0000199\n");
        let all = console_tail(directory.path(), u64::MAX).unwrap();
        assert!(all.len() as u64 >= keep && !all.contains(&0), "{} bytes", all.len());
    }

    #[test]
    fn console_that_never_was_has_an_empty_tail() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(console_tail(directory.path(), 100).unwrap(), b"");
        assert!(!trim(directory.path(), 100).unwrap());
    }
}
