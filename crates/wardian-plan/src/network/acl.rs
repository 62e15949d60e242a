//! What machines may say and hear, held at each machine's own ports: `table bridge wardian_acl`, beside the pins.
//!
//! A rule is about who begins a conversation, so it must be known who did. The kernel's connection tracking can't be
//! asked: not every kernel tracks what a switch hands on, and what br_netfilter shows it is one table for a namespace
//! in which packets of one conversation pass up to three ports, some of them with one half only (what a gateway without
//! an edge sends on, what a machine forwards for others). So each machine has a memory of its own, in sets of the
//! rules: who began (`out_`, `in_`), which pings were asked (`pinged_`).
//!
//! * *The memory holds no verdict.* Every packet is judged by the rules that are there now: a beginning and what
//!   follows it as it stands, an answer as that what it answers, mirrored. So the text may be replaced under traffic:
//!   what is still allowed loses nothing, what no longer is stops with the next packet, and the sets stay.
//! * *Nothing has to be remembered for TCP to go on.* A segment of a connection that began before there were rules, or
//!   in another instance that this one is a clone of, is an answer if it comes from a lower port to one of those that
//!   clients get (32768 and up). Only a SYN begins anything at the other end, and a SYN is always a beginning.
//! * *An ICMP error passes with what it is about*, if that passed lately (`said_`); else it is ICMP as any other.
//! * *Pieces of a packet pass with the first one* (`pieces_`), which alone has ports.
//! * The gateway's DHCP always passes, and so do the daemon's own probes, which carry a mark that no machine can give a
//!   packet; with it they are found again when they are answered (`probed_`). What a machine begins with the gateway
//!   itself is the business of rules that name the gateway only.
//!
//! Where there are no rules there is no table. A machine that no rule is about has no chains.

mod rule;
#[cfg(test)]
mod tests;

use wardian_model::{
    environment::EnvironmentRecord,
    name::MachineName,
    spec::{AclDirection, AclRule},
};

use super::{
    LabConfig, TapPlan,
    text::{Table, rules},
};
use rule::{Names, lines};

/// The table's name; its family is bridge.
pub const ACL_TABLE: &str = "wardian_acl";

/// The mark of what the daemon itself says to a machine, to see whether it is ready.
pub const PROBE_MARK: u32 = 0x5746;

/// Who speaks to whom, as the packet says it; and as what it answers would.
const KEY: &str = "ip saddr . ip daddr . ip protocol . th sport . th dport";
const MIRRORED: &str = "ip daddr . ip saddr . ip protocol . th dport . th sport";
const PORTS: &str = "meta l4proto { tcp, udp }";
const SYN: &str = "tcp flags & (syn | ack) == syn";

/// The table, where anything is said about any of the machines here. `taps` are all of the machines' here.
pub(super) fn table<'a>(
    record: &EnvironmentRecord,
    lab: &LabConfig,
    taps: impl Iterator<Item = &'a TapPlan> + Clone,
) -> Option<String> {
    let machines: Vec<(&MachineName, u16)> = record
        .identities
        .iter()
        .filter(|(name, _)| taps.clone().any(|tap| tap.machine == **name) && record.acl.at(name).next().is_some())
        .map(|(name, identity)| (name, identity.slot))
        .collect();
    if machines.is_empty() {
        return None;
    }
    let dispatch = |chain: &str| {
        let of = |tap: &TapPlan| machines.iter().find(|(name, _)| **name == tap.machine).map(|(_, slot)| *slot);
        let tapped = taps.clone().filter_map(|tap| Some((tap, of(tap)?)));
        let each = tapped.flat_map(|(tap, slot)| tap.names().map(|name| format!("\"{name}\" : goto {chain}_{slot}")));
        each.collect::<Vec<_>>()
    };
    let mut table = Table::new("bridge", ACL_TABLE);
    for (_, slot) in &machines {
        table = memory(table, *slot);
    }
    let names = Names::of(record, lab);
    for (name, slot) in &machines {
        let own: Vec<&AclRule> = record.acl.at(name).collect();
        table = port(table, &names, &own, *slot);
    }
    let table = table
        .collection("map", "senders", "ifname : verdict", dispatch("from"))
        .collection("map", "receivers", "ifname : verdict", dispatch("to"))
        // After the pins: who it says it is, it is.
        .chain(
            "leaving",
            "filter hook prerouting priority -250; policy accept",
            &rules!["ether type ip iifname vmap @senders"],
        )
        // Every frame a port gives away, from wherever.
        .chain(
            "arriving",
            "filter hook postrouting priority 0; policy accept",
            &rules!["ether type ip oifname vmap @receivers"],
        );
    Some(table.render())
}

/// What is known of the conversations of one machine.
fn memory(table: Table, slot: u16) -> Table {
    let flow = "type ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service";
    table
        .counters(&[&format!("out_{slot}"), &format!("in_{slot}")])
        .memory(&format!("out_{slot}"), flow, "3m")
        .memory(&format!("in_{slot}"), flow, "3m")
        .memory(&format!("probed_{slot}"), flow, "3m")
        .memory(&format!("pinged_{slot}"), "typeof ip saddr . ip daddr . icmp id", "30s")
        .memory(&format!("said_{slot}"), "typeof @nh,96,32 . @nh,128,32 . @nh,72,8 . @th,0,32", "30s")
        .memory(&format!("pieces_{slot}"), "typeof ip saddr . ip daddr . ip protocol . ip id", "10s")
}

/// The chains of one machine.
fn port(table: Table, names: &Names, own: &[&AclRule], slot: u16) -> Table {
    let (out, into) = (AclDirection::Out, AclDirection::In);
    let servers = names.servers().join(", ");
    let said_to = [
        format!("ip daddr {{ 255.255.255.255, {servers} }} udp sport 68 udp dport 67 accept"),
        format!("meta l4proto tcp {MIRRORED} @probed_{slot} accept"),
    ];
    let heard = [
        format!("ip saddr {{ {servers} }} udp sport 67 udp dport 68 accept"),
        format!("meta l4proto tcp meta mark {PROBE_MARK:#x} update @probed_{slot} {{ {KEY} }} accept"),
    ];
    let gateway = names.gateway();
    table
        .part(&format!("passed_{slot}"), &passed(slot))
        .part(&format!("began_out_{slot}"), &began("out", "in", slot))
        .part(&format!("began_in_{slot}"), &began("in", "out", slot))
        .part(&format!("answered_in_{slot}"), &answered("out", slot))
        .part(&format!("answered_out_{slot}"), &answered("in", slot))
        // What a machine begins with the gateway itself, and what that answers.
        .part(&format!("to_gateway_{slot}"), &lines(own, names, rule::Asked::gateway(), slot))
        .part(&format!("by_gateway_{slot}"), &lines(own, names, rule::Asked::gateway().mirrored(), slot))
        .part(
            &format!("begins_out_{slot}"),
            &with(format!("ip daddr {gateway} goto to_gateway_{slot}"), lines(own, names, rule::Asked::of(out), slot)),
        )
        .part(
            &format!("answers_in_{slot}"),
            &with(
                format!("ip saddr {gateway} goto by_gateway_{slot}"),
                lines(own, names, rule::Asked::of(out).mirrored(), slot),
            ),
        )
        .part(&format!("begins_in_{slot}"), &lines(own, names, rule::Asked::of(into), slot))
        .part(&format!("answers_out_{slot}"), &lines(own, names, rule::Asked::of(into).mirrored(), slot))
        .part(&format!("from_{slot}"), &at_port(&said_to, ("out", "in"), slot))
        .part(&format!("to_{slot}"), &at_port(&heard, ("in", "out"), slot))
}

fn with(first: String, mut lines: Vec<String>) -> Vec<String> {
    lines.insert(0, first);
    lines
}

/// Which of the lists a packet is judged by. `way` is where it goes, seen from the machine, `other` the other one.
fn at_port(first: &[String], (way, other): (&str, &str), slot: u16) -> Vec<String> {
    let answers = format!("goto answers_{way}_{slot}");
    let mut lines = first.to_vec();
    lines.extend(rules![
        format!("ip frag-off & 0x1fff != 0 ip saddr . ip daddr . ip protocol . ip id @pieces_{slot} accept"),
        format!("ip frag-off & 0x1fff != 0 counter name {way}_{slot} drop"),
        format!(
            "icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} @th,64,8 0x45 \
             @th,160,32 . @th,192,32 . @th,136,8 . @th,224,32 @said_{slot} accept"
        ),
        format!("{SYN} goto begins_{way}_{slot}"),
        format!("{PORTS} {MIRRORED} @{other}_{slot} {answers}"),
        format!("icmp type echo-reply ip daddr . ip saddr . icmp id @pinged_{slot} {answers}"),
        format!("{PORTS} {KEY} @{way}_{slot} goto begins_{way}_{slot}"),
        // Of connections that nobody here saw begin.
        format!("tcp flags & (syn | ack) == (syn | ack) {answers}"),
        format!("tcp sport < 32768 tcp dport >= 32768 {answers}"),
        format!("goto begins_{way}_{slot}"),
    ]);
    lines
}

/// The machine (`out`) or somebody else (`in`) has begun, and may.
fn began(way: &str, other: &str, slot: u16) -> Vec<String> {
    Vec::from(rules![
        format!("{SYN} delete @{other}_{slot} {{ {MIRRORED} }}"),
        format!("meta l4proto tcp update @{way}_{slot} {{ {KEY} timeout 1h }}"),
        format!("meta l4proto udp update @{way}_{slot} {{ {KEY} }}"),
        format!("icmp type echo-request update @pinged_{slot} {{ ip saddr . ip daddr . icmp id }}"),
        format!("goto passed_{slot}"),
    ])
}

/// What was begun in the direction of `memory` is answered, and may be.
fn answered(memory: &str, slot: u16) -> Vec<String> {
    Vec::from(rules![
        format!("meta l4proto tcp update @{memory}_{slot} {{ {MIRRORED} timeout 1h }}"),
        format!("meta l4proto udp update @{memory}_{slot} {{ {MIRRORED} }}"),
        format!("goto passed_{slot}"),
    ])
}

fn passed(slot: u16) -> Vec<String> {
    Vec::from(rules![
        format!("ip frag-off & 0x2000 != 0 update @pieces_{slot} {{ ip saddr . ip daddr . ip protocol . ip id }}"),
        format!("update @said_{slot} {{ @nh,96,32 . @nh,128,32 . @nh,72,8 . @th,0,32 }}"),
        "accept",
    ])
}
