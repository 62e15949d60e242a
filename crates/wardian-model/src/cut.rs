//! The record of a cut: one moment of all machines of an environment, from which clones and restores start.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    environment::Problem,
    id::{CutId, EnvironmentId},
    machine::Disk,
    memory::FrozenMemory,
    name::{EnvironmentName, HostName, MachineName},
    record::Record,
};

/// A cut through an environment. Asked for by a clone or a snapshot, made by the source's controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CutRecord {
    /// This cut.
    pub id: CutId,
    /// The environment that is cut.
    pub source: EnvironmentName,
    /// That environment's id.
    pub source_id: EnvironmentId,
    /// Whether the memory of the machines that run belongs to it.
    #[serde(default)]
    pub memory: bool,
    /// How far it is.
    pub phase: CutPhase,
}

impl Record for CutRecord {
    const PREFIX: &'static str = "cuts/";

    fn key(&self) -> String {
        Self::key_of(self.id)
    }
}

impl CutRecord {
    /// Where a cut is kept.
    #[must_use]
    pub fn key_of(id: CutId) -> String {
        format!("{}{id}", Self::PREFIX)
    }
}

/// How far one host is with its part of a cut through an environment that lies on several. Written by that host, and
/// gone when the cut is concluded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CutPartRecord {
    /// The cut.
    pub cut: CutId,
    /// The host.
    pub host: HostName,
    /// How far it is.
    pub stage: CutStage,
}

impl Record for CutPartRecord {
    const PREFIX: &'static str = "cut-parts/";

    fn key(&self) -> String {
        Self::key_of(self.cut, &self.host)
    }
}

impl CutPartRecord {
    /// Where the part of a host is kept.
    #[must_use]
    pub fn key_of(cut: CutId, host: &HostName) -> String {
        format!("{}{host}", Self::prefix_of(cut))
    }

    /// The prefix of all parts of a cut.
    #[must_use]
    pub fn prefix_of(cut: CutId) -> String {
        format!("{}{cut}/", Self::PREFIX)
    }
}

/// The stages of a part. At the first two, hosts wait for one another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "is")]
pub enum CutStage {
    /// All that can be done while machines run is done.
    Prepared,
    /// The machines stand. None goes on before all do.
    Stopped,
    /// Over: what this host's part is, or why there is none.
    Over {
        /// As that of a cut, of the machines on this host alone.
        phase: CutPhase,
    },
}

impl CutStage {
    /// Whether it has come at least as far as `other`.
    #[must_use]
    pub const fn has_reached(&self, other: &Self) -> bool {
        self.rank() >= other.rank()
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Prepared => 1,
            Self::Stopped => 2,
            Self::Over { .. } => 3,
        }
    }
}

/// How far a cut is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "is")]
pub enum CutPhase {
    /// Asked for. A cut interrupted by the end of the daemon is made anew from here.
    Wanted,
    /// Made: these layers never change again.
    Done {
        /// The frozen disk of each machine.
        disks: IndexMap<MachineName, Disk>,
        /// Machines whose file systems were frozen by their agent during the cut.
        quiesced: Vec<MachineName>,
        /// The memory of each machine that ran, where that was wanted.
        #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
        memories: IndexMap<MachineName, FrozenMemory>,
        /// How long the machines stood, in microseconds; the longest of them.
        #[serde(default)]
        pause_us: u64,
    },
    /// Could not be made.
    Failed {
        /// Why.
        problem: Problem,
    },
}
