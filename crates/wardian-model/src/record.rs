//! What makes a type a record: a place in the store, and JSON for its value.
//!
//! Key layout is part of the durable format; a change here needs a migration.

use serde::{Serialize, de::DeserializeOwned};

/// A durable object. It is kept as JSON under [`Record::key`].
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Prefix of all records of this type, ending in `/`.
    const PREFIX: &'static str;

    /// Where this record is kept; starts with [`Record::PREFIX`].
    fn key(&self) -> String;
}
