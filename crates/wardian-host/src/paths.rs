//! Where things are on a host. Part of the durable format: changes here need a migration.
//!
//! ```text
//! STATE/format                  version of this layout
//! STATE/instance              a word no other state directory has
//! STATE/records.sqlite          the store
//! STATE/records.moved         says that the store is a cluster's, and the one here is past
//! STATE/records.reserve         space it can still write to when the disk is full
//! STATE/vault/                  images, by digest
//! STATE/layers/LAYER.qcow2      disks of machines, above the images
//! STATE/memory/MEMORY.memory    memory of snapshots, with the state of the devices
//! STATE/seeds/ENVIRONMENT/MACHINE.img   first-boot configuration
//! RUN/m/SLOT/                   sockets, lock and console of one machine
//! RUN/m/SLOT.next/              the same of its successor, during a cut
//! RUN/memory/MEMORY.ram, .state memory at hand (a tmpfs), and the state of the devices that belongs to it
//! RUN/netns/ENVIRONMENT         its network namespace
//! ```

use std::path::{Path, PathBuf};

use wardian_model::{
    id::{EnvironmentId, LayerId, MemoryId},
    name::MachineName,
};

/// Names files and directories; touches none.
#[derive(Debug, Clone)]
pub struct Paths {
    state: PathBuf,
    run: PathBuf,
}

impl Paths {
    /// Below these two.
    #[must_use]
    pub fn new(state: &Path, run: &Path) -> Self {
        Self { state: state.to_owned(), run: run.to_owned() }
    }

    /// The durable directory itself.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The transient directory itself.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The version of the layout.
    #[must_use]
    pub fn format(&self) -> PathBuf {
        self.state.join("format")
    }

    /// A word no other state directory has.
    #[must_use]
    pub fn instance(&self) -> PathBuf {
        self.state.join("instance")
    }

    /// The store.
    #[must_use]
    pub fn records(&self) -> PathBuf {
        self.state.join("records.sqlite")
    }

    /// What says that the records are a cluster's now.
    #[must_use]
    pub fn moved(&self) -> PathBuf {
        self.state.join("records.moved")
    }

    /// Space kept for the store.
    #[must_use]
    pub fn reserve(&self) -> PathBuf {
        self.state.join("records.reserve")
    }

    /// The images.
    #[must_use]
    pub fn vault(&self) -> PathBuf {
        self.state.join("vault")
    }

    /// All layers.
    #[must_use]
    pub fn layers(&self) -> PathBuf {
        self.state.join("layers")
    }

    /// One layer.
    #[must_use]
    pub fn layer(&self, layer: LayerId) -> PathBuf {
        self.layers().join(format!("{layer}.qcow2"))
    }

    /// Memory at hand.
    #[must_use]
    pub fn memory(&self) -> PathBuf {
        self.run.join("memory")
    }

    /// One machine's memory, at hand.
    #[must_use]
    pub fn ram(&self, memory: MemoryId) -> PathBuf {
        self.memory().join(format!("{memory}.ram"))
    }

    /// The state of the devices that belongs to frozen memory, at hand.
    #[must_use]
    pub fn device_state(&self, memory: MemoryId) -> PathBuf {
        self.memory().join(format!("{memory}.state"))
    }

    /// The memory of snapshots.
    #[must_use]
    pub fn saved_memories(&self) -> PathBuf {
        self.state.join("memory")
    }

    /// One machine's memory in a snapshot, with the state of its devices.
    #[must_use]
    pub fn saved_memory(&self, memory: MemoryId) -> PathBuf {
        self.saved_memories().join(format!("{memory}.memory"))
    }

    /// The seeds of an environment.
    #[must_use]
    pub fn seeds(&self, environment: EnvironmentId) -> PathBuf {
        self.state.join("seeds").join(environment.to_string())
    }

    /// The seed of a machine.
    #[must_use]
    pub fn seed(&self, environment: EnvironmentId, machine: &MachineName) -> PathBuf {
        self.seeds(environment).join(format!("{machine}.img"))
    }

    /// The runtime directory of a machine. By slot, for a socket's path has 107 bytes and a name may have 63.
    #[must_use]
    pub fn machine(&self, slot: u16) -> PathBuf {
        self.machines().join(slot.to_string())
    }

    /// The network namespace of an environment; `wardian-network` puts it there.
    #[must_use]
    pub fn namespace(&self, environment: EnvironmentId) -> PathBuf {
        self.run.join("netns").join(environment.to_string())
    }

    /// All runtime directories.
    #[must_use]
    pub fn machines(&self) -> PathBuf {
        self.run.join("m")
    }
}
