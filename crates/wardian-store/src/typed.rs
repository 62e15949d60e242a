//! Values as JSON: the thin layer between a store's bytes and the types of whoever uses it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::record::{Entry, LeaseId, Revision};
use crate::store::Store;
use crate::transaction::Transaction;

/// A decoded value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed<T> {
    /// The key.
    pub key: String,
    /// The decoded value.
    pub value: T,
    /// The revision that last put the key, for [`Transaction::unchanged`].
    pub mod_revision: Revision,
}

/// All values below a prefix, as they were at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedListing<T> {
    /// The values, sorted by key.
    pub entries: Vec<Typed<T>>,
    /// The store's revision when they were read.
    pub revision: Revision,
}

/// The value of `key` with its [`mod_revision`](Entry::mod_revision).
///
/// # Errors
/// Those of [`Store::get`], and [`Error::Decode`] when the value is not a `T`.
pub async fn get_as<T: DeserializeOwned>(store: &dyn Store, key: &str) -> Result<Option<(T, Revision)>> {
    match store.get(key).await? {
        Some(entry) => Ok(Some((entry.decode()?, entry.mod_revision))),
        None => Ok(None),
    }
}

/// All values whose keys begin with `prefix`.
///
/// # Errors
/// Those of [`Store::list`], and [`Error::Decode`] for the first value that is not a `T`.
pub async fn list_as<T: DeserializeOwned>(store: &dyn Store, prefix: &str) -> Result<TypedListing<T>> {
    let listing = store.list(prefix).await?;
    let entries = listing
        .entries
        .into_iter()
        .map(|entry| Ok(Typed { value: entry.decode()?, mod_revision: entry.mod_revision, key: entry.key }))
        .collect::<Result<_>>()?;
    Ok(TypedListing { entries, revision: listing.revision })
}

impl Entry {
    /// The value, read as JSON.
    ///
    /// # Errors
    /// [`Error::Decode`], naming the key, when the value is not a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.value)
            .map_err(|source| Error::Decode { key: self.key.clone(), source: std::sync::Arc::new(source) })
    }
}

impl Transaction {
    /// Like [`put`](Self::put), with `value` as JSON.
    ///
    /// # Errors
    /// [`Error::Encode`] when `value` cannot be JSON (a map whose keys are not texts, for instance).
    pub fn put_json<T: Serialize + ?Sized>(self, key: impl Into<String>, value: &T) -> Result<Self> {
        let key = key.into();
        let value = encode(&key, value)?;
        Ok(self.put(key, value))
    }

    /// Like [`put_with_lease`](Self::put_with_lease), with `value` as JSON.
    ///
    /// # Errors
    /// As for [`put_json`](Self::put_json).
    pub fn put_json_with_lease<T: Serialize + ?Sized>(
        self,
        key: impl Into<String>,
        value: &T,
        lease: LeaseId,
    ) -> Result<Self> {
        let key = key.into();
        let value = encode(&key, value)?;
        Ok(self.put_with_lease(key, value, lease))
    }
}

fn encode<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|source| Error::Encode { key: key.to_owned(), source: std::sync::Arc::new(source) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::MemoryStore;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Machine {
        memory: u64,
        host: Option<String>,
    }

    fn machine(memory: u64) -> Machine {
        Machine { memory, host: None }
    }

    #[tokio::test]
    async fn values_go_in_and_come_out_with_their_revision() {
        let store = MemoryStore::new();
        let both = Transaction::new()
            .put_json("m/web", &machine(192))
            .and_then(|transaction| transaction.put_json("m/db", &machine(256)))
            .unwrap();
        let revision = store.commit(both).await.unwrap().committed().unwrap();
        let read = get_as::<Machine>(&store, "m/web").await.unwrap();
        assert_eq!(read, Some((machine(192), revision)));
        assert_eq!(get_as::<Machine>(&store, "m/x").await.unwrap(), None);
        let listing = list_as::<Machine>(&store, "m/").await.unwrap();
        assert_eq!(listing.revision, revision);
        let expected = [("m/db", 256), ("m/web", 192)].map(|(key, memory)| Typed {
            key: key.to_owned(),
            value: machine(memory),
            mod_revision: revision,
        });
        assert_eq!(listing.entries, expected);
    }

    #[tokio::test]
    async fn a_value_that_does_not_decode_is_named() {
        let store = MemoryStore::new();
        for bad in ["", "{", "[]", "{\"memory\": 1, \"speed\": 2}", "\u{1}"] {
            let put = Transaction::new().put("m/web", bad);
            store.commit(put).await.unwrap().committed().unwrap();
            let one = get_as::<Machine>(&store, "m/web").await.unwrap_err();
            let all = list_as::<Machine>(&store, "m/").await.unwrap_err();
            for error in [one, all] {
                assert_eq!(error.to_string(), "cannot decode the value of m/web");
                assert!(std::error::Error::source(&error).is_some());
            }
        }
    }

    #[test]
    fn a_value_that_is_no_json_is_named() {
        let not_json = BTreeMap::from([((1, 2), 3)]);
        let error = Transaction::new().put_json("m/web", &not_json).unwrap_err();
        assert_eq!(error.to_string(), "cannot encode the value for m/web");
    }
}
