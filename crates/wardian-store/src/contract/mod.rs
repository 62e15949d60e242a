//! The contract as tests: each function states one promise and panics when an engine breaks it.
//!
//! [`store_contract!`](crate::store_contract) and [`durable_store_contract!`](crate::durable_store_contract) make a
//! `#[tokio::test]` of each, so that the name of a test shows engine and promise. An engine brings a [`Harness`]. The
//! tests ask for no more than the contract says: where engines may differ, they accept either.

pub mod durable;
pub mod entries;
pub mod leases;
pub mod transactions;
pub mod watches;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Entry, Error, Event, EventKind, Outcome, Result, Revision, Store, Transaction, Watch};

/// A fresh, empty store of some engine, for one test.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;
    /// Lets time pass for the store's leases: turns a manual clock, or sleeps.
    async fn pass(&self, time: Duration);
}

/// A harness whose store can be closed and opened again.
#[async_trait]
pub trait Durable: Harness {
    /// Closes the store and opens it again. Nobody else holds it.
    async fn reopen(&mut self);
}

/// Makes a module `$engine` with a test for every promise. `$open` is the absolute path of an async function that
/// returns a [`Harness`](crate::contract::Harness).
#[macro_export]
macro_rules! store_contract {
    ($engine:ident, $open:path) => {
        $crate::__contract_tests! { $engine, $open;
            entries {
                an_empty_store_lists_nothing
                an_absent_key_has_no_entry
                a_put_is_read_back_with_its_revisions
                putting_again_keeps_the_creation_and_counts_versions
                a_recreated_key_starts_over
                a_listing_is_sorted_by_bytes
                a_listing_compares_texts_not_segments
                a_listing_tells_the_revision_it_was_read_at
                values_are_any_bytes_up_to_one_mebibyte
                values_above_one_mebibyte_are_refused
                texts_that_are_no_keys_are_refused_everywhere
            }
            transactions {
                each_change_raises_the_revision_by_one
                a_transaction_that_changes_nothing_leaves_the_revision
                putting_the_same_value_is_a_change
                all_writes_of_a_transaction_share_its_revision
                a_conflict_writes_nothing_and_shows_what_is_there
                each_condition_holds_exactly_when_it_should
                conditions_look_at_the_state_before_the_writes
                a_key_put_twice_is_refused
                a_key_both_put_and_deleted_is_refused
                deletes_may_overlap
                a_deleted_prefix_takes_exactly_its_keys
                a_hundred_and_twenty_eight_operations_fit_and_no_more
                a_transaction_above_its_size_limit_is_refused
                increments_by_compare_and_swap_lose_nothing
            }
            watches {
                a_watch_starts_with_the_revision_it_names
                a_watch_from_revision_zero_sees_everything
                a_watch_from_the_future_waits_for_it
                a_watch_sees_only_its_prefix
                a_transaction_arrives_as_one_batch_in_the_order_written
                even_a_large_transaction_arrives_whole
                listing_then_watching_misses_nothing
                a_slow_watch_loses_nothing
                dropping_a_pending_next_loses_nothing
                watches_beside_one_another_see_the_same
                a_watch_from_before_the_compaction_is_told_where_it_can_start
                a_watch_from_the_compacted_revision_misses_nothing
                a_watch_overtaken_by_compaction_is_told_or_misses_nothing
                compaction_leaves_entries_and_revision_alone
                entries_older_than_the_compaction_can_be_changed
                compacting_again_is_fine_and_compacting_the_future_is_not
            }
            leases {
                an_expired_lease_removes_its_keys
                a_watch_hears_of_an_expiry_nobody_asked_for
                revoking_a_lease_deletes_its_keys_at_one_revision
                revoking_an_ended_lease_is_fine
                a_kept_lease_gets_its_full_time_again
                an_ended_lease_cannot_be_kept
                a_put_with_an_ended_lease_is_refused_and_writes_nothing
                a_conflict_comes_before_an_ended_lease
                a_put_without_lease_detaches_the_key
                a_put_with_another_lease_moves_the_key
                a_deleted_key_is_forgotten_by_its_lease
                a_lease_without_keys_comes_and_goes_unnoticed
                leases_differ
                impossible_times_to_live_are_refused
            }
        }
    };
}

/// Like [`store_contract!`](crate::store_contract), for what a store that outlives its process promises besides.
/// `$open` returns a [`Durable`](crate::contract::Durable).
#[macro_export]
macro_rules! durable_store_contract {
    ($engine:ident, $open:path) => {
        $crate::__contract_tests! { $engine, $open;
            durable {
                entries_and_history_survive_reopening
                leases_start_anew_after_reopening
                leases_are_not_given_out_again_after_reopening
                revoked_leases_stay_ended_after_reopening
                the_compaction_survives_reopening
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __contract_tests {
    ($engine:ident, $open:path; $($part:ident { $($promise:ident)* })*) => {
        mod $engine {
            $(mod $part {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $promise() {
                        $crate::contract::$part::$promise($open().await).await;
                    }
                )*
            })*
        }
    };
}

/// How long a promise may take to come true before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a test listens before it believes that nothing comes.
const SILENCE: Duration = Duration::from_millis(30);

fn committed(outcome: Outcome) -> Revision {
    match outcome {
        Outcome::Committed(revision) => revision,
        Outcome::Conflict { observed } => panic!("conflict: {observed:?}"),
    }
}

async fn commit(store: &dyn Store, transaction: Transaction) -> Revision {
    committed(store.commit(transaction).await.unwrap())
}

async fn put(store: &dyn Store, key: &str, value: &str) -> Revision {
    commit(store, Transaction::new().put(key, value)).await
}

async fn delete(store: &dyn Store, key: &str) -> Revision {
    commit(store, Transaction::new().delete(key)).await
}

async fn entry(store: &dyn Store, key: &str) -> Entry {
    let entry = store.get(key).await.unwrap();
    entry.unwrap_or_else(|| panic!("no entry {key}"))
}

async fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    let listing = store.list(prefix).await.unwrap();
    listing.entries.into_iter().map(|entry| entry.key).collect()
}

async fn next(watch: &mut Watch) -> Result<Vec<Event>> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("the watch yields nothing")
}

/// The next batch as texts: `"7 a=1"` for a put, `"8 a"` for a delete.
async fn told(watch: &mut Watch) -> Vec<String> {
    next(watch).await.unwrap().iter().map(text).collect()
}

fn text(event: &Event) -> String {
    match &event.kind {
        EventKind::Put(entry) => {
            assert_eq!(entry.mod_revision, event.revision);
            let value = String::from_utf8_lossy(&entry.value);
            format!("{} {}={value}", event.revision, entry.key)
        }
        EventKind::Delete { key } => format!("{} {key}", event.revision),
    }
}

async fn silent(watch: &mut Watch) {
    if let Ok(batch) = tokio::time::timeout(SILENCE, watch.next()).await {
        panic!("unexpected {batch:?}");
    }
}

/// Starts a watch and reads its first batch: what is told in either step is fine.
async fn first(store: &dyn Store, prefix: &str, from: Revision) -> Result<Vec<Event>> {
    let mut watch = store.watch(prefix, from).await?;
    next(&mut watch).await
}

fn assert_compacted<T: std::fmt::Debug>(result: Result<T>, expected: Revision) {
    match result {
        Err(Error::Compacted { oldest }) => assert_eq!(oldest, expected),
        other => panic!("not compacted: {other:?}"),
    }
}
