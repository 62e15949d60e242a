//! Connections that an environment's gateway knows nothing of: inherited by a clone, or forgotten. On the real kernel.
#![allow(missing_docs)]

mod common;

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use common::{Namespace, Running, on_a_host, store};
use wardian_plan::network::{LabConfig, NetworkPlan, environment};

/// A connection from `client` to `to`, where `server` listens; the client's end and the server's.
fn connect(client: &Namespace, server: &Namespace, to: &str) -> (TcpStream, TcpStream) {
    let port = to.rsplit_once(':').unwrap().1.to_owned();
    let listener = server.enter(|| TcpListener::bind(format!("0.0.0.0:{port}")).unwrap());
    let mut near = client.enter(|| TcpStream::connect(to).unwrap());
    let mut far = listener.accept().unwrap().0;
    for end in [&near, &far] {
        end.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    }
    assert!(passes(&mut near, &mut far) && passes(&mut far, &mut near));
    (near, far)
}

fn passes(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    from.write_all(b"word").is_ok() && to.read_exact(&mut [0; 4]).is_ok()
}

/// Says something, and is told by a reset that nobody knows of this connection.
fn is_reset(end: &mut TcpStream) -> bool {
    let reset = |kind| matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
    // The first word may be refused already, when a reset came before; who was told once reads an orderly end.
    if end.write_all(b"word").is_err_and(|e| reset(e.kind())) {
        return true;
    }
    let heard = end.read(&mut [0; 4]);
    heard.as_ref().err().is_some_and(|e| reset(e.kind())) || {
        eprintln!("{heard:?} was heard instead of a reset");
        false
    }
}

/// A segment in the middle of a connection, as a clone's machine would send it.
fn segment(plan: &NetworkPlan, machine: usize, to: Ipv4Addr, port: u16) -> Vec<u8> {
    let from = &plan.taps[machine];
    let builder = etherparse::PacketBuilder::ethernet2(from.mac.bytes(), plan.bridge.mac.bytes())
        .ipv4(from.address.octets(), to.octets(), 64)
        .tcp(40_000, port, 1000, 1000)
        .ack(7777);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"still there?").unwrap();
    frame
}

async fn listening(space: &Namespace, filter: &str) -> Running {
    let running = space.start(&format!("tcpdump -n -l -U -i eth0 '{filter}' 2>/dev/null"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    running
}

#[test]
fn forgotten_connections_are_reset_in_both_directions() {
    on_a_host(|host| async move {
        let plans = host.up(&[&store(1, "open"), &store(2, "open")]).await;
        let one = host.boot_configured(&plans[0], 0).await;
        let db = host.boot_configured(&plans[0], 1).await;
        let two = host.boot_configured(&plans[1], 0).await;

        let (mut out, mut world) = connect(&one.space, &host.world, "203.0.113.2:91");
        let (mut out2, mut far2) = connect(&one.space, &two.space, "10.86.0.4:92");
        let (mut from, mut into) = connect(&two.space, &one.space, "10.86.0.2:93");
        let (mut inside, mut beside) = connect(&db.space, &one.space, "192.168.23.1:94");
        let (mut hairpin, _hairpin) = connect(&db.space, &one.space, "10.86.0.2:95");

        host.network.forget_connections(plans[0].environment).await.unwrap();
        let table = host.inside(&plans[0], "cat /proc/net/nf_conntrack || true");
        assert!(!table.contains("dport=9"), "{table}");

        // Whoever speaks first learns it, inside and outside; and those outside hear it only from this side's gateway.
        assert!(is_reset(&mut out), "a machine that goes on with a connection to the world");
        assert!(is_reset(&mut far2), "somebody outside who goes on with a connection of a machine");
        assert!(is_reset(&mut out2));
        assert!(is_reset(&mut from), "somebody outside who goes on with a connection to a machine");
        assert!(is_reset(&mut into));
        assert!(is_reset(&mut hairpin));
        // Nothing of it reached the other end: not the words, not the reset.
        world.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert_eq!(world.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
        // On the switch nobody forgot anything.
        assert!(passes(&mut inside, &mut beside) && passes(&mut beside, &mut inside));
        // New ones are made as ever.
        assert!(one.space.pings("203.0.113.2"));
        let (mut a, mut b) = connect(&one.space, &host.world, "203.0.113.2:96");
        assert!(passes(&mut a, &mut b));

        let counters = host.network.counters(plans[0].environment).await.unwrap();
        assert!(counters.reset_inside.packets >= 3, "{counters:?}");
        assert!(counters.reset_outside.packets >= 2, "{counters:?}");
    });
}

#[test]
fn a_clones_inherited_connections_are_reset_and_never_leave() {
    on_a_host(|host| async move {
        // Two is one's clone: same inside. Its machine goes on with what it remembers.
        for fence in ["open", "out-only", "sealed"] {
            let plans = host.up(&[&store(1, "open"), &store(2, fence)]).await;
            let one = host.boot_configured(&plans[0], 0).await;
            let clone = host.boot_configured(&plans[1], 0).await;
            let hosts = [Ipv4Addr::new(203, 0, 113, 2), Ipv4Addr::new(10, 86, 0, 3), Ipv4Addr::new(192, 168, 23, 254)];
            // The original's is alive, and the clone knows it.
            let (mut near, mut far) = connect(&one.space, &host.world, "203.0.113.2:91");
            let world = listening(&host.world, "tcp port 80").await;
            let lab = Running::start("tcpdump -n -l -U -i wardian0 'tcp port 80' 2>/dev/null");
            let heard = listening(&clone.space, "tcp port 80").await;
            for to in hosts {
                clone.send_frame(&segment(&plans[1], 0, to, 80));
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            let heard = heard.stop();
            for to in hosts {
                let reset = format!("IP {to}.80 > 192.168.23.1.40000: Flags [R], seq 7777");
                assert!(heard.contains(&reset), "{fence}: no {reset} in {heard}");
            }
            assert_eq!(world.stop().trim(), "", "{fence}");
            assert_eq!(lab.stop().trim(), "", "{fence}");
            assert!(passes(&mut near, &mut far), "the original's connection is its own");
            drop((one, clone));
        }
    });
}

#[test]
fn a_segment_from_outside_that_nobody_knows_is_reset_unless_sealed() {
    on_a_host(|host| async move {
        for (fence, answered) in [("open", true), ("out-only", true), ("sealed", false)] {
            let plans = host.up(&[&store(1, fence), &store(2, "open")]).await;
            let one = host.boot_configured(&plans[0], 0).await;
            let outsider = host.outsider();
            let heard = listening(&outsider, "tcp").await;
            let machine = listening(&one.space, "tcp").await;
            for _ in 0..3 {
                // SYN+ACK, FIN+ACK and ACK without a connection.
                for (kind, port) in [("ack", 81_u16), ("fin", 82), ("syn-ack", 83)] {
                    let builder = etherparse::PacketBuilder::ipv4([10, 86, 7, 7], [10, 86, 0, 2], 64)
                        .tcp(port, 80, 1000, 1000)
                        .ack(7777);
                    let builder = match kind {
                        "fin" => builder.fin(),
                        "syn-ack" => builder.syn(),
                        _ => builder,
                    };
                    let mut packet = Vec::new();
                    builder.write(&mut packet, &[]).unwrap();
                    outsider.send_packet(&packet);
                }
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            let (heard, machine) = (heard.stop(), machine.stop());
            let resets = heard.matches("IP 10.86.0.2.80 > 10.86.7.7").count();
            assert_eq!(resets, if answered { 9 } else { 0 }, "{fence}: {heard}");
            assert_eq!(machine.trim(), "", "{fence}: nothing of it came inside");
            let counters = host.network.counters(plans[0].environment).await.unwrap();
            let (reset, dropped) = (counters.reset_outside.packets, counters.fence_in.packets);
            assert_eq!((reset >= 9, dropped >= 9), (answered, !answered), "{fence}: {counters:?}");
            common::run("ip link del out0");
            drop(one);
            host.network.remove(plans[0].environment).await.unwrap();
        }
    });
}

#[test]
fn resets_are_limited() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "open")]).await.remove(0);
        let one = host.boot_configured(&plan, 0).await;
        let frame = segment(&plan, 0, Ipv4Addr::new(203, 0, 113, 2), 80);
        one.send_often(&frame, 3000);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let counters = host.network.counters(plan.environment).await.unwrap();
        let (reset, dropped) = (counters.reset_inside.packets, counters.invalid.packets);
        println!("{reset} answered, {dropped} dropped");
        assert!(dropped > 0 && reset >= 300, "{counters:?}");
    });
}

#[test]
fn late_and_repeated_segments_harm_no_connection() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "open")]).await.remove(0);
        let one = host.boot_configured(&plan, 0).await;
        let (mut near, mut far) = connect(&one.space, &host.world, "203.0.113.2:91");
        // The same connection's ports, far outside of its window.
        let port = near.local_addr().unwrap().port();
        let from = &plan.taps[0];
        for sequence in [0_u32, 0x4000_0000, 0x8000_0000, 0xc000_0000] {
            let builder = etherparse::PacketBuilder::ethernet2(from.mac.bytes(), plan.bridge.mac.bytes())
                .ipv4(from.address.octets(), [203, 0, 113, 2], 64)
                .tcp(port, 91, sequence, 1000)
                .ack(sequence ^ 0x1234);
            let mut frame = Vec::new();
            builder.write(&mut frame, b"stale").unwrap();
            one.send_frame(&frame);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(passes(&mut near, &mut far) && passes(&mut far, &mut near));
        assert_eq!(host.network.counters(plan.environment).await.unwrap().reset_inside.packets, 0);
    });
}

#[test]
fn datagrams_start_anew() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "out-only")]).await.remove(0);
        let one = host.boot_configured(&plan, 0).await;
        let world = host.world.enter(|| UdpSocket::bind("0.0.0.0:91").unwrap());
        let machine = one.space.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        for socket in [&world, &machine] {
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        }
        let ask = || {
            machine.send_to(b"word", "203.0.113.2:91").unwrap();
            let (_, from) = world.recv_from(&mut [0; 9]).unwrap();
            world.send_to(b"answer", from).unwrap();
            machine.recv_from(&mut [0; 9]).unwrap();
            from
        };
        let from = ask();
        host.network.forget_connections(plan.environment).await.unwrap();
        host.network.forget_connections(plan.environment).await.unwrap();
        // An answer to what nobody remembers is a stranger's.
        world.send_to(b"late", from).unwrap();
        assert!(machine.recv_from(&mut [0; 9]).is_err());
        ask();
        assert!(one.space.pings("203.0.113.2"));
    });
}

#[test]
fn a_change_of_the_fence_forgets_nothing() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "open")]).await.remove(0);
        let (one, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        let (mut out, mut world) = connect(&one.space, &host.world, "203.0.113.2:91");
        let (mut inside, mut beside) = connect(&db.space, &one.space, "192.168.23.1:94");
        for fence in ["out-only", "open", "sealed", "out-only"] {
            host.network.ensure(&environment(&store(1, fence), &LabConfig::default())).await.unwrap();
            assert!(passes(&mut inside, &mut beside), "{fence}");
            if fence == "sealed" {
                // Cut, not ended: nothing is said to either end, and what was said arrives when the fence opens.
                out.write_all(b"held").unwrap();
                world.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
                assert!(world.read(&mut [0; 4]).is_err());
            } else if fence == "out-only"
                && host.network.counters(plan.environment).await.unwrap().fence_out.packets > 0
            {
                world.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                world.read_exact(&mut [0; 4]).unwrap();
                assert!(passes(&mut out, &mut world));
            } else {
                assert!(passes(&mut out, &mut world), "{fence}");
            }
        }
        assert_eq!(host.network.counters(plan.environment).await.unwrap().reset_inside.packets, 0);
    });
}
