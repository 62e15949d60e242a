//! What made a memory file: enough to start the machine again that it fits, and to say why it can't be.

use serde::{Deserialize, Serialize};

/// The facts of one memory file, readable without reading the memory.
///
/// Keys this version does not know are skipped. A key that is added later needs a default, so that older files can
/// still be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MemoryFacts {
    /// Version of the QEMU that saved it, such as `10.0.2`.
    pub qemu: String,
    /// QEMU's machine type, with its version: `pc-i440fx-8.0`.
    pub machine_type: String,
    /// The accelerator it ran with: `tcg` or `kvm`.
    pub accelerator: String,
    /// QEMU's name of the processor model.
    pub cpu_model: String,
    /// How many processors it has.
    pub cpus: u32,
    /// Bytes of guest memory: the size of the memory file.
    pub memory_bytes: u64,
    /// When it was saved, as in RFC 3339. For people; not interpreted here.
    pub created: String,
    /// The machine's name. For messages; not interpreted here.
    pub machine: String,
}
