//! A machine that may spoof: anybody inside but the gateway, and outside nobody but itself.
#![allow(missing_docs)]

mod common;

use std::time::Duration;

use common::{Guest, Namespace, Running, eventually, on_a_host, store};
use wardian_model::environment::EnvironmentRecord;
use wardian_plan::network::NetworkPlan;

/// Environment 1, whose app may spoof.
fn spoofing() -> EnvironmentRecord {
    let mut record = store(1, "open");
    record.spec.machines["app"].allow_spoofing = true;
    record
}

async fn listening(space: &Namespace, filter: &str) -> Running {
    let running = space.start(&format!("tcpdump -n -e -l -U -i eth0 '{filter}' 2>/dev/null"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    running
}

/// A datagram of `from` (hardware and IPv4 address) to port 53 of `to`.
fn datagram(guest: &Guest, from: ([u8; 6], [u8; 4]), to: ([u8; 6], [u8; 4])) {
    let builder = etherparse::PacketBuilder::ethernet2(from.0, to.0).ipv4(from.1, to.1, 64).udp(1000, 53);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"word").unwrap();
    guest.send_frame(&frame);
}

const OTHER: [u8; 6] = [2, 0xbf, 10, 20, 30, 40];
const VIRTUAL: [u8; 4] = [192, 168, 23, 77];

#[test]
fn inside_it_may_be_others() {
    on_a_host(|host| async move {
        let plan = host.up(&[&spoofing()]).await.remove(0);
        let (app, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        let heard = listening(&db.space, "udp port 53").await;
        let to = (plan.taps[1].mac.bytes(), [192, 168, 23, 2]);
        datagram(&app, (OTHER, VIRTUAL), to);
        // Only who may.
        let second = listening(&app.space, "udp port 53").await;
        datagram(&db, (OTHER, VIRTUAL), (plan.taps[0].mac.bytes(), [192, 168, 23, 1]));
        // Nobody takes the gateway's place.
        datagram(&app, (plan.bridge.mac.bytes(), [192, 168, 23, 1]), to);
        datagram(&app, (OTHER, [192, 168, 23, 254]), to);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let heard = heard.stop();
        assert!(heard.contains("02:bf:0a:14:1e:28 >") && heard.contains("192.168.23.77.1000 > "), "{heard}");
        // Its own forgery db sees leave, and nobody sees it come.
        assert_eq!(heard.matches("> 192.168.23.2.53:").count(), 1, "{heard}");
        assert!(!second.stop().contains("192.168.23.77.1000 > 192.168.23.1"));

        // An address that two could share, as load balancing has it: asked for by ARP, and answered.
        app.space.run("ip address add 192.168.23.77/24 dev eth0");
        eventually("the shared address answers", || db.space.pings("192.168.23.77")).await;
        assert!(db.space.run("ip neighbour show 192.168.23.77").contains(&plan.taps[0].mac.to_string()));
    });
}

#[test]
fn outside_it_is_nobody_but_itself() {
    on_a_host(|host| async move {
        let plan: NetworkPlan = host.up(&[&spoofing()]).await.remove(0);
        let (app, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        let (gateway, own) = (plan.bridge.mac.bytes(), plan.taps[0].mac.bytes());
        assert!(app.space.pings("203.0.113.2") && db.space.pings("203.0.113.2"));
        let place = || host.inside(&plan, "ip neighbour show 192.168.23.2");
        assert!(place().contains(&plan.taps[1].mac.to_string()), "{}", place());

        let world = listening(&host.world, "udp port 53").await;
        let lab = Running::start("tcpdump -n -e -l -U -i wardian0 'udp port 53' 2>/dev/null");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let to = (gateway, [203, 0, 113, 2]);
        datagram(&app, (own, [192, 168, 23, 2]), to);
        datagram(&app, (plan.taps[1].mac.bytes(), [192, 168, 23, 2]), to);
        datagram(&app, (own, [10, 86, 0, 3]), to);
        datagram(&app, (OTHER, [192, 168, 23, 1]), to);
        datagram(&app, (own, [192, 168, 23, 1]), to);
        // "192.168.23.2 is at me", to all and to the gateway.
        for target in [[0xff; 6], gateway] {
            let mut frame = [&target[..], &own, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &own, &[192, 168, 23, 2]].concat();
            frame.extend([&gateway[..], &[192, 168, 23, 254]].concat());
            app.send_often(&frame, 3);
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
        let (world, lab) = (world.stop(), lab.stop());
        assert_eq!((world.matches(".53: ").count(), lab.matches(".53: ").count()), (1, 1), "{world}{lab}");
        assert!(lab.contains("10.86.0.2.") && !lab.contains("192.168.23."), "{lab}");
        assert!(place().contains(&plan.taps[1].mac.to_string()), "the gateway was told another place: {}", place());
        assert!(host.count(&plan, "bridge", "forged_address") >= 4 && host.count(&plan, "bridge", "forged_arp") >= 3);
        eventually("db is where it was", || db.space.pings("203.0.113.2")).await;
        assert!(app.space.pings("203.0.113.2"));
    });
}
