//! The record of a claim: something of which there is one, and who has it.
//!
//! A claim is made in the same transaction as the environment it is for, under the condition that it is absent;
//! so nothing is ever handed out twice.

use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{id::EnvironmentId, record::Record, spec::Protocol};

/// Who has something of which there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ClaimRecord {
    /// What.
    pub of: Claimed,
    /// Who.
    pub environment_id: EnvironmentId,
}

/// Something of which there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Claimed {
    /// A number for an environment's edge.
    Edge(u16),
    /// A public address.
    Address(Ipv4Addr),
    /// A port of the host.
    Port(Protocol, u16),
}

impl Record for ClaimRecord {
    const PREFIX: &'static str = "claims/";

    fn key(&self) -> String {
        self.of.key()
    }
}

impl Claimed {
    /// Where the claim on it is kept.
    #[must_use]
    pub fn key(self) -> String {
        match self {
            Self::Edge(slot) => format!("{}edge/{slot:05}", ClaimRecord::PREFIX),
            Self::Address(address) => format!("{}address/{address}", ClaimRecord::PREFIX),
            Self::Port(protocol, port) => format!("{}port/{protocol}/{port:05}", ClaimRecord::PREFIX),
        }
    }
}
