//! Environments that lie on several hosts, on the real kernel: one subnet for all their machines, one edge, and on each
//! host a gateway that answers.
#![allow(missing_docs)]

mod common;

use std::net::Ipv4Addr;

use common::{
    Namespace,
    cluster::wait,
    stretch::{Stretched, mtu, shop},
};
use wardian_model::environment::EnvironmentRecord;
use wardian_network::filter::Reason;
use wardian_plan::fabric::Encapsulation;

/// A busy machine takes its time.
fn reaches(mut attempt: impl FnMut() -> bool) -> bool {
    (0..5).any(|_| attempt())
}

/// Whether all of a large answer comes, without waiting for what is lost.
fn gets_all(client: &Namespace, server: &Namespace, address: impl std::fmt::Display) -> bool {
    let body = vec![7; 4_000_000];
    let _server = server.listen_with(81, body.clone());
    let got = client.attempt(&format!("curl -s --noproxy '*' --max-time 20 http://{address}:81/ | wc -c"));
    got.is_some_and(|got| got.trim().parse() == Ok(body.len()))
}

fn resolves(client: &Namespace, name: &str, address: &str) -> bool {
    let said = client.attempt(&format!("dig @192.168.23.254 +short +time=2 +tries=1 {name}.lab.contoso.com"));
    said.is_some_and(|said| said.trim() == address)
}

const ALL: [(&str, &str); 3] = [("web", "192.168.23.1"), ("db", "192.168.23.2"), ("cache", "192.168.23.3")];

/// With db's port 80 exposed.
fn exposing(mut record: EnvironmentRecord) -> EnvironmentRecord {
    let address = record.identities["db"].outside.address;
    let exposure =
        serde_json::json!({ "machine": "db", "port": 80, "protocol": "tcp", "at": 8080, "address": address });
    record.exposed.push(serde_json::from_value(exposure).unwrap());
    record
}

fn one_subnet(encapsulation: Encapsulation, hosts: [&str; 3], count: u8) {
    let mut all = Stretched::new(count, encapsulation);
    all.up(shop(1, "out-only", hosts));
    for (from, _) in ALL {
        let guest = &all.guest(1, from).space;
        assert!(guest.run("ip link show eth0").contains(&format!("mtu {}", mtu(encapsulation))));
        assert!(reaches(|| guest.pings("192.168.23.254")), "{from} reaches its gateway");
        for (to, address) in ALL {
            assert!(reaches(|| guest.pings(address)), "{from} reaches {to}");
            assert!(reaches(|| resolves(guest, to, address)), "{from} knows {to}");
        }
        for (to, address) in ALL.into_iter().filter(|(to, _)| *to != from) {
            // As large as it may be, in one piece.
            let length = mtu(encapsulation) - 28;
            let whole = format!("ping -c1 -W1 -M do -s {length} {address}");
            assert!(reaches(|| guest.attempt(&whole).is_some()), "{from} reaches {to} with whole packets");
            assert!(gets_all(guest, &all.guest(1, to).space, address), "{from} gets all from {to}");
        }
    }
    assert_eq!(all.cluster.complaints(), [].into());
    // Each is answered by its own host: nobody else has a server now.
    for host in all.parts(1) {
        let others: Vec<usize> = all.parts(1).into_iter().filter(|other| *other != host).collect();
        others.iter().for_each(|other| all.silence(1, *other));
        for tap in all.plan(1, host).taps {
            let (machine, _) = ALL.into_iter().find(|(name, _)| *name == tap.machine.as_str()).unwrap();
            let guest = &all.guest(1, machine).space;
            assert!(reaches(|| resolves(guest, "web", "192.168.23.1")), "{machine}");
            let client = format!("busybox udhcpc -i eth0 -q -n -f -t 8 -T 1 -O mtu -s {}", all.client().display());
            assert!(guest.run(&client).contains("serverid=192.168.23.254"), "{machine}");
        }
        others.iter().for_each(|other| all.serve(1, *other));
    }
}

#[test]
fn parts_on_two_hosts_are_one_subnet_over_nvgre() {
    one_subnet(Encapsulation::Nvgre, ["a", "b", "b"], 2);
}

#[test]
fn parts_on_two_hosts_are_one_subnet_over_vxlan() {
    one_subnet(Encapsulation::Vxlan, ["a", "b", "b"], 2);
}

#[test]
fn parts_on_two_hosts_are_one_subnet_with_rewritten_addresses() {
    one_subnet(Encapsulation::IpRewrite, ["a", "b", "b"], 2);
}

#[test]
fn parts_on_three_hosts_are_one_subnet() {
    one_subnet(Encapsulation::Nvgre, ["b", "a", "c"], 3);
}

fn one_edge(encapsulation: Encapsulation, fences: &[&str]) {
    let mut all = Stretched::new(2, encapsulation);
    all.up(exposing(shop(1, "open", ["a", "b", "b"])));
    // One outside at either host.
    for host in [0, 1] {
        all.outsider(host, 70 + u8::try_from(host).unwrap());
    }
    let public = |k| Ipv4Addr::new(10, 86, 1, k);
    for fence in fences.iter().copied() {
        let mut record = all.records[&1].clone();
        record.fence = serde_json::from_value(fence.into()).unwrap();
        all.ensure(record);
        for (n, outsider) in all.cluster.edges.iter().enumerate() {
            let (outside, address) = (&outsider.space, outsider.addresses[0]);
            // On either host.
            for (k, machine) in [(1, "web"), (2, "db")] {
                let what = format!("{machine} and the outside at host {n}, {fence}");
                let guest = &all.guest(1, machine).space;
                let _server = outside.listen(80, "outside");
                let out = || guest.fetch(&address.to_string()) == Some(format!("outside to {}", public(k)));
                let _servers = (guest.listen(80, machine), guest.listen(443, machine));
                let inward = |port: u16| {
                    let seen = outside.fetch(&format!("{}:{port}", public(k)));
                    seen.map(|seen| assert_eq!(seen, format!("{machine} to {address}"))).is_some()
                };
                // What is closed is tried once.
                let is = |open: bool, attempt: &dyn Fn() -> bool| if open { reaches(attempt) } else { !attempt() };
                if fence == "sealed" {
                    assert!(!guest.pings(address) && !out(), "{what}");
                } else {
                    assert!(reaches(|| guest.pings(address)) && reaches(out), "{what}");
                    assert!(gets_all(guest, outside, address), "{what}");
                }
                assert!(is(fence == "open", &|| outside.pings(public(k))), "{what}");
                let exposed = machine == "db" && fence == "out-only";
                assert!(is(fence == "open" || exposed, &|| inward(80)), "{what}");
                assert!(is(fence == "open", &|| inward(443)), "{what}");
                if fence == "open" {
                    assert!(gets_all(outside, guest, public(k)), "{what}");
                }
            }
        }
        // Each reaches the others by their public addresses, however far they are, if any may be reached so at all.
        for (k, (from, to)) in [(2, ("web", "db")), (1, ("db", "web")), (3, ("db", "cache")), (2, ("db", "db"))] {
            let _server = all.guest(1, to).space.listen(80, to);
            let seen = reaches(|| all.guest(1, from).space.fetch(&public(k).to_string()).is_some());
            assert!(seen, "{from} reaches {to} by its public address, {fence}");
        }
    }
}

#[test]
fn all_parts_have_one_edge_and_one_fence_over_nvgre() {
    one_edge(Encapsulation::Nvgre, &["open", "out-only", "sealed"]);
}

#[test]
fn all_parts_have_one_edge_and_one_fence_with_rewritten_addresses() {
    one_edge(Encapsulation::IpRewrite, &["open", "out-only", "sealed"]);
}

#[test]
fn all_parts_have_one_edge_over_vxlan() {
    one_edge(Encapsulation::Vxlan, &["open"]);
}

#[test]
fn packets_that_the_physical_network_does_not_take_are_answered() {
    // Machines believe in 1500 bytes, and so does the physical network.
    let mut all = Stretched::with_mtu(2, Encapsulation::Vxlan, 1500);
    all.up(shop(1, "open", ["a", "b", "b"]));
    for host in [0, 1] {
        all.outsider(host, 70 + u8::try_from(host).unwrap());
    }
    let [web, db] = ["web", "db"].map(|machine| &all.guest(1, machine).space);
    assert!(gets_all(db, web, "192.168.23.1") && gets_all(web, db, "192.168.23.2"));
    for outsider in &all.cluster.edges {
        let (outside, address) = (&outsider.space, outsider.addresses[0]);
        assert!(reaches(|| db.pings(address)));
        // In one piece: the first one is answered with what fits.
        let length = mtu(Encapsulation::Vxlan) - 28;
        assert!(reaches(|| db.attempt(&format!("ping -c1 -W1 -M do -s {length} {address}")).is_some()));
        let said = db.attempt(&format!("ping -c1 -W1 -M do -s 1472 {address} || true")).unwrap();
        assert!(said.contains("mtu = 1450") || said.contains("mtu=1450"), "{said}");
        assert!(gets_all(db, outside, address), "from the outside at host {}", outsider.host);
        assert!(gets_all(outside, db, "10.86.1.2"), "to the outside at host {}", outsider.host);
    }
}

#[test]
fn environments_with_equal_addresses_never_see_each_other() {
    let mut all = Stretched::new(2, Encapsulation::Nvgre);
    for (n, hosts) in [(1, ["a", "b", "b"]), (2, ["a", "b", "a"]), (3, ["b", "a", "a"])] {
        all.up(shop(n, "open", hosts));
    }
    for n in [1, 2, 3] {
        for (to, address) in ALL {
            let own = format!("{to} of {n}");
            let _server = all.guest(n, to).space.listen(80, &own);
            for (from, source) in ALL {
                let guest = &all.guest(n, from).space;
                let said = (0..5).find_map(|_| guest.fetch(address));
                assert_eq!(said, Some(format!("{own} to {source}")), "{from} of {n}");
            }
            // The same address in another one is another machine, which doesn't listen.
            for other in [1, 2, 3].into_iter().filter(|other| *other != n) {
                for (from, _) in ALL {
                    assert_eq!(all.guest(other, from).space.fetch(address), None, "{from} of {other}");
                }
            }
        }
    }
    // By public addresses they meet, as any two do.
    let _server = all.guest(3, "cache").space.listen(80, "cache");
    let said = (0..5).find_map(|_| all.guest(1, "db").space.fetch("10.86.3.3"));
    assert_eq!(said.as_deref(), Some("cache to 10.86.1.2"));
    // None is missed when another goes.
    all.remove(2);
    for n in [1, 3] {
        for (from, to) in [("web", "192.168.23.2"), ("db", "192.168.23.1")] {
            assert!(reaches(|| all.guest(n, from).space.pings(to)));
        }
    }
    assert_eq!(all.cluster.dropped(Reason::ForgedMac) + all.cluster.dropped(Reason::ForgedAddress), 0);
}

/// What crosses the physical network at a host while something is done.
fn crosses(host: &Namespace, what: impl FnOnce()) -> String {
    let heard = host.start("tcpdump --immediate-mode -n -l -U -i eth0 ip proto 47 or icmp or tcp");
    std::thread::sleep(std::time::Duration::from_millis(500));
    what();
    std::thread::sleep(std::time::Duration::from_millis(300));
    heard.stop()
}

#[test]
fn rewritten_packets_have_their_own_addresses_and_no_envelope_and_no_host_answers_at_them() {
    let mut all = Stretched::new(3, Encapsulation::IpRewrite);
    all.up(shop(1, "open", ["a", "b", "c"]));
    let [web, db, cache] = ["web", "db", "cache"].map(|machine| &all.guest(1, machine).space);
    // Over a router, and between two in one physical subnet, of which each asks for the other's hardware address.
    let own = |machine: &str| all.records[&1].identities[machine].provider.unwrap();
    for (guest, to, from, host) in [(web, "192.168.23.2", "web", 0), (db, "192.168.23.3", "db", 1)] {
        assert!(reaches(|| guest.pings(to)));
        let target = if from == "web" { "db" } else { "cache" };
        let seen = crosses(&all.host(host).space, || assert!(reaches(|| guest.pings(to))));
        assert!(seen.contains(&format!("{} > {}: ICMP echo request", own(from), own(target))), "{seen}");
        assert!(!seen.contains("GRE"), "{seen}");
    }
    // Few hops left: not one is taken by a router on the way. To all, and to the edge, goes in an envelope too.
    assert!(reaches(|| web.attempt("ping -c1 -W1 -t 1 192.168.23.2").is_some()));
    let seen = crosses(&all.host(1).space, || assert!(reaches(|| cache.pings("192.168.23.254"))));
    assert!(!seen.contains("> 192.168.23."), "{seen}");
    let seen = crosses(&all.host(0).space, || drop(web.attempt("ping -c1 -W1 -b 192.168.23.255")));
    assert!(seen.contains("GRE"), "{seen}");
    // To those who have none of the addresses, the host says nothing: neither for one that is given out, nor for
    // another.
    let _service = all.host(1).space.listen(22, "the host");
    let stranger = all.cluster.fabric.stranger("stranger", Ipv4Addr::new(10, 2, 0, 77));
    assert!(reaches(|| stranger.fetch("10.2.0.1:22").is_some()));
    let free = Ipv4Addr::from(u32::from(own("db")) + 7);
    for address in [own("db"), free] {
        assert!(!stranger.pings(address) && stranger.fetch(&format!("{address}:22")).is_none(), "{address}");
    }
    assert!(stranger.attempt(&format!("busybox arping -c1 -w1 -I eth0 {}", own("db"))).is_some());
    assert!(stranger.attempt(&format!("busybox arping -c1 -w1 -I eth0 {free}")).is_none());
    assert!(!all.host(1).space.run("ip address").contains(&own("db").to_string()));
    // And once it is given back, nobody answers for it.
    let gone = own("db");
    all.remove(1);
    assert!(stranger.attempt(&format!("busybox arping -c1 -w1 -I eth0 {gone}")).is_none());
}

#[test]
fn a_router_that_takes_less_tells_the_machine_whose_packet_it_was() {
    let mut all = Stretched::new(2, Encapsulation::IpRewrite);
    all.up(shop(1, "open", ["a", "b", "b"]));
    let [web, db] = ["web", "db"].map(|machine| &all.guest(1, machine).space);
    assert!(reaches(|| web.pings("192.168.23.2")));
    all.cluster.fabric.router.run("ip link set lan2 mtu 1300");
    assert!(web.attempt("ping -c1 -W1 -M do -s 1400 192.168.23.2").is_none());
    assert!(web.run("ip route get 192.168.23.2").contains("mtu 1300"));
    assert!(gets_all(db, web, "192.168.23.1") && gets_all(web, db, "192.168.23.2"));
    assert_eq!(all.cluster.dropped(Reason::UnknownSender), 0);
}

#[test]
fn environments_choose_how_their_frames_travel() {
    let mut all = Stretched::choosing(2, Encapsulation::Vxlan, Encapsulation::Nvgre);
    all.up(shop(1, "open", ["a", "b", "b"]));
    let db = &all.guest(1, "db").space;
    assert!(reaches(|| db.pings("192.168.23.1")));
    let seen = crosses(&all.host(0).space, || assert!(reaches(|| db.pings("192.168.23.1"))));
    assert!(seen.contains("GREv0"), "{seen}");
    // As large as fits on the lab network too.
    assert!(db.run("ip link show eth0").contains("mtu 1450"));
    let mut all = Stretched::choosing(2, Encapsulation::Nvgre, Encapsulation::Vxlan);
    all.up(shop(1, "open", ["a", "b", "b"]));
    let db = &all.guest(1, "db").space;
    assert!(reaches(|| db.attempt("ping -c1 -W1 -M do -s 1422 192.168.23.1").is_some()));
    let seen = crosses(&all.host(0).space, || assert!(reaches(|| db.pings("192.168.23.1"))));
    assert!(!seen.contains("GRE"), "{seen}");
    assert_eq!(all.cluster.complaints(), [].into());
}

#[test]
fn a_machine_away_from_the_edge_can_be_nobody_but_itself() {
    let mut all = Stretched::new(2, Encapsulation::Nvgre);
    all.up(shop(1, "open", ["a", "b", "b"]));
    let (db, web) = (all.guest(1, "db"), all.guest(1, "web"));
    assert!(reaches(|| db.space.pings("192.168.23.1")));
    let taps = |host| all.plan(1, host).taps;
    let tap = |host, machine| taps(host).into_iter().find(|tap| tap.machine.as_str() == machine).unwrap();
    let (home, own, cache) = (tap(0, "web"), tap(1, "db"), tap(1, "cache"));
    let gateway = wardian_model::mac::MacAddress::GATEWAY;
    let frame = |mac: wardian_model::mac::MacAddress, from: Ipv4Addr, to| {
        let to: wardian_model::mac::MacAddress = to;
        let builder = etherparse::PacketBuilder::ethernet2(mac.bytes(), to.bytes())
            .ipv4(from.octets(), home.address.octets(), 64)
            .udp(7, 9);
        let mut frame = Vec::new();
        builder.write(&mut frame, b"who am I?").unwrap();
        frame
    };
    let heard = web.space.start("tcpdump --immediate-mode -n -l -U -i eth0 udp port 9");
    std::thread::sleep(std::time::Duration::from_millis(500));
    let count =
        |counter: &str| common::packets(&all.inside(1, 1, &format!("nft list counter bridge wardian {counter}")));
    for to in [home.mac, gateway] {
        for (mac, address, counter) in [
            (cache.mac, cache.address, "forged_mac"),
            (home.mac, home.address, "forged_mac"),
            (gateway, own.address, "forged_mac"),
            (gateway, "192.168.23.254".parse().unwrap(), "forged_mac"),
            (own.mac, cache.address, "forged_address"),
            (own.mac, "192.168.23.254".parse().unwrap(), "forged_address"),
            (own.mac, "10.86.70.1".parse().unwrap(), "forged_address"),
        ] {
            let before = count(counter);
            db.send_often(&frame(mac, address, to), 3);
            let dropped = reaches(|| {
                std::thread::sleep(std::time::Duration::from_millis(100));
                count(counter) == before + 3
            });
            assert!(dropped, "{mac} {address}: {counter} from {before} to {}", count(counter));
        }
    }
    db.send_frame(&frame(own.mac, own.address, home.mac));
    std::thread::sleep(std::time::Duration::from_millis(500));
    let heard = heard.stop();
    assert_eq!(heard.matches("192.168.23.1.9").count(), 1, "{heard}");
    assert_eq!(all.cluster.complaints(), [].into());
}

#[test]
fn what_is_removed_leaves_nothing_behind_on_any_host() {
    let mut all = Stretched::new(2, Encapsulation::Nvgre);
    all.up(shop(2, "open", ["b", "a", "a"]));
    let traces = |all: &Stretched| {
        [0, 1].map(|host| {
            let at = all.host(host);
            let links = at.space.run("ip -br link | cut -d' ' -f1");
            let pins = common::run(&format!("ls {}", at.run_dir.join("bpf").display()));
            let netns = common::run(&format!("ls {}", at.run_dir.join("netns").display()));
            let ports =
                aya::maps::MapData::from_pin(at.run_dir.join("bpf/ports")).map(aya::maps::Map::HashMap).unwrap();
            let ports = aya::maps::HashMap::<_, u32, [u8; 20]>::try_from(ports).unwrap();
            let ports = ports.iter().collect::<Result<std::collections::BTreeMap<_, _>, _>>().unwrap();
            (links, pins, netns, ports, wait(at.underlay().known()).unwrap())
        })
    };
    let before = traces(&all);
    all.up(shop(1, "open", ["a", "b", "b"]));
    assert!(reaches(|| all.guest(1, "db").space.pings("192.168.23.1")));
    let made = traces(&all);
    assert!(made[0].0.contains("wu1") && !made[0].0.contains("wt1"), "{made:?}");
    assert!(made[1].0.contains("wu1") && made[1].0.contains("wt1"), "{made:?}");
    all.remove(1);
    assert_eq!(traces(&all), before);
    assert!(reaches(|| all.guest(2, "db").space.pings("192.168.23.1")));
}

#[test]
fn what_is_half_gone_is_seen_and_repaired() {
    let mut all = Stretched::new(2, Encapsulation::Nvgre);
    let record = shop(1, "open", ["a", "b", "b"]);
    all.up(record.clone());
    all.outsider(0, 70);
    let works = |all: &Stretched| {
        let db = &all.guest(1, "db").space;
        reaches(|| db.pings("192.168.23.1")) && reaches(|| db.pings("10.86.70.1"))
    };
    assert!(works(&all));
    assert_eq!(all.ensure(record.clone()), [""; 0]);
    let complete = |all: &Stretched| {
        [0, 1].map(|host| wait(all.host(host).network.observe(&all.plan(1, host))).unwrap().is_complete())
    };
    assert_eq!(complete(&all), [true, true]);
    for (seen, damage) in [
        (true, "ip link del wt1"),
        (true, "ip link del wu1"),
        (true, "ip link set wt1 down"),
        (true, "ip link set wu1 down"),
        (false, "ip link set wt1 mtu 1300"),
    ] {
        all.host(1).space.run(damage);
        assert_eq!(complete(&all), [true, !seen], "{damage}");
        assert!(!all.ensure(record.clone()).is_empty(), "{damage}");
        assert_eq!(complete(&all), [true, true], "{damage}");
        assert_eq!(all.ensure(record.clone()), [""; 0], "{damage}");
        assert!(works(&all), "{damage}");
    }
    for (seen, damage) in [
        (true, "ip link del transit"),
        (true, "ip link set transit down"),
        (true, "ip link set uplink nomaster"),
        (false, "ip link set uplink type bridge_slave learning on"),
        (false, "ip link set transit mtu 1300"),
        (false, "ip link set transit address 02:00:00:00:00:99"),
        (false, "ip route del default"),
        (false, "ip route replace default via 192.168.23.1"),
        (false, "ip route del 169.254.87.1"),
        (false, "ip neigh del 169.254.87.1 dev transit"),
        (false, "ip neigh replace 169.254.87.1 dev transit lladdr 02:00:00:00:00:99"),
    ] {
        all.inside(1, 1, damage);
        if seen {
            assert_eq!(complete(&all), [true, false], "{damage}");
        }
        assert!(!all.ensure(record.clone()).is_empty(), "{damage}");
        assert_eq!(complete(&all), [true, true], "{damage}");
        assert_eq!(all.ensure(record.clone()), [""; 0], "{damage}");
        assert!(works(&all), "{damage}");
    }
}

#[test]
fn what_a_gateway_says_to_all_stays_on_its_host() {
    let mut all = Stretched::new(2, Encapsulation::Nvgre);
    all.up(shop(1, "open", ["a", "b", "b"]));
    let heard = all.guest(1, "db").space.start("tcpdump --immediate-mode -n -l -U -e -i eth0 udp port 68");
    std::thread::sleep(std::time::Duration::from_millis(500));
    // Asked for an answer to all.
    let client = format!("busybox udhcpc -i eth0 -B -q -n -f -t 8 -T 1 -O mtu -s {}", all.client().display());
    for machine in ["web", "cache"] {
        assert!(all.guest(1, machine).space.run(&client).contains("serverid=192.168.23.254"));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    let heard = heard.stop();
    let answers: Vec<_> = heard.lines().filter(|line| line.contains("192.168.23.254.67 >")).collect();
    // To the machine on the same host alone: an offer and an acknowledgement.
    assert_eq!(answers.len(), 2, "{heard}");
}

#[test]
fn a_host_hears_nothing_of_machines_before_its_filter_does() {
    let mut all = Stretched::new(2, Encapsulation::Nvgre);
    all.records.insert(1, shop(1, "open", ["a", "b", "b"]));
    let (plan, at) = (all.plan(1, 1), all.host(1));
    let are_up = || ["wu1", "wt1"].map(|link| at.space.run(&format!("ip link show {link}")).contains(",UP"));
    wait(at.network.ensure(&plan)).unwrap();
    assert_eq!(are_up(), [false, false]);
    assert!(!wait(at.network.observe(&plan)).unwrap().is_complete());
    let uplink = plan.uplink.as_ref().unwrap();
    assert_eq!(wait(at.underlay().connect(uplink)).unwrap().iter().collect::<Vec<_>>(), ["took wu1 up", "took wt1 up"]);
    assert_eq!(are_up(), [true, true]);
    assert!(wait(at.network.observe(&plan)).unwrap().is_complete());
    assert!(wait(at.network.ensure(&plan)).unwrap().is_empty());
    assert!(wait(at.underlay().connect(uplink)).unwrap().is_empty());
}
