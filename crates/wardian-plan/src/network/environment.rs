//! The network of one environment, from its record.

use std::net::Ipv4Addr;

use wardian_model::{
    environment::EnvironmentRecord,
    mac::MacAddress,
    name::HostName,
    spec::{Fence, Subnet},
};

use super::{
    BridgePlan, DetourPlan, DhcpPlan, DnsPlan, EdgePlan, LabConfig, LeasePlan, NetworkPlan, SubnetPlan, TapPlan,
    TransitPlan, UplinkPlan, acl, away, bare, caps, crossing, inside, pins, second,
};
use crate::passage::spans_hosts;
use ipnet::Ipv4Net;

/// The gateway's hardware address, in every environment on every host. Allocation counts machines up from 0 and edges
/// up from 0x8000_0000; this is the last number before those.
pub const GATEWAY_MAC: MacAddress = MacAddress::GATEWAY;

/// The switch's name: the same in every environment, for each has a namespace of its own.
pub(super) const BRIDGE: &str = "br0";
/// The edge's name inside.
pub(super) const EDGE: &str = "edge";
/// The name of the port that leads to the parts on other hosts.
pub(super) const UPLINK: &str = "uplink";
/// The name of the way from a gateway without an edge to the one that has it.
pub(super) const TRANSIT: &str = "transit";
/// The next hop there: link-local, so that it is no machine's (RFC 3927).
const NEXT: Ipv4Addr = Ipv4Addr::new(169, 254, 87, 1);
/// The mark of packets that must go out by the edge.
pub(super) const OUTWARD: u32 = 0x5744;
/// The mark of packets that go to the machine that is the gateway.
pub(super) const DETOUR: u32 = 0x5745;

/// In seconds. An answer never changes, so a long lease only spares traffic; a day is what clients expect.
pub(super) const LEASE: u32 = 86_400;

/// The user a machine's QEMU runs as.
///
/// 1,900,000,000 and up is outside of what anybody else hands out: system and login users (below 65536), systemd's
/// dynamic users (61184 to 65519), sub-uids (from 100,000, usually to some 600 million), and systemd's containers (up
/// to 0x6FFFFFFF = 1,879,048,191); and it stays below 2³¹, where some programs see negative numbers.
#[must_use]
pub const fn machine_uid(slot: u16) -> u32 {
    1_900_000_000 + slot as u32
}

/// The network of one environment.
#[must_use]
pub fn environment(record: &EnvironmentRecord, lab: &LabConfig) -> NetworkPlan {
    part(record, lab, record.host.as_ref())
}

/// The network of the part that an environment has on a host. The edge is on one of them, and with it the gateway; the
/// others find both through the overlay. On a host where it has a passage alone, that is what is left without machines.
#[must_use]
pub fn part(record: &EnvironmentRecord, lab: &LabConfig, host: Option<&HostName>) -> NetworkPlan {
    let home = record.host.as_ref() == host;
    let second = second::plan(record, lab);
    let place = Place { record, lab, host, second: second.is_some() };
    let subnets = &record.spec.network.subnets;
    let SubnetPlan { bridge, taps, uplink, dhcp } = place.subnet(&subnets.first());
    let more: Vec<SubnetPlan> = subnets.iter().skip(1).map(|subnet| place.subnet(&subnet)).collect();

    let mut hosts: Vec<_> = Vec::with_capacity(record.identities.len());
    for identity in record.identities.values() {
        hosts.push((identity.inside.hostname.clone(), identity.inside.address));
    }
    for (machine, identity) in &record.identities {
        // A hostname wins over another machine's name. Both follow the rules of a label, so this never fails.
        if let Ok(name) = wardian_model::name::Hostname::new(machine.as_str())
            && !hosts.iter().any(|(taken, _)| *taken == name)
        {
            hosts.push((name, identity.inside.address));
        }
    }

    let router = record.gateway.machine();
    let all_taps: Vec<TapPlan> = taps.iter().chain(more.iter().flat_map(|subnet| &subnet.taps)).cloned().collect();
    let ports: Vec<String> = match spans_hosts(record) {
        true => subnets.iter().map(|subnet| inside::uplink(&subnet)).collect(),
        false => Vec::new(),
    };
    let gateways = inside::gateways(record);
    let nftables = match &second {
        None if !home => away::tables(record, &all_taps, &ports),
        None if !record.spec.is_isolated() => bare::tables(record, &all_taps),
        None => {
            let subnet = subnets.first().net.trunc();
            crossing::table(record) + &pins::table(&all_taps, &gateways, router.map(|router| (router, subnet)), &ports)
        }
        Some(second) => second::fence(record) + &pins::table_with_second(&all_taps, &gateways, second, record.fence),
    };
    let dns = DnsPlan {
        address: dhcp.server,
        domain: record.spec.network.domain.clone(),
        subnet: dhcp.subnet,
        more: more.iter().map(|subnet| subnet.bridge.address).collect(),
        hosts,
        forward: record.fence != Fence::Sealed,
    };
    let everywhere = || all_taps.iter().chain(second.iter().flat_map(|second| &second.taps));
    let acl = acl::table(record, lab, everywhere());
    let caps = caps::table(record, everywhere());
    NetworkPlan {
        environment: record.id,
        bridge,
        taps,
        uplink,
        dhcp,
        more,
        joins: inside::joins(record, lab.mtu),
        dns,
        edge: home.then(|| EdgePlan {
            outer: format!("we{}", record.edge.slot),
            inner: EDGE.into(),
            lab_bridge: lab.bridge.clone(),
            port_of: match &second {
                _ if !record.spec.is_isolated() => Some(BRIDGE.into()),
                Some(second) => Some(second.bridge.clone()),
                None => None,
            },
            mac: record.edge.mac,
            addresses: match &second {
                None => crossing::public(record).collect(),
                Some(_) => Vec::new(),
            },
            lab: lab.prefix.trunc(),
            gateway: lab.address(),
            mtu: lab.mtu,
            outward_mark: OUTWARD,
        }),
        detour: router
            .and_then(|router| record.identities.get(router))
            .map(|router| DetourPlan { mark: DETOUR, by: router.inside.address }),
        has_acl: acl.is_some(),
        nftables: nftables + &acl.unwrap_or_default() + &caps.unwrap_or_default(),
        second,
    }
}

/// Where a part of an environment is, and with what.
struct Place<'a> {
    record: &'a EnvironmentRecord,
    lab: &'a LabConfig,
    host: Option<&'a HostName>,
    /// Whether its machines have second interfaces.
    second: bool,
}

impl Place<'_> {
    /// One of its subnets here.
    fn subnet(&self, subnet: &Subnet<'_>) -> SubnetPlan {
        let Self { record, lab, .. } = self;
        let (net, gateway, mtu) = (subnet.net.trunc(), subnet.gateway(), lab.inside_mtu(record));
        let machines =
            || record.identities.iter().filter(|(name, _)| record.spec.subnet_of(name).place == subnet.place);
        let taps = machines().filter(|(machine, _)| record.host_of(machine) == self.host).map(|(machine, identity)| {
            TapPlan {
                // The slot, not the position: the name must not move when the machines' order does.
                name: format!("tap{}", identity.slot),
                twin: format!("tap{}n", identity.slot),
                machine: machine.clone(),
                owner: machine_uid(identity.slot),
                mac: identity.inside.mac,
                address: identity.inside.address,
                may_spoof: record.spec.machines.get(machine).is_some_and(|spec| spec.allow_spoofing),
            }
        });
        let leases = machines().map(|(_, i)| LeasePlan {
            mac: i.inside.mac,
            address: i.inside.address,
            hostname: i.inside.hostname.clone(),
        });
        SubnetPlan {
            bridge: BridgePlan {
                name: inside::switch(subnet),
                mac: GATEWAY_MAC,
                address: Ipv4Net::new(gateway, net.prefix_len()).unwrap_or(net),
                mtu,
            },
            taps: taps.collect(),
            uplink: spans_hosts(record).then(|| self.uplink(subnet)),
            dhcp: DhcpPlan {
                server: gateway,
                // With a second interface, that is the way out; without isolation, there is none.
                router: Some(gateway).filter(|_| !self.second && record.spec.is_isolated()),
                name_server: Some(
                    record
                        .spec
                        .domain_controller()
                        .and_then(|controller| record.identities.get(controller))
                        .map_or(gateway, |identity| identity.inside.address),
                ),
                subnet: net,
                domain: record.spec.network.domain.clone(),
                mtu,
                lease_seconds: LEASE,
                leases: leases.collect(),
            },
        }
    }

    /// The way to its parts on other hosts. By the first one, machines of all subnets reach the edge. From a passage
    /// nothing goes outwards: nobody is there.
    fn uplink(&self, subnet: &Subnet<'_>) -> UplinkPlan {
        let Self { record, lab, host, .. } = self;
        let away = record.host.as_ref() != *host && host.is_some_and(|host| record.hosts().contains(host));
        UplinkPlan {
            outer: inside::outer("wu", record, subnet),
            inner: inside::uplink(subnet),
            vsid: record.vsid_of(subnet),
            domain: record.routing_domain(),
            encapsulation: record.spec.network.encapsulation,
            mtu: lab.inside_mtu(record),
            transit: (away && subnet.place == 0).then(|| TransitPlan {
                outer: inside::outer("wt", record, subnet),
                inner: TRANSIT.into(),
                next: NEXT,
            }),
        }
    }
}

/// Who of an environment is seen on the lab network, by address and hardware address: the edge with all its addresses,
/// or each machine itself. Nobody of one that is not isolated: it shows its inside.
#[must_use]
pub fn on_lab(record: &EnvironmentRecord) -> Vec<(Ipv4Addr, MacAddress)> {
    if !record.spec.is_isolated() {
        return Vec::new();
    }
    if record.has_second_interfaces() {
        let machines = record.identities.iter().filter(|(name, _)| record.has_second_interface(name));
        return machines.map(|(_, identity)| (identity.outside.address, identity.outside.mac)).collect();
    }
    crossing::public(record).map(|address| (address, record.edge.mac)).collect()
}
