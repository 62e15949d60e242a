//! The lab network as a virtual subnet: the edges' public addresses and the hosts' own, on whichever host they are.

use std::net::Ipv4Addr;

use wardian_model::{mac::MacAddress, vsid::Vsid};

use super::{Encapsulation, Seat, Subnet};

/// Its id: no environment gets it.
pub const LAB_VSID: Vsid = Vsid::FIRST;

/// The routing domain of the lab network, which is routed to no other subnet.
pub const LAB_DOMAIN: u32 = 0;

/// The lab network of a cluster, from the addresses in it. Each is given with its hardware address, which many may
/// share, and with the provider address of its host.
#[must_use]
pub fn lab(encapsulation: Encapsulation, all: impl IntoIterator<Item = (Ipv4Addr, MacAddress, Ipv4Addr)>) -> Subnet {
    let seats = all.into_iter().map(|(address, mac, provider)| Seat { address, mac, provider, own: None });
    Subnet { vsid: LAB_VSID, domain: LAB_DOMAIN, encapsulation, seats: seats.collect(), passages: Vec::new() }
}
