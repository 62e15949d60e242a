//! The virtual subnets of a cluster: those of each environment which lies on several hosts, and the lab network, which every
//! host has a switch of, its lab bridge.
//!
//! On the lab network are the hosts, and whoever of an environment may be seen there at all. Without isolation an environment shows its
//! inside: that stays on its own host, for two of a kind would collide on every one.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;
use wardian_model::{
    cluster::HostRecord, encapsulation::Encapsulation, environment::EnvironmentRecord, mac::MacAddress, name::HostName,
    spec,
};

use super::{Seat, Subnet, lab};
use crate::network;

/// Where hosts are on the physical network.
type Providers<'a> = BTreeMap<&'a HostName, Ipv4Addr>;

/// All subnets that span hosts, and who is where in each.
#[must_use]
pub fn subnets(
    prefix: Ipv4Net,
    encapsulation: Encapsulation,
    hosts: &[HostRecord],
    environments: &[EnvironmentRecord],
) -> Vec<Subnet> {
    let providers: Providers<'_> = hosts.iter().map(|host| (&host.name, host.provider)).collect();
    let stretched = environments.iter().filter(|environment| environment.stretch.is_some());
    let inside = stretched.flat_map(|environment| {
        let subnets = environment.spec.network.subnets.iter();
        subnets.map(|subnet| inside(encapsulation, &providers, environment, &subnet)).collect::<Vec<_>>()
    });
    std::iter::once(outside(prefix, encapsulation, hosts, &providers, environments)).chain(inside).collect()
}

/// One subnet of an environment: its machines, each at its host, and the gateway, which is where the edge is.
fn inside(
    encapsulation: Encapsulation,
    providers: &Providers<'_>,
    environment: &EnvironmentRecord,
    subnet: &spec::Subnet<'_>,
) -> Subnet {
    let gateway = environment.host.as_ref().map(|host| (subnet.gateway(), MacAddress::GATEWAY, host));
    let own = environment.identities.iter().filter(|(name, _)| environment.spec.subnet_of(name).place == subnet.place);
    let machines = own.filter_map(|(name, identity)| {
        Some((identity.inside.address, identity.inside.mac, environment.host_of(name)?))
    });
    let seats = gateway
        .into_iter()
        .chain(machines)
        .filter_map(|(address, mac, host)| Some(Seat { address, mac, provider: *providers.get(host)?, own: None }));
    let (vsid, domain) = (environment.vsid_of(subnet), environment.routing_domain());
    Subnet { vsid, domain, encapsulation, seats: seats.collect() }
}

/// The lab network: the hosts, and whoever of each environment is seen there.
fn outside(
    prefix: Ipv4Net,
    encapsulation: Encapsulation,
    hosts: &[HostRecord],
    provider: &Providers<'_>,
    environments: &[EnvironmentRecord],
) -> Subnet {
    let own = hosts.iter().map(|host| (host.lab_address, network::lab_mac(prefix, host.lab_address), host.provider));
    let theirs = environments.iter().filter_map(|e| Some((e, *provider.get(e.host.as_ref()?)?)));
    let theirs = theirs.flat_map(|(environment, provider)| {
        network::on_lab(environment).into_iter().map(move |(address, mac)| (address, mac, provider))
    });
    lab(encapsulation, own.chain(theirs))
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
    fn who_is_not_isolated_or_on_no_known_host_is_seen_nowhere_else() {
        assert_eq!(seats(&environment("a", "none")).len(), 2);
        assert_eq!(seats(&environment("c", "two-way-nat")).len(), 2);
    }
}
