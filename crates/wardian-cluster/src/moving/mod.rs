//! What a host brings along when it comes into a cluster: the records of its own store.
//!
//! | prefix | |
//! |---|---|
//! | `claims/` | goes along, and first, so that nobody takes meanwhile what its environments have |
//! | `images/` | goes along; one of the same content that is there already stays as it is there |
//! | `cuts/`, `snapshots/`, `machines/` | go along: they say what the host's files are |
//! | `operations/` | go along, for what was asked for has to happen; but for those on a lease, which are over |
//! | `aliases/` | go along: a name server has been told of them |
//! | `environments/` | go along, and last: none is there without its parts; each gets the host's name as `host` |
//! | `host/` | stays: what this computer can do |
//! | `events/` | stays: numbered by the store they are in, and about what is past |
//! | `cluster/`, `hosts/`, `presence/`, `leader/` | a store that has them is a cluster's already: refused |
//! | anything else | from a later version: refused, for nobody can say whether it may stay behind |
//!
//! # Crashes
//!
//! The host's own store is only read, and is the one that counts until its caller switches over, which it does after
//! this has returned. Interrupted, this leaves a part in the cluster's store; the next run finds it to be what it would
//! write, and writes the rest. So it is to be run again before the host goes on by itself: what has changed since then
//! is taken for somebody else's.

mod collision;
mod kind;
mod records;

use std::{collections::BTreeMap, net::Ipv4Addr};

use wardian_model::{
    claim::{ClaimRecord, Claimed, Owner},
    name::HostName,
    record::Record as _,
};
use wardian_store::{Entry, MAX_TRANSACTION_BYTES, Outcome, Revision, Store, Transaction};

pub use collision::{Collision, Collisions, MoveError};
pub use kind::Kind;

use records::Moving;

/// The most records in one transaction. A condition goes with each.
const BATCH: usize = 100;
/// The most bytes in one, unless it is one record: a key is in it twice.
const BATCH_BYTES: usize = MAX_TRANSACTION_BYTES / 2;

/// What has been moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// How many records are new in the cluster.
    pub copied: usize,
    /// How many were there already, from a run that was interrupted or as images of the same content.
    pub already: usize,
    /// How many stay behind.
    pub left: usize,
}

/// What a host would bring along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// How many environments.
    pub environments: usize,
    /// How many machines they have.
    pub machines: usize,
    /// How many images.
    pub images: usize,
    /// How many snapshots.
    pub snapshots: usize,
}

/// Copies what the single host `host` has in its store `from` into the cluster's store `to`. Nobody may write to `from`
/// meanwhile; it stays as it is.
///
/// # Errors
/// When something of the same name is in the cluster already: nothing is written then, unless it got there while this
/// was writing. When the store of either fails. In each case it can be run again.
pub async fn move_records(from: &dyn Store, to: &dyn Store, host: &HostName) -> Result<Moved, MoveError> {
    let (moving, there) = checked(from, to, host).await?;
    let moved = moving.moved.iter().map(|(_, entry)| entry);
    let missing: Vec<_> = moved.filter(|entry| !there.contains_key(&entry.key)).collect();
    for batch in batches(&missing) {
        copy(to, batch.to_vec(), &moving).await?;
    }
    Ok(Moved { copied: missing.len(), already: moving.moved.len() - missing.len(), left: moving.left })
}

/// What would be moved now, if nothing is in its way. Writes nothing, and is no promise. `lab_address` is what the host
/// would get in the cluster: something of its own may have it until now.
///
/// # Errors
/// As those of [`move_records`].
pub async fn check_records(
    from: &dyn Store,
    to: &dyn Store,
    host: &HostName,
    lab_address: Ipv4Addr,
) -> Result<Load, MoveError> {
    let (moving, mut there) = checked(from, to, host).await?;
    let claim = ClaimRecord { of: Claimed::Address(lab_address), owner: Owner::Host(host.clone()) };
    let entry = Entry {
        key: claim.key(),
        value: serde_json::to_vec(&claim).unwrap_or_default(),
        create_revision: Revision(0),
        mod_revision: Revision(0),
        version: 1,
        lease: None,
    };
    there.insert(entry.key.clone(), entry);
    moving.check(&there)?;
    let count = |wanted| moving.moved.iter().filter(|(kind, _)| *kind == wanted).count();
    Ok(Load {
        environments: count(Kind::Environment),
        machines: count(Kind::Machine),
        images: count(Kind::Image),
        snapshots: count(Kind::Snapshot),
    })
}

/// What goes along, and what is where it goes: the same, or nothing.
async fn checked(
    from: &dyn Store,
    to: &dyn Store,
    host: &HostName,
) -> Result<(Moving, BTreeMap<String, Entry>), MoveError> {
    let moving = Moving::read(from, host).await?;
    let mut there = BTreeMap::new();
    for kind in Kind::MOVED {
        let listing = to.list(kind.prefix()).await.map_err(MoveError::To)?;
        there.extend(listing.entries.into_iter().map(|entry| (entry.key.clone(), entry)));
    }
    moving.check(&there)?;
    Ok((moving, there))
}

async fn copy(to: &dyn Store, mut missing: Vec<&Entry>, moving: &Moving) -> Result<(), MoveError> {
    while !missing.is_empty() {
        let transaction = missing.iter().fold(Transaction::new(), |transaction, entry| {
            transaction.absent(&entry.key).put(&entry.key, entry.value.clone())
        });
        match to.commit(transaction).await.map_err(MoveError::To)? {
            Outcome::Committed(_) => return Ok(()),
            Outcome::Conflict { observed } => {
                let there: BTreeMap<_, _> =
                    observed.into_iter().filter_map(|(key, entry)| Some((key, entry?))).collect();
                moving.check(&there)?;
                missing.retain(|entry| !there.contains_key(&entry.key));
            }
        }
    }
    Ok(())
}

/// In their order, as many at a time as a transaction takes.
fn batches<'a, 'e>(mut entries: &'a [&'e Entry]) -> Vec<&'a [&'e Entry]> {
    let mut batches = Vec::new();
    while !entries.is_empty() {
        let mut bytes = 0;
        let fitting = entries.iter().take(BATCH).take_while(|entry| {
            bytes += 2 * entry.key.len() + entry.value.len();
            bytes <= BATCH_BYTES
        });
        let (batch, rest) = entries.split_at(fitting.count().max(1));
        batches.push(batch);
        entries = rest;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: usize, bytes: usize) -> Entry {
        Entry {
            key: format!("cuts/{number:04}"),
            value: vec![b'x'; bytes],
            create_revision: Revision(2),
            mod_revision: Revision(2),
            version: 1,
            lease: None,
        }
    }

    #[test]
    fn batches_are_transactions_that_a_store_takes() {
        for bytes in [1, 20_000, 900_000] {
            let entries: Vec<_> = (0..230).map(|number| entry(number, bytes)).collect();
            let entries: Vec<_> = entries.iter().collect();
            let batches = batches(&entries);
            for batch in &batches {
                let transaction = batch.iter().fold(Transaction::new(), |transaction, entry| {
                    transaction.absent(&entry.key).put(&entry.key, entry.value.clone())
                });
                transaction.check().unwrap();
                assert!(batch.len() <= BATCH);
            }
            assert_eq!(batches.concat(), entries);
        }
    }
}
