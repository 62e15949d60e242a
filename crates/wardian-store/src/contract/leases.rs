//! Promises about leases.

use std::time::Duration;

use super::{Harness, commit, delete, entry, keys, put, told};
use crate::{Error, LeaseId, MAX_TTL, Outcome, Transaction};

/// Long enough for engines that count in seconds, short enough for those that really sleep.
const TTL: Duration = Duration::from_secs(4);
const HALF: Duration = Duration::from_secs(2);
/// Longer than any engine may round up to.
const PAST: Duration = Duration::from_secs(7);

fn with_lease(key: &str, lease: LeaseId) -> Transaction {
    Transaction::new().put_with_lease(key, "1", lease)
}

fn assert_not_found<T: std::fmt::Debug>(result: crate::Result<T>, expected: LeaseId) {
    match result {
        Err(Error::LeaseNotFound { lease }) => assert_eq!(lease, expected),
        other => panic!("{other:?}"),
    }
}

pub async fn an_expired_lease_removes_its_keys(harness: impl Harness) {
    let store = harness.store();
    let lease = store.grant_lease(TTL).await.unwrap();
    commit(&*store, with_lease("a", lease)).await;
    put(&*store, "b", "1").await;
    assert_eq!(entry(&*store, "a").await.lease, Some(lease));
    harness.pass(HALF).await;
    assert_eq!(keys(&*store, "").await, ["a", "b"]);
    harness.pass(PAST).await;
    assert_eq!(store.get("a").await.unwrap(), None);
    assert_eq!(keys(&*store, "").await, ["b"]);
}

pub async fn a_watch_hears_of_an_expiry_nobody_asked_for(harness: impl Harness) {
    let store = harness.store();
    let lease = store.grant_lease(TTL).await.unwrap();
    let transaction = with_lease("b", lease).put_with_lease("a", "1", lease);
    let put = commit(&*store, transaction).await;
    let mut watch = store.watch("", put.next()).await.unwrap();
    let waiting = tokio::spawn(async move { told(&mut watch).await });
    harness.pass(PAST).await;
    let expected = ["a", "b"].map(|key| format!("{} {key}", put.next()));
    assert_eq!(waiting.await.unwrap(), expected);
    assert_eq!(store.revision().await.unwrap(), put.next());
}

pub async fn revoking_a_lease_deletes_its_keys_at_one_revision(harness: impl Harness) {
    let store = harness.store();
    let lease = store.grant_lease(TTL).await.unwrap();
    for key in ["c", "a", "b/1"] {
        commit(&*store, with_lease(key, lease)).await;
    }
    let before = put(&*store, "b", "1").await;
    store.revoke_lease(lease).await.unwrap();
    assert_eq!(keys(&*store, "").await, ["b"]);
    assert_eq!(store.revision().await.unwrap(), before.next());
    let mut watch = store.watch("", before.next()).await.unwrap();
    let expected = ["a", "b/1", "c"].map(|key| format!("{} {key}", before.next()));
    assert_eq!(told(&mut watch).await, expected);
}

pub async fn revoking_an_ended_lease_is_fine(harness: impl Harness) {
    let store = harness.store();
    let lease = store.grant_lease(TTL).await.unwrap();
    commit(&*store, with_lease("a", lease)).await;
    store.revoke_lease(lease).await.unwrap();
    let revision = store.revision().await.unwrap();
    store.revoke_lease(lease).await.unwrap();
    let expired = store.grant_lease(TTL).await.unwrap();
    harness.pass(PAST).await;
    store.revoke_lease(expired).await.unwrap();
    store.revoke_lease(LeaseId(987_654_321)).await.unwrap();
    assert_eq!(store.revision().await.unwrap(), revision);
}

pub async fn a_kept_lease_gets_its_full_time_again(harness: impl Harness) {
    let store = harness.store();
    let lease = store.grant_lease(TTL).await.unwrap();
    commit(&*store, with_lease("a", lease)).await;
    for _ in 0..4 {
        harness.pass(HALF).await;
        store.keep_alive(lease).await.unwrap();
    }
    assert_eq!(keys(&*store, "").await, ["a"]);
    harness.pass(PAST).await;
    assert_eq!(keys(&*store, "").await, [""; 0]);
}

pub async fn an_ended_lease_cannot_be_kept(harness: impl Harness) {
    let store = harness.store();
    let revoked = store.grant_lease(TTL).await.unwrap();
    let expired = store.grant_lease(TTL).await.unwrap();
    store.revoke_lease(revoked).await.unwrap();
    harness.pass(PAST).await;
    for lease in [revoked, expired, LeaseId(987_654_321)] {
        assert_not_found(store.keep_alive(lease).await, lease);
    }
}

pub async fn a_put_with_an_ended_lease_is_refused_and_writes_nothing(harness: impl Harness) {
    let store = harness.store();
    let revoked = store.grant_lease(TTL).await.unwrap();
    let expired = store.grant_lease(TTL).await.unwrap();
    store.revoke_lease(revoked).await.unwrap();
    harness.pass(PAST).await;
    let revision = store.revision().await.unwrap();
    for lease in [revoked, expired, LeaseId(987_654_321)] {
        let transaction = Transaction::new().put("a", "1").put_with_lease("b", "1", lease);
        assert_not_found(store.commit(transaction).await, lease);
    }
    assert_eq!(keys(&*store, "").await, [""; 0]);
    assert_eq!(store.revision().await.unwrap(), revision);
}

pub async fn a_conflict_comes_before_an_ended_lease(harness: impl Harness) {
    let store = harness.store();
    let transaction = with_lease("a", LeaseId(987_654_321)).present("a");
    assert_eq!(store.commit(transaction).await.unwrap(), Outcome::Conflict { observed: vec![("a".to_owned(), None)] });
}

pub async fn a_put_without_lease_detaches_the_key(harness: impl Harness) {
    let store = harness.store();
    let lease = store.grant_lease(TTL).await.unwrap();
    commit(&*store, with_lease("a", lease)).await;
    commit(&*store, with_lease("b", lease)).await;
    put(&*store, "a", "2").await;
    assert_eq!(entry(&*store, "a").await.lease, None);
    store.revoke_lease(lease).await.unwrap();
    assert_eq!(keys(&*store, "").await, ["a"]);
}

pub async fn a_put_with_another_lease_moves_the_key(harness: impl Harness) {
    let store = harness.store();
    let first = store.grant_lease(TTL).await.unwrap();
    let second = store.grant_lease(TTL).await.unwrap();
    commit(&*store, with_lease("a", first)).await;
    commit(&*store, with_lease("a", second)).await;
    store.revoke_lease(first).await.unwrap();
    assert_eq!(entry(&*store, "a").await.lease, Some(second));
    store.revoke_lease(second).await.unwrap();
    assert_eq!(keys(&*store, "").await, [""; 0]);
}

pub async fn a_deleted_key_is_forgotten_by_its_lease(harness: impl Harness) {
    let store = harness.store();
    let lease = store.grant_lease(TTL).await.unwrap();
    commit(&*store, with_lease("a", lease)).await;
    delete(&*store, "a").await;
    let recreated = put(&*store, "a", "2").await;
    store.revoke_lease(lease).await.unwrap();
    assert_eq!(entry(&*store, "a").await.mod_revision, recreated);
    assert_eq!(store.revision().await.unwrap(), recreated);
}

pub async fn a_lease_without_keys_comes_and_goes_unnoticed(harness: impl Harness) {
    let store = harness.store();
    let revision = store.revision().await.unwrap();
    let revoked = store.grant_lease(TTL).await.unwrap();
    store.grant_lease(TTL).await.unwrap();
    store.keep_alive(revoked).await.unwrap();
    store.revoke_lease(revoked).await.unwrap();
    harness.pass(PAST).await;
    assert_eq!(store.revision().await.unwrap(), revision);
}

pub async fn leases_differ(harness: impl Harness) {
    let store = harness.store();
    let first = store.grant_lease(TTL).await.unwrap();
    store.revoke_lease(first).await.unwrap();
    let second = store.grant_lease(TTL).await.unwrap();
    let third = store.grant_lease(TTL).await.unwrap();
    assert!(first != second && second != third && first != third);
    for lease in [first, second, third] {
        assert!(lease.0 > 0 && i64::try_from(lease.0).is_ok());
    }
}

pub async fn impossible_times_to_live_are_refused(harness: impl Harness) {
    let store = harness.store();
    for ttl in [Duration::ZERO, MAX_TTL + TTL, Duration::MAX] {
        match store.grant_lease(ttl).await {
            Err(Error::InvalidTtl { ttl: refused, .. }) => assert_eq!(refused, ttl),
            other => panic!("{other:?}"),
        }
    }
    store.grant_lease(MAX_TTL).await.unwrap();
}
