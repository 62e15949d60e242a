//! Machines: everything about one, inside and outside.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardian_model::Timestamp;
use wardian_model::{
    environment::EnvironmentRecord,
    identity,
    machine::{self as model, MachineRecord},
    name::Domain,
};

use super::{Exposure, Problem};

/// One machine of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MachineDetail {
    /// Its name in the environment.
    pub name: String,
    /// What it is.
    pub phase: MachinePhase,
    /// Why it stopped, where it ran before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Why it failed, is paused or did not get ready, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// The host it is on, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The image its disk started from.
    pub image: String,
    /// Its memory, in bytes.
    pub memory_bytes: u64,
    /// Its virtual processors.
    pub cpus: u8,
    /// What is known of its guest agent.
    pub agent: Agent,
    /// Its second interface, the one on the lab network, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<SecondInterface>,
    /// The process it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When it was started; for a stopping one, when it was asked to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How long it took to become ready, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_after_ms: Option<u64>,
    /// What it knows of itself; equal in every clone.
    pub inside: Inside,
    /// How the outside knows it; unique per instance. Missing where it has no outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Outside>,
    /// Its own address on the physical network, where addresses are rewritten between the hosts of its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_address: Option<String>,
    /// The ports that lead to it.
    pub exposed: Vec<Exposure>,
}

/// What a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MachinePhase {
    /// No process.
    Stopped,
    /// A process; not ready yet.
    Booting,
    /// A process; was ready at least once since its start.
    Ready,
    /// A process that QEMU has paused.
    Paused,
    /// A process that did not get ready in time. It is left running, for somebody to look at.
    Unready,
    /// Was asked to shut down.
    Stopping,
    /// No process, and not by request.
    Failed,
}

impl MachinePhase {
    /// As it is written in JSON and in tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Booting => "booting",
            Self::Ready => "ready",
            Self::Paused => "paused",
            Self::Unready => "unready",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        }
    }
}

/// What is known of a machine's guest agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "is")]
pub enum Agent {
    /// Not asked yet.
    Unknown,
    /// It answered.
    Answers {
        /// Its version.
        version: String,
    },
    /// It has not answered since the machine got ready. Everything that doesn't need it works.
    Silent,
}

/// How far a machine's second interface has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "is")]
pub enum SecondInterface {
    /// Its link is up; the guest has not been told of the other machines yet.
    New {
        /// Why not, where it was tried.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Its link is down, for the guest still has another instance's addresses there.
    Held {
        /// Why it could not be given its own, where it was tried.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The guest has its own addresses; the link is up.
    Set,
}

/// What a guest knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Inside {
    /// Its computer name.
    pub hostname: String,
    /// Its computer name in the environment's domain.
    pub fqdn: String,
    /// Its address.
    pub address: String,
    /// Its interface's hardware address.
    pub mac: String,
    /// Its SMBIOS system UUID.
    pub uuid: String,
}

/// How the outside knows a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Outside {
    /// Its address on the lab network.
    pub address: String,
    /// The hardware address that answers for it there.
    pub mac: String,
}

impl MachineDetail {
    /// All machines of an environment in the order of its file. One without a record yet is stopped.
    #[must_use]
    pub fn all(record: &EnvironmentRecord, machines: &[MachineRecord]) -> Vec<Self> {
        let mut all = Vec::with_capacity(record.spec.machines.len());
        for (name, spec) in &record.spec.machines {
            let Some(identity) = record.identities.get(name) else { continue };
            let machine = machines.iter().find(|machine| machine.name == *name);
            let phase = machine.map(|machine| &machine.phase);
            all.push(Self {
                name: name.to_string(),
                phase: phase.map_or(MachinePhase::Stopped, MachinePhase::from),
                why: phase.and_then(why),
                problem: phase.and_then(model::MachinePhase::problem).map(Problem::from),
                host: record.host_of(name).map(ToString::to_string),
                image: spec.image.to_string(),
                memory_bytes: spec.memory.as_bytes(),
                cpus: spec.cpus,
                agent: machine.map_or(Agent::Unknown, |machine| (&machine.agent).into()),
                second: machine.and_then(|machine| machine.second.as_ref()).map(SecondInterface::from),
                pid: phase.and_then(model::MachinePhase::process).map(|process| process.pid),
                since: phase.and_then(since).map(|at| at.to_string()),
                ready_after_ms: phase.and_then(ready_after),
                inside: Inside::new(&identity.inside, &record.spec.network.domain),
                outside: record.has_outside(name).then(|| (&identity.outside).into()),
                provider_address: identity.provider.map(|address| address.to_string()),
                exposed: Exposure::of(record, name),
            });
        }
        all
    }
}

fn why(phase: &model::MachinePhase) -> Option<String> {
    match phase {
        model::MachinePhase::Stopped { why } => why.clone(),
        _ => None,
    }
}

const fn since(phase: &model::MachinePhase) -> Option<Timestamp> {
    match phase {
        model::MachinePhase::Booting { since, .. }
        | model::MachinePhase::Ready { since, .. }
        | model::MachinePhase::Paused { since, .. }
        | model::MachinePhase::Unready { since, .. }
        | model::MachinePhase::Stopping { since, .. } => Some(*since),
        model::MachinePhase::Stopped { .. } | model::MachinePhase::Failed { .. } => None,
    }
}

const fn ready_after(phase: &model::MachinePhase) -> Option<u64> {
    match phase {
        model::MachinePhase::Ready { after_ms, .. } => Some(*after_ms),
        _ => None,
    }
}

impl Inside {
    /// From what the record keeps, and the domain that makes the full name.
    #[must_use]
    pub fn new(inside: &identity::InsideIdentity, domain: &Domain) -> Self {
        Self {
            hostname: inside.hostname.to_string(),
            fqdn: format!("{}.{domain}", inside.hostname),
            address: inside.address.to_string(),
            mac: inside.mac.to_string(),
            uuid: inside.uuid.clone(),
        }
    }
}

impl From<&identity::OutsideIdentity> for Outside {
    fn from(outside: &identity::OutsideIdentity) -> Self {
        Self { address: outside.address.to_string(), mac: outside.mac.to_string() }
    }
}

impl From<&model::MachinePhase> for MachinePhase {
    fn from(phase: &model::MachinePhase) -> Self {
        match phase {
            model::MachinePhase::Stopped { .. } => Self::Stopped,
            model::MachinePhase::Booting { .. } => Self::Booting,
            model::MachinePhase::Ready { .. } => Self::Ready,
            model::MachinePhase::Paused { .. } => Self::Paused,
            model::MachinePhase::Unready { .. } => Self::Unready,
            model::MachinePhase::Stopping { .. } => Self::Stopping,
            model::MachinePhase::Failed { .. } => Self::Failed,
        }
    }
}

impl From<&model::AgentState> for Agent {
    fn from(agent: &model::AgentState) -> Self {
        match agent {
            model::AgentState::Unknown => Self::Unknown,
            model::AgentState::Answers { version } => Self::Answers { version: version.clone() },
            model::AgentState::Silent => Self::Silent,
        }
    }
}

impl From<&model::SecondInterface> for SecondInterface {
    fn from(second: &model::SecondInterface) -> Self {
        match second {
            model::SecondInterface::New { why } => Self::New { why: why.clone() },
            model::SecondInterface::Held { why } => Self::Held { why: why.clone() },
            model::SecondInterface::Set => Self::Set,
        }
    }
}
