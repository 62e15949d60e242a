//! Promises about watches and compaction.

use std::time::Duration;

use super::{Harness, assert_compacted, commit, delete, entry, first, keys, next, put, silent, text, told};
use crate::{Error, EventKind, Revision, Transaction};

pub async fn a_watch_starts_with_the_revision_it_names(harness: impl Harness) {
    let store = harness.store();
    put(&*store, "a", "1").await;
    let second = put(&*store, "a", "2").await;
    let third = delete(&*store, "a").await;
    let mut watch = store.watch("", second).await.unwrap();
    assert_eq!(told(&mut watch).await, [format!("{second} a=2")]);
    assert_eq!(told(&mut watch).await, [format!("{third} a")]);
    silent(&mut watch).await;
    let fourth = put(&*store, "a", "4").await;
    let batch = next(&mut watch).await.unwrap();
    assert_eq!(batch.len(), 1);
    assert_eq!(batch[0].revision, fourth);
    assert_eq!(batch[0].kind, EventKind::Put(entry(&*store, "a").await));
}

pub async fn a_watch_from_revision_zero_sees_everything(harness: impl Harness) {
    let store = harness.store();
    let revision = put(&*store, "a", "1").await;
    for from in [Revision(0), Revision(1)] {
        let mut watch = store.watch("", from).await.unwrap();
        assert_eq!(told(&mut watch).await, [format!("{revision} a=1")]);
    }
}

pub async fn a_watch_from_the_future_waits_for_it(harness: impl Harness) {
    let store = harness.store();
    let now = put(&*store, "a", "1").await;
    let mut watch = store.watch("", Revision(now.0 + 3)).await.unwrap();
    put(&*store, "a", "2").await;
    put(&*store, "a", "3").await;
    silent(&mut watch).await;
    let fourth = put(&*store, "a", "4").await;
    assert_eq!(told(&mut watch).await, [format!("{fourth} a=4")]);
}

pub async fn a_watch_sees_only_its_prefix(harness: impl Harness) {
    let store = harness.store();
    let start = store.revision().await.unwrap().next();
    let mut watch = store.watch("a/", start).await.unwrap();
    for key in ["a", "a0", "b", "A/1"] {
        put(&*store, key, "").await;
    }
    silent(&mut watch).await;
    let both = Transaction::new().put("b", "2").put("a/1", "2").put("c", "2");
    let revision = commit(&*store, both).await;
    assert_eq!(told(&mut watch).await, [format!("{revision} a/1=2")]);
    let revision = commit(&*store, Transaction::new().delete_prefix("")).await;
    assert_eq!(told(&mut watch).await, [format!("{revision} a/1")]);
}

pub async fn a_transaction_arrives_as_one_batch_in_the_order_written(harness: impl Harness) {
    let store = harness.store();
    for key in ["d/2", "d/1", "e"] {
        put(&*store, key, "").await;
    }
    let transaction = Transaction::new().put("z", "1").delete("e").delete_prefix("d/").put("a", "1");
    let revision = commit(&*store, transaction).await;
    let mut watch = store.watch("", revision).await.unwrap();
    let expected = ["z=1", "e", "d/1", "d/2", "a=1"].map(|event| format!("{revision} {event}"));
    assert_eq!(told(&mut watch).await, expected);
    silent(&mut watch).await;
}

pub async fn even_a_large_transaction_arrives_whole(harness: impl Harness) {
    let store = harness.store();
    let start = store.revision().await.unwrap().next();
    for part in 0..3 {
        let transaction = (0..128)
            .fold(Transaction::new(), |transaction, number| transaction.put(format!("k/{part}/{number:03}"), ""));
        commit(&*store, transaction).await;
    }
    commit(&*store, Transaction::new().delete_prefix("k/")).await;
    let mut watch = store.watch("k/", start).await.unwrap();
    for expected in [128, 128, 128, 384] {
        assert_eq!(next(&mut watch).await.unwrap().len(), expected);
    }
}

pub async fn listing_then_watching_misses_nothing(harness: impl Harness) {
    const CHANGES: u64 = 60;
    let store = harness.store();
    let writing = {
        let store = harness.store();
        tokio::spawn(async move {
            for number in 0..CHANGES {
                put(&*store, &format!("k/{number:04}"), "").await;
            }
        })
    };
    let mut seen = Vec::new();
    let mut from = Revision(0);
    while (seen.len() as u64) < CHANGES {
        // Start over again and again, as a controller does that loses its watch.
        let listing = store.list("k/").await.unwrap();
        assert!(listing.revision >= from);
        from = listing.revision;
        seen = listing.entries.into_iter().map(|entry| entry.key).collect();
        if (seen.len() as u64) < CHANGES {
            let mut watch = store.watch("k/", from.next()).await.unwrap();
            let batch = next(&mut watch).await.unwrap();
            seen.extend(batch.iter().map(|event| event.key().to_owned()));
        }
        let expected: Vec<_> = (0..seen.len()).map(|number| format!("k/{number:04}")).collect();
        assert_eq!(seen, expected);
    }
    writing.await.unwrap();
}

pub async fn a_slow_watch_loses_nothing(harness: impl Harness) {
    let store = harness.store();
    let start = store.revision().await.unwrap().next();
    let mut watch = store.watch("k/", start).await.unwrap();
    let mut expected = Vec::new();
    for number in 0..150 {
        let revision = put(&*store, &format!("k/{}", number % 7), &"v".repeat(number * 40)).await;
        expected.push(revision);
        if number % 10 == 0 {
            put(&*store, "elsewhere", "").await;
        }
    }
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        let batch = next(&mut watch).await.unwrap();
        assert_eq!(batch.len(), 1);
        seen.push(batch[0].revision);
    }
    assert_eq!(seen, expected);
}

pub async fn dropping_a_pending_next_loses_nothing(harness: impl Harness) {
    let store = harness.store();
    let start = store.revision().await.unwrap().next();
    let mut watch = store.watch("", start).await.unwrap();
    let writing = {
        let store = harness.store();
        tokio::spawn(async move {
            let mut revisions = Vec::new();
            for _ in 0..40 {
                revisions.push(put(&*store, "a", "").await);
            }
            revisions
        })
    };
    let mut seen = Vec::new();
    while seen.len() < 40 {
        let wait = Duration::from_micros(50 * (seen.len() as u64 % 9));
        if let Ok(batch) = tokio::time::timeout(wait, watch.next()).await {
            seen.push(batch.unwrap()[0].revision);
        }
    }
    assert_eq!(seen, writing.await.unwrap());
}

pub async fn watches_beside_one_another_see_the_same(harness: impl Harness) {
    let store = harness.store();
    let start = store.revision().await.unwrap().next();
    let watching: Vec<_> = (0..8)
        .map(|_| {
            let store = harness.store();
            tokio::spawn(async move {
                let mut watch = store.watch("", start).await.unwrap();
                let mut seen = Vec::new();
                while seen.len() < 30 {
                    seen.extend(next(&mut watch).await.unwrap().iter().map(text));
                }
                seen
            })
        })
        .collect();
    let mut expected = Vec::new();
    for number in 0..30 {
        let revision = put(&*store, "a", &number.to_string()).await;
        expected.push(format!("{revision} a={number}"));
    }
    for watch in watching {
        assert_eq!(watch.await.unwrap(), expected);
    }
}

pub async fn a_watch_from_before_the_compaction_is_told_where_it_can_start(harness: impl Harness) {
    let store = harness.store();
    let early = put(&*store, "a", "1").await;
    put(&*store, "a", "2").await;
    let oldest = put(&*store, "a", "3").await;
    store.compact(oldest).await.unwrap();
    for from in [Revision(0), Revision(1), early, early.next()] {
        assert_compacted(first(&*store, "", from).await, oldest);
        assert_compacted(first(&*store, "elsewhere/", from).await, oldest);
    }
}

pub async fn a_watch_from_the_compacted_revision_misses_nothing(harness: impl Harness) {
    let store = harness.store();
    put(&*store, "a", "1").await;
    put(&*store, "b", "1").await;
    put(&*store, "c", "1").await;
    let transaction = Transaction::new().put("a", "2").delete("b").delete("c");
    let oldest = commit(&*store, transaction).await;
    let later = put(&*store, "a", "3").await;
    store.compact(oldest).await.unwrap();
    let mut watch = store.watch("", oldest).await.unwrap();
    let expected = ["a=2", "b", "c"].map(|event| format!("{oldest} {event}"));
    assert_eq!(told(&mut watch).await, expected);
    assert_eq!(told(&mut watch).await, [format!("{later} a=3")]);
}

pub async fn a_watch_overtaken_by_compaction_is_told_or_misses_nothing(harness: impl Harness) {
    let store = harness.store();
    let start = store.revision().await.unwrap().next();
    let mut watch = store.watch("", start).await.unwrap();
    let mut last = start;
    for number in 0..100 {
        last = put(&*store, "a", &number.to_string()).await;
    }
    store.compact(last).await.unwrap();
    let mut expected = start;
    while expected <= last {
        match next(&mut watch).await {
            Ok(batch) => assert_eq!(batch[0].revision, expected),
            compacted => {
                assert_compacted(compacted, last);
                break;
            }
        }
        expected = expected.next();
    }
}

pub async fn compaction_leaves_entries_and_revision_alone(harness: impl Harness) {
    let store = harness.store();
    for key in ["a", "b", "a", "c", "a"] {
        put(&*store, key, "1").await;
    }
    delete(&*store, "c").await;
    let before = store.list("").await.unwrap();
    store.compact(before.revision).await.unwrap();
    assert_eq!(store.list("").await.unwrap(), before);
    assert_eq!(entry(&*store, "a").await.version, 3);
}

pub async fn entries_older_than_the_compaction_can_be_changed(harness: impl Harness) {
    let store = harness.store();
    let created = put(&*store, "a", "1").await;
    put(&*store, "b", "1").await;
    let now = put(&*store, "c", "1").await;
    store.compact(now).await.unwrap();
    let put_again = put(&*store, "a", "2").await;
    let deleted = delete(&*store, "b").await;
    let read = entry(&*store, "a").await;
    assert_eq!((read.create_revision, read.version), (created, 2));
    assert_eq!(keys(&*store, "").await, ["a", "c"]);
    let mut watch = store.watch("", now).await.unwrap();
    assert_eq!(told(&mut watch).await, [format!("{now} c=1")]);
    assert_eq!(told(&mut watch).await, [format!("{put_again} a=2")]);
    assert_eq!(told(&mut watch).await, [format!("{deleted} b")]);
}

pub async fn compacting_again_is_fine_and_compacting_the_future_is_not(harness: impl Harness) {
    let store = harness.store();
    let early = put(&*store, "a", "1").await;
    let current = put(&*store, "a", "2").await;
    for oldest in [Revision(0), current, current, early] {
        store.compact(oldest).await.unwrap();
    }
    assert_compacted(first(&*store, "", early).await, current);
    match store.compact(current.next()).await {
        Err(Error::FutureRevision { asked, current: at }) => {
            assert_eq!((asked, at), (current.next(), current));
        }
        other => panic!("{other:?}"),
    }
}
