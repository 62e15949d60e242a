//! The reserve on a disk that really gets full: a small tmpfs, in a mount namespace of the test's own.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

use super::*;
use crate::{Error, ManualClock, Options, SqliteStore};

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;

/// A file system of 20 MiB that this thread, and those it begins, see alone.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        unshare(CloneFlags::CLONE_NEWNS).expect("root may have a mount namespace of its own");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(none, folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=20M")).expect("root may mount a tmpfs");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn free(&self) -> u64 {
        let space = statvfs(self.0.path()).unwrap();
        space.blocks_available() * space.fragment_size()
    }

    /// Leaves `bytes` of free space, and no byte when the disk is to be full.
    fn leave(&self, bytes: u64) {
        let ballast = self.path("ballast");
        let before = ballast.metadata().map_or(0, |metadata| metadata.len());
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(ballast).unwrap();
        let size = (before + self.free()).checked_sub(bytes).expect("there is not as much");
        file.set_len(size).unwrap();
        if size > 0 {
            nix::fcntl::posix_fallocate(&file, 0, i64::try_from(size).unwrap()).unwrap();
        }
        assert_eq!(self.free(), bytes);
    }

    /// Bytes in the reserve, which must be taken in fact.
    fn reserve(&self) -> u64 {
        let Ok(metadata) = self.path("reserve").metadata() else { return 0 };
        assert_eq!(metadata.blocks() * 512, metadata.len().next_multiple_of(PAGE));
        metadata.len()
    }

    async fn open(&self) -> Result<Reserved<SqliteStore>> {
        self.open_with(Options::default()).await
    }

    /// With 8 MiB, and a look at the file whenever there is a reason.
    async fn open_with(&self, options: Options) -> Result<Reserved<SqliteStore>> {
        let file = ReserveFile::new(self.path("reserve"), BYTES);
        let open = || SqliteStore::open_with(self.path("store.db"), options.clone());
        Reserved::open_with(file, Duration::ZERO, open).await
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

fn put(key: impl Into<String>, bytes: u64) -> Transaction {
    Transaction::new().put(key, vec![7; usize::try_from(bytes).unwrap()])
}

async fn put_and_find(store: &impl Store, key: &str, bytes: u64) {
    store.commit(put(key, bytes)).await.unwrap().committed().unwrap();
    let found = store.get(key).await.unwrap().unwrap();
    assert_eq!(found.value.len() as u64, bytes);
}

#[tokio::test]
async fn records_are_written_on_a_full_disk_and_cost_little_of_the_reserve() {
    let disk = Disk::new();
    let store = disk.open().await.unwrap();
    assert_eq!(disk.reserve(), BYTES);
    disk.leave(0);
    // Without the reserve it can't be.
    let error = store.store.commit(put("a", 1000)).await.unwrap_err();
    assert!(matches!(error, Error::Engine { action: "write", .. }) && error.is_full(), "{error:?}");
    for index in 0..20 {
        put_and_find(&store, &format!("key/{index}"), 1000).await;
    }
    assert!((BYTES - 2 * FIRST_PART..BYTES).contains(&disk.reserve()), "{}", disk.reserve());
}

#[tokio::test]
async fn a_machine_that_eats_each_part_does_not_eat_the_reserve() {
    let disk = Disk::new();
    let store = disk.open().await.unwrap();
    for index in 0..10 {
        disk.leave(0);
        put_and_find(&store, &format!("key/{index}"), 1000).await;
    }
    assert!(disk.reserve() >= BYTES / 2, "{}", disk.reserve());
}

#[tokio::test]
async fn a_large_transaction_takes_as_many_parts_as_it_needs() {
    let disk = Disk::new();
    let store = disk.open().await.unwrap();
    disk.leave(0);
    put_and_find(&store, "large", MIB).await;
    assert!(disk.reserve() > 0);
}

#[tokio::test]
async fn what_is_hit_together_gives_back_once() {
    let disk = Disk::new();
    let store = Arc::new(disk.open().await.unwrap());
    disk.leave(0);
    let commits: Vec<_> = (0..8)
        .map(|index| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(put(format!("key/{index}"), 100)).await })
        })
        .collect();
    for commit in commits {
        commit.await.unwrap().unwrap().committed().unwrap();
    }
    assert_eq!(disk.reserve(), BYTES - FIRST_PART);
}

#[tokio::test]
async fn the_error_stays_when_nothing_is_left_and_the_reserve_comes_back() {
    let disk = Disk::new();
    let store = disk.open().await.unwrap();
    let mut written = 0;
    let error = loop {
        disk.leave(0);
        match store.commit(put(format!("key/{written}"), 1000)).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1000);
    };
    assert!(matches!(error, Error::Engine { action: "write", .. }) && error.is_full(), "{error:?}");
    assert_eq!(disk.reserve(), 0);
    assert_eq!(store.list("key/").await.unwrap().entries.len(), written, "all that was acknowledged, and no more");

    disk.leave(10 * MIB);
    put_and_find(&store, "more", 1000).await;
    assert_eq!(disk.reserve(), 0, "that space was made for something else");
    disk.leave(17 * MIB);
    put_and_find(&store, "plenty", 1000).await;
    assert_eq!(disk.reserve(), BYTES);
}

#[tokio::test]
async fn a_reserve_is_looked_at_again_only_after_a_pause() {
    let disk = Disk::new();
    let file = ReserveFile::new(disk.path("reserve"), BYTES);
    let open = || SqliteStore::open(disk.path("store.db"));
    let store = Reserved::open_with(file, Duration::from_secs(3600), open).await.unwrap();
    disk.leave(0);
    put_and_find(&store, "a", 1000).await;
    let left = disk.reserve();
    disk.leave(0);
    fs::remove_file(disk.path("ballast")).unwrap();
    assert!(left < BYTES);
    put_and_find(&store, "b", 1000).await;
    assert_eq!(disk.reserve(), left);
}

#[tokio::test]
async fn a_store_opens_on_a_full_disk() {
    let disk = Disk::new();
    let store = disk.open().await.unwrap();
    put_and_find(&store, "a", 1000).await;
    drop(store);
    disk.leave(0);
    let error = SqliteStore::open(disk.path("store.db")).await.map(drop).unwrap_err();
    assert!(error.is_full(), "{error:?}");
    let store = disk.open().await.unwrap();
    assert!(store.get("a").await.unwrap().is_some());
    put_and_find(&store, "b", 1000).await;
    assert!(disk.reserve() > BYTES / 2);
}

#[tokio::test]
async fn reading_works_on_a_full_disk_when_a_lease_has_ended() {
    let disk = Disk::new();
    let clock = ManualClock::new();
    let store = disk.open_with(Options { clock: Arc::new(clock.clone()), ..Options::default() }).await.unwrap();
    let lease = store.grant_lease(Duration::from_secs(1)).await.unwrap();
    store.commit(Transaction::new().put_with_lease("leased", "1", lease)).await.unwrap().committed().unwrap();
    disk.leave(0);
    clock.advance(Duration::from_secs(2));
    assert!(store.get("leased").await.unwrap().is_none());
    assert!(store.list("").await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn a_log_that_goes_round_on_a_full_disk_stays_within_the_reserve() {
    let disk = Disk::new();
    let store = disk.open().await.unwrap();
    disk.leave(0);
    // The same keys again and again, in a history of few revisions, as machines' records are: about 40 MiB of log.
    for round in 0..1500 {
        let key = format!("key/{}", round % 10);
        store.commit(put(key, 3000)).await.unwrap().committed().unwrap();
        if round % 100 == 0 {
            store.compact(store.revision().await.unwrap()).await.unwrap();
        }
    }
    assert!(disk.reserve() > 0);
}

#[tokio::test]
async fn other_errors_and_conflicts_leave_the_reserve_alone() {
    let disk = Disk::new();
    let store = disk.open().await.unwrap();
    let gone = Transaction::new().put_with_lease("a", "1", LeaseId(99));
    assert!(matches!(store.commit(gone).await, Err(Error::LeaseNotFound { .. })));
    let conflict = Transaction::new().present("b").put("c", "1");
    assert!(store.commit(conflict).await.unwrap().committed().is_none());
    assert!(store.get("/").await.is_err());
    assert_eq!(disk.reserve(), BYTES);
}

#[tokio::test]
async fn a_file_system_with_little_room_gets_no_reserve() {
    let disk = Disk::new();
    disk.leave(12 * MIB);
    let store = disk.open().await.unwrap();
    put_and_find(&store, "a", 1000).await;
    assert_eq!(disk.reserve(), 0);
    assert!(!Path::new(&disk.path("reserve")).exists());
}
