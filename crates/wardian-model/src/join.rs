//! Environments whose routing domains are joined: their machines reach one another by their inside addresses.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    environment::EnvironmentRecord,
    id::EnvironmentId,
    name::{EnvironmentName, HostName},
};

/// Another environment, with what is needed of it to route there. It has the same of this one, for both are written in
/// one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Joined {
    /// It.
    pub id: EnvironmentId,
    /// Its name.
    pub name: EnvironmentName,
    /// The slot of its edge; the link to it is called by that.
    pub slot: u16,
    /// Its subnets.
    #[schemars(with = "Vec<String>")]
    pub subnets: Vec<Ipv4Net>,
    /// The hosts it has a part on; none in a store that is one host's own. Where it moves, it says so here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hosts: BTreeSet<HostName>,
}

impl EnvironmentRecord {
    /// What another environment has to know of it to be joined with it.
    #[must_use]
    pub fn as_joined(&self) -> Joined {
        Joined {
            id: self.id,
            name: self.name.clone(),
            slot: self.edge.slot,
            subnets: self.spec.network.subnets.iter().map(|subnet| subnet.net.trunc()).collect(),
            hosts: self.hosts().into_iter().cloned().collect(),
        }
    }

    /// Whether it is joined with that one.
    #[must_use]
    pub fn is_joined_with(&self, other: EnvironmentId) -> bool {
        self.joined.iter().any(|joined| joined.id == other)
    }
}
