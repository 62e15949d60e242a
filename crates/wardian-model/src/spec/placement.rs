//! What an environment asks of its placement, where there are several hosts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::MachineName;

/// Which hosts the machines go to, seen from one another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PlacementSpec {
    /// For machines that no group is about.
    #[serde(default)]
    pub policy: PlacementPolicy,
    /// Groups of machines that share a host, whatever the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub same_host: Vec<Vec<MachineName>>,
    /// Groups of machines of which no two share a host, whatever the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<Vec<MachineName>>,
}

impl PlacementSpec {
    /// Whether nothing is asked but what is so anyway.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the machines of an environment go, seen from one another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PlacementPolicy {
    /// All on one host. Machines that must be apart are the only ones that leave it, onto as few others as they need.
    #[default]
    Together,
    /// On as many hosts as possible, each as little loaded as possible.
    Spread,
    /// On as few hosts as possible, each as much loaded as possible.
    Pack,
}

impl std::fmt::Display for PlacementPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Together => "together",
            Self::Spread => "spread",
            Self::Pack => "pack",
        })
    }
}
