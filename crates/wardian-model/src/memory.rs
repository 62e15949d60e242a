//! The memory of a machine at one moment: what there is of it, and who can go on from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{host::Accelerator, id::MemoryId};

/// Frozen memory and the state of the devices that belongs to it. Its files never change again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FrozenMemory {
    /// Names the files.
    pub id: MemoryId,
    /// The version of QEMU that saved it; an older one can't go on from it.
    pub qemu: String,
    /// The machine type; another one can't go on from it.
    pub machine_type: String,
    /// How the guest's instructions were executed.
    pub accelerator: Accelerator,
    /// Virtual processors.
    pub cpus: u8,
    /// In bytes.
    pub size: u64,
    /// The VM generation id the guest had.
    #[serde(default)]
    pub generation: String,
}
