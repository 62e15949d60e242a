//! Random histories on a real etcd and on the model: everything that can be seen is equal, at every step, with etcd
//! being stopped and started in between. Leases are granted for long and only end by revocation; time is the contract's
//! part.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use wardian_store::{
    Entry, Error, EtcdConfig, EtcdStore, Event, EventKind, LeaseId, Outcome, Result, Revision, Store, Transaction,
    Watch, Write,
};
use wardian_testkit::etcd::Etcd;

use crate::model::Model;
use crate::steps::{KEYS, PREFIXES, Step, config, drain, same, step};

const LONG: Duration = Duration::from_secs(3600);

/// The two, side by side.
struct Pair {
    model: Model,
    store: EtcdStore,
    /// etcd's name of each lease the model has granted, in that order.
    leases: Vec<LeaseId>,
    server: Etcd,
}

impl Pair {
    async fn new() -> Self {
        let server = Etcd::start();
        let store = EtcdStore::open(EtcdConfig::new([server.endpoint()])).await.unwrap();
        Self { model: Model::default(), store, leases: Vec::new(), server }
    }

    /// What etcd calls a lease of the model. One that was never granted is not there under its own name either.
    fn real(&self, lease: LeaseId) -> LeaseId {
        self.leases.get(lease.0 as usize - 1).copied().unwrap_or(lease)
    }

    /// And back.
    fn modelled(&self, lease: LeaseId) -> LeaseId {
        let granted = self.leases.iter().position(|real| *real == lease);
        granted.map_or(lease, |index| LeaseId(index as u64 + 1))
    }

    fn entry(&self, entry: Entry) -> Entry {
        Entry { lease: entry.lease.map(|lease| self.modelled(lease)), ..entry }
    }

    fn error(&self, error: Error) -> Error {
        match error {
            Error::LeaseNotFound { lease } => Error::LeaseNotFound { lease: self.modelled(lease) },
            other => other,
        }
    }

    fn batches(&self, batches: Vec<Vec<Event>>) -> Vec<Vec<Event>> {
        let event = |event: Event| match event.kind {
            EventKind::Put(entry) => Event { kind: EventKind::Put(self.entry(entry)), ..event },
            EventKind::Delete { .. } => event,
        };
        batches.into_iter().map(|batch| batch.into_iter().map(event).collect()).collect()
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Commit(transaction) => self.commit(transaction).await,
            Step::Swap(key, back, value) => {
                let seen = self.model.entries.get(key).map_or(0, |entry| entry.mod_revision.0);
                let expected = Revision(seen.saturating_sub(back));
                self.commit(Transaction::new().unchanged(key, expected).put(key, [value])).await;
            }
            Step::Grant(_) => {
                self.model.grant(LONG);
                self.leases.push(self.store.grant_lease(LONG).await.unwrap());
            }
            Step::KeepAlive(lease) => {
                let expected = self.model.keep_alive(LeaseId(lease));
                let kept = self.store.keep_alive(self.real(LeaseId(lease))).await;
                same(kept.map_err(|error| self.error(error)), expected);
            }
            Step::Revoke(lease) => {
                self.model.revoke(LeaseId(lease));
                self.store.revoke_lease(self.real(LeaseId(lease))).await.unwrap();
            }
            Step::Pass(_) => {}
            Step::Compact(back) => {
                let oldest = Revision(self.model.revision.0.saturating_sub(back));
                self.model.oldest = self.model.oldest.max(oldest);
                self.store.compact(oldest).await.unwrap();
            }
            Step::Reopen => {
                self.server.stop();
                self.server.start_again();
                // A read is tried until it is answered, so whatever follows has a connection.
                self.store.revision().await.unwrap();
            }
        }
    }

    async fn commit(&mut self, transaction: Transaction) {
        let expected = self.model.commit(&transaction);
        let real = transaction.conditions().iter().cloned().fold(Transaction::new(), Transaction::condition);
        let real = transaction.writes().iter().cloned().fold(real, |real, write| {
            real.write(match write {
                Write::Put { key, value, lease } => {
                    Write::Put { key, value, lease: lease.map(|lease| self.real(lease)) }
                }
                other => other,
            })
        });
        let outcome: Result<Outcome> = match self.store.commit(real).await {
            Ok(Outcome::Conflict { observed }) => {
                let observed = observed.into_iter().map(|(key, entry)| (key, entry.map(|entry| self.entry(entry))));
                Ok(Outcome::Conflict { observed: observed.collect() })
            }
            Ok(committed) => Ok(committed),
            Err(error) => Err(self.error(error)),
        };
        same(outcome, expected);
    }

    async fn compare_entries(&self) {
        for prefix in PREFIXES {
            let listing = self.store.list(prefix).await.unwrap();
            let entries: Vec<_> = listing.entries.into_iter().map(|entry| self.entry(entry)).collect();
            assert_eq!((entries, listing.revision), (self.model.list(prefix), self.model.revision));
        }
        for key in KEYS {
            let entry = self.store.get(key).await.unwrap().map(|entry| self.entry(entry));
            assert_eq!(entry.as_ref(), self.model.entries.get(key));
        }
        assert_eq!(self.store.revision().await.unwrap(), self.model.revision);
    }

    async fn compare_histories(&self) {
        let readable = self.model.oldest;
        for prefix in PREFIXES {
            for from in [readable.0, (readable.0 + self.model.revision.0) / 2] {
                let mut watch = self.store.watch(prefix, Revision(from)).await.unwrap();
                self.compare(&mut watch, self.model.history(prefix, Revision(from))).await;
            }
        }
        // etcd does not tell a compaction to revision 1 from none; nothing has happened at that revision.
        if self.model.oldest > Revision(2) {
            let mut watch = self.store.watch("", Revision(self.model.oldest.0 - 1)).await.unwrap();
            match watch.next().await {
                Err(Error::Compacted { oldest }) => assert_eq!(oldest, self.model.oldest),
                other => panic!("history before {} is there: {other:?}", self.model.oldest),
            }
        }
    }

    async fn compare(&self, watch: &mut Watch, expected: Vec<Vec<Event>>) {
        assert_eq!(self.batches(drain(watch, expected.len()).await), expected);
    }
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn etcd_and_model_agree_at_every_step(steps in vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new().await;
            let mut live = pair.store.watch("", Revision(0)).await.unwrap();
            let mut told = 0;
            for step in steps {
                pair.take(step).await;
                pair.compare_entries().await;
                let all = pair.model.history("", Revision(0));
                pair.compare(&mut live, all[told..].to_vec()).await;
                told = all.len();
            }
            pair.compare_histories().await;
        });
    }
}
