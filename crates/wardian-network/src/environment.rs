//! The network of one environment: comparing the kernel with a plan, and changing what differs.

use std::{io, path::Path};

use ipnet::Ipv4Net;
use netlink_packet_route::route::RouteType;
use wardian_model::{id::EnvironmentId, mac::MacAddress};
use wardian_plan::network::{EdgePlan, NetworkPlan, TransitPlan, UplinkPlan};

use crate::{
    acl,
    error::NetworkError,
    joins,
    kernel::{
        message::{Link, LinkChange, MAIN_TABLE, Route},
        namespace::{self, Namespace},
        netfilter::Netfilter,
        netlink::Netlink,
        nft, sysctl,
    },
    pairs::{self, Pair, Pairs, are_pair, outer_alias},
    taps,
};

/// The routing table of an environment's namespace that knows the edge alone.
const OUTWARD_TABLE: u32 = 86;

/// The routing table that knows the machine which forwards for the others.
const DETOUR_TABLE: u32 = 87;

/// Settings of an environment's namespace. `default` is for the links still to be made.
const SETTINGS: &[(&str, &str)] = &[
    ("ipv4/ip_forward", "1"),
    // Only the rules decide what is forged; a source inside and outside may look the same.
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    // ARP speaks only of the addresses of the link it is spoken on: private ones never reach the lab network.
    ("ipv4/conf/all/arp_ignore", "1"),
    ("ipv4/conf/all/arp_announce", "2"),
    // A hairpin is no reason to tell a machine of a shorter way.
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/all/accept_redirects", "0"),
];

/// Settings that not every kernel has.
const OPTIONAL: &[(&str, &str)] = &[
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
    ("bridge/bridge-nf-call-iptables", "0"),
    ("bridge/bridge-nf-call-ip6tables", "0"),
    ("bridge/bridge-nf-call-arptables", "0"),
];

/// What an `ensure` had to do, in words. Empty when everything was as it shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes(Vec<String>);

impl Changes {
    /// Whether nothing had to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One sentence without subject per change, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(crate) fn note(&mut self, change: impl Into<String>) {
        self.0.push(change.into());
    }
}

/// What is there of an environment's network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The namespace.
    pub namespace: bool,
    /// The switches, up.
    pub bridge: bool,
    /// Both ends of the edge, of the uplink, and of the way to the edge, where there are such: up and belonging to one
    /// another.
    pub edge: bool,
    /// The links to all joined environments that are there themselves.
    pub joins: bool,
    /// The rules of the plan, unchanged since this process loaded them.
    pub rules: bool,
    /// The plan's taps that exist now: those of machines that run, and of their successors.
    pub taps: Vec<String>,
}

impl Observed {
    /// Whether the network is as it shall be; taps come and go with machines.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.namespace && self.bridge && self.edge && self.joins && self.rules
    }
}

/// Settings of conntrack, which are there once rules that need it are loaded.
const TRACKING: &[(&str, &str)] = &[
    // A segment of a connection nobody knows is no new connection; see the rules.
    ("netfilter/nf_conntrack_tcp_loose", "0"),
    // Only such segments shall be called invalid, and be answered by a reset, not one that came late or twice.
    ("netfilter/nf_conntrack_tcp_be_liberal", "1"),
];

/// All tables that an environment's namespace may have of ours.
const TABLES: [&str; 4] = ["inet wardian", "bridge wardian", "bridge wardian_acl", "bridge wardian_caps"];

/// Doors into an environment's namespace that stay usable from any thread.
struct Inside {
    netlink: Netlink,
    netfilter: Netfilter,
}

impl Inside {
    /// Of the namespace of the calling thread.
    fn open() -> Result<Self, NetworkError> {
        Ok(Self {
            netlink: Netlink::open().map_err(NetworkError::kernel("open a netlink socket"))?,
            netfilter: Netfilter::open().map_err(NetworkError::kernel("open an nftables socket"))?,
        })
    }
}

/// Makes the kernel match `plan`. Runs in the daemon's namespace; `path` is where the environment's is mounted.
pub(crate) fn ensure(
    plan: &NetworkPlan,
    path: &Path,
    owner: &str,
    loaded: Option<nft::Loaded>,
) -> Result<(Changes, nft::Loaded), NetworkError> {
    let mut changes = Changes::default();
    let mut daemon = Netlink::open().map_err(NetworkError::kernel("open a netlink socket"))?;
    if plan.second.is_some() && !sysctl::is_there("bridge/bridge-nf-call-iptables") {
        return Err(NetworkError::NoBridgeFilter);
    }
    let lab = match &plan.edge {
        Some(EdgePlan { lab_bridge: lab, .. }) => Some(
            daemon
                .link(lab)
                .map_err(NetworkError::kernel(format!("look for bridge {lab}")))?
                .ok_or_else(|| NetworkError::NoLab { name: lab.clone() })?
                .index,
        ),
        None => None,
    };

    let (namespace, fresh) = match Namespace::at(path)? {
        Some(namespace) => (namespace, false),
        None => (namespace::create(path, || settings(&mut Changes::default()))?, true),
    };
    if fresh {
        changes.note("made the namespace");
    }

    // nft works while the links are made; it is waited for before the edge opens.
    let (mut inside, loading) = namespace.run_blocking("enter an environment", || {
        if !fresh {
            settings(&mut changes)?;
        }
        let inside = Inside::open()?;
        let same = nft::Loaded::holds(loaded, &plan.nftables, &inside.netfilter)
            .map_err(NetworkError::kernel("ask for the generation of rules"))?;
        let whose = format!("environment {}", plan.environment);
        let loading = if same { None } else { Some(nft::start(whose, &plan.nftables)?) };
        Ok((inside, loading))
    })?;

    let made = links(plan, lab, &mut daemon, &mut inside.netlink, &namespace, owner, &mut changes);
    if let Some(loading) = loading {
        // Waited for in any case: no process may be left behind.
        if let Err(error @ NetworkError::Nft { .. }) = loading.finish() {
            tracing::warn!(%error, "replacing the rules as a whole; their counters begin anew");
            namespace.run_blocking("replace an environment's rules", || {
                nft::replace(format!("environment {}", plan.environment), &TABLES, &plan.nftables)
            })?;
        }
        changes.note("loaded the rules");
    }
    if !fresh && !plan.has_acl {
        acl::remove_stale(plan.environment, &namespace, &inside.netfilter, &mut changes)?;
    }
    let Links { bridges, second, edge } = made?;
    namespace.run_blocking("set how connections are tracked", || set_all(TRACKING, &mut changes))?;
    if let (Some(wanted), Some(edge)) = (&plan.edge, edge) {
        let port_of = match &wanted.port_of {
            Some(name) if *name == plan.bridge.name => bridges.first().copied(),
            Some(_) => second,
            None => None,
        };
        open_edge(wanted, &mut inside.netlink, port_of, &edge, &mut changes)
            .map_err(NetworkError::kernel(format!("set up the edge of environment {}", plan.environment)))?;
    }
    set_detour(plan, &mut inside.netlink, bridges.first().copied(), &mut changes)
        .map_err(NetworkError::kernel(format!("set the way by the gateway of environment {}", plan.environment)))?;
    taps::pin_all(plan, &mut inside.netlink, &mut changes)?;
    joins::ensure(plan, path, &mut inside.netlink, &mut changes)?;

    let loaded = nft::Loaded::now(&plan.nftables, &inside.netfilter)
        .map_err(NetworkError::kernel("ask for the generation of rules"))?;
    Ok((changes, loaded))
}

fn set_all(settings: &[(&str, &str)], changes: &mut Changes) -> Result<(), NetworkError> {
    for (key, value) in settings {
        if sysctl::set(key, value)? {
            changes.note(format!("set {key}"));
        }
    }
    Ok(())
}

fn settings(changes: &mut Changes) -> Result<(), NetworkError> {
    set_all(SETTINGS, changes)?;
    for (key, value) in OPTIONAL {
        if sysctl::set_if_there(key, value)? {
            changes.note(format!("set {key}"));
        }
    }
    Ok(())
}

/// What [`links`] made.
struct Links {
    /// Indices of the subnets' switches, in their order.
    bridges: Vec<u32>,
    /// Index of the second one.
    second: Option<u32>,
    /// The edge's inner end, where the edge is here.
    edge: Option<Link>,
}

/// The switches and the pair. The inner end stays down if it was.
fn links(
    plan: &NetworkPlan,
    lab: Option<u32>,
    daemon: &mut Netlink,
    inside: &mut Netlink,
    namespace: &Namespace,
    owner: &str,
    changes: &mut Changes,
) -> Result<Links, NetworkError> {
    let all = inside.links().map_err(NetworkError::kernel("list an environment's links"))?;
    let of = plan.environment;
    let mut bridges = Vec::new();
    for bridge in plan.bridges() {
        let switch = Switch { name: &bridge.name, mac: bridge.mac, mtu: bridge.mtu, filter: false, of };
        bridges.push(switch.ensure(inside, &all, changes)?);
    }
    let second = match &plan.second {
        Some(second) => {
            let switch = Switch { name: &second.bridge, mac: second.mac, mtu: second.mtu, filter: true, of };
            Some(switch.ensure(inside, &all, changes)?.index)
        }
        None => None,
    };

    pairs::remove_stale(plan, inside, &all, changes)?;
    let pairs = Pairs { plan, owner, namespace };
    let edge = match &plan.edge {
        Some(edge) => {
            let wanted =
                Pair { what: "edge", outer: &edge.outer, inner: &edge.inner, mac: Some(edge.mac), mtu: edge.mtu };
            Some(pairs.ensure(&wanted, lab, daemon, inside, &all, changes)?)
        }
        None => None,
    };
    let doing = || NetworkError::kernel(format!("set up the switch of environment {of}"));
    for (bridge, uplink) in plan.uplinks() {
        let wanted = Pair { what: "uplink", outer: &uplink.outer, inner: &uplink.inner, mac: None, mtu: uplink.mtu };
        let port = pairs.ensure(&wanted, None, daemon, inside, &all, changes)?;
        let switch = bridges.iter().find(|link| link.name == bridge.name).ok_or_else(|| doing()(gone()))?;
        open_uplink(uplink, inside, switch.index, &port, changes).map_err(doing())?;
        if let Some(transit) = &uplink.transit {
            let mac = Some(plan.bridge.mac);
            let wanted = Pair { what: "transit", outer: &transit.outer, inner: &transit.inner, mac, mtu: uplink.mtu };
            let link = pairs.ensure(&wanted, None, daemon, inside, &all, changes)?;
            open_transit(plan, (transit, uplink.mtu), inside, &link, changes).map_err(doing())?;
        }
    }
    for (plan, link) in plan.bridges().zip(&bridges) {
        set_addresses(inside, link, &[plan.address], changes).map_err(doing())?;
    }
    Ok(Links { bridges: bridges.iter().map(|link| link.index).collect(), second, edge })
}

/// Opens the inner end: a port of the switch, which doesn't learn from it: where machines are, the packet filter knows.
fn open_uplink(
    plan: &UplinkPlan,
    inside: &mut Netlink,
    bridge: u32,
    port: &Link,
    changes: &mut Changes,
) -> io::Result<()> {
    let change = LinkChange {
        mtu: Some(plan.mtu).filter(|m| port.mtu != u32::from(*m)),
        master: Some(bridge).filter(|_| port.master != Some(bridge)),
        up: !port.up,
        ..LinkChange::default()
    };
    if !change.is_empty() {
        inside.change_link(port.index, change)?;
        changes.note("set up the uplink");
    }
    let port = inside.link(&plan.inner).and_then(|l| l.ok_or_else(gone))?;
    if port.is_learning {
        inside.stop_learning(port.index)?;
        changes.note("set the settings of the uplink");
    }
    Ok(())
}

/// A switch as it shall be.
struct Switch<'a> {
    name: &'a str,
    mac: MacAddress,
    mtu: u16,
    /// Whether the rules of IPv4 see what it hands on.
    filter: bool,
    of: EnvironmentId,
}

impl Switch<'_> {
    fn ensure(&self, inside: &mut Netlink, all: &[Link], changes: &mut Changes) -> Result<Link, NetworkError> {
        let name = self.name;
        let doing = || NetworkError::kernel(format!("make switch {name} of environment {}", self.of));
        let bridge = match all.iter().find(|l| l.name == *name) {
            Some(link) if link.is_bridge => link.clone(),
            other => {
                if let Some(wrong) = other {
                    inside.delete_link(wrong.index).map_err(doing())?;
                }
                inside.add_bridge(name, Some(self.mac), self.mtu, self.filter).map_err(doing())?;
                changes.note(format!("made {name}"));
                inside.link(name).and_then(|l| l.ok_or_else(gone)).map_err(doing())?
            }
        };
        let settled = if self.filter { bridge.is_settled_to_filter } else { bridge.is_settled };
        if !settled {
            inside.settle_bridge(bridge.index, self.filter).map_err(doing())?;
            changes.note(format!("set the settings of {name}"));
        }
        let change = LinkChange {
            mac: Some(self.mac).filter(|m| bridge.mac != m.bytes()),
            mtu: Some(self.mtu).filter(|m| bridge.mtu != u32::from(*m)),
            up: !bridge.up,
            ..LinkChange::default()
        };
        if !change.is_empty() {
            inside.change_link(bridge.index, change).map_err(doing())?;
            changes.note(format!("set up {name}"));
        }
        Ok(bridge)
    }
}

pub(crate) fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "it vanished at once")
}

/// Opens the way to the gateway that has the edge. Whoever is the next hop has the gateway's hardware address.
fn open_transit(
    plan: &NetworkPlan,
    (transit, mtu): (&TransitPlan, u16),
    inside: &mut Netlink,
    link: &Link,
    changes: &mut Changes,
) -> io::Result<()> {
    let change = LinkChange {
        mac: Some(plan.bridge.mac).filter(|m| link.mac != m.bytes()),
        mtu: Some(mtu).filter(|m| link.mtu != u32::from(*m)),
        up: !link.up,
        ..LinkChange::default()
    };
    if !change.is_empty() {
        inside.change_link(link.index, change)?;
        changes.note("set up the way to the edge");
    }
    if !inside.has_neighbour(link.index, transit.next, plan.bridge.mac)? {
        inside.set_neighbour(link.index, transit.next, plan.bridge.mac)?;
        changes.note("set who is next on the way to the edge");
    }
    let there = inside.routes()?;
    let next = Route {
        destination: transit.next.into(),
        gateway: None,
        link: Some(link.index),
        table: MAIN_TABLE,
        metric: 0,
        kind: RouteType::Unicast,
    };
    let out = Route { destination: Ipv4Net::default(), gateway: Some(transit.next), ..next.clone() };
    for route in [next, out] {
        if !there.contains(&route) {
            inside.set_route(&route)?;
            changes.note(format!("set the route to {}", route.destination));
        }
    }
    Ok(())
}

/// Opens the inner end: a port of a switch where the plan says so, and otherwise with addresses and routes of its own.
/// Rules are loaded by now.
fn open_edge(
    plan: &EdgePlan,
    inside: &mut Netlink,
    port_of: Option<u32>,
    edge: &Link,
    changes: &mut Changes,
) -> io::Result<()> {
    let change = LinkChange {
        mac: Some(plan.mac).filter(|m| edge.mac != m.bytes()),
        mtu: Some(plan.mtu).filter(|m| edge.mtu != u32::from(*m)),
        master: port_of.filter(|_| edge.master != port_of),
        up: !edge.up,
        ..LinkChange::default()
    };
    if !change.is_empty() {
        inside.change_link(edge.index, change)?;
        changes.note("set up the edge's inner end");
    }
    let addresses: Vec<Ipv4Net> = plan.addresses.iter().map(|a| Ipv4Net::from(*a)).collect();
    set_addresses(inside, edge, &addresses, changes)?;
    if port_of.is_some() {
        return Ok(());
    }

    let there = inside.routes()?;
    for table in [MAIN_TABLE, OUTWARD_TABLE] {
        let to_lab = Route {
            destination: plan.lab,
            gateway: None,
            link: Some(edge.index),
            table,
            metric: 0,
            kind: RouteType::Unicast,
        };
        let out = Route { destination: Ipv4Net::default(), gateway: Some(plan.gateway), ..to_lab.clone() };
        for route in [to_lab, out] {
            if !there.contains(&route) {
                inside.set_route(&route)?;
                changes.note(format!("set the route to {}", route.destination));
            }
        }
    }
    if inside.ensure_mark_rule(plan.outward_mark, OUTWARD_TABLE)? {
        changes.note("set the routing rule");
    }
    Ok(())
}

/// The way by the machine that is the gateway of the others. A stale one is removed: it would be taken by nobody, and
/// mislead who looks.
fn set_detour(plan: &NetworkPlan, inside: &mut Netlink, bridge: Option<u32>, changes: &mut Changes) -> io::Result<()> {
    let wanted = plan.detour.map(|detour| Route {
        destination: Ipv4Net::default(),
        gateway: Some(detour.by),
        link: bridge,
        table: DETOUR_TABLE,
        metric: 0,
        kind: RouteType::Unicast,
    });
    let there: Vec<Route> = inside.routes()?.into_iter().filter(|route| route.table == DETOUR_TABLE).collect();
    if let Some(route) = wanted.as_ref().filter(|route| !there.contains(route)) {
        inside.set_route(route)?;
        changes.note("set the way by the gateway");
    }
    // The one that was replaced is gone already, which is no error.
    for route in there.iter().filter(|route| wanted.as_ref() != Some(route)) {
        inside.delete_route(route)?;
        changes.note("removed a way by a gateway");
    }
    if let Some(detour) = plan.detour
        && inside.ensure_mark_rule(detour.mark, DETOUR_TABLE)?
    {
        changes.note("set the routing rule of the gateway");
    }
    Ok(())
}

fn set_addresses(inside: &mut Netlink, link: &Link, wanted: &[Ipv4Net], changes: &mut Changes) -> io::Result<()> {
    let there: Vec<Ipv4Net> =
        inside.addresses()?.into_iter().filter(|(index, _)| *index == link.index).map(|(_, a)| a).collect();
    for address in there.iter().filter(|a| !wanted.contains(a)) {
        inside.delete_address(link.index, *address)?;
        changes.note(format!("removed {address} from {}", link.name));
    }
    for address in wanted.iter().filter(|a| !there.contains(a)) {
        inside.add_address(link.index, *address)?;
        changes.note(format!("gave {address} to {}", link.name));
    }
    Ok(())
}

/// Looks, and changes nothing. Runs in the daemon's namespace.
pub(crate) fn observe(plan: &NetworkPlan, path: &Path, loaded: Option<nft::Loaded>) -> Result<Observed, NetworkError> {
    let Some(namespace) = Namespace::at(path)? else { return Ok(Observed::default()) };
    let doing = || NetworkError::kernel(format!("look at environment {}", plan.environment));
    let mut daemon = Netlink::open().map_err(doing())?;
    // Whether the outer end is a port of a bridge, and whether the inner one is.
    let edge = plan.edge.iter().map(|edge| (&edge.outer, &edge.inner, (true, edge.port_of.is_some())));
    let uplink = plan.uplinks().map(|(_, uplink)| (&uplink.outer, &uplink.inner, (false, true)));
    let transit = plan.uplinks().filter_map(|(_, uplink)| uplink.transit.as_ref());
    let transit = transit.map(|transit| (&transit.outer, &transit.inner, (false, false)));
    let pairs = edge.chain(uplink).chain(transit).map(|(outer, inner, ports)| Ok((daemon.link(outer)?, inner, ports)));
    let pairs = pairs.collect::<io::Result<Vec<_>>>().map_err(doing())?;
    let mut inside = namespace.run_blocking("look at an environment", Inside::open)?;
    let all = inside.netlink.links().map_err(doing())?;
    let find = |name: &str| all.iter().find(|l| l.name == name);
    Ok(Observed {
        namespace: true,
        bridge: plan
            .bridges()
            .map(|bridge| &bridge.name)
            .chain(plan.second.iter().map(|s| &s.bridge))
            .all(|name| find(name).is_some_and(|l| l.up && l.is_bridge)),
        joins: joins::are_there(plan, path, &all)?,
        edge: pairs.iter().all(|(outer, inner, ports)| match (outer, find(inner)) {
            (Some(outer), Some(inner)) => {
                let are_ports = (outer.master.is_some(), inner.master.is_some());
                outer.up && inner.up && are_ports == *ports && are_pair(outer, inner)
            }
            _ => false,
        }),
        rules: nft::Loaded::holds(loaded, &plan.nftables, &inside.netfilter).map_err(doing())?,
        taps: plan
            .all_taps()
            .flat_map(|(_, tap)| tap.names())
            .filter(|n| find(n).is_some())
            .map(str::to_owned)
            .collect(),
    })
}

/// Removes all that is there of an environment. Runs in the daemon's namespace.
///
/// The edge is removed by name; the switch goes with the namespace. A tap that is still held keeps the namespace alive,
/// but from there no way leads anywhere, and both end with the tap's holder.
pub(crate) fn remove(environment: EnvironmentId, path: &Path, owner: &str) -> Result<(), NetworkError> {
    let doing = || NetworkError::kernel(format!("remove the network of environment {environment}"));
    if let Some(namespace) = Namespace::at(path)? {
        let mut inside = namespace.run_blocking("remove an environment", Inside::open)?;
        for link in inside.netlink.links().map_err(doing())?.iter().filter(|l| l.is_veth) {
            inside.netlink.delete_link(link.index).map_err(doing())?;
        }
    }
    // An outer end whose namespace isn't mounted any more but still held by somebody.
    let mut daemon = Netlink::open().map_err(doing())?;
    let alias = outer_alias(owner, environment);
    for link in daemon.links().map_err(doing())?.iter().filter(|l| l.alias.as_ref() == Some(&alias)) {
        daemon.delete_link(link.index).map_err(doing())?;
    }
    namespace::remove(path)
}

/// The environments that outer ends in the daemon's namespace belong to.
pub(crate) fn owners_of_edges(owner: &str) -> Result<Vec<EnvironmentId>, NetworkError> {
    let doing = || NetworkError::kernel("list this host's links");
    let links = Netlink::open().and_then(|mut n| n.links()).map_err(doing())?;
    Ok(links.iter().filter_map(|l| l.alias.as_deref()?.strip_prefix(owner)?.strip_prefix(':')?.parse().ok()).collect())
}
