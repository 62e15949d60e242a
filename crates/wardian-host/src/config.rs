//! What the daemon is told, already checked, before anything is opened.

use std::{net::Ipv4Addr, ops::RangeInclusive, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use ipnet::Ipv4Net;
use tokio::sync::watch;
use wardian_model::{
    encapsulation::{Decapsulation, Encapsulation},
    environment::Problem,
    host::Accelerator,
    name::HostName,
};
use wardian_network::update::Updater;
use wardian_plan::{alias::AliasConfig, allocate::Pools, clocks::Compared, network::LabConfig};
use wardian_vault::{Digest, Vault};

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
    /// Which host of a cluster it is; none when its store is its own.
    pub member: Option<Membership>,
}

/// A host among others, with which it shares a store.
#[derive(Clone)]
pub struct Membership {
    /// Its name.
    pub name: HostName,
    /// How frames travel to the others.
    pub encapsulation: Encapsulation,
    /// Where they are taken out of their envelopes here.
    pub decapsulation: Decapsulation,
    /// The largest IP packet that the physical network takes between any two hosts, in bytes.
    pub mtu: u16,
    /// Where its machines get provider addresses of their own from.
    pub rewrite_addresses: Option<Ipv4Net>,
    /// Its address on the physical network.
    pub provider: Ipv4Addr,
    /// Its address on the lab network.
    pub lab_address: Ipv4Addr,
    /// Whether it is the host that does what is done once for all of them.
    pub leads: watch::Receiver<bool>,
    /// Brings images that other hosts have.
    pub images: Arc<dyn ImageSource>,
    /// Knows what time it is for other hosts.
    pub clocks: Arc<dyn Clocks>,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, encapsulation, provider, .. } = self;
        f.debug_struct("Membership")
            .field("name", name)
            .field("encapsulation", encapsulation)
            .field("provider", provider)
            .finish_non_exhaustive()
    }
}

/// Where images come from that this host doesn't have.
#[async_trait]
pub trait ImageSource: Send + Sync {
    /// Brings the image into the vault, from whichever host has it.
    async fn bring(&self, digest: &Digest, vault: &Vault) -> Result<(), Problem>;
}

/// The other hosts' clocks.
#[async_trait]
pub trait Clocks: Send + Sync {
    /// Compares the clock here with those of the hosts that are there.
    async fn compare(&self) -> Result<Compared, Problem>;
}

impl HostConfig {
    /// The pools identities come from.
    #[must_use]
    pub fn pools(&self) -> Pools {
        Pools { lab: self.lab.prefix, ports: self.ports.clone() }
    }
}
