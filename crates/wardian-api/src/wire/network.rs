//! What crosses between hosts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wardian_host::{SubnetOwner, Traffic};

/// What the packet filter of the host that answers carries to and from others, and what it drops. Nothing where this
/// host is alone. All is counted since the filter was made; it outlives the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NetworkState {
    /// Its way to the others; absent where this host is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlay: Option<Underlay>,
    /// What is carried, in the order of the VSIDs.
    pub subnets: Vec<SubnetTraffic>,
    /// What is dropped. Every reason is there.
    pub dropped: Vec<Dropped>,
}

/// A host's way to the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Underlay {
    /// The device of the physical network.
    pub device: String,
    /// The host's address there.
    pub provider_address: String,
    /// How frames travel, where an environment says nothing else: `nvgre` or `vxlan`.
    pub encapsulation: String,
    /// The largest IP packet that fits between hosts, in bytes.
    pub mtu: u16,
}

/// What is carried for one virtual subnet. Bytes are of frames as machines see them, without envelopes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SubnetTraffic {
    /// Its id.
    pub vsid: u32,
    /// Whose it is.
    pub kind: SubnetKind,
    /// The environment, where it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Frames to other hosts. A broadcast counts once.
    pub out_packets: u64,
    /// Bytes to other hosts.
    pub out_bytes: u64,
    /// Frames from other hosts.
    pub in_packets: u64,
    /// Bytes from other hosts.
    pub in_bytes: u64,
}

/// Whose a virtual subnet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SubnetKind {
    /// The lab network, which is one for all hosts.
    LabNetwork,
    /// An environment's that lies on several hosts.
    Environment,
    /// An environment's that is gone.
    Gone,
}

/// Frames that were dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Dropped {
    /// Why: `no-port`, `no-switch`, `tagged`, `not-ipv4`, `too-big`, `forged-mac`, `forged-address`,
    /// `unknown-destination`, `unknown-sender`, `wrong-encapsulation`, `malformed` or `not-carried`.
    pub reason: String,
    /// The same as a sentence about them.
    pub why: String,
    /// How many.
    pub frames: u64,
}

impl NetworkState {
    /// Of this host.
    #[must_use]
    pub fn new(traffic: Option<Traffic>) -> Self {
        let Some(Traffic { device, provider, encapsulation, mtu, subnets, dropped }) = traffic else {
            return Self::default();
        };
        let subnets = subnets.into_iter().map(|(vsid, subnet)| {
            let (kind, environment) = match subnet.of {
                SubnetOwner::Lab => (SubnetKind::LabNetwork, None),
                SubnetOwner::Environment(name) => (SubnetKind::Environment, Some(name.to_string())),
                SubnetOwner::Gone => (SubnetKind::Gone, None),
            };
            SubnetTraffic {
                vsid: vsid.number(),
                kind,
                environment,
                out_packets: subnet.carried.packets_out,
                out_bytes: subnet.carried.bytes_out,
                in_packets: subnet.carried.packets_in,
                in_bytes: subnet.carried.bytes_in,
            }
        });
        let dropped = dropped.into_iter().map(|(reason, frames)| Dropped {
            reason: reason.word().to_owned(),
            why: reason.to_string(),
            frames,
        });
        Self {
            underlay: Some(Underlay {
                device,
                provider_address: provider.to_string(),
                encapsulation: encapsulation.to_string(),
                mtu,
            }),
            subnets: subnets.collect(),
            dropped: dropped.collect(),
        }
    }
}
