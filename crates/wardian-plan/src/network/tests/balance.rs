//! Ports that several machines share.

use std::{collections::BTreeMap, net::Ipv4Addr};

use proptest::{collection::btree_map, prelude::*};
use wardian_model::{
    environment::{EnvironmentRecord, Out},
    spec::{Fence, Gateway},
};

use super::{super::*, nft_check, record};

/// Three machines that share ports 80 of TCP and 53 of UDP; those of `out` get no connections, and the ones that say so
/// have stopped.
fn sharing(fence: &str, gateway: Gateway, out: &[(usize, bool)]) -> EnvironmentRecord {
    let inside = |n| Ipv4Addr::new(192, 168, 23, n);
    let public = |n| Ipv4Addr::new(10, 86, 0, n);
    let machines = [(inside(1), public(5), 11), (inside(2), public(6), 12), (inside(3), public(7), 13)];
    let exposed: Vec<_> = (0..3).flat_map(|n| [(n, "tcp", 80, 8080), (n, "udp", 53, 5353)]).collect();
    let mut record = record(fence, "192.168.23.0/24".parse().unwrap(), &machines, &exposed);
    record.gateway = gateway;
    let why = |stopped| if stopped { Out::Stopped } else { Out::Silent { probe: "tcp 80".into() } };
    let out = out.iter().map(|(n, stopped)| (format!("m{n}").parse().unwrap(), why(*stopped)));
    record.out = out.collect();
    record
}

fn host_rules(record: &EnvironmentRecord) -> String {
    let text = lab(&LabConfig::default(), &record.doors()).nftables;
    nft_check(&text).unwrap();
    text
}

fn edge_rules(record: &EnvironmentRecord) -> String {
    let text = environment(record, &LabConfig::default()).nftables;
    nft_check(&text).unwrap();
    text
}

#[test]
fn new_connections_go_to_those_in_service() {
    let text = host_rules(&sharing("out-only", Gateway::PerMachine, &[]));
    let all =
        "tcp dport 8080 dnat ip to numgen inc mod 3 map { 0 : 10.86.0.5 . 80, 1 : 10.86.0.6 . 80, 2 : 10.86.0.7 . 80 }";
    // For what comes from elsewhere, and for what the host itself says.
    assert_eq!(text.matches(all).count(), 2, "{text}");
    assert_eq!(text.matches("udp dport 5353 dnat ip to jhash ip saddr . udp sport mod 3 map").count(), 2, "{text}");

    let text = host_rules(&sharing("out-only", Gateway::PerMachine, &[(1, false)]));
    assert!(text.contains("numgen inc mod 2 map { 0 : 10.86.0.5 . 80, 1 : 10.86.0.7 . 80 }"), "{text}");
    // One alone is as any other port.
    let text = host_rules(&sharing("out-only", Gateway::PerMachine, &[(1, false), (0, true)]));
    assert!(!text.contains("numgen") && text.contains("8080 : 10.86.0.7 . 80"), "{text}");
}

#[test]
fn when_all_are_out_all_are_tried() {
    let none = sharing("out-only", Gateway::PerMachine, &[]);
    let all = sharing("out-only", Gateway::PerMachine, &[(0, false), (1, false), (2, false)]);
    assert_eq!(host_rules(&all), host_rules(&none));
    assert_eq!(edge_rules(&all), edge_rules(&none));
}

#[test]
fn at_a_shared_address_the_edge_decides() {
    let record = sharing("out-only", Gateway::Host, &[(0, false)]);
    let host = host_rules(&record);
    assert!(host.contains("8080 : 10.86.0.5 . 8080") && !host.contains("numgen"), "{host}");
    let edge = edge_rules(&record);
    let two = "ip daddr @shared tcp dport 8080 dnat ip to numgen inc mod 2 map { 0 : 192.168.23.2 . 80, 1 : 192.168.23.3 . 80 }";
    assert!(edge.contains(two), "{edge}");
    let one = edge_rules(&sharing("out-only", Gateway::Host, &[(0, false), (2, false)]));
    assert!(one.contains("8080 : 192.168.23.2 . 80") && !one.contains("numgen"), "{one}");
}

#[test]
fn connections_with_a_machine_that_stopped_are_over_and_no_others() {
    let edge = edge_rules(&sharing("out-only", Gateway::PerMachine, &[(0, true), (1, false)]));
    let refusals: Vec<_> =
        edge.lines().filter(|line| line.contains(" reject") && line.contains("ip daddr {")).collect();
    // TCP and UDP, from outside and from inside.
    assert_eq!(refusals.len(), 4, "{edge}");
    assert!(
        refusals.iter().all(|line| line.contains("ip daddr { 192.168.23.1 }") && line.contains("@exposed")),
        "{edge}"
    );
    let running = edge_rules(&sharing("out-only", Gateway::PerMachine, &[(0, false), (1, false)]));
    assert!(!running.contains("ip daddr {"), "{running}");
    // Nothing is said across a sealed fence.
    let sealed = edge_rules(&sharing("sealed", Gateway::PerMachine, &[(0, true)]));
    let refusals = sealed.lines().filter(|line| line.contains("ip daddr {"));
    assert!(refusals.into_iter().all(|line| line.contains("iifname \"br0\" oifname \"br0\"")), "{sealed}");
}

#[test]
fn who_shares_nothing_is_never_out() {
    let mut record = super::store("out-only");
    let plan = (edge_rules(&record), host_rules(&record));
    record.out = [("m0".parse().unwrap(), Out::Stopped)].into();
    assert_eq!((edge_rules(&record), host_rules(&record)), plan);
    // A claim on the port is one, however many share it.
    let shared = sharing("open", Gateway::PerMachine, &[]);
    assert_eq!(shared.claims().count(), 1 + 3 + 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whoever is out: nft takes it, whoever is in gets connections, and nobody else does unless all are out.
    #[test]
    fn any_health_gives_rules_that_nft_takes(
        out in btree_map(0_usize..3, any::<bool>(), 0..4),
        host in any::<bool>(),
        fence in prop_oneof![Just(Fence::Open), Just(Fence::OutOnly), Just(Fence::Sealed)],
    ) {
        let gateway = if host { Gateway::Host } else { Gateway::PerMachine };
        let out: BTreeMap<usize, bool> = out;
        let list: Vec<_> = out.iter().map(|(n, stopped)| (*n, *stopped)).collect();
        let record = sharing(&fence.to_string(), gateway, &list);
        let (edge, entrance) = (edge_rules(&record), host_rules(&record));
        let (text, ends) = match host {
            true => (edge, ["192.168.23.1 . 80", "192.168.23.2 . 80", "192.168.23.3 . 80"]),
            false => (entrance, ["10.86.0.5 . 80", "10.86.0.6 . 80", "10.86.0.7 . 80"]),
        };
        for (n, end) in ends.iter().enumerate() {
            let serves = !out.contains_key(&n) || out.len() == 3;
            prop_assert_eq!(text.contains(&format!(" : {end}")), serves, "{}: {}", end, text);
        }
    }
}
