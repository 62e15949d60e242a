//! Operations: requests that take a while, with named steps.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardian_model::operation as model;

use super::Problem;

/// A request and its progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Operation {
    /// This request.
    pub id: String,
    /// What was asked.
    pub kind: OperationKind,
    /// Of which environment.
    pub environment: String,
    /// That environment's id.
    pub environment_id: String,
    /// When it was asked.
    pub created: String,
    /// The way to the goal, as last observed.
    pub steps: Vec<Step>,
    /// How it stands.
    pub state: OperationState,
    /// When it was done or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OperationState {
    /// Being carried out.
    Running,
    /// Reached.
    Done,
    /// Given up.
    Failed,
}

/// One step on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// What it is about: `network`, `web: start`, `web: ready`, `cut`, `save`.
    pub name: String,
    /// How it stands.
    pub state: StepState,
    /// What it waits for or has done, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

/// Operations, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OperationList {
    /// They.
    pub operations: Vec<Operation>,
}

impl From<model::OperationRecord> for Operation {
    fn from(record: model::OperationRecord) -> Self {
        let (state, finished, problem) = match record.state {
            model::OperationState::Running => (OperationState::Running, None, None),
            model::OperationState::Done { at } => (OperationState::Done, Some(at.to_string()), None),
            model::OperationState::Failed { at, problem } => {
                (OperationState::Failed, Some(at.to_string()), Some(problem.into()))
            }
        };
        Self {
            id: record.id.to_string(),
            kind: record.kind.into(),
            environment: record.environment.to_string(),
            environment_id: record.environment_id.to_string(),
            created: record.created.to_string(),
            steps: record.steps.into_iter().map(Step::from).collect(),
            state,
            finished,
            problem,
        }
    }
}

impl From<model::OperationKind> for OperationKind {
    fn from(kind: model::OperationKind) -> Self {
        match kind {
            model::OperationKind::Up => Self::Up,
            model::OperationKind::Clone => Self::Clone,
            model::OperationKind::Start => Self::Start,
            model::OperationKind::Down => Self::Down,
            model::OperationKind::Suspend => Self::Suspend,
            model::OperationKind::Remove => Self::Remove,
            model::OperationKind::Snapshot => Self::Snapshot,
            model::OperationKind::Restore => Self::Restore,
        }
    }
}

impl From<model::Step> for Step {
    fn from(step: model::Step) -> Self {
        let state = match step.state {
            model::StepState::Waiting => StepState::Waiting,
            model::StepState::Doing => StepState::Doing,
            model::StepState::Done => StepState::Done,
            model::StepState::Failed => StepState::Failed,
        };
        Self { name: step.name, state, note: step.note }
    }
}
