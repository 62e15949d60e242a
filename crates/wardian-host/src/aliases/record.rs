//! What a name server elsewhere may know of an environment, as a record.

use serde::{Deserialize, Serialize};
use wardian_model::{id::EnvironmentId, record::Record};
use wardian_plan::alias::Published;

/// Outlives its environment until the server has forgotten it too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct PublishedRecord {
    /// Whose names these are.
    pub(super) environment_id: EnvironmentId,
    /// The names.
    #[serde(flatten)]
    pub(super) published: Published,
}

impl PublishedRecord {
    pub(super) fn key_of(id: EnvironmentId) -> String {
        format!("{}{id}", Self::PREFIX)
    }
}

impl Record for PublishedRecord {
    const PREFIX: &'static str = "aliases/";

    fn key(&self) -> String {
        Self::key_of(self.environment_id)
    }
}
