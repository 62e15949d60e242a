//! What a user asks for: an environment, its machines, its network and its fence. Every default is explicit here.
//!
//! These types are what the environment file deserializes into and what records keep. Whether the parts fit
//! together (graph of starts, addresses in the subnet) is for [`crate::file`].

mod acl;
mod expose;
mod gateway;
mod network;
mod placement;
mod readiness;

use std::net::Ipv4Addr;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use acl::{Acl, AclAction, AclDirection, AclEnd, AclError, AclPeer, AclPorts, AclProtocol, AclRule, MAX_RULES};
pub use expose::{Expose, ExposeError, Protocol};
pub use gateway::{Gateway, GatewayError, UnreachableError};
pub use network::{NetworkSpec, Subnet, Subnets, SubnetsError};
pub use placement::{PlacementPolicy, PlacementSpec};
pub use readiness::{HttpProbe, Probe, Readiness};

use crate::{
    bandwidth::Bandwidth,
    mac::MacAddress,
    name::{EnvironmentName, Hostname, ImageName, MachineName, SubnetName},
    size::ByteSize,
};

/// A named set of machines with its own network and fence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EnvironmentSpec {
    /// Unique in the store; `wardian up --name` overrides it.
    pub name: EnvironmentName,
    /// The machines; their order decides their addresses.
    pub machines: IndexMap<MachineName, MachineSpec>,
    /// The network inside.
    #[serde(default)]
    pub network: NetworkSpec,
    /// What the outside sees.
    #[serde(default)]
    pub isolation: IsolationSpec,
    /// Which hosts its machines go to, where there are several.
    #[serde(default, skip_serializing_if = "PlacementSpec::is_default")]
    pub placement: PlacementSpec,
    /// What it uses outside of itself, in words: a directory, a database. Isolation can't keep clones apart there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_outside: Vec<String>,
}

impl EnvironmentSpec {
    /// What it and its machines use outside: who, and what.
    pub fn dependencies(&self) -> impl Iterator<Item = (Option<&MachineName>, &str)> {
        let own = self.depends_outside.iter().map(|what| (None, what.as_str()));
        let of_machines = self
            .machines
            .iter()
            .flat_map(|(name, machine)| machine.depends_outside.iter().map(move |what| (Some(name), what.as_str())));
        own.chain(of_machines)
    }
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MachineSpec {
    /// The image its disk starts from.
    pub image: ImageName,
    /// The computer name; the machine's name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
    /// Memory; 512 MiB by default.
    #[serde(default = "MachineSpec::default_memory")]
    pub memory: ByteSize,
    /// Virtual processors, 1 to 255; 1 by default.
    #[serde(default = "MachineSpec::default_cpus")]
    pub cpus: u8,
    /// Size of the disk; the image's by default, and never smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<ByteSize>,
    /// The subnet it is in; the first one by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<SubnetName>,
    /// A chosen address inside; by default the first free one in file order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// A chosen hardware address inside; by default one from Wardian's range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// What it is to the others, where that is more than one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Machines that must be *ready* before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub start_after: Vec<MachineName>,
    /// When the machine counts as ready; when its guest agent answers, by default.
    #[serde(default)]
    pub ready: Readiness,
    /// First-boot configuration, for images with cloud-init.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<CloudInit>,
    /// What it may say and hear; asked before the network's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acl: Vec<AclRule>,
    /// Whether it may speak inside under other hardware and IPv4 addresses than its own, as network load balancing in
    /// guests does. Outside of its environment it can't.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_spoofing: bool,
    /// Limits beyond memory and processors.
    #[serde(default)]
    pub limits: Limits,
    /// What becomes of its VM generation id in a clone or after a restore.
    #[serde(default, skip_serializing_if = "GenerationId::is_fresh")]
    pub generation_id: GenerationId,
    /// What it uses outside of the environment, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_outside: Vec<String>,
}

/// What becomes of a machine's VM generation id when it becomes a copy of itself, by a clone or a restore.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GenerationId {
    /// A new one: the guest renews what must be unique, such as random numbers.
    #[default]
    Fresh,
    /// The same: for guests that do more than that on a new one.
    Keep,
}

impl GenerationId {
    /// Whether it is the default.
    #[must_use]
    pub const fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh)
    }
}

impl EnvironmentSpec {
    /// The machine that is the domain controller. A checked specification has one at most.
    #[must_use]
    pub fn domain_controller(&self) -> Option<&MachineName> {
        self.machines.iter().find(|(_, machine)| machine.role == Some(Role::DomainController)).map(|(name, _)| name)
    }

    /// Whether its machines are kept apart from other environments at all.
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        self.isolation.mode != IsolationMode::None
    }

    /// Whether a machine of this name may have an outside at all: ways to reach others there, and to be reached.
    #[must_use]
    pub fn may_have_outside(&self, machine: &MachineName) -> bool {
        self.machines.get(machine).is_none_or(|spec| spec.role != Some(Role::DomainController))
    }
}

/// What a machine is to the others of its environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The environment's domain controller: its address is the name server of all machines, and it has no outside,
    /// whatever the fence. Two controllers of one domain that saw one another would spoil it.
    DomainController,
}

impl MachineSpec {
    const fn default_memory() -> ByteSize {
        ByteSize::mib(512)
    }

    const fn default_cpus() -> u8 {
        1
    }
}

/// First-boot configuration, handed to the guest as a NoCloud seed disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CloudInit {
    /// Public keys the default user accepts, in `authorized_keys` form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
    /// The user data, verbatim: `#cloud-config` or a `#!` script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
}

/// Limits of one machine on its host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Processor time, in percent of one core; unlimited by default. 1 at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<u32>,
    /// What it may be told by all others together; unlimited by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_in: Option<Bandwidth>,
    /// What it may say to all others together; unlimited by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_out: Option<Bandwidth>,
}

/// What the outside sees of an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct IsolationSpec {
    /// How inside addresses meet the lab network.
    #[serde(default)]
    pub mode: IsolationMode,
    /// What may cross the edge.
    #[serde(default)]
    pub fence: Fence,
    /// Through whom: `per-machine`, `host`, or a machine that forwards for the others.
    #[serde(default, skip_serializing_if = "Gateway::is_per_machine")]
    pub gateway: Gateway,
    /// Ports that may be reached from outside even when the fence is `out-only`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<Expose>,
}

/// How inside addresses meet the lab network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IsolationMode {
    /// Each machine has one public address that maps to its private one, both ways.
    #[default]
    TwoWayNat,
    /// Each machine has a second interface, on the lab network itself, with a hardware address of this instance and the
    /// public address; the first one stays inside.
    DualInterface,
    /// Nothing stands between the machines and the lab network: they are there under their inside names and addresses,
    /// as every other instance is, and collide with it. To show what isolation is for.
    None,
}

impl std::fmt::Display for IsolationMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::TwoWayNat => "two-way-nat",
            Self::DualInterface => "dual-interface",
            Self::None => "none",
        })
    }
}

/// What may cross an environment's edge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fence {
    /// Both ways.
    Open,
    /// Connections from inside; from outside only to exposed ports.
    #[default]
    OutOnly,
    /// Nothing.
    Sealed,
}

impl std::fmt::Display for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::OutOnly => "out-only",
            Self::Sealed => "sealed",
        })
    }
}
