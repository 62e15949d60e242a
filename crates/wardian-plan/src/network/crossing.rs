//! The edge's rules, in the environment's namespace: two-way NAT and the fence.
//!
//! * Each machine has one public address that means it, and only it, in both directions.
//! * The fence is asked for every packet, not only for the first of a connection: when it closes, connections that it
//!   no longer allows stop at once. Which side opened a connection is what conntrack calls its direction. An ICMP error
//!   counts as a packet of the connection it is about, so it passes exactly when that connection may.
//! * A TCP segment of a connection that conntrack doesn't know (a clone inherited it, or it was forgotten) is never
//!   taken for a new one; its sender is told by a reset. `wardian-network` sets `nf_conntrack_tcp_loose` to 0 for this:
//!   without, conntrack would pick the connection up in its middle. Nothing of the kind leaves a sealed environment.
//! * Where machines have no addresses of their own, they share one: it leads inside at exposed ports only, by the
//!   number that the port has at the host. Where several machines share such a port, each new connection goes to one of
//!   them (`balance`).
//! * Where a machine is the gateway of the others, what they send outwards is sent to it instead, before anything else
//!   sees it: connection tracking too, which never sees the answers. Their own router stays this gateway, so nobody
//!   inside is told.
//! * A domain controller has no outside: it is in none of the maps, and what comes from it or is meant for it is
//!   dropped before anything else is asked, and counted as the fence's.
//! * Nothing leaves with an address that isn't public, whatever the rules above may have missed.
//! * Somebody outside may have an address that is also one inside (the host's own network may be 192.168.23.0/24 too).
//!   Such a packet comes in with the gateway as its source, and its answers carry a mark that a routing rule sends to
//!   the edge; without it they would be looked for inside.
//!
//! * Between the environment's own subnets, and with environments it is joined with, everything passes, whatever the
//!   fence: no more is known of it than of what a switch hands on (`inside`).
//!
//! Whatever is dropped is counted under its reason.

use std::{collections::BTreeSet, net::Ipv4Addr};

use wardian_model::{
    environment::{EnvironmentRecord, MachineIdentity},
    name::MachineName,
    spec::{Fence, Protocol},
};

use super::{
    balance,
    environment::{DETOUR, EDGE, OUTWARD},
    inside,
    text::{Table, rules},
};

/// Answers a segment of an unknown connection; more than this many in a second are dropped. A reset is no reason for
/// one.
pub(super) const UNKNOWN: &str =
    "meta l4proto tcp ct state invalid tcp flags & rst == 0x0 limit rate 200/second burst 400 packets counter name";

/// About a connection from outside to an exposed port: a packet of it, in either direction, or an error about it. An
/// error has no ports of its own, so the connection's are looked at: those of its answers, which are the inside ones.
/// (Without naming protocols first, nft doesn't know what a connection's ports are.)
pub(super) const EXPOSED: &str = "meta l4proto { tcp, udp, icmp } \
     ct reply ip saddr . ct reply protocol . ct reply proto-src @exposed";

/// The machines that have a public address of their own.
pub(super) fn outsiders(record: &EnvironmentRecord) -> impl Iterator<Item = &MachineIdentity> {
    record.identities.iter().filter(|(name, _)| record.has_outside(name)).map(|(_, identity)| identity)
}

/// The public addresses of an environment whose machines have one interface each.
pub(super) fn public(record: &EnvironmentRecord) -> impl Iterator<Item = Ipv4Addr> {
    outsiders(record).map(|i| i.outside.address).chain(record.shared_address())
}

/// The machines that have no way out but by a machine that is the gateway.
fn behind(record: &EnvironmentRecord) -> impl Iterator<Item = &MachineIdentity> {
    let is_behind = |name: &MachineName| record.spec.may_have_outside(name) && !record.has_outside(name);
    let some = record.gateway.machine().is_some();
    record.identities.iter().filter(move |(name, _)| some && is_behind(name)).map(|(_, identity)| identity)
}

/// Inside and public addresses of the machines that reach the outside from here.
fn leaving(record: &EnvironmentRecord) -> impl Iterator<Item = (Ipv4Addr, Ipv4Addr)> {
    let shared = record.shared_address();
    record.identities.iter().filter_map(move |(name, identity)| {
        let own = record.has_outside(name).then_some(identity.outside.address);
        let public = own.or(shared.filter(|_| record.spec.may_have_outside(name)))?;
        Some((identity.inside.address, public))
    })
}

/// `table inet wardian`.
pub(super) fn table(record: &EnvironmentRecord) -> String {
    let machines = || record.identities.values();
    let behind_shared = balance::behind_shared(record);
    let doors = |protocol: Protocol| {
        let single = behind_shared.iter().filter(move |(door, ends)| door.protocol == protocol && ends.len() == 1);
        single.map(|(door, ends)| format!("{} : {}", door.at, ends[0]))
    };
    let exposed = record.exposed.iter().filter_map(|e| {
        let address = record.identities.get(&e.machine)?.inside.address;
        Some(format!("{address} . {} . {}", e.protocol, e.port))
    });
    let exposed: BTreeSet<String> = exposed.collect();

    let table = counted()
        .collection(
            "map",
            "public_of",
            "ipv4_addr : ipv4_addr",
            leaving(record).map(|(inside, public)| format!("{inside} : {public}")),
        )
        .collection(
            "map",
            "private_of",
            "ipv4_addr : ipv4_addr",
            outsiders(record).map(|i| format!("{} : {}", i.outside.address, i.inside.address)),
        )
        .collection("set", "private", "ipv4_addr", machines().map(|i| i.inside.address))
        .collection("set", "leaving", "ipv4_addr", leaving(record).map(|(inside, _)| inside))
        .collection("set", "behind", "ipv4_addr", behind(record).map(|i| i.inside.address))
        .collection("set", "public", "ipv4_addr", public(record))
        .collection("set", "shared", "ipv4_addr", record.shared_address())
        .collection("map", "tcp_doors", "inet_service : ipv4_addr . inet_service", doors(Protocol::Tcp))
        .collection("map", "udp_doors", "inet_service : ipv4_addr . inet_service", doors(Protocol::Udp))
        .collection("set", "exposed", "ipv4_addr . inet_proto . inet_service", exposed);
    let table = translation(detour(table, record), record);
    let table = forward(table, record);
    let table = gateway(table, record);
    last_guard(table, record.fence).render()
}

/// What the machines behind another one send outwards goes to that one, by a route of its own.
fn detour(table: Table, record: &EnvironmentRecord) -> Table {
    let (switches, known) = (inside::switches(record), inside::known(record));
    let outwards = format!("ip daddr != {known} ip daddr != @public fib daddr type unicast");
    let mut rules = inside::untracked(record);
    rules.push(format!("iifname {switches} ip saddr @behind {outwards} meta mark set {DETOUR:#x} notrack"));
    table.chain("detour", "filter hook prerouting priority raw; policy accept", &rules)
}

/// Addresses are exchanged; hairpins are seen as coming from the asker's public address, so that answers come back this
/// way.
fn translation(table: Table, record: &EnvironmentRecord) -> Table {
    let (switches, known) = (inside::switches(record), inside::known(record));
    let both = format!("iifname {}", inside::edge_and_switches(record));
    let shared = format!("{both} ip daddr @shared");
    let mut outward = Vec::from(rules![format!("oifname \"{EDGE}\" snat ip to ip saddr map @public_of")]);
    for subnet in record.spec.network.subnets.iter() {
        let (switch, gateway) = (inside::switch(&subnet), subnet.gateway());
        outward.push(format!("oifname \"{switch}\" ct mark {OUTWARD:#x} snat ip to {gateway}"));
        outward.push(format!("oifname \"{switch}\" ct status dnat snat ip to ip saddr map @public_of"));
        outward.push(format!("oifname \"{switch}\" ct status dnat ip saddr @behind snat ip to {gateway}"));
    }
    let mut inward = Vec::from(rules![format!("{both} dnat ip to ip daddr map @private_of")]);
    for (door, ends) in balance::behind_shared(record).iter().filter(|(_, ends)| ends.len() > 1) {
        let (protocol, at, ends) = (door.protocol, door.at, balance::one_of(door.protocol, ends));
        inward.push(format!("{shared} {protocol} dport {at} dnat ip to {ends}"));
    }
    inward.push(format!("{shared} meta l4proto tcp dnat ip to tcp dport map @tcp_doors"));
    inward.push(format!("{shared} meta l4proto udp dnat ip to udp dport map @udp_doors"));
    table
        .chain(
            "overlap",
            "filter hook prerouting priority mangle; policy accept",
            &rules![
                format!("iifname \"{EDGE}\" ct state new ip saddr {known} ct mark set {OUTWARD:#x}"),
                format!("iifname {switches} ct mark {OUTWARD:#x} meta mark set {OUTWARD:#x}"),
            ],
        )
        .chain("inward", "nat hook prerouting priority dstnat; policy accept", &inward)
        .chain("outward", "nat hook postrouting priority srcnat; policy accept", &outward)
}

/// What passes between inside and outside, and between machines by their public addresses.
fn forward(table: Table, record: &EnvironmentRecord) -> Table {
    let switches = inside::switches(record);
    let out = format!("iifname {switches} oifname \"{EDGE}\"");
    let inward = format!("iifname \"{EDGE}\" oifname {switches}");
    let clamp = "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu";

    let mut rules = inside::routed(record);
    for (name, identity) in record.identities.iter().filter(|(name, _)| !record.spec.may_have_outside(name)) {
        let address = identity.inside.address;
        rules.push(format!("ip saddr {address} counter name fence_out drop comment \"{name} has no outside\""));
        rules.push(format!("ip daddr {address} counter name fence_in drop comment \"{name} has no outside\""));
    }
    // As the frame came; a machine that is the gateway sends it on, or doesn't.
    rules.push(format!("iifname {switches} oifname {switches} meta mark {DETOUR:#x} accept"));
    rules.push(format!("iifname {switches} {UNKNOWN} reset_inside reject with tcp reset"));
    rules.push("ct state invalid counter name invalid drop".into());
    match record.fence {
        Fence::Sealed => {}
        Fence::Open | Fence::OutOnly => {
            rules.push(clamp.into());
            rules.push(format!("{out} ct direction original ip saddr @leaving accept"));
            rules.push(format!("{inward} ct direction reply ct state established,related accept"));
        }
    }
    if record.fence != Fence::Sealed {
        rules.extend(balance::farewell(record, &format!("{inward} ct direction original ct status dnat")));
    }
    match record.fence {
        Fence::Sealed => {}
        Fence::Open => {
            rules.push(format!("{out} ct direction reply ip saddr @leaving accept"));
            rules.push(format!("{inward} ct direction original ct status dnat accept"));
        }
        Fence::OutOnly => {
            rules.push(format!("{out} ct direction reply ip saddr @leaving {EXPOSED} accept"));
            rules.push(format!("{inward} ct direction original ct status dnat {EXPOSED} accept"));
        }
    }
    // A machine that calls a public address of its own environment stays inside; what was not translated doesn't belong
    // here.
    let hairpin = format!("iifname {switches} oifname {switches} ct direction original ct status dnat");
    rules.extend(balance::farewell(record, &hairpin));
    rules.push(format!("iifname {switches} oifname {switches} ct status dnat accept"));
    rules.push(format!("iifname \"{EDGE}\" counter name fence_in drop"));
    rules.push(format!("oifname \"{EDGE}\" counter name fence_out drop"));
    rules.push("counter name fence_inside drop".into());
    table.chain("forward", "filter hook forward priority filter; policy drop", &rules)
}

/// What a gateway hears after what `first` says of it: DHCP, DNS and pings of its machines, and answers. Needs the set
/// `private`.
pub(super) fn heard(table: Table, record: &EnvironmentRecord, first: &[String]) -> Table {
    let (switches, gateways) = (inside::switches(record), inside::gateways(record));
    let mut rules = first.to_vec();
    rules.extend(rules![
        "ct state invalid counter name invalid drop",
        format!("iifname {switches} ct state established,related accept"),
        format!("iifname {switches} udp sport 68 udp dport 67 accept"),
        format!(
            "iifname {switches} ip saddr @private ip daddr {gateways} meta l4proto {{ tcp, udp }} th dport 53 accept"
        ),
        format!("iifname {switches} ip saddr @private ip daddr {gateways} icmp type echo-request accept"),
        "counter name to_gateway drop",
    ]);
    table.chain("input", "filter hook input priority filter; policy drop", &rules)
}

/// The counters of `table inet wardian`: the same whatever its rules are, for who reads them looks for all.
pub(super) fn counted() -> Table {
    Table::new("inet", "wardian")
        .counters(&["fence_in", "fence_out", "fence_inside", "invalid", "to_gateway", "not_public"])
        .counters(&["reset_inside", "reset_outside"])
}

/// What the gateway itself hears: DHCP, DNS, pings, and answers to its own probes. And what it says of others' packets.
fn gateway(table: Table, record: &EnvironmentRecord) -> Table {
    // An unknown segment has no connection, so no translation: it ends at the public address itself.
    let from_outside = match record.fence {
        Fence::Sealed => format!("iifname \"{EDGE}\" counter name fence_in drop"),
        Fence::Open | Fence::OutOnly => {
            format!("iifname \"{EDGE}\" ip daddr @public {UNKNOWN} reset_outside reject with tcp reset")
        }
    };
    // Errors about connections from outside, such as "time exceeded", are made before the fence is asked.
    let errors = match record.fence {
        Fence::Open | Fence::Sealed => Vec::new(),
        Fence::OutOnly => {
            let about = format!("oifname \"{EDGE}\" meta l4proto icmp ct state related ct direction reply");
            Vec::from(rules![format!("{about} {EXPOSED} accept"), format!("{about} counter name fence_out drop")])
        }
    };
    let switches = inside::switches(record);
    let first = rules![from_outside, format!("iifname {switches} {UNKNOWN} reset_inside reject with tcp reset")];
    heard(table, record, &first).chain("output", "filter hook output priority filter; policy accept", &errors)
}

/// After translation, nothing but public addresses may leave; and nothing at all, not even the gateway's own words,
/// when sealed.
fn last_guard(table: Table, fence: Fence) -> Table {
    let mut rules = Vec::new();
    if fence == Fence::Sealed {
        rules.push(format!("oifname \"{EDGE}\" counter name fence_out drop"));
    }
    rules.push(format!("oifname \"{EDGE}\" meta nfproto != ipv4 counter name not_public drop"));
    rules.push(format!("oifname \"{EDGE}\" ip saddr != @public counter name not_public drop"));
    table.chain("guard", "filter hook postrouting priority srcnat + 50; policy accept", &rules)
}
