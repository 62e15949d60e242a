//! What rules and links call the inside: the switches of an environment's subnets, their addresses and gateways, and
//! the links to environments it is joined with.
//!
//! The first subnet's have the names that they had when there was one, and rules about one name it without braces: so
//! the rules of an environment with one subnet are what they always were.

use std::{fmt::Display, net::Ipv4Addr};

use wardian_model::{environment::EnvironmentRecord, join::Joined, spec::Subnet};

use super::{
    GATEWAY_MAC, JoinPlan,
    environment::{BRIDGE, EDGE, TRANSIT, UPLINK},
};

/// What links to other environments are called, before the slot of the other's edge.
pub const JOIN: &str = "join";

fn link(joined: &Joined) -> String {
    format!("{JOIN}{}", joined.slot)
}

/// The link to each environment that `record` is joined with.
pub(super) fn joins(record: &EnvironmentRecord, mtu: u16) -> Vec<JoinPlan> {
    let own = record.as_joined();
    let join = |joined: &Joined| JoinPlan {
        other: joined.id,
        inner: link(joined),
        outer: link(&own),
        mac: GATEWAY_MAC,
        mtu,
        next: hop(joined.slot),
        back: hop(own.slot),
        theirs: joined.subnets.clone(),
        ours: own.subnets.clone(),
    };
    record.joined.iter().map(join).collect()
}

/// The next hop to the environment whose edge has that slot: link-local, so that it is no machine's (RFC 3927).
const fn hop(slot: u16) -> Ipv4Addr {
    let [high, low] = slot.to_be_bytes();
    Ipv4Addr::new(169, 254, high, low)
}

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

/// Whether a link of that name in an environment's namespace is a way to other hosts. Nothing else is called so.
#[must_use]
pub fn is_way(name: &str) -> bool {
    let number = name.strip_prefix(UPLINK);
    name == TRANSIT || number.is_some_and(|number| number.is_empty() || number.parse::<u8>().is_ok())
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

/// The subnets, and those of environments it is joined with.
pub(super) fn known(record: &EnvironmentRecord) -> String {
    let own = record.spec.network.subnets.iter().map(|subnet| subnet.net.trunc());
    any(own.chain(record.joined.iter().flat_map(|joined| joined.subnets.iter().copied())))
}

/// Rules that must see packets between the subnets, and to and from joined environments, before connection tracking
/// does. A clone goes on with connections between its machines, of which its own namespace knows nothing: what is
/// routed inside is no more looked at than what is switched.
pub(super) fn untracked(record: &EnvironmentRecord) -> Vec<String> {
    let (several, switches) = (record.spec.network.subnets.are_several(), switches(record));
    let own = several.then(|| format!("iifname {switches} ip daddr @private notrack"));
    let joined = record.joined.iter().flat_map(|joined| {
        let (link, theirs) = (link(joined), any(&joined.subnets));
        [format!("iifname {switches} ip daddr {theirs} notrack"), format!("iifname \"{link}\" notrack")]
    });
    own.into_iter().chain(joined).collect()
}

/// Rules by which it passes, before any fence is asked. By a link come the machines of the environment behind it and
/// nobody else, and they reach machines alone. But for a domain controller: only its own environment sees it, whomever
/// that is joined with.
pub(super) fn routed(record: &EnvironmentRecord) -> Vec<String> {
    let (several, switches) = (record.spec.network.subnets.are_several(), switches(record));
    let own =
        several.then(|| format!("iifname {switches} oifname {switches} ip saddr @private ip daddr @private accept"));
    let without_outside = record.identities.iter().filter(|(name, _)| !record.spec.may_have_outside(name));
    let controllers: Vec<_> = without_outside.map(|(name, identity)| (name, identity.inside.address)).collect();
    let joined = record.joined.iter().flat_map(|joined| {
        let (link, theirs) = (link(joined), any(&joined.subnets));
        let hidden = controllers.iter().flat_map(|(name, address)| {
            let why = format!("drop comment \"{name} has no outside\"");
            [
                format!("oifname \"{link}\" ip saddr {address} counter name fence_out {why}"),
                format!("iifname \"{link}\" ip daddr {address} counter name fence_in {why}"),
            ]
        });
        let pass = [
            format!("iifname {switches} oifname \"{link}\" ip saddr @private ip daddr {theirs} accept"),
            format!("iifname \"{link}\" oifname {switches} ip saddr {theirs} ip daddr @private accept"),
        ];
        hidden.chain(pass).collect::<Vec<_>>()
    });
    own.into_iter().chain(joined).collect()
}
