//! A transaction: conditions that must all hold, and writes that then all happen at one revision.
//!
//! Building never fails; [`commit`](crate::Store::commit) checks the whole with [`Transaction::check`] first.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::key::{MAX_OPERATIONS, MAX_TRANSACTION_BYTES, MAX_VALUE_BYTES, check_key, check_prefix};
use crate::record::{Entry, LeaseId, Revision};

/// Something that must hold for a transaction to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The key does not exist.
    Absent {
        /// The key.
        key: String,
    },
    /// The key exists, with whatever value.
    Present {
        /// The key.
        key: String,
    },
    /// The key was last put at this revision. Revision 0 stands for a key that does not exist.
    Unchanged {
        /// The key.
        key: String,
        /// The [`mod_revision`](Entry::mod_revision) the caller has seen.
        mod_revision: Revision,
    },
    /// The key exists and has this value.
    ValueEquals {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
    },
}

impl Condition {
    /// The key the condition speaks of.
    pub fn key(&self) -> &str {
        match self {
            Self::Absent { key }
            | Self::Present { key }
            | Self::Unchanged { key, .. }
            | Self::ValueEquals { key, .. } => key,
        }
    }

    /// Whether the condition holds when `entry` is what its key has.
    pub fn holds(&self, entry: Option<&Entry>) -> bool {
        match self {
            Self::Absent { .. } => entry.is_none(),
            Self::Present { .. } => entry.is_some(),
            Self::Unchanged { mod_revision, .. } => {
                entry.map_or(Revision(0), |entry| entry.mod_revision) == *mod_revision
            }
            Self::ValueEquals { value, .. } => entry.is_some_and(|entry| entry.value == *value),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::ValueEquals { key, value } => key.len() + value.len(),
            other => other.key().len(),
        }
    }
}

/// A change a transaction makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Creates or overwrites a key.
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: Vec<u8>,
        /// The lease it is attached to from now on; `None` detaches it from the one it had.
        lease: Option<LeaseId>,
    },
    /// Deletes a key, if it exists.
    Delete {
        /// The key.
        key: String,
    },
    /// Deletes every key that begins with a prefix.
    DeletePrefix {
        /// The prefix.
        prefix: String,
    },
}

impl Write {
    fn deletes(&self, key: &str) -> bool {
        match self {
            Self::Put { .. } => false,
            Self::Delete { key: deleted } => deleted == key,
            Self::DeletePrefix { prefix } => key.starts_with(prefix),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
            Self::DeletePrefix { prefix } => prefix.len(),
        }
    }
}

/// Conditions and writes, to be committed as one.
///
/// ```
/// use wardian_store::{Revision, Transaction};
///
/// let claim = Transaction::new()
///     .unchanged("hosts/a", Revision(7))
///     .absent("claims/10.86.0.3")
///     .put("claims/10.86.0.3", "store/web");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a transaction does nothing until it is committed"]
pub struct Transaction {
    conditions: Vec<Condition>,
    writes: Vec<Write>,
}

impl Transaction {
    /// A transaction without conditions and writes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    pub fn condition(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Adds a write.
    pub fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// Only if `key` does not exist.
    pub fn absent(self, key: impl Into<String>) -> Self {
        self.condition(Condition::Absent { key: key.into() })
    }

    /// Only if `key` exists.
    pub fn present(self, key: impl Into<String>) -> Self {
        self.condition(Condition::Present { key: key.into() })
    }

    /// Only if `key` was last put at `mod_revision`; revision 0 means that it must not exist.
    pub fn unchanged(self, key: impl Into<String>, mod_revision: Revision) -> Self {
        self.condition(Condition::Unchanged { key: key.into(), mod_revision })
    }

    /// Only if `key` exists and has exactly this value.
    pub fn value_equals(self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.condition(Condition::ValueEquals { key: key.into(), value: value.into() })
    }

    /// Creates or overwrites `key`. A lease it was attached to lets go of it.
    pub fn put(self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.write(Write::Put { key: key.into(), value: value.into(), lease: None })
    }

    /// Creates or overwrites `key`, which is deleted when `lease` ends.
    pub fn put_with_lease(self, key: impl Into<String>, value: impl Into<Vec<u8>>, lease: LeaseId) -> Self {
        self.write(Write::Put { key: key.into(), value: value.into(), lease: Some(lease) })
    }

    /// Deletes `key`; nothing happens if it does not exist.
    pub fn delete(self, key: impl Into<String>) -> Self {
        self.write(Write::Delete { key: key.into() })
    }

    /// Deletes every key that begins with `prefix`. This compares texts, not segments: end the prefix with `/`
    /// to stay inside a folder. The empty prefix empties the store.
    pub fn delete_prefix(self, prefix: impl Into<String>) -> Self {
        self.write(Write::DeletePrefix { prefix: prefix.into() })
    }

    /// The conditions, in the order they were added.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The writes, in the order they were added.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Checks whatever can be checked without the store: keys, sizes, and that no key is written twice.
    /// Every engine does this before anything else.
    pub fn check(&self) -> Result<()> {
        check_count("conditions", self.conditions.len())?;
        check_count("writes", self.writes.len())?;
        for condition in &self.conditions {
            check_key(condition.key())?;
            if let Condition::ValueEquals { key, value } = condition {
                check_value(key, value)?;
            }
        }
        let mut put = HashSet::new();
        for write in &self.writes {
            match write {
                Write::Delete { key } => check_key(key)?,
                Write::DeletePrefix { prefix } => check_prefix(prefix)?,
                Write::Put { key, value, .. } => {
                    check_key(key)?;
                    check_value(key, value)?;
                    if !put.insert(key) || self.writes.iter().any(|other| other.deletes(key)) {
                        return Err(Error::WrittenTwice { key: key.clone() });
                    }
                }
            }
        }
        let bytes = self.conditions.iter().map(Condition::bytes).sum::<usize>()
            + self.writes.iter().map(Write::bytes).sum::<usize>();
        if bytes > MAX_TRANSACTION_BYTES {
            return Err(Error::TransactionTooLarge { bytes, limit: MAX_TRANSACTION_BYTES });
        }
        Ok(())
    }
}

fn check_count(what: &'static str, count: usize) -> Result<()> {
    if count > MAX_OPERATIONS {
        return Err(Error::TooManyOperations { what, count, limit: MAX_OPERATIONS });
    }
    Ok(())
}

fn check_value(key: &str, value: &[u8]) -> Result<()> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(Error::ValueTooLarge { key: key.to_owned(), bytes: value.len(), limit: MAX_VALUE_BYTES });
    }
    Ok(())
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a transaction may have met a conflict"]
pub enum Outcome {
    /// All conditions held and all writes happened, at this revision. A transaction that changed nothing
    /// (nothing to write, nothing to delete) answers with the store's revision, which it left alone.
    Committed(Revision),
    /// A condition did not hold and nothing was written.
    Conflict {
        /// What the conditions' keys have now, each once, in the order of the conditions.
        observed: Vec<(String, Option<Entry>)>,
    },
}

impl Outcome {
    /// The revision, if the transaction was committed.
    pub fn committed(&self) -> Option<Revision> {
        match self {
            Self::Committed(revision) => Some(*revision),
            Self::Conflict { .. } => None,
        }
    }
}
