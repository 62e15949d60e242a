//! Promises of stores that outlive their process.

use std::time::Duration;

use super::{Durable, assert_compacted, commit, delete, first, keys, next, put};
use crate::{Error, Revision, Transaction};

const TTL: Duration = Duration::from_secs(4);
const MOST: Duration = Duration::from_secs(3);
const PAST: Duration = Duration::from_secs(7);

pub async fn entries_and_history_survive_reopening(mut harness: impl Durable) {
    let before = {
        let store = harness.store();
        put(&*store, "a", "1").await;
        put(&*store, "b", "1").await;
        commit(&*store, Transaction::new().put("a", "2").delete("b")).await;
        store.list("").await.unwrap()
    };
    harness.reopen().await;
    let store = harness.store();
    assert_eq!(store.list("").await.unwrap(), before);
    assert_eq!(store.revision().await.unwrap(), before.revision);
    let mut watch = store.watch("", Revision(0)).await.unwrap();
    for (events, revision) in [(1, before.revision.0 - 2), (1, before.revision.0 - 1), (2, before.revision.0)] {
        let batch = next(&mut watch).await.unwrap();
        assert_eq!((batch.len(), batch[0].revision), (events, Revision(revision)));
    }
    assert_eq!(put(&*store, "a", "3").await, before.revision.next());
    assert_eq!(next(&mut watch).await.unwrap()[0].revision, before.revision.next());
}

pub async fn leases_start_anew_after_reopening(mut harness: impl Durable) {
    let lease = {
        let store = harness.store();
        let lease = store.grant_lease(TTL).await.unwrap();
        let transaction = Transaction::new().put_with_lease("a", "1", lease);
        commit(&*store, transaction).await;
        lease
    };
    harness.pass(MOST).await;
    harness.reopen().await;
    harness.pass(MOST).await;
    let store = harness.store();
    assert_eq!(keys(&*store, "").await, ["a"]);
    store.keep_alive(lease).await.unwrap();
    harness.pass(PAST).await;
    assert_eq!(keys(&*store, "").await, [""; 0]);
    assert!(store.keep_alive(lease).await.is_err());
}

pub async fn leases_are_not_given_out_again_after_reopening(mut harness: impl Durable) {
    let first = harness.store().grant_lease(TTL).await.unwrap();
    harness.store().revoke_lease(first).await.unwrap();
    harness.reopen().await;
    assert_ne!(harness.store().grant_lease(TTL).await.unwrap(), first);
}

pub async fn revoked_leases_stay_ended_after_reopening(mut harness: impl Durable) {
    let lease = harness.store().grant_lease(TTL).await.unwrap();
    harness.store().revoke_lease(lease).await.unwrap();
    harness.reopen().await;
    match harness.store().keep_alive(lease).await {
        Err(Error::LeaseNotFound { lease: refused }) => assert_eq!(refused, lease),
        other => panic!("{other:?}"),
    }
}

pub async fn the_compaction_survives_reopening(mut harness: impl Durable) {
    let (early, oldest, before) = {
        let store = harness.store();
        let early = put(&*store, "a", "1").await;
        put(&*store, "a", "2").await;
        put(&*store, "b", "1").await;
        let oldest = delete(&*store, "b").await;
        store.compact(oldest).await.unwrap();
        (early, oldest, store.list("").await.unwrap())
    };
    harness.reopen().await;
    let store = harness.store();
    assert_compacted(first(&*store, "", early).await, oldest);
    assert_eq!(first(&*store, "", oldest).await.unwrap().len(), 1);
    assert_eq!(store.list("").await.unwrap(), before);
}
