//! Random histories on all engines that keep records themselves, and on a model so simple that it is evidently right:
//! everything that can be seen is equal, at every step, with the SQLite store being closed and opened in between and
//! leases ending by a manual clock. (On etcd: `etcd`.)

mod etcd;
mod model;
mod steps;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;
use wardian_store::{Error, LeaseId, ManualClock, MemoryStore, Options, Revision, SqliteStore, Store, Transaction};

use self::model::Model;
use self::steps::{KEYS, PREFIXES, Step, config, drain, same, step};

/// The three, side by side.
struct Trio {
    model: Model,
    clock: ManualClock,
    history: u64,
    memory: MemoryStore,
    sqlite: Option<SqliteStore>,
    path: PathBuf,
    _folder: TempDir,
}

impl Trio {
    async fn new(history: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new();
        let mut trio = Self {
            model: Model::default(),
            memory: MemoryStore::with(options(&clock, history)),
            sqlite: None,
            path: folder.path().join("store.db"),
            clock,
            history,
            _folder: folder,
        };
        trio.open().await;
        trio
    }

    async fn open(&mut self) {
        let options = options(&self.clock, self.history);
        let opened = SqliteStore::open_with(&self.path, options).await;
        self.sqlite = Some(opened.unwrap());
    }

    fn engines(&self) -> [&dyn Store; 2] {
        [&self.memory, self.sqlite.as_ref().unwrap()]
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Commit(transaction) => self.commit(transaction).await,
            Step::Swap(key, back, value) => {
                let seen = self.model.entries.get(key).map_or(0, |entry| entry.mod_revision.0);
                let expected = Revision(seen.saturating_sub(back));
                let swap = Transaction::new().unchanged(key, expected).put(key, [value]);
                self.commit(swap).await;
            }
            Step::Grant(seconds) => {
                let ttl = Duration::from_secs(seconds);
                let expected = self.model.grant(ttl);
                for engine in self.engines() {
                    assert_eq!(engine.grant_lease(ttl).await.unwrap(), expected);
                }
            }
            Step::KeepAlive(lease) => {
                let expected = self.model.keep_alive(LeaseId(lease));
                for engine in self.engines() {
                    same(engine.keep_alive(LeaseId(lease)).await, expected.clone());
                }
            }
            Step::Revoke(lease) => {
                self.model.revoke(LeaseId(lease));
                for engine in self.engines() {
                    engine.revoke_lease(LeaseId(lease)).await.unwrap();
                }
            }
            Step::Pass(seconds) => {
                self.model.pass(Duration::from_secs(seconds));
                self.clock.advance(Duration::from_secs(seconds));
            }
            Step::Compact(back) => {
                let oldest = Revision(self.model.revision.0.saturating_sub(back));
                self.model.oldest = self.model.oldest.max(oldest);
                for engine in self.engines() {
                    engine.compact(oldest).await.unwrap();
                }
            }
            Step::Reopen => {
                self.sqlite = None;
                self.check_rows();
                self.open().await;
                // Reopening gives every lease its full time, which the others have to be told.
                for lease in self.model.keep_all_alive() {
                    self.memory.keep_alive(lease).await.unwrap();
                }
            }
        }
    }

    /// What no reader sees: compaction leaves nothing behind, and every entry has its event.
    fn check_rows(&self) {
        let file = rusqlite::Connection::open(&self.path).unwrap();
        let count = |sql: &str| -> i64 { file.query_row(sql, [], |row| row.get(0)).unwrap() };
        let forgotten = count(
            "SELECT count(*) FROM events, state WHERE id < oldest << 22
             AND id NOT IN (SELECT event FROM entries)",
        );
        let dangling = count(
            "SELECT count(*) FROM entries LEFT JOIN events ON event = id
             WHERE events.key IS NOT entries.key OR value IS NULL
             OR entries.lease IS NOT events.lease",
        );
        let orphaned = count(
            "SELECT count(*) FROM entries WHERE lease IS NOT NULL
             AND lease NOT IN (SELECT id FROM leases)",
        );
        assert_eq!((forgotten, dangling, orphaned), (0, 0, 0));
    }

    async fn commit(&mut self, transaction: Transaction) {
        let expected = self.model.commit(&transaction);
        for engine in self.engines() {
            same(engine.commit(transaction.clone()).await, expected.clone());
        }
    }

    async fn compare_entries(&self) {
        for engine in self.engines() {
            for prefix in PREFIXES {
                let listing = engine.list(prefix).await.unwrap();
                assert_eq!(listing.entries, self.model.list(prefix));
                assert_eq!(listing.revision, self.model.revision);
            }
            for key in KEYS {
                let entry = engine.get(key).await.unwrap();
                assert_eq!(entry.as_ref(), self.model.entries.get(key));
            }
            assert_eq!(engine.revision().await.unwrap(), self.model.revision);
        }
    }

    async fn compare_histories(&self) {
        // What an engine has to keep, whatever it compacts by itself.
        let kept = (self.model.revision.0 + 1).saturating_sub(self.history);
        let readable = self.model.oldest.max(Revision(kept));
        for engine in self.engines() {
            for prefix in PREFIXES {
                for from in [readable.0, (readable.0 + self.model.revision.0) / 2] {
                    let mut watch = engine.watch(prefix, Revision(from)).await.unwrap();
                    let expected = self.model.history(prefix, Revision(from));
                    assert_eq!(drain(&mut watch, expected.len()).await, expected);
                }
            }
            if self.model.oldest > Revision(1) {
                let too_early = Revision(self.model.oldest.0 - 1);
                match engine.watch("", too_early).await {
                    Err(Error::Compacted { oldest }) => assert!(oldest >= self.model.oldest),
                    _ => panic!("history before {} is there", self.model.oldest),
                }
            }
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn options(clock: &ManualClock, history: u64) -> Options {
    Options { clock: Arc::new(clock.clone()), history }
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn engines_and_model_agree_at_every_step(steps in vec(step(), 1..50)) {
        run(async {
            let mut trio = Trio::new(10_000).await;
            let mut live = trio.memory.watch("", Revision(0)).await.unwrap();
            let mut told = 0;
            for step in steps {
                trio.take(step).await;
                trio.compare_entries().await;
                // A watch that is read all the time is never overtaken by a compaction.
                let all = trio.model.history("", Revision(0));
                assert_eq!(drain(&mut live, all.len() - told).await, all[told..]);
                told = all.len();
            }
            trio.compare_histories().await;
            trio.take(Step::Reopen).await;
            trio.compare_entries().await;
            trio.compare_histories().await;
        });
    }

    #[test]
    fn engines_with_a_short_history_agree_with_the_model(steps in vec(step(), 30..60)) {
        run(async {
            let mut trio = Trio::new(6).await;
            for step in steps {
                trio.take(step).await;
                trio.compare_entries().await;
                trio.compare_histories().await;
            }
        });
    }
}
