//! What a store holds and tells: revisions, entries, events, listings.

use std::fmt;

/// The store-wide version number. It grows by one with every transaction that changes something, and by
/// nothing else. An empty store is at revision 1, as in etcd; 0 is before everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision after this one: where to watch from after having listed at this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a lease. Never 0, fits an `i64`, and is not given out twice by one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key with its value and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value, at most [`MAX_VALUE_BYTES`](crate::MAX_VALUE_BYTES).
    pub value: Vec<u8>,
    /// The revision that created the key (since it was last deleted).
    pub create_revision: Revision,
    /// The revision that last put the key.
    pub mod_revision: Revision,
    /// How often the key was put since it was created; 1 for a new key.
    pub version: u64,
    /// The lease whose end takes the key along.
    pub lease: Option<LeaseId>,
}

/// All entries below a prefix, as they were at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The entries, sorted by key (byte order).
    pub entries: Vec<Entry>,
    /// The store's revision when they were read. Watch from its [`next`](Revision::next) to miss nothing.
    pub revision: Revision,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The revision of the transaction that made the change.
    pub revision: Revision,
    /// The change.
    pub kind: EventKind,
}

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// The key was put; this is its entry right after.
    Put(Entry),
    /// The key was deleted, by a transaction or with its lease.
    Delete {
        /// The key that is gone.
        key: String,
    },
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &str {
        match &self.kind {
            EventKind::Put(entry) => &entry.key,
            EventKind::Delete { key } => key,
        }
    }
}
