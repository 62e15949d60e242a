//! Second interfaces: each machine on the lab network itself, with a hardware address of this instance and its public
//! address.
//!
//! A switch of their own has the edge as a port, so frames reach the lab network as the machine sends them, and nothing
//! is translated. Between switch and edge stand the pins, as for the first interfaces, and the fence. Not every kernel
//! tracks connections of frames a switch hands on (`nf_conntrack_bridge`), but those that can't have br_netfilter,
//! which shows such packets to the rules of IPv4; so the fence is the same kind of table as without second interfaces.
//! Who may pass is written into a mark that the switch's own rules look for (see `pins`): forgotten, or not asked,
//! nothing passes.
//!
//! Of two interfaces one must be the way out. It is the second: that the host or a router on the lab network sees a
//! machine under the address it has there is what this mode is for. The first one gets no default route, and its
//! gateway routes nothing.

use wardian_model::{environment::EnvironmentRecord, spec::Fence};

use super::{
    DhcpPlan, GATEWAY_MAC, LabConfig, LeasePlan, SecondPlan, TapPlan, crossing,
    environment::{BRIDGE, LEASE, machine_uid},
    text::{Table, rules},
};

/// The switch's name.
pub(super) const SECOND_BRIDGE: &str = "br1";

/// Marks of frames by where they come from.
pub(super) const FROM_MACHINE: u32 = 0x5744_0001;
pub(super) const FROM_LAB: u32 = 0x5744_0002;
/// Marks of packets that the fence lets pass: to the lab network, from it, and between machines of the environment.
pub(super) const MAY_LEAVE: u32 = 0x5744_0010;
pub(super) const MAY_ENTER: u32 = 0x5744_0020;
pub(super) const MAY_STAY: u32 = 0x5744_0040;

/// The second interfaces of `record`, if its machines have any.
pub(super) fn plan(record: &EnvironmentRecord, lab: &LabConfig) -> Option<SecondPlan> {
    if !record.has_second_interfaces() {
        return None;
    }
    let outsiders = || record.identities.iter().filter(|(name, _)| record.has_second_interface(name));
    let taps = outsiders().map(|(machine, identity)| TapPlan {
        name: format!("lab{}", identity.slot),
        twin: format!("lab{}n", identity.slot),
        machine: machine.clone(),
        owner: machine_uid(identity.slot),
        mac: identity.outside.mac,
        address: identity.outside.address,
        may_spoof: false,
    });
    let leases = outsiders().map(|(_, i)| LeasePlan {
        mac: i.outside.mac,
        address: i.outside.address,
        hostname: i.inside.hostname.clone(),
    });
    Some(SecondPlan {
        bridge: SECOND_BRIDGE.into(),
        mac: GATEWAY_MAC,
        mtu: lab.mtu,
        taps: taps.collect(),
        dhcp: DhcpPlan {
            server: lab.address(),
            router: Some(lab.address()),
            name_server: None,
            subnet: lab.prefix.trunc(),
            domain: record.spec.network.domain.clone(),
            mtu: lab.mtu,
            lease_seconds: LEASE,
            leases: leases.collect(),
        },
    })
}

/// `table inet wardian`.
pub(super) fn fence(record: &EnvironmentRecord) -> String {
    let machines = || record.identities.values();
    let exposed = record.exposed.iter().filter(|e| record.has_second_interface(&e.machine)).filter_map(|e| {
        let address = record.identities.get(&e.machine)?.outside.address;
        Some(format!("{address} . {} . {}", e.protocol, e.port))
    });
    let exposed: std::collections::BTreeSet<String> = exposed.collect();
    let table = crossing::counted()
        .collection("set", "private", "ipv4_addr", machines().map(|i| i.inside.address))
        .collection("set", "public", "ipv4_addr", crossing::outsiders(record).map(|i| i.outside.address))
        .collection("set", "exposed", "ipv4_addr . inet_proto . inet_service", exposed);
    gateway(forward(table, record.fence), record).render()
}

/// What passes the second switch. Between the two switches, and by way of either's gateway, nothing does.
fn forward(table: Table, fence: Fence) -> Table {
    let (machine, lab) = (format!("meta mark {FROM_MACHINE:#x}"), format!("meta mark {FROM_LAB:#x}"));
    let leaves = format!("meta mark set {MAY_LEAVE:#x} accept");
    let enters = format!("meta mark set {MAY_ENTER:#x} accept");
    let exposed = crossing::EXPOSED;
    let mut rules = Vec::from(rules![
        format!("iifname != \"{SECOND_BRIDGE}\" counter name fence_inside drop"),
        format!("oifname != \"{SECOND_BRIDGE}\" counter name fence_inside drop"),
        // The DHCP server has its own; nobody else is asked, also when a lease is to be renewed.
        format!("{machine} udp sport 68 udp dport 67 drop"),
        // Whom a machine tells of itself by calling all, its namesakes in other environments do, too.
        format!("{machine} meta pkttype != {{ host, other }} counter name fence_out drop"),
        format!("{machine} ip daddr @public meta mark set {MAY_STAY:#x} accept"),
        "ct state invalid counter name invalid drop",
    ]);
    match fence {
        Fence::Sealed => {}
        Fence::Open | Fence::OutOnly => {
            rules.push(format!("{machine} ip daddr 224.0.0.0/3 counter name fence_out drop"));
            rules.push(format!("{machine} ct direction original {leaves}"));
            rules.push(format!("{lab} ct direction reply ct state established,related {enters}"));
        }
    }
    match fence {
        Fence::Sealed => {}
        Fence::Open => {
            rules.push(format!("{machine} ct direction reply {leaves}"));
            rules.push(format!("{lab} ct direction original {enters}"));
        }
        Fence::OutOnly => {
            rules.push(format!("{machine} ct direction reply {exposed} {leaves}"));
            rules.push(format!("{lab} ct direction original {exposed} {enters}"));
        }
    }
    rules.push(format!("{lab} counter name fence_in drop"));
    rules.push("counter name fence_out drop".into());
    table.chain("forward", "filter hook forward priority filter; policy drop", &rules)
}

/// What the gateway itself hears. On the second switch, requests for an address and nothing else.
fn gateway(table: Table, record: &EnvironmentRecord) -> Table {
    let unknown = crossing::UNKNOWN;
    let first = rules![
        format!("iifname \"{SECOND_BRIDGE}\" udp sport 68 udp dport 67 accept"),
        format!("iifname \"{SECOND_BRIDGE}\" counter name to_gateway drop"),
        format!("iifname \"{BRIDGE}\" {unknown} reset_inside reject with tcp reset"),
    ];
    crossing::heard(table, record, &first)
        // Nothing of its own: what it says on the second switch is made as frames, by the DHCP server.
        .chain(
            "output",
            "filter hook output priority filter; policy accept",
            &rules![format!("oifname \"{SECOND_BRIDGE}\" counter name not_public drop")],
        )
}
