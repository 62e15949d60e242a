//! Doors: ports of the host that lead to exposed ports, each to one machine, or to one of several that share what
//! comes.
//!
//! What shares is written as one [`Exposure`] per machine, all with the same port of the host. Whatever asks whether a
//! port of a machine is exposed needs to know no more than that.

use std::{net::Ipv4Addr, num::NonZeroU16};

use crate::{
    environment::{EnvironmentRecord, Exposure},
    name::MachineName,
    spec::{Expose, Protocol},
};

/// A port of the host, and where it leads on the lab network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub at: NonZeroU16,
    /// Where new connections go: to one of these. There is at least one.
    pub to: Vec<(Ipv4Addr, NonZeroU16)>,
}

impl Door {
    /// Whether it is the door of `exposure`, wherever it leads now.
    #[must_use]
    pub fn is_of(&self, exposure: &Exposure) -> bool {
        (self.protocol, self.at) == (exposure.protocol, exposure.at)
    }
}

impl EnvironmentRecord {
    /// The exposed ports, those that share a door together, in the order of their first ones.
    #[must_use]
    pub fn shares(&self) -> Vec<Vec<&Exposure>> {
        let mut all: Vec<Vec<&Exposure>> = Vec::new();
        for exposure in &self.exposed {
            match all.iter_mut().find(|share| is_same_door(share[0], exposure)) {
                Some(share) => share.push(exposure),
                None => all.push(vec![exposure]),
            }
        }
        all
    }

    /// The other machines that share the door of `exposure`.
    pub fn shares_with<'a>(&'a self, exposure: &'a Exposure) -> impl Iterator<Item = &'a MachineName> {
        let others = self.exposed.iter().filter(|other| is_same_door(other, exposure));
        others.map(|other| &other.machine).filter(|machine| **machine != exposure.machine)
    }

    /// Whether that machine shares a door with another one.
    #[must_use]
    pub fn is_sharing(&self, machine: &MachineName) -> bool {
        self.exposed.iter().any(|exposure| exposure.machine == *machine && self.shares_with(exposure).next().is_some())
    }

    /// Which of those that share a door get new connections: those that are not out. When all are, all do: a try is
    /// better than a certain refusal, and what all of them are said to lack may be the probe's fault.
    #[must_use]
    pub fn in_service<'a>(&self, share: &[&'a Exposure]) -> Vec<&'a Exposure> {
        let healthy: Vec<_> =
            share.iter().copied().filter(|exposure| !self.out.contains_key(&exposure.machine)).collect();
        if healthy.is_empty() { share.to_vec() } else { healthy }
    }

    /// Where the exposed ports lead on the lab network, for the host's rules. At an address that several machines
    /// share, a door's number is that of the host's port: two of them may listen on the same port inside. Who of those
    /// that share it gets a connection is decided behind that address then.
    #[must_use]
    pub fn doors(&self) -> Vec<Door> {
        let door = |share: Vec<&Exposure>| Door {
            protocol: share[0].protocol,
            at: share[0].at,
            to: match self.shared_address() {
                Some(address) => vec![(address, share[0].at)],
                None => self.in_service(&share).iter().map(|exposure| (exposure.address, exposure.port)).collect(),
            },
        };
        self.shares().into_iter().map(door).collect()
    }

    /// What was asked for, by the exposures there are now: without the ports of this host.
    #[must_use]
    pub fn exposes(&self) -> Vec<Expose> {
        let expose = |share: Vec<&Exposure>| Expose {
            machine: share[0].machine.clone(),
            others: share[1..].iter().map(|exposure| exposure.machine.clone()).collect(),
            port: share[0].port,
            protocol: share[0].protocol,
            at: None,
        };
        self.shares().into_iter().map(expose).collect()
    }
}

fn is_same_door(one: &Exposure, other: &Exposure) -> bool {
    (one.protocol, one.at) == (other.protocol, other.at)
}
