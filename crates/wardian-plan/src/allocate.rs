//! Which identities a new environment gets: addresses, hardware addresses, slots and ports that nobody else has.
//!
//! The caller reads what is taken from the store and commits the answer under the condition that nobody took it
//! meanwhile; on a conflict it reads and asks again.

use std::{collections::BTreeSet, net::Ipv4Addr, num::NonZeroU16, ops::RangeInclusive};

use indexmap::IndexMap;
use ipnet::Ipv4Net;
use wardian_model::{
    claim::Claimed,
    environment::{Edge, Exposure, MachineIdentity},
    identity::{InsideIdentity, OutsideIdentity},
    mac::MacAddress,
    name::{Hostname, MachineName},
    spec::{EnvironmentSpec, Expose, IsolationMode, IsolationSpec, Protocol},
};

/// What there is to give.
#[derive(Debug, Clone)]
pub struct Pools {
    /// The lab network, /16 or smaller. Its last address is the host's.
    pub lab: Ipv4Net,
    /// Ports of the host for exposures that name none.
    pub ports: RangeInclusive<u16>,
}

/// What has been given.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// Slots of edges.
    pub edges: BTreeSet<u16>,
    /// Public addresses, and machines' own provider addresses.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Ports of the host.
    pub ports: BTreeSet<(Protocol, u16)>,
}

impl FromIterator<Claimed> for Taken {
    fn from_iter<T: IntoIterator<Item = Claimed>>(claims: T) -> Self {
        let mut taken = Self::default();
        for claim in claims {
            match claim {
                Claimed::Edge(slot) => {
                    taken.edges.insert(slot);
                }
                Claimed::Address(address) => {
                    taken.addresses.insert(address);
                }
                Claimed::Port(protocol, port) => {
                    taken.ports.insert((protocol, port));
                }
            }
        }
        taken
    }
}

/// What a new environment gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// Its edge.
    pub edge: Edge,
    /// Its machines' identities, in file order.
    pub identities: IndexMap<MachineName, MachineIdentity>,
    /// Its exposed ports.
    pub exposed: Vec<Exposure>,
}

/// Nothing left to give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// All edge slots are taken.
    #[error("this host has no room for another environment: all 65535 edge slots are taken")]
    Edges,
    /// All public addresses are taken.
    #[error("the lab network {lab} has no free address for {machine}")]
    Addresses {
        /// The lab network.
        lab: Ipv4Net,
        /// Who would have got it.
        machine: MachineName,
    },
    /// All ports for automatic exposures are taken.
    #[error("no free port for {machine} in {first} to {last}")]
    Ports {
        /// Who would have got it.
        machine: MachineName,
        /// First of the range.
        first: u16,
        /// Last of the range.
        last: u16,
    },
    /// The chosen port is taken.
    #[error("port {port}/{protocol} of this host already leads to a machine")]
    PortTaken {
        /// The chosen port.
        port: NonZeroU16,
        /// The protocol.
        protocol: Protocol,
    },
    /// The subnet has no address for a machine.
    #[error("the subnet {subnet} has no address for {machine}")]
    Subnet {
        /// The subnet.
        subnet: Ipv4Net,
        /// Who would have got it.
        machine: MachineName,
    },
    /// The machine to expose isn't one of the environment.
    #[error("there is no machine {machine} to expose")]
    NoSuchMachine {
        /// The name.
        machine: MachineName,
    },
}

/// The first range of hardware addresses counts machines inside: equal in every environment, for nobody outside sees
/// them.
const INSIDE_MACS: u32 = 0;
/// The second range counts edges outside: unique.
const EDGE_MACS: u32 = 0x8000_0000;
/// The ranges from here on, of 65536 each, count second interfaces: unique, as slots are.
const SECOND_MACS: u32 = 0x9000_0000;

/// The inside identities of a new environment: addresses in file order, chosen ones respected.
///
/// `uuid` gives a fresh UUID text for each call.
///
/// # Errors
/// When the subnet has no address left for a machine.
pub fn inside(
    spec: &EnvironmentSpec,
    mut uuid: impl FnMut() -> String,
) -> Result<IndexMap<MachineName, InsideIdentity>, Exhausted> {
    let mut used_addresses: BTreeSet<Ipv4Addr> = spec.machines.values().filter_map(|m| m.address).collect();
    let mut used_macs: BTreeSet<MacAddress> = spec.machines.values().filter_map(|m| m.mac).collect();
    let free_in = |(net, gateway): (Ipv4Net, Ipv4Addr)| net.hosts().filter(move |a| *a != gateway);
    let subnets = spec.network.subnets.iter().map(|subnet| (subnet.net, subnet.gateway()));
    let mut free_addresses: Vec<_> = subnets.map(free_in).collect();
    let mut free_macs = (INSIDE_MACS + 1..EDGE_MACS).map(MacAddress::local).filter(|m| *m != MacAddress::GATEWAY);
    spec.machines
        .iter()
        .map(|(name, machine)| {
            let subnet = spec.subnet_of(name);
            let exhausted = || Exhausted::Subnet { subnet: subnet.net, machine: name.clone() };
            let address = match machine.address {
                Some(address) => address,
                None => free_addresses[usize::from(subnet.place)]
                    .find(|a| used_addresses.insert(*a))
                    .ok_or_else(exhausted)?,
            };
            let mac = match machine.mac {
                Some(mac) => mac,
                None => free_macs.find(|m| used_macs.insert(*m)).ok_or_else(exhausted)?,
            };
            let hostname = machine.hostname.clone().unwrap_or_else(|| hostname_of(name));
            Ok((name.clone(), InsideIdentity { hostname, address, mac, uuid: uuid() }))
        })
        .collect()
}

/// A machine's name is a DNS label, and so is a hostname.
fn hostname_of(name: &MachineName) -> Hostname {
    Hostname::new(name.as_str()).expect("a machine name follows the rules of a hostname")
}

/// The outside of a new instance whose inside is `inside`.
///
/// # Errors
/// When a pool is exhausted, or a chosen port is taken; says which.
pub fn outside(
    inside: IndexMap<MachineName, InsideIdentity>,
    isolation: &IsolationSpec,
    pools: &Pools,
    taken: &Taken,
) -> Result<Allocation, Exhausted> {
    let slot = (1..=u16::MAX).find(|s| !taken.edges.contains(s)).ok_or(Exhausted::Edges)?;
    let edge = Edge { slot, mac: MacAddress::local(EDGE_MACS + u32::from(slot)) };
    let host = last_address(pools.lab);
    let mut addresses = pools.lab.hosts().filter(|a| *a != host && !taken.addresses.contains(a));
    let inside_macs: BTreeSet<MacAddress> = inside.values().map(|i| i.mac).collect();
    let mut identities = IndexMap::new();
    for (name, inside) in inside {
        let exhausted = || Exhausted::Addresses { lab: pools.lab, machine: name.clone() };
        let address = addresses.next().ok_or_else(exhausted)?;
        let place = address.to_bits() - pools.lab.network().to_bits();
        let slot = u16::try_from(place).map_err(|_| exhausted())?;
        let mac = match isolation.mode {
            IsolationMode::TwoWayNat | IsolationMode::None => edge.mac,
            IsolationMode::DualInterface => second_mac(slot, &inside_macs),
        };
        let outside = OutsideIdentity { address, mac };
        identities.insert(name, MachineIdentity { inside, outside, slot, provider: None });
    }
    let mut ports = taken.ports.clone();
    let mut exposed = Vec::new();
    // Chosen ports first, so that an automatic one never takes what the same file asks for by number.
    let (chosen, automatic): (Vec<_>, Vec<_>) = isolation.expose.iter().partition(|e| e.at.is_some());
    for wanted in chosen.into_iter().chain(automatic) {
        let share = exposures(wanted, &identities, pools, &ports)?;
        ports.extend(share.iter().map(|exposure| (exposure.protocol, exposure.at.get())));
        exposed.extend(share);
    }
    Ok(Allocation { edge, identities, exposed })
}

/// The hardware address of a second interface. Its slot has one owner, by the claim on the public address; so has what
/// comes of it.
///
/// A file may have chosen any address for an interface inside. Such a one is passed over: a guest could not tell its
/// own two apart.
fn second_mac(slot: u16, inside: &BTreeSet<MacAddress>) -> MacAddress {
    let mut range = SECOND_MACS;
    loop {
        let mac = MacAddress::local(range + u32::from(slot));
        // An environment has fewer machines than there are ranges.
        if !inside.contains(&mac) || range == u32::MAX - 0xffff {
            return mac;
        }
        range += 0x1_0000;
    }
}

/// The port of the host that leads to `wanted`: one exposure for each of its machines.
///
/// # Errors
/// When the chosen port is taken, no port is left, or there is no such machine.
pub fn exposures(
    wanted: &Expose,
    identities: &IndexMap<MachineName, MachineIdentity>,
    pools: &Pools,
    taken: &BTreeSet<(Protocol, u16)>,
) -> Result<Vec<Exposure>, Exhausted> {
    let Expose { machine, port, protocol, at, .. } = wanted.clone();
    let there = |machine: &MachineName| {
        let identity = identities.get(machine).ok_or_else(|| Exhausted::NoSuchMachine { machine: machine.clone() })?;
        Ok((machine.clone(), identity.outside.address))
    };
    let machines = wanted.machines().map(there).collect::<Result<Vec<_>, Exhausted>>()?;
    let at = match at {
        Some(port) if taken.contains(&(protocol, port.get())) => {
            return Err(Exhausted::PortTaken { port, protocol });
        }
        Some(port) => port,
        None => pools.ports.clone().filter(|p| !taken.contains(&(protocol, *p))).find_map(NonZeroU16::new).ok_or_else(
            || Exhausted::Ports { machine: machine.clone(), first: *pools.ports.start(), last: *pools.ports.end() },
        )?,
    };
    Ok(machines.into_iter().map(|(machine, address)| Exposure { machine, port, protocol, at, address }).collect())
}

/// The last host address of a network: the gateway's, by Wardian's convention.
#[must_use]
pub fn last_address(network: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(network.broadcast().to_bits() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pools() -> Pools {
        Pools { lab: "10.86.0.0/16".parse().unwrap(), ports: 30000..=30099 }
    }

    fn spec(machines: usize) -> EnvironmentSpec {
        let machines: serde_json::Map<_, _> =
            (0..machines).map(|i| (format!("m{i}"), serde_json::json!({ "image": "micro" }))).collect();
        serde_json::from_value(serde_json::json!({ "name": "lab", "machines": machines })).unwrap()
    }

    fn nat() -> IsolationSpec {
        IsolationSpec::default()
    }

    fn dual() -> IsolationSpec {
        IsolationSpec { mode: IsolationMode::DualInterface, ..nat() }
    }

    fn uuid() -> String {
        "00000000-0000-4000-8000-000000000000".to_owned()
    }

    #[test]
    fn machines_get_addresses_in_file_order_and_the_gateway_is_last() {
        let inside = inside(&spec(3), uuid).unwrap();
        let addresses: Vec<_> = inside.values().map(|i| i.address.to_string()).collect();
        assert_eq!(addresses, ["192.168.23.1", "192.168.23.2", "192.168.23.3"]);
        assert_eq!(inside[0].hostname.as_str(), "m0");
    }

    #[test]
    fn two_environments_of_one_file_are_equal_inside_and_differ_outside() {
        let inside = inside(&spec(2), uuid).unwrap();
        let first = outside(inside.clone(), &nat(), &pools(), &Taken::default()).unwrap();
        let taken = Taken {
            edges: [first.edge.slot].into(),
            addresses: first.identities.values().map(|i| i.outside.address).collect(),
            ports: BTreeSet::new(),
        };
        let second = outside(inside, &nat(), &pools(), &taken).unwrap();
        assert_eq!(first.identities[0].inside, second.identities[0].inside);
        assert_ne!(first.identities[0].outside, second.identities[0].outside);
        assert_ne!(first.edge, second.edge);
    }

    #[test]
    fn second_interfaces_have_hardware_addresses_of_their_own() {
        let mut inside = inside(&spec(3), uuid).unwrap();
        // Somebody chose the very address that the second machine would get.
        inside[0].mac = MacAddress::local(SECOND_MACS + 2);
        let given = outside(inside, &dual(), &pools(), &Taken::default()).unwrap();
        let all = given.identities.values().flat_map(|i| [i.inside.mac, i.outside.mac]).chain([given.edge.mac]);
        assert_eq!(all.collect::<BTreeSet<_>>().len(), 7);
    }

    #[test]
    fn a_chosen_port_that_is_taken_is_refused() {
        let identities =
            outside(inside(&spec(2), uuid).unwrap(), &nat(), &pools(), &Taken::default()).unwrap().identities;
        let wanted: Expose = "m0:80 at 8080".parse().unwrap();
        let refused = exposures(&wanted, &identities, &pools(), &[(Protocol::Tcp, 8080)].into());
        assert!(matches!(refused, Err(Exhausted::PortTaken { .. })));
        assert!(exposures(&wanted, &identities, &pools(), &[(Protocol::Udp, 8080)].into()).is_ok());
        // Who shares a port of the host has the same one.
        let shared = exposures(&"m0+m1:80".parse().unwrap(), &identities, &pools(), &[(Protocol::Tcp, 8080)].into());
        let shared = shared.unwrap();
        assert_eq!(shared.iter().map(|e| e.machine.as_str()).collect::<Vec<_>>(), ["m0", "m1"]);
        assert!(shared[0].at == shared[1].at && shared[0].address != shared[1].address);
        let missing = exposures(&"m0+m77:80".parse().unwrap(), &identities, &pools(), &BTreeSet::new());
        assert!(matches!(missing, Err(Exhausted::NoSuchMachine { machine }) if machine.as_str() == "m77"));
    }

    proptest! {
        #[test]
        fn nothing_is_ever_given_twice(
            count in 1usize..20,
            edges in prop::collection::btree_set(1u16..50, 0..30),
            addresses in prop::collection::btree_set(0x0a56_0001u32..0x0a56_0040, 0..40),
        ) {
            let addresses: BTreeSet<_> = addresses.into_iter().map(Ipv4Addr::from_bits).collect();
            let taken = Taken { edges, addresses, ports: BTreeSet::new() };
            let given = outside(inside(&spec(count), uuid).unwrap(), &nat(), &pools(), &taken).unwrap();
            prop_assert!(!taken.edges.contains(&given.edge.slot));
            let mut slots = BTreeSet::new();
            let mut addresses = taken.addresses.clone();
            let second = outside(inside(&spec(count), uuid).unwrap(), &dual(), &pools(), &taken).unwrap();
            let macs: BTreeSet<_> = second.identities.values().flat_map(|i| [i.inside.mac, i.outside.mac]).collect();
            prop_assert_eq!(macs.len(), 2 * count);
            for identity in given.identities.values() {
                prop_assert!(slots.insert(identity.slot));
                prop_assert!(addresses.insert(identity.outside.address));
                prop_assert_ne!(identity.outside.address, last_address(pools().lab));
                prop_assert!(pools().lab.contains(&identity.outside.address));
            }
        }

        #[test]
        fn environments_that_come_and_go_never_share_anything(
            steps in prop::collection::vec((any::<bool>(), 1usize..6, any::<prop::sample::Index>()), 1..60),
        ) {
            // Small pools, so that they run out and what was released is given again.
            let pools = Pools { lab: "10.86.0.0/27".parse().unwrap(), ports: 30000..=30007 };
            let mut living: Vec<Allocation> = Vec::new();
            for (comes, machines, which) in steps {
                if !comes && !living.is_empty() {
                    living.swap_remove(which.index(living.len()));
                }
                let taken = Taken {
                    edges: living.iter().map(|one| one.edge.slot).collect(),
                    addresses: living.iter().flat_map(|one| one.identities.values()).map(|i| i.outside.address).collect(),
                    ports: living.iter().flat_map(|one| &one.exposed).map(|e| (e.protocol, e.at.get())).collect(),
                };
                let expose: Vec<Expose> = vec!["m0:80".parse().unwrap(), "m0:53/udp".parse().unwrap()];
                let (addresses, ports) = (taken.addresses.len(), taken.ports.len());
                let isolation = IsolationSpec { expose: expose.clone(), ..nat() };
                match outside(inside(&spec(machines), uuid).unwrap(), &isolation, &pools, &taken) {
                    Ok(given) => living.push(given),
                    // 30 hosts, one of which is the gateway; 8 ports for each protocol.
                    Err(Exhausted::Addresses { .. }) => prop_assert!(addresses + machines > 29),
                    Err(Exhausted::Ports { .. }) => prop_assert_eq!(ports, 16),
                    Err(other) => prop_assert!(false, "{other}"),
                }
                let (mut edges, mut macs) = (BTreeSet::new(), BTreeSet::new());
                let (mut slots, mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
                for one in &living {
                    prop_assert!(edges.insert(one.edge.slot) && macs.insert(one.edge.mac));
                    for identity in one.identities.values() {
                        prop_assert!(slots.insert(identity.slot) && addresses.insert(identity.outside.address));
                        prop_assert_eq!(identity.outside.mac, one.edge.mac);
                    }
                    for exposure in &one.exposed {
                        prop_assert!(ports.insert((exposure.protocol, exposure.at)));
                    }
                }
            }
        }
    }
}
