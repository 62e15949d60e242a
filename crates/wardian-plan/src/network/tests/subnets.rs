//! Several subnets of one environment: their switches, servers and ports, and how packets pass between them.

use wardian_model::spec::{Role, Subnets};

use super::*;

/// `store` with its second machine in a subnet of its own.
fn two(fence: &str) -> EnvironmentRecord {
    let mut record = store(fence);
    let named = [("front", "192.168.23.0/24"), ("back", "192.168.24.0/24")];
    let named = named.map(|(name, net)| (name.parse().unwrap(), net.parse().unwrap()));
    record.spec.network.subnets = Subnets::named(named.into()).unwrap();
    record.spec.machines[1].subnet = Some("back".parse().unwrap());
    record.identities[1].inside.address = Ipv4Addr::new(192, 168, 24, 1);
    record
}

fn planned(record: &EnvironmentRecord) -> NetworkPlan {
    environment(record, &LabConfig::default())
}

#[test]
fn each_subnet_has_a_switch_with_the_gateway_and_a_server_for_its_machines() {
    let plan = planned(&two("out-only"));
    nft_check(&plan.nftables).unwrap();
    insta::assert_snapshot!("rules_subnets", plan.nftables);
    insta::assert_json_snapshot!("plan_subnets", NetworkPlan { nftables: String::new(), ..plan.clone() });
    let bridges: Vec<_> = plan.bridges().map(|b| format!("{} {} {}", b.name, b.mac, b.address)).collect();
    assert_eq!(bridges, ["br0 02:57:7f:ff:ff:ff 192.168.23.254/24", "sub1 02:57:7f:ff:ff:ff 192.168.24.254/24"]);
    let taps: Vec<_> = plan.all_taps().map(|(bridge, tap)| format!("{bridge} {}", tap.machine)).collect();
    assert_eq!(taps, ["br0 m0", "sub1 m1"]);
}

#[test]
fn one_subnet_with_a_name_is_as_one_without() {
    let mut record = store("out-only");
    let net = record.spec.network.subnets.first().net;
    record.spec.network.subnets = Subnets::named([("only".parse().unwrap(), net)].into()).unwrap();
    assert_eq!(planned(&record), planned(&store("out-only")));
}

/// The rules of a chain of the edge's table.
fn chain(text: &str, name: &str) -> Vec<String> {
    let text = text.split_once("table bridge").unwrap().0;
    let all = text.rsplit(&format!("chain {name} {{")).next().unwrap();
    let end = all.find("\n\t}").unwrap();
    all[..end].lines().skip(2).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn what_is_routed_inside_is_tracked_by_nobody_and_asked_no_fence() {
    for fence in ["open", "out-only", "sealed"] {
        let mut record = two(fence);
        // Not even the rules about a domain controller come before: it has no outside, and all the inside.
        record.spec.machines[1].role = Some(Role::DomainController);
        let text = planned(&record).nftables;
        nft_check(&text).unwrap();
        assert_eq!(chain(&text, "detour")[0], "iifname { \"br0\", \"sub1\" } ip daddr @private notrack");
        assert_eq!(
            chain(&text, "forward")[0],
            "iifname { \"br0\", \"sub1\" } oifname { \"br0\", \"sub1\" } ip saddr @private ip daddr @private accept"
        );
        assert!(!chain(&text, "guard").is_empty());
    }
}

#[test]
fn names_and_addresses_are_told_in_each_subnet_by_its_own_gateway_or_the_controller() {
    let plan = planned(&two("open"));
    let told = |plan: &NetworkPlan| -> Vec<_> {
        plan.offers().map(|(at, _, dhcp)| (at.to_owned(), dhcp.router, dhcp.name_server, dhcp.leases.len())).collect()
    };
    let at = |n| Some(Ipv4Addr::new(192, 168, n, 254));
    assert_eq!(told(&plan), [("br0".into(), at(23), at(23), 1), ("sub1".into(), at(24), at(24), 1)]);
    assert_eq!(plan.dns.addresses().collect::<Vec<_>>(), [at(23).unwrap(), at(24).unwrap()]);
    assert_eq!(plan.dns.subnet_of(Ipv4Addr::new(192, 168, 24, 9)), "192.168.24.0/24".parse().ok());
    let mut record = two("open");
    record.spec.machines[1].role = Some(Role::DomainController);
    let controller = Some(Ipv4Addr::new(192, 168, 24, 1));
    assert!(planned(&record).offers().all(|(_, _, dhcp)| dhcp.name_server == controller));
}

#[test]
fn every_part_has_all_subnets_each_with_its_uplink_and_one_way_to_the_edge() {
    let mut record = two("open");
    record.host = Some("a".parse().unwrap());
    let elsewhere = [("m1".parse().unwrap(), "b".parse().unwrap())];
    record.stretch = Some(wardian_model::environment::Stretch { elsewhere: elsewhere.into() });
    let (home, away) = (part_on(&record, "a"), part_on(&record, "b"));
    nft_check(&home.nftables).unwrap();
    nft_check(&away.nftables).unwrap();
    insta::assert_snapshot!("rules_subnets_away", away.nftables);
    let ports = |plan: &NetworkPlan| -> Vec<_> {
        let uplinks = plan.uplinks();
        uplinks.map(|(bridge, u)| format!("{} {} {} {} {}", bridge.name, u.outer, u.inner, u.vsid, u.domain)).collect()
    };
    assert_eq!(ports(&home), ["br0 wu7 uplink 4103 7", "sub1 wu7s1 uplink1 1052679 7"]);
    assert_eq!(ports(&home), ports(&away));
    let transits = |plan: &NetworkPlan| plan.uplinks().filter(|(_, uplink)| uplink.transit.is_some()).count();
    assert_eq!((transits(&home), transits(&away)), (0, 1));
    assert_eq!(home.bridges().collect::<Vec<_>>(), away.bridges().collect::<Vec<_>>());
}

#[test]
fn names_of_links_fit_the_kernel_whatever_the_slot() {
    let mut record = two("open");
    record.edge.slot = u16::MAX;
    let named = (0..8).map(|n| (format!("s{n}").parse().unwrap(), format!("10.{n}.0.0/16").parse().unwrap())).collect();
    record.spec.network.subnets = Subnets::named(named).unwrap();
    record.stretch = Some(wardian_model::environment::Stretch { elsewhere: Default::default() });
    let plan = planned(&record);
    let names: BTreeSet<String> = plan
        .uplinks()
        .flat_map(|(bridge, uplink)| [&bridge.name, &uplink.outer, &uplink.inner].map(Clone::clone))
        .collect();
    assert_eq!(names.len(), 3 * 8);
    assert!(names.iter().all(|name| name.len() <= 15), "{names:?}");
}
