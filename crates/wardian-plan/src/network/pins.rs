//! The switch's rules, in the environment's namespace: a machine can be nobody but itself.
//!
//! Every frame a tap sends must carry its machine's hardware address and its machine's IPv4 address, in the frame, in
//! ARP and in IPv4. This includes the gateway's: nobody can take its place. IPv6 waits until environments have it.
//!
//! A machine that is the gateway of the others brings them what the outside said, so its packets may come from any
//! address that is not one of the subnet; as another machine, or as the gateway, it can't speak either.
//!
//! A machine that may spoof is anybody but the gateway to the other machines of the switch, and itself only to the
//! gateway: what it forges gets no further.
//!
//! Both names a machine's tap can have are pinned; which of two taps passes frames is a setting of the switch's ports.

use std::fmt::Display;

use ipnet::Ipv4Net;
use wardian_model::{name::MachineName, spec::Fence};

use super::{
    GATEWAY_MAC, SecondPlan, TapPlan,
    second::{FROM_LAB, FROM_MACHINE, MAY_ENTER, MAY_LEAVE, MAY_STAY},
    text::{Table, rules},
};

/// The group (`ip link set … group`) of taps that wait for their machine's hand-over.
///
/// The settings of a port keep away from it what others send, but not what the gateway itself sends to everybody: that,
/// the bridge gives to every port. So it is stopped here.
pub const PARKED_GROUP: u32 = 0x5744;

/// `table bridge wardian`, with the machine that is the gateway of the others and the subnet it is in, and with ports
/// by which anything is let in.
pub(super) fn table<P: AsRef<str>>(
    taps: &[TapPlan],
    gateways: &str,
    router: Option<(&MachineName, Ipv4Net)>,
    open: &[P],
) -> String {
    let open = || open.iter().map(|port| format!("iifname \"{}\" accept", port.as_ref())).collect();
    render(taps.iter(), Rules { router, gateways, first: open(), input: open(), output: Vec::new(), second: None })
}

/// The same with second interfaces, whose switch has the edge as a port.
///
/// The kernel's connection tracking is not everywhere to be had for frames a switch hands on, so the fence is an inet
/// table that sees these packets on their way (`second`). Between the two stand marks: here frames are marked by where
/// they come from, there by where they may go, and here again only such pass. A host that does not ask the inet table
/// at all (br_netfilter is not loaded) passes nothing.
pub(super) fn table_with_second(taps: &[TapPlan], gateways: &str, second: &SecondPlan, fence: Fence) -> String {
    let port = "\"edge\"";
    let (arp_in, arp_out) = match fence {
        // Not even the question who has an address leaves or enters.
        Fence::Sealed => (Vec::new(), Vec::new()),
        Fence::Open | Fence::OutOnly => (
            vec![format!(
                "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp saddr ip != @public arp daddr ip @public meta mark set {FROM_LAB:#x} accept"
            )],
            vec![
                format!("iifname {port} oifname @second ether type arp accept"),
                format!("iifname @second oifname {port} ether type arp accept"),
            ],
        ),
    };
    let mut from_lab = Vec::from(rules![format!("ether saddr @pool counter name forged_mac drop")]);
    from_lab.extend(arp_in);
    from_lab.push(format!("ether type ip ip saddr != @public ip daddr @public meta mark set {FROM_LAB:#x} accept"));
    // The rest is what others say to each other or to all.
    from_lab.push("drop".into());
    let mut fenced = arp_out;
    fenced.extend(rules![
        format!("iifname {port} oifname @second meta mark {MAY_ENTER:#x} accept"),
        format!("iifname @second oifname {port} meta mark {MAY_LEAVE:#x} accept"),
        "iifname @second oifname @second ether type arp accept",
        format!("iifname @second oifname @second meta mark {MAY_STAY:#x} accept"),
        format!("iifname {port} drop"),
        "iifname @second drop",
    ]);
    let rules = Rules {
        first: Vec::from(rules![
            format!("iifname {port} jump from_lab"),
            format!("iifname @second meta mark set {FROM_MACHINE:#x}"),
        ]),
        input: Vec::from(rules![format!("iifname {port} drop")]),
        // The DHCP server speaks to everybody; it isn't the lab network's.
        output: Vec::from(rules![format!("oifname {port} drop")]),
        second: Some((second, from_lab, fenced)),
        router: None,
        gateways,
    };
    render(taps.iter().chain(&second.taps), rules)
}

/// What second interfaces add to the rules.
struct Rules<'a> {
    router: Option<(&'a MachineName, Ipv4Net)>,
    /// The gateways' addresses, as nftables says them.
    gateways: &'a str,
    first: Vec<String>,
    input: Vec<String>,
    output: Vec<String>,
    /// The interfaces; what the edge lets in; and what passes from port to port.
    second: Option<(&'a SecondPlan, Vec<String>, Vec<String>)>,
}

/// What a machine that may speak under other addresses still can't: be the gateway, or a DHCP server. The rest goes on
/// as for all.
fn spoofed(gateways: &str) -> Vec<String> {
    Vec::from(rules![
        format!("ether saddr {GATEWAY_MAC} counter name forged_mac drop"),
        "udp sport 67 udp dport 68 counter name rogue_dhcp drop",
        format!("arp saddr ip {gateways} counter name forged_arp drop"),
        format!("ip saddr {gateways} counter name forged_address drop"),
        "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 accept",
        "ether type ip accept",
    ])
}

/// What the gateway hears of it: only what it says as itself. So nothing that is forged gets to the edge, and nobody's
/// place is learnt from it. What is said to all is meant for the others.
fn to_gateway(router: Option<Ipv4Net>) -> Vec<String> {
    let mut rules = Vec::from(rules![
        "iifname . arp saddr ether . arp saddr ip @pairs accept",
        "iifname . ether saddr . ip saddr @pairs accept",
        "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 iifname . ether saddr @macs accept",
    ]);
    if let Some(subnet) = router {
        rules.push(format!("iifname @routers iifname . ether saddr @macs ip saddr != {subnet} accept"));
    }
    rules.extend(rules![
        format!("ether daddr {GATEWAY_MAC} ether type ip counter name forged_address drop"),
        format!("ether daddr {GATEWAY_MAC} ether type arp counter name forged_arp drop"),
        "drop",
    ]);
    rules
}

fn render<'a>(taps: impl Iterator<Item = &'a TapPlan> + Clone, more: Rules<'_>) -> String {
    fn each<'a, D: Display + 'a>(
        taps: impl Iterator<Item = &'a TapPlan>,
        what: fn(&TapPlan) -> D,
    ) -> impl Iterator<Item = String> {
        taps.flat_map(move |tap| tap.names().map(|name| format!("\"{name}\" . {}", what(tap))))
    }
    let mut prerouting = more.first;
    let spoofers: Vec<&TapPlan> = taps.clone().filter(|tap| tap.may_spoof).collect();
    prerouting.extend((!spoofers.is_empty()).then(|| "iifname @spoofers jump spoofed".into()));
    // A port that is not in the sets passes nothing.
    prerouting.extend(rules![
        "iifname . ether saddr != @macs counter name forged_mac drop",
        "ether type arp jump check_arp",
        "ether type ip jump check_ip",
        "ether type ip6 counter name ipv6 drop",
        "counter name other drop",
    ]);
    let mut input = more.input;
    if !spoofers.is_empty() {
        input.push("iifname @spoofers jump to_gateway".into());
    }
    input.push("iifname . ether saddr != @macs counter name forged_mac drop".into());
    let mut output = more.output;
    output.push(format!("oifgroup {PARKED_GROUP} counter name parked drop"));

    let routers = taps.clone().filter(|tap| more.router.is_some_and(|(router, _)| *router == tap.machine));
    let mut check_ip = Vec::from(rules![
        "udp sport 67 udp dport 68 counter name rogue_dhcp drop",
        "iifname . ip saddr @addresses accept",
        "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept",
    ]);
    if let Some((_, subnet)) = more.router {
        check_ip.push(format!("iifname @routers ip saddr != {subnet} accept"));
    }
    check_ip.push("counter name forged_address drop".into());

    let to_gateway = to_gateway(more.router.map(|(_, subnet)| subnet));
    let mut table = Table::new("bridge", "wardian")
        .counters(&["forged_mac", "forged_arp", "forged_address", "rogue_dhcp", "ipv6", "other", "parked"])
        .collection("set", "macs", "ifname . ether_addr", each(taps.clone(), |t| t.mac))
        .collection("set", "addresses", "ifname . ipv4_addr", each(taps.clone(), |t| t.address))
        .collection(
            "set",
            "pairs",
            "ifname . ether_addr . ipv4_addr",
            each(taps, |t| format!("{} . {}", t.mac, t.address)),
        )
        .part(
            "check_arp",
            &rules![
                "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 iifname . arp saddr ether . arp saddr ip @pairs accept",
                // A probe (RFC 5227): "does anybody have this address?", asked before the asker has it.
                "arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation request arp saddr ip 0.0.0.0 \
                 iifname . arp saddr ether @macs accept",
                "counter name forged_arp drop",
            ],
        )
        .collection("set", "routers", "ifname", routers.flat_map(|t| t.names().map(|name| format!("\"{name}\""))))
        .part("check_ip", &check_ip);
    if !spoofers.is_empty() {
        let names = spoofers.iter().flat_map(|tap| tap.names()).map(|name| format!("\"{name}\""));
        table = table
            .collection("set", "spoofers", "ifname", names)
            .part("spoofed", &spoofed(more.gateways))
            .part("to_gateway", &to_gateway);
    }
    if let Some((second, from_lab, fenced)) = more.second {
        table = table
            .collection(
                "set",
                "second",
                "ifname",
                second.taps.iter().flat_map(|t| t.names().map(|name| format!("\"{name}\""))),
            )
            .collection("set", "pool", "ether_addr", second.taps.iter().map(|t| t.mac))
            .collection("set", "public", "ipv4_addr", second.taps.iter().map(|t| t.address))
            .part("from_lab", &from_lab)
            // After the inet table was asked, which happens at 0.
            .chain("fenced", "filter hook forward priority 100; policy accept", &fenced);
    }
    table
        .chain("prerouting", "filter hook prerouting priority -300; policy drop", &prerouting)
        // Frames to most link-local groups (01:80:c2:…) skip the hook above and pass this one.
        .chain("input", "filter hook input priority -300; policy accept", &input)
        .chain("output", "filter hook output priority -300; policy accept", &output)
        .render()
}
