//! What each fence lets pass: attempts by TCP, UDP and ICMP, outward, inward and inside, new ones and such as have run
//! since before the fence changed; expected and seen, as a table. And that nothing slips through while a fence changes.
#![allow(missing_docs)]

mod common;

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use common::{
    Namespace, exposing, exposing_as, on_a_host, store,
    talk::{Datagrams, Session, at, echo, tcp_begins},
};
use wardian_model::environment::EnvironmentRecord;
use wardian_plan::network::{LabConfig, environment};

/// Kind, attempt, and what was expected and seen in each mode.
type Row = (&'static str, &'static str, Vec<(bool, bool)>);

#[test]
fn every_fence_lets_pass_what_it_shall() {
    on_a_host(|host| async move {
        let exposed = |fence| exposing_as(exposing(store(1, fence), 80, 8080), "udp", 53, 5353);
        let modes: [(&str, EnvironmentRecord); 6] = [
            ("open", store(1, "open")),
            ("out-only", store(1, "out-only")),
            ("out-only + 80/tcp, 53/udp", exposed("out-only")),
            ("sealed", exposed("sealed")),
            ("out-only again", store(1, "out-only")),
            ("open again", store(1, "open")),
        ];
        let all = [true; 6];
        let outward = [true, true, true, false, true, true];
        let to_exposed = [true, false, true, false, false, true];
        let inward = [true, false, false, false, false, true];

        let other = store(2, "open");
        let plan = host.up(&[&modes[0].1, &other]).await;
        let (app, db) = (host.boot_configured(&plan[0], 0).await, host.boot_configured(&plan[0], 1).await);
        let two = host.boot_configured(&plan[1], 0).await;
        let (app, db, two, world) = (&app.space, &db.space, &two.space, &host.world);
        for space in [app, db, two, world] {
            // Where the kernel knows how (6.15), the rests are a second at most.
            space.attempt("sysctl -qw net.ipv4.tcp_rto_max_ms=1000 net.ipv4.tcp_retries2=200");
        }
        for space in [app, two, world] {
            echo(space, &[80, 81], &[53, 54]);
        }

        // Such as have run since the beginning.
        let mut sessions = [
            ("a session of a machine with the world", outward, Session::new(app, at("203.0.113.2:80"))),
            ("a session of a machine with another environment", outward, Session::new(app, at("10.86.0.4:80"))),
            ("a session from outside to 80/tcp", to_exposed, Session::new(two, at("10.86.0.2:80"))),
            ("a session from outside to 81/tcp", inward, Session::new(two, at("10.86.0.2:81"))),
            ("a session inside", all, Session::new(db, at("192.168.23.1:80"))),
            ("a session inside, by the public address", all, Session::new(db, at("10.86.0.2:80"))),
        ];
        let mut flows = [
            ("datagrams of a machine to the world", outward, Datagrams::new(app, at("203.0.113.2:53"))),
            ("datagrams from outside to 53/udp", to_exposed, Datagrams::new(two, at("10.86.0.2:53"))),
            ("datagrams from outside to 54/udp", inward, Datagrams::new(two, at("10.86.0.2:54"))),
            ("datagrams inside", all, Datagrams::new(db, at("192.168.23.1:53"))),
        ];

        let mut table: Vec<Row> = Vec::new();
        let mut note =
            |kind, what, expected: bool, seen: bool| match table.iter_mut().find(|r| (r.0, r.1) == (kind, what)) {
                Some(row) => row.2.push((expected, seen)),
                None => table.push((kind, what, vec![(expected, seen)])),
            };
        for (n, (name, record)) in modes.iter().enumerate() {
            let earlier = host.network.counters(record.id).await.unwrap();
            host.lab(&[record, &other]).await;
            host.network.ensure(&environment(record, &LabConfig::default())).await.unwrap();
            // Read anew: until now a session's own repetitions may have met the fence of before.
            let before = host.network.counters(record.id).await.unwrap();
            for (what, expected, session) in &mut sessions {
                note("running", what, expected[n], session.passes(expected[n]));
            }
            for (what, expected, flow) in &mut flows {
                note("running", what, expected[n], flow.pass());
            }
            for (what, expected, from, to) in [
                ("TCP, a machine to the world", outward, app, "203.0.113.2:80"),
                ("TCP, a machine to another environment", outward, app, "10.86.0.4:80"),
                ("TCP, from outside to port 80", to_exposed, two, "10.86.0.2:80"),
                ("TCP, from outside to port 81", inward, two, "10.86.0.2:81"),
                (
                    "TCP, from the world by 80's port of the host",
                    [false, false, true, false, false, false],
                    world,
                    "203.0.113.1:8080",
                ),
                ("TCP, inside", all, db, "192.168.23.1:80"),
                ("TCP, inside, by the public address", all, db, "10.86.0.2:80"),
            ] {
                note("new", what, expected[n], tcp_begins(from, at(to)));
            }
            for (what, expected, from, to) in [
                ("UDP, a machine to the world", outward, app, "203.0.113.2:53"),
                ("UDP, from outside to port 53", to_exposed, two, "10.86.0.2:53"),
                ("UDP, from outside to port 54", inward, two, "10.86.0.2:54"),
                (
                    "UDP, from the world by 53's port of the host",
                    [false, false, true, false, false, false],
                    world,
                    "203.0.113.1:5353",
                ),
                ("UDP, inside", all, db, "192.168.23.1:53"),
                ("UDP, inside, by the public address", all, db, "10.86.0.2:53"),
            ] {
                note("new", what, expected[n], Datagrams::new(from, at(to)).pass());
            }
            for (what, expected, from, to) in [
                ("ICMP echo, a machine to the world", outward, app, "203.0.113.2"),
                ("ICMP echo, from outside", inward, two, "10.86.0.2"),
                ("ICMP echo, inside", all, db, "192.168.23.1"),
                ("ICMP echo, a machine to its gateway", all, app, "192.168.23.254"),
            ] {
                note("new", what, expected[n], from.pings(to));
            }
            // Counters go on, and count.
            let after = host.network.counters(record.id).await.unwrap();
            for ((what, earlier), (_, after)) in earlier.iter().zip(after.iter()) {
                assert!(
                    after.packets >= earlier.packets && after.bytes >= earlier.bytes,
                    "{name}: {what} was set back"
                );
            }
            assert_eq!(after.fence_in.packets > before.fence_in.packets, !inward[n], "{name}: {after:?}");
            assert!(outward[n] || after.fence_out.packets > before.fence_out.packets, "{name}: {after:?}");
            assert_eq!(after.fence_inside.packets, 0, "{name}");
        }

        let word = |passes: bool| if passes { "yes" } else { "no" };
        let names: Vec<_> = modes.iter().map(|(name, _)| *name).collect();
        println!("Expected/seen:\n\n| | attempt | {} |\n|---|---|{}", names.join(" | "), "---|".repeat(names.len()));
        let mut wrong = Vec::new();
        for (kind, what, cells) in &table {
            let row: Vec<_> = cells.iter().map(|(e, s)| format!("{}/{}", word(*e), word(*s))).collect();
            println!("| {kind} | {what} | {} |", row.join(" | "));
            if cells.iter().any(|(expected, seen)| expected != seen) {
                wrong.push(what);
            }
        }
        assert_eq!(wrong, [&""; 0]);
    });
}

#[test]
fn nothing_slips_through_while_a_fence_changes() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "out-only"), &store(2, "open")]).await;
        let (app, db) = (host.boot_configured(&plan[0], 0).await, host.boot_configured(&plan[0], 1).await);
        let two = host.boot_configured(&plan[1], 0).await;
        // Counts what arrives at a port.
        let count = |space: &Namespace, port: u16| {
            let socket = space.enter(|| UdpSocket::bind(("0.0.0.0", port)).unwrap());
            socket.set_nonblocking(true).unwrap();
            move || std::iter::from_fn(|| socket.recv(&mut [0; 9]).ok()).count()
        };
        let rows = [
            ("inward to a port no fence opens", &two.space, &app.space, "10.86.0.2", 54, Some(false)),
            ("outward", &app.space, &two.space, "10.86.0.4", 55, None),
            ("inside", &db.space, &app.space, "192.168.23.1", 56, Some(true)),
        ];
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = Vec::new();
        for (what, from, to, address, port, expected) in rows {
            let arrived = count(to, port);
            let socket = from.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
            socket.connect((address, port)).unwrap();
            let stopped = stop.clone();
            let sender = std::thread::spawn(move || {
                let mut sent = 0;
                while !stopped.load(Ordering::Relaxed) {
                    sent += usize::from(socket.send(b"word").is_ok());
                    std::thread::sleep(Duration::from_millis(2));
                }
                sent
            });
            running.push((what, expected, sender, arrived, 0));
        }
        let mut changes = 0;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(2) {
            let fence = ["sealed", "out-only"][changes % 2];
            let record = exposing(store(1, fence), 80, 8080);
            host.network.ensure(&environment(&record, &LabConfig::default())).await.unwrap();
            changes += 1;
            for (_, _, _, arrived, sum) in &mut running {
                *sum += arrived();
            }
        }
        stop.store(true, Ordering::Relaxed);
        println!(
            "Through {changes} changes between out-only and sealed:\n\n| datagrams | sent | arrived | expected |\n|---|---|---|---|"
        );
        let mut results = Vec::new();
        for (what, expected, sender, arrived, sum) in running {
            let sent = sender.join().unwrap();
            std::thread::sleep(Duration::from_millis(100));
            let arrived = sum + arrived();
            let words = expected.map_or("some", |all| if all { "all" } else { "none" });
            println!("| {what} | {sent} | {arrived} | {words} |");
            results.push((expected, sent, arrived));
        }
        for (expected, sent, arrived) in results {
            match expected {
                Some(true) => assert_eq!(arrived, sent),
                Some(false) => assert_eq!(arrived, 0),
                None => assert!(arrived > 0 && arrived < sent),
            }
        }
    });
}
