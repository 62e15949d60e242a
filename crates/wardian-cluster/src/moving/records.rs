//! The records that go along, as they will be in the cluster, and what is in their way there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wardian_model::{
    claim::{ClaimRecord, Owner},
    image::ImageRecord,
    name::HostName,
};
use wardian_store::{Entry, Store};

use super::{
    collision::{Collision, Collisions, MoveError},
    kind::{Fate, Kind},
};

/// What goes along.
#[derive(Debug)]
pub(super) struct Moving {
    /// In the order in which they are written.
    pub(super) moved: Vec<(Kind, Entry)>,
    /// How many stay behind.
    pub(super) left: usize,
}

impl Moving {
    /// Reads a host's own store.
    pub(super) async fn read(from: &dyn Store, host: &HostName) -> Result<Self, MoveError> {
        let (mut moved, mut left, mut unknown) = (Vec::new(), 0, Vec::new());
        for entry in from.list("").await.map_err(MoveError::From)?.entries {
            match Fate::of(&entry.key) {
                // What hangs on a lease is about to be forgotten.
                Fate::Moves(_) if entry.lease.is_some() => left += 1,
                Fate::Moves(Kind::Environment) => moved.push((Kind::Environment, at_host(entry, host)?)),
                Fate::Moves(kind) => moved.push((kind, entry)),
                Fate::Stays => left += 1,
                Fate::Clusters => return Err(MoveError::Clustered { key: entry.key }),
                Fate::Unknown => unknown.push(entry.key),
            }
        }
        if !unknown.is_empty() {
            return Err(MoveError::Unknown { keys: unknown });
        }
        moved.sort_by_key(|(kind, _)| *kind);
        Ok(Self { moved, left })
    }

    /// That nothing else is where they go.
    pub(super) fn check(&self, there: &BTreeMap<String, Entry>) -> Result<(), MoveError> {
        let mut all = Vec::new();
        for (kind, mine) in &self.moved {
            let Some(theirs) = there.get(&mine.key) else { continue };
            if !same(*kind, mine, theirs)? {
                all.push(Collision { kind: *kind, name: self.name_of(*kind, mine)? });
            }
        }
        // What is wrong with an environment is wrong with its machines, and not worth a line each.
        let environments: BTreeSet<_> =
            all.iter().filter(|one| one.kind == Kind::Environment).map(|one| one.name.clone()).collect();
        all.retain(|one| {
            let of = one.name.split_once('/').map(|(environment, _)| environment);
            one.kind != Kind::Machine || of.is_none_or(|environment| !environments.contains(environment))
        });
        // Those that people gave names to first.
        all.sort_by_key(|one| std::cmp::Reverse(one.kind));
        if all.is_empty() { Ok(()) } else { Err(MoveError::Collisions(Collisions(all))) }
    }
}

impl Moving {
    /// What people call it. Of a claim also whose it is, for that is what has to make room.
    fn name_of(&self, kind: Kind, entry: &Entry) -> Result<String, MoveError> {
        let name = entry.key.strip_prefix(kind.prefix()).unwrap_or(&entry.key).to_owned();
        if kind != Kind::Claim {
            return Ok(name);
        }
        let claim: ClaimRecord = entry.decode().map_err(MoveError::From)?;
        let Owner::Environment(id) = claim.owner else { return Ok(name) };
        let id = Value::from(id.to_string());
        let environments = self.moved.iter().filter(|(kind, _)| *kind == Kind::Environment);
        let owner = environments.map(|(_, entry)| entry).find(|entry| {
            let record = entry.decode::<Value>();
            record.is_ok_and(|record| record.get("id") == Some(&id))
        });
        Ok(match owner.and_then(|owner| owner.key.strip_prefix(Kind::Environment.prefix())) {
            Some(owner) => format!("{name} (of {owner})"),
            None => name,
        })
    }
}

/// Whether they are one and the same. Of images, the content decides.
fn same(kind: Kind, mine: &Entry, theirs: &Entry) -> Result<bool, MoveError> {
    if mine.value == theirs.value {
        return Ok(true);
    }
    if kind == Kind::Image {
        let mine: ImageRecord = mine.decode().map_err(MoveError::From)?;
        let theirs: ImageRecord = theirs.decode().map_err(MoveError::To)?;
        return Ok(mine.digest == theirs.digest);
    }
    let mine: Value = mine.decode().map_err(MoveError::From)?;
    let theirs: Value = theirs.decode().map_err(MoveError::To)?;
    Ok(mine == theirs)
}

/// An environment, as one of that host.
fn at_host(mut entry: Entry, host: &HostName) -> Result<Entry, MoveError> {
    let mut record: IndexMap<String, Json> = entry.decode().map_err(MoveError::From)?;
    record.insert("host".to_owned(), Json::Other(host.as_str().into()));
    entry.value = serde_json::to_vec(&record).map_err(|source| {
        MoveError::From(wardian_store::Error::Encode { key: entry.key.clone(), source: Arc::new(source) })
    })?;
    Ok(entry)
}

/// JSON whose objects keep their order, as [`Value`]'s don't: that of an environment's machines is their file's.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Json {
    Object(IndexMap<String, Json>),
    Array(Vec<Json>),
    Other(Value),
}

#[cfg(test)]
mod tests {
    use wardian_store::Revision;

    use super::*;

    #[test]
    fn an_environment_gets_its_host_and_is_else_as_it_was() {
        let before = r#"{"id":"00","machines":{"z":{"n":[1,-2,2.5]},"a":{"x":null,"b":true}},"host":null,"run":7}"#;
        let entry = Entry {
            key: "environments/web".to_owned(),
            value: before.into(),
            create_revision: Revision(2),
            mod_revision: Revision(2),
            version: 1,
            lease: None,
        };
        let after = at_host(entry, &"a".parse().unwrap()).unwrap();
        assert_eq!(String::from_utf8(after.value).unwrap(), before.replace(r#""host":null"#, r#""host":"a""#));
    }
}
