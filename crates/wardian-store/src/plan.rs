//! What a transaction does, decided without touching anything: the rules all engines of this crate share.
//!
//! An engine lends its entries for reading and gets back the events to apply, or the conflict to report. Storing
//! them is its own business.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::record::{Entry, Event, EventKind, LeaseId, Revision};
use crate::transaction::{Transaction, Write};

/// The state a transaction meets.
pub(crate) trait Records {
    /// The entry of a key.
    fn get(&self, key: &str) -> Result<Option<Entry>>;
    /// The keys that begin with a prefix, sorted.
    fn keys(&self, prefix: &str) -> Result<Vec<String>>;
    /// Whether a lease lives.
    fn has_lease(&self, lease: LeaseId) -> bool;
}

/// What a transaction comes to.
#[derive(Debug)]
pub(crate) enum Plan {
    /// These events happen, all at the revision that was asked for. May be none.
    Change(Vec<Event>),
    /// A condition does not hold; see [`Outcome::Conflict`](crate::Outcome::Conflict).
    Conflict(Vec<(String, Option<Entry>)>),
}

/// Decides what `transaction`, already [checked](Transaction::check), does to `records` at `revision`.
pub(crate) fn plan(transaction: &Transaction, records: &impl Records, revision: Revision) -> Result<Plan> {
    let mut observed: Vec<(String, Option<Entry>)> = Vec::new();
    let mut all_hold = true;
    for condition in transaction.conditions() {
        let key = condition.key();
        let known = observed.iter().position(|(other, _)| other == key);
        let index = match known {
            Some(index) => index,
            None => {
                observed.push((key.to_owned(), records.get(key)?));
                observed.len() - 1
            }
        };
        all_hold &= condition.holds(observed[index].1.as_ref());
    }
    if !all_hold {
        return Ok(Plan::Conflict(observed));
    }
    changes(transaction, records, revision).map(Plan::Change)
}

/// The events of the writes. A key that is put is neither put again nor deleted in the same transaction, so each
/// write can be judged by the state before all of them.
fn changes(transaction: &Transaction, records: &impl Records, revision: Revision) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    let mut gone = HashSet::new();
    for write in transaction.writes() {
        match write {
            Write::Put { key, value, lease } => {
                if let Some(lease) = *lease
                    && !records.has_lease(lease)
                {
                    return Err(Error::LeaseNotFound { lease });
                }
                let before = records.get(key)?;
                events.push(Event {
                    revision,
                    kind: EventKind::Put(Entry {
                        key: key.clone(),
                        value: value.clone(),
                        create_revision: before.as_ref().map_or(revision, |entry| entry.create_revision),
                        mod_revision: revision,
                        version: before.map_or(1, |entry| entry.version + 1),
                        lease: *lease,
                    }),
                });
            }
            Write::Delete { key } => {
                if records.get(key)?.is_some() && gone.insert(key.clone()) {
                    events.push(deleted(key.clone(), revision));
                }
            }
            Write::DeletePrefix { prefix } => {
                for key in records.keys(prefix)? {
                    if gone.insert(key.clone()) {
                        events.push(deleted(key, revision));
                    }
                }
            }
        }
    }
    Ok(events)
}

/// The event of `key` being deleted at `revision`.
pub(crate) fn deleted(key: String, revision: Revision) -> Event {
    Event { revision, kind: EventKind::Delete { key } }
}

/// Which revision to compact to when the store is at `current`, can be watched from `oldest`, and should keep
/// `history` revisions: `None` while it is not worth the work.
pub(crate) fn compaction_due(current: Revision, oldest: Revision, history: u64) -> Option<Revision> {
    let history = history.max(1);
    let slack = (history / 16).max(1);
    let kept = current.0.saturating_sub(oldest.0) + 1;
    (kept >= history + slack).then(|| Revision(current.0 + 1 - history))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compaction_keeps_the_asked_history_and_is_not_due_every_time() {
        assert_eq!(compaction_due(Revision(1), Revision(1), 10), None);
        assert_eq!(compaction_due(Revision(10), Revision(1), 10), None);
        assert_eq!(compaction_due(Revision(11), Revision(1), 10), Some(Revision(2)));
        assert_eq!(compaction_due(Revision(10_500), Revision(1), 10_000), None);
        assert_eq!(compaction_due(Revision(10_625), Revision(1), 10_000), Some(Revision(626)));
        assert_eq!(compaction_due(Revision(5), Revision(4), 0), Some(Revision(5)));
    }
}
