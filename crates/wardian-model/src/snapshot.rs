//! The record of a snapshot: a cut that has a name and a place in a tree, with all that is needed to go back to it.

use indexmap::IndexMap;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    environment::Problem,
    id::{CutId, EnvironmentId, OperationId, SnapshotId},
    identity::InsideIdentity,
    name::{EnvironmentName, MachineName, SnapshotName},
    record::Record,
    spec::EnvironmentSpec,
};

/// A snapshot. Asked for by a user, made by the environment's controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotRecord {
    /// This snapshot.
    pub id: SnapshotId,
    /// Its name, unique in its environment.
    pub name: SnapshotName,
    /// The environment it was taken of.
    pub environment: EnvironmentName,
    /// That environment's id.
    pub environment_id: EnvironmentId,
    /// When it was asked for.
    #[schemars(with = "String")]
    pub created: Timestamp,
    /// The snapshot the environment's state came from: the parent in the tree. It may be gone: a snapshot needs no
    /// other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SnapshotId>,
    /// The cut: disks, and memory of the machines that ran.
    pub cut: CutId,
    /// What the environment was then.
    pub spec: EnvironmentSpec,
    /// Who its machines were inside.
    pub inside: IndexMap<MachineName, InsideIdentity>,
    /// The request to take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// How far it is.
    pub phase: SnapshotPhase,
}

impl Record for SnapshotRecord {
    const PREFIX: &'static str = "snapshots/";

    fn key(&self) -> String {
        Self::key_of(&self.environment, &self.name)
    }
}

impl SnapshotRecord {
    /// Where a snapshot is kept.
    #[must_use]
    pub fn key_of(environment: &EnvironmentName, name: &SnapshotName) -> String {
        format!("{}{name}", Self::prefix_of(environment))
    }

    /// The prefix of all snapshots of an environment.
    #[must_use]
    pub fn prefix_of(environment: &EnvironmentName) -> String {
        format!("{}{environment}/", Self::PREFIX)
    }
}

/// How far a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "is")]
pub enum SnapshotPhase {
    /// Waits for its cut.
    Taking,
    /// Cut; its memory is being written to disk. It can be used.
    Saving,
    /// All of it is on disk.
    Ready {
        /// How long the machines stood, in microseconds; the longest of them.
        pause_us: u64,
        /// Whether the memory of running machines belongs to it.
        memory: bool,
        /// What its memory takes on disk, in bytes.
        saved_bytes: u64,
    },
    /// Could not be taken.
    Failed {
        /// What failed, why, and what to do.
        problem: Problem,
    },
}

impl SnapshotPhase {
    /// One word for tables.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Taking => "taking",
            Self::Saving => "saving",
            Self::Ready { .. } => "ready",
            Self::Failed { .. } => "failed",
        }
    }
}
