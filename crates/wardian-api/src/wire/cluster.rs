//! The hosts of a cluster, and where an environment goes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardian_host::{HostStanding, Placement as Placed};

/// The hosts that share one store, in the order of their names. Empty where this host is alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostList {
    /// They.
    pub hosts: Vec<HostSummary>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostSummary {
    /// Its name.
    pub name: String,
    /// Whether its daemon is there and reaches the store. Machines run on without.
    pub phase: HostPhase,
    /// Whether it is the one that answers.
    pub here: bool,
    /// Whether it does what is done once for all of them.
    pub leads: bool,
    /// Its address on the physical network.
    pub provider_address: String,
    /// Its address on the lab network.
    pub lab_address: String,
    /// The machines on it, running or not.
    pub machines: usize,
    /// The memory it has for machines.
    pub memory_bytes: u64,
    /// How much of it is promised to machines that shall run.
    pub promised_bytes: u64,
    /// Its processors.
    pub cores: u32,
    /// The version of its daemon.
    pub version: String,
    /// The version of its QEMU.
    pub qemu: String,
    /// Since when its daemon is there, by its own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// What a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostPhase {
    /// Its daemon is there.
    Up,
    /// It isn't, or can't reach the store.
    Down,
}

impl HostPhase {
    /// As it is written in JSON and in tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What becomes of a host that comes into a cluster. Its daemon starts again as soon as this is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct JoinReport {
    /// Its name there.
    pub host: String,
    /// The hosts that are there already, in the order of their names.
    pub hosts: Vec<String>,
    /// Its address on the lab network from then on, unless another host is faster.
    pub lab_address: String,
    /// How many environments it brings along.
    pub environments: usize,
    /// How many machines they have, running or not.
    pub machines: usize,
    /// How many images it brings along.
    pub images: usize,
    /// How many snapshots it brings along.
    pub snapshots: usize,
}

/// Where an environment would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Placement {
    /// The environment.
    pub environment: String,
    /// The host of its edge; absent where this host is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The host of each machine; empty where this host is alone.
    #[serde(default)]
    pub machines: BTreeMap<String, String>,
    /// Why, line by line: what was decided, and what the other hosts were to it.
    pub why: Vec<String>,
}

impl From<HostStanding> for HostSummary {
    fn from(host: HostStanding) -> Self {
        let HostStanding { record, presence, leads, here, machines, promised, memory } = host;
        Self {
            phase: if presence.is_some() { HostPhase::Up } else { HostPhase::Down },
            here,
            leads,
            provider_address: record.provider.to_string(),
            lab_address: record.lab_address.to_string(),
            machines,
            memory_bytes: memory.as_bytes(),
            promised_bytes: promised.as_bytes(),
            cores: record.cores,
            version: record.version,
            qemu: record.qemu,
            since: presence.map(|presence| presence.since.to_string()),
            name: record.name.to_string(),
        }
    }
}

impl Placement {
    /// Of the environment of that name.
    #[must_use]
    pub fn new(environment: String, placed: Option<Placed>) -> Self {
        match placed {
            Some(Placed { home, machines, why }) => Self {
                environment,
                host: Some(home.to_string()),
                machines: machines.iter().map(|(machine, host)| (machine.to_string(), host.to_string())).collect(),
                why,
            },
            None => Self { environment, host: None, machines: BTreeMap::new(), why: Vec::new() },
        }
    }
}
