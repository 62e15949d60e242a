//! What the kernel shall look like: for an environment, and for the lab network all environments meet on.
//!
//! `wardian-network` makes it so; nothing here touches anything.
//!
//! * `lab`: from the configuration and the exposed ports to a [`LabPlan`];
//! * `environment`: from a record to a [`NetworkPlan`];
//! * `inside`: what its subnets' switches and ports are called, and how packets pass between them;
//! * `crossing`, `pins`, `entrance`: the nftables text of an environment's edge, of its switches, and of the host;
//! * `balance`: who of several machines gets a connection to a port they share;
//! * `caps`: how much machines may say and hear;
//! * `second`: what all this is where machines have a second interface on the lab network;
//! * `acl`: what machines may say and hear, at their own ports;
//! * `bare`: what it is without isolation; `away`: what it is on a host where only a part of an environment is.
//!
//! Each text is one transaction that replaces the rules of a table of ours, leaves its counters as they are, and names
//! no table of anybody else's.

mod acl;
mod away;
mod balance;
mod bare;
mod caps;
mod crossing;
mod entrance;
mod environment;
mod inside;
mod lab;
mod pins;
mod second;
#[cfg(test)]
mod tests;
mod text;

pub use acl::{ACL_TABLE, PROBE_MARK};
pub use environment::{GATEWAY_MAC, environment, machine_uid, on_lab, part};
pub use inside::{JOIN, is_way};
pub use lab::{LabConfig, lab, lab_mac};
pub use pins::PARKED_GROUP;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Serialize;
use wardian_model::{
    encapsulation::Encapsulation,
    id::EnvironmentId,
    mac::MacAddress,
    name::{Domain, Hostname, MachineName},
    vsid::Vsid,
};

/// The lab network of a host: the bridge on which the edges of its environments meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabPlan {
    /// The bridge, in the daemon's own network namespace.
    pub bridge: String,
    /// The lab network. An unreachable route stands behind it, so that nothing for it ever leaves the host another way.
    pub prefix: Ipv4Net,
    /// The host's own address on it: the last one, where it is alone.
    pub address: Ipv4Addr,
    /// The bridge's hardware address, where others have to know it; the one the kernel gave it elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// In bytes.
    pub mtu: u16,
    /// The name of our table (family inet) in the daemon's namespace.
    pub table: String,
    /// One transaction for `nft -f -`: the whole of that table.
    pub nftables: String,
}

/// The network of one environment on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkPlan {
    /// Whose it is; names the namespace.
    pub environment: EnvironmentId,
    /// The switch; with several subnets, the first one's.
    pub bridge: BridgePlan,
    /// One per machine of that subnet.
    pub taps: Vec<TapPlan>,
    /// Where it meets the lab network; nothing where its edge is on another host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgePlan>,
    /// The way to its parts on other hosts, where it has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<UplinkPlan>,
    /// The way by a machine that is the gateway of the others, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detour: Option<DetourPlan>,
    /// What its DHCP server says on that switch.
    pub dhcp: DhcpPlan,
    /// The further subnets, between all of which the namespace routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<SubnetPlan>,
    /// The links to environments it is joined with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub joins: Vec<JoinPlan>,
    /// What its DNS server says.
    pub dns: DnsPlan,
    /// The second interfaces of its machines, where they have some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second: Option<SecondPlan>,
    /// Whether there are rules of what machines may say and hear, so that [`ACL_TABLE`] is one of our tables.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_acl: bool,
    /// One transaction for `nft -f -`: the whole of our own tables in the environment's namespace. Their counters go on
    /// counting.
    pub nftables: String,
}

/// A subnet of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubnetPlan {
    /// Its switch.
    pub bridge: BridgePlan,
    /// One per machine in it.
    pub taps: Vec<TapPlan>,
    /// The way to its parts on other hosts, where it has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<UplinkPlan>,
    /// What the DHCP server says on its switch.
    pub dhcp: DhcpPlan,
}

/// A link to an environment it is joined with: a pair of virtual interfaces, one end in the namespace of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JoinPlan {
    /// The other environment; names its namespace.
    pub other: EnvironmentId,
    /// The end in this one's namespace.
    pub inner: String,
    /// The end in the other's.
    pub outer: String,
    /// The hardware address of both ends: the gateway's, which it is on either side.
    pub mac: MacAddress,
    /// In bytes.
    pub mtu: u16,
    /// The next hop on the way there. Nobody has it: its hardware address is not asked for.
    pub next: Ipv4Addr,
    /// The same on the way back.
    pub back: Ipv4Addr,
    /// The other's subnets.
    pub theirs: Vec<Ipv4Net>,
    /// This one's.
    pub ours: Vec<Ipv4Net>,
}

/// The switch of a subnet, in the environment's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BridgePlan {
    /// Its name.
    pub name: String,
    /// The gateway's hardware address: the same in every environment and on every host, so that moving needs no new
    /// ARP.
    pub mac: MacAddress,
    /// The gateway's address, with the subnet's length.
    pub address: Ipv4Net,
    /// In bytes.
    pub mtu: u16,
}

/// The second interfaces of an environment's machines: on a switch of their own, of which the edge is a port.
///
/// So they are on the lab network itself, each with its own hardware address, and the fence is asked on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecondPlan {
    /// The switch's name.
    pub bridge: String,
    /// The hardware address the DHCP server answers with. It is never seen on the lab network.
    pub mac: MacAddress,
    /// In bytes.
    pub mtu: u16,
    /// One per machine that has an outside, in the same order as the first ones.
    pub taps: Vec<TapPlan>,
    /// What the DHCP server says on this switch.
    pub dhcp: DhcpPlan,
}

/// The host's end of a machine's interface, in the environment's namespace.
///
/// There are two names for it: while a machine is handed over to its successor, each of the two processes has a tap,
/// and one of them passes frames. Afterwards the successor's stays, whatever its name; neither is "the" name of a
/// machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TapPlan {
    /// The name that a machine's first process gets.
    pub name: String,
    /// The other name.
    pub twin: String,
    /// Whose it is.
    pub machine: MachineName,
    /// The user that QEMU runs as.
    pub owner: u32,
    /// The only hardware address frames from it may carry.
    pub mac: MacAddress,
    /// The only address packets from it may carry.
    pub address: Ipv4Addr,
    /// Whether neither holds for what it says to other machines.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub may_spoof: bool,
}

/// A pair of virtual interfaces: one in the environment's namespace, one on the lab bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EdgePlan {
    /// The end on the lab bridge, in the daemon's namespace.
    pub outer: String,
    /// The end in the environment's namespace.
    pub inner: String,
    /// The lab bridge.
    pub lab_bridge: String,
    /// The switch of which the inner end is a port, where it is one: what the machines send passes as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_of: Option<String>,
    /// The inner end's hardware address: the only one the lab network ever sees of this environment.
    pub mac: MacAddress,
    /// The public addresses: one per machine that has an outside of its own, or the one that all share; none where
    /// machines have them on interfaces of their own.
    pub addresses: Vec<Ipv4Addr>,
    /// The lab network, for the on-link route.
    pub lab: Ipv4Net,
    /// The default route's next hop: the host's address on the lab network.
    pub gateway: Ipv4Addr,
    /// In bytes.
    pub mtu: u16,
    /// Packets with this mark are routed to the edge even when an address inside has the same number; see `crossing`.
    pub outward_mark: u32,
}

/// A pair of virtual interfaces: one a port of the switch, one in the daemon's namespace, where the packet filter takes
/// it to the other hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UplinkPlan {
    /// The end in the daemon's namespace.
    pub outer: String,
    /// The port of the switch.
    pub inner: String,
    /// The subnet's id.
    pub vsid: Vsid,
    /// Its routing domain.
    pub domain: u32,
    /// How its frames travel; as the cluster's where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encapsulation: Option<Encapsulation>,
    /// In bytes.
    pub mtu: u16,
    /// The way to the edge, where that is on another host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transit: Option<TransitPlan>,
}

/// A second pair beside an uplink: what a gateway without an edge sends to the one that has it. The filter takes it to
/// that one's switch, where it arrives as if a machine had sent it to the gateway; answers go to the machine without a
/// detour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TransitPlan {
    /// The end in the daemon's namespace.
    pub outer: String,
    /// The end in the environment's namespace, with the gateway's hardware address.
    pub inner: String,
    /// The default route's next hop. Nobody has it: its hardware address is the gateway's, and is not asked for.
    pub next: Ipv4Addr,
}

/// How packets get to the machine that forwards them outwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DetourPlan {
    /// The mark of packets that take it; see `crossing`.
    pub mark: u32,
    /// The machine's address inside.
    pub by: Ipv4Addr,
}

impl NetworkPlan {
    /// All taps of all machines, each with the name of the switch it belongs to.
    pub fn all_taps(&self) -> impl Iterator<Item = (&str, &TapPlan)> {
        let second = self.second.iter().flat_map(|s| s.taps.iter().map(|t| (&*s.bridge, t)));
        self.inside_taps().chain(second)
    }

    /// The same without second interfaces.
    pub fn inside_taps(&self) -> impl Iterator<Item = (&str, &TapPlan)> {
        let more = self.more.iter().flat_map(|s| s.taps.iter().map(|t| (&*s.bridge.name, t)));
        self.taps.iter().map(|t| (&*self.bridge.name, t)).chain(more)
    }

    /// The switches of all subnets.
    pub fn bridges(&self) -> impl Iterator<Item = &BridgePlan> {
        std::iter::once(&self.bridge).chain(self.more.iter().map(|subnet| &subnet.bridge))
    }

    /// The ways of all subnets to their parts on other hosts, each with its switch.
    pub fn uplinks(&self) -> impl Iterator<Item = (&BridgePlan, &UplinkPlan)> {
        let more = self.more.iter().map(|subnet| (&subnet.bridge, &subnet.uplink));
        let all = std::iter::once((&self.bridge, &self.uplink)).chain(more);
        all.filter_map(|(bridge, uplink)| Some((bridge, uplink.as_ref()?)))
    }

    /// What the DHCP server says, by the switch it says it on, and the hardware address it has there.
    pub fn offers(&self) -> impl Iterator<Item = (&str, MacAddress, &DhcpPlan)> {
        let more = self.more.iter().map(|subnet| (&*subnet.bridge.name, subnet.bridge.mac, &subnet.dhcp));
        let second = self.second.iter().map(|second| (&*second.bridge, second.mac, &second.dhcp));
        std::iter::once((&*self.bridge.name, self.bridge.mac, &self.dhcp)).chain(more).chain(second)
    }
}

impl TapPlan {
    /// Both names.
    #[must_use]
    pub fn names(&self) -> [&str; 2] {
        [&self.name, &self.twin]
    }
}

/// What the DHCP server of an environment says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DhcpPlan {
    /// The server: the gateway; on the lab network, the host.
    pub server: Ipv4Addr,
    /// The default route's next hop (option 3): the way out. Of two interfaces only one has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<Ipv4Addr>,
    /// The name server (option 6): the domain controller, or the gateway where there is none. Without one there is no
    /// search domain either: of two interfaces only one has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_server: Option<Ipv4Addr>,
    /// The subnet.
    pub subnet: Ipv4Net,
    /// The search domain.
    pub domain: Domain,
    /// In bytes (option 26).
    pub mtu: u16,
    /// In seconds (option 51).
    pub lease_seconds: u32,
    /// Who gets which address. Nobody else gets an answer.
    pub leases: Vec<LeasePlan>,
}

/// The address of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeasePlan {
    /// Who asks.
    pub mac: MacAddress,
    /// What it gets.
    pub address: Ipv4Addr,
    /// The computer name it is told (option 12).
    pub hostname: Hostname,
}

/// What the DNS server of an environment says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DnsPlan {
    /// Where it listens: the gateway.
    pub address: Ipv4Addr,
    /// The environment's domain.
    pub domain: Domain,
    /// The subnet, for reverse look-ups.
    pub subnet: Ipv4Net,
    /// The gateways of further subnets, with the subnets' lengths: it listens there too, and says the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<Ipv4Net>,
    /// Names and addresses inside: hostnames, and machine names where they differ.
    pub hosts: Vec<(Hostname, Ipv4Addr)>,
    /// Whether other names are asked of the host's own name servers.
    pub forward: bool,
}

impl DnsPlan {
    /// Where it listens.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        std::iter::once(self.address).chain(self.more.iter().map(Ipv4Net::addr))
    }

    /// The subnet that an address is in, for reverse look-ups.
    #[must_use]
    pub fn subnet_of(&self, address: Ipv4Addr) -> Option<Ipv4Net> {
        std::iter::once(&self.subnet).chain(&self.more).find(|subnet| subnet.contains(&address)).map(Ipv4Net::trunc)
    }
}
