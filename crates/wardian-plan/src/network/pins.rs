//! The switch's rules, in the environment's namespace: a machine can be nobody but itself.
//!
//! Every frame a tap sends must carry its machine's hardware address and its machine's IPv4 address, in the frame, in
//! ARP and in IPv4. This includes the gateway's: nobody can take its place. IPv6 waits until environments have it.

use super::{
    TapPlan,
    text::{chain, collection, counters, replace_table, rules},
};

/// `table bridge wardian`.
pub(super) fn table(taps: &[TapPlan]) -> String {
    let macs = taps.iter().map(|tap| format!("\"{}\" . {}", tap.name, tap.mac));
    let addresses = taps.iter().map(|tap| format!("\"{}\" . {}", tap.name, tap.address));
    let pairs = taps.iter().map(|tap| format!("\"{}\" . {} . {}", tap.name, tap.mac, tap.address));

    let body = [
        counters(&["forged_mac", "forged_arp", "forged_address", "rogue_dhcp", "ipv6", "other"]),
        collection("set", "macs", "ifname . ether_addr", macs),
        collection("set", "addresses", "ifname . ipv4_addr", addresses),
        collection("set", "pairs", "ifname . ether_addr . ipv4_addr", pairs),
        chain(
            "prerouting",
            "filter hook prerouting priority -300; policy drop",
            // A port that is not in the sets passes nothing.
            &rules![
                "iifname . ether saddr != @macs counter name forged_mac drop",
                "ether type arp jump check_arp",
                "ether type ip jump check_ip",
                "ether type ip6 counter name ipv6 drop",
                "counter name other drop",
            ],
        ),
        // Frames to most link-local groups (01:80:c2:…) skip the hook above and pass this one.
        chain(
            "input",
            "filter hook input priority -300; policy accept",
            &rules!["iifname . ether saddr != @macs counter name forged_mac drop"],
        ),
        "\tchain check_arp {\n".into(),
        "\t\tarp htype 1 arp ptype ip arp hlen 6 arp plen 4 iifname . arp saddr ether . arp saddr ip @pairs accept\n".into(),
        // A probe (RFC 5227): "does anybody have this address?", asked before the asker has it.
        "\t\tarp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation request arp saddr ip 0.0.0.0 iifname . arp saddr ether @macs accept\n"
            .into(),
        "\t\tcounter name forged_arp drop\n\t}\n".into(),
        "\tchain check_ip {\n".into(),
        "\t\tudp sport 67 udp dport 68 counter name rogue_dhcp drop\n".into(),
        "\t\tiifname . ip saddr @addresses accept\n".into(),
        "\t\tip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept\n".into(),
        "\t\tcounter name forged_address drop\n\t}\n".into(),
    ]
    .concat();
    replace_table("bridge", "wardian", &body)
}
