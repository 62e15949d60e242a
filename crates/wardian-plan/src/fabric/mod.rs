//! Virtual subnets that span hosts: what the filter of one host shall know, and what to change when that changes.
//!
//! Inside there are customer addresses and the machines' own MACs, the same in every clone; between hosts there are
//! provider addresses and VSIDs. A [`HostPolicy`] says which belongs to which, for every subnet that a host has a
//! switch of. It is compiled from where all machines are ([`compile`]), the same on every host but for which one is
//! *here*; the filter gets the [`difference`] only. [`compile`] says what that means; a daemon keeps a [`Policy`],
//! which comes to the same record by record, without looking at the others, and is held against it by tests.

mod compile;
mod difference;
mod lab;
mod policy;
mod subnets;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use wardian_model::{mac::MacAddress, vsid::Vsid};

pub use compile::{Seat, Subnet, compile};
pub use difference::{Change, difference};
pub use lab::{LAB_DOMAIN, LAB_VSID, lab};
pub use policy::Policy;
pub use subnets::subnets;
pub use wardian_model::encapsulation::Encapsulation;

/// What the filter of one host shall know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPolicy {
    /// The subnets it has a switch of.
    pub switches: BTreeMap<Vsid, Switch>,
    /// On which host each hardware address of these is, by the host's provider address.
    pub stations: BTreeMap<(Vsid, MacAddress), Ipv4Addr>,
    /// Where each machine of these is, by subnet and customer address. Several may have one hardware address.
    pub lookups: BTreeMap<(Vsid, Ipv4Addr), Lookup>,
}

/// A subnet, as one host sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// Its routing domain.
    pub domain: u32,
    /// How its frames travel.
    pub encapsulation: Encapsulation,
    /// The provider addresses of the other hosts that have a switch of it. Broadcasts go to each; frames are taken from
    /// these alone.
    pub peers: BTreeSet<Ipv4Addr>,
}

/// Where a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// Its hardware address inside.
    pub mac: MacAddress,
    /// The provider address of its host.
    pub provider: Ipv4Addr,
    /// What stands for it between hosts, where addresses are rewritten.
    pub rewrite: Option<Rewrite>,
}

/// A machine's own provider address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrite {
    /// The address.
    pub address: Ipv4Addr,
    /// The routing domain of its subnet, in which its customer address is one machine's.
    pub domain: u32,
}
