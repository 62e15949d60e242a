//! Second interfaces, on the real kernel: on the lab network under their own hardware address, and nobody else's;
//! fenced all the same.
#![allow(missing_docs)]

mod common;

use common::{Host, Namespace, dual, eventually, exposing, fetch, on_a_host, run, script, store};
use wardian_model::mac::MacAddress;
use wardian_plan::network::{LabConfig, environment};

/// What the lab network has seen so far, a line per frame.
struct Lab(common::Running);

impl Lab {
    fn listen(host: &Host) -> Self {
        let file = host.folder.path().join("lab.pcap");
        let running = common::Running::start(&format!(
            "tcpdump -i wardian0 -n -U -Z root --immediate-mode -w {}",
            file.display()
        ));
        for _ in 0..100 {
            if file.exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        Self(running)
    }

    fn seen(self, host: &Host, filter: &str) -> String {
        std::thread::sleep(std::time::Duration::from_millis(200));
        self.0.stop();
        run(&format!("tcpdump -n -e -r {} '{filter}' 2>/dev/null", host.folder.path().join("lab.pcap").display()))
    }
}

/// The hardware address an outsider finds behind an address.
fn neighbour(space: &Namespace, address: &str) -> String {
    space.run(&format!("ip neighbour show {address}"))
}

#[test]
fn each_machine_is_on_the_lab_network_under_its_own_hardware_address() {
    on_a_host(|host| async move {
        let plans = host.up(&[&dual(store(1, "open")), &dual(store(2, "open"))]).await;
        assert!(host.network.ensure(&plans[0]).await.unwrap().is_empty(), "a second look finds nothing to do");
        assert!(host.network.observe(&plans[0]).await.unwrap().is_complete());
        let app = host.boot_second_configured(&plans[0], 0).await;
        let db = host.boot_second_configured(&plans[0], 1).await;
        let other = host.boot_second_configured(&plans[1], 0).await;
        let outsider = host.outsider();

        for (address, plan, machine) in [("10.86.0.2", 0, 0), ("10.86.0.3", 0, 1), ("10.86.0.4", 1, 0)] {
            eventually("the edge carries", || outsider.pings(address)).await;
            let mac = plans[plan].second.as_ref().unwrap().taps[machine].mac.to_string();
            let found = neighbour(&outsider, address);
            assert!(found.contains(&mac), "{found}");
        }
        // To each other, to other environments, to the host and to the world.
        for address in ["10.86.0.3", "10.86.0.4", "10.86.7.7", "10.86.255.254", "203.0.113.2"] {
            assert!(app.space.pings(address), "{address}");
        }
        let (_app, _world) = (app.space.listen(80, "app"), host.world.listen(80, "world"));
        assert_eq!(fetch("10.86.0.2"), Some("app to 10.86.255.254".into()));
        assert_eq!(outsider.fetch("10.86.0.2"), Some("app to 10.86.7.7".into()));
        assert_eq!(other.space.fetch("10.86.0.2"), Some("app to 10.86.0.4".into()));
        assert_eq!(db.space.fetch("10.86.0.2"), Some("app to 10.86.0.3".into()));
        assert_eq!(app.space.fetch("203.0.113.2"), Some("world to 203.0.113.1".into()));
    });
}

#[test]
fn the_fence_holds_for_second_interfaces_and_can_be_switched() {
    on_a_host(|host| async move {
        let record = |fence| exposing(dual(store(1, fence)), 80, 8080);
        let plan = host.up(&[&record("open")]).await.remove(0);
        let app = host.boot_second_configured(&plan, 0).await;
        let db = host.boot_second_configured(&plan, 1).await;
        let outsider = host.outsider();
        let (_http, _other, _world) =
            (app.space.listen(80, "app"), app.space.listen(81, "hidden"), host.world.listen(80, "world"));
        let _outside = outsider.listen(80, "outsider");

        eventually("the edge carries", || outsider.pings("10.86.0.2")).await;

        // Fence; from outside to the exposed port, to another port, ping; from inside to the outside.
        let table = [
            ("open", true, true, true, true),
            ("out-only", true, false, false, true),
            ("sealed", false, false, false, false),
            ("out-only", true, false, false, true),
        ];
        for (fence, exposed, hidden, ping, out) in table {
            let plan = environment(&record(fence), &LabConfig::default());
            host.network.ensure(&plan).await.unwrap();
            assert_eq!(outsider.fetch("10.86.0.2").is_some(), exposed, "{fence}: exposed");
            assert_eq!(outsider.fetch("10.86.0.2:81").is_some(), hidden, "{fence}: hidden");
            assert_eq!(outsider.pings("10.86.0.2"), ping, "{fence}: ping");
            assert_eq!(fetch("127.0.0.1:8080").is_some(), exposed, "{fence}: by the host's port");
            assert_eq!(app.space.fetch("10.86.7.7").is_some(), out, "{fence}: out");
            assert_eq!(app.space.fetch("203.0.113.2").is_some(), out, "{fence}: into the world");
            // Among themselves, always.
            assert!(db.space.fetch("10.86.0.2:81").is_some(), "{fence}: inside");
        }
        assert!(host.count(&plan, "inet", "fence_in") > 0 && host.count(&plan, "inet", "fence_out") > 0);
    });
}

#[test]
fn a_sealed_machine_says_nothing_at_all_on_the_lab_network() {
    on_a_host(|host| async move {
        let plan = host.up(&[&dual(store(1, "sealed"))]).await.remove(0);
        let outsider = host.outsider();
        let lab = Lab::listen(&host);
        let app = host.boot_second_configured(&plan, 0).await;
        let db = host.boot_second_configured(&plan, 1).await;
        assert!(!app.space.pings("10.86.7.7") && !outsider.pings("10.86.0.2"));
        assert!(app.space.pings("10.86.0.3"));
        // A frame to somebody out there that says it is for a machine in here.
        let second = &plan.second.as_ref().unwrap().taps;
        let frame = etherparse::PacketBuilder::ethernet2(second[0].mac.bytes(), [2, 0, 0, 0, 0, 9])
            .ipv4(second[0].address.octets(), second[1].address.octets(), 64)
            .udp(7, 7);
        let mut bytes = Vec::new();
        frame.write(&mut bytes, b"secret").unwrap();
        app.send_frame(&bytes);
        drop((app, db));
        let seen = lab.seen(&host, "ether[0:2] >= 0");
        let ours = seen.lines().filter(|line| line.contains("02:57:90:"));
        assert_eq!(ours.count(), 0, "{seen}");
    });
}

#[test]
fn a_stale_identity_never_reaches_the_lab_network() {
    on_a_host(|host| async move {
        let plans = host.up(&[&dual(store(1, "open")), &dual(store(2, "open"))]).await;
        let source = host.boot_second_configured(&plans[0], 0).await;
        let outsider = host.outsider();
        // The kernel may take a second to call a new link one.
        eventually("the edge carries", || outsider.pings("10.86.0.2")).await;
        let lab = Lab::listen(&host);

        // A clone that goes on from memory: its tap is the second environment's, all else the source's.
        let clone = host.boot_second(&plans[1], 0).await;
        let stale = plans[0].second.as_ref().unwrap().taps[0].mac;
        let own = plans[1].second.as_ref().unwrap().taps[0].mac;
        clone.space.run(&format!("ip link set eth0 address {stale}"));
        clone.space.run("ip address add 10.86.0.2/16 dev eth0");
        assert!(!clone.space.pings("10.86.7.7"));
        assert!(clone.space.attempt("busybox udhcpc -i eth0 -q -n -f -t 2 -T 1 -s /bin/true").is_none());
        // The right hardware address with the stale address, and the other way round; and somebody who was never here.
        clone.space.run(&format!("ip link set eth0 address {own}"));
        assert!(!clone.space.pings("10.86.7.7"));
        clone.space.run("ip address flush dev eth0");
        clone.space.run("ip address add 10.86.0.4/16 dev eth0");
        clone.space.run(&format!("ip link set eth0 address {stale}"));
        assert!(!clone.space.pings("10.86.7.7"));
        clone.space.run(&format!("ip link set eth0 address {}", MacAddress::local(77)));
        assert!(!clone.space.pings("10.86.7.7"));
        assert!(host.count(&plans[1], "bridge", "forged_mac") > 0);
        assert!(host.count(&plans[1], "bridge", "forged_arp") > 0);

        // With its own it is there at once, and the source never noticed.
        clone.space.run(&format!("ip link set eth0 address {own}"));
        assert!(clone.space.pings("10.86.7.7"));
        assert!(outsider.pings("10.86.0.2"));
        assert!(neighbour(&outsider, "10.86.0.2").contains(&stale.to_string()));
        drop(source);

        // Told apart by the link they came from: only the source's own edge has shown its hardware address.
        let known = run("bridge fdb show br wardian0");
        let of = |mac: MacAddress| {
            let mac = mac.to_string();
            let lines: Vec<_> = known.lines().filter(|l| l.starts_with(&mac)).collect();
            assert_eq!(lines.len(), 1, "{known}");
            lines[0].to_owned()
        };
        assert!(of(stale).contains("dev we1 ") && of(own).contains("dev we2 "), "{known}");
        let seen = lab.seen(&host, "arp or ip");
        let foreign = seen.lines().filter(|line| line.contains(&MacAddress::local(77).to_string()));
        assert_eq!(foreign.count(), 0, "{seen}");
        // Nobody answered for the source's address but the source.
        let claims = seen.lines().filter(|l| l.contains("is-at") && l.contains("10.86.0.2 "));
        assert!(claims.clone().all(|l| l.contains(&stale.to_string())), "{seen}");
    });
}

#[test]
fn dhcp_gives_the_public_address_and_is_not_heard_on_the_lab_network() {
    on_a_host(|host| async move {
        let plan = host.up(&[&dual(store(1, "out-only"))]).await.remove(0);
        let services = host.network.serve(&plan).await.unwrap();
        // Somebody else who would give addresses away on the lab network, and is never asked.
        let outsider = host.outsider();
        let lab = Lab::listen(&host);
        let app = host.boot_second(&plan, 0).await;
        let print = host.folder.path().join("print");
        script(
            &print,
            "#!/bin/sh\n[ \"$1\" = bound ] && echo \"ip=$ip mask=$mask router=$router dns=$dns domain=$domain mtu=$mtu\"\nexit 0\n",
        );
        let got = tokio::task::spawn_blocking(move || {
            let got =
                app.space.run(&format!("busybox udhcpc -i eth0 -q -n -f -t 5 -T 1 -O mtu -s {} 2>&1", print.display()));
            // By broadcast, and renewed by broadcast with the address.
            let again = app
                .space
                .run(&format!("busybox udhcpc -i eth0 -q -n -f -t 5 -T 1 -B -r 10.86.0.2 -s {} 2>&1", print.display()));
            got + &again
        })
        .await
        .unwrap();
        let wanted = "ip=10.86.0.2 mask=16 router=10.86.255.254 dns= domain= mtu=1500";
        assert_eq!(got.matches(wanted).count(), 2, "{got}");
        let seen = lab.seen(&host, "udp port 67 or udp port 68");
        assert_eq!(seen, "");
        drop((services, outsider));
    });
}

#[test]
fn the_first_interface_has_names_and_no_way_out() {
    on_a_host(|host| async move {
        let plan = host.up(&[&dual(store(1, "open"))]).await.remove(0);
        let services = host.network.serve(&plan).await.unwrap();
        let app = host.boot(&plan, 0).await;
        let print = host.folder.path().join("print");
        script(
            &print,
            "#!/bin/sh\n[ \"$1\" = bound ] && echo \"ip=$ip router=$router dns=$dns domain=$domain\"\nexit 0\n",
        );
        let (app, got) = tokio::task::spawn_blocking(move || {
            let got = app.space.run(&format!("busybox udhcpc -i eth0 -q -n -f -t 5 -T 1 -s {} 2>&1", print.display()));
            (app, got)
        })
        .await
        .unwrap();
        assert!(got.contains("ip=192.168.23.1 router= dns=192.168.23.254 domain=lab.contoso.com"), "{got}");
        // Who takes the gateway for a router all the same gets nowhere.
        app.space.run("ip address add 192.168.23.1/24 dev eth0");
        app.space.run("ip route add default via 192.168.23.254");
        let lab = Lab::listen(&host);
        assert!(app.space.pings("192.168.23.254") && !app.space.pings("10.86.255.254"));
        assert_eq!(lab.seen(&host, "ip"), "");
        drop(services);
    });
}

#[test]
fn machines_hand_over_with_both_interfaces() {
    on_a_host(|host| async move {
        let plan = host.up(&[&dual(store(1, "open"))]).await.remove(0);
        let app = host.boot_second_configured(&plan, 0).await;
        let outsider = host.outsider();
        eventually("the edge carries", || outsider.pings("10.86.0.2")).await;
        let machine = plan.taps[0].machine.clone();
        let mut successors = host.network.open_successor_taps(&plan, &machine).await.unwrap();
        assert_eq!(successors.len(), 2);
        let moves: Vec<_> = successors.iter().map(|(_, name)| (machine.clone(), name.clone())).collect();
        assert!(outsider.pings("10.86.0.2"), "before its turn the successor is silent");
        host.network.hand_over(&plan, &moves).await.unwrap();
        assert!(!outsider.pings("10.86.0.2"), "the old tap passes nothing any more");
        let old = app.plug(successors.remove(1).0);
        assert!(outsider.pings("10.86.0.2"));
        drop(old);
        eventually("the old tap is gone", || {
            !host.inside(&plan, "ip -brief link").lines().any(|l| l.starts_with("lab2 "))
        })
        .await;
        host.network.ensure(&plan).await.unwrap();
        assert!(outsider.pings("10.86.0.2"));
    });
}
