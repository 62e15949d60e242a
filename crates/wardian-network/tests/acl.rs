//! What machines may say and hear, on the real kernel: a table of attempts, answers, pieces of packets and errors; and
//! that a change under load loses nothing that is allowed, and stops what no longer is.
#![allow(missing_docs)]

mod common;

use std::{
    io::ErrorKind,
    net::{TcpListener, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use common::{
    Host, Namespace, dual, eventually, on_a_host, store,
    talk::{Datagrams, Session, at, echo, tcp_begins},
};
use wardian_model::environment::EnvironmentRecord;
use wardian_network::NetworkError;
use wardian_plan::network::{LabConfig, NetworkPlan, environment};

/// The record with these rules for all, and for db.
fn with(mut record: EnvironmentRecord, network: &[&str], db: &[&str]) -> EnvironmentRecord {
    let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    record.acl.set(None, rules(network));
    record.acl.set(Some(&"db".parse().unwrap()), rules(db));
    record
}

async fn set(host: &Host, record: &EnvironmentRecord) -> NetworkPlan {
    let plan = environment(record, &LabConfig::default());
    host.network.ensure(&plan).await.unwrap();
    assert!(host.network.ensure(&plan).await.unwrap().is_empty(), "a second look finds nothing to do");
    assert!(host.network.observe(&plan).await.unwrap().is_complete());
    plan
}

/// How many packets db (slot 3 of environment 1) was not allowed to hear, and to say.
async fn denied(host: &Host, plan: &NetworkPlan) -> (u64, u64) {
    let counts = host.network.acl_counters(plan.environment).await.unwrap();
    counts.iter().find(|c| c.slot == 3).map_or((0, 0), |c| (c.inward.packets, c.outward.packets))
}

#[test]
fn attempts_pass_as_the_rules_say() {
    on_a_host(|host| async move {
        // Rules for all; for db. App to db by 80/tcp, 81/tcp, 53/udp, ping; the same from db to app; db to the world by
        // 80/tcp and ping; from outside to db by 80/tcp; db asks its gateway for a ping.
        type Row = (&'static [&'static str], &'static [&'static str], [bool; 12]);
        const T: bool = true;
        const F: bool = false;
        let table: [Row; 12] = [
            (&[], &[], [T; 12]),
            (&[], &["deny any"], [F, F, F, F, F, F, F, F, F, F, F, T]),
            (&[], &["deny in any"], [F, F, F, F, T, T, T, T, T, T, F, T]),
            (&[], &["deny out any"], [T, T, T, T, F, F, F, F, F, F, T, T]),
            (&[], &["allow tcp from app to db port 80", "deny any"], [T, F, F, F, F, F, F, F, F, F, F, T]),
            (&["deny udp port 53"], &[], [T, T, F, T, T, T, F, T, T, T, T, T]),
            (&["deny udp port 53"], &["allow udp from app"], [T, T, F, T, T, T, F, T, T, T, T, T]),
            (&["deny icmp"], &["allow out icmp"], [T, T, T, F, T, T, T, F, T, T, T, T]),
            (&["deny from app to db"], &[], [F, F, F, F, T, T, T, T, T, T, T, T]),
            (&["deny tcp from 192.168.23.0/30 port 1-65535 to any port 81"], &[], [T, F, T, T, T, F, T, T, T, T, T, T]),
            (&[], &["deny from 10.86.7.0/24", "deny to 203.0.113.2"], [T, T, T, T, T, T, T, T, F, F, F, T]),
            (&["deny out to gateway"], &[], [T, T, T, T, T, T, T, T, T, T, T, F]),
        ];
        let record = |n: usize| with(store(1, "open"), table[n].0, table[n].1);
        let plan = host.up(&[&record(0)]).await.remove(0);
        let (app, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        let (app, db, world) = (&app.space, &db.space, &host.world);
        let outsider = host.outsider();
        for space in [app, db, world] {
            echo(space, &[80, 81], &[53]);
        }
        for (n, (network, own, expected)) in table.iter().enumerate() {
            let plan = set(&host, &record(n)).await;
            let seen = [
                tcp_begins(app, at("192.168.23.2:80")),
                tcp_begins(app, at("192.168.23.2:81")),
                Datagrams::new(app, at("192.168.23.2:53")).pass(),
                app.pings("192.168.23.2"),
                tcp_begins(db, at("192.168.23.1:80")),
                tcp_begins(db, at("192.168.23.1:81")),
                Datagrams::new(db, at("192.168.23.1:53")).pass(),
                db.pings("192.168.23.1"),
                tcp_begins(db, at("203.0.113.2:80")),
                db.pings("203.0.113.2"),
                tcp_begins(&outsider, at("10.86.0.3:80")),
                db.pings("192.168.23.254"),
            ];
            assert_eq!(seen, *expected, "{network:?} and, for db, {own:?}");
            assert_eq!(n > 0, plan.has_acl);
        }
        // The last one is taken away again: nothing of it is left.
        set(&host, &record(0)).await;
        assert!(!host.inside(&plan, "nft list tables").contains("acl"));
    });
}

#[test]
fn probes_of_the_daemon_and_dhcp_pass_whatever_is_denied() {
    on_a_host(|host| async move {
        let record = with(store(1, "out-only"), &["deny any"], &[]);
        let plan = host.up(&[&record]).await.remove(0);
        let services = host.network.serve(&plan).await.unwrap();
        let db = host.boot(&plan, 1).await;
        let client = host.folder.path().join("client");
        common::script(&client, "#!/bin/sh\n[ \"$1\" = bound ] && ip address replace $ip/24 dev eth0\nexit 0\n");
        let space = &db.space;
        let ask = format!("busybox udhcpc -i eth0 -q -n -f -t 8 -T 1 -s {} 2>&1", client.display());
        let ask = format!("nsenter --net={} {ask}", space.path().display());
        // This thread's runtime goes on serving.
        tokio::task::spawn_blocking(move || common::run(&ask)).await.unwrap();
        echo(space, &[80], &[]);
        let probe = |port| {
            let to = format!("192.168.23.2:{port}").parse().unwrap();
            host.network.connect(plan.environment, to, Duration::from_secs(1))
        };
        assert!(probe(80).await.is_ok());
        // A refusal is an answer, too.
        match probe(81).await.unwrap_err() {
            NetworkError::Connect { source, .. } => assert_eq!(source.kind(), ErrorKind::ConnectionRefused),
            other => panic!("{other}"),
        }
        // The gateway's own address alone opens nothing.
        assert!(host.inside(&plan, "sh -c 'curl -s --max-time 1 http://192.168.23.2/ || true'").is_empty());
        assert!(denied(&host, &plan).await.0 > 0);
        services.stop().await;
    });
}

#[test]
fn pieces_pass_with_their_packet_and_errors_with_what_they_are_about() {
    on_a_host(|host| async move {
        let plan = host
            .up(&[&with(store(1, "open"), &[], &["allow udp from app to db port 53", "deny in any"])])
            .await
            .remove(0);
        let (app, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        let large = |port: u16| {
            let there = db.space.enter(|| UdpSocket::bind(("0.0.0.0", port)).unwrap());
            there.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let here = app.space.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
            here.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            here.send_to(&[7; 5000], format!("192.168.23.2:{port}")).unwrap();
            let mut buffer = [0; 6000];
            let Ok((length, from)) = there.recv_from(&mut buffer) else { return None };
            there.send_to(&buffer[..length], from).unwrap();
            here.recv(&mut buffer).ok()
        };
        assert_eq!(large(53), Some(5000));
        assert_eq!(large(54), None);
        // A datagram to a port nobody listens at: its sender is told, by an error about what it sent.
        let refused = |port: u16| {
            let socket = app.space.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
            socket.connect(at(&format!("192.168.23.2:{port}"))).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            socket.send(b"word").unwrap();
            socket.recv(&mut [0; 9]).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
        };
        assert!(refused(53));
        set(&host, &with(store(1, "open"), &[], &["allow udp port 53", "deny any"])).await;
        assert!(refused(53), "an error about what was heard is no ping");
        assert!(!refused(54) && !db.space.pings("192.168.23.1"));
    });
}

#[test]
fn only_who_was_asked_may_answer() {
    on_a_host(|host| async move {
        let plan = host.up(&[&with(store(1, "open"), &[], &["deny in any"])]).await.remove(0);
        let (app, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        let bind = |space: &Namespace, port: u16| {
            let socket = space.enter(|| UdpSocket::bind(("0.0.0.0", port)).unwrap());
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            socket
        };
        let (asker, asked, other) = (bind(&db.space, 40_000), bind(&app.space, 53), bind(&app.space, 54));
        let mut heard = [0; 9];
        asked.send_to(b"word", "192.168.23.2:40000").unwrap();
        assert!(asker.recv(&mut heard).is_err(), "nobody asked");
        asker.send_to(b"word", "192.168.23.1:53").unwrap();
        assert!(asked.recv(&mut heard).is_ok());
        asked.send_to(b"word", "192.168.23.2:40000").unwrap();
        assert!(asker.recv(&mut heard).is_ok());
        other.send_to(b"word", "192.168.23.2:40000").unwrap();
        assert!(asker.recv(&mut heard).is_err(), "another port was not asked");
        // By TCP, from a low port to a high one, where something listens: a beginning all the same.
        let _open = db.space.enter(|| TcpListener::bind("0.0.0.0:50000").unwrap());
        assert!(app.space.attempt("curl -s --local-port 1000-1010 --max-time 1 telnet://192.168.23.2:50000").is_none());
        assert!(!app.space.pings("192.168.23.2") && db.space.pings("192.168.23.1"));
    });
}

#[test]
fn second_interfaces_are_held_too() {
    on_a_host(|host| async move {
        let record = |db: &[&str]| with(dual(store(1, "open")), &[], db);
        let plan = host.up(&[&record(&["allow icmp from app", "deny any"])]).await.remove(0);
        let app = host.boot_second_configured(&plan, 0).await;
        let db = host.boot_second_configured(&plan, 1).await;
        let outsider = host.outsider();
        echo(&db.space, &[80], &[]);
        assert!(app.space.pings("10.86.0.3") && !outsider.pings("10.86.0.3"));
        assert!(!tcp_begins(&app.space, at("10.86.0.3:80")));
        set(&host, &record(&[])).await;
        assert!(outsider.pings("10.86.0.3") && tcp_begins(&app.space, at("10.86.0.3:80")));
    });
}

/// Numbers that one machine sends another without end, by UDP, a thousand in a second.
struct Stream {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    heard: Arc<Mutex<Vec<u64>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Stream {
    fn new(from: &Namespace, to: &Namespace, address: &str) -> Self {
        let target = at(address);
        let far = to.enter(|| UdpSocket::bind(("0.0.0.0", target.port())).unwrap());
        let near = from.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        far.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (stop, sent, heard) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<Mutex<Vec<u64>>>::default());
        let sender = {
            let (stop, sent) = (stop.clone(), sent.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    near.send_to(&number.to_be_bytes(), target).unwrap();
                    std::thread::sleep(Duration::from_millis(1));
                }
            })
        };
        let receiver = {
            let (stop, heard) = (stop.clone(), heard.clone());
            std::thread::spawn(move || {
                let (mut quiet, mut number) = (0, [0; 8]);
                // What is under way when it ends still counts.
                while !stop.load(Ordering::Relaxed) || quiet < 20 {
                    match far.recv(&mut number) {
                        Ok(_) => drop((heard.lock().unwrap().push(u64::from_be_bytes(number)), quiet = 0)),
                        Err(_) => quiet += 1,
                    }
                }
            })
        };
        Self { stop, sent, heard, threads: vec![sender, receiver] }
    }

    /// The number that is sent next.
    fn next(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until a number from `first` on is heard.
    async fn goes_on(&self, first: u64) {
        eventually("it is heard again", || self.heard.lock().unwrap().last().is_some_and(|last| *last >= first)).await;
    }

    /// How many were sent, and all that were heard.
    fn end(self) -> (u64, Vec<u64>) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        (self.sent.load(Ordering::Relaxed), self.heard.lock().unwrap().clone())
    }
}

#[test]
fn fifty_changes_under_load_lose_no_allowed_packet_and_stop_what_is_forbidden() {
    on_a_host(|host| async move {
        let record = |n: usize| {
            let network = format!("deny udp port {}", 1000 + n);
            let db = if n.is_multiple_of(2) {
                ["deny tcp port 81", "deny udp port 54"]
            } else {
                ["allow icmp", "deny tcp port 82"]
            };
            with(store(1, "open"), &[&network], &db)
        };
        let plan = host.up(&[&record(1)]).await.remove(0);
        let (app, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        let (app, db, world) = (&app.space, &db.space, &host.world);
        for space in [app, db, world] {
            space.attempt("sysctl -qw net.ipv4.tcp_rto_max_ms=1000 net.ipv4.tcp_retries2=200");
        }
        echo(db, &[80, 81], &[]);
        echo(world, &[80], &[]);
        let steady = [
            Stream::new(app, db, "192.168.23.2:53"),
            Stream::new(db, app, "192.168.23.1:55"),
            Stream::new(db, world, "203.0.113.2:56"),
        ];
        let forbidden = Stream::new(app, db, "192.168.23.2:54");
        let mut inside = Session::new(app, at("192.168.23.2:80"));
        let mut outward = Session::new(db, at("203.0.113.2:80"));
        let mut cut = Session::new(app, at("192.168.23.2:81"));
        assert!(cut.passes(true));
        let mut silent = Vec::new();
        for n in 2..52 {
            let allowed = n % 2 == 1;
            host.network.ensure(&environment(&record(n), &LabConfig::default())).await.unwrap();
            let first = forbidden.next();
            assert!(inside.passes(true) && outward.passes(true));
            assert_eq!(cut.passes(allowed), allowed, "change {n}");
            if allowed {
                forbidden.goes_on(first).await;
            } else {
                std::thread::sleep(Duration::from_millis(20));
                // The last one may have its number and not be on its way yet.
                silent.push(first..forbidden.next() - 1);
            }
        }
        for stream in steady {
            let (sent, mut heard) = stream.end();
            heard.sort_unstable();
            assert!(sent > 500, "{sent}");
            assert!(heard.iter().copied().eq(0..sent), "{sent}: {heard:?}");
        }
        // From the moment the change was made, not one was heard that was sent until it was undone.
        let (_, heard) = forbidden.end();
        assert!(silent.iter().all(|numbers| !numbers.is_empty()), "{silent:?}");
        for numbers in silent {
            let some = heard.iter().find(|number| numbers.contains(number));
            assert_eq!(some, None, "of {numbers:?}");
        }
    });
}

#[test]
fn the_first_rule_stops_what_runs_and_keeps_what_it_allows() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "open")]).await.remove(0);
        let (app, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        for space in [&app.space, &db.space] {
            space.attempt("sysctl -qw net.ipv4.tcp_rto_max_ms=1000 net.ipv4.tcp_retries2=200");
            echo(space, &[80], &[]);
        }
        // Both began before there were any rules.
        let mut to_db = Session::new(&app.space, at("192.168.23.2:80"));
        let mut of_db = Session::new(&db.space, at("192.168.23.1:80"));
        assert!(to_db.passes(true) && of_db.passes(true));
        let begun = Instant::now();
        set(&host, &with(store(1, "open"), &[], &["deny in any"])).await;
        assert!(!to_db.passes(false), "db may not be spoken to");
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert!(of_db.passes(true), "what db asked for is answered");
        set(&host, &with(store(1, "open"), &[], &["deny out any"])).await;
        assert!(to_db.passes(true) && !of_db.passes(false));
        set(&host, &store(1, "open")).await;
        assert!(to_db.passes(true) && of_db.passes(true));
    });
}
