//! Whether a subnet can carry an environment, and whether the chosen addresses are its own.

use std::{collections::HashMap, net::Ipv4Addr};

use ipnet::Ipv4Net;

use super::{super::walk::nearest, Finding};
use crate::{
    name::SubnetName,
    spec::{EnvironmentSpec, Subnet},
};

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

/// Where a subnet stands in the file.
pub(in crate::file) fn place_of(name: Option<&SubnetName>) -> String {
    name.map_or_else(|| "network/subnet".to_owned(), |name| format!("network/subnets/{name}"))
}

pub(super) fn check(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    // Of all of them, also where one is none already.
    let sound = spec.network.subnets.iter().filter(|subnet| single(spec, *subnet, found)).count();
    overlaps(spec, found);
    names(spec, found);
    if sound == spec.network.subnets.iter().count() {
        addresses(spec, found);
    }
}

/// What can be wrong with a subnet alone, and with how many machines are in it; whether it has addresses for machines
/// at all.
fn single(spec: &EnvironmentSpec, of: Subnet<'_>, found: &mut Vec<Finding>) -> bool {
    let (path, subnet) = (place_of(of.name), of.net);
    if capacity(subnet) == 0 {
        let message = format!("the subnet {subnet} has no room for a machine and its gateway");
        found.push(Finding::error(path, message).hint("a prefix of 30 or shorter has; 24 is usual"));
        return false;
    }
    if let Some((_, kind)) = SPECIAL.iter().find(|(special, _)| special.contains(&subnet) || subnet.contains(special)) {
        let message = format!("the subnet {subnet} holds {kind} addresses, which machines can't have");
        found.push(Finding::error(path, message).hint("choose a private one, as in 192.168.23.0/24 or 10.23.0.0/16"));
        return false;
    }
    if subnet.addr() != subnet.network() {
        let message = format!("{subnet} is an address in a subnet, not a subnet");
        found.push(Finding::error(path, message).hint(format!("did you mean {}?", subnet.trunc())));
        return false;
    }
    let count = spec.machines.keys().filter(|machine| spec.subnet_of(machine).place == of.place).count();
    if count as u64 > capacity(subnet) {
        let fit = capacity(subnet);
        let plural = if fit == 1 { "machine fits" } else { "machines fit" };
        let message = match of.name {
            None => format!("{fit} {plural} into {subnet} beside the gateway; the environment has {count}"),
            Some(name) => format!("{fit} {plural} into {subnet} beside the gateway; {name} has {count}"),
        };
        let prefix = (8..=30)
            .rev()
            .find(|prefix| Ipv4Net::new(subnet.addr(), *prefix).is_ok_and(|net| capacity(net) >= count as u64))
            .unwrap_or(8);
        found.push(Finding::error(path, message).hint(format!("a prefix of {prefix} is long enough")));
    }
    true
}

/// Each host routes between them, so an address is in one of them at most.
fn overlaps(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    let all: Vec<Subnet<'_>> = spec.network.subnets.iter().collect();
    for (n, later) in all.iter().enumerate() {
        let overlap = |earlier: &&Subnet<'_>| earlier.net.contains(&later.net) || later.net.contains(&earlier.net);
        let (Some(earlier), Some(name)) = (all[..n].iter().find(overlap), later.name) else { continue };
        let Some(first) = earlier.name else { continue };
        let message = format!(
            "the subnet {name} ({}) overlaps {first} ({}), so nobody could route between them",
            later.net, earlier.net
        );
        let finding = Finding::error(place_of(Some(name)), message);
        found.push(finding.hint("choose subnets that have no address in common"));
    }
}

/// Machines are in subnets that there are.
fn names(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    let subnets = &spec.network.subnets;
    for (machine, name) in spec.machines.iter().filter_map(|(machine, it)| Some((machine, it.subnet.as_ref()?))) {
        if subnets.get(name).is_some() {
            continue;
        }
        let known: Vec<&str> = subnets.iter().filter_map(|subnet| Some(subnet.name?.as_str())).collect();
        let hint = match nearest(name.as_str(), known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => {
                format!("name some under `network`, as in `subnets: {{ {name}: 192.168.23.0/24 }}`")
            }
            None => format!("the subnets are {}", known.join(", ")),
        };
        let finding = Finding::error(format!("machines/{machine}/subnet"), format!("there is no subnet {name}"));
        found.push(finding.hint(hint));
    }
}

fn addresses(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    let mut owners = HashMap::new();
    let mut macs = HashMap::new();
    for (name, machine) in &spec.machines {
        let of = spec.subnet_of(name);
        let (subnet, gateway) = (of.net, of.gateway());
        if let Some(address) = machine.address {
            let wrong = if !subnet.contains(&address) {
                Some(match of.name {
                    None => format!("the address {address} is not in the subnet {subnet}"),
                    Some(its) => format!("the address {address} is not in {name}'s subnet {its} ({subnet})"),
                })
            } else if address == subnet.network() {
                Some(format!("{address} is the network address of {subnet}"))
            } else if address == subnet.broadcast() {
                Some(format!("{address} is the broadcast address of {subnet}"))
            } else if address == gateway {
                Some(format!("{address} is the gateway of {subnet}"))
            } else {
                owners.insert(address, name).map(|owner| format!("{owner} has the address {address} already"))
            };
            let last = Ipv4Addr::from_bits(gateway.to_bits() - 1);
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
