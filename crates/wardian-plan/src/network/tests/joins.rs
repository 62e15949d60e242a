//! Joined environments: the link to each, and what passes by it.

use wardian_model::{environment::EnvironmentRecord, join::Joined};

use super::*;

fn other(n: u8) -> Joined {
    Joined {
        id: format!("{n:016x}").parse().unwrap(),
        name: format!("other-{n}").parse().unwrap(),
        slot: u16::from(n),
        subnets: vec![format!("10.{n}.0.0/24").parse().unwrap(), format!("10.{n}.1.0/24").parse().unwrap()],
        hosts: [].into(),
    }
}

fn joined(fence: &str, with: &[u8]) -> EnvironmentRecord {
    let mut record = store(fence);
    record.joined = with.iter().map(|n| other(*n)).collect();
    record
}

fn planned(record: &EnvironmentRecord) -> NetworkPlan {
    environment(record, &LabConfig::default())
}

#[test]
fn a_link_is_named_by_the_other_ones_slot_and_means_the_same_on_both_sides() {
    let record = joined("sealed", &[9]);
    let plan = planned(&record);
    nft_check(&plan.nftables).unwrap();
    insta::assert_snapshot!("rules_joined", plan.nftables);
    let [join] = plan.joins.as_slice() else { panic!("{:?}", plan.joins) };
    // As the other environment plans it.
    let mut theirs = store("open");
    (theirs.id, theirs.edge.slot) = (join.other, 9);
    theirs.joined = vec![record.as_joined()];
    let [back] = &planned(&theirs).joins[..] else { panic!() };
    assert_eq!((&join.inner, &join.outer, join.next, join.back), (&back.outer, &back.inner, back.back, back.next));
    assert_eq!((&join.inner[..], join.next), ("join9", Ipv4Addr::new(169, 254, 0, 9)));
    assert_eq!(join.ours, back.theirs);
    assert_eq!(back.other, record.id);
}

#[test]
fn parted_it_is_as_if_nothing_had_been() {
    let mut record = joined("open", &[9, 10]);
    record.joined.clear();
    assert_eq!(planned(&record), planned(&store("open")));
}

#[test]
fn what_passes_by_a_link_is_from_and_for_whom_it_is_meant_whatever_the_fence() {
    for fence in ["open", "out-only", "sealed"] {
        for gateway in ["per-machine", "host", "m0"] {
            let mut record = joined(fence, &[9, 10]);
            record.gateway = gateway.parse().unwrap();
            let text = planned(&record).nftables;
            nft_check(&text).unwrap();
            for line in text.lines().filter(|line| line.contains("\"join") && line.ends_with("accept")) {
                assert!(line.contains("\"br0\"") && line.contains("ip saddr ") && line.contains("ip daddr "), "{line}");
                let ends = ["join9", "join10"].map(|link| line.contains(&format!("\"{link}\"")));
                let subnets = ["{ 10.9.0.0/24, 10.9.1.0/24 }", "{ 10.10.0.0/24, 10.10.1.0/24 }"];
                assert_eq!(subnets.map(|subnet| line.contains(subnet)), ends, "{line}");
            }
            assert_eq!(text.lines().filter(|line| line.contains("\"join") && line.ends_with("accept")).count(), 4);
        }
    }
}

#[test]
fn names_of_links_fit_the_kernel_whatever_the_slot() {
    let mut record = joined("open", &[9]);
    record.joined[0].slot = u16::MAX;
    record.edge.slot = u16::MAX - 1;
    let join = planned(&record).joins.remove(0);
    assert!(join.inner.len() <= 15 && join.outer.len() <= 15 && join.next != join.back);
}

fn on(host: &str, mut record: EnvironmentRecord, others: &[&str]) -> EnvironmentRecord {
    record.host = Some(host.parse().unwrap());
    record.joined[0].hosts = others.iter().map(|host| host.parse().unwrap()).collect();
    record
}

#[test]
fn joined_with_one_on_another_host_it_has_a_way_there_and_a_passage() {
    let record = on("a", joined("out-only", &[9]), &["b"]);
    let (home, passage) = (part_on(&record, "a"), part_on(&record, "b"));
    for plan in [&home, &passage] {
        nft_check(&plan.nftables).unwrap();
        let uplink = plan.uplink.as_ref().unwrap();
        assert_eq!((uplink.vsid, uplink.domain, &uplink.transit), (record.vsids().next().unwrap(), 7, &None));
        // By either, the other is reached.
        assert_eq!(plan.joins, planned(&joined("out-only", &[9])).joins);
    }
    assert!(home.edge.is_some() && !home.taps.is_empty());
    assert!(passage.edge.is_none() && passage.all_taps().next().is_none());
    assert_eq!(home.bridge, passage.bridge);
    // But for the port to other hosts, its own rules are what they are with one on the same host.
    let alone = part_on(&on("a", joined("out-only", &[9]), &["a"]), "a");
    assert_eq!(home.nftables.replace("\t\tiifname \"uplink\" accept\n", ""), alone.nftables);
    assert!(alone.uplink.is_none());
    insta::assert_snapshot!("rules_passage", passage.nftables);
}

#[test]
fn a_part_away_from_the_edge_has_its_way_there_whoever_is_joined() {
    let mut record = stretched("open");
    record.joined = vec![other(9)];
    let record = on("a", record, &["c"]);
    let transit = |host: &str| part_on(&record, host).uplink.unwrap().transit.is_some();
    assert_eq!(["a", "b", "c"].map(transit), [false, true, false]);
}

#[test]
fn a_domain_controller_is_seen_by_its_own_environment_alone_on_every_host() {
    let mut record = on("a", joined("open", &[9, 10]), &["b"]);
    let (name, identity) = record.identities.first().map(|(name, identity)| (name.clone(), identity.clone())).unwrap();
    record.spec.machines[&name].role = Some(wardian_model::spec::Role::DomainController);
    for host in ["a", "b"] {
        let text = part_on(&record, host).nftables;
        nft_check(&text).unwrap();
        let (_, forward) = text.split_once("chain forward {").unwrap();
        for link in ["join9", "join10"] {
            let at = |rule: String| forward.find(&rule).unwrap_or_else(|| panic!("{rule} not in {forward}"));
            let address = identity.inside.address;
            let closed = [
                at(format!("oifname \"{link}\" ip saddr {address} counter name fence_out drop")),
                at(format!("iifname \"{link}\" ip daddr {address} counter name fence_in drop")),
            ];
            let open =
                at(format!("oifname \"{link}\" ip saddr @private")).min(at(format!("iifname \"{link}\" oifname")));
            assert!(closed.iter().all(|rule| *rule < open), "{forward}");
        }
    }
}
