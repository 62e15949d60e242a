//! The contract in its simplest form: a map, the list of everything that ever happened, and no thought of cost.

use std::collections::BTreeMap;
use std::time::Duration;

use wardian_store::{
    Condition, Entry, Error, Event, EventKind, LeaseId, Outcome, Result, Revision, Transaction, Write,
};

pub(crate) struct Model {
    pub(crate) revision: Revision,
    pub(crate) oldest: Revision,
    pub(crate) entries: BTreeMap<String, Entry>,
    events: Vec<Event>,
    now: Duration,
    last_lease: u64,
    /// Time to live and deadline.
    leases: BTreeMap<LeaseId, (Duration, Duration)>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            revision: Revision(1),
            oldest: Revision(1),
            entries: BTreeMap::new(),
            events: Vec::new(),
            now: Duration::ZERO,
            last_lease: 0,
            leases: BTreeMap::new(),
        }
    }
}

impl Model {
    pub(crate) fn list(&self, prefix: &str) -> Vec<Entry> {
        let all = self.entries.values();
        all.filter(|entry| entry.key.starts_with(prefix)).cloned().collect()
    }

    /// The batches a watch yields.
    pub(crate) fn history(&self, prefix: &str, from: Revision) -> Vec<Vec<Event>> {
        let mut batches: BTreeMap<Revision, Vec<Event>> = BTreeMap::new();
        for event in &self.events {
            if event.revision >= from && event.key().starts_with(prefix) {
                batches.entry(event.revision).or_default().push(event.clone());
            }
        }
        batches.into_values().collect()
    }

    pub(crate) fn commit(&mut self, transaction: &Transaction) -> Result<Outcome> {
        transaction.check()?;
        let mut holds = true;
        let mut observed: Vec<(String, Option<Entry>)> = Vec::new();
        for condition in transaction.conditions() {
            let entry = self.entries.get(condition.key());
            holds &= match condition {
                Condition::Absent { .. } => entry.is_none(),
                Condition::Present { .. } => entry.is_some(),
                Condition::Unchanged { mod_revision, .. } => match entry {
                    Some(entry) => entry.mod_revision == *mod_revision,
                    None => mod_revision.0 == 0,
                },
                Condition::ValueEquals { value, .. } => entry.map(|entry| &entry.value) == Some(value),
            };
            let observation = (condition.key().to_owned(), entry.cloned());
            if !observed.contains(&observation) {
                observed.push(observation);
            }
        }
        if !holds {
            return Ok(Outcome::Conflict { observed });
        }
        for write in transaction.writes() {
            if let Write::Put { lease: Some(lease), .. } = write
                && !self.leases.contains_key(lease)
            {
                return Err(Error::LeaseNotFound { lease: *lease });
            }
        }
        let revision = self.revision.next();
        for write in transaction.writes() {
            match write {
                Write::Put { key, value, lease } => self.put(key, value, *lease),
                Write::Delete { key } => self.delete(|entry| entry.key == *key),
                Write::DeletePrefix { prefix } => {
                    self.delete(|entry| entry.key.starts_with(prefix.as_str()));
                }
            }
        }
        self.end_revision();
        assert!(self.revision <= revision);
        Ok(Outcome::Committed(self.revision))
    }

    fn put(&mut self, key: &str, value: &[u8], lease: Option<LeaseId>) {
        let revision = self.revision.next();
        let mut entry = Entry {
            key: key.to_owned(),
            value: value.to_vec(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease,
        };
        if let Some(before) = self.entries.get(key) {
            entry.create_revision = before.create_revision;
            entry.version = before.version + 1;
        }
        self.entries.insert(key.to_owned(), entry.clone());
        self.events.push(Event { revision, kind: EventKind::Put(entry) });
    }

    fn delete(&mut self, which: impl Fn(&Entry) -> bool) {
        let revision = self.revision.next();
        let keys: Vec<_> = self.entries.values().filter(|entry| which(entry)).map(|entry| entry.key.clone()).collect();
        for key in keys {
            self.entries.remove(&key);
            self.events.push(Event { revision, kind: EventKind::Delete { key } });
        }
    }

    fn end_revision(&mut self) {
        if let Some(last) = self.events.last() {
            self.revision = last.revision;
        }
    }

    pub(crate) fn grant(&mut self, ttl: Duration) -> LeaseId {
        self.last_lease += 1;
        let lease = LeaseId(self.last_lease);
        self.leases.insert(lease, (ttl, self.now + ttl));
        lease
    }

    pub(crate) fn keep_alive(&mut self, lease: LeaseId) -> Result<()> {
        match self.leases.get_mut(&lease) {
            Some((ttl, deadline)) => {
                *deadline = self.now + *ttl;
                Ok(())
            }
            None => Err(Error::LeaseNotFound { lease }),
        }
    }

    pub(crate) fn keep_all_alive(&mut self) -> Vec<LeaseId> {
        let all: Vec<_> = self.leases.keys().copied().collect();
        for lease in &all {
            self.keep_alive(*lease).unwrap();
        }
        all
    }

    pub(crate) fn revoke(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        self.delete(|entry| entry.lease == Some(lease));
        self.end_revision();
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        let mut ended: Vec<_> = self
            .leases
            .iter()
            .map(|(lease, (_, deadline))| (*deadline, *lease))
            .filter(|(deadline, _)| *deadline <= self.now)
            .collect();
        ended.sort_unstable();
        for (_, lease) in ended {
            self.revoke(lease);
        }
    }
}
