//! Durable records: keys with values, compared and swapped in transactions, watched from any revision, and tied to
//! leases.
//!
//! The store is where everything in Wardian meets, and it knows nothing of any of it: keys are texts, values are bytes.
//! Everybody holds an `Arc<dyn Store>`. Behind it is [`MemoryStore`], [`SqliteStore`] or [`EtcdStore`]; the contract
//! below is etcd's (v3 API), so that the engine on etcd is a translation and no more. `contract` has every promise as a
//! test, for any engine.
//!
//! # The contract, and what it is in etcd
//!
//! | promise | etcd |
//! |---|---|
//! | A **key** is printable ASCII, at most 512 bytes, of non-empty segments with `/` between them. A **prefix** is the beginning of a text: `a` begins `ab`; write `a/` for a folder. | `range_end` is the prefix with DEL (0x7f) behind it, which sorts behind every key of the prefix |
//! | A **value** has at most 1 MiB, a **transaction** at most 128 conditions, 128 writes, and 1.25 MiB of keys and values together. | `--max-txn-ops=128`, `--max-request-bytes=1.5 MiB`, the defaults |
//! | The **revision** is the store's, starts at 1, and grows by one with each transaction that changes something: also when the same value is put again, not when there was nothing to delete, not by leases being granted or kept. | `header.revision`. Where others write to the same etcd it also grows by their changes |
//! | An **entry** has the revision that created it, the one that last put it, and a count of puts since the creation. Deleting ends all three. | `create_revision`, `mod_revision`, `version` of `KeyValue` |
//! | [`get`](Store::get) and [`list`](Store::list) see everything acknowledged before they were called, and one revision. A listing is sorted by bytes. | `Range`, linearizable (the default); the listing's revision is `header.revision` |
//! | [`commit`](Store::commit): all conditions are judged on the state before, then all writes happen, or none. | `Txn` with `compare` and `success` |
//! | `absent`, `present`: | `CREATE` `EQUAL` / `GREATER` 0 |
//! | `unchanged`: the key was last put at that revision, 0 if it is absent. | `MOD` `EQUAL` |
//! | `value_equals`: the key exists and has that value. | `VALUE` `EQUAL`; an absent key never equals |
//! | A conflict shows what the conditions' keys have, at the moment of the conflict. | a `Range` of each key in `failure` |
//! | A key is put at most once, and not deleted too, in one transaction. Deletes may overlap. | `ErrDuplicateKey`; the same rule |
//! | [`watch`](Store::watch) yields every change of its prefix from a revision on (included), in order, without gaps; all changes of one transaction at once, in the order of its writes, those of a prefix by key. | `Watch` with `start_revision`. 0 means "from now" there, so the engine sends at least 1. Responses are cut by revision; without `fragment` no revision is split. After a lost connection it starts again behind the last revision it has seen. It starts one revision early and skips that one (see `compact`) |
//! | A delete event has the key and the revision, no value. | `DELETE` with `kv.key` and `kv.mod_revision` |
//! | A slow watch loses nothing, and costs the store nothing. It may be overtaken by compaction; then it says [`Compacted`](Error::Compacted), and where it could start. | `canceled` with `compact_revision`, which is one less |
//! | [`compact(r)`](Store::compact) forgets the history before `r`; a watch can start at `r`. | `Compact` of `r - 1`, because older etcds forget the deletions of the revision they compact to (etcd's issue 18089); `ErrCompacted` (it has been done) is success |
//! | A **lease** lives at least as long as granted and as kept alive. When it ends, by revocation or time, its keys are deleted, sorted, at one revision. | `LeaseGrant` with the time rounded up to seconds; `LeaseRevoke` |
//! | [`keep_alive`](Store::keep_alive) of an ended lease is [`LeaseNotFound`](Error::LeaseNotFound), | `LeaseKeepAlive` answers with a `TTL` of 0 |
//! | as is a put with it, which undoes its transaction; but a conflict comes first. | `ErrLeaseNotFound`, raised for the branch that is taken |
//! | [`revoke_lease`](Store::revoke_lease) of an ended lease succeeds: it is ended. | `ErrLeaseNotFound` is success |
//! | A put without lease detaches its key from the lease it had. | `lease` 0 in `PutRequest` |
//! | After a restart every lease has its full time again: nobody could keep it alive meanwhile. | as after a change of leader |
//! | Once acknowledged, a commit survives the process and a loss of power (but for [`MemoryStore`]). | the log is on the disks of a majority |
//! | [`Engine`](Error::Engine), [`Unreachable`](Error::Unreachable) and [`NoQuorum`](Error::NoQuorum) from a commit leave open whether it happened. Conditions make trying again safe. | a time-out, and a connection that is lost meanwhile |
//!
//! # In this crate
//!
//! `store` is the interface, `record` and `transaction` are its types, [`typed`] puts JSON on top. Two engines keep the
//! records themselves: `memory` and `sqlite`. For both, `plan` decides what a transaction does, `watch` pages through a
//! history, and `lease` knows which leases live and when they end, by a [`Clock`] that tests can turn. How commits
//! become durable, and at what price, is argued in `sqlite/file.rs` and `sqlite/writer.rs`. `reserved` goes around an
//! engine and lets it write when the disk is full. The third engine, `etcd`, has all of that done by etcd: it
//! translates, finds a member that answers, and says clearly when there is none.

#![forbid(unsafe_code)]

mod clock;
#[doc(hidden)]
#[allow(missing_docs, reason = "the names of the promises say it all")]
pub mod contract;
mod error;
mod etcd;
mod key;
mod lease;
mod memory;
mod plan;
mod record;
mod reserved;
mod sqlite;
mod store;
mod transaction;
pub mod typed;
mod watch;

pub use clock::{Clock, ManualClock, RealClock};
pub use error::{Cause, CertificateFault, Error, Result};
pub use etcd::{EtcdConfig, EtcdIdentity, EtcdStore, EtcdTls};
pub use key::{
    MAX_KEY_BYTES, MAX_OPERATIONS, MAX_TRANSACTION_BYTES, MAX_TTL, MAX_VALUE_BYTES, check_key, check_prefix,
};
pub use memory::MemoryStore;
pub use record::{Entry, Event, EventKind, LeaseId, Listing, Revision};
pub use reserved::Reserved;
pub use sqlite::SqliteStore;
pub use store::{DEFAULT_HISTORY, Options, Store};
pub use transaction::{Condition, Outcome, Transaction, Write};
pub use watch::{Watch, WatchSource};
