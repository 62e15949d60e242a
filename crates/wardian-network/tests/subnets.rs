//! Several subnets in one environment, on the real kernel: on one host, and over two.
#![allow(missing_docs)]

mod common;

use std::net::Ipv4Addr;

use common::{
    Host, Namespace, exposing, on_a_host, store,
    stretch::{Stretched, mtu, shop},
    talk::{Session, at, echo},
    with_back,
};
use wardian_model::environment::EnvironmentRecord;
use wardian_network::filter::Reason;
use wardian_plan::{
    fabric::Encapsulation,
    network::{LabConfig, NetworkPlan, environment},
};

/// A busy machine takes its time.
fn reaches(mut attempt: impl FnMut() -> bool) -> bool {
    (0..5).any(|_| attempt())
}

/// `app` in the first subnet, `db` in the second.
fn two(n: u8, fence: &str) -> EnvironmentRecord {
    with_back(store(n, fence), &["db"])
}

async fn renew(host: &Host, record: &EnvironmentRecord) -> NetworkPlan {
    let plan = environment(record, &LabConfig::default());
    host.network.ensure(&plan).await.unwrap();
    plan
}

/// Runs a command in a guest while this thread's runtime goes on serving.
async fn inside(space: &Namespace, command: &str) -> Option<String> {
    let command = format!("nsenter --net={} {command}", space.path().display());
    tokio::task::spawn_blocking(move || common::attempt(&command).ok()).await.unwrap()
}

const APP: &str = "192.168.23.1";
const DB: &str = "192.168.24.1";

#[test]
fn subnets_are_routed_whatever_the_fence_and_heard_by_nobody_else() {
    on_a_host(|host| async move {
        let plans = host.up(&[&two(1, "open"), &two(2, "open")]).await;
        let mut guests = Vec::new();
        for plan in &plans {
            guests.push([host.boot_configured(plan, 0).await, host.boot_configured(plan, 1).await]);
        }
        let [app, db] = &guests[0];
        echo(&db.space, &[80], &[]);
        let mut session = Session::new(&app.space, at("192.168.24.1:80"));
        for fence in ["open", "out-only", "sealed"] {
            renew(&host, &two(1, fence)).await;
            for (n, guests) in guests.iter().enumerate() {
                let own = [format!("app of {n}"), format!("db of {n}")];
                let _servers = [guests[0].space.listen(81, &own[0]), guests[1].space.listen(81, &own[1])];
                let fetched = |from: usize, to: &str| guests[from].space.fetch(&format!("{to}:81"));
                // By their own addresses, which nobody translates; each reaches the one of its own environment.
                assert!(reaches(|| fetched(0, DB) == Some(format!("{} to {APP}", own[1]))), "{fence}");
                assert!(reaches(|| fetched(1, APP) == Some(format!("{} to {DB}", own[0]))), "{fence}");
                for gateway in ["192.168.23.254", "192.168.24.254"] {
                    assert!(guests.iter().all(|guest| reaches(|| guest.space.pings(gateway))), "{fence} {gateway}");
                }
            }
            assert!(session.passes(true));
            // As a clone has it, that knows of no connection of its source's.
            host.network.forget_connections(plans[0].environment).await.unwrap();
            assert!(session.passes(true), "a connection inside is nobody's business, {fence}");
            for counter in ["fence_in", "fence_out", "fence_inside", "invalid", "reset_inside"] {
                assert_eq!(host.count(&plans[0], "inet", counter), 0, "{counter} {fence}");
            }
        }
        // Nobody is there, so nobody answers.
        for nobody in ["192.168.23.77", "192.168.24.77", "192.168.25.1"] {
            assert!(!app.space.pings(nobody));
        }
        assert!(!app.space.run("ip neigh show 192.168.23.77").contains("lladdr"));
    });
}

#[test]
fn machines_of_every_subnet_have_an_outside() {
    on_a_host(|host| async move {
        let record = exposing(two(1, "out-only"), 80, 8080);
        let plan = host.up(&[&record]).await.remove(0);
        let guests = [host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await];
        let _web = host.world.listen(80, "world");
        let public = |n: usize| Ipv4Addr::new(10, 86, 0, u8::try_from(2 + n).unwrap());
        for guest in &guests {
            assert!(reaches(|| guest.space.fetch("203.0.113.2").is_some_and(|said| said.starts_with("world to "))));
            // And reaches the other by its public address, from its own.
            for n in [0, 1] {
                let _server = guests[n].space.listen(82, "machine");
                assert!(reaches(|| guest.space.fetch(&format!("{}:82", public(n))).is_some()), "{n}");
            }
        }
        let _app = guests[0].space.listen(80, "app");
        assert!(reaches(|| host.world.fetch("203.0.113.1:8080").is_some()));
        assert!(host.world.fetch("203.0.113.1:8081").is_none());
        // All by one address, from either subnet.
        let mut shared = record.clone();
        shared.gateway = "host".parse().unwrap();
        host.lab(&[&shared]).await;
        renew(&host, &shared).await;
        for guest in &guests {
            assert!(reaches(|| guest.space.fetch("203.0.113.2").is_some()));
        }
        assert!(reaches(|| guests[1].space.pings(APP)));
        let mut sealed = shared;
        sealed.fence = serde_json::from_value("sealed".into()).unwrap();
        renew(&host, &sealed).await;
        assert!(guests.iter().all(|guest| guest.space.fetch("203.0.113.2").is_none()));
        assert!(reaches(|| guests[1].space.pings(APP)));
    });
}

#[test]
fn dhcp_and_dns_serve_every_subnet() {
    on_a_host(|host| async move {
        let plan = host.up(&[&two(1, "sealed")]).await.remove(0);
        let _services = host.network.serve(&plan).await.unwrap();
        let script = host.folder.path().join("client");
        common::script(
            &script,
            "#!/bin/sh\nenv | sort\ncase $1 in bound)\nip address replace $ip/24 dev eth0\n\
             ip route replace default via $router\nesac\nexit 0\n",
        );
        for (machine, own, net) in [(0, APP, "192.168.23"), (1, DB, "192.168.24")] {
            let guest = host.boot(&plan, machine).await;
            let client = format!("busybox udhcpc -i eth0 -q -n -f -t 8 -T 1 -s {} 2>&1", script.display());
            let said = inside(&guest.space, &client).await.unwrap();
            for line in [
                format!("ip={own}"),
                format!("router={net}.254"),
                format!("dns={net}.254"),
                format!("serverid={net}.254"),
                "domain=lab.contoso.com".to_owned(),
            ] {
                assert!(said.lines().any(|l| l == line), "{line} not in\n{said}");
            }
            for (question, answer) in [
                ("web-server.lab.contoso.com", "192.168.23.1"),
                ("db-server.lab.contoso.com", "192.168.24.1"),
                ("-x 192.168.24.1", "db-server.lab.contoso.com."),
                ("-x 192.168.23.1", "web-server.lab.contoso.com."),
                ("gateway.lab.contoso.com", &format!("{net}.254")),
            ] {
                let command = format!("dig @{net}.254 +short +time=3 +tries=3 {question}");
                assert_eq!(inside(&guest.space, &command).await.unwrap_or_default().trim(), answer, "{question}");
            }
        }
    });
}

#[test]
fn a_machine_can_be_nobody_of_another_subnet() {
    on_a_host(|host| async move {
        let plan = host.up(&[&two(1, "open")]).await.remove(0);
        let (app, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        assert!(reaches(|| db.space.pings(APP)));
        let taps: Vec<_> = plan.inside_taps().map(|(_, tap)| tap.clone()).collect();
        let heard = app.space.start("tcpdump --immediate-mode -n -l -U -i eth0 udp port 9");
        std::thread::sleep(std::time::Duration::from_millis(500));
        for (from, counter) in [
            (taps[0].address, "forged_address"),
            ("192.168.24.254".parse().unwrap(), "forged_address"),
            ("192.168.24.9".parse().unwrap(), "forged_address"),
        ] {
            let builder = etherparse::PacketBuilder::ethernet2(taps[1].mac.bytes(), plan.bridge.mac.bytes())
                .ipv4(from.octets(), taps[0].address.octets(), 64)
                .udp(7, 9);
            let mut frame = Vec::new();
            builder.write(&mut frame, b"who am I?").unwrap();
            let before = host.count(&plan, "bridge", counter);
            db.send_often(&frame, 3);
            assert!(reaches(|| {
                std::thread::sleep(std::time::Duration::from_millis(100));
                host.count(&plan, "bridge", counter) == before + 3
            }));
        }
        assert!(!heard.stop().contains("UDP"));
    });
}

#[test]
fn what_is_half_gone_is_seen_and_repaired_and_nothing_is_left() {
    on_a_host(|host| async move {
        let record = two(1, "open");
        let plan = host.up(&[&record]).await.remove(0);
        let (_app, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        assert!(host.network.ensure(&plan).await.unwrap().is_empty());
        assert!(host.network.observe(&plan).await.unwrap().is_complete());
        for (seen, damage) in [
            (true, "ip link set sub1 down"),
            (true, "ip link del sub1"),
            (false, "ip address del 192.168.24.254/24 dev sub1"),
            (false, "ip link set sub1 address 02:00:00:00:00:99"),
        ] {
            host.inside(&plan, damage);
            assert_eq!(host.network.observe(&plan).await.unwrap().is_complete(), !seen, "{damage}");
            assert!(!host.network.ensure(&plan).await.unwrap().is_empty(), "{damage}");
            assert!(host.network.ensure(&plan).await.unwrap().is_empty(), "{damage}");
            assert!(reaches(|| db.space.pings(APP)), "{damage}");
        }
        drop(db);
        host.network.remove(plan.environment).await.unwrap();
        assert_eq!(host.network.list().await.unwrap(), []);
    });
}

/// `web` in the first subnet, `db` and `cache` in the second.
fn tiers(n: u8, hosts: [&str; 3]) -> EnvironmentRecord {
    with_back(shop(n, "open", hosts), &["db", "cache"])
}

const ALL: [(&str, &str); 3] = [("web", "192.168.23.1"), ("db", "192.168.24.1"), ("cache", "192.168.24.2")];

fn over_two_hosts(encapsulation: Encapsulation) {
    let mut all = Stretched::new(2, encapsulation);
    all.up(tiers(1, ["a", "b", "a"]));
    for (from, own) in ALL {
        let guest = &all.guest(1, from).space;
        let net = own.rsplit_once('.').unwrap().0;
        for (to, address) in ALL {
            assert!(reaches(|| guest.pings(address)), "{from} reaches {to}");
            let ask = format!("dig @{net}.254 +short +time=2 +tries=1 {to}.lab.contoso.com");
            assert!(reaches(|| guest.attempt(&ask).is_some_and(|said| said.trim() == address)), "{from} knows {to}");
            if from != to {
                let whole = format!("ping -c1 -W1 -M do -s {} {address}", mtu(encapsulation) - 28);
                assert!(reaches(|| guest.attempt(&whole).is_some()), "{from} reaches {to} with whole packets");
            }
        }
        for gateway in ["192.168.23.254", "192.168.24.254"] {
            assert!(reaches(|| guest.pings(gateway)), "{from} reaches {gateway}");
        }
    }
    // From one subnet to the other by its own host: one hop, and its own gateway's.
    for (from, to) in [("web", "192.168.24.1"), ("db", "192.168.23.1"), ("web", "192.168.24.2")] {
        let once = |ttl: u8| all.guest(1, from).space.attempt(&format!("ping -c1 -W1 -t {ttl} {to}")).is_some();
        assert!(reaches(|| once(2)) && !once(1), "{from} to {to}");
    }
    assert_eq!(all.cluster.complaints(), [].into());
    assert_eq!(all.cluster.dropped(Reason::ForgedMac) + all.cluster.dropped(Reason::ForgedAddress), 0);
}

#[test]
fn every_host_routes_between_the_subnets_of_an_environment_over_nvgre() {
    over_two_hosts(Encapsulation::Nvgre);
}

#[test]
fn every_host_routes_between_the_subnets_of_an_environment_with_rewritten_addresses() {
    over_two_hosts(Encapsulation::IpRewrite);
}

#[test]
fn every_host_routes_between_the_subnets_of_an_environment_over_vxlan() {
    over_two_hosts(Encapsulation::Vxlan);
}

#[test]
fn routing_domains_with_equal_subnets_never_meet_and_have_their_own_outside() {
    let mut all = Stretched::new(2, Encapsulation::Nvgre);
    for (n, hosts) in [(1, ["a", "b", "b"]), (2, ["b", "a", "b"])] {
        all.up(tiers(n, hosts));
    }
    all.outsider(0, 70);
    for n in [1, 2] {
        for (to, address) in ALL {
            let own = format!("{to} of {n}");
            let _server = all.guest(n, to).space.listen(80, &own);
            for (from, source) in ALL {
                let said = (0..5).find_map(|_| all.guest(n, from).space.fetch(address));
                assert_eq!(said, Some(format!("{own} to {source}")), "{from} of {n}");
                assert_eq!(all.guest(3 - n, from).space.fetch(address), None, "{from} of {}", 3 - n);
            }
        }
        for (k, (machine, _)) in ALL.into_iter().enumerate() {
            let guest = &all.guest(n, machine).space;
            let outside = &all.cluster.edges[0].space;
            let _server = outside.listen(80, "outside");
            let public = Ipv4Addr::new(10, 86, n, u8::try_from(k).unwrap() + 1);
            let seen = || guest.fetch("10.86.70.1") == Some(format!("outside to {public}"));
            assert!(reaches(seen), "{machine} of {n} gets out");
            assert!(reaches(|| outside.pings(public)), "{machine} of {n} is reached");
        }
    }
    // Neither is missed when the other goes, and nothing of it is left.
    all.remove(2);
    assert!(reaches(|| all.guest(1, "web").space.pings("192.168.24.1")));
    for host in [0, 1] {
        assert!(!all.host(host).space.run("ip -br link").contains("wu2"));
        let known = common::cluster::wait(all.host(host).underlay().known()).unwrap();
        assert!(known.switches.keys().all(|vsid| vsid.number() % (1 << 20) != 4098), "{known:?}");
    }
}

#[test]
fn uplinks_that_are_half_gone_are_repaired() {
    let mut all = Stretched::new(2, Encapsulation::Nvgre);
    let record = tiers(1, ["a", "b", "b"]);
    all.up(record.clone());
    let works = |all: &Stretched| reaches(|| all.guest(1, "web").space.pings("192.168.24.1"));
    assert!(works(&all));
    assert_eq!(all.ensure(record.clone()), [""; 0]);
    for damage in ["ip link del wu1s1", "ip link set wu1s1 down"] {
        all.host(1).space.run(damage);
        assert!(!all.ensure(record.clone()).is_empty(), "{damage}");
        assert_eq!(all.ensure(record.clone()), [""; 0], "{damage}");
        assert!(works(&all), "{damage}");
    }
}
