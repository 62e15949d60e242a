//! What rules and links call the inside: the switches of an environment's subnets, their addresses and gateways.
//!
//! The first subnet's have the names that they had when there was one, and rules about one name it without braces: so the rules of
//! an environment with one subnet are what they always were.

use std::fmt::Display;

use wardian_model::{environment::EnvironmentRecord, spec::Subnet};

use super::environment::{BRIDGE, EDGE, UPLINK};

/// The name of a subnet's switch.
pub(super) fn switch(subnet: &Subnet<'_>) -> String {
    match subnet.place {
        0 => BRIDGE.to_owned(),
        place => format!("sub{place}"),
    }
}

/// The name of the port of a subnet's switch that leads to the parts on other hosts.
pub(super) fn uplink(subnet: &Subnet<'_>) -> String {
    match subnet.place {
        0 => UPLINK.to_owned(),
        place => format!("{UPLINK}{place}"),
    }
}

/// The outer end of a pair of that kind and subnet: 15 characters at most, and nobody else's on this host.
pub(super) fn outer(kind: &str, record: &EnvironmentRecord, subnet: &Subnet<'_>) -> String {
    match subnet.place {
        0 => format!("{kind}{}", record.edge.slot),
        place => format!("{kind}{}s{place}", record.edge.slot),
    }
}

/// One thing as it is, several as a set.
pub(super) fn any<D: Display>(items: impl IntoIterator<Item = D>) -> String {
    let mut all: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match all.len() {
        1 => all.remove(0),
        _ => format!("{{ {} }}", all.join(", ")),
    }
}

fn quoted(record: &EnvironmentRecord) -> impl Iterator<Item = String> + '_ {
    record.spec.network.subnets.iter().map(|subnet| format!("\"{}\"", switch(&subnet)))
}

/// The switches.
pub(super) fn switches(record: &EnvironmentRecord) -> String {
    any(quoted(record))
}

/// The edge and the switches.
pub(super) fn edge_and_switches(record: &EnvironmentRecord) -> String {
    any(std::iter::once(format!("\"{EDGE}\"")).chain(quoted(record)))
}

/// The subnets.
pub(super) fn subnets(record: &EnvironmentRecord) -> String {
    any(record.spec.network.subnets.iter().map(|subnet| subnet.net.trunc()))
}

/// The gateways.
pub(super) fn gateways(record: &EnvironmentRecord) -> String {
    any(record.spec.network.subnets.iter().map(|subnet| subnet.gateway()))
}

/// Rules that must see packets between the subnets before connection tracking does. A clone goes on with connections between its
/// machines, of which its own namespace knows nothing: what is routed is no more looked at than what is switched.
pub(super) fn untracked(record: &EnvironmentRecord) -> Option<String> {
    let several = record.spec.network.subnets.are_several();
    several.then(|| format!("iifname {} ip daddr @private notrack", switches(record)))
}

/// Rules by which it passes, before any fence is asked.
pub(super) fn routed(record: &EnvironmentRecord) -> Option<String> {
    let (several, switches) = (record.spec.network.subnets.are_several(), switches(record));
    several.then(|| format!("iifname {switches} oifname {switches} ip saddr @private ip daddr @private accept"))
}
