//! Tenants with equal names and addresses, spread over three hosts in two physical subnets, on the real kernel.
#![allow(missing_docs)]

mod common;

use std::net::{Ipv4Addr, SocketAddr};

use common::{
    Namespace,
    fabric::{Fabric, TestSwitch, mac_of, nvgre, subnet},
    talk::{Datagrams, echo, tcp_begins},
};
use wardian_model::{mac::MacAddress, vsid::Vsid};
use wardian_network::filter::{Reason, Uplink};
use wardian_plan::fabric::{Encapsulation, HostPolicy, Seat, Subnet};

/// A tenant: one guest on each host.
struct Tenant {
    subnet: Subnet,
    _switches: Vec<TestSwitch>,
    guests: Vec<Namespace>,
}

fn tenant(fabric: &mut Fabric, name: &str, subnet: Subnet) -> Tenant {
    let (mut switches, mut guests) = (Vec::new(), Vec::new());
    for host in 0..fabric.hosts.len() {
        let switch = fabric.switch(host, name, &subnet, None);
        let seat = subnet.seats[host];
        guests.push(fabric.guest(&switch, &format!("{name}-{host}"), &subnet, &seat, "192.168.23.254"));
        switches.push(switch);
    }
    Tenant { subnet, _switches: switches, guests }
}

fn red_and_blue(encapsulation: Encapsulation) -> (Fabric, Tenant, Tenant) {
    red_and_blue_on(Fabric::new(3), encapsulation)
}

fn red_and_blue_on(mut fabric: Fabric, encapsulation: Encapsulation) -> (Fabric, Tenant, Tenant) {
    let hosts: Vec<_> = fabric.hosts.iter().map(|host| host.provider).collect();
    let (red, blue) = (subnet(5001, 1, encapsulation, 23, &hosts), subnet(6001, 2, encapsulation, 23, &hosts));
    let (red, blue) = (tenant(&mut fabric, "red", red), tenant(&mut fabric, "blue", blue));
    fabric.know(&[red.subnet.clone(), blue.subnet.clone()]);
    (fabric, red, blue)
}

fn at(n: usize, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 168, 23, u8::try_from(n + 1).unwrap()), port))
}

/// A busy machine takes its time.
fn patiently<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    (0..5).find_map(|_| attempt())
}

fn reaches(mut attempt: impl FnMut() -> bool) -> bool {
    patiently(|| attempt().then_some(())).is_some()
}

/// How many echo requests a computer has received.
fn echo_requests(space: &Namespace) -> u64 {
    let text = space.run("cat /proc/net/snmp");
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("Icmp: ")).map(str::split_whitespace);
    let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
    names.zip(values).find(|(name, _)| *name == "InEchos").unwrap().1.parse().unwrap()
}

fn everybody_reaches_their_own_and_nobody_else(fabric: Fabric, encapsulation: Encapsulation) {
    let (fabric, red, blue) = red_and_blue_on(fabric, encapsulation);
    let mut servers = Vec::new();
    for (name, tenant) in [("red", &red), ("blue", &blue)] {
        for (n, guest) in tenant.guests.iter().enumerate() {
            servers.push(guest.listen(80, &format!("{name}-{n}")));
            echo(guest, &[], &[53]);
        }
    }
    let mut wrong = Vec::new();
    for (name, tenant) in [("red", &red), ("blue", &blue)] {
        for (from, guest) in tenant.guests.iter().enumerate() {
            for to in 0..tenant.guests.len() {
                let said = patiently(|| guest.fetch(&at(to, 80).to_string())).unwrap_or_default();
                let answers = [
                    said.split(' ').next() == Some(&format!("{name}-{to}")),
                    reaches(|| Datagrams::new(guest, at(to, 53)).pass()),
                    reaches(|| guest.pings(at(to, 0).ip())),
                ];
                if answers != [true; 3] {
                    wrong.push((name, from, to, answers, said));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    for host in &fabric.hosts {
        let counters = host.counters();
        for vsid in [red.subnet.vsid, blue.subnet.vsid] {
            let carried = counters.carried[&vsid];
            assert!(carried.packets_in > 0 && carried.packets_out > 0, "{counters:?}");
        }
        // Switches ask for groups, and computers for IPv6 neighbours.
        let expected = [Reason::NotIpv4, Reason::NotCarried];
        assert!(counters.dropped.iter().all(|(reason, n)| *n == 0 || expected.contains(reason)), "{counters:?}");
    }
    // A tenant that leaves the second host is not there any more, for anybody; the other is.
    let mut fabric = fabric;
    let mut smaller = red.subnet.clone();
    smaller.seats.retain(|seat| seat.provider != fabric.hosts[1].provider);
    fabric.know(&[smaller, blue.subnet.clone()]);
    assert!(!red.guests[0].pings("192.168.23.2") && reaches(|| red.guests[0].pings("192.168.23.3")));
    assert!(reaches(|| blue.guests[0].pings("192.168.23.2")));
}

#[test]
fn two_tenants_of_one_inside_reach_their_own_over_nvgre() {
    everybody_reaches_their_own_and_nobody_else(Fabric::new(3), Encapsulation::Nvgre);
}

#[test]
fn two_tenants_of_one_inside_reach_their_own_over_vxlan() {
    everybody_reaches_their_own_and_nobody_else(Fabric::new(3), Encapsulation::Vxlan);
}

#[test]
fn two_tenants_of_one_inside_reach_their_own_by_rewritten_addresses() {
    everybody_reaches_their_own_and_nobody_else(Fabric::new(3), Encapsulation::IpRewrite);
}

#[test]
fn two_tenants_of_one_inside_reach_their_own_where_drivers_take_envelopes_off() {
    for encapsulation in Encapsulation::ALL {
        everybody_reaches_their_own_and_nobody_else(Fabric::early(3), encapsulation);
    }
}

/// An envelope with an ICMP echo request in it, as anybody who may send raw packets can make it.
struct Envelope {
    from: Ipv4Addr,
    to: Ipv4Addr,
    vsid: u32,
    source: [u8; 6],
    target: [u8; 6],
    inner_from: Ipv4Addr,
    inner_to: Ipv4Addr,
}

impl Envelope {
    fn nvgre(&self) -> Vec<u8> {
        let builder = etherparse::PacketBuilder::ethernet2(self.source, self.target)
            .ipv4(self.inner_from.octets(), self.inner_to.octets(), 64)
            .icmpv4_echo_request(7, 1);
        let mut inner = Vec::new();
        builder.write(&mut inner, b"forged").unwrap();
        nvgre(self.from, self.to, self.vsid, &inner)
    }
}

#[test]
fn forged_envelopes_are_dropped_and_counted() {
    forged_envelopes_are_dropped(Fabric::new(3));
}

#[test]
fn forged_envelopes_are_dropped_and_counted_where_drivers_take_them_off() {
    forged_envelopes_are_dropped(Fabric::early(3));
}

fn forged_envelopes_are_dropped(fabric: Fabric) {
    let (fabric, red, blue) = red_and_blue_on(fabric, Encapsulation::Nvgre);
    let [a, b, c] = [0, 1, 2].map(|n| fabric.hosts[n].provider);
    let stranger = fabric.stranger("stranger", Ipv4Addr::new(10, 2, 0, 77));
    let mac = |tenant: &Tenant, n: usize| tenant.subnet.seats[n].mac.bytes();
    // As the guest on the third host, to the one on the second.
    let right = || Envelope {
        from: c,
        to: b,
        vsid: 5001,
        source: mac(&red, 2),
        target: mac(&red, 1),
        inner_from: Ipv4Addr::new(192, 168, 23, 3),
        inner_to: Ipv4Addr::new(192, 168, 23, 2),
    };
    // How many of three arrive, there and at the other tenant.
    let received = |envelope: Envelope, sender: &Namespace, expected: u64| {
        let arrived = || [&red, &blue].map(|tenant| echo_requests(&tenant.guests[1]));
        let before = arrived();
        for _ in 0..3 {
            sender.send_packet(&envelope.nvgre());
        }
        // What shall come is waited for; what shall not has been looked at when the sender has sent it, and a little
        // later.
        let seen = || [0, 1].map(|n| arrived()[n] - before[n]);
        (0..50).take_while(|n| *n == 0 || seen()[0] < expected).for_each(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
        });
        seen()
    };
    // From the host whose it is, it arrives; so what follows is dropped for what is wrong with it.
    assert_eq!(received(right(), &fabric.hosts[2].space, 3), [3, 0]);
    let dropped = |reason| fabric.dropped(reason);
    let from_c = &fabric.hosts[2].space;
    for (what, reason, sender, envelope) in [
        ("a subnet nobody has", Reason::NoSwitch, from_c, Envelope { vsid: 7777, ..right() }),
        ("a reserved subnet", Reason::NoSwitch, from_c, Envelope { vsid: 17, ..right() }),
        ("the subnet that is none", Reason::NoSwitch, from_c, Envelope { vsid: 0, ..right() }),
        ("another's hardware address", Reason::ForgedMac, from_c, Envelope { source: mac(&red, 0), ..right() }),
        ("nobody's hardware address", Reason::ForgedMac, from_c, Envelope { source: [2, 9, 9, 9, 9, 9], ..right() }),
        (
            "another's customer address",
            Reason::ForgedAddress,
            from_c,
            Envelope { inner_from: Ipv4Addr::new(192, 168, 23, 1), ..right() },
        ),
        ("a receiver elsewhere", Reason::UnknownDestination, from_c, Envelope { target: mac(&red, 0), ..right() }),
        (
            "a stranger's provider address",
            Reason::UnknownSender,
            &stranger,
            Envelope { from: Ipv4Addr::new(10, 2, 0, 77), ..right() },
        ),
        // The other's provider address, with the machine that is on neither: told apart by where the machine is.
        ("another host's provider address", Reason::ForgedMac, &stranger, Envelope { from: a, ..right() }),
    ] {
        let before = dropped(reason);
        assert_eq!(received(envelope, sender, 0), [0, 0], "{what}");
        assert_eq!(dropped(reason), before + 3, "{what}");
    }
    // On the same wire in another network (802.1Q) than the provider address; with a priority, in the same.
    let [to, from] = [1, 2].map(|n| mac_of(&fabric.hosts[n].space, "eth0").bytes());
    for (tag, expected) in [(&[][..], 3), (&[0x81, 0, 0, 7], 0), (&[0x81, 0, 0xe0, 0], 3)] {
        let before = echo_requests(&red.guests[1]);
        from_c.send_frames(&[&to, &from, tag, &[8, 0], &right().nvgre()].concat(), 3);
        std::thread::sleep(std::time::Duration::from_secs(1));
        assert_eq!(echo_requests(&red.guests[1]) - before, expected, "{tag:02x?}");
    }
}

#[test]
fn frames_of_a_switch_that_nobody_there_may_send_are_dropped_and_counted() {
    let (fabric, red, _blue) = red_and_blue(Encapsulation::Nvgre);
    let first = &red.guests[0];
    assert!(reaches(|| first.pings("192.168.23.2")));
    // Another's address, another's hardware address, one that nobody has.
    first.run("ip address add 192.168.23.77/24 dev eth0");
    assert!(first.attempt("ping -c1 -W1 -I 192.168.23.77 192.168.23.2").is_none());
    assert_eq!(fabric.dropped(Reason::ForgedAddress), 1);
    first.run("ip neigh replace 192.168.23.2 dev eth0 nud permanent lladdr 02:09:09:09:09:09");
    assert!(!first.pings("192.168.23.2"));
    assert_eq!(fabric.dropped(Reason::UnknownDestination), 1);
    first.run("ip neigh del 192.168.23.2 dev eth0");
    first.run("ip link set eth0 address 02:09:09:09:09:01");
    // ARP is answered to whoever asks; nothing else comes through.
    assert!(!first.pings("192.168.23.2"));
    assert!(fabric.dropped(Reason::ForgedMac) > 0);
    // An address that nobody has gets no answer.
    let arping = |address: &str| first.attempt(&format!("busybox arping -c1 -w1 -I eth0 {address}"));
    assert!(arping("192.168.23.2").is_some());
    assert!(arping("192.168.23.99").is_none());
}

#[test]
fn addresses_that_share_a_hardware_address_are_let_through_one_by_one() {
    let mut fabric = Fabric::new(2);
    let hosts: Vec<_> = fabric.hosts.iter().map(|host| host.provider).collect();
    let mut all = subnet(5001, 1, Encapsulation::Nvgre, 23, &hosts);
    let second = |seat: &Seat| Seat { address: Ipv4Addr::from(u32::from(seat.address) + 100), ..*seat };
    all.seats.extend(all.seats.clone().iter().map(second));
    let tenant = tenant(&mut fabric, "edges", all.clone());
    for (n, guest) in tenant.guests.iter().enumerate() {
        guest.run(&format!("ip address add {}/24 dev eth0", all.seats[n + 2].address));
    }
    fabric.know(std::slice::from_ref(&all));
    let first = &tenant.guests[0];
    let pings =
        |from: u8, to: u8| first.attempt(&format!("ping -c1 -W1 -I 192.168.23.{from} 192.168.23.{to}")).is_some();
    for (from, to) in [(1, 2), (1, 102), (101, 2), (101, 102)] {
        assert!(reaches(|| pings(from, to)), "{from} to {to}");
    }
    assert_eq!((fabric.dropped(Reason::ForgedAddress), fabric.dropped(Reason::ForgedMac)), (0, 0));
    // One address of two is given up, on either side; the other stays, and so does who has the hardware address.
    for gone in [2, 3] {
        let mut fewer = all.clone();
        fewer.seats.remove(gone);
        fabric.know(&[fewer]);
        assert!(reaches(|| pings(1, 2)));
        let seen = || (fabric.dropped(Reason::ForgedAddress), echo_requests(&tenant.guests[1]));
        let (dropped, heard) = seen();
        let (from, to) = if gone == 2 { (101, 2) } else { (1, 102) };
        assert!(!pings(from, to), "{from} to {to}");
        // Who is not told any more is asked all the same, for its hardware address is there: no answer leaves.
        assert_eq!(seen(), (dropped + 1, heard + u64::from(gone == 3)));
    }
    // The last of two takes the hardware address with it.
    let mut nobody = all.clone();
    nobody.seats.retain(|seat| seat.provider == hosts[0]);
    nobody.seats.push(Seat { address: "192.168.23.9".parse().unwrap(), mac: MacAddress::local(9), ..all.seats[1] });
    fabric.know(&[nobody]);
    let before = fabric.dropped(Reason::UnknownDestination);
    assert!(!pings(1, 2));
    assert!(fabric.dropped(Reason::UnknownDestination) > before);
}

#[test]
fn subnets_of_a_domain_route_on_every_host_and_domains_do_not() {
    let mut fabric = Fabric::new(3);
    let hosts: Vec<_> = fabric.hosts.iter().map(|host| host.provider).collect();
    let front = subnet(5001, 1, Encapsulation::Nvgre, 23, &hosts[..1]);
    let back = subnet(5002, 1, Encapsulation::Nvgre, 24, &hosts[1..2]);
    let foreign = subnet(6001, 2, Encapsulation::Nvgre, 25, &hosts[..1]);
    let mut spaces = Vec::new();
    for host in 0..2 {
        let switch = fabric.switch(host, "tenant", &front, Some("192.168.23.254/24"));
        fabric.add_bridge(host, &switch, &back, Some("192.168.24.254/24"));
        spaces.push(switch);
    }
    let other = fabric.switch(0, "foreign", &foreign, Some("192.168.25.254/24"));
    let web = fabric.guest(&spaces[0], "web", &front, &front.seats[0], "192.168.23.254");
    let db = fabric.guest(&spaces[1], "db", &back, &back.seats[0], "192.168.24.254");
    let alien = fabric.guest(&other, "alien", &foreign, &foreign.seats[0], "192.168.25.254");
    fabric.know(&[front.clone(), back.clone(), foreign]);
    let _servers = [db.listen(80, "db"), web.listen(80, "web")];
    assert_eq!(patiently(|| web.fetch("192.168.24.1")).as_deref(), Some("db to 192.168.23.1"));
    assert_eq!(patiently(|| db.fetch("192.168.23.1")).as_deref(), Some("web to 192.168.24.1"));
    // The path stays short: one hop each way, on the sender's host.
    assert!(patiently(|| web.attempt("ping -c1 -W1 192.168.24.1")).unwrap().contains("ttl=63"));
    assert!(!alien.pings("192.168.24.1") && !alien.pings("192.168.23.1") && !web.pings("192.168.25.1"));
}

#[test]
fn what_does_not_fit_is_told_to_its_sender_and_bulk_traffic_goes_through() {
    let (fabric, red, _blue) = red_and_blue(Encapsulation::Nvgre);
    let (first, second) = (&red.guests[0], &red.guests[1]);
    let body: Vec<u8> = (0..4_000_000u32).flat_map(|n| (n as u8 ^ (n >> 8) as u8).to_be_bytes()).collect();
    let _server = second.listen_with(80, body.clone());
    let got = first.attempt("curl -s --noproxy '*' --max-time 60 http://192.168.23.2/ | wc -c").unwrap();
    assert_eq!(got.trim().parse::<usize>().unwrap(), body.len());
    // A guest that believes in 1500 bytes is told better, and believes it.
    first.run("ip link set eth0 mtu 1500");
    let switch = Namespace::path(&red._switches[0].space);
    common::run(&format!("nsenter --net={} ip link set br5001 mtu 1500", switch.display()));
    for port in ["up5001", "p5001-1"] {
        common::run(&format!("nsenter --net={} ip link set {port} mtu 1500", switch.display()));
    }
    fabric.hosts[0].space.run("ip link set w5001 mtu 1500");
    let said =
        common::attempt(&format!("nsenter --net={} ping -c2 -W1 -M do -s 1472 192.168.23.2", first.path().display()));
    assert!(said.as_ref().is_err_and(|said| said.contains("mtu = 1458") || said.contains("mtu=1458")), "{said:?}");
    assert!(first.run("ip route get 192.168.23.2").contains("mtu 1458"));
    let got = first.attempt("curl -s --noproxy '*' --max-time 60 http://192.168.23.2/ | wc -c").unwrap();
    assert_eq!(got.trim().parse::<usize>().unwrap(), body.len());
}

#[test]
fn traffic_goes_on_while_no_daemon_runs_and_while_the_next_one_begins() {
    traffic_goes_on(Fabric::new(3));
}

#[test]
fn traffic_goes_on_where_drivers_take_envelopes_off() {
    traffic_goes_on(Fabric::early(3));
}

fn traffic_goes_on(fabric: Fabric) {
    let (mut fabric, red, blue) = red_and_blue_on(fabric, Encapsulation::Nvgre);
    echo(&red.guests[1], &[81], &[]);
    assert!(reaches(|| red.guests[0].pings("192.168.23.2")));
    let pings = red.guests[0].start("ping -i 0.005 -c 400 -W 5 -q 192.168.23.2");
    let (here, mtu) = (fabric.hosts[0].provider, Encapsulation::Nvgre.guest_mtu(1500));
    let uplinks: Vec<_> = [&red, &blue]
        .map(|tenant| Uplink {
            vsid: tenant.subnet.vsid,
            domain: tenant.subnet.domain,
            device: format!("w{}", tenant.subnet.vsid),
            underlay: "eth0".to_owned(),
            here,
            encapsulation: Encapsulation::Nvgre,
            mtu,
        })
        .into();
    for _ in 0..3 {
        fabric.hosts[0].reopen(&uplinks);
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    let said = pings.ends(std::time::Duration::from_secs(60));
    assert!(said.contains("400 packets transmitted, 400 received, 0% packet loss"), "{said}");
    // What was counted before is still counted.
    assert!(fabric.hosts[0].counters().carried[&red.subnet.vsid].packets_out >= 400);
    assert!(reaches(|| tcp_begins(&red.guests[0], "192.168.23.2:81".parse().unwrap())));
    let vsid = Vsid::try_from(5001).unwrap();
    fabric.hosts[0].filter.disconnect(vsid).unwrap();
    fabric.hosts[0].filter.disconnect(vsid).unwrap();
    assert!(!red.guests[0].pings("192.168.23.2") && reaches(|| blue.guests[0].pings("192.168.23.2")));
}

/// Takes a row away that a killed daemon would not have come to write.
fn tear<K: aya::Pod, V: aya::Pod>(fabric: &Fabric, table: &str) {
    let map = aya::maps::MapData::from_pin(fabric.hosts[0].pins.join(table)).unwrap();
    let mut table: aya::maps::HashMap<_, K, V> = aya::maps::Map::HashMap(map).try_into().unwrap();
    let first = table.keys().next().unwrap().unwrap();
    table.remove(&first).unwrap();
}

#[test]
fn what_the_filter_knows_is_read_back_and_what_a_killed_daemon_has_half_written_is_mended() {
    for encapsulation in [Encapsulation::Nvgre, Encapsulation::Vxlan, Encapsulation::IpRewrite] {
        let (mut fabric, red, blue) = red_and_blue(encapsulation);
        for host in &fabric.hosts {
            assert_eq!(host.filter.known().unwrap(), host.policy);
        }
        let torn: &[fn(&Fabric)] = &[
            |fabric| tear::<[u8; 12], [u8; 4]>(fabric, "stations"),
            |fabric| tear::<[u8; 8], [u8; 12]>(fabric, "addresses"),
            |fabric| tear::<[u8; 8], u8>(fabric, "peers"),
            |fabric| tear::<u32, [u8; 132]>(fabric, "floods"),
            |fabric| tear::<[u8; 8], [u8; 4]>(fabric, "outsides"),
        ];
        let torn = if encapsulation == Encapsulation::IpRewrite { torn } else { &torn[..4] };
        for (n, torn) in torn.iter().enumerate() {
            torn(&fabric);
            fabric.hosts[0].policy = fabric.hosts[0].filter.known().unwrap();
            fabric.know(&[red.subnet.clone(), blue.subnet.clone()]);
            assert_eq!(fabric.hosts[0].filter.known().unwrap(), fabric.hosts[0].policy, "{n}");
            torn(&fabric);
            // What nobody wants any more goes altogether, also where it is half there only.
            fabric.hosts[0].policy = fabric.hosts[0].filter.known().unwrap();
            fabric.know(&[]);
            assert_eq!(fabric.hosts[0].filter.known().unwrap(), HostPolicy::default(), "{n}");
            fabric.know(&[red.subnet.clone(), blue.subnet.clone()]);
        }
        assert!(reaches(|| red.guests[0].pings("192.168.23.2")));
    }
}

#[test]
fn where_addresses_are_rewritten_errors_reach_who_they_are_about_and_strangers_reach_nobody() {
    let (fabric, red, blue) = red_and_blue(Encapsulation::IpRewrite);
    let (first, second) = (&red.guests[0], &red.guests[1]);
    assert!(reaches(|| first.pings("192.168.23.2")));
    let body: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_be_bytes).collect();
    let _server = second.listen_with(80, body.clone());
    let socket = first.enter(|| std::net::UdpSocket::bind("0.0.0.0:0").unwrap());
    socket.connect("192.168.23.2:9").unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
    // Checksums of whole segments and of pieces: those that devices write, and those that are there when a packet
    // leaves, which its receiver has to find right.
    for writes in ["on", "off"] {
        for host in &fabric.hosts {
            host.space.run(&format!("ethtool -K eth0 tx {writes}"));
        }
        let got = first.attempt("curl -s --noproxy '*' --max-time 60 http://192.168.23.2/ | wc -c").unwrap();
        assert_eq!(got.trim().parse::<usize>().unwrap(), body.len(), "devices write checksums: {writes}");
        assert!(reaches(|| first.attempt("ping -c1 -W1 -s 6000 192.168.23.2").is_some()), "in pieces");
        // "Port unreachable" quotes a packet; only if it quotes the sender's own addresses, the kernel there finds
        // whose it was.
        let refused = reaches(|| {
            let _ = socket.send(b"word");
            socket.recv(&mut [0; 9]).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
        });
        assert!(refused, "no error comes back; devices write checksums: {writes}");
    }
    // What the physical network sees are provider addresses.
    let own = |tenant: &Tenant, n: usize| tenant.subnet.seats[n].own.unwrap();
    let stranger = fabric.stranger("stranger", Ipv4Addr::new(10, 2, 0, 77));
    let before = fabric.dropped(Reason::UnknownSender);
    let heard = echo_requests(second);
    assert!(!stranger.pings(own(&red, 1)));
    assert_eq!((fabric.dropped(Reason::UnknownSender), echo_requests(second)), (before + 1, heard));
    // As a machine of the other tenant; as one that runs on the receiver's own host.
    let forged = |from: Ipv4Addr| {
        let mut packet = Vec::new();
        let to = own(&red, 1).octets();
        let builder = etherparse::PacketBuilder::ipv4(from.octets(), to, 64).icmpv4_echo_request(7, 1);
        builder.write(&mut packet, b"forged").unwrap();
        stranger.send_packet(&packet);
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    forged(own(&blue, 2));
    assert_eq!((fabric.dropped(Reason::UnknownSender), echo_requests(second)), (before + 2, heard));
    let before = fabric.dropped(Reason::ForgedAddress);
    forged(own(&red, 1));
    assert_eq!((fabric.dropped(Reason::ForgedAddress), echo_requests(second)), (before + 1, heard));
}
