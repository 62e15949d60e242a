//! From our words to etcd's, and back: keys, entries, transactions, events.

use std::collections::HashSet;
use std::time::Duration;

use super::wire::{
    Compare, CompareResult, CompareTarget, CompareWith, DeleteRangeRequest, EventType, KeyValue, PutRequest,
    RangeRequest, Request, RequestOp, TxnRequest, WatchEvent,
};
use crate::key::end_of;
use crate::record::{Entry, Event, EventKind, LeaseId, Revision};
use crate::transaction::{Condition, Transaction, Write};

/// Where our keys are among etcd's.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    /// What stands before each key, with a slash at its end.
    root: String,
}

impl Folder {
    pub(super) fn new(prefix: &str) -> Self {
        Self { root: format!("{prefix}/") }
    }

    pub(super) fn key(&self, key: &str) -> Vec<u8> {
        format!("{}{key}", self.root).into_bytes()
    }

    /// Begin and end of the keys that begin with `prefix`.
    pub(super) fn range(&self, prefix: &str) -> (Vec<u8>, Vec<u8>) {
        (self.key(prefix), self.key(&end_of(prefix)))
    }

    pub(super) fn get(&self, key: &str) -> RangeRequest {
        RangeRequest { key: self.key(key), ..RangeRequest::default() }
    }

    fn name(&self, key: &[u8]) -> String {
        String::from_utf8_lossy(key.strip_prefix(self.root.as_bytes()).unwrap_or(key)).into_owned()
    }

    pub(super) fn entry(&self, kv: KeyValue) -> Entry {
        Entry {
            key: self.name(&kv.key),
            create_revision: revision(kv.create_revision),
            mod_revision: revision(kv.mod_revision),
            version: kv.version.unsigned_abs(),
            lease: (kv.lease != 0).then_some(LeaseId(kv.lease.unsigned_abs())),
            value: kv.value,
        }
    }

    /// Nothing if it is empty, which etcd does not send.
    pub(super) fn event(&self, event: WatchEvent) -> Option<Event> {
        let kv = event.kv?;
        let (revision, deleted) = (revision(kv.mod_revision), event.kind == EventType::Delete as i32);
        let kind = if deleted { EventKind::Delete { key: self.name(&kv.key) } } else { EventKind::Put(self.entry(kv)) };
        Some(Event { revision, kind })
    }

    /// Writes if all conditions hold, else a look at what [`conflict_keys`] names.
    pub(super) fn transaction(&self, transaction: &Transaction) -> TxnRequest {
        let look = |key: &str| Request::Range(self.get(key));
        TxnRequest {
            compare: transaction.conditions().iter().map(|condition| self.compare(condition)).collect(),
            success: transaction.writes().iter().map(|write| operation(self.write(write))).collect(),
            failure: conflict_keys(transaction).into_iter().map(|key| operation(look(key))).collect(),
        }
    }

    fn compare(&self, condition: &Condition) -> Compare {
        let (result, target, with) = match condition {
            Condition::Absent { .. } => (CompareResult::Equal, CompareTarget::Create, CompareWith::CreateRevision(0)),
            Condition::Present { .. } => {
                (CompareResult::Greater, CompareTarget::Create, CompareWith::CreateRevision(0))
            }
            Condition::Unchanged { mod_revision, .. } => {
                (CompareResult::Equal, CompareTarget::Mod, CompareWith::ModRevision(number(mod_revision.0)))
            }
            Condition::ValueEquals { value, .. } => {
                (CompareResult::Equal, CompareTarget::Value, CompareWith::Value(value.clone()))
            }
        };
        Compare { result: result.into(), target: target.into(), key: self.key(condition.key()), with: Some(with) }
    }

    fn write(&self, write: &Write) -> Request {
        match write {
            Write::Put { key, value, lease } => Request::Put(PutRequest {
                key: self.key(key),
                value: value.clone(),
                lease: lease.map_or(0, lease_number),
            }),
            Write::Delete { key } => {
                Request::DeleteRange(DeleteRangeRequest { key: self.key(key), range_end: Vec::new() })
            }
            Write::DeletePrefix { prefix } => {
                let (key, range_end) = self.range(prefix);
                Request::DeleteRange(DeleteRangeRequest { key, range_end })
            }
        }
    }
}

fn operation(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

/// The keys of the conditions, each once, in their order.
pub(super) fn conflict_keys(transaction: &Transaction) -> Vec<&str> {
    let mut seen = HashSet::new();
    transaction.conditions().iter().map(Condition::key).filter(|key| seen.insert(*key)).collect()
}

/// The leases of the puts, each once, in their order.
pub(super) fn leases(transaction: &Transaction) -> Vec<LeaseId> {
    let mut seen = HashSet::new();
    let named = transaction.writes().iter().filter_map(|write| match write {
        Write::Put { lease, .. } => *lease,
        Write::Delete { .. } | Write::DeletePrefix { .. } => None,
    });
    named.filter(|lease| seen.insert(*lease)).collect()
}

/// Whether the transaction can happen but once, whoever does what meanwhile: it changes a key on the condition that its
/// last change was one certain revision, and no revision comes twice.
pub(super) fn happens_once(transaction: &Transaction) -> bool {
    transaction.conditions().iter().any(|condition| {
        let Condition::Unchanged { key, mod_revision } = condition else { return false };
        *mod_revision > Revision(0)
            && transaction.writes().iter().any(|write| match write {
                Write::Put { key: changed, .. } | Write::Delete { key: changed } => changed == key,
                Write::DeletePrefix { prefix } => key.starts_with(prefix),
            })
    })
}

pub(super) fn revision(number: i64) -> Revision {
    Revision(number.max(0).unsigned_abs())
}

/// As etcd writes it. No revision is as high as the highest number.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As etcd writes it. What can't be a lease becomes one that is not there: 0 would mean that none is wanted.
pub(super) fn lease_number(lease: LeaseId) -> i64 {
    if lease.0 == 0 { i64::MAX } else { number(lease.0) }
}

/// Whole seconds, rounded up.
pub(super) fn seconds(ttl: Duration) -> i64 {
    number(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_holds_exactly_its_keys() {
        let folder = Folder::new("wardian");
        let (begin, end) = folder.range("");
        let inside = |key: &[u8]| begin.as_slice() <= key && key < end.as_slice();
        assert!(inside(b"wardian/a") && inside(b"wardian/~~"));
        assert!(!inside(b"wardian") && !inside(b"wardian0/a") && !inside(b"wardian-b/a"));
        assert_eq!(folder.name(b"wardian/a/b"), "a/b");
    }

    #[test]
    fn only_what_is_bound_to_a_revision_happens_once() {
        let at = |revision| Transaction::new().unchanged("a", Revision(revision));
        assert!(happens_once(&at(7).put("a", "1")));
        assert!(happens_once(&at(7).put("b", "1").delete("a")));
        assert!(happens_once(&at(7).delete_prefix("")));
        // Others may delete it, and then it could be made a second time.
        assert!(!happens_once(&at(0).put("a", "1")));
        assert!(!happens_once(&Transaction::new().absent("a").put("a", "1")));
        assert!(!happens_once(&Transaction::new().value_equals("a", "0").put("a", "1")));
        assert!(!happens_once(&at(7).put("b", "1")));
        assert!(!happens_once(&Transaction::new()));
    }

    #[test]
    fn times_to_live_are_rounded_up_to_seconds() {
        for (ttl, expected) in [(1, 1), (999, 1), (1000, 1), (1001, 2), (4000, 4)] {
            assert_eq!(seconds(Duration::from_millis(ttl)), expected);
        }
    }

    #[test]
    fn no_lease_of_ours_reads_as_none_of_etcds() {
        assert_ne!(lease_number(LeaseId(0)), 0);
        assert_eq!(lease_number(LeaseId(7)), 7);
        assert_eq!(lease_number(LeaseId(u64::MAX)), i64::MAX);
    }
}
