//! Environments that lie on several hosts of a cluster, each part as the daemon there makes it, with computers that ask
//! for their addresses.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf};

use serde_json::json;
use wardian_model::{cluster::HostRecord, environment::EnvironmentRecord, mac::MacAddress, name::HostName};
use wardian_network::Services;
use wardian_plan::{
    fabric::{Encapsulation, HostPolicy, Seat, compile, subnets},
    network::{NetworkPlan, part},
    passage,
};

use super::{
    Guest,
    cluster::{Cluster, ClusterHost, Edge, rewrite_addresses, wait},
    script,
};

/// The physical network's, less what envelopes take.
pub fn mtu(encapsulation: Encapsulation) -> u16 {
    encapsulation.guest_mtu(super::fabric::UNDERLAY_MTU)
}

/// A cluster with such environments. Its hosts are called a, b and c.
pub struct Stretched {
    pub guests: BTreeMap<(u8, &'static str), Guest>,
    pub services: BTreeMap<(u8, usize), Services>,
    pub records: BTreeMap<u8, EnvironmentRecord>,
    pub cluster: Cluster,
    /// How the environments' frames travel, where they choose: as the lab network's otherwise.
    chosen: Option<Encapsulation>,
    /// Where DHCP and DNS servers go on while the test waits for something.
    runtime: tokio::runtime::Runtime,
}

/// Where the three machines of environment `n` are: web, db and cache, the home being web's host. Inside it is the same
/// for every `n`; outside they are 10.86.N.1 and up.
pub fn shop(n: u8, fence: &str, hosts: [&str; 3]) -> EnvironmentRecord {
    let edge = MacAddress::local(0x8000_0000 + u32::from(n));
    let machines = [("web", 1), ("db", 2), ("cache", 3)];
    let identity = |(name, k): (&str, u8)| {
        let identity = json!({
            "inside": {
                "hostname": name, "address": Ipv4Addr::new(192, 168, 23, k),
                "mac": MacAddress::local(k.into()), "uuid": "6f3c1f0e-0000-4000-8000-000000000000",
            },
            "outside": { "address": Ipv4Addr::new(10, 86, n, k), "mac": edge },
            "slot": u16::from(n) * 4 + u16::from(k),
        });
        (name.to_owned(), identity)
    };
    let elsewhere = machines.iter().zip(hosts).filter(|(_, host)| *host != hosts[0]);
    let elsewhere: serde_json::Map<_, _> =
        elsewhere.map(|((name, _), host)| ((*name).to_owned(), json!(host))).collect();
    let image = json!({ "image": "micro" });
    serde_json::from_value(json!({
        "id": format!("{n:016x}"), "name": format!("shop-{n}"), "created": "2026-01-01T00:00:00Z",
        "spec": {
            "name": "shop", "machines": { "web": image, "db": image, "cache": image },
            "network": { "domain": "lab.contoso.com", "subnet": "192.168.23.0/24" },
        },
        "origin": { "from": "file" },
        "host": hosts[0], "stretch": { "elsewhere": elsewhere },
        "edge": { "slot": n, "mac": edge },
        "identities": machines.into_iter().map(identity).collect::<serde_json::Map<_, _>>(),
        "fence": fence, "exposed": [],
        "desired": "running", "run": 0, "phase": { "is": "pending" },
    }))
    .unwrap()
}

/// The name of a host.
pub fn name(host: usize) -> HostName {
    ["a", "b", "c"][host].parse().unwrap()
}

impl Stretched {
    pub fn new(hosts: u8, encapsulation: Encapsulation) -> Self {
        match encapsulation {
            Encapsulation::IpRewrite => Self::choosing(hosts, Encapsulation::Nvgre, encapsulation),
            _ => Self::with_mtu(hosts, encapsulation, mtu(encapsulation)),
        }
    }

    /// With environments that choose an encapsulation, which the lab network doesn't have.
    pub fn choosing(hosts: u8, lab: Encapsulation, chosen: Encapsulation) -> Self {
        Self { chosen: Some(chosen), ..Self::with_mtu(hosts, lab, mtu(lab)) }
    }

    pub fn with_mtu(hosts: u8, encapsulation: Encapsulation, mtu: u16) -> Self {
        Self::over(Cluster::with_mtu(hosts, encapsulation, mtu))
    }

    /// In a cluster without environments.
    pub fn over(cluster: Cluster) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (guests, services, records) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { guests, services, records, cluster, chosen: None, runtime }
    }

    pub fn host(&self, host: usize) -> &ClusterHost {
        &self.cluster.hosts[host]
    }

    pub fn plan(&self, n: u8, host: usize) -> NetworkPlan {
        part(&self.records[&n], &self.host(host).lab, Some(&name(host)))
    }

    /// The hosts with a part of an environment.
    pub fn parts(&self, n: u8) -> Vec<usize> {
        let with = self.records[&n].hosts();
        (0..self.cluster.hosts.len()).filter(|host| with.contains(&name(*host))).collect()
    }

    /// As its environments are in this cluster: with addresses of their hosts where they are rewritten.
    fn chosen(&self, mut record: EnvironmentRecord) -> EnvironmentRecord {
        record.spec.network.encapsulation = self.chosen;
        if self.chosen == Some(Encapsulation::IpRewrite) {
            let hosts: Vec<_> = record.identities.keys().map(|machine| record.host_of(machine).cloned()).collect();
            for ((k, identity), host) in (1..).zip(record.identities.values_mut()).zip(hosts) {
                let at = (0..self.cluster.hosts.len()).find(|at| Some(name(*at)) == host).unwrap();
                let prefix = rewrite_addresses(self.host(at).provider);
                let place = usize::from(record.edge.slot) * 4 + k;
                identity.provider = prefix.hosts().nth(place);
            }
        }
        record
    }

    /// These, and those with a passage of it.
    pub fn reach(&self, n: u8) -> Vec<usize> {
        let with = passage::reach(&self.records[&n]);
        (0..self.cluster.hosts.len()).filter(|host| with.contains(&name(*host))).collect()
    }

    /// Makes what is said of an environment true on its hosts, as their daemons do; what had to be done at networks.
    pub fn ensure(&mut self, record: EnvironmentRecord) -> Vec<String> {
        let n = u8::try_from(record.edge.slot).unwrap();
        let record = self.chosen(record);
        let before = if self.records.contains_key(&n) { self.reach(n) } else { Vec::new() };
        self.records.insert(n, record);
        let now = self.reach(n);
        before.iter().filter(|host| !now.contains(host)).for_each(|host| self.clear(&self.records[&n], *host));
        let mut all = Vec::new();
        for host in now {
            let (plan, at) = (self.plan(n, host), &self.cluster.hosts[host]);
            if plan.uplinks().next().is_none() {
                self.records[&n].vsids().for_each(|vsid| wait(at.underlay().disconnect(vsid)).unwrap());
            }
            let changes = wait(at.network.ensure(&plan)).unwrap();
            all.extend(changes.iter().map(|change| format!("{}: {change}", name(host))));
            for (_, uplink) in plan.uplinks() {
                let connected = wait(at.underlay().connect(uplink)).unwrap();
                all.extend(connected.iter().map(|change| format!("{}: {change}", name(host))));
            }
        }
        self.know();
        all
    }

    /// An environment, its servers, and its machines with what DHCP told them.
    pub fn up(&mut self, record: EnvironmentRecord) {
        let n = u8::try_from(record.edge.slot).unwrap();
        self.ensure(record);
        for host in self.parts(n) {
            self.serve(n, host);
            let plan = self.plan(n, host);
            for (switch, tap) in plan.inside_taps() {
                let machine = ["web", "db", "cache"].into_iter().find(|m| *m == tap.machine.as_str()).unwrap();
                let said = self.boot(n, host, machine);
                let mtu = self.host(host).lab.inside_mtu(&self.records[&n]);
                let gateway = plan.bridges().find(|bridge| bridge.name == switch).unwrap().address.addr();
                let told = [format!("ip={}", tap.address), format!("mtu={mtu}"), format!("router={gateway}")];
                for line in told {
                    assert!(said.lines().any(|l| l == line), "{line} not in\n{said}");
                }
            }
        }
    }

    /// Starts the servers of a part.
    pub fn serve(&mut self, n: u8, host: usize) {
        let (plan, network) = (self.plan(n, host), &self.cluster.hosts[host].network);
        let services = self.runtime.block_on(network.serve(&plan)).unwrap();
        self.services.insert((n, host), services);
    }

    /// Stops them.
    pub fn silence(&mut self, n: u8, host: usize) {
        let services = self.services.remove(&(n, host)).unwrap();
        self.runtime.block_on(services.stop());
    }

    /// A computer on the tap of a machine, with the address that it gets; what the DHCP client was told.
    fn boot(&mut self, n: u8, host: usize, machine: &'static str) -> String {
        let (plan, network) = (self.plan(n, host), &self.cluster.hosts[host].network);
        let (_, tap) = plan.inside_taps().find(|(_, tap)| tap.machine.as_str() == machine).unwrap();
        let file = wait(network.open_tap(&plan, &tap.machine)).unwrap();
        let folder = self.cluster.fabric.folder.path();
        let guest = Guest::new(folder.join(format!("guest-{n}-{machine}")), file, tap.mac);
        guest.space.run("ip link set lo up");
        guest.space.run("ip link set eth0 up");
        let client = self.client();
        let client = format!("busybox udhcpc -i eth0 -q -n -f -t 8 -T 1 -O mtu -s {} 2>&1", client.display());
        let said = guest.space.run(&client);
        self.guests.insert((n, machine), guest);
        said
    }

    /// What the DHCP client runs: it says what it was told, and does it.
    pub fn client(&self) -> PathBuf {
        let path = self.cluster.fabric.folder.path().join("client");
        if !path.exists() {
            script(
                &path,
                "#!/bin/sh\n\
                 env | sort\n\
                 case \"$1\" in bound)\n\
                 ip link set eth0 mtu $mtu\n\
                 ip address replace $ip/24 dev eth0\n\
                 ip route replace default via $router\n\
                 esac\n\
                 exit 0\n",
            );
        }
        path
    }

    pub fn guest(&self, n: u8, machine: &'static str) -> &Guest {
        &self.guests[&(n, machine)]
    }

    /// Somebody on a host's lab network who belongs to no environment, at 10.86.NUMBER.1.
    pub fn outsider(&mut self, host: usize, number: u8) -> &Edge {
        self.cluster.edge(host, number, 1);
        self.know();
        self.cluster.edges.last().unwrap()
    }

    /// Runs a command in the namespace of a part.
    pub fn inside(&self, n: u8, host: usize, command: &str) -> String {
        let netns = self.host(host).run_dir.join("netns").join(self.records[&n].id.to_string());
        super::run(&format!("nsenter --net={} {command}", netns.display()))
    }

    /// What a host shall know, from the records alone; and outsiders.
    pub fn policy(&self, host: usize) -> HostPolicy {
        let record = |(n, host): (usize, &ClusterHost)| -> HostRecord {
            serde_json::from_value(json!({
                "name": name(n), "instance": "test", "provider": host.provider,
                "peer": format!("{}:7643", host.provider), "lab-address": host.lab_address,
                "memory-mib": 1024, "cores": 2, "version": "1", "qemu": "10", "encapsulations": ["nvgre"],
                "joined": "2026-01-01T00:00:00Z",
            }))
            .unwrap()
        };
        let hosts: Vec<_> = self.cluster.hosts.iter().enumerate().map(record).collect();
        let records: Vec<_> = self.records.values().cloned().collect();
        let mut all = subnets(self.host(host).lab.prefix, self.cluster.encapsulation, &hosts, &records);
        let outsiders = self.cluster.edges.iter().flat_map(|edge| {
            let seat = |address: &Ipv4Addr| Seat {
                address: *address,
                mac: edge.mac,
                provider: self.host(edge.host).provider,
                own: None,
            };
            edge.addresses.iter().map(seat)
        });
        all[0].seats.extend(outsiders);
        compile(self.host(host).provider, &all)
    }

    /// Tells every host.
    pub fn know(&self) {
        for (n, host) in self.cluster.hosts.iter().enumerate() {
            wait(host.underlay().apply(&self.policy(n))).unwrap();
        }
    }

    /// Takes an environment away from all its hosts, in the daemons' order.
    pub fn remove(&mut self, n: u8) {
        let (parts, record) = (self.reach(n), self.records.remove(&n).unwrap());
        self.guests.retain(|(of, _), _| *of != n);
        self.services.retain(|(of, _), _| *of != n);
        for host in parts {
            self.clear(&record, host);
        }
        self.know();
    }

    /// Takes it away from one host.
    fn clear(&self, record: &EnvironmentRecord, host: usize) {
        record.vsids().for_each(|vsid| wait(self.host(host).underlay().disconnect(vsid)).unwrap());
        wait(self.host(host).network.remove(record.id)).unwrap();
    }
}
