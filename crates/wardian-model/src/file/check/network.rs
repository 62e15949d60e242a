//! Whether a subnet can carry an environment, and whether the chosen addresses are its own.

use std::{collections::HashMap, net::Ipv4Addr};

use ipnet::Ipv4Net;

use super::Finding;
use crate::spec::EnvironmentSpec;

/// Subnets of which no address may be given to a machine (RFC 6890, section 2.2.2).
const SPECIAL: [(Ipv4Net, &str); 5] = [
    (Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8), "\"this network\""),
    (Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8), "loopback"),
    (Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16), "link-local"),
    (Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4), "multicast"),
    (Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4), "reserved"),
];

/// How many machines fit into a subnet: all its addresses but network, broadcast and gateway.
const fn capacity(subnet: Ipv4Net) -> u64 {
    (1_u64 << (32 - subnet.prefix_len() as u32)).saturating_sub(3)
}

pub(super) fn check(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    const PATH: &str = "network/subnet";
    let subnet = spec.network.subnet;
    let count = spec.machines.len();
    if capacity(subnet) == 0 {
        let message = format!("the subnet {subnet} has no room for a machine and its gateway");
        found.push(Finding::error(PATH, message).hint("a prefix of 30 or shorter has; 24 is usual"));
        return;
    }
    if let Some((_, kind)) = SPECIAL.iter().find(|(special, _)| special.contains(&subnet) || subnet.contains(special)) {
        let message = format!("the subnet {subnet} holds {kind} addresses, which machines can't have");
        found.push(Finding::error(PATH, message).hint("choose a private one, as in 192.168.23.0/24 or 10.23.0.0/16"));
        return;
    }
    if subnet.addr() != subnet.network() {
        let message = format!("{subnet} is an address in a subnet, not a subnet");
        found.push(Finding::error(PATH, message).hint(format!("did you mean {}?", subnet.trunc())));
        return;
    }
    if count as u64 > capacity(subnet) {
        let fit = capacity(subnet);
        let plural = if fit == 1 { "machine fits" } else { "machines fit" };
        let message = format!("{fit} {plural} into {subnet} beside the gateway; the environment has {count}");
        let prefix = (8..=30)
            .rev()
            .find(|prefix| Ipv4Net::new(subnet.addr(), *prefix).is_ok_and(|net| capacity(net) >= count as u64))
            .unwrap_or(8);
        found.push(Finding::error(PATH, message).hint(format!("a prefix of {prefix} is long enough")));
    }
    addresses(spec, found);
}

fn addresses(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    let subnet = spec.network.subnet;
    let mut owners = HashMap::new();
    let mut macs = HashMap::new();
    for (name, machine) in &spec.machines {
        if let Some(address) = machine.address {
            let wrong = if !subnet.contains(&address) {
                Some(format!("the address {address} is not in the subnet {subnet}"))
            } else if address == subnet.network() {
                Some(format!("{address} is the network address of {subnet}"))
            } else if address == subnet.broadcast() {
                Some(format!("{address} is the broadcast address of {subnet}"))
            } else if address == spec.network.gateway() {
                Some(format!("{address} is the gateway of {subnet}"))
            } else {
                owners.insert(address, name).map(|owner| format!("{owner} has the address {address} already"))
            };
            let last = Ipv4Addr::from_bits(spec.network.gateway().to_bits() - 1);
            let first = Ipv4Addr::from_bits(subnet.network().to_bits() + 1);
            let hint = format!("choose another of {first} to {last}, or none to get a free one");
            found.extend(wrong.map(|message| Finding::error(format!("machines/{name}/address"), message).hint(hint)));
        }
        if let Some(owner) = machine.mac.and_then(|mac| macs.insert(mac, name)) {
            let message = format!("{owner} has this hardware address already");
            let finding = Finding::error(format!("machines/{name}/mac"), message);
            found.push(finding.hint("choose another, or none to get a free one"));
        }
    }
}
