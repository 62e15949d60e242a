//! One stream, and requests with answers, between two hosts: through the filter, through the kernel's VXLAN device with
//! a bridge, and through bridges alone, in turns; a stream where there is much to look up in; a stream to a tap over a
//! wire that cuts it into packets, as one of copper does, with envelopes taken off by the device's driver and after it.
//! Prints a line for each ratio; `crowded` and `cut` ask for one part alone. `cargo xtask bench` runs it; it needs
//! root, and touches nothing outside of namespaces it makes.
#![allow(missing_docs, unused_crate_dependencies)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{net::Ipv4Addr, time::Duration};

use common::{
    Guest, Namespace,
    fabric::{Fabric, TestSwitch, subnet},
    open_tap,
};
use wardian_plan::fabric::{Change, Encapsulation, Lookup, Subnet};

/// Many short ones: what else happens on the machine then takes from all paths of a round alike, or spoils a round.
const ROUNDS: usize = 15;
const SECONDS: u32 = 1;

fn main() {
    // `cargo test` runs benches too, to see that they can: not this one.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let asked = |part: &str| std::env::args().any(|word| word == part);
    if asked("crowded") {
        return crowded();
    }
    if asked("cut") {
        return cut();
    }
    // The two hosts that are in one physical subnet: a router made of namespaces would cut segments in software.
    let mut fabric = Fabric::new(3);
    let nvgre = tenant(&mut fabric, 5001, Encapsulation::Nvgre);
    let vxlan = tenant(&mut fabric, 5002, Encapsulation::Vxlan);
    let rewrite = tenant(&mut fabric, 5003, Encapsulation::IpRewrite);
    fabric.know(&[nvgre.subnet.clone(), vxlan.subnet.clone(), rewrite.subnet.clone()]);
    let (kernel, plain) = (kernel(&fabric), plain(&fabric));
    let paths = [&nvgre.guests, &vxlan.guests, &rewrite.guests, &kernel.guests, &plain.guests];
    let (mut streams, mut rates) = ([(); 5].map(|()| Vec::new()), [(); 5].map(|()| Vec::new()));
    for round in 0..ROUNDS {
        for n in 0..paths.len() {
            // Each begins a round now and then.
            let path = (n + round) % paths.len();
            streams[path].push(stream(paths[path].each_ref()));
            rates[path].push(requests(paths[path]));
        }
    }
    for (unit, values) in [("Gb/s", &streams), ("requests/s", &rates)] {
        let [ours, vxlan, rewrite, kernel, plain] = values.each_ref().map(|values| median(values.clone()));
        eprintln!(
            "{unit}: NVGRE {ours:.2}, VXLAN {vxlan:.2}, IP rewrite {rewrite:.2}, the kernel's VXLAN {kernel:.2}, bridges {plain:.2}"
        );
    }
    let [ours, vxlan, rewritten, kernel, plain] = &streams;
    told("nvgre-throughput", ratio(ours, kernel));
    told("vxlan-throughput", ratio(vxlan, kernel));
    told("rewrite-throughput", ratio(rewritten, plain));
    let [ours, _, rewritten, kernel, plain] = &rates;
    told("nvgre-rr", ratio(ours, kernel));
    told("rewrite-rr", ratio(rewritten, plain));
    drop((nvgre, vxlan, rewrite, kernel, plain, fabric));
    crowded();
    cut();
}

/// A stream where there is little to look up in, and much.
fn crowded() {
    let mut fabric = Fabric::new(3);
    let nvgre = tenant(&mut fabric, 5001, Encapsulation::Nvgre);
    fabric.know(std::slice::from_ref(&nvgre.subnet));
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        few.push(stream(nvgre.guests.each_ref()));
        change(&mut fabric, &nvgre.subnet, crowd);
        many.push(stream(nvgre.guests.each_ref()));
        many.push(stream(nvgre.guests.each_ref()));
        change(&mut fabric, &nvgre.subnet, no_crowd);
        few.push(stream(nvgre.guests.each_ref()));
    }
    eprintln!("Gb/s: NVGRE with few machines {few:.1?}, with 100,000 {many:.1?}");
    told("policy-100k", ratio(&many, &few));
}

/// The same stream between machines with taps, as QEMU has them, over a wire that cuts it.
fn cut() {
    let wires = [Fabric::early(3), Fabric::new(3)].map(|mut fabric| {
        for host in &fabric.hosts {
            host.space.run("ethtool -K eth0 gro on");
        }
        for port in ["h1", "h2"] {
            fabric.router.run(&format!("ethtool -K {port} tso off"));
        }
        let subnet = subnet(5001, 1, Encapsulation::Nvgre, 23, &[fabric.hosts[1].provider, fabric.hosts[2].provider]);
        let switches = [0, 1].map(|host| fabric.switch(host + 1, "s5001", &subnet, None));
        let guests = [0, 1].map(|n| fabric.guest_at_tap(&switches[n], &format!("tap-{n}"), &subnet, &subnet.seats[n]));
        fabric.know(std::slice::from_ref(&subnet));
        (fabric, guests, switches)
    });
    let (kernel, _between) = kernel_with_taps(&wires[1].0);
    let (mut streams, paths) = ([(); 3].map(|()| Vec::new()), [&wires[0].1, &wires[1].1, &kernel]);
    for _ in 0..ROUNDS {
        for (path, streams) in paths.iter().zip(&mut streams) {
            streams.push(stream(path.each_ref().map(|guest| &guest.space)));
        }
    }
    let gain = ratio(&streams[0], &streams[1]);
    let [driver, after, kernel] = streams.map(median);
    eprintln!(
        "Gb/s to taps, cut: NVGRE by the driver {driver:.2}, after it {after:.2}, the kernel's VXLAN {kernel:.2}"
    );
    told("xdp-vs-tc", gain);
}

fn told(name: &str, value: f64) {
    println!("{name} {value:.4}");
}

/// The median of what the rounds say, each of what it measured itself.
fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Tenant {
    subnet: Subnet,
    _switches: [TestSwitch; 2],
    guests: [Namespace; 2],
}

fn tenant(fabric: &mut Fabric, vsid: u32, encapsulation: Encapsulation) -> Tenant {
    let subnet = subnet(vsid, vsid, encapsulation, 23, &[fabric.hosts[1].provider, fabric.hosts[2].provider]);
    let switches = [0, 1].map(|host| fabric.switch(host + 1, &format!("s{vsid}"), &subnet, None));
    let guests =
        [0, 1].map(|n| fabric.guest(&switches[n], &format!("{vsid}-{n}"), &subnet, &subnet.seats[n], "192.168.23.254"));
    Tenant { subnet, _switches: switches, guests }
}

struct Peer {
    guests: [Namespace; 2],
    _between: Vec<Namespace>,
}

/// The peer: on each host a bridge and a VXLAN device in the host's namespace, which is where such devices are. Its
/// port is another than the standard one, which is the filter's here.
fn kernel(fabric: &Fabric) -> Peer {
    let bridges = kernel_bridges(fabric);
    let guests = [0, 1].map(|n: usize| guest(fabric, "kernel", n, &bridges[n], KERNEL_MTU));
    assert!((0..5).any(|_| guests[0].pings("192.168.23.2")), "the kernel's VXLAN does not carry");
    Peer { guests, _between: bridges.into() }
}

const KERNEL_MTU: u16 = Encapsulation::Vxlan.guest_mtu(1500);

/// The same with machines at taps.
fn kernel_with_taps(fabric: &Fabric) -> ([Guest; 2], [Namespace; 2]) {
    let bridges = kernel_bridges(fabric);
    let guests = [0, 1].map(|n: usize| {
        let tap = bridges[n].enter(|| open_tap("t0"));
        bridges[n].run(&format!("ip link set t0 mtu {KERNEL_MTU} master br0 up"));
        let mac = wardian_model::mac::MacAddress::local(0x77_0000 + n as u32);
        let guest = Guest::new(fabric.folder.path().join(format!("kernel-tap-{n}")), tap, mac);
        guest.space.run(&format!("ip address add 192.168.23.{}/24 dev eth0", n + 1));
        guest.space.run(&format!("ip link set eth0 mtu {KERNEL_MTU} up"));
        guest
    });
    assert!((0..5).any(|_| guests[0].space.pings("192.168.23.2")), "the kernel's VXLAN does not carry");
    (guests, bridges)
}

fn kernel_bridges(fabric: &Fabric) -> [Namespace; 2] {
    let mtu = KERNEL_MTU;
    let providers = [fabric.hosts[1].provider, fabric.hosts[2].provider];
    [0, 1].map(|n: usize| {
        let (host, space) =
            (&fabric.hosts[n + 1].space, Namespace::new(fabric.folder.path().join(format!("kernel-{n}"))));
        space.run("ip link add br0 type bridge");
        space.run("ip link set br0 up");
        let (here, there) = (providers[n], providers[1 - n]);
        // Made on the host, so that its envelopes go by the host's network; used in the switch's namespace, as ours.
        host.run(&format!("ip link add vx0 mtu {mtu} type vxlan id 7 dstport 8472 local {here} remote {there}"));
        host.run(&format!("ip link set vx0 netns {}", space.path().display()));
        space.run("ip link set vx0 master br0 up");
        space
    })
}

/// The other peer: the same path with bridges alone.
fn plain(fabric: &Fabric) -> Peer {
    let mut between = Vec::new();
    let guests = [0, 1].map(|n: u8| {
        let host = fabric.stranger(&format!("plain{n}"), Ipv4Addr::new(10, 2, 0, 90 + n));
        let switch = Namespace::new(fabric.folder.path().join(format!("plain-switch-{n}")));
        for space in [&host, &switch] {
            space.run("ip link add br0 type bridge");
            space.run("ip link set br0 up");
        }
        host.run("ip link set eth0 master br0");
        switch.run(&format!("ip link add up0 type veth peer name w0 netns {}", host.path().display()));
        switch.run("ip link set up0 master br0 up");
        host.run("ip link set w0 master br0 up");
        let guest = guest(fabric, "plain", usize::from(n), &switch, 1500);
        between.extend([host, switch]);
        guest
    });
    assert!((0..5).any(|_| guests[0].pings("192.168.23.2")), "bridges do not carry");
    Peer { guests, _between: between }
}

/// A guest at `br0` of a switch.
fn guest(fabric: &Fabric, name: &str, n: usize, switch: &Namespace, mtu: u16) -> Namespace {
    let guest = Namespace::new(fabric.folder.path().join(format!("{name}-guest-{n}")));
    guest.run("ip link set lo up");
    guest.run(&format!("ip link add eth0 mtu {mtu} type veth peer name p0 netns {}", switch.path().display()));
    switch.run(&format!("ip link set p0 mtu {mtu} master br0 up"));
    guest.run(&format!("ip address add 192.168.23.{}/24 dev eth0", n + 1));
    guest.run("ip link set eth0 up");
    guest
}

/// One TCP stream, in Gb/s.
fn stream(guests: [&Namespace; 2]) -> f64 {
    let _server = guests[1].start("iperf3 -s -1 -p 5201");
    for _ in 0..50 {
        let said = guests[0].attempt(&format!("iperf3 -c 192.168.23.2 -p 5201 -t {SECONDS} -J")).unwrap_or_default();
        let said: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        if let Some(rate) = said["end"]["sum_received"]["bits_per_second"].as_f64() {
            return rate / 1e9;
        }
        // The server is not there yet.
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("iperf3 does not get through");
}

/// Requests of one byte with answers of one byte, one after the other, in 1/s.
fn requests(guests: &[Namespace; 2]) -> f64 {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        time::Instant,
    };
    let listener = guests[1].enter(|| TcpListener::bind(("0.0.0.0", 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() {
            stream.write_all(&byte).unwrap();
        }
    });
    let mut client = guests[0].enter(|| TcpStream::connect((Ipv4Addr::new(192, 168, 23, 2), port)).unwrap());
    client.set_nodelay(true).unwrap();
    let (began, mut count) = (Instant::now(), 0u32);
    while began.elapsed() < Duration::from_secs(u64::from(SECONDS)) {
        client.write_all(&[1]).unwrap();
        client.read_exact(&mut [0]).unwrap();
        count += 1;
    }
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    drop(client);
    server.join().unwrap();
    rate
}

/// Makes changes for another hundred thousand machines in the subnet, on another host.
fn change(fabric: &mut Fabric, subnet: &Subnet, changes: impl Fn(&Subnet, Ipv4Addr, Lookup) -> [Change; 2]) {
    for host in &mut fabric.hosts {
        for number in 0..100_000u32 {
            let mac = wardian_model::mac::MacAddress::local(0x1000_0000 + number);
            let lookup = Lookup { mac, provider: Ipv4Addr::new(10, 9, 9, 9), rewrite: None };
            for change in changes(subnet, Ipv4Addr::from(0x0b00_0000 + number), lookup) {
                host.filter.apply(&change).unwrap();
            }
        }
    }
}

fn crowd(subnet: &Subnet, address: Ipv4Addr, lookup: Lookup) -> [Change; 2] {
    let place = Change::Place { vsid: subnet.vsid, mac: lookup.mac, provider: lookup.provider };
    [place, Change::Know { vsid: subnet.vsid, address, lookup }]
}

fn no_crowd(subnet: &Subnet, address: Ipv4Addr, was: Lookup) -> [Change; 2] {
    let vacate = Change::Vacate { vsid: subnet.vsid, mac: was.mac };
    [vacate, Change::Forget { vsid: subnet.vsid, address, was }]
}
