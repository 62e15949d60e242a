//! The record of an operation: a long-running request with named steps, as the user sees it.
//!
//! Steps are not a script that is carried out but what the controller last *observed* of the way to the goal,
//! so an operation goes on after a crash without a log of its own.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    environment::Problem,
    id::{EnvironmentId, OperationId},
    name::EnvironmentName,
    record::Record,
};

/// A request and its progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OperationRecord {
    /// This request.
    pub id: OperationId,
    /// What was asked.
    pub kind: OperationKind,
    /// Of which environment.
    pub environment: EnvironmentName,
    /// That environment's id.
    pub environment_id: EnvironmentId,
    /// When it was asked.
    #[schemars(with = "String")]
    pub created: Timestamp,
    /// The way to the goal, as last observed.
    pub steps: Vec<Step>,
    /// How it stands.
    pub state: OperationState,
}

impl Record for OperationRecord {
    const PREFIX: &'static str = "operations/";

    fn key(&self) -> String {
        Self::key_of(self.id)
    }
}

impl OperationRecord {
    /// Where an operation is kept.
    #[must_use]
    pub fn key_of(id: OperationId) -> String {
        format!("{}{id}", Self::PREFIX)
    }
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// Make an environment from a file and start it.
    Up,
    /// Make an environment from another one and start it.
    Clone,
    /// Start the machines of an environment.
    Start,
    /// Stop them.
    Down,
    /// Stop them where they are, with their memory on disk.
    Suspend,
    /// Remove an environment.
    Remove,
    /// Take a snapshot of an environment.
    Snapshot,
    /// Go back to a snapshot.
    Restore,
}

impl OperationKind {
    /// As the command line calls it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Clone => "clone",
            Self::Start => "start",
            Self::Down => "down",
            Self::Suspend => "suspend",
            Self::Remove => "rm",
            Self::Snapshot => "snapshot",
            Self::Restore => "restore",
        }
    }
}

/// One step on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// What it is about: `network`, `web: start`, `web: ready`.
    pub name: String,
    /// How it stands.
    pub state: StepState,
    /// What it waits for or has done, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Not begun.
    Waiting,
    /// Begun.
    Doing,
    /// Done.
    Done,
    /// Failed.
    Failed,
}

/// How an operation stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "is")]
pub enum OperationState {
    /// Being carried out.
    Running,
    /// Reached.
    Done {
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
    },
    /// Given up.
    Failed {
        /// When.
        #[schemars(with = "String")]
        at: Timestamp,
        /// What failed, why, and what to do.
        problem: Problem,
    },
}
