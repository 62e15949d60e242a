//! The reserve's file: growing it when there is plenty of space, and giving a part of it back. When either is wanted
//! is decided in the parent.
//!
//! The length of the file is the truth, and nothing else is remembered: a process killed at any moment, or somebody
//! who deletes the file to get at the space, leaves a smaller reserve and no contradiction.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;
use nix::sys::statvfs::statvfs;

/// The reserve grows only where this many times its size is free, so that it takes no space a user has just made for
/// something else.
const PLENTY: u64 = 2;

/// A file whose only content is the space it takes.
#[derive(Debug)]
pub(super) struct ReserveFile {
    path: PathBuf,
    /// The size it should have.
    bytes: u64,
}

impl ReserveFile {
    /// Names it; touches nothing. Its folder must exist when it is used.
    pub(super) fn new(path: PathBuf, bytes: u64) -> Self {
        Self { path, bytes }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives back up to `bytes`. Says how many it were: zero when nothing is left.
    pub(super) fn release(&self, bytes: u64) -> io::Result<u64> {
        let file = match OpenOptions::new().write(true).open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            other => other?,
        };
        let length = file.metadata()?.len();
        let released = length.min(bytes);
        if released > 0 {
            file.set_len(length - released)?;
            // File systems with a journal hand blocks out again once it is written that they are free.
            file.sync_all()?;
        }
        Ok(released)
    }

    /// Brings it to its full size if there is plenty of space. Says whether it has it.
    pub(super) fn fill(&self) -> io::Result<bool> {
        let Ok(length) = i64::try_from(self.bytes) else { return Err(ErrorKind::FileTooLarge.into()) };
        if self.free()? < PLENTY.saturating_mul(self.bytes) {
            return Ok(self.length()? >= self.bytes);
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        let before = file.metadata()?.len();
        // From the beginning, for a copy made by a backup may have the length without the space.
        if let Err(error) = posix_fallocate(&file, 0, length) {
            // Some file systems keep the part they had room for.
            file.set_len(before)?;
            return Err(error.into());
        }
        Ok(true)
    }

    fn length(&self) -> io::Result<u64> {
        match self.path.metadata() {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Bytes free to everybody, without what a file system keeps for root.
    fn free(&self) -> io::Result<u64> {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let space = statvfs(folder)?;
        Ok(space.blocks_available().saturating_mul(space.fragment_size()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_reserve_takes_real_space_and_gives_it_back_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = ReserveFile::new(folder.path().join("reserve"), 64 << 10);
        assert!(reserve.fill().unwrap());
        assert!(reserve.fill().unwrap());
        let taken = || reserve.path().metadata().unwrap().blocks() * 512;
        assert_eq!(taken(), 64 << 10);
        assert_eq!(reserve.release(48 << 10).unwrap(), 48 << 10);
        assert_eq!(taken(), 16 << 10);
        assert_eq!(reserve.release(48 << 10).unwrap(), 16 << 10);
        assert_eq!(reserve.release(48 << 10).unwrap(), 0);
        assert!(reserve.fill().unwrap());
        assert_eq!(taken(), 64 << 10);
    }

    #[test]
    fn a_reserve_that_was_deleted_has_nothing_to_give_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = ReserveFile::new(folder.path().join("reserve"), 4096);
        assert_eq!(reserve.release(1).unwrap(), 0);
        assert!(reserve.fill().unwrap());
        std::fs::remove_file(reserve.path()).unwrap();
        assert_eq!(reserve.release(1).unwrap(), 0);
        assert!(reserve.fill().unwrap());
    }

    #[test]
    fn a_copy_without_its_space_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = ReserveFile::new(folder.path().join("reserve"), 64 << 10);
        std::fs::File::create(reserve.path()).unwrap().set_len(64 << 10).unwrap();
        assert!(reserve.fill().unwrap());
        assert_eq!(reserve.path().metadata().unwrap().blocks() * 512, 64 << 10);
    }

    #[test]
    fn a_reserve_is_not_made_where_space_is_short() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = ReserveFile::new(folder.path().join("reserve"), 1 << 60);
        assert!(!reserve.fill().unwrap());
        assert!(!reserve.path().exists());
    }
}
