//! Caps of what machines say and hear, measured on the real kernel, and that a successor's tap has the same ones.
#![allow(missing_docs)]

mod common;

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use common::{Namespace, on_a_host, store};
use wardian_model::environment::EnvironmentRecord;

/// Environment 1 with caps of db, both ways.
fn capped(into: &str, out: &str) -> EnvironmentRecord {
    let mut record = store(1, "open");
    let limits = &mut record.spec.machines["db"].limits;
    (limits.network_in, limits.network_out) = (Some(into.parse().unwrap()), Some(out.parse().unwrap()));
    record
}

/// What gets from one machine to another by TCP, in Mbit in a second, after a second of finding its pace.
fn rate(from: &Namespace, to: &Namespace, address: &str) -> f64 {
    let listener = to.enter(|| TcpListener::bind("0.0.0.0:90").unwrap());
    let mut near = from.enter(|| TcpStream::connect(address).unwrap());
    let mut far = listener.accept().unwrap().0;
    let sender = std::thread::spawn(move || {
        let data = vec![7; 1 << 16];
        while near.write_all(&data).is_ok() {}
    });
    far.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let (mut buffer, begun) = (vec![0; 1 << 16], Instant::now());
    let (mut heard, mut counted) = (0_usize, None);
    let rate = loop {
        match far.read(&mut buffer) {
            Ok(0) => panic!("the sender ended"),
            Ok(length) => heard += length,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => panic!("{e}"),
        }
        match counted {
            None if begun.elapsed() > Duration::from_secs(1) => counted = Some((Instant::now(), heard)),
            Some((since, before)) if since.elapsed() > Duration::from_secs(4) => {
                break (heard - before) as f64 * 8.0 / since.elapsed().as_secs_f64() / 1e6;
            }
            _ => {}
        }
    };
    drop(far);
    sender.join().unwrap();
    rate
}

#[track_caller]
fn near(rate: f64, cap: f64) {
    println!("{rate:.2} Mbit of {cap}");
    assert!((cap * 0.85..cap * 1.15).contains(&rate), "{rate:.2} Mbit of {cap}");
}

#[test]
fn both_ways_have_their_own_cap_and_others_have_none() {
    on_a_host(|host| async move {
        let plan = host.up(&[&capped("20 Mbit", "5 Mbit")]).await.remove(0);
        assert!(host.network.ensure(&plan).await.unwrap().is_empty(), "a second look finds nothing to do");
        let (app, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        near(rate(&app.space, &db.space, "192.168.23.2:90"), 20.0);
        near(rate(&db.space, &app.space, "192.168.23.1:90"), 5.0);
        // To the outside as to the inside.
        near(rate(&db.space, &host.world, "203.0.113.2:90"), 5.0);
        let free = rate(&app.space, &host.world, "203.0.113.2:90");
        assert!(free > 40.0, "{free:.2} Mbit without a cap");
    });
}

#[test]
fn a_successor_has_the_caps_of_its_machine() {
    on_a_host(|host| async move {
        let plan = host.up(&[&capped("8 Mbit", "4 Mbit")]).await.remove(0);
        let (app, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        let (tap, name) = host.successor(&plan, 1).await;
        host.network.hand_over(&plan, &[(plan.taps[1].machine.clone(), name)]).await.unwrap();
        drop(db.plug(tap));
        assert!((0..5).any(|_| app.space.pings("192.168.23.2")));
        near(rate(&app.space, &db.space, "192.168.23.2:90"), 8.0);
        near(rate(&db.space, &app.space, "192.168.23.1:90"), 4.0);
    });
}
