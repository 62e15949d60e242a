//! Envelopes taken off by the driver (XDP): streams that the wire has cut arrive in large segments, nothing of one
//! sender or subnet is ever joined with another's, and where the driver does not, all goes as it went.
#![allow(missing_docs)]

mod common;

use std::{net::Ipv4Addr, thread, time::Duration};

use common::{
    Namespace, Sniffer,
    cluster::{Cluster, ClusterHost},
    fabric::{Fabric, TestSwitch, nvgre, subnet},
};
use wardian_model::encapsulation::Decapsulation;
use wardian_network::{
    DecapsulationPlace, UnderlayError,
    filter::{Filter, Reason},
};
use wardian_plan::fabric::{Encapsulation, Subnet};

/// What one packet of a stream carries here, in bytes.
const PIECE: usize = 400;
const HEADERS: usize = 14 + 20 + 20;

/// The hosts' devices are like cards: they cut, and the kernel joins.
fn cards() -> Fabric {
    let fabric = Fabric::early(2);
    fabric.hosts.iter().for_each(|host| drop(host.space.run("ethtool -K eth0 gro on")));
    fabric
}

/// Machine 1 of a subnet on the first of two hosts, machine 2 on the second.
struct Tenant {
    subnet: Subnet,
    guests: [Namespace; 2],
    _switches: [TestSwitch; 2],
}

fn tenant(fabric: &mut Fabric, vsid: u32, encapsulation: Encapsulation) -> Tenant {
    let hosts = [fabric.hosts[0].provider, fabric.hosts[1].provider];
    let subnet = subnet(vsid, vsid, encapsulation, 23, &hosts);
    let switches = [0, 1].map(|host| fabric.switch(host, &format!("s{vsid}"), &subnet, None));
    let guests =
        [0, 1].map(|n| fabric.guest(&switches[n], &format!("{vsid}-{n}"), &subnet, &subnet.seats[n], "192.168.23.254"));
    Tenant { subnet, guests, _switches: switches }
}

fn a_stream_arrives_in_large_segments(encapsulation: Encapsulation) {
    let mut fabric = cards();
    let red = tenant(&mut fabric, 5001, encapsulation);
    fabric.know(std::slice::from_ref(&red.subnet));
    let [client, server] = &red.guests;
    let body: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_be_bytes).collect();
    let _server = server.listen_with(80, body.clone());
    assert!((0..5).any(|_| client.pings("192.168.23.2")));
    let (wire, inside) = (fabric.hosts[0].space.sniff(), client.sniff());
    let got = fabric.folder.path().join("got");
    client.run(&format!("curl -s --noproxy '*' --max-time 30 -o {} http://192.168.23.2/", got.display()));
    assert!(std::fs::read(got).unwrap() == body, "another body");
    // What is seen of a device is seen after its driver.
    let own = fabric.hosts[0].provider.octets();
    let envelope = |frame: &&Vec<u8>| frame[12..14] == [8, 0] && frame[30..34] == own;
    assert_eq!(wire.frames().iter().filter(envelope).count(), 0, "envelopes come past the driver");
    let longest = inside.frames().iter().map(Vec::len).max().unwrap();
    assert!(longest > 4 * 1500, "the longest frame has {longest} bytes");
    assert!(fabric.hosts[0].counters().carried[&red.subnet.vsid].packets_in < 2000);
}

#[test]
fn a_stream_that_the_wire_has_cut_arrives_in_large_segments_over_nvgre() {
    a_stream_arrives_in_large_segments(Encapsulation::Nvgre);
}

#[test]
fn a_stream_that_the_wire_has_cut_arrives_in_large_segments_over_vxlan() {
    a_stream_arrives_in_large_segments(Encapsulation::Vxlan);
}

#[test]
fn a_tap_as_qemu_has_it_gets_large_segments_too() {
    let mut fabric = cards();
    let hosts = [fabric.hosts[0].provider, fabric.hosts[1].provider];
    let subnet = subnet(5001, 1, Encapsulation::Nvgre, 23, &hosts);
    let switches = [0, 1].map(|host| fabric.switch(host, "s", &subnet, None));
    let guests = [0, 1].map(|n| fabric.guest_at_tap(&switches[n], &format!("tap-{n}"), &subnet, &subnet.seats[n]));
    fabric.know(std::slice::from_ref(&subnet));
    let [client, server] = guests.each_ref().map(|guest| &guest.space);
    let _server = server.listen_with(80, vec![7; 4_000_000]);
    assert!((0..5).any(|_| client.pings("192.168.23.2")));
    let inside = client.sniff();
    let got = client.run("curl -s --noproxy '*' --max-time 30 http://192.168.23.2/ | wc -c");
    assert_eq!(got.trim(), "4000000");
    let longest = inside.frames().iter().map(Vec::len).max().unwrap();
    assert!(longest > 4 * 1500, "the longest frame has {longest} bytes");
}

/// A piece of one stream of machine 2 to machine 1, that says it comes from `sender` and is of subnet `vsid`.
fn piece(subnet: &Subnet, sender: Ipv4Addr, vsid: u32, letter: u8, number: u32) -> Vec<u8> {
    let [to, from] = [subnet.seats[0], subnet.seats[1]];
    let mut inner = Vec::new();
    etherparse::PacketBuilder::ethernet2(from.mac.bytes(), to.mac.bytes())
        .ipv4(from.address.octets(), to.address.octets(), 64)
        .tcp(4000, 5000, 1000 + number * PIECE as u32, 1000)
        .ack(77)
        .write(&mut inner, &[letter; PIECE])
        .unwrap();
    nvgre(sender, to.provider, vsid, &inner)
}

/// The payloads of that stream's frames.
fn payloads(sniffer: &Sniffer) -> Vec<Vec<u8>> {
    let ours = |frame: &Vec<u8>| frame.len() > HEADERS && frame[23] == 6 && frame[34..38] == [0x0f, 0xa0, 0x13, 0x88];
    sniffer.frames().into_iter().filter(ours).map(|frame| frame[HEADERS..].to_vec()).collect()
}

#[test]
fn packets_of_two_subnets_or_senders_are_never_joined() {
    let mut fabric = cards();
    let red = tenant(&mut fabric, 5001, Encapsulation::Nvgre);
    let blue = tenant(&mut fabric, 6001, Encapsulation::Nvgre);
    fabric.know(&[red.subnet.clone(), blue.subnet.clone()]);
    let stranger = Ipv4Addr::new(10, 2, 0, 77);
    let (sender, receiver) = (fabric.hosts[1].provider, &fabric.hosts[0].space);
    // The kernel joins what comes within 20 ms, as with a card that brings many packets at once.
    receiver.run("unshare -m sh -c 'mount -t sysfs none /sys; echo 20000000 > /sys/class/net/eth0/gro_flush_timeout'");
    let seen = |packets: &[Vec<u8>]| {
        let sniffers = [&red, &blue].map(|tenant| tenant.guests[0].sniff());
        fabric.hosts[1].space.send_packets(packets);
        thread::sleep(Duration::from_millis(200));
        sniffers.map(|sniffer| payloads(&sniffer))
    };
    let whole = |payloads: &[Vec<u8>]| payloads.iter().map(Vec::len).sum::<usize>();
    let are = |payloads: &[Vec<u8>], letter: u8| payloads.iter().flatten().all(|byte| *byte == letter);
    for _ in 0..5 {
        // One sender's are joined, so what follows says something.
        let alone: Vec<_> = (0..16).map(|n| piece(&red.subnet, sender, 5001, b'r', n)).collect();
        let [of_red, of_blue] = seen(&alone);
        assert_eq!((whole(&of_red), of_blue.len()), (16 * PIECE, 0));
        assert!(of_red.len() < 16, "none was joined");
        // The same machines of another subnet go on where the first has stopped.
        let turns = (0..16).map(|n| match n % 2 {
            0 => piece(&red.subnet, sender, 5001, b'r', n),
            _ => piece(&blue.subnet, sender, 6001, b'b', n),
        });
        let [of_red, of_blue] = seen(&turns.collect::<Vec<_>>());
        assert_eq!((whole(&of_red), whole(&of_blue)), (8 * PIECE, 8 * PIECE));
        assert!(are(&of_red, b'r') && are(&of_blue, b'b'));
        // So does a stranger, in the same subnet.
        let before = fabric.dropped(Reason::UnknownSender);
        let turns = (0..16).map(|n| match n % 2 {
            0 => piece(&red.subnet, sender, 5001, b'r', n),
            _ => piece(&red.subnet, stranger, 5001, b's', n),
        });
        let [of_red, of_blue] = seen(&turns.collect::<Vec<_>>());
        assert_eq!((whole(&of_red), of_blue.len()), (8 * PIECE, 0));
        assert!(are(&of_red, b'r') && fabric.dropped(Reason::UnknownSender) > before);
    }
}

/// Whether a driver's program is at the device.
fn has_xdp(space: &Namespace, device: &str) -> bool {
    space.run(&format!("ip link show {device}")).contains("xdp")
}

/// Whether `arrive` asks for notes at a device of a host: only where its own program writes them, for another's may
/// write whatever it likes.
fn believes_notes(host: &ClusterHost) -> bool {
    let map = aya::maps::MapData::from_pin(host.run_dir.join("bpf/faces")).unwrap();
    let faces: aya::maps::HashMap<_, u32, [u8; 8]> = aya::maps::Map::HashMap(map).try_into().unwrap();
    faces.iter().any(|face| face.unwrap().1[6..] != [0, 0])
}

#[test]
fn where_envelopes_are_taken_off_is_chosen_and_what_can_not_be_is_refused_or_done_after_the_driver() {
    let mut cluster = Cluster::new(2, Encapsulation::Nvgre);
    cluster.edge(0, 1, 1);
    cluster.edge(1, 2, 1);
    cluster.know();
    let address = cluster.edges[1].addresses[0];
    let pings = |cluster: &Cluster| {
        let edge = &cluster.edges[0];
        assert!((0..5).any(|_| edge.pings(edge.addresses[0], address)));
    };
    let place = |cluster: &Cluster| cluster.hosts[0].underlay().decapsulation().clone();
    // Namespaces are joined in memory.
    assert_eq!(place(&cluster), DecapsulationPlace::Tc { why: "eth0 is in memory only".to_owned() });
    assert!(!has_xdp(&cluster.hosts[0].space, "eth0"));
    pings(&cluster);
    for (wanted, is_there) in [(Decapsulation::Xdp, true), (Decapsulation::Xdp, true), (Decapsulation::Tc, false)] {
        cluster.hosts[0].decapsulation = wanted;
        cluster.hosts[0].reopen(Encapsulation::Nvgre).unwrap();
        assert_eq!(place(&cluster) == DecapsulationPlace::Xdp, is_there, "{wanted:?}");
        assert_eq!(has_xdp(&cluster.hosts[0].space, "eth0"), is_there, "{wanted:?}");
        assert_eq!(believes_notes(&cluster.hosts[0]), is_there, "{wanted:?}");
        cluster.know();
        pings(&cluster);
    }
    // Another's program stays where it is.
    let (host, provider) = (&cluster.hosts[0], cluster.hosts[0].provider);
    let pins = cluster.fabric.folder.path().join("another");
    let mac = common::fabric::mac_of(&host.space, "eth0").bytes();
    host.space.enter(|| Filter::open(&pins).unwrap().take_off_early("eth0", mac)).unwrap();
    cluster.hosts[0].decapsulation = Decapsulation::Xdp;
    let refused = cluster.hosts[0].open(provider, Encapsulation::Nvgre).unwrap_err();
    assert!(matches!(&refused, UnderlayError::NoXdp { device, .. } if device == "eth0"), "{refused}");
    assert!(!believes_notes(&cluster.hosts[0]));
    assert!(refused.to_string().contains("decapsulation = \"auto\""), "{refused}");
    pings(&cluster);
    cluster.hosts[0].space.enter(|| Filter::remove_all(&pins)).unwrap();
    assert!(!has_xdp(&cluster.hosts[0].space, "eth0"));
    // A driver that knows no programs.
    let space = &cluster.hosts[0].space;
    space.run("ip link add br9 type bridge");
    space.run("ip address add 10.9.9.9/24 dev br9");
    let refused = cluster.hosts[0].open(Ipv4Addr::new(10, 9, 9, 9), Encapsulation::Nvgre).unwrap_err();
    assert!(matches!(&refused, UnderlayError::NoXdp { device, .. } if device == "br9"), "{refused}");
    cluster.hosts[0].space.run("ip link del br9");
    // Who leaves takes all along.
    cluster.hosts[0].reopen(Encapsulation::Nvgre).unwrap();
    assert!(has_xdp(&cluster.hosts[0].space, "eth0"));
    cluster.hosts[0].leave();
    assert!(!has_xdp(&cluster.hosts[0].space, "eth0"));
}
