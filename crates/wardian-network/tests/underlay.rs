//! The lab network of a cluster: one for hosts in two physical subnets, on the real kernel, with edges that have
//! several public addresses on one hardware address.
#![allow(missing_docs)]

mod common;

use std::{net::Ipv4Addr, time::Duration};

use common::{
    Namespace,
    cluster::{Cluster, wait},
    store,
};
use wardian_model::{mac::MacAddress, vsid::Vsid};
use wardian_network::{Underlay, UnderlayError, filter::Reason};
use wardian_plan::fabric::{Encapsulation, difference};

/// A busy machine takes its time.
fn reaches(mut attempt: impl FnMut() -> bool) -> bool {
    (0..5).any(|_| attempt())
}

/// Frames that a computer has seen.
fn received(space: &Namespace) -> u64 {
    let text = space.run("cat /proc/net/dev");
    let row = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).unwrap();
    row.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Three hosts with an edge of two addresses each.
fn three(encapsulation: Encapsulation) -> Cluster {
    let mut cluster = Cluster::new(3, encapsulation);
    for host in 0..3u8 {
        cluster.edge(host.into(), host + 1, 2);
    }
    cluster.know();
    cluster
}

fn everybody_reaches_everybody(encapsulation: Encapsulation) {
    let cluster = three(encapsulation);
    let all: Vec<Ipv4Addr> = cluster.hosts.iter().map(|host| host.lab_address).collect();
    let all: Vec<Ipv4Addr> = all.into_iter().chain(cluster.edges.iter().flat_map(|e| e.addresses.clone())).collect();
    let mut lost = Vec::new();
    for edge in &cluster.edges {
        for (from, to) in edge.addresses.iter().flat_map(|from| all.iter().map(move |to| (*from, *to))) {
            if !reaches(|| edge.pings(from, to)) {
                lost.push((from, to));
            }
        }
    }
    for host in &cluster.hosts {
        let to = all.iter().filter(|to| !reaches(|| host.space.pings(to)));
        lost.extend(to.map(|to| (host.lab_address, *to)));
    }
    assert_eq!(lost, []);
    assert_eq!(cluster.complaints(), [].into());
    for host in &cluster.hosts {
        let carried = host.counters().carried[&Vsid::FIRST];
        assert!(carried.packets_in > 0 && carried.packets_out > 0, "{carried:?}");
    }
    // Nobody answers for an address that nobody has.
    let arping = |address| cluster.edges[0].space.attempt(&format!("busybox arping -c1 -w1 -I eth0 {address}"));
    assert!(arping(cluster.edges[1].addresses[0]).is_some());
    assert!(arping(Ipv4Addr::new(10, 86, 77, 7)).is_none());
}

#[test]
fn edges_and_hosts_reach_each_other_over_nvgre() {
    everybody_reaches_everybody(Encapsulation::Nvgre);
}

#[test]
fn edges_and_hosts_reach_each_other_over_vxlan() {
    everybody_reaches_everybody(Encapsulation::Vxlan);
}

#[test]
fn bulk_traffic_goes_through_in_both_directions_and_is_shown_to_nobody_else() {
    let mut cluster = Cluster::new(2, Encapsulation::Nvgre);
    for (host, number) in [(0, 1), (1, 2), (0, 3), (1, 4)] {
        cluster.edge(host, number, 2);
    }
    cluster.know();
    let (first, second) = (&cluster.edges[0], &cluster.edges[1]);
    assert!(reaches(|| first.pings(first.addresses[0], second.addresses[0])));
    // Edges believe in 1500 bytes, as the lab network does; the physical network takes no more than that either.
    assert!(first.space.run("ip link show eth0").contains("mtu 1500"));
    assert_eq!((cluster.hosts[0].underlay().mtu(), cluster.hosts[0].underlay().device()), (1458, "eth0"));
    let body = vec![7; 16_000_000];
    let mut others = Vec::new();
    for (server, client, address) in [
        (&second.space, &first.space, second.addresses[1]),
        (&first.space, &second.space, first.addresses[1]),
        (&cluster.hosts[0].space, &second.space, cluster.hosts[0].lab_address),
        (&first.space, &cluster.hosts[1].space, first.addresses[0]),
    ] {
        let before = [2, 3].map(|n: usize| received(&cluster.edges[n].space));
        let _server = server.listen_with(80, body.clone());
        let got = client.attempt(&format!("curl -s --noproxy '*' --max-time 20 http://{address}/ | wc -c")).unwrap();
        assert_eq!(got.trim().parse::<usize>().unwrap(), body.len(), "from {address}");
        others.extend([2, 3].map(|n: usize| received(&cluster.edges[n].space)).iter().zip(before).map(|(a, b)| a - b));
    }
    // Some ask for addresses meanwhile.
    assert!(others.iter().all(|seen| *seen < 40), "{others:?}");
    // What must not be cut and does not fit is told to its sender.
    let path = first.space.path().display();
    let said = common::attempt(&format!("nsenter --net={path} ping -c2 -W1 -M do -s 1472 {}", second.addresses[0]));
    assert!(said.as_ref().is_err_and(|said| said.contains("mtu=1458") || said.contains("mtu = 1458")), "{said:?}");
}

#[test]
fn machines_behind_edges_on_two_hosts_are_as_on_one() {
    let mut cluster = Cluster::new(2, Encapsulation::Nvgre);
    let guests = [0u8, 1].map(|n| cluster.environment(n.into(), &store(n + 1, "open")));
    cluster.know();
    let public = |n: usize| cluster.environments[n].2[0];
    // Machines believe in 1500 bytes; each sends and receives, as client and as server.
    let body = vec![7; 4_000_000];
    for (n, guest) in guests.iter().enumerate() {
        let other = &guests[1 - n];
        assert!(reaches(|| guest.space.pings(public(1 - n))), "from {n}");
        let name = reaches(|| {
            let _server = other.space.listen(80, "other");
            guest.space.fetch(&public(1 - n).to_string()) == Some(format!("other to {}", public(n)))
        });
        assert!(name, "from {n}");
        let _server = other.space.listen_with(81, body.clone());
        let address = public(1 - n);
        let fetched = format!("curl -s --noproxy '*' --max-time 20 http://{address}:81/ | wc -c");
        assert_eq!(guest.space.run(&fetched).trim().parse::<usize>().unwrap(), body.len(), "from {n}");
        assert!(reaches(|| cluster.hosts[n].space.pings(address)));
    }
    assert_eq!(cluster.complaints(), [].into());
}

#[test]
fn who_speaks_with_anothers_address_is_dropped_and_counted() {
    let cluster = three(Encapsulation::Nvgre);
    let (first, to) = (&cluster.edges[0], cluster.edges[1].addresses[0]);
    assert!(reaches(|| first.pings(first.addresses[0], to)));
    assert_eq!(cluster.complaints(), [].into());
    // Nobody's, an edge's on another host, the own host's.
    let foreign = [Ipv4Addr::new(10, 86, 1, 3), cluster.edges[2].addresses[0], cluster.hosts[0].lab_address];
    for (n, address) in (1..).zip(foreign) {
        first.space.run(&format!("ip address add {address}/16 dev eth0"));
        assert!(!first.pings(address, to));
        assert_eq!(cluster.dropped(Reason::ForgedAddress), n);
        first.space.run(&format!("ip address del {address}/16 dev eth0"));
    }
    assert!(reaches(|| first.pings(first.addresses[1], to)));
    for mac in [MacAddress::local(99), cluster.edges[2].mac] {
        let before = cluster.dropped(Reason::ForgedMac);
        first.space.run(&format!("ip link set eth0 address {mac}"));
        assert!(!first.pings(first.addresses[0], to));
        assert!(cluster.dropped(Reason::ForgedMac) > before);
    }
    first.space.run(&format!("ip link set eth0 address {}", first.mac));
    assert!(reaches(|| first.pings(first.addresses[0], to)));
}

#[test]
fn what_changes_is_told_alone_once_all_is_known() {
    let mut cluster = three(Encapsulation::Nvgre);
    let before = [0, 1, 2].map(|n| cluster.policy(n));
    let (from, address) = (cluster.edges[2].addresses[0], cluster.edges[0].addresses[1]);
    assert!(reaches(|| cluster.edges[2].pings(from, address)));
    cluster.move_edge(0, 1);
    let changes = |cluster: &Cluster, n: usize| difference(&before[n], &cluster.policy(n));
    for n in 0..3 {
        let changes = changes(&cluster, n);
        assert_eq!(changes.len(), 3);
        assert!(wait(cluster.hosts[n].underlay().change(changes)).unwrap());
    }
    // Nothing is left to do, in the tables or at the bridges.
    assert_eq!(cluster.know(), [0, 0, 0]);
    for n in [1, 2] {
        let edge = &cluster.edges[n];
        assert!(reaches(|| edge.pings(edge.addresses[0], address)), "edge {n}");
    }
    assert!(reaches(|| cluster.hosts[0].space.pings(address)));
    for host in &cluster.hosts {
        let forwarded = host.space.run("bridge fdb show dev wlab-in");
        let moved = cluster.edges[0].mac.to_string();
        assert_eq!(forwarded.contains(&moved), host.provider != cluster.hosts[1].provider, "{forwarded}");
    }
    // Who starts reads first what there is.
    cluster.hosts[0].reopen(Encapsulation::Nvgre).unwrap();
    assert!(!wait(cluster.hosts[0].underlay().change(changes(&cluster, 0))).unwrap());
}

#[test]
fn an_edge_that_comes_up_on_another_host_is_found_there_and_an_address_can_change_hands() {
    let mut cluster = three(Encapsulation::Nvgre);
    let (from, address) = (cluster.edges[2].addresses[0], cluster.edges[0].addresses[1]);
    assert!(reaches(|| cluster.edges[2].pings(from, address)));
    assert!(reaches(|| cluster.edges[1].pings(cluster.edges[1].addresses[0], address)));
    cluster.move_edge(0, 1);
    // On each host: one hardware address, two addresses.
    assert_eq!(cluster.know(), [3, 3, 3]);
    assert_eq!(cluster.know(), [0, 0, 0]);
    for n in [1, 2] {
        let edge = &cluster.edges[n];
        assert!(reaches(|| edge.pings(edge.addresses[0], address)), "edge {n}");
    }
    assert!(reaches(|| cluster.hosts[0].space.pings(address)));
    // Back on the first host, with somebody else.
    cluster.edges[0].addresses.pop();
    cluster.edges[0].space.run(&format!("ip address del {address}/16 dev eth0"));
    cluster.edge(0, 9, 1);
    cluster.edges[3].addresses.push(address);
    cluster.edges[3].space.run(&format!("ip address add {address}/16 dev eth0"));
    cluster.know();
    for space in [&cluster.edges[2].space, &cluster.edges[0].space] {
        space.run("ip neigh flush dev eth0");
        assert!(reaches(|| space.pings(address)));
        assert!(space.run(&format!("ip neigh show {address}")).contains(&cluster.edges[3].mac.to_string()));
    }
    assert!(reaches(|| cluster.edges[2].pings(from, cluster.edges[0].addresses[0])));
}

#[test]
fn a_daemon_that_starts_again_loses_no_packet_and_removes_what_is_stale() {
    let mut cluster = three(Encapsulation::Nvgre);
    let (to, kept) = (cluster.edges[1].addresses[0], cluster.edges[0].addresses[0]);
    assert!(reaches(|| cluster.edges[0].pings(kept, to)));
    let pings = cluster.edges[0].space.start(&format!("ping -i 0.01 -c 300 -W 5 -q -I {kept} {to}"));
    for round in 0..3 {
        let host = &mut cluster.hosts[round % 2];
        assert_eq!(host.reopen(Encapsulation::Nvgre).unwrap(), <[&str; 0]>::default());
        let policy = cluster.policy(round % 2);
        assert_eq!(wait(cluster.hosts[round % 2].underlay().known()).unwrap(), policy);
        assert_eq!(wait(cluster.hosts[round % 2].underlay().apply(&policy)).unwrap(), 0);
        std::thread::sleep(Duration::from_millis(300));
    }
    // While no daemon runs an edge goes altogether, and of another one address.
    cluster.hosts[0].reopen(Encapsulation::Nvgre).unwrap();
    let gone = cluster.edges.pop().unwrap();
    let given_up = cluster.edges[1].addresses.pop().unwrap();
    let policy = cluster.policy(0);
    // One hardware address and three addresses; the host that had the edge is still there.
    assert_eq!(wait(cluster.hosts[0].underlay().apply(&policy)).unwrap(), 4);
    assert_eq!(wait(cluster.hosts[0].underlay().known()).unwrap(), policy);
    let said = pings.ends(Duration::from_secs(60));
    assert!(said.contains("300 packets transmitted, 300 received, 0% packet loss"), "{said}");
    for address in [gone.addresses[0], given_up] {
        cluster.edges[0].space.run("ip neigh flush dev eth0");
        assert!(!cluster.edges[0].pings(kept, address));
    }
    // What was counted before is still counted.
    assert!(cluster.hosts[0].counters().carried[&Vsid::FIRST].packets_out >= 300);
}

#[test]
fn what_is_half_made_or_taken_away_is_mended() {
    let mut cluster = three(Encapsulation::Nvgre);
    let (from, to) = (cluster.edges[0].addresses[0], cluster.edges[1].addresses[0]);
    for broken in [
        "ip link del wlab-out",
        // Killed after the first of its messages.
        "sh -c 'ip link del wlab-in; ip link add wlab-in type veth peer name wlab-out'",
        "sh -c 'ip link del wlab-in; ip link add wlab-out type veth peer name other0'",
        "ip link set wlab-in nomaster",
        "ip link set wlab-out down",
        "ip link set wlab-out mtu 1300",
    ] {
        let host = &mut cluster.hosts[0];
        host.space.run(broken);
        assert!(!host.reopen(Encapsulation::Nvgre).unwrap().is_empty(), "{broken}");
        assert_eq!(host.reopen(Encapsulation::Nvgre).unwrap(), <[&str; 0]>::default(), "{broken}");
        assert_eq!(wait(cluster.hosts[0].underlay().apply(&cluster.policy(0))).unwrap(), 0, "{broken}");
        assert!(reaches(|| cluster.edges[0].pings(from, to)), "{broken}");
    }
    let space = &cluster.hosts[0].space;
    let port = space.run("bridge -d link show dev wlab-in");
    assert!(port.contains("learning off") && port.contains("master wardian0"), "{port}");
    let told = space.run("bridge fdb show br wardian0");
    for edge in &cluster.edges[1..] {
        let entry = told.lines().find(|line| line.starts_with(&edge.mac.to_string()));
        assert!(entry.is_some_and(|entry| entry.contains("dev wlab-in") && entry.contains("extern_learn")), "{told}");
    }
    assert!(!told.lines().any(|line| line.contains("wlab-in") && line.starts_with(&cluster.edges[0].mac.to_string())));
    // Somebody else's link of that name stays.
    space.run("ip link set wlab-in alias another");
    let error = cluster.hosts[0].reopen(Encapsulation::Nvgre).unwrap_err();
    assert!(matches!(&error, UnderlayError::Foreign { name, owner } if name == "wlab-in" && owner == "another"));
    assert!(cluster.hosts[0].space.attempt("ip link show wlab-in").is_some());
}

#[test]
fn another_encapsulation_is_used_from_the_next_start_on() {
    let mut cluster = three(Encapsulation::Nvgre);
    let (from, to) = (cluster.edges[0].addresses[0], cluster.edges[1].addresses[0]);
    assert!(reaches(|| cluster.edges[0].pings(from, to)));
    cluster.encapsulation = Encapsulation::Vxlan;
    cluster.hosts[0].reopen(Encapsulation::Vxlan).unwrap();
    cluster.know();
    // The others don't understand it yet.
    assert!(!cluster.edges[0].pings(from, to));
    assert!(cluster.dropped(Reason::WrongEncapsulation) > 0);
    for host in [1, 2] {
        cluster.hosts[host].reopen(Encapsulation::Vxlan).unwrap();
    }
    cluster.know();
    assert!(reaches(|| cluster.edges[0].pings(from, to)));
}

#[test]
fn a_provider_address_that_can_not_be_one_is_refused_with_what_to_do() {
    let cluster = Cluster::new(1, Encapsulation::Nvgre);
    let host = &cluster.hosts[0];
    let refused =
        |address: &str| host.open(address.parse().unwrap(), Encapsulation::Nvgre).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        refused("10.9.9.9"),
        "no device of this host has the provider address 10.9.9.9; it has 10.1.0.1 (eth0), 10.86.255.254 (wardian0); \
         correct provider-address in the configuration"
    );
    assert_eq!(
        refused("127.0.0.1"),
        "the provider address 127.0.0.1 is on lo, by which no other host is reached over Ethernet; correct \
         provider-address in the configuration"
    );
    let inside = host.open(host.lab_address, Encapsulation::Nvgre).unwrap();
    assert_eq!(
        wait(inside.connect_lab("wardian0")).unwrap_err().to_string(),
        "the provider address 10.86.255.254 is on the lab bridge wardian0 itself; correct provider-address in the \
         configuration"
    );
    let error = wait(host.underlay().connect_lab("nowhere0")).unwrap_err();
    assert_eq!(error.to_string(), "the lab bridge nowhere0 doesn't exist; it must be made before environments");
}

#[test]
fn a_host_that_leaves_has_nothing_left_and_can_come_again() {
    let mut cluster = three(Encapsulation::Nvgre);
    let (from, to) = (cluster.edges[0].addresses[0], cluster.edges[1].addresses[0]);
    assert!(reaches(|| cluster.edges[0].pings(from, to)));
    cluster.hosts[0].leave();
    let (run_dir, space) = (cluster.hosts[0].run_dir.clone(), &cluster.hosts[0].space);
    assert!(!run_dir.join("bpf").exists());
    let links = space.run("ip -d link show");
    assert!(!links.contains("wlab") && links.contains("wardian0"), "{links}");
    assert!(!cluster.edges[0].pings(from, to));
    space.enter(|| wait(Underlay::remove_left(&run_dir, "test"))).unwrap();
    assert!(!cluster.hosts[0].reopen(Encapsulation::Nvgre).unwrap().is_empty());
    let known = wait(cluster.hosts[0].underlay().known()).unwrap();
    assert!(known.switches.is_empty() && known.stations.is_empty() && known.lookups.is_empty(), "{known:?}");
    cluster.know();
    assert!(reaches(|| cluster.edges[0].pings(from, to)));
}
