//! What a name server elsewhere has to be told, when what it was told before may have been cut short.
//!
//! Such a server remembers, and whoever tells it may be killed at any instant. So what is about to be told is written
//! down first, one [`Published`] for each environment, and written again when the server has acknowledged it. What was
//! written down for an environment outlives it, until the server has forgotten it too.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{AliasKind, AliasRecord};
use wardian_model::name::Domain;

/// What a server may know of one environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Published {
    /// All that it may have been told and not told to forget.
    pub records: BTreeSet<AliasRecord>,
    /// Whether it has acknowledged all of them, and nothing else has been begun since.
    pub settled: bool,
}

impl Published {
    /// To be written down before the server is told that `desired` is what shall be.
    #[must_use]
    pub fn begin(&self, desired: &BTreeSet<AliasRecord>) -> Self {
        Self { records: self.records.union(desired).cloned().collect(), settled: false }
    }

    /// To be written down when the server has acknowledged. With nothing in it, it can be forgotten instead.
    #[must_use]
    pub const fn settled(desired: BTreeSet<AliasRecord>) -> Self {
        Self { records: desired, settled: true }
    }

    /// Whether the server knows nothing of the environment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// What to tell a server. The order doesn't matter, and neither does repeating it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Updates {
    /// Records that shall be all there is of their name and type.
    pub add: Vec<AliasRecord>,
    /// Records that shall not be there.
    pub remove: Vec<AliasRecord>,
}

impl Updates {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }
}

/// What is to be told so that of all that was ever published `desired` is left.
///
/// Both are of all environments together, living and gone: a name or an address that one gave up may be another's by
/// now, and is then not removed but replaced.
pub fn plan_updates<'a>(
    desired: &BTreeSet<AliasRecord>,
    published: impl IntoIterator<Item = &'a Published>,
) -> Updates {
    let mut known: BTreeMap<(&Domain, AliasKind), Known<'a>> = BTreeMap::new();
    for of_one in published {
        for record in &of_one.records {
            let entry = known.entry(record.key());
            entry.and_modify(|k| k.also(record)).or_insert(Known {
                record,
                others: Vec::new(),
                certain: of_one.settled,
            });
        }
    }
    let is_there = |record: &AliasRecord| known.get(&record.key()).is_some_and(|k| k.certain && k.record == record);
    let wanted: BTreeSet<_> = desired.iter().map(AliasRecord::key).collect();
    let gone = known.iter().filter(|(key, _)| !wanted.contains(*key)).flat_map(|(_, k)| k.all());
    Updates { add: desired.iter().filter(|r| !is_there(r)).cloned().collect(), remove: gone.cloned().collect() }
}

/// What a server may have at one name and type.
struct Known<'a> {
    record: &'a AliasRecord,
    others: Vec<&'a AliasRecord>,
    certain: bool,
}

impl<'a> Known<'a> {
    /// Published twice, by two environments or in two versions: which of them came last, nobody wrote down.
    fn also(&mut self, record: &'a AliasRecord) {
        self.certain = false;
        if record.data != self.record.data && self.others.iter().all(|o| o.data != record.data) {
            self.others.push(record);
        }
    }

    fn all(&self) -> impl Iterator<Item = &'a AliasRecord> {
        std::iter::once(self.record).chain(self.others.iter().copied())
    }
}
