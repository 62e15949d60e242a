//! Random histories on all engines and on a model so simple that it is evidently right: everything that can be seen is
//! equal, at every step, with the SQLite store being closed and opened in between and leases ending by a manual clock.

mod model;

use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;
use tempfile::TempDir;
use wardian_store::{
    Condition, Error, Event, LeaseId, ManualClock, MemoryStore, Options, Revision, SqliteStore, Store, Transaction,
    Watch, Write,
};

use self::model::Model;

const KEYS: [&str; 6] = ["a", "a/1", "a/2", "ab", "b/x", "b/x/y"];
const PREFIXES: [&str; 5] = ["", "a", "a/", "b/x", "zz"];

#[derive(Debug, Clone)]
enum Step {
    Commit(Transaction),
    /// Puts a key on the condition that it is as it was at its last change but so many.
    Swap(&'static str, u64, u8),
    Grant(u64),
    KeepAlive(u64),
    Revoke(u64),
    Pass(u64),
    /// Compacts to so many revisions before the current one.
    Compact(u64),
    Reopen,
}

fn lease() -> impl Strategy<Value = LeaseId> {
    (1u64..5).prop_map(LeaseId)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    select(vec![vec![], vec![0], vec![1], vec![7; 5000]])
}

fn key() -> impl Strategy<Value = String> {
    select(&KEYS[..]).prop_map(str::to_owned)
}

fn prefix() -> impl Strategy<Value = String> {
    select(&PREFIXES[..]).prop_map(str::to_owned)
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        key().prop_map(|key| Condition::Absent { key }),
        key().prop_map(|key| Condition::Present { key }),
        (key(), 0u64..12).prop_map(|(key, revision)| Condition::Unchanged { key, mod_revision: Revision(revision) }),
        (key(), value()).prop_map(|(key, value)| Condition::ValueEquals { key, value }),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        6 => (key(), value(), proptest::option::weighted(0.4, lease()))
            .prop_map(|(key, value, lease)| Write::Put { key, value, lease }),
        2 => key().prop_map(|key| Write::Delete { key }),
        1 => prefix().prop_map(|prefix| Write::DeletePrefix { prefix }),
    ]
}

fn transaction() -> impl Strategy<Value = Transaction> {
    // Few conditions and many writes, or hardly anything would ever be committed.
    let conditions = prop_oneof![3 => vec(condition(), 0..1), 1 => vec(condition(), 1..3)];
    (conditions, vec(write(), 0..4)).prop_map(|(conditions, writes)| {
        let transaction = conditions.into_iter().fold(Transaction::new(), Transaction::condition);
        writes.into_iter().fold(transaction, Transaction::write)
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => transaction().prop_map(Step::Commit),
        3 => (select(&KEYS[..]), 0u64..2, 0u8..3)
            .prop_map(|(key, back, value)| Step::Swap(key, back, value)),
        3 => (1u64..9).prop_map(Step::Grant),
        1 => (1u64..6).prop_map(Step::KeepAlive),
        1 => (1u64..6).prop_map(Step::Revoke),
        2 => (0u64..6).prop_map(Step::Pass),
        1 => (0u64..9).prop_map(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

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

/// Reads as many batches as expected, and makes sure that there are no more.
async fn drain(watch: &mut Watch, expected: usize) -> Vec<Vec<Event>> {
    let mut batches = Vec::new();
    while batches.len() < expected {
        let batch = tokio::time::timeout(Duration::from_secs(10), watch.next()).await;
        batches.push(batch.expect("a batch is missing").unwrap());
    }
    // One look is enough: what a watch has read already it yields at once, and these are no more than a page.
    let mut more = std::pin::pin!(watch.next());
    let mut context = Context::from_waker(Waker::noop());
    if let Poll::Ready(more) = more.as_mut().poll(&mut context) {
        panic!("unexpected {more:?}");
    }
    batches
}

fn options(clock: &ManualClock, history: u64) -> Options {
    Options { clock: Arc::new(clock.clone()), history }
}

/// Equal answers or equal errors.
fn same<T: PartialEq + std::fmt::Debug>(real: Result<T, Error>, expected: Result<T, Error>) {
    match (real, expected) {
        (Ok(real), Ok(expected)) => assert_eq!(real, expected),
        (Err(real), Err(expected)) => assert_eq!(real.to_string(), expected.to_string()),
        (real, expected) => panic!("{real:?} instead of {expected:?}"),
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
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
