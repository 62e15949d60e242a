//! A store that can still write when its disk is full, by giving up space it has kept for that.
//!
//! A full disk is when records matter most: that a machine is paused for it, and what its user asks for then, has to be
//! written down somewhere. So a file beside the store holds some space. An operation that fails for want of space gives
//! a part of it back and is tried again. Errors stay what they are once nothing is left to give.
//!
//! * **In parts**, small ones first: whatever else writes to that disk finds the space as soon as it is free, and a
//!   machine that is let go on without room would eat a reserve given up at once. A commit needs some pages only.
//! * **Once for all** whom one moment without space has hit: who sees that another has given something back since it
//!   began tries again with that.
//! * **It grows back** while the store is used, looked at every few seconds, where there is plenty of space (`file`).
//! * **Reads too**: one that comes when a lease has ended deletes its keys first. And opening, for SQLite makes its log
//!   and the index of it anew.
//!
//! What grows with a commit in [`SqliteStore`](crate::SqliteStore) is the log, up to about 4 MiB, from where it is
//! written from the start again, and now and then the index of the log, by 32 KiB. The file itself grows when the log
//! is moved into it; where that fails SQLite goes on with the log and tries again after the next commit, which then has
//! more of the reserve. All of these fail before anything has happened, so trying again does nothing twice.

mod file;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use self::file::ReserveFile;
use crate::error::Result;
use crate::record::{Entry, LeaseId, Listing, Revision};
use crate::store::Store;
use crate::transaction::{Outcome, Transaction};
use crate::watch::Watch;

/// Bytes held: twice what the log takes before it is written from the start again.
const BYTES: u64 = 8 << 20;
/// Bytes an operation gives back at first; each further time twice as many. One of the usual size needs a tenth.
const FIRST_PART: u64 = 256 << 10;
/// How long a reserve that is not whole is left alone before it is looked at again.
const PAUSE: Duration = Duration::from_secs(5);

/// A store with a reserve of disk space. It keeps every promise of the store within.
#[derive(Debug)]
pub struct Reserved<S> {
    store: S,
    reserve: Arc<Reserve>,
}

impl<S: Store> Reserved<S> {
    /// Opens a store by `open`, with 8 MiB reserved in a file at `path`, on the same file system. The file is made, or
    /// brought to that size, once the store is open and so known to be nobody else's; where it can't be, the store
    /// works without. `open` is called again when it fails for want of space and the reserve has some.
    ///
    /// # Errors
    /// Those of `open`.
    pub async fn open<F>(path: impl Into<PathBuf>, open: impl FnMut() -> F) -> Result<Self>
    where
        F: Future<Output = Result<S>>,
    {
        Self::open_with(ReserveFile::new(path.into(), BYTES), PAUSE, open).await
    }

    async fn open_with<F>(file: ReserveFile, pause: Duration, open: impl FnMut() -> F) -> Result<Self>
    where
        F: Future<Output = Result<S>>,
    {
        let reserve = Arc::new(Reserve {
            file,
            pause,
            releases: AtomicU64::new(0),
            whole: AtomicBool::new(false),
            looked: Mutex::new(None),
        });
        let store = Arc::clone(&reserve).with_room(open).await?;
        Ok(Self { store, reserve })
    }

    async fn with_room<T, F>(&self, operation: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        Arc::clone(&self.reserve).with_room(operation).await
    }
}

/// The file, and who may touch it when.
#[derive(Debug)]
struct Reserve {
    file: ReserveFile,
    pause: Duration,
    /// Grows with each part given back.
    releases: AtomicU64,
    /// Whether there is nothing to grow back, as far as is known.
    whole: AtomicBool,
    /// When the file was last touched. Whoever has the lock touches it, on a thread that may block.
    looked: Mutex<Option<Instant>>,
}

impl Reserve {
    /// Does `operation`, again as long as it fails for want of space and there is something to give back.
    async fn with_room<T, F>(self: Arc<Self>, mut operation: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut part = FIRST_PART;
        loop {
            let seen = self.releases.load(Ordering::Acquire);
            let result = operation().await;
            match &result {
                Err(error) if error.is_full() => {}
                Err(_) => return result,
                Ok(_) => {
                    if !self.whole.load(Ordering::Acquire) {
                        self.blocking(Self::fill).await;
                    }
                    return result;
                }
            }
            if !self.blocking(move |reserve| reserve.release(seen, part)).await {
                return result;
            }
            part *= 2;
        }
    }

    /// On a thread that may block. False when the runtime is ending.
    async fn blocking(self: &Arc<Self>, work: impl FnOnce(&Self) -> bool + Send + 'static) -> bool {
        let reserve = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&reserve)).await.unwrap_or(false)
    }

    /// Gives a part back, unless that has been done since `seen`. False when there is nothing left.
    fn release(&self, seen: u64, part: u64) -> bool {
        let mut looked = self.turn();
        if self.releases.load(Ordering::Acquire) != seen {
            return true;
        }
        *looked = Some(Instant::now());
        self.whole.store(false, Ordering::Release);
        let path = self.file.path().display();
        match self.file.release(part) {
            Ok(0) => false,
            Ok(bytes) => {
                tracing::warn!(%path, bytes, "the disk is full; a part of the reserve for records is given up");
                self.releases.fetch_add(1, Ordering::Release);
                true
            }
            Err(error) => {
                tracing::warn!(%path, %error, "the disk is full, and the reserve for records can't be given up");
                false
            }
        }
    }

    /// Makes it whole if it is time to look and there is plenty of space. Says whether it is.
    fn fill(&self) -> bool {
        let mut looked = self.turn();
        if looked.is_some_and(|looked| looked.elapsed() < self.pause) {
            return false;
        }
        *looked = Some(Instant::now());
        let whole = self.file.fill().unwrap_or_else(|error| {
            // Without it everything works until the disk is full.
            tracing::debug!(path = %self.file.path().display(), %error, "no reserve for records");
            false
        });
        self.whole.store(whole, Ordering::Release);
        whole
    }

    /// What is under the lock is whole whatever a thread has died of.
    fn turn(&self) -> MutexGuard<'_, Option<Instant>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<S: Store> Store for Reserved<S> {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.with_room(|| self.store.get(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing> {
        self.with_room(|| self.store.list(prefix)).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Outcome> {
        self.with_room(|| self.store.commit(transaction.clone())).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        self.with_room(|| self.store.watch(prefix, from)).await
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId> {
        self.with_room(|| self.store.grant_lease(ttl)).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.with_room(|| self.store.keep_alive(lease)).await
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<()> {
        self.with_room(|| self.store.revoke_lease(lease)).await
    }

    async fn revision(&self) -> Result<Revision> {
        self.with_room(|| self.store.revision()).await
    }

    async fn compact(&self, oldest: Revision) -> Result<()> {
        self.with_room(|| self.store.compact(oldest)).await
    }
}

#[cfg(test)]
mod tests;
