//! A port that several machines share: who gets connections, and what a change of who is in service does to those there
//! are.
#![allow(missing_docs)]

mod common;

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use common::{Guest, Host, Namespace, crowd, on_a_host, talk::at};
use serde_json::json;
use wardian_model::environment::{EnvironmentRecord, Out};
use wardian_plan::network::{LabConfig, environment};

const MACHINES: [&str; 3] = ["m1", "m2", "m3"];
/// The port they share, as the lab network reaches it.
const SHARED: &str = "203.0.113.1:8080";
/// How long something may take that happens at once.
const SOON: Duration = Duration::from_secs(2);

/// Three machines that share TCP port 80 at 8080, and UDP port 53 at 5353.
fn sharing(gateway: &str) -> EnvironmentRecord {
    let mut record = crowd(3);
    record.gateway = gateway.parse().unwrap();
    for machine in MACHINES {
        let address = record.identities[machine].outside.address;
        for (protocol, port, at) in [("tcp", 80, 8080), ("udp", 53, 5353)] {
            let exposure =
                json!({ "machine": machine, "port": port, "protocol": protocol, "at": at, "address": address });
            record.exposed.push(serde_json::from_value(exposure).unwrap());
        }
    }
    record
}

const fn silent() -> Out {
    Out::Silent { probe: String::new() }
}

/// Puts a machine out of service, or in again, and does what a host does when its records have changed.
async fn put(host: &Host, record: &mut EnvironmentRecord, machine: &str, why: Option<Out>) {
    let name = machine.parse().unwrap();
    match why {
        Some(why) => drop(record.out.insert(name, why)),
        None => drop(record.out.remove(&name)),
    }
    host.network.ensure(&environment(record, &LabConfig::default())).await.unwrap();
    host.lab(&[record]).await;
}

/// They run, and each answers.
async fn up(host: &Host, gateway: &str) -> (EnvironmentRecord, Vec<Guest>) {
    let record = sharing(gateway);
    let plan = host.up(&[&record]).await.remove(0);
    let mut guests = Vec::new();
    for (n, name) in MACHINES.into_iter().enumerate() {
        let guest = host.boot_configured(&plan, n).await;
        answer(&guest.space, name);
        guests.push(guest);
    }
    (record, guests)
}

/// Says its name to whoever comes, and then what it hears; until the end of the test.
fn answer(space: &Namespace, name: &'static str) {
    let listener = space.enter(|| TcpListener::bind(("0.0.0.0", 80)).unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                let mut said = stream.write_all(name.as_bytes());
                while let (Ok(()), Ok(length @ 1..)) = (&said, stream.read(&mut buffer)) {
                    said = stream.write_all(&buffer[..length]);
                }
            });
        }
    });
    let socket = space.enter(|| UdpSocket::bind(("0.0.0.0", 53)).unwrap());
    std::thread::spawn(move || {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 16]) {
            let _ = socket.send_to(name.as_bytes(), from);
        }
    });
}

/// A connection to one of them.
struct Call {
    stream: TcpStream,
    to: String,
}

impl Call {
    /// From the calling thread's namespace.
    fn begin(to: SocketAddr) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&to, SOON)?;
        stream.set_read_timeout(Some(SOON))?;
        let mut name = [0; 2];
        stream.read_exact(&mut name)?;
        Ok(Self { stream, to: String::from_utf8_lossy(&name).into_owned() })
    }

    fn goes_on(&mut self) -> std::io::Result<()> {
        self.stream.write_all(b"word")?;
        self.stream.read_exact(&mut [0; 4])
    }
}

/// How many of `calls` new connections each machine gets.
fn spread(from: &Namespace, to: &str, calls: usize) -> BTreeMap<String, usize> {
    let to = at(to);
    from.enter(|| {
        let mut all = BTreeMap::new();
        for n in 0..calls {
            let call = Call::begin(to).unwrap_or_else(|error| panic!("connection {n} to {to}: {error}"));
            *all.entry(call.to).or_default() += 1;
        }
        all
    })
}

/// As many each.
fn each(machines: &[&str], count: usize) -> BTreeMap<String, usize> {
    machines.iter().map(|name| ((*name).to_owned(), count)).collect()
}

#[test]
fn connections_are_shared_out_evenly_among_those_in_service() {
    on_a_host(|host| async move {
        for gateway in ["per-machine", "host"] {
            let (mut record, guests) = up(&host, gateway).await;
            let began = Instant::now();
            let all = spread(&host.world, SHARED, 300);
            println!("{gateway}: 300 connections in {:?}: {all:?}", began.elapsed());
            assert_eq!(all, each(&MACHINES, 100));
            // From the machines themselves, by the host's address; one of the three is who asks.
            assert_eq!(spread(&guests[0].space, "10.86.255.254:8080", 30), each(&MACHINES, 10));

            put(&host, &mut record, "m2", Some(silent())).await;
            assert_eq!(spread(&host.world, SHARED, 60), each(&["m1", "m3"], 30));
            put(&host, &mut record, "m3", Some(Out::Stopped)).await;
            assert_eq!(spread(&host.world, SHARED, 20), each(&["m1"], 20));
            // A probe that fails everywhere may be at fault itself: all are tried.
            for machine in ["m1", "m3"] {
                put(&host, &mut record, machine, Some(silent())).await;
            }
            assert_eq!(spread(&host.world, SHARED, 30), each(&MACHINES, 10));
            host.network.remove(record.id).await.unwrap();
        }
    });
}

#[test]
fn a_change_of_who_is_in_service_moves_no_connection_and_loses_none() {
    on_a_host(|host| async move {
        for gateway in ["per-machine", "host"] {
            let (mut record, _guests) = up(&host, gateway).await;
            let mut calls = host.world.enter(|| {
                let calls = (0..3).map(|_| Call::begin(at(SHARED)).unwrap());
                calls.map(|call| (call.to.clone(), call)).collect::<BTreeMap<_, _>>()
            });
            assert_eq!(calls.keys().collect::<Vec<_>>(), MACHINES);

            // A transfer with m1 goes on while m2 comes and goes.
            let bulk = host.world.enter(|| {
                loop {
                    let call = Call::begin(at(SHARED)).unwrap();
                    if call.to == "m1" {
                        return call.stream;
                    }
                }
            });
            let enough = Arc::new(AtomicBool::new(false));
            let until = enough.clone();
            let transfer = std::thread::spawn(move || transfer(bulk, &until));
            for n in 0..10 {
                put(&host, &mut record, "m2", (n % 2 == 0).then(silent)).await;
            }
            enough.store(true, Ordering::Relaxed);
            let sent = transfer.join().unwrap();
            println!("{gateway}: {} KiB came back as they were said, over ten changes", sent >> 10);
            assert!(sent > 1 << 20, "{sent}");

            // Who is out keeps the connections it has.
            put(&host, &mut record, "m2", Some(silent())).await;
            for (machine, call) in &mut calls {
                call.goes_on().unwrap_or_else(|error| panic!("{gateway}, {machine}: {error}"));
            }
            // Of a machine that has stopped, whoever says something is told at once.
            put(&host, &mut record, "m2", Some(Out::Stopped)).await;
            let began = Instant::now();
            let over = calls.get_mut("m2").unwrap().goes_on().unwrap_err();
            assert_eq!(over.kind(), ErrorKind::ConnectionReset, "{gateway}: {over}");
            assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
            for machine in ["m1", "m3"] {
                calls.get_mut(machine).unwrap().goes_on().unwrap();
            }
            host.network.remove(record.id).await.unwrap();
        }
    });
}

/// Says blocks and compares what comes back, until it is enough. Gives how much it was.
fn transfer(mut stream: TcpStream, enough: &AtomicBool) -> usize {
    let mut sent = 0;
    let mut block = [0; 4096];
    while !enough.load(Ordering::Relaxed) {
        for (n, byte) in block.iter_mut().enumerate() {
            *byte = ((sent + n) % 251) as u8;
        }
        stream.write_all(&block).unwrap();
        let mut back = [0; 4096];
        stream.read_exact(&mut back).unwrap();
        assert!(back == block, "after {sent} bytes");
        sent += block.len();
    }
    sent
}

#[test]
fn datagrams_of_one_sender_stay_with_one_machine() {
    on_a_host(|host| async move {
        let (mut record, _guests) = up(&host, "per-machine").await;
        let who = |socket: &UdpSocket| {
            socket.set_read_timeout(Some(SOON)).unwrap();
            socket.send(b"who").unwrap();
            let mut name = [0; 2];
            socket.recv(&mut name).unwrap();
            String::from_utf8_lossy(&name).into_owned()
        };
        let sockets: Vec<UdpSocket> =
            (0..60).map(|_| host.world.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap())).collect();
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        for socket in &sockets {
            socket.connect(at("203.0.113.1:5353")).unwrap();
            let name = who(socket);
            assert_eq!(who(socket), name);
            *first.entry(name).or_default() += 1;
        }
        println!("60 senders: {first:?}");
        assert!(first.len() == 3 && first.values().all(|count| *count >= 8), "{first:?}");
        // Who is new goes to those in service.
        put(&host, &mut record, "m3", Some(silent())).await;
        let fresh = host.world.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        fresh.connect(at("203.0.113.1:5353")).unwrap();
        assert_ne!(who(&fresh), "m3");
    });
}
