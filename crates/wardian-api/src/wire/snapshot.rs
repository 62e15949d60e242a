//! Snapshots: moments of an environment that are kept under a name, and the tree they make.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardian_model::{id::SnapshotId, snapshot as model};

use super::Problem;

/// Take a snapshot of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SnapshotRequest {
    /// Its name, unique in the environment.
    pub name: String,
    /// Keep the memory of the machines that run, too; only their disks otherwise. True when absent.
    #[serde(default = "yes")]
    pub memory: bool,
}

const fn yes() -> bool {
    true
}

/// One moment of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    /// Its name, unique in its environment.
    pub name: String,
    /// This snapshot; a later one of the same name gets another id.
    pub id: String,
    /// The environment it was taken of.
    pub environment: String,
    /// When it was asked for.
    pub created: String,
    /// The id of the snapshot the environment's state came from then. It may be gone, or one of another environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// How far it is.
    pub phase: SnapshotPhase,
    /// Whether the memory of running machines belongs to it; not known before it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<bool>,
    /// What its memory takes on disk, in bytes; not known before it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_bytes: Option<u64>,
    /// How long the machines stood, in microseconds, the longest of them; not known before it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_us: Option<u64>,
    /// Why it could not be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// How far a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotPhase {
    /// Waits for its cut.
    Taking,
    /// Cut; its memory is being written to disk. It can be used.
    Saving,
    /// All of it is on disk.
    Ready,
    /// Could not be taken.
    Failed,
}

impl SnapshotPhase {
    /// As it is written in JSON and in tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Taking => "taking",
            Self::Saving => "saving",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// Where a snapshot is to be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotPlace {
    /// The environment it was taken of.
    pub environment: String,
    /// Its name there.
    pub name: String,
    /// It.
    pub id: String,
}

/// The snapshots of an environment, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotList {
    /// The environment.
    pub environment: String,
    /// They.
    pub snapshots: Vec<Snapshot>,
    /// The snapshot the environment's present state comes from, where it is still there. It may be another
    /// environment's: a clone starts at its source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<SnapshotPlace>,
}

impl Snapshot {
    /// From its record.
    #[must_use]
    pub fn new(record: &model::SnapshotRecord) -> Self {
        let (phase, ready, problem) = match &record.phase {
            model::SnapshotPhase::Taking => (SnapshotPhase::Taking, None, None),
            model::SnapshotPhase::Saving => (SnapshotPhase::Saving, None, None),
            model::SnapshotPhase::Ready { pause_us, memory, saved_bytes } => {
                (SnapshotPhase::Ready, Some((*memory, *saved_bytes, *pause_us)), None)
            }
            model::SnapshotPhase::Failed { problem } => (SnapshotPhase::Failed, None, Some(problem.into())),
        };
        Self {
            name: record.name.to_string(),
            id: record.id.to_string(),
            environment: record.environment.to_string(),
            created: record.created.to_string(),
            parent: record.parent.as_ref().map(SnapshotId::to_string),
            phase,
            memory: ready.map(|(memory, ..)| memory),
            saved_bytes: ready.map(|(_, bytes, _)| bytes),
            pause_us: ready.map(|(.., pause)| pause),
            problem,
        }
    }
}

impl SnapshotPlace {
    /// Of that snapshot.
    #[must_use]
    pub fn new(record: &model::SnapshotRecord) -> Self {
        Self { environment: record.environment.to_string(), name: record.name.to_string(), id: record.id.to_string() }
    }
}
