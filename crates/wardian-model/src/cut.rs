//! The record of a cut: one moment of all machines of an environment, from which clones and restores start.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    environment::Problem,
    id::{CutId, EnvironmentId},
    machine::Disk,
    memory::FrozenMemory,
    name::{EnvironmentName, MachineName},
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
