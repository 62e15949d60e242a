//! The two identities of a machine. The inside one is equal in every clone; the outside one is unique per instance.

use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{mac::MacAddress, name::Hostname};

/// What a guest knows of itself. Every clone of it knows the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct InsideIdentity {
    /// Its computer name.
    pub hostname: Hostname,
    /// Its address (a customer address).
    pub address: Ipv4Addr,
    /// Its interface's hardware address.
    pub mac: MacAddress,
    /// The SMBIOS system UUID, as text.
    pub uuid: String,
}

/// How the outside knows one machine of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OutsideIdentity {
    /// Its address on the lab network.
    pub address: Ipv4Addr,
    /// The hardware address that answers for it on the lab network.
    pub mac: MacAddress,
}
