//! The record of an environment: what was asked for, who it is, and how far it has come.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
    num::NonZeroU16,
};

use indexmap::IndexMap;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    claim::Claimed,
    id::{CutId, EnvironmentId, OperationId, SnapshotId},
    identity::{InsideIdentity, OutsideIdentity},
    join::Joined,
    mac::MacAddress,
    machine::MachineRecord,
    name::{EnvironmentName, HostName, MachineName, SnapshotName},
    record::Record,
    spec::{Acl, EnvironmentSpec, Fence, Gateway, IsolationMode, Protocol, Subnet},
    vsid::Vsid,
};

/// An environment. Requests change `desired`, `fence`, `gateway`, `acl`, `joined` and `exposed`; its controller changes
/// `phase`, and the controllers of its parts `out`, each for the machines on its own host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct EnvironmentRecord {
    /// This life of the environment.
    pub id: EnvironmentId,
    /// Its name, unique in the store.
    pub name: EnvironmentName,
    /// When it was asked for.
    #[schemars(with = "String")]
    pub created: Timestamp,
    /// What was asked for.
    pub spec: EnvironmentSpec,
    /// Where its inside comes from.
    pub origin: Origin,
    /// The host it is on, with its machines, its disks and its edge; nothing in a store that is one host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// What lies on other hosts than that; nothing while all of it is on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stretch: Option<Stretch>,
    /// Its edge on the lab network.
    pub edge: Edge,
    /// Who its machines are.
    pub identities: IndexMap<MachineName, MachineIdentity>,
    /// What may cross its edge now.
    pub fence: Fence,
    /// Through whom its machines reach the outside now.
    #[serde(default, skip_serializing_if = "Gateway::is_per_machine")]
    pub gateway: Gateway,
    /// What its machines may say to whom, and be told by whom, now.
    #[serde(default, skip_serializing_if = "Acl::is_empty")]
    pub acl: Acl,
    /// The environments whose routing domains are joined with its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Joined>,
    /// The ports that lead inside. Machines with the same port of the host share what comes there (see
    /// [`crate::door`]).
    #[serde(default)]
    pub exposed: Vec<Exposure>,
    /// The machines that get no new connections at ports they share with others, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub out: BTreeMap<MachineName, Out>,
    /// What it shall be.
    pub desired: Desired,
    /// Counts the requests to run; a machine whose own count is behind gets started (once).
    pub run: u32,
    /// The restore it was last asked for; its machines go back to that cut, all of them before any goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<Restore>,
    /// The snapshot its present state comes from; the parent of the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    /// When it shall be removed by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub expires: Option<Timestamp>,
    /// Whose it is, as its maker said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What it is.
    pub phase: EnvironmentPhase,
    /// The request its controller is carrying out.
    #[serde(default)]
    pub operation: Option<OperationId>,
}

impl Record for EnvironmentRecord {
    const PREFIX: &'static str = "environments/";

    fn key(&self) -> String {
        Self::key_of(&self.name)
    }
}

impl EnvironmentRecord {
    /// The host a machine is on; nothing in a store that is one host's own.
    #[must_use]
    pub fn host_of(&self, machine: &MachineName) -> Option<&HostName> {
        let elsewhere = self.stretch.as_ref().and_then(|stretch| stretch.elsewhere.get(machine));
        elsewhere.or(self.host.as_ref())
    }

    /// All hosts it has a part on.
    #[must_use]
    pub fn hosts(&self) -> BTreeSet<&HostName> {
        let elsewhere = self.stretch.iter().flat_map(|stretch| stretch.elsewhere.values());
        elsewhere.chain(&self.host).collect()
    }

    /// By which frames of one of its subnets are told from others' between hosts. As nobody else has its edge's slot,
    /// nobody else has it.
    #[must_use]
    pub const fn vsid_of(&self, subnet: &Subnet<'_>) -> Vsid {
        Vsid::of_subnet(self.edge.slot, subnet.place)
    }

    /// Those of all its subnets.
    pub fn vsids(&self) -> impl Iterator<Item = Vsid> + '_ {
        self.spec.network.subnets.iter().map(|subnet| self.vsid_of(&subnet))
    }

    /// By which its routing domain is told from others' between hosts: all its subnets are of it, and nobody else's.
    #[must_use]
    pub fn routing_domain(&self) -> u32 {
        self.edge.slot.into()
    }

    /// Everything it has of which there is one.
    pub fn claims(&self) -> impl Iterator<Item = Claimed> + '_ {
        let addresses = self.identities.values().map(|i| Claimed::Address(i.outside.address));
        let providers = self.identities.values().filter_map(|i| Some(Claimed::Address(i.provider?)));
        // Machines that share a port of the host have it together.
        let ports: BTreeSet<_> = self.exposed.iter().map(|e| (e.protocol, e.at.get())).collect();
        let ports = ports.into_iter().map(|(protocol, at)| Claimed::Port(protocol, at));
        std::iter::once(Claimed::Edge(self.edge.slot)).chain(addresses).chain(providers).chain(ports)
    }

    /// Whether that machine has its public address: one at which the lab network may reach it, and from which it may
    /// reach others. The address is the machine's all the same while it does not.
    #[must_use]
    pub fn has_outside(&self, machine: &MachineName) -> bool {
        self.spec.is_isolated()
            && self.spec.may_have_outside(machine)
            && match &self.gateway {
                Gateway::PerMachine => true,
                Gateway::Host => false,
                Gateway::Machine(gateway) => gateway == machine,
            }
    }

    /// The address that all machines share on the lab network, when the host is their gateway: the one that is the
    /// first machine's otherwise.
    #[must_use]
    pub fn shared_address(&self) -> Option<Ipv4Addr> {
        let first = self.identities.values().next().map(|identity| identity.outside.address);
        first.filter(|_| self.gateway == Gateway::Host)
    }

    /// The restore by which a machine still has to go back: the last one asked for, unless it has gone back by that.
    #[must_use]
    pub fn restore_due(&self, machine: &MachineRecord) -> Option<&Restore> {
        self.restore.as_ref().filter(|restore| machine.restored < restore.number)
    }

    /// Whether that machine has a second interface, on the lab network. One without an outside has none.
    #[must_use]
    pub fn has_second_interface(&self, machine: &MachineName) -> bool {
        self.has_second_interfaces() && self.has_outside(machine)
    }

    /// Whether machines have a second interface, on the lab network.
    #[must_use]
    pub fn has_second_interfaces(&self) -> bool {
        self.spec.isolation.mode == IsolationMode::DualInterface
    }

    /// Where the environment of that name is kept.
    #[must_use]
    pub fn key_of(name: &EnvironmentName) -> String {
        format!("{}{name}", Self::PREFIX)
    }
}

/// Where an environment's inside comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "from")]
pub enum Origin {
    /// An environment file: every machine starts from its image.
    File,
    /// A cut through another environment.
    Clone {
        /// The environment it was cloned from, as it was called then.
        name: EnvironmentName,
        /// That environment.
        id: EnvironmentId,
        /// The snapshot of it, when it was cloned from one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        snapshot: Option<SnapshotName>,
        /// Whether its machines boot even where the cut has memory to go on from.
        #[serde(default)]
        boot: bool,
        /// The cut its machines start from.
        cut: CutId,
    },
}

/// A request to go back to a cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Restore {
    /// Counts the restores of this environment; a machine whose own count is behind still has to go back.
    pub number: u32,
    /// The cut to go back to.
    pub cut: CutId,
    /// The snapshot's name, for messages.
    pub snapshot: SnapshotName,
    /// When it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub at: Option<Timestamp>,
}

/// Both identities of a machine, and what the host needs to tell it from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MachineIdentity {
    /// Equal in every clone.
    pub inside: InsideIdentity,
    /// Unique per instance.
    pub outside: OutsideIdentity,
    /// A number no other machine in the store has, 1 to 65535: the place of its public address in the lab network.
    /// The machine's own user id and its runtime directory are made from it.
    pub slot: u16,
    /// Its own provider address, which stands for its address inside where addresses are rewritten between hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Ipv4Addr>,
}

/// What of an environment lies on other hosts than its edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Stretch {
    /// The machines that are on another host, and on which. There is at least one.
    pub elsewhere: IndexMap<MachineName, HostName>,
}

/// Where an environment meets the lab network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Edge {
    /// A number no other environment in the store has, 1 to 65535; names of kernel objects are made from it.
    pub slot: u16,
    /// The hardware address of its interface on the lab network.
    pub mac: MacAddress,
}

/// A port of a machine that the outside may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Exposure {
    /// The machine.
    pub machine: MachineName,
    /// The port it listens on; the same port leads to it at its public address.
    pub port: NonZeroU16,
    /// The protocol.
    pub protocol: Protocol,
    /// The port that leads to it at the host's own addresses.
    pub at: NonZeroU16,
    /// The machine's public address, repeated here for the host's rules.
    pub address: Ipv4Addr,
}

/// Why a machine gets no new connections at ports it shares with others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Out {
    /// It has no process.
    Stopped,
    /// It is not ready yet.
    Booting,
    /// It was asked to shut down.
    Stopping,
    /// QEMU has paused it.
    Paused,
    /// Its probe fails.
    Silent {
        /// The probe, in words.
        probe: String,
    },
}

impl fmt::Display for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("does not run"),
            Self::Booting => f.write_str("is booting"),
            Self::Stopping => f.write_str("is being stopped"),
            Self::Paused => f.write_str("is paused"),
            Self::Silent { probe } => write!(f, "its probe fails ({probe})"),
        }
    }
}

/// What an environment shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Desired {
    /// All machines running.
    Running,
    /// No machine running; disks kept.
    Stopped,
    /// No machine running; disks kept, and the memory to go on from.
    Suspended,
    /// Gone, with all that belongs to it.
    Removed,
}

/// What an environment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "is")]
pub enum EnvironmentPhase {
    /// Asked for; nothing made yet.
    Pending,
    /// Waits for the cut through its source.
    Cloning,
    /// Network, disks or machines are being made, or not all machines are ready yet.
    Starting,
    /// Every machine is ready.
    Running,
    /// Was running; a machine is not, any more.
    Degraded,
    /// Machines are being stopped.
    Stopping,
    /// No machine runs.
    Stopped,
    /// Machines are stopped where they are, or their memory is being written to disk.
    Suspending,
    /// No machine runs; the memory of those that did is on disk.
    Suspended,
    /// Machines, network and disks are being removed.
    Removing,
    /// Could not become what it shall be.
    Failed {
        /// What failed, why, and what to do.
        problem: Problem,
    },
}

impl EnvironmentPhase {
    /// One word for tables.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Cloning => "cloning",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Suspending => "suspending",
            Self::Suspended => "suspended",
            Self::Removing => "removing",
            Self::Failed { .. } => "failed",
        }
    }
}

/// Something that went wrong, as a user reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// What failed and why, in one sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Further lines, such as the end of a console.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

impl Problem {
    /// A problem of one sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, details: Vec::new() }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With further lines.
    #[must_use]
    pub fn details(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(lines);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
