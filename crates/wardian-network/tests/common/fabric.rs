//! Hosts joined by a physical network of two subnets with a router between them; on each host the filter, and the
//! switches of tenants' subnets with guests. All of it namespaces.

use std::{net::Ipv4Addr, path::Path};

use nix::mount::{MntFlags, umount2};
use wardian_model::{mac::MacAddress, vsid::Vsid};
use wardian_network::filter::{Filter, FilterCounters, Reason, Uplink};
use wardian_plan::fabric::{Encapsulation, HostPolicy, Seat, Subnet, compile, difference};

use super::{Guest, Namespace, open_tap};

/// What the physical network takes, unless a test says another.
pub const UNDERLAY_MTU: u16 = 1500;

/// The physical network: `hosts[0]` alone in 10.1.0.0/16, all others in 10.2.0.0/16.
pub struct Fabric {
    pub router: Namespace,
    pub hosts: Vec<FabricHost>,
    pub folder: tempfile::TempDir,
    /// What it takes, in bytes.
    pub mtu: u16,
    /// Whether drivers of hosts take envelopes off.
    early: bool,
}

/// A host: what it has of its own, and the filter.
pub struct FabricHost {
    pub space: Namespace,
    pub provider: Ipv4Addr,
    pub filter: Filter,
    /// What it was told last.
    pub policy: HostPolicy,
    pub pins: std::path::PathBuf,
    early: bool,
}

/// A subnet's switch on one host.
pub struct TestSwitch {
    pub space: Namespace,
}

impl Fabric {
    pub fn new(hosts: u8) -> Self {
        Self::with_mtu(hosts, UNDERLAY_MTU)
    }

    /// As [`Self::new`], with envelopes taken off by the drivers of all hosts.
    pub fn early(hosts: u8) -> Self {
        let mut fabric = Self::new(0);
        fabric.early = true;
        fabric.add_hosts(hosts);
        fabric
    }

    pub fn with_mtu(hosts: u8, mtu: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let router = Namespace::new(folder.path().join("router"));
        router.run("sysctl -qw net.ipv4.ip_forward=1");
        router.run("ip link set lo up");
        for subnet in [1, 2] {
            router.run(&format!("ip link add lan{subnet} type bridge"));
            router.run(&format!("ip address add 10.{subnet}.0.254/16 dev lan{subnet}"));
            router.run(&format!("ip link set lan{subnet} up"));
        }
        let mut fabric = Self { router, hosts: Vec::new(), folder, mtu, early: false };
        fabric.add_hosts(hosts);
        fabric
    }

    fn add_hosts(&mut self, hosts: u8) {
        for n in 0..hosts {
            let (subnet, number) = if n == 0 { (1, 1) } else { (2, n) };
            self.hosts.push(FabricHost::new(self, n, Ipv4Addr::new(10, subnet, 0, number)));
        }
    }

    /// A computer on the second physical subnet that is nobody's host.
    pub fn stranger(&self, name: &str, address: Ipv4Addr) -> Namespace {
        let space = Namespace::new(self.folder.path().join(name));
        self.plug(&space, name, address);
        space
    }

    /// Connects a computer to the physical subnet of its address.
    pub fn plug(&self, space: &Namespace, name: &str, address: Ipv4Addr) {
        let subnet = address.octets()[1];
        space.run("ip link set lo up");
        let (to, mtu) = (self.router.path().display(), self.mtu);
        space.run(&format!("ip link add eth0 mtu {mtu} type veth peer name {name} mtu {mtu} netns {to}"));
        self.router.run(&format!("ip link set {name} master lan{subnet} up"));
        space.run(&format!("ip address add {address}/16 dev eth0"));
        space.run("ip link set eth0 up");
        space.run(&format!("ip route add default via 10.{subnet}.0.254"));
    }

    /// Makes every host's filter know where everybody is.
    pub fn know(&mut self, subnets: &[Subnet]) {
        for host in &mut self.hosts {
            let wanted = compile(host.provider, subnets);
            for change in difference(&host.policy, &wanted) {
                host.filter.apply(&change).unwrap();
            }
            host.policy = wanted;
        }
    }

    /// A switch of a subnet on a host, with an uplink, and the gateway's address where one is given.
    pub fn switch(&mut self, host: usize, name: &str, subnet: &Subnet, gateway: Option<&str>) -> TestSwitch {
        let space = Namespace::new(self.folder.path().join(format!("{name}-{host}")));
        let switch = TestSwitch { space };
        switch.space.run("ip link set lo up");
        self.add_bridge(host, &switch, subnet, gateway);
        switch
    }

    /// One more subnet's switch in the same namespace, which routes between them.
    pub fn add_bridge(&mut self, host: usize, switch: &TestSwitch, subnet: &Subnet, gateway: Option<&str>) {
        let (space, vsid) = (&switch.space, subnet.vsid);
        let mtu = subnet.encapsulation.guest_mtu(UNDERLAY_MTU);
        let host = &mut self.hosts[host];
        space.run(&format!("ip link add br{vsid} address {} mtu {mtu} type bridge", MacAddress::GATEWAY));
        space.run(&format!("ip link add up{vsid} type veth peer name w{vsid} netns {}", host.space.path().display()));
        space.run(&format!("ip link set up{vsid} mtu {mtu} master br{vsid} up"));
        // Machines elsewhere are where the filter says, and not where their frames came from last.
        space.run(&format!("ip link set up{vsid} type bridge_slave learning off"));
        if let Some(gateway) = gateway {
            space.run(&format!("ip address add {gateway} dev br{vsid}"));
            space.run("sysctl -qw net.ipv4.ip_forward=1");
        }
        space.run(&format!("ip link set br{vsid} up"));
        host.space.run(&format!("ip link set w{vsid} up"));
        let uplink = Uplink {
            vsid,
            domain: subnet.domain,
            device: format!("w{vsid}"),
            underlay: "eth0".to_owned(),
            here: host.provider,
            encapsulation: subnet.encapsulation,
            mtu,
        };
        let (space, filter) = (&host.space, &mut host.filter);
        space.enter(|| filter.connect(&uplink)).unwrap();
    }

    /// A guest with its address, as a computer of its own.
    pub fn guest(&self, switch: &TestSwitch, name: &str, subnet: &Subnet, seat: &Seat, gateway: &str) -> Namespace {
        let guest = Namespace::new(self.folder.path().join(format!("guest-{name}")));
        let (to, vsid, mtu) =
            (switch.space.path().display(), subnet.vsid, subnet.encapsulation.guest_mtu(UNDERLAY_MTU));
        let port = format!("p{vsid}-{}", seat.address.octets()[3]);
        guest.run("ip link set lo up");
        guest.run(&format!("ip link add eth0 address {} mtu {mtu} type veth peer name {port} netns {to}", seat.mac));
        switch.space.run(&format!("ip link set {port} mtu {mtu} master br{vsid} up"));
        guest.run(&format!("ip address add {}/24 dev eth0", seat.address));
        guest.run("ip link set eth0 up");
        guest.run(&format!("ip route add default via {gateway}"));
        guest
    }

    /// The same, at a tap as QEMU has them, of one that asks for TCP's segments whole.
    pub fn guest_at_tap(&self, switch: &TestSwitch, name: &str, subnet: &Subnet, seat: &Seat) -> Guest {
        let (vsid, mtu) = (subnet.vsid, subnet.encapsulation.guest_mtu(UNDERLAY_MTU));
        let port = format!("t{vsid}-{}", seat.address.octets()[3]);
        let tap = switch.space.enter(|| open_tap(&port));
        switch.space.run(&format!("ip link set {port} mtu {mtu} master br{vsid} up"));
        let guest = Guest::new(self.folder.path().join(format!("guest-{name}")), tap, seat.mac);
        guest.space.run("ip link set lo up");
        guest.space.run(&format!("ip address add {}/24 dev eth0", seat.address));
        guest.space.run(&format!("ip link set eth0 mtu {mtu} up"));
        guest
    }

    /// Frames dropped for a reason, on all hosts.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.hosts.iter().map(|host| host.counters().dropped[&reason]).sum()
    }
}

impl FabricHost {
    fn new(fabric: &Fabric, n: u8, provider: Ipv4Addr) -> Self {
        let space = Namespace::new(fabric.folder.path().join(format!("host{n}")));
        fabric.plug(&space, &format!("h{n}"), provider);
        let pins = fabric.folder.path().join(format!("bpf{n}"));
        let filter = open(&space, &pins, provider, fabric.early);
        Self { space, provider, filter, policy: HostPolicy::default(), pins, early: fabric.early }
    }

    pub fn counters(&self) -> FilterCounters {
        self.filter.counters().unwrap()
    }

    /// As a new daemon does, after the old one was killed.
    pub fn reopen(&mut self, uplinks: &[Uplink]) {
        self.filter = open(&self.space, &self.pins, self.provider, self.early);
        let (space, filter) = (&self.space, &mut self.filter);
        space.enter(|| uplinks.iter().for_each(|uplink| filter.connect(uplink).unwrap()));
    }
}

fn open(space: &Namespace, pins: &Path, provider: Ipv4Addr, early: bool) -> Filter {
    let mac = mac_of(space, "eth0").bytes();
    space.enter(|| {
        let mut filter = Filter::open(pins).unwrap();
        filter.receive("eth0", mac, provider).unwrap();
        if early {
            filter.take_off_early("eth0", mac).unwrap();
        }
        filter
    })
}

/// The hardware address of a device.
pub fn mac_of(space: &Namespace, device: &str) -> MacAddress {
    space.run(&format!("ip -br link show {device}")).split_whitespace().nth(2).unwrap().parse().unwrap()
}

impl Drop for FabricHost {
    fn drop(&mut self) {
        let _ = umount2(&self.pins, MntFlags::MNT_DETACH);
        let _ = std::fs::remove_dir(&self.pins);
    }
}

/// Another one in the physical subnet of a host: 10.SUBNET.(100 + DOMAIN).N.
fn own_provider(domain: u32, provider: Ipv4Addr, n: u8) -> Ipv4Addr {
    let [a, subnet, ..] = provider.octets();
    Ipv4Addr::new(a, subnet, 100 + u8::try_from(domain).unwrap_or_default(), n)
}

/// A subnet whose machine `n` (from 1 on) is 192.168.23.n and has the MAC of that number, on the host of that place.
pub fn subnet(vsid: u32, domain: u32, encapsulation: Encapsulation, third: u8, hosts: &[Ipv4Addr]) -> Subnet {
    let seat = |(n, provider): (u8, &Ipv4Addr)| Seat {
        address: Ipv4Addr::new(192, 168, third, n),
        mac: MacAddress::local(u32::from(third) << 8 | u32::from(n)),
        provider: *provider,
        own: Some(own_provider(domain, *provider, n)),
    };
    let seats = (1..).zip(hosts).map(seat).collect();
    Subnet { vsid: Vsid::try_from(vsid).unwrap(), domain, encapsulation, seats, passages: Vec::new() }
}

/// The envelope of NVGRE around a frame, as anybody who may send raw packets can make it.
pub fn nvgre(from: Ipv4Addr, to: Ipv4Addr, vsid: u32, inner: &[u8]) -> Vec<u8> {
    let mut gre = vec![0x20, 0, 0x65, 0x58];
    gre.extend((vsid << 8).to_be_bytes());
    gre.extend(inner);
    let length = u16::try_from(gre.len()).unwrap();
    let header = etherparse::Ipv4Header::new(length, 64, etherparse::IpNumber::GRE, from.octets(), to.octets());
    let mut packet = Vec::new();
    header.unwrap().write(&mut packet).unwrap();
    packet.extend(gre);
    packet
}
