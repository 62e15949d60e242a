//! Files that appear whole or not at all: written under a temporary name in the folder they belong to, then renamed.
//! A killed writer leaves only such a name, which `sweep` removes.

use super::error::MemoryError;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tempfile::NamedTempFile;

const PREFIX: &str = ".wardian-memory-";
const SUFFIX: &str = ".new";

/// A file that is being written for `path`. Dropped, it vanishes.
pub(super) struct Temporary<'a> {
    file: NamedTempFile,
    path: &'a Path,
    // Ends with this process, however it ends. Dropped after `file`, so that no sweep comes in between.
    _lock: Flock<File>,
}

impl<'a> Temporary<'a> {
    /// A new file beside `path`, which only its owner may read: it holds whatever was in a guest's memory.
    pub(super) fn beside(path: &'a Path) -> Result<Self, MemoryError> {
        let (file, lock) = locked(folder_of(path)).map_err(MemoryError::io("create a file beside", path))?;
        Ok(Self { file, path, _lock: lock })
    }

    pub(super) fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Gives the file its name, replacing what had it. On tmpfs and for what needs not outlive a crash of the host:
    /// nothing is synced.
    pub(super) fn place(self) -> Result<(), MemoryError> {
        let path = self.path;
        self.file.persist(path).map(drop).map_err(|error| MemoryError::io("place", path)(error.error))
    }

    /// Gives the file its name and returns when it would survive a power failure.
    pub(super) fn place_durably(self) -> Result<(), MemoryError> {
        let path = self.path;
        self.file().sync_all().map_err(MemoryError::io("sync", path))?;
        self.place()?;
        let folder = folder_of(path);
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(MemoryError::io("sync", folder))
    }
}

/// A new file in `folder` that no sweep takes for abandoned.
fn locked(folder: &Path) -> io::Result<(NamedTempFile, Flock<File>)> {
    loop {
        let file = tempfile::Builder::new().prefix(PREFIX).suffix(SUFFIX).tempfile_in(folder)?;
        match Flock::lock(file.as_file().try_clone()?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) if file.as_file().metadata()?.nlink() > 0 => return Ok((file, lock)),
            // A sweep came between creation and lock: the file is gone, or about to go.
            Ok(_) | Err((_, Errno::EWOULDBLOCK)) => {}
            Err((_, error)) => return Err(error.into()),
        }
    }
}

/// Removes what killed writers left in `folder`; files that are being written at this moment stay. Returns how many
/// were removed. A folder that does not exist holds none.
///
/// # Errors
/// When the folder cannot be read or a file not be removed.
pub fn sweep(folder: &Path) -> Result<usize, MemoryError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other.map_err(MemoryError::io("read", folder))?,
    };
    let mut removed = 0;
    for entry in entries {
        let entry = entry.map_err(MemoryError::io("read", folder))?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && is_temporary(&entry.file_name()) {
            let path = entry.path();
            removed += usize::from(remove_abandoned(&path).map_err(MemoryError::io("remove", &path))?);
        }
    }
    Ok(removed)
}

fn is_temporary(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
}

/// False when its writer lives, or it is gone by now.
fn remove_abandoned(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Err((_, Errno::EWOULDBLOCK)) => Ok(false),
        Err((_, error)) => Err(error.into()),
        Ok(_lock) => match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other.map(|()| true),
        },
    }
}

/// The folder a path is in; of a mere name, the current one.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn sweep_removes_what_nobody_writes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".wardian-memory-Abandn.new"), "half").unwrap();
        let path = folder.path().join("whole");
        fs::write(&path, "old").unwrap();
        let living = Temporary::beside(&path).unwrap();
        assert_eq!(sweep(folder.path()).unwrap(), 1);
        assert_eq!(sweep(folder.path()).unwrap(), 0);
        living.place_durably().unwrap();
        assert_eq!(names(folder.path()), ["whole"]);
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_temporary_that_is_dropped_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        drop(Temporary::beside(&path).unwrap());
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn only_the_owner_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        Temporary::beside(&path).unwrap().place().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_missing_folder_holds_nothing_to_sweep() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(sweep(&folder.path().join("none")).unwrap(), 0);
    }
}
