//! Freezing a memory file, and copying one without its holes.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Makes a memory file one that nobody can open for writing any more: root's, mode 0444. Fine when it is so already.
///
/// Whoever has it open, like the machine that still runs on it, goes on writing: it is frozen when that one is paused
/// for good. Who may read it is the affair of the directories above.
pub fn freeze(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    fchown(&file, Some(0), Some(0))?;
    file.set_permissions(Permissions::from_mode(0o444))
}

/// Copies `from` to `to`, holes as holes, and gives the number of bytes copied. `to` is whole and frozen when it
/// appears, and replaces what was there without changing it. Blocks; the time goes with the data.
pub fn copy_sparse(from: &Path, to: &Path) -> io::Result<u64> {
    let source = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(from)?;
    let length = source.metadata()?.len();
    let temporary = Temporary::new(to)?;
    let target = &temporary.file;
    target.set_len(length)?;
    let (mut copied, mut at) = (0, 0);
    while let Some((start, end)) = extent(&source, at, length)? {
        copy_range(&source, target, start, end)?;
        copied += end - start;
        at = end;
    }
    fchown(target, Some(0), Some(0))?;
    target.set_permissions(Permissions::from_mode(0o444))?;
    temporary.keep(to)?;
    Ok(copied)
}

/// A file beside its final name, removed unless it is kept.
struct Temporary {
    file: File,
    path: Option<PathBuf>,
}

impl Temporary {
    fn new(beside: &Path) -> io::Result<Self> {
        // One name per target, so that what a killed copy left is found and removed by the next one.
        let mut name = beside.as_os_str().to_owned();
        name.push(".copy");
        let path = PathBuf::from(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Temporary { file, path: Some(path) })
    }

    fn keep(mut self, name: &Path) -> io::Result<()> {
        match self.path.take() {
            Some(path) => std::fs::rename(path, name),
            None => Ok(()),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The first run of data at or after `at`, cut at `length`.
fn extent(file: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= length {
        return Ok(None);
    }
    let Some(start) = seek(file, at, libc::SEEK_DATA)?.filter(|start| *start < length) else { return Ok(None) };
    let end = seek(file, start, libc::SEEK_HOLE)?.unwrap_or(length).min(length);
    Ok(Some((start, end)))
}

/// `None` when there is nothing of the kind up to the file's end.
fn seek(file: &File, at: u64, what: i32) -> io::Result<Option<u64>> {
    let at = libc::off_t::try_from(at).map_err(io::Error::other)?;
    // SAFETY: a system call on an open descriptor and plain numbers.
    let found = unsafe { libc::lseek(file.as_raw_fd(), at, what) };
    if found >= 0 {
        return Ok(Some(found.unsigned_abs()));
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENXIO) { Ok(None) } else { Err(error) }
}

fn copy_range(source: &File, target: &File, start: u64, end: u64) -> io::Result<()> {
    let mut at = libc::loff_t::try_from(start).map_err(io::Error::other)?;
    let mut to = at;
    let mut left = end - start;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX);
        // SAFETY: the offsets are live for the call; the descriptors are open.
        let done =
            unsafe { libc::copy_file_range(source.as_raw_fd(), &mut at, target.as_raw_fd(), &mut to, length, 0) };
        match done {
            0 => {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the memory file shrank while it was copied"));
            }
            done if done < 0 => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            done => left = left.saturating_sub(done.unsigned_abs() as u64),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    fn tmpfs() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").unwrap()
    }

    #[test]
    fn copy_has_the_same_bytes_and_the_same_holes() {
        let directory = tmpfs();
        let (from, to) = (directory.path().join("a"), directory.path().join("b"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        for (at, text) in [(0, "first"), (10 << 20, "middle"), ((64 << 20) - 4, "last")] {
            file.write_all_at(text.as_bytes(), at).unwrap();
        }
        let copied = copy_sparse(&from, &to).unwrap();
        assert_eq!(copied, 3 * 4096);
        assert!(std::fs::read(&from).unwrap() == std::fs::read(&to).unwrap());
        let metadata = std::fs::metadata(&to).unwrap();
        assert_eq!(metadata.blocks() * 512, 3 * 4096);
        assert_eq!(metadata.mode() & 0o777, 0o444);
    }

    #[test]
    fn replaced_file_stays_as_it_was_for_those_who_have_it() {
        let directory = tmpfs();
        let (from, to) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::write(&from, "new").unwrap();
        std::fs::write(&to, "old").unwrap();
        std::fs::write(directory.path().join("b.copy"), "left by one that was killed").unwrap();
        let old = File::open(&to).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"new");
        assert_eq!(io::read_to_string(old).unwrap(), "old");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn missing_file_leaves_nothing() {
        let directory = tmpfs();
        let error = copy_sparse(&directory.path().join("a"), &directory.path().join("b")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(freeze(&directory.path().join("a")).is_err());
    }

    #[test]
    fn file_of_nothing_but_hole_is_copied() {
        let directory = tmpfs();
        let (from, to) = (directory.path().join("a"), directory.path().join("b"));
        File::create(&from).unwrap().set_len(1 << 20).unwrap();
        assert_eq!(copy_sparse(&from, &to).unwrap(), 0);
        assert_eq!(std::fs::metadata(&to).unwrap().len(), 1 << 20);
        freeze(&to).unwrap();
        freeze(&to).unwrap();
    }
}
