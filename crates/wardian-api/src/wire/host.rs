//! The host and its daemon: checks, events, who answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardian_model::event::EventRecord;

/// What a host can do, and what it lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HostReport {
    /// Everything that was looked at.
    pub checks: Vec<Check>,
}

impl HostReport {
    /// Whether nothing failed; warnings don't count.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Failed)
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// What: `qemu`, `accelerator`, `nftables`.
    pub name: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, in one sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How a checked thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Works, but not as well as it could.
    Warning,
    /// Environments can't run.
    Failed,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// Order of events; grows, and may leave numbers out.
    pub sequence: u64,
    /// When.
    pub at: String,
    /// The environment.
    pub environment: String,
    /// The machine, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// What happened, in one sentence.
    pub message: String,
}

impl From<EventRecord> for Event {
    fn from(event: EventRecord) -> Self {
        Self {
            sequence: event.sequence,
            at: event.at.to_string(),
            environment: event.environment.to_string(),
            machine: event.machine.map(|machine| machine.to_string()),
            message: event.message,
        }
    }
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DaemonInfo {
    /// The daemon's version.
    pub version: String,
    /// The version of this interface; 1.
    pub api_version: u32,
    /// Where it keeps everything.
    pub state_directory: String,
    /// The prefix of the lab network.
    pub lab_prefix: String,
    /// The host's id.
    pub host_id: String,
}
