//! What changes environments: up, check, clone, expose.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Operation, Problem, Protocol};

/// Make an environment from a file and start it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UpRequest {
    /// The environment file: YAML.
    pub file: String,
    /// What messages call the file; `environment file` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// A name instead of the one in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only make it; start it later.
    #[serde(default)]
    pub stopped: bool,
}

/// The environment will be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UpAccepted {
    /// How it goes.
    pub operation: Operation,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
}

/// The file is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CheckResult {
    /// The name the environment would get.
    pub name: String,
    /// Its machines, in the order of the file.
    pub machines: Vec<String>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
}

/// Make environments whose inside is another one's inside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CloneRequest {
    /// The name of the clone; with `count`, what the names `NAME-1`, `NAME-2`, … start with.
    pub name: String,
    /// How many, 1 to 1000, from one and the same cut. Absent: one, called `name` itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

impl CloneRequest {
    /// The most clones one request makes.
    pub const MOST: u32 = 1000;

    /// The names the clones get.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        match self.count {
            None => vec![self.name.clone()],
            Some(count) => (1..=count.min(Self::MOST)).map(|n| format!("{}-{n}", self.name)).collect(),
        }
    }
}

/// What became of each clone asked for, in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CloneResult {
    /// They.
    pub clones: Vec<Cloned>,
}

/// What became of one clone: it has either an `operation` or a `problem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Cloned {
    /// Its name.
    pub name: String,
    /// It will be made; this is how it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// It won't be made; this is why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// Let the outside reach a port of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExposeRequest {
    /// The machine.
    pub machine: String,
    /// Its port, 1 to 65535.
    pub port: u16,
    /// The protocol; tcp when absent.
    #[serde(default)]
    pub protocol: Protocol,
    /// The port at the host's own addresses, 1 to 65535; a free one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u16>,
}

/// Which exposed port to close again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub struct UnexposeQuery {
    /// The machine.
    pub machine: String,
    /// Its port, 1 to 65535.
    pub port: u16,
    /// The protocol; tcp when absent.
    #[serde(default)]
    #[param(inline)]
    pub protocol: Protocol,
}
