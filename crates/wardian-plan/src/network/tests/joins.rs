//! Joined environments: the link to each, and what passes by it.

use wardian_model::{environment::EnvironmentRecord, join::Joined};

use super::*;

fn other(n: u8) -> Joined {
    Joined {
        id: format!("{n:016x}").parse().unwrap(),
        name: format!("other-{n}").parse().unwrap(),
        slot: u16::from(n),
        subnets: vec![format!("10.{n}.0.0/24").parse().unwrap(), format!("10.{n}.1.0/24").parse().unwrap()],
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
