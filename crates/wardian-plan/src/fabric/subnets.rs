//! The virtual subnets of a cluster: those of each environment which lies on several hosts, or reaches to some, and the
//! lab network, which every host has a switch of, its lab bridge.
//!
//! On the lab network are the hosts, and whoever of an environment may be seen there at all. Without isolation an
//! environment shows its inside: that stays on its own host, for two of a kind would collide on every one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use wardian_model::{
    cluster::HostRecord, encapsulation::Encapsulation, environment::EnvironmentRecord, mac::MacAddress, name::HostName,
    vsid::Vsid,
};

use super::{Seat, Subnet, lab};
use crate::{network, passage};

/// All subnets that span hosts, and who is where in each.
#[must_use]
pub fn subnets(
    prefix: Ipv4Net,
    encapsulation: Encapsulation,
    hosts: &[HostRecord],
    environments: &[EnvironmentRecord],
) -> Vec<Subnet> {
    let providers: BTreeMap<&HostName, Ipv4Addr> = hosts.iter().map(|host| (&host.name, host.provider)).collect();
    let provider = |host: &HostName| providers.get(host).copied();
    let extents: Vec<_> = environments.iter().map(Extent::of).collect();
    let own = hosts.iter().map(|host| (host.lab_address, network::lab_mac(prefix, host.lab_address), host.provider));
    let theirs = extents.iter().flat_map(|extent| extent.on_lab(provider));
    let outside = lab(encapsulation, own.chain(theirs.map(|seat| (seat.address, seat.mac, seat.provider))));
    let inside = extents.iter().flat_map(|extent| extent.inside(encapsulation, provider));
    std::iter::once(outside).chain(inside).collect()
}

/// Where an environment is, and as what: all of its record that these subnets are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extent {
    /// The host of its edge, and what is seen there on the lab network.
    edge: Option<(HostName, Vec<(Ipv4Addr, MacAddress)>)>,
    /// Its own subnets, where it lies on several hosts or reaches to some.
    inside: Vec<Inside>,
    /// The hosts that have a switch of these and no machine.
    passages: BTreeSet<HostName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inside {
    vsid: Vsid,
    domain: u32,
    /// As it was asked for; as the cluster's where nothing was.
    encapsulation: Option<Encapsulation>,
    /// Its machines, each at its host, and the gateway, which is where the edge is.
    seats: Vec<Inhabitant>,
}

/// Who is in a subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Inhabitant {
    address: Ipv4Addr,
    mac: MacAddress,
    host: HostName,
    /// Its own provider address, where it has one.
    own: Option<Ipv4Addr>,
}

impl Extent {
    pub(super) fn of(record: &EnvironmentRecord) -> Self {
        let edge = record.host.as_ref().map(|host| (host.clone(), network::on_lab(record)));
        let subnets = record.spec.network.subnets.iter().filter(|_| passage::spans_hosts(record));
        let inside = subnets.map(|subnet| {
            let gateway = record.host.as_ref().map(|host| Inhabitant {
                address: subnet.gateway(),
                mac: MacAddress::GATEWAY,
                host: host.clone(),
                own: None,
            });
            let own = record.identities.iter().filter(|(name, _)| record.spec.subnet_of(name).place == subnet.place);
            let machines = own.filter_map(|(name, identity)| {
                Some(Inhabitant {
                    address: identity.inside.address,
                    mac: identity.inside.mac,
                    host: record.host_of(name)?.clone(),
                    own: identity.provider,
                })
            });
            let seats = gateway.into_iter().chain(machines).collect();
            let encapsulation = record.spec.network.encapsulation;
            Inside { vsid: record.vsid_of(&subnet), domain: record.routing_domain(), encapsulation, seats }
        });
        let inside = inside.collect();
        Self { edge, inside, passages: passage::passages(record).into_iter().cloned().collect() }
    }

    /// Its seats on the lab network, if it is known where its host is.
    pub(super) fn on_lab(&self, provider: impl Fn(&HostName) -> Option<Ipv4Addr>) -> impl Iterator<Item = Seat> {
        let edge = self.edge.iter().filter_map(move |(host, seen)| Some((seen, provider(host)?)));
        edge.flat_map(|(seen, provider)| {
            seen.iter().map(move |(address, mac)| Seat { address: *address, mac: *mac, provider, own: None })
        })
    }

    /// Its own subnets, where it lies on several hosts or reaches to some, in the cluster's encapsulation where it has
    /// none of its own.
    pub(super) fn inside(
        &self,
        default: Encapsulation,
        provider: impl Fn(&HostName) -> Option<Ipv4Addr>,
    ) -> impl Iterator<Item = Subnet> {
        let passages: Vec<Ipv4Addr> = self.passages.iter().filter_map(&provider).collect();
        self.inside.iter().map(move |Inside { vsid, domain, encapsulation, seats }| {
            let seat = |Inhabitant { address, mac, host, own }: &Inhabitant| {
                Some(Seat { address: *address, mac: *mac, provider: provider(host)?, own: *own })
            };
            let (seats, passages) = (seats.iter().filter_map(seat).collect(), passages.clone());
            let encapsulation = encapsulation.unwrap_or(default);
            Subnet { vsid: *vsid, domain: *domain, encapsulation, seats, passages }
        })
    }
}

#[cfg(test)]
mod tests {
    use wardian_model::environment::Stretch;

    use super::*;
    use crate::fabric::{LAB_VSID, compile};

    fn host(name: &str, provider: &str, lab: &str) -> HostRecord {
        serde_json::from_value(serde_json::json!({
            "name": name, "instance": name, "provider": provider, "peer": format!("{provider}:7643"), "lab-address": lab,
            "memory-mib": 1024, "cores": 2, "version": "1", "qemu": "10", "encapsulations": ["nvgre"],
            "joined": "2026-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    fn environment(host: &str, mode: &str) -> EnvironmentRecord {
        let machine = |n: u8| {
            let inside = serde_json::json!({
                "hostname": format!("m{n}"), "address": format!("192.168.23.{n}"), "mac": format!("02:57:00:00:00:0{n}"),
                "uuid": "6f2c54f8-7f0a-4a55-a7a9-0a0f7a6e6f01",
            });
            let mac =
                if mode == "dual-interface" { format!("02:57:90:00:00:0{n}") } else { "02:57:80:00:00:01".into() };
            serde_json::json!({ "inside": inside, "outside": { "address": format!("10.86.0.{n}"), "mac": mac }, "slot": n })
        };
        let fence = if mode == "none" { "open" } else { "out-only" };
        serde_json::from_value(serde_json::json!({
            "id": "00000000000000aa", "name": "store", "created": "2026-01-01T00:00:00Z", "host": host,
            "spec": {
                "name": "store", "machines": { "web": { "image": "micro" }, "db": { "image": "micro" } },
                "isolation": { "mode": mode, "fence": fence },
            },
            "origin": { "from": "file" }, "edge": { "slot": 1, "mac": "02:57:80:00:00:01" },
            "identities": { "web": machine(1), "db": machine(2) },
            "fence": fence, "desired": "running", "run": 1, "phase": { "is": "pending" },
        }))
        .unwrap()
    }

    fn seats(environment: &EnvironmentRecord) -> Vec<String> {
        let hosts = [host("a", "10.1.0.1", "10.86.255.254"), host("b", "10.2.0.1", "10.86.255.253")];
        let prefix = "10.86.0.0/16".parse().unwrap();
        let [subnet] = &subnets(prefix, Encapsulation::Nvgre, &hosts, std::slice::from_ref(environment))[..] else {
            panic!("the lab network alone");
        };
        assert_eq!(compile(hosts[0].provider, std::slice::from_ref(subnet)).switches[&LAB_VSID].peers.len(), 1);
        let mut all: Vec<_> =
            subnet.seats.iter().map(|seat| format!("{} {} {}", seat.address, seat.mac, seat.provider)).collect();
        all[2..].sort();
        all
    }

    #[test]
    fn hosts_and_edges_are_on_it_each_at_its_host() {
        let expected = [
            "10.86.255.254 02:57:81:00:ff:fe 10.1.0.1",
            "10.86.255.253 02:57:81:00:ff:fd 10.2.0.1",
            "10.86.0.1 02:57:80:00:00:01 10.2.0.1",
            "10.86.0.2 02:57:80:00:00:01 10.2.0.1",
        ];
        assert_eq!(seats(&environment("b", "two-way-nat")), expected);
    }

    #[test]
    fn machines_with_second_interfaces_are_there_themselves() {
        assert_eq!(
            seats(&environment("a", "dual-interface"))[2..],
            ["10.86.0.1 02:57:90:00:00:01 10.1.0.1", "10.86.0.2 02:57:90:00:00:02 10.1.0.1"]
        );
    }

    #[test]
    fn an_environment_on_several_hosts_has_a_subnet_with_its_gateway_where_its_edge_is() {
        let mut environment = environment("a", "two-way-nat");
        let elsewhere = [("db".parse().unwrap(), "b".parse().unwrap())];
        environment.stretch = Some(Stretch { elsewhere: elsewhere.into() });
        let hosts = [host("a", "10.1.0.1", "10.86.255.254"), host("b", "10.2.0.1", "10.86.255.253")];
        let all = subnets("10.86.0.0/16".parse().unwrap(), Encapsulation::Vxlan, &hosts, &[environment]);
        assert_eq!((all.len(), all[1].vsid.number(), all[1].domain), (2, 4097, 1));
        let seats: Vec<_> = all[1].seats.iter().map(|s| format!("{} {}", s.address, s.provider)).collect();
        assert!(seats.contains(&"192.168.23.254 10.1.0.1".to_owned()), "{seats:?}");
        assert_eq!(seats.iter().filter(|seat| seat.ends_with("10.2.0.1")).count(), 1, "{seats:?}");
    }

    #[test]
    fn an_environment_has_the_encapsulation_that_was_asked_for_and_its_machines_their_own_addresses() {
        let mut environment = environment("a", "two-way-nat");
        let elsewhere = [("db".parse().unwrap(), "b".parse().unwrap())];
        environment.stretch = Some(Stretch { elsewhere: elsewhere.into() });
        environment.spec.network.encapsulation = Some(Encapsulation::IpRewrite);
        let own = Some(Ipv4Addr::new(10, 9, 2, 1));
        environment.identities["db"].provider = own;
        let hosts = [host("a", "10.1.0.1", "10.86.255.254"), host("b", "10.2.0.1", "10.86.255.253")];
        let all = subnets("10.86.0.0/16".parse().unwrap(), Encapsulation::Vxlan, &hosts, &[environment]);
        assert_eq!([&all[0], &all[1]].map(|s| s.encapsulation), [Encapsulation::Vxlan, Encapsulation::IpRewrite]);
        let policy = compile(hosts[0].provider, &all);
        let rewritten: Vec<_> = policy.lookups.values().filter_map(|lookup| lookup.rewrite).collect();
        assert_eq!(rewritten.iter().map(|rewrite| Some(rewrite.address)).collect::<Vec<_>>(), [own]);
    }

    #[test]
    fn who_is_joined_with_others_elsewhere_reaches_to_their_hosts() {
        let mut one = environment("a", "two-way-nat");
        let mut other = environment("b", "two-way-nat").as_joined();
        (other.id, other.slot) = ("00000000000000bb".parse().unwrap(), 2);
        one.joined.push(other);
        let hosts = [host("a", "10.1.0.1", "10.86.255.254"), host("b", "10.2.0.1", "10.86.255.253")];
        let all = subnets("10.86.0.0/16".parse().unwrap(), Encapsulation::Vxlan, &hosts, &[one]);
        assert_eq!((all.len(), all[1].vsid.number(), &all[1].passages[..]), (2, 4097, &[hosts[1].provider][..]));
        // The machines and the gateway are where they were.
        assert_eq!(all[1].seats.len(), 3);
        assert!(all[1].seats.iter().all(|seat| seat.provider == hosts[0].provider));
    }

    #[test]
    fn who_is_not_isolated_or_on_no_known_host_is_seen_nowhere_else() {
        assert_eq!(seats(&environment("a", "none")).len(), 2);
        assert_eq!(seats(&environment("c", "two-way-nat")).len(), 2);
    }
}
