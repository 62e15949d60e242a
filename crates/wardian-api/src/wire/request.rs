//! What changes environments: up, check, clone, restore, fence, expiry, expose.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Exposure, Fence, Operation, Problem, Protocol};

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
    /// Whose it is: 1 to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How long from now until it is removed by itself, 1 at least; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_after_ms: Option<u64>,
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
    /// The snapshot to clone; the environment as it is now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Boot the machines from their disks; otherwise those that run go on in the clone.
    #[serde(default)]
    pub boot: bool,
    /// Give the machines other names and addresses inside; they boot then.
    #[serde(default)]
    pub customize: bool,
    /// Whose the clones are: 1 to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How long from now until they are removed by themselves, 1 at least; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_after_ms: Option<u64>,
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
    /// What isolation can't keep the clones and their source apart in, a sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
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

/// Go back to a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RestoreRequest {
    /// The snapshot.
    pub snapshot: String,
    /// The environment it was taken of, one with the same inside; the one that goes back when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// Change what may cross an environment's edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FenceRequest {
    /// What may cross it from now on.
    pub fence: Fence,
}

/// What may cross an environment's edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FenceState {
    /// The environment.
    pub environment: String,
    /// What may cross its edge.
    pub fence: Fence,
    /// The exposed ports. They are reached from outside unless the fence is sealed.
    pub exposed: Vec<Exposure>,
}

/// Change through whom an environment's machines reach the outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GatewayRequest {
    /// `per-machine`, `host`, or the name of the machine that forwards for the others.
    pub gateway: String,
}

/// Through whom an environment's machines reach the outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct GatewayState {
    /// The environment.
    pub environment: String,
    /// `per-machine`, `host`, or the name of the machine that forwards for the others.
    pub gateway: String,
}

/// With whom an environment is joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct JoinState {
    /// The environment.
    pub environment: String,
    /// The environments whose machines and its own reach each other by their inside addresses.
    pub joined: Vec<String>,
}

/// Change when an environment is removed by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpiryRequest {
    /// How long from now, 1 at least.
    pub after_ms: u64,
}

/// When an environment is removed by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Expiry {
    /// The environment.
    pub environment: String,
    /// When; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// Let the outside reach a port of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExposeRequest {
    /// The machine; `web-1+web-2` for several that share what comes.
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
    /// The machine; `web-1+web-2` for several that share it.
    pub machine: String,
    /// Its port, 1 to 65535.
    pub port: u16,
    /// The protocol; tcp when absent.
    #[serde(default)]
    #[param(inline)]
    pub protocol: Protocol,
}
