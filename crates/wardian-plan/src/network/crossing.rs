//! The edge's rules, in the environment's namespace: two-way NAT and the fence.
//!
//! * Each machine has one public address that means it, and only it, in both directions.
//! * The fence is asked for every packet, not only for the first of a connection: when it closes, connections that it
//!   no longer allows stop at once. Which side opened a connection is what conntrack calls its direction.
//! * Nothing leaves with an address that isn't public, whatever the rules above may have missed.
//! * Somebody outside may have an address that is also one inside (the host's own network may be 192.168.23.0/24 too).
//!   Such a packet comes in with the gateway as its source, and its answers carry a mark that a routing rule sends to
//!   the edge; without it they would be looked for inside.

use wardian_model::{
    environment::{EnvironmentRecord, MachineIdentity},
    spec::Fence,
};

use super::{
    environment::{BRIDGE, EDGE, OUTWARD},
    text::{chain, collection, counters, replace_table, rules},
};

/// `table inet wardian`.
pub(super) fn table(record: &EnvironmentRecord) -> String {
    let machines = || record.identities.values();
    let both = |from: fn(&MachineIdentity) -> String| machines().map(from);
    let exposed = record.exposed.iter().filter_map(|e| {
        let address = record.identities.get(&e.machine)?.inside.address;
        Some(format!("{address} . {} . {}", e.protocol, e.port))
    });
    let exposed: std::collections::BTreeSet<String> = exposed.collect();

    let body = [
        counters(&["fence_in", "fence_out", "fence_inside", "invalid", "to_gateway", "not_public"]),
        collection(
            "map",
            "public_of",
            "ipv4_addr : ipv4_addr",
            both(|i| format!("{} : {}", i.inside.address, i.outside.address)),
        ),
        collection(
            "map",
            "private_of",
            "ipv4_addr : ipv4_addr",
            both(|i| format!("{} : {}", i.outside.address, i.inside.address)),
        ),
        collection("set", "private", "ipv4_addr", both(|i| i.inside.address.to_string())),
        collection("set", "public", "ipv4_addr", both(|i| i.outside.address.to_string())),
        collection("set", "exposed", "ipv4_addr . inet_proto . inet_service", exposed),
        translation(record),
        fence(record.fence),
        gateway(record),
        last_guard(),
    ]
    .concat();
    replace_table("inet", "wardian", &body)
}

/// Addresses are exchanged; hairpins are seen as coming from the asker's public address, so that answers come back this way.
fn translation(record: &EnvironmentRecord) -> String {
    let subnet = record.spec.network.subnet.trunc();
    let gateway = record.spec.network.gateway();
    [
        chain(
            "overlap",
            "filter hook prerouting priority mangle; policy accept",
            &rules![
                format!("iifname \"{EDGE}\" ct state new ip saddr {subnet} ct mark set {OUTWARD:#x}"),
                format!("iifname \"{BRIDGE}\" ct mark {OUTWARD:#x} meta mark set {OUTWARD:#x}"),
            ],
        ),
        chain(
            "inward",
            "nat hook prerouting priority dstnat; policy accept",
            &rules![format!("iifname {{ \"{EDGE}\", \"{BRIDGE}\" }} dnat ip to ip daddr map @private_of")],
        ),
        chain(
            "outward",
            "nat hook postrouting priority srcnat; policy accept",
            &rules![
                format!("oifname \"{EDGE}\" snat ip to ip saddr map @public_of"),
                format!("oifname \"{BRIDGE}\" ct mark {OUTWARD:#x} snat ip to {gateway}"),
                format!("oifname \"{BRIDGE}\" ct status dnat snat ip to ip saddr map @public_of"),
            ],
        ),
    ]
    .concat()
}

fn fence(fence: Fence) -> String {
    let out = format!("iifname \"{BRIDGE}\" oifname \"{EDGE}\"");
    let inward = format!("iifname \"{EDGE}\" oifname \"{BRIDGE}\"");
    // A machine that calls a public address of its own environment stays inside; what was not translated doesn't belong here.
    let hairpin = format!("iifname \"{BRIDGE}\" oifname \"{BRIDGE}\" ct status dnat accept");
    let clamp = "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu";

    let mut rules = Vec::from(rules!["ct state invalid counter name invalid drop"]);
    match fence {
        Fence::Sealed => {}
        Fence::Open | Fence::OutOnly => {
            rules.push(clamp.into());
            rules.push("ct state related meta l4proto icmp accept".into());
            rules.push(format!("{out} ct direction original ip saddr @private accept"));
            rules.push(format!("{inward} ct direction reply ct state established accept"));
        }
    }
    match fence {
        Fence::Sealed => {}
        Fence::Open => {
            rules.push(format!("{out} ct direction reply ip saddr @private accept"));
            rules.push(format!("{inward} ct direction original ct status dnat accept"));
        }
        Fence::OutOnly => {
            rules.push(format!("{out} ct direction reply ip saddr . meta l4proto . th sport @exposed accept"));
            rules.push(format!(
                "{inward} ct direction original ct status dnat ip daddr . meta l4proto . th dport @exposed accept"
            ));
        }
    }
    rules.push(hairpin);
    rules.push(format!("iifname \"{EDGE}\" counter name fence_in drop"));
    rules.push(format!("oifname \"{EDGE}\" counter name fence_out drop"));
    rules.push("counter name fence_inside drop".into());
    chain("forward", "filter hook forward priority filter; policy drop", &rules)
}

/// What the gateway itself hears: DHCP, DNS, pings, and answers to its own probes.
fn gateway(record: &EnvironmentRecord) -> String {
    let gateway = record.spec.network.gateway();
    chain(
        "input",
        "filter hook input priority filter; policy drop",
        &rules![
            "ct state invalid counter name invalid drop",
            format!("iifname \"{BRIDGE}\" ct state established,related accept"),
            format!("iifname \"{BRIDGE}\" udp sport 68 udp dport 67 accept"),
            format!(
                "iifname \"{BRIDGE}\" ip saddr @private ip daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53 accept"
            ),
            format!("iifname \"{BRIDGE}\" ip saddr @private ip daddr {gateway} icmp type echo-request accept"),
            "counter name to_gateway drop",
        ],
    )
}

/// After translation, nothing but public addresses may leave.
fn last_guard() -> String {
    chain(
        "guard",
        "filter hook postrouting priority srcnat + 50; policy accept",
        &rules![
            format!("oifname \"{EDGE}\" meta nfproto != ipv4 counter name not_public drop"),
            format!("oifname \"{EDGE}\" ip saddr != @public counter name not_public drop"),
        ],
    )
}
