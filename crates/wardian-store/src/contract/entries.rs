//! Promises about entries and listings.

use super::{Harness, commit, delete, entry, keys, put};
use crate::{Error, MAX_VALUE_BYTES, Revision, Transaction};

pub async fn an_empty_store_lists_nothing(harness: impl Harness) {
    let store = harness.store();
    let listing = store.list("").await.unwrap();
    assert!(listing.entries.is_empty());
    assert!(listing.revision >= Revision(1));
    assert_eq!(store.revision().await.unwrap(), listing.revision);
}

pub async fn an_absent_key_has_no_entry(harness: impl Harness) {
    let store = harness.store();
    put(&*store, "a/b", "1").await;
    for absent in ["a", "a/b/c", "b"] {
        assert_eq!(store.get(absent).await.unwrap(), None);
    }
}

pub async fn a_put_is_read_back_with_its_revisions(harness: impl Harness) {
    let store = harness.store();
    let revision = put(&*store, "a", "1").await;
    let read = entry(&*store, "a").await;
    assert_eq!((read.key.as_str(), read.value.as_slice()), ("a", b"1".as_slice()));
    assert_eq!((read.create_revision, read.mod_revision), (revision, revision));
    assert_eq!((read.version, read.lease), (1, None));
    assert_eq!(store.list("").await.unwrap().entries, [read]);
}

pub async fn putting_again_keeps_the_creation_and_counts_versions(harness: impl Harness) {
    let store = harness.store();
    let created = put(&*store, "a", "1").await;
    put(&*store, "b", "1").await;
    put(&*store, "a", "2").await;
    let changed = put(&*store, "a", "3").await;
    let read = entry(&*store, "a").await;
    assert_eq!((read.create_revision, read.mod_revision, read.version), (created, changed, 3));
    assert_eq!(read.value, b"3");
}

pub async fn a_recreated_key_starts_over(harness: impl Harness) {
    let store = harness.store();
    put(&*store, "a", "1").await;
    put(&*store, "a", "2").await;
    delete(&*store, "a").await;
    assert_eq!(store.get("a").await.unwrap(), None);
    let created = put(&*store, "a", "3").await;
    let read = entry(&*store, "a").await;
    assert_eq!((read.create_revision, read.mod_revision, read.version), (created, created, 1));
}

pub async fn a_listing_is_sorted_by_bytes(harness: impl Harness) {
    let store = harness.store();
    for key in ["b", "a/b", "a", "A", "a-b", "a0", "~", "a/a/a"] {
        put(&*store, key, "").await;
    }
    let expected = ["A", "a", "a-b", "a/a/a", "a/b", "a0", "b", "~"];
    assert_eq!(keys(&*store, "").await, expected);
}

pub async fn a_listing_compares_texts_not_segments(harness: impl Harness) {
    let store = harness.store();
    for key in ["a", "a/1", "a/2/3", "ab", "a%", "a_", "b"] {
        put(&*store, key, "").await;
    }
    assert_eq!(keys(&*store, "a/").await, ["a/1", "a/2/3"]);
    assert_eq!(keys(&*store, "a").await, ["a", "a%", "a/1", "a/2/3", "a_", "ab"]);
    assert_eq!(keys(&*store, "a/1").await, ["a/1"]);
    assert_eq!(keys(&*store, "c").await, [""; 0]);
}

pub async fn a_listing_tells_the_revision_it_was_read_at(harness: impl Harness) {
    let store = harness.store();
    for _ in 0..3 {
        let revision = put(&*store, "a", "").await;
        assert_eq!(store.list("").await.unwrap().revision, revision);
        assert_eq!(store.list("elsewhere/").await.unwrap().revision, revision);
        assert_eq!(store.revision().await.unwrap(), revision);
    }
}

pub async fn values_are_any_bytes_up_to_one_mebibyte(harness: impl Harness) {
    let store = harness.store();
    let every_byte: Vec<u8> = (0..=255).collect();
    for value in [vec![], vec![0], every_byte, vec![0xff; MAX_VALUE_BYTES]] {
        commit(&*store, Transaction::new().put("a", value.clone())).await;
        assert!(entry(&*store, "a").await.value == value);
    }
}

pub async fn values_above_one_mebibyte_are_refused(harness: impl Harness) {
    let store = harness.store();
    let revision = store.revision().await.unwrap();
    let result = store.commit(Transaction::new().put("a/key", vec![0; MAX_VALUE_BYTES + 1])).await;
    match result {
        Err(Error::ValueTooLarge { key, bytes, limit }) => {
            assert_eq!((key.as_str(), bytes, limit), ("a/key", MAX_VALUE_BYTES + 1, MAX_VALUE_BYTES));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.revision().await.unwrap(), revision);
}

pub async fn texts_that_are_no_keys_are_refused_everywhere(harness: impl Harness) {
    let store = harness.store();
    let too_long = "k".repeat(513);
    for bad in ["", "/", "/a", "a/", "a//b", "\u{e4}", "a\n", too_long.as_str()] {
        let refused = |result: Option<Error>| {
            assert!(matches!(result, Some(Error::InvalidKey { .. })), "{bad:?}: {result:?}");
        };
        refused(store.get(bad).await.err());
        for transaction in [
            Transaction::new().absent(bad),
            Transaction::new().present(bad),
            Transaction::new().unchanged(bad, Revision(1)),
            Transaction::new().value_equals(bad, ""),
            Transaction::new().put(bad, ""),
            Transaction::new().delete(bad),
        ] {
            refused(store.commit(transaction).await.err());
        }
    }
    for bad in ["\u{e4}", "a\n", too_long.as_str()] {
        let refused = |result: Option<Error>| {
            assert!(matches!(result, Some(Error::InvalidKey { .. })), "{bad:?}: {result:?}");
        };
        refused(store.list(bad).await.err());
        refused(store.watch(bad, Revision(1)).await.err());
        let transaction = Transaction::new().delete_prefix(bad);
        refused(store.commit(transaction).await.err());
    }
}
