//! The host's rules, in the daemon's namespace: the ports that lead inside, and the way out.
//!
//! The host's own addresses lead to exposed ports from everywhere: from other computers, from the host itself
//! (127.0.0.1 included) and from machines. Where several machines share a port, each new connection goes to one of them
//! (`balance`). Everything else that other networks send towards the lab network is dropped.
//!
//! 127.0.0.1 needs `route_localnet` on the bridge, so that a packet of the loopback network may leave by it after
//! translation. What that would allow besides, packets from the lab network to services on the loopback addresses,
//! `guard` drops before anything else sees them; and the gateway of an environment, an ordinary kernel without that
//! setting, never forwards such a packet in the first place. `wardian-network` loads this table before it sets
//! `route_localnet`.

use std::collections::BTreeMap;

use wardian_model::{door::Door, spec::Protocol};

use super::{
    balance,
    lab::LabConfig,
    text::{Table, rules},
};

/// The name of our table for a bridge: of characters nft takes.
pub(super) fn table_name(bridge: &str) -> String {
    let word: String = bridge.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("wardian_{word}")
}

/// `table inet wardian_<bridge>`.
pub(super) fn table(config: &LabConfig, doors: &[Door]) -> String {
    let (bridge, lab, host) = (&config.bridge, config.prefix.trunc(), config.address());
    let mut all: BTreeMap<(Protocol, u16), Vec<String>> = BTreeMap::new();
    for door in doors {
        let ends = || door.to.iter().map(|(address, port)| format!("{address} . {port}")).collect();
        all.entry((door.protocol, door.at.get())).or_insert_with(ends);
    }
    let ports = |protocol: Protocol| {
        let single = all.iter().filter(move |((of, _), ends)| *of == protocol && ends.len() == 1);
        single.map(|((_, at), ends)| format!("{at} : {}", ends[0]))
    };
    let translate = |condition: &str| {
        let local = format!("{condition}fib daddr type local");
        let shared = all.iter().filter(|(_, ends)| ends.len() > 1).map(|((protocol, at), ends)| {
            format!("{local} {protocol} dport {at} dnat ip to {}", balance::one_of(*protocol, ends))
        });
        let single = [Protocol::Tcp, Protocol::Udp]
            .map(|p| format!("{local} meta l4proto {p} dnat ip to {p} dport map @{p}_ports"));
        shared.chain(single).collect::<Vec<_>>()
    };

    Table::new("inet", table_name(bridge))
        .counters(&["forged", "loopback", "not_exposed"])
        .collection("map", "tcp_ports", "inet_service : ipv4_addr . inet_service", ports(Protocol::Tcp))
        .collection("map", "udp_ports", "inet_service : ipv4_addr . inet_service", ports(Protocol::Udp))
        .chain(
            "guard",
            "filter hook prerouting priority raw; policy accept",
            &rules![
                format!("iifname \"{bridge}\" ip daddr 127.0.0.0/8 counter name loopback drop"),
                format!("iifname \"{bridge}\" ip saddr != {lab} counter name forged drop"),
                format!("iifname \"{bridge}\" meta nfproto ipv6 counter name forged drop"),
                format!("iifname != {{ \"{bridge}\", \"lo\" }} ip saddr {lab} counter name forged drop"),
            ],
        )
        .chain("inward", "nat hook prerouting priority dstnat; policy accept", &translate(""))
        .chain("from_host", "nat hook output priority -100; policy accept", &translate(""))
        .chain(
            "outward",
            "nat hook postrouting priority srcnat; policy accept",
            &rules![
                format!("oifname \"{bridge}\" ip saddr 127.0.0.0/8 snat ip to {host}"),
                // A machine that came by the host's address must see the answer come from there.
                format!("oifname \"{bridge}\" ip saddr {lab} ct status dnat snat ip to {host}"),
                format!("oifname != {{ \"{bridge}\", \"lo\" }} ip saddr {lab} ip daddr != {lab} masquerade"),
            ],
        )
        .chain(
            "forward",
            "filter hook forward priority filter; policy accept",
            &rules![
                // Where br_netfilter is on, frames between environments come through here too.
                format!("iifname \"{bridge}\" oifname \"{bridge}\" accept"),
                format!("oifname \"{bridge}\" ct state established,related accept"),
                format!("oifname \"{bridge}\" ct status dnat accept"),
                format!("oifname \"{bridge}\" counter name not_exposed drop"),
            ],
        )
        .render()
}
