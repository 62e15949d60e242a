//! What to change in a filter's tables, in an order that loses nothing that stays allowed.

use std::{collections::BTreeSet, net::Ipv4Addr};

use wardian_model::{mac::MacAddress, vsid::Vsid};

use super::{HostPolicy, Lookup, Switch};

/// One change. Each can be made twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nobody has this hardware address any more.
    Vacate {
        /// Its subnet.
        vsid: Vsid,
        /// The address.
        mac: MacAddress,
    },
    /// Whoever has this hardware address is on that host now.
    Place {
        /// Its subnet.
        vsid: Vsid,
        /// The address.
        mac: MacAddress,
        /// The provider address of the host.
        provider: Ipv4Addr,
    },
    /// Forget where a machine is: it is nowhere, or elsewhere as another.
    Forget {
        /// Its subnet.
        vsid: Vsid,
        /// Its customer address.
        address: Ipv4Addr,
        /// As it was.
        was: Lookup,
    },
    /// A machine is there now.
    Know {
        /// Its subnet.
        vsid: Vsid,
        /// Its customer address.
        address: Ipv4Addr,
        /// As it is.
        lookup: Lookup,
    },
    /// There is a switch of this subnet, with these peers.
    Open {
        /// The subnet.
        vsid: Vsid,
        /// As it is.
        switch: Switch,
        /// Who was a peer, and is none any more.
        gone: BTreeSet<Ipv4Addr>,
    },
    /// There is no switch of this subnet any more.
    Close {
        /// The subnet.
        vsid: Vsid,
        /// As it was.
        was: Switch,
    },
}

/// What leads from one policy to another: nothing for what is the same in both.
///
/// What is forbidden from now on goes first. A machine that only moves is never unknown in between: its record is
/// overwritten, unless its hardware address or its own provider address is another.
#[must_use]
pub fn difference(from: &HostPolicy, to: &HostPolicy) -> Vec<Change> {
    let mut changes = Vec::new();
    for (vsid, was) in &from.switches {
        if !to.switches.contains_key(vsid) {
            changes.push(Change::Close { vsid: *vsid, was: was.clone() });
        }
    }
    for &(vsid, mac) in from.stations.keys().filter(|key| !to.stations.contains_key(key)) {
        changes.push(Change::Vacate { vsid, mac });
    }
    for (&(vsid, address), &was) in &from.lookups {
        if to.lookups.get(&(vsid, address)).is_none_or(|now| now.mac != was.mac || now.rewrite != was.rewrite) {
            changes.push(Change::Forget { vsid, address, was });
        }
    }
    for (key @ &(vsid, mac), &provider) in &to.stations {
        if from.stations.get(key) != Some(&provider) {
            changes.push(Change::Place { vsid, mac, provider });
        }
    }
    for (&(vsid, address), &lookup) in &to.lookups {
        if from.lookups.get(&(vsid, address)) != Some(&lookup) {
            changes.push(Change::Know { vsid, address, lookup });
        }
    }
    for (vsid, switch) in &to.switches {
        let was = from.switches.get(vsid);
        if was != Some(switch) {
            let gone = was.map(|was| was.peers.difference(&switch.peers).copied().collect()).unwrap_or_default();
            changes.push(Change::Open { vsid: *vsid, switch: switch.clone(), gone });
        }
    }
    changes
}

impl HostPolicy {
    /// As it is after a change.
    pub fn make(&mut self, change: &Change) {
        match change {
            Change::Vacate { vsid, mac } => drop(self.stations.remove(&(*vsid, *mac))),
            Change::Place { vsid, mac, provider } => drop(self.stations.insert((*vsid, *mac), *provider)),
            Change::Forget { vsid, address, .. } => drop(self.lookups.remove(&(*vsid, *address))),
            Change::Know { vsid, address, lookup } => drop(self.lookups.insert((*vsid, *address), *lookup)),
            Change::Open { vsid, switch, .. } => drop(self.switches.insert(*vsid, switch.clone())),
            Change::Close { vsid, .. } => drop(self.switches.remove(vsid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fabric::{Encapsulation, Seat, Subnet, compile};

    /// Makes a change, and that it is one of what is there.
    fn apply(policy: &mut HostPolicy, change: &Change) {
        match change {
            Change::Vacate { vsid, mac } => assert!(policy.stations.contains_key(&(*vsid, *mac))),
            Change::Forget { vsid, address, was } => assert_eq!(policy.lookups.get(&(*vsid, *address)), Some(was)),
            Change::Close { vsid, was } => assert_eq!(policy.switches.get(vsid), Some(was)),
            Change::Open { vsid, switch, gone } => {
                let was = policy.switches.get(vsid).map(|was| was.peers.clone()).unwrap_or_default();
                assert_eq!(&was - &switch.peers, *gone);
            }
            Change::Place { .. } | Change::Know { .. } => {}
        }
        policy.make(change);
    }

    fn subnets() -> impl Strategy<Value = Vec<Subnet>> {
        let seat = (1u8..6, 0u32..6, 1u8..5).prop_map(|(address, mac, host)| Seat {
            address: Ipv4Addr::new(10, 0, 0, address),
            mac: MacAddress::local(mac),
            provider: Ipv4Addr::new(172, 16, 0, host),
            own: Some(Ipv4Addr::new(172, 17, host, address)),
        });
        let seats = prop::collection::vec(seat, 0..6);
        prop::collection::vec((0u32..3, seats), 0..5).prop_map(|all| {
            let subnet = |(number, (domain, seats)): (usize, (u32, Vec<Seat>))| Subnet {
                vsid: Vsid::try_from(5000 + u32::try_from(number).unwrap()).unwrap(),
                domain,
                encapsulation: if number == 0 { Encapsulation::IpRewrite } else { Encapsulation::Nvgre },
                seats,
                passages: Vec::new(),
            };
            all.into_iter().enumerate().map(subnet).collect()
        })
    }

    proptest! {
        #[test]
        fn changes_lead_from_one_policy_to_the_other_and_say_nothing_of_what_stays(from in subnets(), to in subnets()) {
            let here = Ipv4Addr::new(172, 16, 0, 1);
            let (mut policy, wanted) = (compile(here, &from), compile(here, &to));
            prop_assert_eq!(difference(&wanted, &wanted), []);
            let (stays, stations) = (policy.lookups.clone(), policy.stations.clone());
            for change in difference(&policy.clone(), &wanted) {
                apply(&mut policy, &change);
                for (key, lookup) in stays.iter().filter(|(key, lookup)| wanted.lookups.get(key) == Some(lookup)) {
                    prop_assert_eq!(policy.lookups.get(key), Some(lookup));
                }
                for (key, host) in stations.iter().filter(|(key, host)| wanted.stations.get(key) == Some(host)) {
                    prop_assert_eq!(policy.stations.get(key), Some(host));
                }
            }
            prop_assert_eq!(policy, wanted);
        }
    }
}
