//! The records of a cluster: what all its hosts agree on, each host, which of them are there, and who leads.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{encapsulation::Encapsulation, id::EnvironmentId, name::HostName, record::Record};

/// What all hosts of a cluster agree on. The first one writes it; who differs does not come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterRecord {
    /// The lab network, which is one for all of them.
    #[schemars(with = "String")]
    pub lab: Ipv4Net,
    /// The zone of the aliases.
    pub zone: String,
    /// The first and the last of the hosts' ports for exposures that name none.
    pub ports: (u16, u16),
    /// How frames travel between hosts.
    pub encapsulation: Encapsulation,
    /// The largest IP packet that the physical network takes between any two hosts, in bytes. Clusters that don't say
    /// are of the time before they could.
    #[serde(default = "common_underlay")]
    pub mtu: u16,
    /// By which hosts know each other where they talk directly: 32 random bytes in hexadecimal. Who can read the store
    /// is a host.
    pub secret: String,
}

const fn common_underlay() -> u16 {
    Encapsulation::COMMON_UNDERLAY
}

impl Record for ClusterRecord {
    const PREFIX: &'static str = "cluster/";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}

impl ClusterRecord {
    /// Where it is kept.
    pub const KEY: &'static str = "cluster/settings";
}

/// A host of a cluster. It stays when the host goes down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostRecord {
    /// Its name.
    pub name: HostName,
    /// The word of its state directory, by which it is told from another host of that name.
    pub instance: String,
    /// Its address on the physical network.
    pub provider: Ipv4Addr,
    /// Where other hosts reach its daemon.
    pub peer: SocketAddrV4,
    /// Its address on the lab network.
    pub lab_address: Ipv4Addr,
    /// Its memory, in MiB.
    pub memory_mib: u64,
    /// Its processors.
    pub cores: u32,
    /// The version of its daemon.
    pub version: String,
    /// The version of its QEMU.
    pub qemu: String,
    /// How it can send frames to others.
    pub encapsulations: Vec<Encapsulation>,
    /// Where machines on it get provider addresses of their own from: what the physical network brings to this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub rewrite_addresses: Option<Ipv4Net>,
    /// When it came in first.
    #[schemars(with = "String")]
    pub joined: Timestamp,
}

impl Record for HostRecord {
    const PREFIX: &'static str = "hosts/";

    fn key(&self) -> String {
        Self::key_of(&self.name)
    }
}

impl HostRecord {
    /// Where the host of that name is kept.
    #[must_use]
    pub fn key_of(name: &HostName) -> String {
        format!("{}{name}", Self::PREFIX)
    }
}

/// That a host's daemon is there and reaches the store. It hangs on a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PresenceRecord {
    /// The host.
    pub host: HostName,
    /// Since when the host runs: `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// This run of its daemon: no other has the same word.
    pub daemon: String,
    /// When it came, by its own clock.
    #[schemars(with = "String")]
    pub since: Timestamp,
}

impl Record for PresenceRecord {
    const PREFIX: &'static str = "presence/";

    fn key(&self) -> String {
        Self::key_of(&self.host)
    }
}

impl PresenceRecord {
    /// Where that of a host is kept.
    #[must_use]
    pub fn key_of(host: &HostName) -> String {
        format!("{}{host}", Self::PREFIX)
    }
}

/// That an environment has a part on a host other than its edge's. Made with the environment, and gone when nothing of
/// the part is left there; only then may the environment's own record go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PartRecord {
    /// The environment.
    pub environment_id: EnvironmentId,
    /// The host.
    pub host: HostName,
}

impl Record for PartRecord {
    const PREFIX: &'static str = "parts/";

    fn key(&self) -> String {
        format!("{}{}", Self::prefix_of(self.environment_id), self.host)
    }
}

impl PartRecord {
    /// The prefix of all parts of an environment.
    #[must_use]
    pub fn prefix_of(environment: EnvironmentId) -> String {
        format!("{}{environment}/", Self::PREFIX)
    }
}

/// Which host does what is done once for all of them. It hangs on the lease of that host's presence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct LeaderRecord {
    /// The host.
    pub host: HostName,
    /// The run of its daemon.
    pub daemon: String,
    /// Since when, by its own clock.
    #[schemars(with = "String")]
    pub since: Timestamp,
}

impl Record for LeaderRecord {
    const PREFIX: &'static str = "leader/";

    fn key(&self) -> String {
        Self::KEY.to_owned()
    }
}

impl LeaderRecord {
    /// Where it is kept.
    pub const KEY: &'static str = "leader/cluster";
}
