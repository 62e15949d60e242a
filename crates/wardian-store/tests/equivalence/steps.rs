//! Random histories: the steps they are made of, and how what engines answer is compared with what the model says.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;
use wardian_store::{Condition, Error, Event, LeaseId, Revision, Transaction, Watch, Write};

pub(crate) const KEYS: [&str; 6] = ["a", "a/1", "a/2", "ab", "b/x", "b/x/y"];
pub(crate) const PREFIXES: [&str; 5] = ["", "a", "a/", "b/x", "zz"];

#[derive(Debug, Clone)]
pub(crate) enum Step {
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

pub(crate) fn step() -> impl Strategy<Value = Step> {
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

/// Reads as many batches as expected, and makes sure that there are no more.
pub(crate) async fn drain(watch: &mut Watch, expected: usize) -> Vec<Vec<Event>> {
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

/// Equal answers or equal errors.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(real: Result<T, Error>, expected: Result<T, Error>) {
    match (real, expected) {
        (Ok(real), Ok(expected)) => assert_eq!(real, expected),
        (Err(real), Err(expected)) => assert_eq!(real.to_string(), expected.to_string()),
        (real, expected) => panic!("{real:?} instead of {expected:?}"),
    }
}

pub(crate) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}
