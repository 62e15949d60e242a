//! Promises about transactions.

use super::{Harness, commit, delete, entry, keys, put};
use crate::{Error, MAX_OPERATIONS, MAX_TRANSACTION_BYTES, MAX_VALUE_BYTES, Outcome, Revision, Store, Transaction};

pub async fn each_change_raises_the_revision_by_one(harness: impl Harness) {
    let store = harness.store();
    let start = store.revision().await.unwrap();
    assert_eq!(put(&*store, "a", "1").await, start.next());
    let both = Transaction::new().put("b", "1").put("c", "1");
    assert_eq!(commit(&*store, both).await, start.next().next());
    assert_eq!(delete(&*store, "a").await, start.next().next().next());
    assert_eq!(store.revision().await.unwrap(), start.next().next().next());
}

pub async fn a_transaction_that_changes_nothing_leaves_the_revision(harness: impl Harness) {
    let store = harness.store();
    let start = put(&*store, "a", "1").await;
    for nothing in [
        Transaction::new(),
        Transaction::new().present("a"),
        Transaction::new().delete("b"),
        Transaction::new().delete_prefix("b/"),
    ] {
        assert_eq!(commit(&*store, nothing).await, start);
    }
    assert_eq!(store.revision().await.unwrap(), start);
}

pub async fn putting_the_same_value_is_a_change(harness: impl Harness) {
    let store = harness.store();
    let first = put(&*store, "a", "1").await;
    assert_eq!(put(&*store, "a", "1").await, first.next());
    assert_eq!(entry(&*store, "a").await.version, 2);
}

pub async fn all_writes_of_a_transaction_share_its_revision(harness: impl Harness) {
    let store = harness.store();
    put(&*store, "c", "1").await;
    let transaction = Transaction::new().put("b", "1").delete("c").put("a", "1");
    let revision = commit(&*store, transaction).await;
    let listing = store.list("").await.unwrap();
    assert_eq!(listing.entries.len(), 2);
    for entry in listing.entries {
        assert_eq!((entry.create_revision, entry.mod_revision), (revision, revision));
    }
}

pub async fn a_conflict_writes_nothing_and_shows_what_is_there(harness: impl Harness) {
    let store = harness.store();
    put(&*store, "b", "1").await;
    let revision = put(&*store, "a", "2").await;
    let transaction = Transaction::new()
        .present("b")
        .absent("c")
        .value_equals("a", "1")
        .unchanged("b", Revision(0))
        .put("d", "1")
        .delete("b");
    let expected = vec![
        ("b".to_owned(), Some(entry(&*store, "b").await)),
        ("c".to_owned(), None),
        ("a".to_owned(), Some(entry(&*store, "a").await)),
    ];
    assert_eq!(store.commit(transaction).await.unwrap(), Outcome::Conflict { observed: expected });
    assert_eq!(keys(&*store, "").await, ["a", "b"]);
    assert_eq!(store.revision().await.unwrap(), revision);
}

pub async fn each_condition_holds_exactly_when_it_should(harness: impl Harness) {
    let store = harness.store();
    put(&*store, "a", "old").await;
    let revision = put(&*store, "a", "1").await;
    put(&*store, "empty", "").await;
    put(&*store, "gone", "1").await;
    delete(&*store, "gone").await;
    let only = Transaction::new;
    for (condition, expected) in [
        (only().absent("a"), false),
        (only().absent("b"), true),
        (only().absent("gone"), true),
        (only().absent("empty"), false),
        (only().present("a"), true),
        (only().present("b"), false),
        (only().present("gone"), false),
        (only().present("empty"), true),
        (only().unchanged("a", revision), true),
        (only().unchanged("a", revision.next()), false),
        (only().unchanged("a", Revision(revision.0 - 1)), false),
        (only().unchanged("a", Revision(0)), false),
        (only().unchanged("b", Revision(0)), true),
        (only().unchanged("gone", Revision(0)), true),
        (only().unchanged("b", revision), false),
        (only().value_equals("a", "1"), true),
        (only().value_equals("a", "old"), false),
        (only().value_equals("a", ""), false),
        (only().value_equals("empty", ""), true),
        (only().value_equals("b", ""), false),
        (only().present("a").absent("b"), true),
        (only().present("a").absent("a"), false),
        (only(), true),
    ] {
        let outcome = store.commit(condition.clone()).await.unwrap();
        assert_eq!(outcome.committed().is_some(), expected, "{condition:?}");
    }
}

pub async fn conditions_look_at_the_state_before_the_writes(harness: impl Harness) {
    let store = harness.store();
    commit(&*store, Transaction::new().absent("a").put("a", "1")).await;
    let swap = Transaction::new().value_equals("a", "1").put("a", "2");
    commit(&*store, swap.clone()).await;
    assert_eq!(store.commit(swap).await.unwrap().committed(), None);
    commit(&*store, Transaction::new().present("a").delete("a")).await;
}

pub async fn a_key_put_twice_is_refused(harness: impl Harness) {
    let store = harness.store();
    let twice = Transaction::new().put("a", "1").put("b", "1").put("a", "2");
    refused_as_written_twice(&*store, twice, "a").await;
}

pub async fn a_key_both_put_and_deleted_is_refused(harness: impl Harness) {
    let store = harness.store();
    put(&*store, "a/b", "0").await;
    let start = Transaction::new;
    for transaction in [
        start().put("a/b", "1").delete("a/b"),
        start().delete("a/b").put("a/b", "1"),
        start().put("a/b", "1").delete_prefix("a/"),
        start().delete_prefix("").put("a/b", "1"),
    ] {
        refused_as_written_twice(&*store, transaction, "a/b").await;
    }
    assert_eq!(entry(&*store, "a/b").await.value, b"0");
    let beside = start().put("a", "1").delete_prefix("a/");
    commit(&*store, beside).await;
    assert_eq!(keys(&*store, "").await, ["a"]);
}

async fn refused_as_written_twice(store: &dyn Store, transaction: Transaction, expected: &str) {
    match store.commit(transaction).await {
        Err(Error::WrittenTwice { key }) => assert_eq!(key, expected),
        other => panic!("{other:?}"),
    }
}

pub async fn deletes_may_overlap(harness: impl Harness) {
    let store = harness.store();
    for key in ["a/1", "a/2", "b"] {
        put(&*store, key, "").await;
    }
    let before = store.revision().await.unwrap();
    let transaction = Transaction::new().delete("a/2").delete("a/2").delete_prefix("a/").delete_prefix("a");
    assert_eq!(commit(&*store, transaction).await, before.next());
    assert_eq!(keys(&*store, "").await, ["b"]);
}

pub async fn a_deleted_prefix_takes_exactly_its_keys(harness: impl Harness) {
    let store = harness.store();
    for key in ["a", "a/1", "a/2/3", "a0", "a~", "b"] {
        put(&*store, key, "").await;
    }
    commit(&*store, Transaction::new().delete_prefix("a/")).await;
    assert_eq!(keys(&*store, "").await, ["a", "a0", "a~", "b"]);
    commit(&*store, Transaction::new().delete_prefix("a")).await;
    assert_eq!(keys(&*store, "").await, ["b"]);
    commit(&*store, Transaction::new().delete_prefix("")).await;
    assert_eq!(keys(&*store, "").await, [""; 0]);
}

pub async fn a_hundred_and_twenty_eight_operations_fit_and_no_more(harness: impl Harness) {
    let store = harness.store();
    let with = |conditions: usize, writes: usize| {
        let checked = (0..conditions)
            .fold(Transaction::new(), |transaction, number| transaction.absent(format!("absent/{number}")));
        (0..writes).fold(checked, |transaction, number| transaction.put(format!("put/{number}"), ""))
    };
    assert_eq!(MAX_OPERATIONS, 128);
    commit(&*store, with(128, 128)).await;
    assert_eq!(keys(&*store, "put/").await.len(), 128);
    for (too_many, expected) in [(with(129, 1), "conditions"), (with(1, 129), "writes")] {
        match store.commit(too_many).await {
            Err(Error::TooManyOperations { what, count, limit }) => {
                assert_eq!((what, count, limit), (expected, 129, 128));
            }
            other => panic!("{other:?}"),
        }
    }
}

pub async fn a_transaction_above_its_size_limit_is_refused(harness: impl Harness) {
    let store = harness.store();
    let rest = MAX_TRANSACTION_BYTES - MAX_VALUE_BYTES - 2;
    let fits = Transaction::new().put("a", vec![1; MAX_VALUE_BYTES]).put("b", vec![2; rest]);
    commit(&*store, fits).await;
    let exceeds = Transaction::new().put("a", vec![1; MAX_VALUE_BYTES]).value_equals("b", vec![2; rest + 1]);
    match store.commit(exceeds).await {
        Err(Error::TransactionTooLarge { bytes, limit }) => {
            assert_eq!((bytes, limit), (MAX_TRANSACTION_BYTES + 1, MAX_TRANSACTION_BYTES));
        }
        other => panic!("{other:?}"),
    }
}

pub async fn increments_by_compare_and_swap_lose_nothing(harness: impl Harness) {
    const TASKS: u64 = 16;
    const INCREMENTS: u64 = 12;
    let store = harness.store();
    let start = put(&*store, "counter", "0").await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let store = harness.store();
            tokio::spawn(async move {
                let mut won = Vec::new();
                let mut seen = entry(&*store, "counter").await;
                while won.len() < INCREMENTS as usize {
                    let value: u64 = std::str::from_utf8(&seen.value).unwrap().parse().unwrap();
                    let swap = Transaction::new()
                        .unchanged("counter", seen.mod_revision)
                        .put("counter", (value + 1).to_string());
                    match store.commit(swap).await.unwrap() {
                        Outcome::Committed(revision) => {
                            won.push(revision);
                            seen = entry(&*store, "counter").await;
                        }
                        Outcome::Conflict { mut observed } => {
                            seen = observed.remove(0).1.unwrap();
                        }
                    }
                }
                won
            })
        })
        .collect();
    let mut won = Vec::new();
    for task in tasks {
        won.extend(task.await.unwrap());
    }
    won.sort_unstable();
    let expected: Vec<_> = (1..=TASKS * INCREMENTS).map(|step| Revision(start.0 + step)).collect();
    assert_eq!(won, expected);
    let counter = entry(&*store, "counter").await;
    assert_eq!(counter.value, (TASKS * INCREMENTS).to_string().as_bytes());
    assert_eq!(counter.version, TASKS * INCREMENTS + 1);
}
