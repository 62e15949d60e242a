//! The interface all engines implement. What its operations promise is written in the crate's documentation.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::{Clock, RealClock};
use crate::error::Result;
use crate::record::{Entry, LeaseId, Listing, Revision};
use crate::transaction::{Outcome, Transaction};
use crate::watch::Watch;

/// Records with revisions, transactions, watches and leases.
///
/// Callers hold it as `Arc<dyn Store>`. Dropping the future of an operation does not take the operation back: a
/// commit may still happen.
#[async_trait]
pub trait Store: Send + Sync {
    /// The entry of `key`.
    async fn get(&self, key: &str) -> Result<Option<Entry>>;

    /// All entries whose keys begin with `prefix`, as of one revision. Texts are compared, not segments: end
    /// the prefix with `/` to list a folder.
    async fn list(&self, prefix: &str) -> Result<Listing>;

    /// Makes all writes if all conditions hold, else none. Once this answers `Committed` the writes survive a
    /// loss of power (in engines that keep anything at all).
    ///
    /// # Errors
    /// Those of [`Transaction::check`]; [`LeaseNotFound`](crate::Error::LeaseNotFound) when the conditions
    /// hold but a put names a lease that is gone. Nothing is written then.
    async fn commit(&self, transaction: Transaction) -> Result<Outcome>;

    /// All changes of keys that begin with `prefix`, from revision `from` (included) on, past and future.
    /// Revisions 0 and 1 are before all changes; one in the future is waited for.
    ///
    /// # Errors
    /// [`Compacted`](crate::Error::Compacted) when the history from there is gone; an engine may tell this here or
    /// at the first [`Watch::next`].
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch>;

    /// A new lease that ends when `ttl` passes without [`keep_alive`](Self::keep_alive). Engines may round up,
    /// to whole seconds for instance, and never down.
    ///
    /// # Errors
    /// [`InvalidTtl`](crate::Error::InvalidTtl) for zero and beyond [`MAX_TTL`](crate::MAX_TTL).
    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId>;

    /// Gives the lease its full time to live again.
    ///
    /// # Errors
    /// [`LeaseNotFound`](crate::Error::LeaseNotFound) once it has ended; its keys are gone then.
    async fn keep_alive(&self, lease: LeaseId) -> Result<()>;

    /// Ends the lease and deletes its keys, all at one revision. Fine if it has ended already.
    async fn revoke_lease(&self, lease: LeaseId) -> Result<()>;

    /// The store's revision.
    async fn revision(&self) -> Result<Revision>;

    /// Forgets the history before `oldest`, which becomes the oldest revision a watch can start from. Entries
    /// are untouched. Fine if that history is gone already.
    ///
    /// # Errors
    /// [`FutureRevision`](crate::Error::FutureRevision) when the store has not reached `oldest` yet.
    async fn compact(&self, oldest: Revision) -> Result<()>;
}

/// How many revisions of history an engine keeps unless told otherwise.
pub const DEFAULT_HISTORY: u64 = 10_000;

/// What the engines in this crate can be told when they are opened.
#[derive(Clone)]
pub struct Options {
    /// Where leases take their time from.
    pub clock: Arc<dyn Clock>,
    /// How many of the last revisions stay readable by watches, at least. Older ones are compacted away now
    /// and then. Not below 1.
    pub history: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: Arc::new(RealClock::new()), history: DEFAULT_HISTORY }
    }
}
