//! Opening the file: who may, what is refused, and how SQLite is set up.
//!
//! Set-up, with the reasons:
//!
//! * **WAL** (`journal_mode=WAL`): readers see the last commit while the writer writes, and a commit is one sequential
//!   append instead of a rewrite of pages in place.
//! * **`synchronous=FULL`**: the log is fsynced before a commit is acknowledged. `NORMAL` would save that fsync but
//!   lose the last commits when power fails, and records that others have acted upon must not vanish: an address handed
//!   out twice is what a lost record looks like. `EXTRA` adds nothing in WAL mode. The price is one fsync per commit,
//!   which the writer thread shares among all transactions that wait at the same time (see `writer`). A record becomes
//!   visible to readers only after that fsync, so nobody acts upon one that may still be lost.
//! * **cache of 1 MiB per connection**, two connections, no memory map: the daemon stays small, and the page cache of
//!   the kernel is behind it anyway.
//! * **log cut to 4 MiB** after checkpoints, so that one big transaction does not leave a big file.
//!
//! SQLite's own locks allow several processes, and `locking_mode=EXCLUSIVE` would shut out the reader thread. So the
//! file's one owner is whoever holds the flock on the file next to it (`.lock` appended). It dies with its process. The
//! lock file is never deleted: deleting it would let two processes each lock a file of that name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::schema::{self, Found};
use crate::error::{Cause, Error, Result};

/// A file that is ours, opened and brought to the newest schema.
pub(super) struct Opened {
    /// The file, by its real path.
    pub(super) path: PathBuf,
    /// The connection for the thread that writes.
    pub(super) writer: Connection,
    /// The connection for the thread that reads.
    pub(super) reader: Connection,
    /// Whoever holds this owns the file. To be dropped after the connections.
    pub(super) lock: File,
}

/// Opens the store at `path`, creating it if there is none. Its folder must exist.
pub(super) fn open(path: &Path) -> Result<Opened> {
    let path = real_path(path).map_err(|source| io_error(path, source))?;
    let lock = lock(&path)?;
    create(&path).map_err(|source| io_error(&path, source))?;
    let fail = |source| sqlite_error(&path, "open", source);

    let mut writer = connect(&path).map_err(fail)?;
    let found = match schema::inspect(&writer).map_err(fail)? {
        Found::Empty => 0,
        Found::Store(found) => found,
        Found::Foreign => return Err(corrupt(&path, "it is the database of another program")),
    };
    if found > schema::supported() {
        return Err(Error::NewerSchema { path, found, supported: schema::supported() });
    }
    if found > 0 {
        check_integrity(&path, &writer)?;
    }
    let mode: String = writer.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(fail)?;
    if mode != "wal" {
        let source = io::Error::other(format!("it allows no write-ahead log, only mode {mode}"));
        return Err(io_error(&path, source));
    }
    writer.execute_batch("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 4194304;").map_err(fail)?;
    schema::migrate(&mut writer, found).map_err(fail)?;

    let reader = connect(&path).map_err(fail)?;
    reader.execute_batch("PRAGMA query_only = ON;").map_err(fail)?;
    Ok(Opened { path, writer, reader, lock })
}

/// The path without links, because SQLite names its log after the real file, and two names of one file must meet
/// the same lock.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or(error)?;
            let folder = match path.parent() {
                Some(folder) if folder != Path::new("") => folder,
                _ => Path::new("."),
            };
            Ok(folder.canonicalize()?.join(name))
        }
        other => other,
    }
}

fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = private(&name).map_err(|source| io_error(path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io_error(path, source)),
    }
}

/// Makes the file if it is missing, readable by its owner only (SQLite gives its log the same mode), and makes its
/// name durable.
fn create(path: &Path) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    private(path)?.sync_all()?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn private(path: impl AsRef<Path>) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Nobody else writes; this is for people who look into the file with other tools.
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.execute_batch("PRAGMA cache_size = -1024; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY;")?;
    Ok(connection)
}

/// Reads the whole file once and checks that its trees are whole: better to refuse at the start than to act upon
/// half of the records. A store of tens of MB takes tens of milliseconds.
fn check_integrity(path: &Path, connection: &Connection) -> Result<()> {
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| sqlite_error(path, "open", source))?;
    if verdict != "ok" {
        return Err(corrupt(path, &verdict));
    }
    Ok(())
}

fn corrupt(path: &Path, what: &str) -> Error {
    let source: Box<dyn std::error::Error + Send + Sync> = what.into();
    Error::Corrupt { path: path.to_owned(), source: Cause::from(source) }
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Engine { action: "open", name: path.display().to_string(), source: Arc::new(source) }
}

/// What SQLite says, in our words.
pub(super) fn sqlite_error(path: &Path, action: &'static str, source: rusqlite::Error) -> Error {
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Error::Corrupt { path: path.to_owned(), source: Arc::new(source) }
        }
        _ => Error::Engine { action, name: path.display().to_string(), source: Arc::new(source) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_set_up_for_durable_commits_and_little_memory() {
        let folder = tempfile::tempdir().unwrap();
        let opened = open(&folder.path().join("store.db")).unwrap();
        let ask = |connection: &Connection, what: &str| -> String {
            connection
                .query_row(&format!("SELECT {what} FROM pragma_{what}"), [], |row| {
                    row.get::<_, rusqlite::types::Value>(0)
                })
                .map(|value| format!("{value:?}"))
                .unwrap()
        };
        assert_eq!(ask(&opened.writer, "journal_mode"), "Text(\"wal\")");
        assert_eq!(ask(&opened.writer, "synchronous"), "Integer(2)");
        for connection in [&opened.writer, &opened.reader] {
            assert_eq!(ask(connection, "cache_size"), "Integer(-1024)");
        }
        assert!(opened.reader.execute("DELETE FROM entries", []).is_err());
    }
}
