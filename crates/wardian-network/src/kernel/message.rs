//! Links, addresses, routes and rules in our own few words, over [`Netlink`].

use std::{
    io,
    mem::discriminant,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, OwnedFd},
};

use ipnet::Ipv4Net;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{
        BridgeBooleanOptionFlags, BridgeBooleanOptions, BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoKind,
        InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
    },
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
    rule::{RuleAction, RuleAttribute, RuleMessage},
};
use wardian_model::mac::MacAddress;
use wardian_plan::network::PARKED_GROUP;

use super::netlink::{Mode, Netlink};

/// A link, as far as we care.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mac: Vec<u8>,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    /// The bridge it is a port of.
    pub(crate) master: Option<u32>,
    /// What it passes, as far as it is or becomes a port of a bridge; none when its settings say neither.
    pub(crate) passing: Option<Passing>,
    /// Whether a bridge learns from it, for a port of one.
    pub(crate) is_learning: bool,
    /// The other end's index in its namespace, for one of a pair.
    pub(crate) peer: Option<u32>,
    pub(crate) alias: Option<String>,
    pub(crate) is_bridge: bool,
    /// Whether a bridge has the settings it shall have.
    pub(crate) is_settled: bool,
    /// The same for one that shows the packets it hands on to the rules of IPv4.
    pub(crate) is_settled_to_filter: bool,
    pub(crate) is_veth: bool,
    /// Whether there is no hardware behind it: the kernel says of what kind such links are.
    pub(crate) is_in_memory: bool,
}

/// What of a link shall change.
#[derive(Debug, Default)]
pub(crate) struct LinkChange {
    pub(crate) mac: Option<MacAddress>,
    pub(crate) mtu: Option<u16>,
    pub(crate) master: Option<u32>,
    pub(crate) alias: Option<String>,
    pub(crate) up: bool,
}

impl LinkChange {
    pub(crate) fn is_empty(&self) -> bool {
        self.mac.is_none() && self.mtu.is_none() && self.master.is_none() && self.alias.is_none() && !self.up
    }
}

/// A route of IPv4, as far as we care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: Ipv4Net,
    pub(crate) gateway: Option<Ipv4Addr>,
    /// The link; none for routes that lead nowhere.
    pub(crate) link: Option<u32>,
    pub(crate) table: u32,
    pub(crate) metric: u32,
    pub(crate) kind: RouteType,
}

pub(crate) const MAIN_TABLE: u32 = 254;

impl Netlink {
    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        let answer = self.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        Ok(answer.into_iter().filter_map(link).collect())
    }

    pub(crate) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.into()));
        Ok(self.get(RouteNetlinkMessage::GetLink(message))?.and_then(link))
    }

    /// A bridge without spanning tree: nothing but our own ports ever joins it, and a port forwards at once.
    /// With `filter`, the rules of IPv4 see the packets it hands on.
    pub(crate) fn add_bridge(&mut self, name: &str, mac: Option<MacAddress>, mtu: u16, filter: bool) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.into()));
        message.attributes.push(LinkAttribute::Mtu(mtu.into()));
        message.attributes.extend(mac.map(|m| LinkAttribute::Address(m.bytes().to_vec())));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(bridge_settings(filter))),
        ]));
        self.change(RouteNetlinkMessage::NewLink(message), Mode::Create)
    }

    /// Sets a bridge's own settings again, whatever they are.
    pub(crate) fn settle_bridge(&mut self, index: u32, filter: bool) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(bridge_settings(filter))),
        ]));
        self.change(RouteNetlinkMessage::NewLink(message), Mode::Change)
    }

    /// A pair, both ends down: one here, a port of `master`; the other in `there`.
    pub(crate) fn add_pair(
        &mut self,
        here: &str,
        master: Option<u32>,
        there: (&str, Option<MacAddress>, &OwnedFd),
        mtu: u16,
    ) -> io::Result<()> {
        let (name, mac, namespace) = there;
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(name.into()),
            LinkAttribute::Mtu(mtu.into()),
            LinkAttribute::NetNsFd(namespace.as_raw_fd()),
        ];
        peer.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.bytes().to_vec())));
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(here.into()),
            LinkAttribute::Mtu(mtu.into()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        message.attributes.extend(master.map(LinkAttribute::Controller));
        self.change(RouteNetlinkMessage::NewLink(message), Mode::Create)
    }

    /// A pair with both ends here, both down.
    pub(crate) fn add_pair_here(&mut self, one: &str, other: &str, mtu: u16) -> io::Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![LinkAttribute::IfName(other.into()), LinkAttribute::Mtu(mtu.into())];
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(one.into()),
            LinkAttribute::Mtu(mtu.into()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        self.change(RouteNetlinkMessage::NewLink(message), Mode::Create)
    }

    pub(crate) fn change_link(&mut self, index: u32, change: LinkChange) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        if change.up {
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
        }
        message.attributes.extend(change.mac.map(|m| LinkAttribute::Address(m.bytes().to_vec())));
        message.attributes.extend(change.mtu.map(|m| LinkAttribute::Mtu(m.into())));
        message.attributes.extend(change.alias.map(LinkAttribute::IfAlias));
        message.attributes.extend(change.master.map(LinkAttribute::Controller));
        self.change(RouteNetlinkMessage::SetLink(message), Mode::Change)
    }

    /// Makes a port of a bridge pass frames, or nothing.
    pub(crate) fn set_port(&mut self, index: u32, passing: Passing) -> io::Result<()> {
        self.change(port_message(index, passing), Mode::Change)
    }

    /// Makes a bridge learn nothing from a port, and forget what it has learned.
    pub(crate) fn stop_learning(&mut self, index: u32) -> io::Result<()> {
        let settings = vec![InfoBridgePort::Learning(false), InfoBridgePort::Flush];
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(settings)),
        ]));
        self.change(RouteNetlinkMessage::NewLink(message), Mode::Change)
    }

    pub(crate) fn delete_link(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        ignore(self.change(RouteNetlinkMessage::DelLink(message), Mode::Change), &[libc::ENODEV])
    }

    /// All IPv4 addresses, with the index of their link.
    pub(crate) fn addresses(&mut self) -> io::Result<Vec<(u32, Ipv4Net)>> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        let answer = self.dump(&RouteNetlinkMessage::GetAddress(message))?;
        Ok(answer
            .into_iter()
            .filter_map(|m| {
                let RouteNetlinkMessage::NewAddress(m) = m else { return None };
                // The local one: of a point-to-point link, `Address` is the other end's.
                let local = m.attributes.iter().find_map(|a| match a {
                    AddressAttribute::Local(IpAddr::V4(a)) => Some(*a),
                    _ => None,
                })?;
                Some((m.header.index, Ipv4Net::new(local, m.header.prefix_len).ok()?))
            })
            .collect())
    }

    pub(crate) fn add_address(&mut self, index: u32, address: Ipv4Net) -> io::Result<()> {
        let mut message = address_message(index, address);
        if address.prefix_len() < 31 {
            message.attributes.push(AddressAttribute::Broadcast(address.broadcast()));
        }
        self.change(RouteNetlinkMessage::NewAddress(message), Mode::Replace)
    }

    pub(crate) fn delete_address(&mut self, index: u32, address: Ipv4Net) -> io::Result<()> {
        let message = address_message(index, address);
        ignore(self.change(RouteNetlinkMessage::DelAddress(message), Mode::Change), &[libc::EADDRNOTAVAIL])
    }

    /// All IPv4 routes of all tables.
    pub(crate) fn routes(&mut self) -> io::Result<Vec<Route>> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        let answer = self.dump(&RouteNetlinkMessage::GetRoute(message))?;
        Ok(answer.into_iter().filter_map(route).collect())
    }

    pub(crate) fn set_route(&mut self, route: &Route) -> io::Result<()> {
        self.change(RouteNetlinkMessage::NewRoute(route_message(route)), Mode::Replace)
    }

    pub(crate) fn delete_route(&mut self, route: &Route) -> io::Result<()> {
        ignore(self.change(RouteNetlinkMessage::DelRoute(route_message(route)), Mode::Change), &[libc::ESRCH])
    }

    /// Says who has an address, so that nobody is asked for it.
    pub(crate) fn set_neighbour(&mut self, link: u32, address: Ipv4Addr, mac: MacAddress) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = link;
        message.header.state = NeighbourState::Permanent;
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)),
            NeighbourAttribute::LinkLayerAddress(mac.bytes().to_vec()),
        ];
        self.change(RouteNetlinkMessage::NewNeighbour(message), Mode::Replace)
    }

    /// Whether that is said, and said for good.
    pub(crate) fn has_neighbour(&mut self, link: u32, address: Ipv4Addr, mac: MacAddress) -> io::Result<bool> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        let wanted = [
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)),
            NeighbourAttribute::LinkLayerAddress(mac.bytes().to_vec()),
        ];
        Ok(self.dump(&RouteNetlinkMessage::GetNeighbour(message))?.into_iter().any(|m| {
            let RouteNetlinkMessage::NewNeighbour(m) = m else { return false };
            let is_there = m.header.ifindex == link && m.header.state == NeighbourState::Permanent;
            is_there && wanted.iter().all(|attribute| m.attributes.contains(attribute))
        }))
    }

    /// Packets with `mark` are looked up in `table`; says whether the rule was missing.
    pub(crate) fn ensure_mark_rule(&mut self, mark: u32, table: u32) -> io::Result<bool> {
        let mut message = RuleMessage::default();
        message.header.family = AddressFamily::Inet;
        let there = self.dump(&RouteNetlinkMessage::GetRule(message.clone()))?.into_iter().any(|m| {
            let RouteNetlinkMessage::NewRule(rule) = m else { return false };
            rule.attributes.contains(&RuleAttribute::FwMark(mark))
                && rule.attributes.contains(&RuleAttribute::Table(table))
        });
        if there {
            return Ok(false);
        }
        message.header.action = RuleAction::ToTable;
        message.attributes =
            vec![RuleAttribute::FwMark(mark), RuleAttribute::Table(table), RuleAttribute::Priority(mark)];
        ignore(self.change(RouteNetlinkMessage::NewRule(message), Mode::Create), &[libc::EEXIST]).map(|()| true)
    }
}

/// Per-bridge netfilter calls are off, unless asked for; they would send frames through the rules of others a second
/// time.
fn bridge_settings(filter: bool) -> Vec<InfoBridge> {
    vec![
        InfoBridge::ForwardDelay(0),
        InfoBridge::StpState(BridgeStpState::Disabled),
        // Without a querier, snooping would forget the groups of a quiet network.
        InfoBridge::MulticastSnooping(false),
        // Frames to link-local groups skip all rules, yet the bridge would believe their senders.
        InfoBridge::MultiBoolOpt(NO_LINK_LOCAL_LEARNING),
        InfoBridge::NfCallIpTables(filter),
        InfoBridge::NfCallIp6Tables(false),
        InfoBridge::NfCallArpTables(false),
    ]
}

/// What a port of a bridge lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    /// Every frame the rules allow.
    Frames,
    /// Not one frame, in neither direction; what the bridge learned from the port is forgotten.
    Nothing,
}

/// Changes what a port passes.
///
/// A parked port is one that nothing is flooded to, that no address is known behind, and whose frames come from nobody;
/// and it is in a group to which the rules let the bridge itself say nothing. These settings hold whatever happens to
/// link and carrier. A port's state (disabled, forwarding) would not: the kernel enables a port at each change of
/// carrier, which it may notice late; and a link that is taken down and up again waits for the same notice, up to a
/// second.
pub(crate) fn port_message(index: u32, passing: Passing) -> RouteNetlinkMessage {
    let on = passing == Passing::Frames;
    let mut settings = vec![
        InfoBridgePort::Learning(on),
        InfoBridgePort::UnicastFlood(on),
        InfoBridgePort::MulticastFlood(on),
        InfoBridgePort::BroadcastFlood(on),
        InfoBridgePort::Locked(!on),
    ];
    if !on {
        settings.push(InfoBridgePort::Flush);
    }
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::Group(if on { 0 } else { PARKED_GROUP }));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(settings)),
    ]));
    RouteNetlinkMessage::NewLink(message)
}

const NOT_FLOODED: InfoBridgePort = InfoBridgePort::UnicastFlood(false);

const NO_LINK_LOCAL_LEARNING: BridgeBooleanOptions = BridgeBooleanOptions {
    value: BridgeBooleanOptionFlags::NoLinkLocalLearn,
    mask: BridgeBooleanOptionFlags::NoLinkLocalLearn,
};

/// Whether a bridge has all of [`bridge_settings`] that its kernel knows.
fn are_settled(there: &[InfoBridge], filter: bool) -> bool {
    bridge_settings(filter).iter().all(|wanted| {
        let same = there.iter().find(|s| discriminant(*s) == discriminant(wanted));
        match (wanted, same) {
            (_, None) => true,
            (InfoBridge::MultiBoolOpt(wanted), Some(InfoBridge::MultiBoolOpt(there))) => {
                there.value.contains(wanted.value)
            }
            (wanted, Some(there)) => wanted == there,
        }
    })
}

pub(super) fn ignore(result: io::Result<()>, codes: &[i32]) -> io::Result<()> {
    result.or_else(|e| if e.raw_os_error().is_some_and(|code| codes.contains(&code)) { Ok(()) } else { Err(e) })
}

fn link(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: Vec::new(),
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        master: None,
        passing: None,
        is_learning: false,
        peer: None,
        alias: None,
        is_bridge: false,
        is_settled: true,
        is_settled_to_filter: true,
        is_veth: false,
        is_in_memory: false,
    };
    let (mut flooded, mut grouped) = (true, false);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::Group(group) => grouped = group == PARKED_GROUP,
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(mac) => link.mac = mac,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(index) => link.master = Some(index).filter(|i| *i != 0),
            LinkAttribute::Link(index) => link.peer = Some(index),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
            LinkAttribute::LinkInfo(infos) => {
                link.is_bridge |= infos.contains(&LinkInfo::Kind(InfoKind::Bridge));
                let settled = |filter: bool| {
                    infos.iter().all(|info| match info {
                        LinkInfo::Data(InfoData::Bridge(settings)) => are_settled(settings, filter),
                        _ => true,
                    })
                };
                link.is_settled &= settled(false);
                link.is_settled_to_filter &= settled(true);
                flooded &= !infos.iter().any(|info| match info {
                    LinkInfo::PortData(InfoPortData::BridgePort(port)) => port.contains(&NOT_FLOODED),
                    _ => false,
                });
                link.is_learning |= infos.iter().any(|info| match info {
                    LinkInfo::PortData(InfoPortData::BridgePort(port)) => {
                        port.contains(&InfoBridgePort::Learning(true))
                    }
                    _ => false,
                });
                link.is_veth |= infos.contains(&LinkInfo::Kind(InfoKind::Veth));
                link.is_in_memory |= infos.iter().any(|info| matches!(info, LinkInfo::Kind(_)));
            }
            _ => {}
        }
    }
    link.passing = match (flooded, grouped) {
        (true, false) => Some(Passing::Frames),
        (false, true) => Some(Passing::Nothing),
        _ => None,
    };
    Some(link)
}

fn address_message(index: u32, address: Ipv4Net) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.index = index;
    message.header.prefix_len = address.prefix_len();
    let ip = IpAddr::V4(address.addr());
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    message
}

fn route(message: RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    let mut destination = Ipv4Addr::UNSPECIFIED;
    let (mut gateway, mut link, mut table, mut metric) = (None, None, u32::from(message.header.table), 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(a)) => destination = *a,
            RouteAttribute::Gateway(RouteAddress::Inet(a)) => gateway = Some(*a),
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::Table(t) => table = *t,
            RouteAttribute::Priority(m) => metric = *m,
            _ => {}
        }
    }
    let destination = Ipv4Net::new(destination, message.header.destination_prefix_length).ok()?;
    Some(Route { destination, gateway, link, table, metric, kind: message.header.kind })
}

fn route_message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = route.destination.prefix_len();
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = route.kind;
    message.header.scope =
        if route.gateway.is_none() && route.link.is_some() { RouteScope::Link } else { RouteScope::Universe };
    message.attributes.push(RouteAttribute::Table(route.table));
    if route.destination.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(route.destination.network())));
    }
    message.attributes.extend(route.gateway.map(|g| RouteAttribute::Gateway(RouteAddress::Inet(g))));
    message.attributes.extend(route.link.map(RouteAttribute::Oif));
    if route.metric > 0 {
        message.attributes.push(RouteAttribute::Priority(route.metric));
    }
    message
}
