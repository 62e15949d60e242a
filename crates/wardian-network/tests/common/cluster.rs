//! Hosts of a cluster as their daemons set them up: the lab bridge, edges with several public addresses on one hardware
//! address, and the way to the other hosts. The physical network is the fabric's.

use std::{collections::BTreeSet, future::Future, net::Ipv4Addr, path::PathBuf};

use ipnet::Ipv4Net;
use nix::mount::{MntFlags, umount2};
use wardian_model::{encapsulation::Decapsulation, environment::EnvironmentRecord, mac::MacAddress};
use wardian_network::{
    Network, NetworkConfig, Underlay, UnderlayConfig, UnderlayError,
    filter::{FilterCounters, Reason},
};
use wardian_plan::{
    fabric::{Encapsulation, HostPolicy, compile, lab},
    network::{LabConfig, environment, lab as lab_plan},
};

use super::{
    Guest, Namespace,
    fabric::{Fabric, UNDERLAY_MTU},
};

/// Hosts; the first one is alone in its physical subnet.
pub struct Cluster {
    pub hosts: Vec<ClusterHost>,
    pub edges: Vec<Edge>,
    /// Of environments: host, hardware address and addresses.
    pub environments: Vec<(usize, MacAddress, Vec<Ipv4Addr>)>,
    pub encapsulation: Encapsulation,
    /// Last: in its folder is where the others are mounted.
    pub fabric: Fabric,
}

pub struct ClusterHost {
    pub space: Namespace,
    pub provider: Ipv4Addr,
    pub lab_address: Ipv4Addr,
    pub lab: LabConfig,
    pub run_dir: PathBuf,
    pub network: Network,
    underlay: Option<Underlay>,
    pub bridge: MacAddress,
    /// What the physical network is said to take, in bytes.
    pub underlay_mtu: u16,
    /// Where envelopes shall be taken off when it is opened again.
    pub decapsulation: Decapsulation,
}

/// A namespace on a host, with all addresses on one hardware address.
pub struct Edge {
    pub space: Namespace,
    pub host: usize,
    pub mac: MacAddress,
    pub addresses: Vec<Ipv4Addr>,
}

/// What a daemon waits for.
pub fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

impl Cluster {
    pub fn new(hosts: u8, encapsulation: Encapsulation) -> Self {
        Self::with_mtu(hosts, encapsulation, LabConfig::default().mtu)
    }

    /// With a lab network that takes packets of `mtu` bytes.
    pub fn with_mtu(hosts: u8, encapsulation: Encapsulation, mtu: u16) -> Self {
        Self::on(UNDERLAY_MTU, hosts, encapsulation, mtu)
    }

    /// On a physical network that takes packets of `underlay` bytes.
    pub fn on(underlay: u16, hosts: u8, encapsulation: Encapsulation, mtu: u16) -> Self {
        let (edges, environments) = (Vec::new(), Vec::new());
        let fabric = Fabric::with_mtu(0, underlay);
        let mut cluster = Self { fabric, hosts: Vec::new(), edges, environments, encapsulation };
        for n in 0..hosts {
            let (subnet, number) = if n == 0 { (1, 1) } else { (2, n) };
            let provider = Ipv4Addr::new(10, subnet, 0, number);
            cluster.hosts.push(ClusterHost::new(&cluster.fabric, n, provider, encapsulation, mtu));
        }
        cluster
    }

    /// An edge with addresses 10.86.NUMBER.1 and up.
    pub fn edge(&mut self, host: usize, number: u8, addresses: u8) {
        let mac = MacAddress::local(0x8000_0000 + u32::from(number));
        let addresses = (1..=addresses).map(|n| Ipv4Addr::new(10, 86, number, n)).collect();
        let edge = self.make_edge(&format!("edge-{number}-{host}"), host, mac, addresses);
        self.edges.push(edge);
    }

    /// An environment with its real edge, and its first machine as a computer.
    pub fn environment(&mut self, host: usize, record: &EnvironmentRecord) -> Guest {
        let (plan, network) = (environment(record, &self.hosts[host].lab), &self.hosts[host].network);
        let edge = plan.edge.as_ref().unwrap();
        let tap = &plan.taps[0];
        wait(network.ensure(&plan)).unwrap();
        let file = wait(network.open_tap(&plan, &tap.machine)).unwrap();
        let guest = Guest::new(self.fabric.folder.path().join(format!("guest-{}", plan.environment)), file, tap.mac);
        guest.space.run("ip link set lo up");
        guest.space.run(&format!("ip address add {}/{} dev eth0", tap.address, plan.bridge.address.prefix_len()));
        guest.space.run("ip link set eth0 up");
        guest.space.run(&format!("ip route add default via {}", plan.dhcp.server));
        let addresses = record.identities.values().map(|identity| identity.outside.address).collect();
        self.environments.push((host, edge.mac, addresses));
        guest
    }

    /// What an environment is that comes up on another host: the same addresses, in hardware too.
    pub fn move_edge(&mut self, edge: usize, host: usize) {
        let old = &self.edges[edge];
        self.hosts[old.host].space.run(&format!("ip link del e{}", port(old.mac)));
        let name = format!("moved-{edge}-{host}");
        self.edges[edge] = self.make_edge(&name, host, old.mac, old.addresses.clone());
    }

    fn make_edge(&self, name: &str, host: usize, mac: MacAddress, addresses: Vec<Ipv4Addr>) -> Edge {
        let (space, host_space) = (Namespace::new(self.fabric.folder.path().join(name)), &self.hosts[host].space);
        let (to, port) = (host_space.path().display(), port(mac));
        space.run("ip link set lo up");
        space.run(&format!("ip link add eth0 address {mac} type veth peer name e{port} netns {to}"));
        host_space.run(&format!("ip link set e{port} master wardian0 up"));
        for address in &addresses {
            space.run(&format!("ip address add {address}/16 dev eth0"));
        }
        space.run("ip link set eth0 up");
        Edge { space, host, mac, addresses }
    }

    /// What a host shall know, as the records say.
    pub fn policy(&self, host: usize) -> HostPolicy {
        let hosts = self.hosts.iter().map(|host| (host.lab_address, host.bridge, host.provider));
        let edges = self
            .edges
            .iter()
            .flat_map(|edge| edge.addresses.iter().map(|address| (*address, edge.mac, self.hosts[edge.host].provider)));
        let environments = self.environments.iter().flat_map(|(host, mac, addresses)| {
            addresses.iter().map(|address| (*address, *mac, self.hosts[*host].provider))
        });
        compile(self.hosts[host].provider, &[lab(self.encapsulation, hosts.chain(edges).chain(environments))])
    }

    /// Tells every host; how many changes that took on each.
    pub fn know(&self) -> Vec<usize> {
        let apply = |(n, host): (usize, &ClusterHost)| wait(host.underlay().apply(&self.policy(n))).unwrap();
        self.hosts.iter().enumerate().map(apply).collect()
    }

    /// Frames dropped for a reason, on all hosts.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.hosts.iter().map(|host| host.counters().dropped[&reason]).sum()
    }

    /// For which reasons anything was dropped, besides what computers say unasked: for groups, and for IPv6 neighbours.
    pub fn complaints(&self) -> BTreeSet<Reason> {
        let quiet = [Reason::NotIpv4, Reason::NotCarried];
        Reason::ALL.into_iter().filter(|reason| !quiet.contains(reason) && self.dropped(*reason) > 0).collect()
    }
}

impl ClusterHost {
    fn new(fabric: &Fabric, n: u8, provider: Ipv4Addr, encapsulation: Encapsulation, mtu: u16) -> Self {
        let space = Namespace::new(fabric.folder.path().join(format!("host{n}")));
        fabric.plug(&space, &format!("h{n}"), provider);
        let run_dir = fabric.folder.path().join(format!("run{n}"));
        // The last free address of the lab network, and downwards.
        let lab_address = Ipv4Addr::new(10, 86, 255, 254 - n);
        let lab = LabConfig { host: Some(lab_address), mtu, underlay: Some(fabric.mtu), ..LabConfig::default() };
        let network = NetworkConfig::new(&run_dir, "test", lab.clone());
        let network = space.enter(|| Network::open(network).unwrap());
        wait(network.ensure_lab(&lab_plan(&lab, &[]))).unwrap();
        let bridge = MacAddress::local(0);
        let mut host = Self {
            space,
            provider,
            lab_address,
            lab,
            run_dir,
            network,
            underlay: None,
            bridge,
            underlay_mtu: fabric.mtu,
            decapsulation: Decapsulation::Auto,
        };
        host.reopen(encapsulation).unwrap();
        host
    }

    /// As a daemon does that starts; an earlier one was killed. What had to be done at the links.
    pub fn reopen(&mut self, encapsulation: Encapsulation) -> Result<Vec<String>, UnderlayError> {
        self.underlay = None;
        let underlay = self.open(self.provider, encapsulation)?;
        let lab = wait(underlay.connect_lab("wardian0"))?;
        (self.underlay, self.bridge) = (Some(underlay), lab.mac);
        Ok(lab.changes.iter().map(str::to_owned).collect())
    }

    pub fn open(&self, provider: Ipv4Addr, encapsulation: Encapsulation) -> Result<Underlay, UnderlayError> {
        let (run_dir, mtu) = (self.run_dir.clone(), self.underlay_mtu);
        let config = UnderlayConfig {
            run_dir,
            instance: "test".to_owned(),
            provider,
            encapsulation,
            decapsulation: self.decapsulation,
            mtu,
            rewrite_addresses: Some(rewrite_addresses(provider)),
        };
        self.space.enter(|| wait(Underlay::open(config)))
    }

    pub fn underlay(&self) -> &Underlay {
        self.underlay.as_ref().unwrap()
    }

    /// The host leaves.
    pub fn leave(&mut self) {
        wait(self.underlay.take().unwrap().close()).unwrap();
    }

    pub fn counters(&self) -> FilterCounters {
        wait(self.underlay().counters()).unwrap()
    }
}

impl Drop for ClusterHost {
    fn drop(&mut self) {
        let namespaces = std::fs::read_dir(self.run_dir.join("netns")).into_iter().flatten().flatten();
        for mounted in namespaces.map(|entry| entry.path()).chain([self.run_dir.join("bpf")]) {
            let _ = umount2(&mounted, MntFlags::MNT_DETACH);
        }
    }
}

/// Of a host: 10.SUBNET.(100 + NUMBER % 100).0/24, a piece of its physical subnet.
pub fn rewrite_addresses(provider: Ipv4Addr) -> Ipv4Net {
    let [a, subnet, _, number] = provider.octets();
    Ipv4Net::new_assert(Ipv4Addr::new(a, subnet, 100 + number % 100, 0), 24)
}

fn port(mac: MacAddress) -> String {
    mac.to_string().replace(':', "")[4..].to_owned()
}

impl Edge {
    pub fn pings(&self, from: Ipv4Addr, to: Ipv4Addr) -> bool {
        self.space.attempt(&format!("ping -c1 -W1 -I {from} {to}")).is_some()
    }
}
