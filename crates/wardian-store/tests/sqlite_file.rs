//! The file: who may open it, what is refused and how it says so, how large it grows.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;
use wardian_store::{Error, Options, Revision, SqliteStore, Store, Transaction};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    (folder, path)
}

async fn put(store: &dyn Store, key: &str, value: impl Into<Vec<u8>>) -> Revision {
    let outcome = store.commit(Transaction::new().put(key, value)).await;
    outcome.unwrap().committed().unwrap()
}

async fn failure(path: &Path) -> Error {
    match SqliteStore::open(path).await {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

/// The error with all its causes, as a user reads it.
fn whole(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// A store with some content, closed again.
async fn filled(path: &Path) {
    let store = SqliteStore::open(path).await.unwrap();
    for number in 0..60 {
        put(&store, &format!("k/{number}"), vec![number; 3000]).await;
    }
}

#[tokio::test]
async fn a_file_that_is_open_is_refused_under_every_name() {
    let (folder, path) = folder();
    let store = SqliteStore::open(&path).await.unwrap();
    let link = folder.path().join("link.db");
    symlink(&path, &link).unwrap();
    for name in [&path, &link] {
        match failure(name).await {
            Error::InUse { path: named } => assert_eq!(named, path.canonicalize().unwrap()),
            other => panic!("{other:?}"),
        }
    }
    drop(store);
    SqliteStore::open(&link).await.unwrap();
}

#[tokio::test]
async fn closing_leaves_one_file_and_its_lock_readable_by_the_owner_only() {
    let (folder, path) = folder();
    filled(&path).await;
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap())
        .map(|file| {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            file.file_name().into_string().unwrap()
        })
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["store.db", "store.db.lock"]);
}

#[tokio::test]
async fn the_log_is_as_private_as_the_file() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.unwrap();
    put(&store, "a", "1").await;
    let log = path.with_extension("db-wal");
    assert_eq!(fs::metadata(log).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_watch_does_not_keep_a_dropped_store_open() {
    let (_folder, path) = folder();
    let store = SqliteStore::open(&path).await.unwrap();
    let revision = put(&store, "a", "1").await;
    let mut idle = store.watch("", revision.next()).await.unwrap();
    let waiting = tokio::spawn(async move { idle.next().await });
    let mut behind = store.watch("", Revision(0)).await.unwrap();
    put(&store, "a", "2").await;
    drop(store);
    let reopened = SqliteStore::open(&path).await.unwrap();
    behind.next().await.unwrap();
    assert!(matches!(behind.next().await, Err(Error::Closed { .. })));
    // The idle one may have read the second put before the store went away.
    let told = waiting.await.unwrap();
    assert!(matches!(told, Ok(_) | Err(Error::Closed { .. })), "{told:?}");
    drop(reopened);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let (_folder, path) = folder();
    filled(&path).await;
    let connection = Connection::open(&path).unwrap();
    connection.execute("UPDATE schema_version SET version = 99", []).unwrap();
    connection.close().unwrap();
    let before = fs::read(&path).unwrap();
    let error = failure(&path).await;
    match &error {
        Error::NewerSchema { path: named, found: 99, supported: 1 } => assert_eq!(*named, path.canonicalize().unwrap()),
        other => panic!("{other:?}"),
    }
    assert!(whole(&error).contains("store.db has schema 99, written by a newer version"));
    assert!(fs::read(&path).unwrap() == before);
}

#[tokio::test]
async fn damaged_files_are_refused_by_name() {
    let (folder, good) = folder();
    filled(&good).await;
    let bytes = fs::read(&good).unwrap();
    assert!(bytes.len() > 40 * 4096);
    let garbage = vec![b'x'; 20_000];
    let truncated = bytes[..bytes.len() / 2].to_vec();
    let mut scribbled = bytes.clone();
    scribbled[4096 * 2..4096 * 8].fill(0x5a);
    for (what, content) in [("garbage", garbage), ("truncated", truncated), ("scribbled", scribbled)] {
        let path = folder.path().join(what);
        fs::write(&path, content).unwrap();
        let error = failure(&path).await;
        assert!(matches!(error, Error::Corrupt { .. }), "{what}: {error:?}");
        let text = whole(&error);
        assert!(text.contains(&format!("{what} is damaged or is not a store: ")), "{text}");
    }
}

#[tokio::test]
async fn the_database_of_another_program_is_refused() {
    let (_folder, path) = folder();
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE state (x); CREATE TABLE schema_version (version);").unwrap();
    connection.close().unwrap();
    let text = whole(&failure(&path).await);
    assert!(text.ends_with("it is the database of another program"), "{text}");
}

#[tokio::test]
async fn what_a_killed_creation_leaves_is_opened_as_new() {
    let (folder, path) = folder();
    fs::write(&path, "").unwrap();
    put(&SqliteStore::open(&path).await.unwrap(), "a", "1").await;

    // Killed between making the file a database and making it a store.
    let half = folder.path().join("half.db");
    let connection = Connection::open(&half).unwrap();
    let _: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).unwrap();
    connection.close().unwrap();
    assert!(fs::metadata(&half).unwrap().len() > 0);
    put(&SqliteStore::open(&half).await.unwrap(), "a", "1").await;
}

/// Power fails and the end of the log never reached the disk: an earlier revision is found, whole.
#[tokio::test]
async fn a_log_cut_anywhere_gives_a_whole_earlier_revision() {
    let (folder, path) = folder();
    let log = |path: &Path| path.with_extension("db-wal");
    let store = SqliteStore::open(&path).await.unwrap();
    for number in 0..20u8 {
        let both =
            Transaction::new().put(format!("left/{number:02}"), [number]).put(format!("right/{number:02}"), [number]);
        store.commit(both).await.unwrap().committed().unwrap();
    }
    let (file, whole) = (fs::read(&path).unwrap(), fs::read(log(&path)).unwrap());
    let mut revisions = Vec::new();
    for part in 0..=24 {
        let cut = folder.path().join("cut.db");
        fs::write(&cut, &file).unwrap();
        fs::write(log(&cut), &whole[..whole.len() * part / 24]).unwrap();
        let store = SqliteStore::open(&cut).await.unwrap();
        let revision = store.revision().await.unwrap();
        let commits = revision.0 as usize - 1;
        for prefix in ["left/", "right/"] {
            let listing = store.list(prefix).await.unwrap();
            assert_eq!(listing.entries.len(), commits);
        }
        let mut watch = store.watch("", Revision(0)).await.unwrap();
        for _ in 0..commits {
            assert_eq!(watch.next().await.unwrap().len(), 2);
        }
        revisions.push(revision);
    }
    assert!(revisions.is_sorted());
    assert_eq!(revisions.first(), Some(&Revision(1)));
    assert_eq!(revisions.last(), Some(&Revision(21)));
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let (folder, _) = folder();
    let text = whole(&failure(&folder.path().join("missing/store.db")).await);
    assert!(text.starts_with("cannot open the store "), "{text}");
    assert!(text.contains("missing/store.db: No such file"), "{text}");
}

#[tokio::test]
async fn a_foreign_lock_delays_writers_but_not_readers() {
    let (_folder, path) = folder();
    let store = Arc::new(SqliteStore::open(&path).await.unwrap());
    let revision = put(&*store, "a", "1").await;
    // Somebody looks into the file with a tool of SQLite's and does not mind our lock.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let commits: Vec<_> = ["b", "c"]
        .into_iter()
        .map(|key| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(Transaction::new().put(key, "1")).await })
        })
        .collect();
    // Reading goes on meanwhile.
    assert_eq!(store.revision().await.unwrap(), revision);
    assert_eq!(store.list("").await.unwrap().entries.len(), 1);
    other.execute_batch("ROLLBACK").unwrap();
    for commit in commits {
        assert!(commit.await.unwrap().unwrap().committed().is_some());
    }
}

#[tokio::test]
async fn the_history_is_bounded_and_so_is_the_file() {
    let (_folder, path) = folder();
    let options = || Options { history: 50, ..Options::default() };
    let store = SqliteStore::open_with(&path, options()).await.unwrap();
    let mut last = Revision(0);
    let mut size = 0;
    for number in 0..600u32 {
        last = put(&store, &format!("k/{}", number % 5), vec![7; 8000]).await;
        if number == 200 {
            drop_log(&path);
            size = fs::metadata(&path).unwrap().len();
        }
    }
    match store.watch("", Revision(1)).await {
        Err(Error::Compacted { oldest }) => {
            assert!(oldest <= Revision(last.0 - 49));
            assert!(oldest >= Revision(last.0 - 60));
        }
        _ => panic!("the first revision is still there"),
    }
    store.watch("", Revision(last.0 - 49)).await.unwrap();
    drop(store);
    let grown = fs::metadata(&path).unwrap().len();
    assert!(grown < size * 2, "{grown} bytes, {size} after a third");
    assert!(grown < 60 * 8000 * 3, "{grown} bytes");
    let connection = Connection::open(&path).unwrap();
    let rows: i64 = connection.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    assert!(rows <= 60, "{rows} events are kept");
}

/// Moves the log into the file, so that the file's length says something.
fn drop_log(path: &Path) {
    let connection = Connection::open(path).unwrap();
    let _: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
}
