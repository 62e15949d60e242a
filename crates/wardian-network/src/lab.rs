//! The lab network, in the daemon's namespace: bridge, address, routes, settings and rules.

use std::fs;

use ipnet::Ipv4Net;
use netlink_packet_route::route::RouteType;
use wardian_plan::network::LabPlan;

use crate::{
    environment::Changes,
    error::NetworkError,
    kernel::{
        message::{Link, LinkChange, MAIN_TABLE, Route},
        netfilter::Netfilter,
        netlink::Netlink,
        nft, sysctl,
    },
};

/// Behind every other route for the lab prefix: when the bridge is down, nothing for it leaves the host another way.
const LAST_METRIC: u32 = 4_000_000_000;

/// Routes of shorter prefixes are ways to "everywhere else", not networks of their own (some VPNs write 0.0.0.0/1).
const SHORTEST_NETWORK: u8 = 8;

/// Makes the calling thread's namespace match `plan`. `loaded` is what an earlier call returned, if
/// there was one in this process.
pub(crate) fn ensure(
    plan: &LabPlan,
    owner: &str,
    loaded: Option<nft::Loaded>,
) -> Result<(Changes, nft::Loaded), NetworkError> {
    let name = &plan.bridge;
    check_name(name)?;
    let mut changes = Changes::default();
    let mut netlink = Netlink::open().map_err(NetworkError::kernel("open a netlink socket"))?;

    let found = netlink.link(name).map_err(NetworkError::kernel(format!("look for link {name}")))?;
    if let Some(link) = &found {
        refuse_foreign(link, owner)?;
    }
    refuse_overlap(&mut netlink, plan, found.as_ref().map(|l| l.index))?;

    // Before the bridge can pass anything, and before `route_localnet` is set.
    let doing = || NetworkError::kernel("ask for the generation of the lab network's rules");
    let netfilter = Netfilter::open().map_err(doing())?;
    if !nft::Loaded::holds(loaded, &plan.nftables, &netfilter).map_err(doing())? {
        let whose = "the lab network";
        if let Err(NetworkError::Nft { .. }) = nft::start(whose, &plan.nftables)?.finish() {
            nft::replace(whose, &[&format!("inet {}", plan.table)], &plan.nftables)?;
        }
        changes.note("loaded the lab network's rules");
    }

    let link = match found {
        Some(link) => link,
        None => {
            let doing = || NetworkError::kernel(format!("make bridge {name}"));
            netlink.add_bridge(name, None, plan.mtu, false).map_err(doing())?;
            changes.note(format!("made bridge {name}"));
            netlink.link(name).map_err(doing())?.ok_or_else(|| NetworkError::NoLab { name: name.clone() })?
        }
    };

    let doing = || NetworkError::kernel(format!("set up bridge {name}"));
    let mut change = LinkChange::default();
    if link.alias.as_deref() != Some(owner) {
        change.alias = Some(owner.to_owned());
        // Said once, its own address stays; otherwise a bridge takes the lowest of its ports'.
        if let Ok(bytes) = <[u8; 6]>::try_from(&link.mac[..]) {
            change.mac = wardian_model::mac::MacAddress::new(bytes).ok();
        }
    }
    if let Some(mac) = plan.mac.filter(|mac| link.mac[..] != mac.bytes()) {
        change.mac = Some(mac);
    }
    if link.mtu != u32::from(plan.mtu) {
        change.mtu = Some(plan.mtu);
    }
    change.up = !link.up;
    if !change.is_empty() {
        netlink.change_link(link.index, change).map_err(doing())?;
        changes.note(format!("set up bridge {name}"));
    }

    if !link.is_settled {
        netlink.settle_bridge(link.index, false).map_err(doing())?;
        changes.note(format!("set the settings of {name}"));
    }

    let wanted = Ipv4Net::new(plan.address, plan.prefix.prefix_len()).unwrap_or(plan.prefix);
    let addresses = netlink.addresses().map_err(doing())?;
    for (_, address) in addresses.iter().filter(|(index, address)| *index == link.index && *address != wanted) {
        netlink.delete_address(link.index, *address).map_err(doing())?;
        changes.note(format!("removed {address} from {name}"));
    }
    if !addresses.contains(&(link.index, wanted)) {
        netlink.add_address(link.index, wanted).map_err(doing())?;
        changes.note(format!("gave {name} its address"));
    }

    let last = last_route(plan.prefix);
    if !netlink.routes().map_err(doing())?.contains(&last) {
        netlink.set_route(&last).map_err(NetworkError::kernel(format!("set the last route for {}", plan.prefix)))?;
        changes.note("set the last route");
    }

    for (key, value) in [
        ("ipv4/ip_forward".to_owned(), "1"),
        (format!("ipv4/conf/{name}/rp_filter"), "0"),
        (format!("ipv4/conf/{name}/send_redirects"), "0"),
        (format!("ipv4/conf/{name}/accept_redirects"), "0"),
        (format!("ipv4/conf/{name}/route_localnet"), "1"),
    ] {
        if sysctl::set(&key, value)? {
            changes.note(format!("set {key}"));
        }
    }
    if sysctl::set_if_there(&format!("ipv6/conf/{name}/disable_ipv6"), "1")? {
        changes.note("turned IPv6 off on the lab bridge");
    }
    bypass_netfilter(&mut netlink, name, &mut changes)?;
    let loaded = nft::Loaded::now(&plan.nftables, &netfilter)
        .map_err(NetworkError::kernel("ask for the generation of the lab network's rules"))?;
    Ok((changes, loaded))
}

/// Keeps br_netfilter away from the lab bridge, where it is present.
///
/// It runs bridged frames through the rules for routed packets, and translates a packet for one of the host's addresses
/// before the bridge has handed it to the host: a machine that calls an exposed port by the host's address would get
/// its answer past the host. A bridge can't be left out by itself, only a whole namespace, so this is done only while
/// no other bridge could miss it.
fn bypass_netfilter(netlink: &mut Netlink, name: &str, changes: &mut Changes) -> Result<(), NetworkError> {
    const KEYS: [&str; 3] = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"];
    let is_on = |key: &str| fs::read_to_string(format!("/proc/sys/net/bridge/{key}")).is_ok_and(|v| v.trim() != "0");
    if !KEYS.into_iter().any(is_on) {
        return Ok(());
    }
    let links = netlink.links().map_err(NetworkError::kernel("list this host's links"))?;
    if let Some(other) = links.iter().find(|l| l.is_bridge && l.name != name) {
        tracing::warn!(
            bridge = name,
            other = other.name,
            "br_netfilter is on and another bridge may need it: machines can't reach exposed ports by this host's own \
             addresses; by the machines' public addresses they can"
        );
        return Ok(());
    }
    for key in KEYS {
        if sysctl::set_if_there(&format!("bridge/{key}"), "0")? {
            changes.note(format!("set bridge/{key}"));
        }
    }
    Ok(())
}

/// Removes what [`ensure`] made and only that. Forwarding stays on: others may have come to rely on it.
pub(crate) fn remove(bridge: &str, prefix: Ipv4Net, table: &str, owner: &str) -> Result<(), NetworkError> {
    let mut netlink = Netlink::open().map_err(NetworkError::kernel("open a netlink socket"))?;
    let doing = || NetworkError::kernel(format!("remove bridge {bridge}"));
    // Without a bridge it was half removed before; what follows may still be there.
    if let Some(link) = netlink.link(bridge).map_err(doing())? {
        refuse_foreign(&link, owner)?;
        netlink.delete_link(link.index).map_err(doing())?;
    }
    netlink.delete_route(&last_route(prefix)).map_err(doing())?;
    nft::replace("the lab network", &[&format!("inet {table}")], "")
}

fn last_route(prefix: Ipv4Net) -> Route {
    Route {
        destination: prefix.trunc(),
        gateway: None,
        link: None,
        table: MAIN_TABLE,
        metric: LAST_METRIC,
        kind: RouteType::Unreachable,
    }
}

fn check_name(name: &str) -> Result<(), NetworkError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || name.len() > 15 || !name.chars().all(good) || name.starts_with('.') {
        return Err(NetworkError::BridgeName { name: name.into() });
    }
    Ok(())
}

fn refuse_foreign(link: &Link, owner: &str) -> Result<(), NetworkError> {
    // A bridge of ours without alias is one whose maker was killed between two messages. It has no address yet:
    // whatever somebody else made and uses does.
    let ours = match &link.alias {
        Some(alias) => alias == owner,
        None => link.is_bridge && !link.up,
    };
    if ours {
        return Ok(());
    }
    let owner = link.alias.clone().unwrap_or_else(|| "somebody else".into());
    Err(NetworkError::Foreign { name: link.name.clone(), owner })
}

/// Refuses a lab prefix that hides, or is hidden by, a network this host already has.
fn refuse_overlap(netlink: &mut Netlink, plan: &LabPlan, own: Option<u32>) -> Result<(), NetworkError> {
    let doing = || NetworkError::kernel("list this host's networks");
    let overlaps = |other: &Ipv4Net| {
        let (a, b) = (plan.prefix.trunc(), other.trunc());
        a.contains(&b) || b.contains(&a)
    };
    let mut routes = netlink.routes().map_err(doing())?;
    routes.retain(|r| {
        overlaps(&r.destination)
            && r.destination.prefix_len() >= SHORTEST_NETWORK
            && (r.link.is_none() || r.link != own)
            && *r != last_route(plan.prefix)
    });
    let mut addresses = netlink.addresses().map_err(doing())?;
    addresses.retain(|(index, address)| Some(*index) != own && overlaps(address));
    if routes.is_empty() && addresses.is_empty() {
        return Ok(());
    }
    let links = netlink.links().map_err(doing())?;
    let by = |index: u32| {
        links.iter().find(|l| l.index == index).map_or_else(|| format!("link {index}"), |l| l.name.clone())
    };
    let (network, by) = match (addresses.first(), routes.first()) {
        (Some((index, address)), _) => (*address, by(*index)),
        (None, Some(route)) => (route.destination, route.link.map_or_else(|| "a route of this host".into(), by)),
        (None, None) => return Ok(()),
    };
    Err(NetworkError::Overlap { prefix: plan.prefix, network, by })
}
