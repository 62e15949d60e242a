//! What the text of rules means, against what rules mean: both are asked about the same packets. And that real nft
//! takes it.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use proptest::prelude::*;
use wardian_model::{
    environment::EnvironmentRecord,
    spec::{AclAction, AclDirection, AclEnd, AclPeer, AclPorts, AclProtocol, AclRule},
};

use super::{
    super::tests::{dual, nft_check, store, stretched},
    rule::{Asked, Names, lines},
};
use crate::network::{ACL_TABLE, LabConfig, environment, part};

/// A packet that begins something, at the port of a machine.
#[derive(Debug, Clone)]
struct Packet {
    direction: AclDirection,
    protocol: AclProtocol,
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
}

fn rules_of(texts: &[&str]) -> Vec<AclRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn with(mut record: EnvironmentRecord, network: &[&str], m0: &[&str]) -> EnvironmentRecord {
    record.acl.set(None, rules_of(network));
    record.acl.set(Some(&"m0".parse().unwrap()), rules_of(m0));
    record
}

/// What rules mean, as their documentation says it.
fn decide(record: &EnvironmentRecord, own: &[&AclRule], packet: &Packet) -> AclAction {
    let gateway = record.spec.network.subnets.first().gateway();
    let to_gateway = packet.direction == AclDirection::Out && packet.to.0 == gateway;
    let is = |peer: &AclPeer, address: Ipv4Addr| match peer {
        AclPeer::Any => true,
        AclPeer::Gateway => address == gateway,
        AclPeer::Network(net) => net.contains(&address),
        AclPeer::Machine(name) => record
            .identities
            .get(name)
            .is_some_and(|i| i.inside.address == address || i.outside.address == address && record.has_outside(name)),
    };
    let matches = |rule: &&&AclRule| {
        let side = |end: &AclEnd, (address, port): (Ipv4Addr, u16)| {
            is(&end.peer, address) && end.ports.is_none_or(|ports| ports.contains(port))
        };
        let has_ports = rule.from.ports.is_some() || rule.to.ports.is_some();
        let protocol = match rule.protocol {
            AclProtocol::Any => !has_ports || packet.protocol != AclProtocol::Icmp,
            named => named == packet.protocol,
        };
        rule.direction.is_none_or(|direction| direction == packet.direction)
            && (!to_gateway || rule.to.peer == AclPeer::Gateway)
            && protocol
            && side(&rule.from, packet.from)
            && side(&rule.to, packet.to)
    };
    own.iter().find(matches).map_or(AclAction::Allow, |rule| rule.action)
}

/// What lines of nftables do with the packet, of those words that rules become.
fn run(lines: &[String], packet: &Packet) -> AclAction {
    for line in lines {
        let mut words = line.split(' ').peekable();
        let set = |words: &mut std::iter::Peekable<std::str::Split<'_, char>>| {
            let mut all = Vec::new();
            match words.next().unwrap() {
                "{" => {
                    for word in words.by_ref().take_while(|word| *word != "}") {
                        all.push(word.trim_end_matches(',').to_owned());
                    }
                }
                word => all.push(word.to_owned()),
            }
            all
        };
        let matched = loop {
            let holds = match words.next().unwrap() {
                "goto" => return AclAction::Allow,
                "counter" => return AclAction::Deny,
                "ip" => {
                    let address = if words.next() == Some("saddr") { packet.from.0 } else { packet.to.0 };
                    set(&mut words).iter().any(|text| match text.parse::<Ipv4Net>() {
                        Ok(net) => net.contains(&address),
                        Err(_) => text.parse() == Ok(address),
                    })
                }
                "meta" => {
                    assert_eq!(words.next(), Some("l4proto"));
                    set(&mut words).contains(&packet.protocol.to_string())
                }
                "th" => {
                    let port = if words.next() == Some("sport") { packet.from.1 } else { packet.to.1 };
                    let text = words.next().unwrap();
                    let (first, last) = text.split_once('-').unwrap_or((text, text));
                    (first.parse::<u16>().unwrap()..=last.parse().unwrap()).contains(&port)
                }
                other => panic!("{other} in {line}"),
            };
            if !holds {
                break false;
            }
        };
        assert!(!matched);
    }
    panic!("no line decides: {lines:?}")
}

fn mirrored(packet: &Packet) -> Packet {
    Packet { from: packet.to, to: packet.from, ..packet.clone() }
}

/// Addresses of whom there is: machines inside and outside, the gateway, strangers.
fn address() -> impl Strategy<Value = Ipv4Addr> {
    prop::sample::select(
        ["192.168.23.1", "192.168.23.2", "192.168.23.254", "10.86.0.5", "10.86.0.6", "203.0.113.9", "192.168.23.77"]
            .map(|text| text.parse::<Ipv4Addr>().unwrap())
            .to_vec(),
    )
}

fn port() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![1_u16, 53, 80, 81, 443, 40_000, 65_535])
}

fn rule() -> impl Strategy<Value = AclRule> {
    let peer = || {
        prop_oneof![
            Just(AclPeer::Any),
            Just(AclPeer::Gateway),
            prop::sample::select(vec!["m0", "m1"]).prop_map(|name| AclPeer::Machine(name.parse().unwrap())),
            (address(), 0_u8..=32)
                .prop_map(|(address, prefix)| AclPeer::Network(Ipv4Net::new(address, prefix).unwrap().trunc())),
        ]
    };
    let ports =
        || {
            prop::option::of((port(), port()).prop_map(|(a, b)| AclPorts {
                first: a.min(b).try_into().unwrap(),
                last: a.max(b).try_into().unwrap(),
            }))
        };
    let end = move || (peer(), ports()).prop_map(|(peer, ports)| AclEnd { peer, ports });
    (
        prop_oneof![Just(AclAction::Allow), Just(AclAction::Deny)],
        prop::option::of(prop_oneof![Just(AclDirection::In), Just(AclDirection::Out)]),
        prop::sample::select(vec![AclProtocol::Any, AclProtocol::Tcp, AclProtocol::Udp, AclProtocol::Icmp]),
        end(),
        end(),
    )
        .prop_map(|(action, direction, protocol, mut from, mut to)| {
            if protocol == AclProtocol::Icmp {
                (from.ports, to.ports) = (None, None);
            }
            AclRule { action, direction, protocol, from, to }
        })
}

fn packet() -> impl Strategy<Value = Packet> {
    (
        prop_oneof![Just(AclDirection::In), Just(AclDirection::Out)],
        prop::sample::select(vec![AclProtocol::Tcp, AclProtocol::Udp, AclProtocol::Icmp]),
        (address(), port()),
        (address(), port()),
    )
        .prop_map(|(direction, protocol, from, to)| Packet { direction, protocol, from, to })
}

proptest! {
    #[test]
    fn the_text_decides_as_the_rules_say(
        own in prop::collection::vec(rule(), 0..6),
        packets in prop::collection::vec(packet(), 40),
    ) {
        let record = store("open");
        let (names, own) = (Names::of(&record, &LabConfig::default()), own.iter().collect::<Vec<_>>());
        for packet in packets {
            let asked = match packet.direction {
                AclDirection::Out if packet.to.0 == record.spec.network.subnets.first().gateway() => Asked::gateway(),
                direction => Asked::of(direction),
            };
            let expected = decide(&record, &own, &packet);
            prop_assert_eq!(run(&lines(&own, &names, asked, 11), &packet), expected);
            // What answers it passes exactly when it may.
            prop_assert_eq!(run(&lines(&own, &names, asked.mirrored(), 11), &mirrored(&packet)), expected);
        }
    }

    #[test]
    fn every_rule_is_read_back_as_what_it_was(rule in rule()) {
        prop_assert_eq!(rule.to_string().parse::<AclRule>(), Ok(rule));
    }
}

#[test]
fn rules_of_machines_and_of_the_network() {
    let network = ["deny udp from any to any port 53"];
    let own = ["allow tcp from m1 to m0 port 5432", "allow icmp", "deny out to 203.0.113.0/24 port 1-1023", "deny any"];
    let plan = environment(&with(store("out-only"), &network, &own), &LabConfig::default());
    assert!(plan.has_acl);
    nft_check(&plan.nftables).unwrap();
    let (_, text) = plan.nftables.split_once(&format!("table bridge {ACL_TABLE}")).unwrap();
    insta::assert_snapshot!("acl", format!("table bridge {ACL_TABLE}{text}"));
}

#[test]
fn where_nothing_is_said_nothing_is_there() {
    let record = store("open");
    let plan = environment(&record, &LabConfig::default());
    assert!(!plan.has_acl && !plan.nftables.contains(ACL_TABLE));
    // A machine that no rule is about pays nothing.
    let plan = environment(&with(record, &[], &["deny icmp"]), &LabConfig::default());
    assert!(plan.nftables.contains("from_11") && !plan.nftables.contains("from_12"));
}

#[test]
fn second_interfaces_and_parts_have_them_too() {
    let plan = environment(&with(dual(store("open")), &["deny icmp"], &[]), &LabConfig::default());
    nft_check(&plan.nftables).unwrap();
    assert!(plan.nftables.contains("\"lab11n\" : goto to_11"));
    let record = with(stretched("open"), &["deny icmp"], &["deny tcp to m1"]);
    for (host, here, there) in [("a", "tap11", "tap12"), ("b", "tap12", "tap11")] {
        let plan = part(&record, &LabConfig::default(), Some(&host.parse().unwrap()));
        nft_check(&plan.nftables).unwrap();
        let dispatched = |tap: &str| plan.nftables.contains(&format!("\"{tap}\" : goto"));
        assert!(dispatched(here) && !dispatched(there), "{host}");
    }
}

#[test]
fn who_is_hidden_behind_an_address_that_others_share_may_be_whom_is_denied() {
    let mut record = with(store("open"), &["deny from m1", "allow from m1"], &[]);
    let text = |record: &EnvironmentRecord| environment(record, &LabConfig::default()).nftables;
    record.gateway = "host".parse().unwrap();
    assert!(text(&record).contains("ip saddr { 10.86.0.5, 192.168.23.2 } counter name in_11 drop"));
    assert!(text(&record).contains("ip saddr 192.168.23.2 goto began_in_11"));
    record.gateway = "m0".parse().unwrap();
    assert!(text(&record).contains("ip saddr { 192.168.23.2, 192.168.23.254 } counter name in_11 drop"));
}

#[test]
fn the_gateway_is_who_it_is_in_every_subnet() {
    let mut record = store("open");
    let subnets = r#"{ "subnets": { "front": "192.168.23.0/24", "back": "192.168.24.0/24" } }"#;
    record.spec.network = serde_json::from_str(subnets).unwrap();
    let text = environment(&with(record, &["deny tcp to gateway"], &[]), &LabConfig::default()).nftables;
    nft_check(&text).unwrap();
    assert!(text.contains("ip daddr { 192.168.23.254, 192.168.24.254 } goto to_gateway_11"), "{text}");
}
