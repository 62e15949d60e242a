//! Who of several machines gets a new connection.
//!
//! Only the first packet of a connection is asked about; conntrack sends all others after it. So a change of who is in
//! service, which replaces the rules as one transaction, moves no connection.
//!
//! * TCP: in turn. It is exactly even over connections, whoever makes them; a hash would send everything that comes
//!   from behind one NAT to one machine.
//! * UDP: by the sender. What is one conversation to both its ends is several connections to conntrack as soon as
//!   they were silent for a while (30 seconds); it must not go on with another machine.

use wardian_model::{
    environment::{EnvironmentRecord, Exposure, Out},
    spec::Protocol,
};

use super::text::rules;

/// What `dnat ip to` is told: one of `ends`, each an address and a port. There are at least two.
pub(super) fn one_of(protocol: Protocol, ends: &[String]) -> String {
    let which = match protocol {
        Protocol::Tcp => "numgen inc",
        Protocol::Udp => "jhash ip saddr . udp sport",
    };
    let ends: Vec<String> = ends.iter().enumerate().map(|(n, end)| format!("{n} : {end}")).collect();
    format!("{which} mod {} map {{ {} }}", ends.len(), ends.join(", "))
}

/// The ports at an address that machines share, and who is behind each: addresses inside and ports.
pub(super) fn behind_shared(record: &EnvironmentRecord) -> Vec<(&Exposure, Vec<String>)> {
    if record.shared_address().is_none() {
        return Vec::new();
    }
    let ends = |share: Vec<&'_ Exposure>| {
        let end = |e: &Exposure| Some(format!("{} . {}", record.identities.get(&e.machine)?.inside.address, e.port));
        record.in_service(&share).into_iter().filter_map(end).collect::<Vec<_>>()
    };
    let all = record.shares().into_iter().map(|share| (share[0], ends(share)));
    all.filter(|(_, ends)| !ends.is_empty()).collect()
}

/// Connections with machines that have stopped, and that nobody there ends any more. Without these rules, who is at the
/// other end would wait until it gives up; so it is told, when it says something, that they are over. To be asked after
/// the fence, of packets that may pass.
pub(super) fn farewell(record: &EnvironmentRecord, may_pass: &str) -> Vec<String> {
    let stopped = record.out.iter().filter(|(machine, out)| **out == Out::Stopped && record.is_sharing(machine));
    let addresses = stopped.filter_map(|(machine, _)| Some(record.identities.get(machine)?.inside.address.to_string()));
    let addresses: Vec<String> = addresses.collect();
    if addresses.is_empty() {
        return Vec::new();
    }
    let to_them = format!("ip daddr {{ {} }}", addresses.join(", "));
    // As `crossing::EXPOSED`, which names all protocols that have ports.
    let exposed = "ct reply ip saddr . ct reply protocol . ct reply proto-src @exposed";
    let of = |protocol| format!("{may_pass} {to_them} meta l4proto {protocol} {exposed}");
    Vec::from(rules![
        format!("{} tcp flags & rst == 0x0 counter name reset_outside reject with tcp reset", of("tcp")),
        format!("{} reject with icmp port-unreachable", of("udp")),
    ])
}
