//! The record of a machine: its disk, its process, and how far it has come.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    environment::Problem,
    id::{EnvironmentId, LayerId, MemoryId},
    memory::FrozenMemory,
    name::{EnvironmentName, MachineName},
    record::Record,
};

/// A machine. Written by the controller of its environment only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MachineRecord {
    /// The environment it belongs to.
    pub environment: EnvironmentName,
    /// That environment's id.
    pub environment_id: EnvironmentId,
    /// Its name in the environment.
    pub name: MachineName,
    /// Its disk.
    pub disk: Disk,
    /// The VM generation id (a GUID); changes when the machine becomes a copy of another.
    pub generation: String,
    /// The last request to run (see [`crate::environment::EnvironmentRecord::run`]) that it was started for.
    pub run: u32,
    /// The file its process has as its memory: its own, or the frozen one it is a copy-on-write child of. Written down
    /// before the file is made, and kept until the next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryId>,
    /// The memory its next start goes on from; it boots when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<FrozenMemory>,
    /// Whether that memory is on disk and need not be kept at hand until the next start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub saved: bool,
    /// The last restore its disk and memory were taken from (see [`crate::environment::Restore::number`]).
    #[serde(default)]
    pub restored: u32,
    /// What it is.
    pub phase: MachinePhase,
    /// What its guest agent last said.
    pub agent: AgentState,
    /// Its second interface, where it has one (`mode: dual-interface`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<SecondInterface>,
}

impl Record for MachineRecord {
    const PREFIX: &'static str = "machines/";

    fn key(&self) -> String {
        Self::key_of(&self.environment, &self.name)
    }
}

impl MachineRecord {
    /// Where a machine is kept.
    #[must_use]
    pub fn key_of(environment: &EnvironmentName, machine: &MachineName) -> String {
        format!("{}{environment}/{machine}", Self::PREFIX)
    }

    /// The prefix of all machines of an environment.
    #[must_use]
    pub fn prefix_of(environment: &EnvironmentName) -> String {
        format!("{}{environment}/", Self::PREFIX)
    }
}

/// A machine's disk: an immutable image, immutable layers on it, and a writable one at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Disk {
    /// The digest of the image.
    pub image: String,
    /// The layers, lowest first. The last is the writable one; there is none before the disk is made.
    pub layers: Vec<LayerId>,
}

/// A process, and the incarnation that tells it from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the host booted (`/proc/PID/stat`, field 22).
    pub start_time: u64,
}

/// What a machine is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "is")]
pub enum MachinePhase {
    /// No process.
    Stopped {
        /// Why it stopped; nothing when it has never run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A process; not ready yet.
    Booting {
        /// It.
        process: Process,
        /// When it was started.
        #[schemars(with = "String")]
        since: Timestamp,
    },
    /// A process; was ready at least once since its start.
    Ready {
        /// It.
        process: Process,
        /// When it was started.
        #[schemars(with = "String")]
        since: Timestamp,
        /// How long it took to become ready, in milliseconds.
        after_ms: u64,
    },
    /// A process that QEMU has paused.
    Paused {
        /// It.
        process: Process,
        /// When it was started.
        #[schemars(with = "String")]
        since: Timestamp,
        /// Why, and what to do.
        problem: Problem,
    },
    /// A process that did not get ready in time. It is left running, for somebody to look at.
    Unready {
        /// It.
        process: Process,
        /// When it was started.
        #[schemars(with = "String")]
        since: Timestamp,
        /// What was waited for, and the end of the console.
        problem: Problem,
    },
    /// Was asked to shut down.
    Stopping {
        /// The process.
        process: Process,
        /// When it was asked.
        #[schemars(with = "String")]
        since: Timestamp,
    },
    /// No process, and not by request.
    Failed {
        /// What failed, why, and what to do.
        problem: Problem,
    },
}

impl MachinePhase {
    /// One word for tables.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Stopped { .. } => "stopped",
            Self::Booting { .. } => "booting",
            Self::Ready { .. } => "ready",
            Self::Paused { .. } => "paused",
            Self::Unready { .. } => "unready",
            Self::Stopping { .. } => "stopping",
            Self::Failed { .. } => "failed",
        }
    }

    /// What went wrong, where something did.
    #[must_use]
    pub const fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Paused { problem, .. } | Self::Unready { problem, .. } | Self::Failed { problem } => Some(problem),
            Self::Stopped { .. } | Self::Booting { .. } | Self::Ready { .. } | Self::Stopping { .. } => None,
        }
    }

    /// The process, where there is one.
    #[must_use]
    pub const fn process(&self) -> Option<Process> {
        match self {
            Self::Booting { process, .. }
            | Self::Ready { process, .. }
            | Self::Paused { process, .. }
            | Self::Unready { process, .. }
            | Self::Stopping { process, .. } => Some(*process),
            Self::Stopped { .. } | Self::Failed { .. } => None,
        }
    }
}

/// What is known of a machine's guest agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum AgentState {
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

/// How far a machine's second interface, the one on the lab network, has come.
///
/// A machine that goes on from memory still has the hardware address of the instance that memory is of. So its link is
/// down until the guest has been given its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum SecondInterface {
    /// The machine booted with its own addresses, so the link is up; the guest has not been told of the other machines
    /// yet.
    New {
        /// Why it could not be told; nothing when it was not tried yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The link is down.
    Held {
        /// Why it still is; nothing when it was not tried yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The guest has its addresses and knows the other machines; the link is up.
    Set,
}

impl SecondInterface {
    /// The same with the reason why it has come no further.
    #[must_use]
    pub fn because(&self, reason: impl Into<String>) -> Self {
        match self {
            Self::New { .. } => Self::New { why: Some(reason.into()) },
            Self::Held { .. } => Self::Held { why: Some(reason.into()) },
            Self::Set => Self::Set,
        }
    }
}
