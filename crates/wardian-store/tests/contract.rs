//! The contract, promise by promise, on each engine.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use wardian_store::contract::{Durable, Harness};
use wardian_store::{EtcdConfig, EtcdStore, ManualClock, MemoryStore, Options, Reserved, SqliteStore, Store};
use wardian_testkit::etcd::Etcd;

struct InMemory {
    store: Arc<MemoryStore>,
    clock: ManualClock,
}

#[async_trait]
impl Harness for InMemory {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

async fn open_memory() -> InMemory {
    let clock = ManualClock::new();
    InMemory { store: Arc::new(MemoryStore::with(options(&clock))), clock }
}

struct InReserve {
    store: Arc<Reserved<MemoryStore>>,
    clock: ManualClock,
    _folder: TempDir,
}

#[async_trait]
impl Harness for InReserve {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

async fn open_reserved() -> InReserve {
    let (clock, folder) = (ManualClock::new(), tempfile::tempdir().unwrap());
    let open = async || Ok(MemoryStore::with(options(&clock)));
    let store = Arc::new(Reserved::open(folder.path().join("reserve"), open).await.unwrap());
    InReserve { store, clock, _folder: folder }
}

struct InFile {
    store: Option<Arc<SqliteStore>>,
    clock: ManualClock,
    path: PathBuf,
    // After the store, which has to be closed before its folder is deleted.
    _folder: TempDir,
}

impl InFile {
    async fn open(&self) -> Arc<SqliteStore> {
        let store = SqliteStore::open_with(&self.path, options(&self.clock)).await;
        Arc::new(store.unwrap())
    }
}

#[async_trait]
impl Harness for InFile {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone().unwrap()
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

#[async_trait]
impl Durable for InFile {
    async fn reopen(&mut self) {
        let store = self.store.take().unwrap();
        Arc::into_inner(store).expect("somebody still holds the store");
        self.store = Some(self.open().await);
    }
}

async fn open_sqlite() -> InFile {
    let folder = tempfile::tempdir().unwrap();
    let mut harness =
        InFile { store: None, clock: ManualClock::new(), path: folder.path().join("store.db"), _folder: folder };
    harness.store = Some(harness.open().await);
    harness
}

/// An etcd of its own for each test: some promises are about its revision.
struct InEtcd {
    store: Option<Arc<EtcdStore>>,
    server: Etcd,
}

impl InEtcd {
    async fn open(&self) -> Arc<EtcdStore> {
        Arc::new(EtcdStore::open(EtcdConfig::new([self.server.endpoint()])).await.unwrap())
    }
}

#[async_trait]
impl Harness for InEtcd {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone().unwrap()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[async_trait]
impl Durable for InEtcd {
    async fn reopen(&mut self) {
        let store = self.store.take().unwrap();
        Arc::into_inner(store).expect("somebody still holds the store");
        self.server.stop();
        self.server.start_again();
        self.store = Some(self.open().await);
    }
}

async fn open_etcd() -> InEtcd {
    let mut harness = InEtcd { store: None, server: Etcd::start() };
    harness.store = Some(harness.open().await);
    harness
}

fn options(clock: &ManualClock) -> Options {
    Options { clock: Arc::new(clock.clone()), ..Options::default() }
}

wardian_store::store_contract!(memory, crate::open_memory);
wardian_store::store_contract!(sqlite, crate::open_sqlite);
wardian_store::store_contract!(reserved, crate::open_reserved);
wardian_store::store_contract!(etcd, crate::open_etcd);
wardian_store::durable_store_contract!(sqlite_durable, crate::open_sqlite);
wardian_store::durable_store_contract!(etcd_durable, crate::open_etcd);

#[test]
fn every_promise_is_made_a_test() {
    let list = include_str!("../src/contract/mod.rs");
    let parts = [
        include_str!("../src/contract/entries.rs"),
        include_str!("../src/contract/transactions.rs"),
        include_str!("../src/contract/watches.rs"),
        include_str!("../src/contract/leases.rs"),
        include_str!("../src/contract/durable.rs"),
    ];
    let promises: Vec<_> = parts
        .iter()
        .flat_map(|part| part.lines())
        .filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next())
        .collect();
    assert!(promises.len() > 50);
    for promise in promises {
        let listed = list.lines().filter(|line| line.trim() == promise).count();
        assert_eq!(listed, 1, "{promise} is not in the list");
    }
}
