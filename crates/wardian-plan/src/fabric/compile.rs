//! From where all machines are to what one host's filter shall know.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use wardian_model::{mac::MacAddress, vsid::Vsid};

use super::{Encapsulation, HostPolicy, Lookup, Rewrite, Switch};

/// A virtual subnet, as the whole cluster sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// Its id.
    pub vsid: Vsid,
    /// Which subnets it may be routed to: those of the same number. Each host routes between them by itself, so that a
    /// host with a switch of one has a switch of all.
    pub domain: u32,
    /// How its frames travel.
    pub encapsulation: Encapsulation,
    /// The machines in it. Those with the same hardware address are on the same host.
    pub seats: Vec<Seat>,
    /// The provider addresses of further hosts that have a switch of it, to route to its machines.
    pub passages: Vec<Ipv4Addr>,
}

/// One machine's place in a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// Its customer address.
    pub address: Ipv4Addr,
    /// Its hardware address.
    pub mac: MacAddress,
    /// The provider address of its host.
    pub provider: Ipv4Addr,
    /// Its own provider address. Used where addresses are rewritten; without it, the machine's frames travel in
    /// envelopes.
    pub own: Option<Ipv4Addr>,
}

impl Seat {
    /// What is known of it in a subnet of that domain and encapsulation.
    pub(super) fn lookup(&self, domain: u32, encapsulation: Encapsulation) -> Lookup {
        let own = self.own.filter(|_| encapsulation == Encapsulation::IpRewrite);
        let rewrite = own.map(|address| Rewrite { address, domain });
        Lookup { mac: self.mac, provider: self.provider, rewrite }
    }
}

/// What the filter of the host with the provider address `here` shall know.
///
/// A host that neither runs a machine of a routing domain nor routes to some knows nothing of it.
#[must_use]
pub fn compile(here: Ipv4Addr, subnets: &[Subnet]) -> HostPolicy {
    let mut hosts: BTreeMap<u32, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    for subnet in subnets {
        let seats = subnet.seats.iter().map(|seat| seat.provider);
        hosts.entry(subnet.domain).or_default().extend(seats.chain(subnet.passages.iter().copied()));
    }
    let mut policy = HostPolicy::default();
    for subnet in subnets {
        let Some(hosts) = hosts.get(&subnet.domain).filter(|hosts| hosts.contains(&here)) else { continue };
        let peers = hosts.iter().copied().filter(|host| *host != here).collect();
        policy
            .switches
            .insert(subnet.vsid, Switch { domain: subnet.domain, encapsulation: subnet.encapsulation, peers });
        policy.stations.extend(subnet.seats.iter().map(|seat| ((subnet.vsid, seat.mac), seat.provider)));
        let lookups = subnet
            .seats
            .iter()
            .map(|seat| ((subnet.vsid, seat.address), seat.lookup(subnet.domain, subnet.encapsulation)));
        policy.lookups.extend(lookups);
    }
    policy
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
    const C: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);

    fn subnet(vsid: u32, domain: u32, seats: &[(u8, Ipv4Addr)]) -> Subnet {
        let seat = |&(number, provider)| Seat {
            address: Ipv4Addr::new(192, 168, 23, number),
            mac: MacAddress::local(u32::from(number)),
            provider,
            own: None,
        };
        Subnet {
            vsid: Vsid::try_from(vsid).unwrap(),
            domain,
            encapsulation: Encapsulation::Nvgre,
            seats: seats.iter().map(seat).collect(),
            passages: Vec::new(),
        }
    }

    #[test]
    fn a_host_knows_the_subnets_it_runs_machines_of_and_nothing_of_others() {
        // Two tenants with the same addresses.
        let (red, blue) = (subnet(5001, 1, &[(1, A), (2, B)]), subnet(6001, 2, &[(1, B), (2, C)]));
        let both = [red.clone(), blue.clone()];
        assert_eq!(compile(A, &both), compile(A, &[red]));
        assert_eq!(compile(C, &both), compile(C, &[blue]));
        let b = compile(B, &both);
        assert_eq!((b.switches.len(), b.stations.len(), b.lookups.len()), (2, 4, 4));
        assert_eq!(compile(Ipv4Addr::new(10, 9, 9, 9), &both), HostPolicy::default());
    }

    #[test]
    fn addresses_that_share_a_hardware_address_share_its_place() {
        let mut edges = subnet(4096, 0, &[(1, A), (2, B), (3, B)]);
        edges.seats[2].mac = edges.seats[1].mac;
        let policy = compile(A, &[edges.clone()]);
        assert_eq!((policy.stations.len(), policy.lookups.len()), (2, 3));
        assert_eq!(policy.stations[&(edges.vsid, edges.seats[2].mac)], B);
        assert_eq!(policy.lookups[&(edges.vsid, edges.seats[2].address)].mac, edges.seats[1].mac);
    }

    #[test]
    fn a_host_with_a_passage_has_a_switch_and_is_a_peer_and_nobody_is_there() {
        let mut red = subnet(5001, 1, &[(1, A)]);
        assert_eq!(compile(B, &[red.clone()]), HostPolicy::default());
        red.passages.push(B);
        let (at, over) = (compile(A, &[red.clone()]), compile(B, &[red.clone()]));
        assert_eq!(at.switches[&red.vsid].peers, BTreeSet::from([B]));
        assert_eq!(over.switches[&red.vsid].peers, BTreeSet::from([A]));
        assert_eq!((&at.stations, &at.lookups), (&over.stations, &over.lookups));
        assert_eq!(over.stations.len(), 1);
        assert_eq!(compile(C, &[red]), HostPolicy::default());
    }

    #[test]
    fn peers_are_the_other_hosts_of_the_domain_for_they_route_between_its_subnets() {
        let (front, back) = (subnet(5001, 1, &[(1, A)]), subnet(5002, 1, &[(1, B), (2, C)]));
        let policy = compile(A, &[front.clone(), back.clone()]);
        for vsid in [front.vsid, back.vsid] {
            assert_eq!(policy.switches[&vsid].peers, BTreeSet::from([B, C]));
        }
    }
}
