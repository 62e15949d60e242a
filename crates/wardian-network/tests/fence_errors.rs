//! ICMP errors across a fence: they come back, translated, about what the fence allows, and about nothing else.
#![allow(missing_docs)]

mod common;

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use common::{Host, Namespace, exposing, exposing_as, fetch, on_a_host, store};
use wardian_model::environment::EnvironmentRecord;
use wardian_plan::network::{LabConfig, environment};

/// Asks with a datagram, and says whether "nobody listens there" came back.
fn is_refused(from: &Namespace, to: &str) -> bool {
    let socket = from.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    let _ = socket.send(b"word");
    matches!(socket.recv(&mut [0; 9]), Err(e) if e.kind() == ErrorKind::ConnectionRefused)
}

async fn fence(host: &Host, record: &EnvironmentRecord) {
    host.network.ensure(&environment(record, &LabConfig::default())).await.unwrap();
}

/// "Nobody listens there", about a datagram of `about` (from, port, to, port).
fn unreachable(outer: (Ipv4Addr, Ipv4Addr), about: (Ipv4Addr, u16, Ipv4Addr, u16)) -> Vec<u8> {
    let mut inner = Vec::new();
    etherparse::PacketBuilder::ipv4(about.0.octets(), about.2.octets(), 64)
        .udp(about.1, about.3)
        .write(&mut inner, b"word")
        .unwrap();
    let kind = etherparse::Icmpv4Type::DestinationUnreachable(etherparse::icmpv4::DestUnreachableHeader::Port);
    let mut packet = Vec::new();
    etherparse::PacketBuilder::ipv4(outer.0.octets(), outer.1.octets(), 64)
        .icmpv4(kind)
        .write(&mut packet, &inner)
        .unwrap();
    packet
}

#[test]
fn refusals_come_back_about_what_is_allowed() {
    on_a_host(|host| async move {
        let exposed = |fence| exposing_as(store(1, fence), "udp", 53, 5353);
        let plans = host.up(&[&store(1, "open"), &store(2, "open")]).await;
        let (app, two) = (host.boot_configured(&plans[0], 0).await, host.boot_configured(&plans[1], 0).await);
        for (record, outward, to_53, to_54) in [
            (store(1, "open"), true, true, true),
            (store(1, "out-only"), true, false, false),
            (exposed("out-only"), true, true, false),
            (exposed("sealed"), false, false, false),
        ] {
            fence(&host, &record).await;
            let name = format!("{} {:?}", record.fence, record.exposed);
            assert_eq!(is_refused(&app.space, "203.0.113.2:9"), outward, "{name}: by the world");
            assert_eq!(is_refused(&app.space, "10.86.0.4:9"), outward, "{name}: by another environment");
            assert_eq!(is_refused(&two.space, "10.86.0.2:53"), to_53, "{name}: from outside, of 53");
            assert_eq!(is_refused(&two.space, "10.86.0.2:54"), to_54, "{name}: from outside, of 54");
            // A router on the way: the host, which is one hop behind the gateway.
            let traced = app.space.attempt("ping -c1 -W1 -t2 203.0.113.2; true").unwrap();
            assert_eq!(traced.contains("From 10.86.255.254"), outward, "{name}: {traced}");
        }
    });
}

#[test]
fn errors_about_what_nobody_knows_or_the_fence_has_cut_stay_away() {
    on_a_host(|host| async move {
        let plans = host.up(&[&store(1, "open"), &store(2, "open")]).await;
        let (app, two) = (host.boot_configured(&plans[0], 0).await, host.boot_configured(&plans[1], 0).await);
        let [inside, public, other] = [[192, 168, 23, 1], [10, 86, 0, 2], [10, 86, 0, 4]].map(Ipv4Addr::from);
        let outsider = host.outsider();

        // A flow from outside that is let in, and about which the machine complains.
        let asker = two.space.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        let listener = app.space.enter(|| UdpSocket::bind("0.0.0.0:54").unwrap());
        asker.connect("10.86.0.2:54").unwrap();
        asker.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        asker.send(b"word").unwrap();
        listener.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let from = match listener.recv_from(&mut [0; 9]).unwrap().1 {
            std::net::SocketAddr::V4(from) => from,
            other => panic!("{other}"),
        };
        assert_eq!(*from.ip(), other);
        let complaint = unreachable((inside, other), (other, from.port(), inside, 54));
        let refused = || matches!(asker.recv(&mut [0; 9]), Err(e) if e.kind() == ErrorKind::ConnectionRefused);
        app.space.send_packet(&complaint);
        assert!(refused(), "in an open environment it gets out");
        fence(&host, &store(1, "out-only")).await;
        let before = host.network.counters(plans[0].environment).await.unwrap();
        app.space.send_packet(&complaint);
        assert!(!refused(), "about a flow that is cut now it doesn't");
        let after = host.network.counters(plans[0].environment).await.unwrap();
        assert_eq!(after.fence_out.packets, before.fence_out.packets + 1);
        fence(&host, &exposing_as(store(1, "out-only"), "udp", 54, 5454)).await;
        app.space.send_packet(&complaint);
        assert!(refused(), "about a flow to an exposed port it does");

        // And the other way: somebody outside complains about the answers.
        for (record, passes) in
            [(exposing_as(store(1, "out-only"), "udp", 54, 5454), true), (store(1, "out-only"), false)]
        {
            fence(&host, &record).await;
            let machine = app.space.start("tcpdump -n -l -U -i eth0 icmp 2>/dev/null");
            tokio::time::sleep(Duration::from_millis(500)).await;
            outsider.run("ip address replace 10.86.7.8/32 dev eth0");
            outsider.send_packet(&unreachable(([10, 86, 7, 8].into(), public), (public, 54, other, from.port())));
            // Nobody knows this one.
            outsider.send_packet(&unreachable(([10, 86, 7, 8].into(), public), (public, 54, other, from.port() ^ 1)));
            tokio::time::sleep(Duration::from_millis(300)).await;
            let heard = machine.stop();
            assert_eq!(heard.matches("ICMP").count(), usize::from(passes), "{heard}");
            if passes {
                assert!(heard.contains("> 192.168.23.1: ICMP 10.86.0.4 udp port"), "{heard}");
            }
        }
        let counters = host.network.counters(plans[0].environment).await.unwrap();
        assert_eq!(counters.invalid.packets, 2, "{counters:?}");
    });
}

#[test]
fn a_gateway_says_nothing_of_its_own_about_what_the_fence_stops() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "open")]).await.remove(0);
        let _app = host.boot_configured(&plan, 0).await;
        let outsider = host.outsider();
        let exposed = |fence| exposing(store(1, fence), 80, 8080);
        // "Time exceeded" is said before the fence is asked.
        for (record, pings, to_80) in [
            (store(1, "open"), true, true),
            (store(1, "out-only"), false, false),
            (exposed("out-only"), false, true),
            (exposed("sealed"), false, false),
        ] {
            fence(&host, &record).await;
            let name = format!("{} {:?}", record.fence, record.exposed);
            let before = host.network.counters(plan.environment).await.unwrap();
            let said = outsider.attempt("ping -c1 -W1 -t1 10.86.0.2; true").unwrap();
            assert_eq!(said.contains("From 10.86.0.") && said.contains("exceeded"), pings, "{name}: {said}");
            let after = host.network.counters(plan.environment).await.unwrap();
            assert_eq!(after.fence_out.packets > before.fence_out.packets, !pings, "{name}: {after:?}");

            let heard = outsider.start("tcpdump -n -l -U -i eth0 icmp 2>/dev/null");
            tokio::time::sleep(Duration::from_millis(500)).await;
            let mut packet = Vec::new();
            etherparse::PacketBuilder::ipv4([10, 86, 7, 7], [10, 86, 0, 2], 1)
                .tcp(4000, 80, 1, 1000)
                .syn()
                .write(&mut packet, &[])
                .unwrap();
            outsider.send_packet(&packet);
            tokio::time::sleep(Duration::from_millis(300)).await;
            let heard = heard.stop();
            assert_eq!(heard.contains("time exceeded"), to_80, "{name}: {heard}");
            assert!(!heard.contains("192.168.23."), "{heard}");
        }
    });
}

#[test]
fn a_narrow_path_is_told_of_in_both_directions() {
    on_a_host(|host| async move {
        let exposed = exposing(store(1, "out-only"), 80, 8080);
        let plan = host.up(&[&exposed]).await.remove(0);
        let app = host.boot_configured(&plan, 0).await;
        // Narrow behind the host; the world itself doesn't know.
        common::run("ip link set lan0 mtu 1300");
        let _app = app.space.listen_with(80, vec![b'x'; 200_000]);
        let narrow = || app.space.run("ip route get 203.0.113.2").contains("mtu 1300");

        // Answers to somebody outside, at an exposed port.
        assert!(!narrow());
        let got = host.world.run("curl -s --noproxy '*' --max-time 5 http://203.0.113.1:8080/ | wc -c");
        assert_eq!(got.trim(), "200000");
        assert!(narrow(), "{}", app.space.run("ip route get 203.0.113.2"));
        // And outward.
        app.space.run("ip route flush cache");
        assert!(!narrow());
        let said = app.space.attempt("ping -c2 -W1 -M do -s 1400 203.0.113.2; true").unwrap();
        assert!(narrow(), "{said}");
        // The control: sealed, nothing is heard of it.
        app.space.run("ip route flush cache");
        fence(&host, &exposing(store(1, "sealed"), 80, 8080)).await;
        app.space.attempt("ping -c1 -W1 -M do -s 1400 203.0.113.2");
        assert!(!narrow());
        assert_eq!(fetch("127.0.0.1:8080"), None);
    });
}
