//! From rules to lines of nftables: who is meant by a name, and which packets a rule is about.

use std::{collections::BTreeSet, net::Ipv4Addr};

use wardian_model::{
    environment::EnvironmentRecord,
    name::MachineName,
    spec::{AclAction, AclDirection, AclEnd, AclPeer, AclPorts, AclProtocol, AclRule},
};

use crate::network::LabConfig;

/// Who is who in an environment.
pub(super) struct Names<'a> {
    record: &'a EnvironmentRecord,
    lab: Ipv4Addr,
}

impl<'a> Names<'a> {
    pub(super) fn of(record: &'a EnvironmentRecord, lab: &LabConfig) -> Self {
        Self { record, lab: lab.address() }
    }

    /// The gateway, under the address it has in each subnet.
    fn gateways(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.record.spec.network.subnets.iter().map(|subnet| subnet.gateway())
    }

    /// As nftables says it: one address, or a set.
    pub(super) fn gateway(&self) -> String {
        let all: Vec<_> = self.gateways().map(|address| address.to_string()).collect();
        match all.as_slice() {
            [one] => one.clone(),
            several => format!("{{ {} }}", several.join(", ")),
        }
    }

    /// Who answers DHCP: the gateway, and on second interfaces in the name of the host.
    pub(super) fn servers(&self) -> Vec<String> {
        let second = self.record.has_second_interfaces().then_some(self.lab);
        self.gateways().chain(second).map(|address| address.to_string()).collect()
    }

    /// What a packet of `peer` carries. Of what speaks by an address that several share nobody knows who it is: it may
    /// be whom is denied, and need not be whom is allowed.
    pub(super) fn addresses(&self, peer: &AclPeer, action: AclAction) -> Option<BTreeSet<String>> {
        match peer {
            AclPeer::Any => None,
            AclPeer::Gateway => Some(self.gateways().map(|address| address.to_string()).collect()),
            AclPeer::Network(net) if net.prefix_len() == 0 => None,
            AclPeer::Network(net) if net.prefix_len() == 32 => Some([net.addr().to_string()].into()),
            AclPeer::Network(net) => Some([net.trunc().to_string()].into()),
            AclPeer::Machine(name) => Some(self.machine(name, action).iter().map(ToString::to_string).collect()),
        }
    }

    fn machine(&self, name: &MachineName, action: AclAction) -> BTreeSet<Ipv4Addr> {
        let Some(identity) = self.record.identities.get(name) else { return BTreeSet::new() };
        let own = self.record.has_outside(name).then_some(identity.outside.address);
        let mut all: BTreeSet<_> = [identity.inside.address].into_iter().chain(own).collect();
        if action == AclAction::Deny {
            all.extend(self.record.shared_address());
            // By way of the gateway, which says it in its own name.
            let disguised = self.record.gateway.machine().is_some_and(|gateway| gateway != name);
            if disguised {
                all.extend(self.gateways());
            }
        }
        all
    }
}

/// Which packets a list is asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    direction: AclDirection,
    /// Those that answer.
    mirrored: bool,
    /// Those between the machine and the gateway itself.
    gateway: bool,
}

impl Asked {
    pub(super) const fn of(direction: AclDirection) -> Self {
        Self { direction, mirrored: false, gateway: false }
    }

    pub(super) const fn gateway() -> Self {
        Self { gateway: true, ..Self::of(AclDirection::Out) }
    }

    pub(super) const fn mirrored(self) -> Self {
        Self { mirrored: true, ..self }
    }
}

/// The rules of a list that can be about these packets, each as a line, and where what none matches goes.
pub(super) fn lines(own: &[&AclRule], names: &Names<'_>, asked: Asked, slot: u16) -> Vec<String> {
    let way = |direction| match direction {
        AclDirection::Out => "out",
        AclDirection::In => "in",
    };
    // Where it goes by itself; an answer goes the other way than what it answers.
    let counter = way(match (asked.direction, asked.mirrored) {
        (AclDirection::Out, false) | (AclDirection::In, true) => AclDirection::Out,
        (AclDirection::In, false) | (AclDirection::Out, true) => AclDirection::In,
    });
    let allowed = match asked.mirrored {
        true => format!("goto answered_{counter}_{slot}"),
        false => format!("goto began_{counter}_{slot}"),
    };
    let denied = format!("counter name {counter}_{slot} drop");
    let mut lines = Vec::new();
    for rule in own {
        if rule.direction.is_some_and(|direction| direction != asked.direction)
            || (asked.gateway && rule.to.peer != AclPeer::Gateway)
        {
            continue;
        }
        let Some(about) = about(rule, names, asked.mirrored) else { continue };
        let verdict = match rule.action {
            AclAction::Allow => &allowed,
            AclAction::Deny => &denied,
        };
        let end = about.is_empty();
        lines.push(if end { verdict.clone() } else { format!("{about} {verdict}") });
        if end {
            return lines;
        }
    }
    lines.push(allowed);
    lines
}

/// What a packet must be for a rule to match it; nothing where no packet can.
fn about(rule: &AclRule, names: &Names<'_>, mirrored: bool) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    let ends: [(&AclEnd, bool); 2] = [(&rule.from, true), (&rule.to, false)];
    for (end, begins) in ends {
        let Some(addresses) = names.addresses(&end.peer, rule.action) else { continue };
        let which = if begins == mirrored { "daddr" } else { "saddr" };
        let all: Vec<String> = addresses.into_iter().collect();
        match all.as_slice() {
            [] => return None,
            [one] => words.push(format!("ip {which} {one}")),
            some => words.push(format!("ip {which} {{ {} }}", some.join(", "))),
        }
    }
    let has_ports = rule.from.ports.is_some() || rule.to.ports.is_some();
    match rule.protocol {
        AclProtocol::Any if has_ports => words.push("meta l4proto { tcp, udp }".into()),
        AclProtocol::Any => {}
        protocol => words.push(format!("meta l4proto {protocol}")),
    }
    for (end, begins) in ends {
        let Some(AclPorts { first, last }) = end.ports else { continue };
        let which = if begins == mirrored { "dport" } else { "sport" };
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        words.push(format!("th {which} {range}"));
    }
    Some(words.join(" "))
}
