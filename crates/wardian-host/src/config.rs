//! What the daemon is told, already checked, before anything is opened.

use std::{ops::RangeInclusive, path::PathBuf};

use wardian_model::host::Accelerator;
use wardian_network::update::Updater;
use wardian_plan::{alias::AliasConfig, allocate::Pools, network::LabConfig};

/// Configuration of one host.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Where records, images and disks are kept; survives a reboot.
    pub state_directory: PathBuf,
    /// Where sockets, locks and namespaces are; gone after a reboot. Its path must be short: sockets live below it.
    pub run_directory: PathBuf,
    /// The lab network.
    pub lab: LabConfig,
    /// Which names machines get on it.
    pub aliases: AliasConfig,
    /// Tells a name server elsewhere of them, if there is one to tell.
    pub updater: Option<Updater>,
    /// How guests run; `None` finds out.
    pub accelerator: Option<Accelerator>,
    /// QEMU.
    pub qemu: PathBuf,
    /// The host's ports for exposures that name none.
    pub ports: RangeInclusive<u16>,
}

impl HostConfig {
    /// The pools identities come from.
    #[must_use]
    pub fn pools(&self) -> Pools {
        Pools { lab: self.lab.prefix, ports: self.ports.clone() }
    }
}
