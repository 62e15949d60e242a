//! What can go wrong between a host and the other hosts of its cluster.

use std::net::Ipv4Addr;

use crate::{error::NetworkError, filter::FilterError};

/// Why the lab network could not be carried to other hosts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnderlayError {
    /// The provider address is not this host's.
    #[error(
        "no device of this host has the provider address {address}; {there}; correct provider-address in the configuration"
    )]
    NoProvider {
        /// As configured.
        address: Ipv4Addr,
        /// Which addresses the host has, in words.
        there: String,
    },
    /// The provider address is where no other host can be.
    #[error(
        "the provider address {address} is on {device}, by which no other host is reached over Ethernet; correct provider-address in the configuration"
    )]
    NotEthernet {
        /// As configured.
        address: Ipv4Addr,
        /// The device that has it.
        device: String,
    },
    /// The device does not take what the physical network is said to.
    #[error(
        "{device}, which has the provider address {address}, takes packets of {takes} bytes, and between hosts they are of {mtu}; raise it \
         (`ip link set {device} mtu {mtu}`), or say `mtu = {takes}` in [cluster] on all hosts before the first one founds the cluster"
    )]
    Narrow {
        /// As configured.
        address: Ipv4Addr,
        /// The device that has it.
        device: String,
        /// Its MTU, in bytes.
        takes: u32,
        /// What was said of the physical network, in bytes.
        mtu: u16,
    },
    /// The provider address is in the lab network, which is what shall be carried.
    #[error(
        "the provider address {address} is on the lab bridge {bridge} itself; correct provider-address in the configuration"
    )]
    InLab {
        /// As configured.
        address: Ipv4Addr,
        /// The lab bridge.
        bridge: String,
    },
    /// The device's driver shall take envelopes off, and does not.
    #[error(
        "{device} or its driver can't take envelopes off (XDP); say `decapsulation = \"auto\"` in [cluster], or remove \
         another's program there (`ip link set {device} xdp off`)"
    )]
    NoXdp {
        /// The device.
        device: String,
        /// What the kernel says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody else has a link with the name of the uplink.
    #[error(
        "{name} exists already and belongs to {owner}; remove it, the lab network's uplink to other hosts has that name"
    )]
    Foreign {
        /// The link.
        name: String,
        /// Its alias, as far as it has one.
        owner: String,
    },
    /// Links and addresses.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The packet filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
}
