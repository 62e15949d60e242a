//! What the writer does within one SQLite transaction: every change is made to a draft, which becomes the truth only
//! when SQLite has committed.

use std::time::Duration;

use super::rows::{Counters, MAX_CHANGES, Rows};
use crate::error::{Error, Result};
use crate::lease::Leases;
use crate::plan::{Plan, Records, compaction_due, deleted, plan};
use crate::record::{Entry, Event, LeaseId, Revision};
use crate::transaction::{Outcome, Transaction};

/// What the writer knows besides the file. A copy of this is part of each draft.
#[derive(Clone)]
pub(super) struct State {
    /// As in the file.
    pub(super) counters: Counters,
    /// The leases of the file with their deadlines, which are not in the file.
    pub(super) leases: Leases,
}

/// Changes that are not committed yet.
pub(super) struct Draft<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) state: State,
    /// The time of everything in this draft.
    pub(super) now: Duration,
}

impl Records for Draft<'_> {
    fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.rows.get(key)
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        self.rows.keys(prefix)
    }

    fn has_lease(&self, lease: LeaseId) -> bool {
        self.state.leases.contains(lease)
    }
}

impl Draft<'_> {
    pub(super) fn commit(&mut self, transaction: &Transaction) -> Result<Outcome> {
        match plan(transaction, self, self.next_revision())? {
            Plan::Conflict(observed) => Ok(Outcome::Conflict { observed }),
            Plan::Change(events) => {
                self.apply(&events)?;
                Ok(Outcome::Committed(self.state.counters.revision))
            }
        }
    }

    pub(super) fn grant(&mut self, ttl: Duration) -> Result<LeaseId> {
        let lease = LeaseId(self.state.counters.last_lease.0 + 1);
        self.rows.add_lease(lease, ttl)?;
        self.state.counters.last_lease = lease;
        self.state.leases.grant(lease, ttl, self.now);
        Ok(lease)
    }

    pub(super) fn keep_alive(&mut self, lease: LeaseId) -> Result<()> {
        self.state.leases.keep_alive(lease, self.now)
    }

    pub(super) fn revoke(&mut self, lease: LeaseId) -> Result<()> {
        if self.state.leases.contains(lease) {
            self.end_lease(lease)?;
            self.state.leases.remove(lease);
        }
        Ok(())
    }

    /// Ends the leases whose time has passed.
    pub(super) fn end_leases(&mut self) -> Result<()> {
        for lease in self.state.leases.take_ended(self.now) {
            self.end_lease(lease)?;
        }
        Ok(())
    }

    pub(super) fn compact(&mut self, oldest: Revision) -> Result<()> {
        let counters = &mut self.state.counters;
        if oldest > counters.revision {
            return Err(Error::FutureRevision { asked: oldest, current: counters.revision });
        }
        if oldest > counters.oldest {
            self.rows.compact(counters.oldest, oldest)?;
            counters.oldest = oldest;
        }
        Ok(())
    }

    /// Compacts if the history has grown well beyond `history` revisions.
    pub(super) fn bound_history(&mut self, history: u64) -> Result<()> {
        let Counters { revision, oldest, .. } = self.state.counters;
        match compaction_due(revision, oldest, history) {
            Some(oldest) => self.compact(oldest),
            None => Ok(()),
        }
    }

    fn next_revision(&self) -> Revision {
        self.state.counters.revision.next()
    }

    fn end_lease(&mut self, lease: LeaseId) -> Result<()> {
        let revision = self.next_revision();
        let events: Vec<Event> =
            self.rows.keys_of_lease(lease)?.into_iter().map(|key| deleted(key, revision)).collect();
        self.apply(&events)?;
        self.rows.remove_lease(lease)
    }

    fn apply(&mut self, events: &[Event]) -> Result<()> {
        if events.len() > MAX_CHANGES {
            return Err(Error::TooManyOperations { what: "changes", count: events.len(), limit: MAX_CHANGES });
        }
        if !events.is_empty() {
            self.rows.apply(events, self.state.counters.oldest)?;
            self.state.counters.revision = self.next_revision();
        }
        Ok(())
    }
}
