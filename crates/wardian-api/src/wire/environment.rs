//! Environments: one line of a list, and the whole of one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardian_model::{environment as model, machine::MachineRecord, spec};
use wardian_plan::alias::{AliasConfig, aliases_of};

use super::{AclDenied, Inside, MachineDetail, Operation, Outside, Problem, Snapshot, SnapshotList, SnapshotPlace};

/// One environment in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct EnvironmentSummary {
    /// Its name, unique in the store.
    pub name: String,
    /// This life of it.
    pub id: String,
    /// What it is.
    pub phase: EnvironmentPhase,
    /// How many machines it has.
    pub machines_total: usize,
    /// How many of them are ready.
    pub machines_ready: usize,
    /// When it was asked for.
    pub created: String,
    /// What may cross its edge.
    pub fence: Fence,
    /// Where its inside comes from.
    pub origin: Origin,
    /// The host it is on, where there are several: the one that has its edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// All hosts it has a part on, in the order of their names; empty where there is one host only.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When it is removed by itself; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Why it failed, or the first problem of its machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// Environments, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct EnvironmentList {
    /// They.
    pub environments: Vec<EnvironmentSummary>,
}

/// Everything about one environment: the keys of its summary, and more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct EnvironmentDetail {
    /// What a list says of it.
    #[serde(flatten)]
    pub summary: EnvironmentSummary,
    /// The machines, in the order of the file.
    pub machines: Vec<MachineDetail>,
    /// The subnet inside; of several, the first.
    pub subnet: String,
    /// The subnets by name, the first one first; empty where there is one without a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<InsideSubnet>,
    /// The domain of the machines' full names.
    pub domain: String,
    /// The environments it is joined with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<String>,
    /// The gateway inside: the last host address of the subnet.
    pub gateway: String,
    /// How its inside meets the lab network: `two-way-nat`, `dual-interface`, or `none`: not isolated.
    pub mode: String,
    /// Through whom its machines reach the outside: `per-machine`, `host`, or the name of the machine that forwards for
    /// the others.
    pub outside_by: String,
    /// What its network has dropped or answered by a reset since it was made: how many packets, by reason. Empty while
    /// it has no network.
    ///
    /// At the edge: `fence-in` and `fence-out` are what the fence doesn't let in and out, `not-public` would have left
    /// with a private address. At the gateway: `fence-inside` (between machines, by way of it), `to-gateway` (no such
    /// service), `invalid`, `reset-inside` and `reset-outside` (of connections nobody knows). At machines' taps:
    /// `forged-mac`, `forged-arp`, `forged-address`, `rogue-dhcp`, `ipv6`, `other`, and `parked`, which nobody misses.
    #[serde(default)]
    pub fence_counters: BTreeMap<String, u64>,
    /// What its machines on the host that answers were not allowed to say and hear since there were rules about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<AclDenied>,
    /// The operation being carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The environments its inside comes from, nearest first; empty when it comes from a file.
    pub lineage: Vec<Ancestor>,
    /// Its snapshots, oldest first.
    pub snapshots: Vec<Snapshot>,
    /// The snapshot its present state comes from, where it is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<SnapshotPlace>,
}

/// What an environment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
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
    /// No machine runs; the memory of those that did is on disk, and a start goes on from it.
    Suspended,
    /// Machines, network and disks are being removed.
    Removing,
    /// Could not become what it shall be.
    Failed,
}

impl EnvironmentPhase {
    /// As it is written in JSON and in tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
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
            Self::Failed => "failed",
        }
    }
}

/// Where an environment's inside comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "from")]
pub enum Origin {
    /// An environment file: every machine started from its image.
    File,
    /// A cut through another environment.
    Clone {
        /// The environment it was cloned from, as it was called then.
        name: String,
        /// That environment.
        id: String,
        /// The snapshot of it that was cloned; it was cloned as it was then when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        snapshot: Option<String>,
        /// The cut its machines start from.
        cut: String,
    },
}

/// An environment another one comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Ancestor {
    /// Its name.
    pub name: String,
    /// That life of it.
    pub id: String,
    /// Whether it is still there.
    pub exists: bool,
    /// The snapshot of it that was cloned, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// What may cross an environment's edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fence {
    /// Both ways.
    Open,
    /// Connections from inside; from outside only to exposed ports.
    OutOnly,
    /// Nothing.
    Sealed,
}

impl Fence {
    /// As it is written in JSON and in tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::OutOnly => "out-only",
            Self::Sealed => "sealed",
        }
    }
}

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As it is written in JSON and in tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A port of a machine that the outside may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Exposure {
    /// The machine.
    pub machine: String,
    /// The port it listens on; the same port leads to it at `address`.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The port that leads to it at the host's own addresses.
    pub at: u16,
    /// The machine's public address.
    pub address: String,
    /// The other machines that share the host's port: each new connection there goes to one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
    /// Why the machine gets none of the new connections that it shares with others; absent while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
}

/// Both identities of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Addresses {
    /// The machine.
    pub machine: String,
    /// What it knows of itself; equal in every clone.
    pub inside: Inside,
    /// How the outside knows it; unique per instance. Missing where it has no outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Outside>,
    /// Its own address on the physical network, where addresses are rewritten between the hosts of its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_address: Option<String>,
    /// Its DNS name on the lab network: the same when an environment of that name is made again. Absent while the
    /// environment is being removed, or where it has no outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// A second one, which belongs to this life of this machine and never leads to another. Absent as `alias` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque_alias: Option<String>,
    /// The ports that lead to it.
    pub exposed: Vec<Exposure>,
}

/// The identities of an environment's machines, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AddressList {
    /// The environment.
    pub environment: String,
    /// They.
    pub addresses: Vec<Addresses>,
}

impl EnvironmentSummary {
    /// From the records of an environment and its machines.
    #[must_use]
    pub fn new(record: &model::EnvironmentRecord, machines: &[MachineRecord]) -> Self {
        use wardian_model::machine::MachinePhase;
        let problem = match &record.phase {
            model::EnvironmentPhase::Failed { problem } => Some(problem),
            _ => machines.iter().find_map(|machine| machine.phase.problem()),
        };
        Self {
            name: record.name.to_string(),
            id: record.id.to_string(),
            phase: (&record.phase).into(),
            machines_total: record.spec.machines.len(),
            machines_ready: machines.iter().filter(|m| matches!(m.phase, MachinePhase::Ready { .. })).count(),
            created: record.created.to_string(),
            fence: record.fence.into(),
            origin: (&record.origin).into(),
            host: record.host.as_ref().map(ToString::to_string),
            hosts: record.hosts().into_iter().map(ToString::to_string).collect(),
            owner: record.owner.clone(),
            expires: record.expires.map(|at| at.to_string()),
            problem: problem.map(Problem::from),
        }
    }
}

impl EnvironmentDetail {
    /// From the records of an environment and its machines.
    #[must_use]
    pub fn new(
        record: &model::EnvironmentRecord,
        machines: &[MachineRecord],
        operation: Option<Operation>,
        lineage: Vec<Ancestor>,
        snapshots: SnapshotList,
        counters: &[(&'static str, u64)],
    ) -> Self {
        Self {
            summary: EnvironmentSummary::new(record, machines),
            machines: MachineDetail::all(record, machines),
            subnet: record.spec.network.subnets.first().net.to_string(),
            subnets: InsideSubnet::all(record),
            joined: record.joined.iter().map(|joined| joined.name.to_string()).collect(),
            domain: record.spec.network.domain.to_string(),
            gateway: record.spec.network.subnets.first().gateway().to_string(),
            mode: record.spec.isolation.mode.to_string(),
            outside_by: record.gateway.to_string(),
            fence_counters: counters.iter().map(|(reason, count)| (reason.replace('_', "-"), *count)).collect(),
            denied: Vec::new(),
            operation,
            lineage,
            snapshots: snapshots.snapshots,
            at: snapshots.at,
        }
    }
}

/// A subnet inside an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct InsideSubnet {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub subnet: String,
    /// Its gateway: the last host address.
    pub gateway: String,
}

impl InsideSubnet {
    fn all(record: &model::EnvironmentRecord) -> Vec<Self> {
        let named = record.spec.network.subnets.iter().filter_map(|subnet| {
            let (name, gateway) = (subnet.name?.to_string(), subnet.gateway().to_string());
            Some(Self { name, subnet: subnet.net.to_string(), gateway })
        });
        named.collect()
    }
}

impl AddressList {
    /// From the record of an environment, and how machines are named.
    #[must_use]
    pub fn new(record: &model::EnvironmentRecord, config: &AliasConfig) -> Self {
        let aliases = aliases_of(record, config);
        let addresses = record
            .identities
            .iter()
            .map(|(name, identity)| {
                let names = aliases.iter().find(|aliases| aliases.machine == *name);
                Addresses {
                    machine: name.to_string(),
                    inside: Inside::new(&identity.inside, &record.spec.network.domain),
                    outside: record.has_outside(name).then(|| (&identity.outside).into()),
                    provider_address: identity.provider.map(|address| address.to_string()),
                    alias: names.map(|names| names.stable.to_string()),
                    opaque_alias: names.map(|names| names.opaque.to_string()),
                    exposed: Exposure::of(record, name),
                }
            })
            .collect();
        Self { environment: record.name.to_string(), addresses }
    }
}

impl Exposure {
    /// One of an environment's.
    #[must_use]
    pub fn new(record: &model::EnvironmentRecord, exposure: &model::Exposure) -> Self {
        let with: Vec<String> = record.shares_with(exposure).map(ToString::to_string).collect();
        let out = record.out.get(&exposure.machine).filter(|_| !with.is_empty()).map(ToString::to_string);
        Self { with, out, ..exposure.into() }
    }

    /// The exposed ports of one machine.
    #[must_use]
    pub fn of(record: &model::EnvironmentRecord, machine: &wardian_model::name::MachineName) -> Vec<Self> {
        let own = record.exposed.iter().filter(|exposure| exposure.machine == *machine);
        own.map(|exposure| Self::new(record, exposure)).collect()
    }
}

impl From<&model::Exposure> for Exposure {
    fn from(exposure: &model::Exposure) -> Self {
        Self {
            machine: exposure.machine.to_string(),
            port: exposure.port.get(),
            protocol: exposure.protocol.into(),
            at: exposure.at.get(),
            address: exposure.address.to_string(),
            with: Vec::new(),
            out: None,
        }
    }
}

impl From<&model::EnvironmentPhase> for EnvironmentPhase {
    fn from(phase: &model::EnvironmentPhase) -> Self {
        match phase {
            model::EnvironmentPhase::Pending => Self::Pending,
            model::EnvironmentPhase::Cloning => Self::Cloning,
            model::EnvironmentPhase::Starting => Self::Starting,
            model::EnvironmentPhase::Running => Self::Running,
            model::EnvironmentPhase::Degraded => Self::Degraded,
            model::EnvironmentPhase::Stopping => Self::Stopping,
            model::EnvironmentPhase::Stopped => Self::Stopped,
            model::EnvironmentPhase::Suspending => Self::Suspending,
            model::EnvironmentPhase::Suspended => Self::Suspended,
            model::EnvironmentPhase::Removing => Self::Removing,
            model::EnvironmentPhase::Failed { .. } => Self::Failed,
        }
    }
}

impl From<&model::Origin> for Origin {
    fn from(origin: &model::Origin) -> Self {
        match origin {
            model::Origin::File => Self::File,
            model::Origin::Clone { name, id, snapshot, cut, .. } => Self::Clone {
                name: name.to_string(),
                id: id.to_string(),
                snapshot: snapshot.as_ref().map(ToString::to_string),
                cut: cut.to_string(),
            },
        }
    }
}

impl From<spec::Fence> for Fence {
    fn from(fence: spec::Fence) -> Self {
        match fence {
            spec::Fence::Open => Self::Open,
            spec::Fence::OutOnly => Self::OutOnly,
            spec::Fence::Sealed => Self::Sealed,
        }
    }
}

impl From<Fence> for spec::Fence {
    fn from(fence: Fence) -> Self {
        match fence {
            Fence::Open => Self::Open,
            Fence::OutOnly => Self::OutOnly,
            Fence::Sealed => Self::Sealed,
        }
    }
}

impl From<spec::Protocol> for Protocol {
    fn from(protocol: spec::Protocol) -> Self {
        match protocol {
            spec::Protocol::Tcp => Self::Tcp,
            spec::Protocol::Udp => Self::Udp,
        }
    }
}

impl From<Protocol> for spec::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
        }
    }
}
