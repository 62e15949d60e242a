//! The record of a claim: something of which there is one, and who has it.
//!
//! A claim is made in the same transaction as the environment or host it is for, under the condition that it is absent;
//! so nothing is ever handed out twice.

use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{id::EnvironmentId, name::HostName, record::Record, spec::Protocol};

/// Who has something of which there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ClaimRecord {
    /// What.
    pub of: Claimed,
    /// Who.
    #[serde(flatten)]
    pub owner: Owner,
}

/// Who can have a claim. In a record it is one more key beside `of`, whose name says which of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Owner {
    /// An environment.
    #[serde(rename = "environment-id")]
    Environment(EnvironmentId),
    /// A host of a cluster.
    #[serde(rename = "host")]
    Host(HostName),
}

/// Something of which there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Claimed {
    /// A number for an environment's edge.
    Edge(u16),
    /// A public address, or a machine's own provider address.
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
    /// The prefix of all claims on addresses.
    #[must_use]
    pub fn addresses() -> String {
        format!("{}address/", ClaimRecord::PREFIX)
    }

    /// Where the claim on it is kept.
    #[must_use]
    pub fn key(self) -> String {
        match self {
            Self::Edge(slot) => format!("{}edge/{slot:05}", ClaimRecord::PREFIX),
            Self::Address(address) => format!("{}{address}", Self::addresses()),
            Self::Port(protocol, port) => format!("{}port/{protocol}/{port:05}", ClaimRecord::PREFIX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_of_an_environment_is_kept_as_it_was_before_hosts_had_any() {
        let text = r#"{"of":{"address":"10.86.0.1"},"environment-id":"00000000000000aa"}"#;
        let claim: ClaimRecord = serde_json::from_str(text).unwrap();
        let owner = Owner::Environment(EnvironmentId::from_bits(0xaa));
        assert_eq!(claim, ClaimRecord { of: Claimed::Address(Ipv4Addr::new(10, 86, 0, 1)), owner });
        assert_eq!(serde_json::to_string(&claim).unwrap(), text);
    }

    #[test]
    fn a_claim_of_a_host_reads_back_and_one_of_nobody_is_none() {
        let owner = Owner::Host("a".parse().unwrap());
        let claim = ClaimRecord { of: Claimed::Address(Ipv4Addr::new(10, 86, 255, 254)), owner };
        let text = serde_json::to_string(&claim).unwrap();
        assert_eq!(text, r#"{"of":{"address":"10.86.255.254"},"host":"a"}"#);
        assert_eq!(serde_json::from_str::<ClaimRecord>(&text).unwrap(), claim);
        assert!(serde_json::from_str::<ClaimRecord>(r#"{"of":{"edge":1}}"#).is_err());
    }
}
