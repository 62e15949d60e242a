//! The three ways outside: an address per machine, the host, and a machine that forwards for the others; switched while
//! everything runs. What passes each way, expected and seen, as a table; and that a gateway can't be anybody but
//! itself.
#![allow(missing_docs)]

mod common;

use std::net::{IpAddr, TcpListener};

use common::{
    Guest, Host, Namespace, exposing, on_a_host, store,
    talk::{Datagrams, Session, at, echo, tcp_begins},
};
use wardian_model::environment::EnvironmentRecord;
use wardian_plan::network::{LabConfig, NetworkPlan, environment};

/// Attempt, and what was expected and seen each way.
type Row = (&'static str, Vec<(bool, bool)>);

fn by(gateway: &str) -> EnvironmentRecord {
    let mut record = exposing(store(1, "open"), 80, 8080);
    record.gateway = gateway.parse().unwrap();
    record
}

async fn switch(host: &Host, record: &EnvironmentRecord, other: &EnvironmentRecord) -> NetworkPlan {
    let plan = environment(record, &LabConfig::default());
    host.network.ensure(&plan).await.unwrap();
    host.lab(&[record, other]).await;
    plan
}

/// As a router of one interface does.
fn forwards(guest: &Guest) {
    guest.space.run("sysctl -qw net.ipv4.ip_forward=1");
    guest.space.run("nft add table ip way");
    guest.space.run("nft add chain ip way out '{ type nat hook postrouting priority 100; }'");
    guest.space.run("nft add rule ip way out ip saddr 192.168.23.0/24 ip daddr != 192.168.23.0/24 masquerade");
}

/// Who somebody at `to` sees when `from` calls.
fn seen_as(from: &Namespace, to: &Namespace, address: &str) -> Option<IpAddr> {
    let listener = to.enter(|| TcpListener::bind(("0.0.0.0", 99)).unwrap());
    let call = from.enter(|| std::net::TcpStream::connect_timeout(&at(address), std::time::Duration::from_secs(2)));
    call.ok().map(|_| listener.accept().unwrap().1.ip())
}

#[test]
fn every_way_outside_lets_pass_what_it_shall() {
    on_a_host(|host| async move {
        let ways = [by("per-machine"), by("host"), by("app"), by("per-machine")];
        let other = store(2, "open");
        let plan = host.up(&[&ways[0], &other]).await;
        let (app, db) = (host.boot_configured(&plan[0], 0).await, host.boot_configured(&plan[0], 1).await);
        let two = host.boot_configured(&plan[1], 0).await;
        forwards(&app);
        let (app, db, two, world) = (&app.space, &db.space, &two.space, &host.world);
        for space in [app, db, two, world] {
            echo(space, &[80], &[53]);
        }
        let mut inside = Session::new(db, at("192.168.23.1:80"));

        let mut table: Vec<Row> = Vec::new();
        let mut note = |what, expected: bool, seen: bool| match table.iter_mut().find(|row| row.0 == what) {
            Some(row) => row.1.push((expected, seen)),
            None => table.push((what, vec![(expected, seen)])),
        };
        let all = [true; 4];
        let own = [true, false, false, true];
        for (n, record) in ways.iter().enumerate() {
            switch(&host, record, &other).await;
            note("a session inside goes on", true, inside.passes(true));
            for (what, expected, from, to) in [
                ("TCP, app to the world", all, app, "203.0.113.2:80"),
                ("TCP, db to the world", all, db, "203.0.113.2:80"),
                ("TCP, db to another environment", all, db, "10.86.0.4:80"),
                ("TCP, from outside to app", [true, false, true, true], two, "10.86.0.2:80"),
                ("TCP, from outside to db", own, two, "10.86.0.3:80"),
                ("TCP, from the world by app's port of the host", all, world, "203.0.113.1:8080"),
                ("TCP, from another environment by app's port of the host", all, two, "10.86.255.254:8080"),
                ("TCP, inside", all, db, "192.168.23.1:80"),
                ("TCP, inside, by the public address", [true, false, true, true], db, "10.86.0.2:80"),
            ] {
                note(what, expected[n], tcp_begins(from, at(to)));
            }
            for (what, expected, from, to) in [
                ("UDP, db to the world", all, db, "203.0.113.2:53"),
                ("UDP, from outside to db", own, two, "10.86.0.3:53"),
            ] {
                note(what, expected[n], Datagrams::new(from, at(to)).pass());
            }
            for (what, expected, from, to) in [
                ("ICMP echo, db to the world", all, db, "203.0.113.2"),
                ("ICMP echo, from outside to app", [true, false, true, true], two, "10.86.0.2"),
                ("ICMP echo, from outside to db", own, two, "10.86.0.3"),
                ("ICMP echo, db to its gateway", all, db, "192.168.23.254"),
            ] {
                note(what, expected[n], from.pings(to));
            }
            // Seen by others on the lab network under an address that is one's own, the shared one, or the gateway's.
            let expected = [[10, 86, 0, 3], [10, 86, 0, 2], [10, 86, 0, 2], [10, 86, 0, 3]][n];
            assert_eq!(seen_as(db, two, "10.86.0.4:99"), Some(IpAddr::from(expected)), "{}", record.gateway);
        }

        let word = |passes: bool| if passes { "yes" } else { "no" };
        println!("Expected/seen:\n\n| attempt | per-machine | host | app | per-machine again |\n|---|---|---|---|---|");
        let mut wrong = Vec::new();
        for (what, cells) in &table {
            let row: Vec<_> = cells.iter().map(|(e, s)| format!("{}/{}", word(*e), word(*s))).collect();
            println!("| {what} | {} |", row.join(" | "));
            if cells.iter().any(|(expected, seen)| expected != seen) {
                wrong.push(what);
            }
        }
        assert_eq!(wrong, [&""; 0]);
    });
}

#[test]
fn two_machines_with_the_same_port_are_reached_by_the_ports_of_the_host_alone() {
    on_a_host(|host| async move {
        let mut record = by("host");
        let mut second = record.exposed[0].clone();
        (second.machine, second.at) = ("db".parse().unwrap(), 8081.try_into().unwrap());
        second.address = record.identities["db"].outside.address;
        record.exposed.push(second);
        record.fence = wardian_model::spec::Fence::OutOnly;
        let plan = host.up(&[&record]).await.remove(0);
        let (app, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        let _servers = [app.space.listen(80, "app"), db.space.listen(80, "db")];
        let who = |answer: Option<String>| answer.and_then(|answer| answer.split(' ').next().map(str::to_owned));
        assert_eq!(who(host.world.fetch("203.0.113.1:8080")).as_deref(), Some("app"));
        assert_eq!(who(host.world.fetch("203.0.113.1:8081")).as_deref(), Some("db"));
        assert_eq!(who(common::fetch("127.0.0.1:8081")).as_deref(), Some("db"));
        // By the shared address, from inside too: what the lab network may use, a machine may.
        assert_eq!(who(app.space.fetch("10.86.0.2:8081")).as_deref(), Some("db"));
        assert_eq!(app.space.fetch("10.86.0.2:80"), None);
    });
}

#[test]
fn a_gateway_that_does_not_translate_or_is_down_lets_nothing_out() {
    on_a_host(|host| async move {
        let record = by("app");
        let plan = host.up(&[&record]).await.remove(0);
        let db = host.boot_configured(&plan, 1).await;
        echo(&host.world, &[80], &[53]);
        assert!(!tcp_begins(&db.space, at("203.0.113.2:80")), "nobody is there to forward");

        let app = host.boot_configured(&plan, 0).await;
        app.space.run("sysctl -qw net.ipv4.ip_forward=1");
        assert!(!tcp_begins(&db.space, at("203.0.113.2:80")), "forwarded as it was, it comes from another machine");
        let forged = || host.count(&plan, "bridge", "forged_address") > 0;
        common::eventually("what it forwarded is dropped as forged", forged).await;
        forwards(&app);
        common::eventually("translated, it passes", || tcp_begins(&db.space, at("203.0.113.2:80"))).await;
    });
}

#[test]
fn a_gateway_speaks_neither_as_another_machine_nor_to_the_outside_as_somebody_there() {
    on_a_host(|host| async move {
        let record = by("app");
        let plan = host.up(&[&record]).await.remove(0);
        let (app, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        let heard = |space: &Namespace| {
            let socket = space.enter(|| std::net::UdpSocket::bind("0.0.0.0:53").unwrap());
            socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
            move || socket.recv_from(&mut [0; 9]).ok().map(|(_, from)| from.ip().to_string())
        };
        let (at_db, at_world) = (heard(&db.space), heard(&host.world));
        let say = |source: &str, to: &str| {
            app.space.run(&format!("ip address replace {source}/32 dev eth0"));
            let socket = app.space.enter(|| std::net::UdpSocket::bind((source, 0)).unwrap());
            let _ = socket.send_to(b"word", (to, 53));
        };
        // So that nobody need ask who has an address: a question that names a forged one is dropped for itself.
        assert!(app.space.pings("192.168.23.2") && app.space.pings("192.168.23.254"));
        // To a machine behind it, what comes from outside is what a gateway brings.
        say("198.51.100.7", "192.168.23.2");
        assert_eq!(at_db().as_deref(), Some("198.51.100.7"));
        // Others of its subnet, and the gateway they all have, it is not.
        say("192.168.23.9", "192.168.23.2");
        assert_eq!(at_db(), None);
        assert_eq!(host.count(&plan, "bridge", "forged_address"), 1);
        // And what goes out is its own.
        say("198.51.100.7", "203.0.113.2");
        assert_eq!(at_world(), None);
        assert_eq!(host.count(&plan, "inet", "fence_out"), 1);
    });
}
