//! A store that can be cut off, made slow to hear, or slow to answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::watch;
use wardian_store::{
    Entry, Error, Event, LeaseId, Listing, Outcome, Result, Revision, Store, Transaction, Watch, WatchSource,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// All is well.
    Open,
    /// Requests pass, and nothing is heard of what others do.
    Deaf,
    /// Requests fail at once, and nothing happens.
    Fails,
    /// Requests arrive once the way is open again.
    Hears,
    /// Requests arrive, and their answers do once the way is open again.
    Answers,
}

pub(crate) struct Faulty {
    store: Arc<dyn Store>,
    way: watch::Receiver<Way>,
    /// How many transactions it takes before the way fails for good.
    takes: AtomicUsize,
}

impl Faulty {
    /// A store that takes so many transactions and fails from then on.
    pub(crate) fn breaking(store: Arc<dyn Store>, takes: usize) -> Self {
        Self { store, way: watch::channel(Way::Open).1, takes: AtomicUsize::new(takes) }
    }

    pub(crate) fn between(store: Arc<dyn Store>) -> (Arc<dyn Store>, watch::Sender<Way>) {
        let (sender, way) = watch::channel(Way::Open);
        (Arc::new(Self { store, way, takes: AtomicUsize::new(usize::MAX) }), sender)
    }

    async fn open(&self) {
        let _ = self.way.clone().wait_for(|way| matches!(way, Way::Open | Way::Deaf)).await;
    }

    async fn pass<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        // On a way others come along.
        tokio::task::yield_now().await;
        let way = *self.way.borrow();
        match way {
            Way::Open | Way::Deaf => request.await,
            Way::Fails => Err(unreachable()),
            Way::Hears => {
                self.open().await;
                request.await
            }
            Way::Answers => {
                let answer = request.await;
                self.open().await;
                answer
            }
        }
    }
}

fn unreachable() -> Error {
    Error::Unreachable { endpoints: "nowhere".to_owned(), source: Arc::new(std::fmt::Error) }
}

#[async_trait]
impl Store for Faulty {
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.pass(self.store.get(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing> {
        self.pass(self.store.list(prefix)).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Outcome> {
        let taken = self.takes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.map_err(|_| unreachable())?;
        self.pass(self.store.commit(transaction)).await
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        let inner = self.pass(self.store.watch(prefix, from)).await?;
        Ok(Watch::new(FaultyWatch { inner, way: self.way.clone(), ready: None }))
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId> {
        self.pass(self.store.grant_lease(ttl)).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.pass(self.store.keep_alive(lease)).await
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<()> {
        self.pass(self.store.revoke_lease(lease)).await
    }

    async fn revision(&self) -> Result<Revision> {
        self.pass(self.store.revision()).await
    }

    async fn compact(&self, oldest: Revision) -> Result<()> {
        self.pass(self.store.compact(oldest)).await
    }
}

/// Hands nothing on while the way is not open.
struct FaultyWatch {
    inner: Watch,
    way: watch::Receiver<Way>,
    ready: Option<Vec<Event>>,
}

#[async_trait]
impl WatchSource for FaultyWatch {
    async fn next(&mut self) -> Result<Vec<Event>> {
        if self.ready.is_none() {
            self.ready = Some(self.inner.next().await?);
        }
        let _ = self.way.wait_for(|way| *way == Way::Open).await;
        Ok(self.ready.take().unwrap_or_default())
    }
}
