//! Links between environments that are joined: a pair of virtual interfaces, of which each has one end in its own
//! namespace, and routes to the other's subnets by it.
//!
//! Either of the two makes all of it, both ends, as soon as both namespaces are there. Whether anything passes is for
//! the rules of each, which are loaded before. An end that is wanted no more is deleted, and the other end and all
//! routes go with it.

use std::{
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ipnet::Ipv4Net;
use netlink_packet_route::route::RouteType;
use wardian_model::{id::EnvironmentId, mac::MacAddress};
use wardian_plan::network::{JOIN, JoinPlan, NetworkPlan};

use crate::{
    environment::{Changes, gone},
    error::NetworkError,
    kernel::{
        message::{Link, LinkChange, MAIN_TABLE, Route},
        namespace::Namespace,
        netlink::Netlink,
    },
    pairs::are_pair,
};

/// Two joined environments may be made at the same time, and a link between them is made once.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Makes the links of an environment, whose namespace is mounted at `path`, beside the others'.
pub(crate) fn ensure(
    plan: &NetworkPlan,
    path: &Path,
    here: &mut Netlink,
    changes: &mut Changes,
) -> Result<(), NetworkError> {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let doing = || NetworkError::kernel(format!("join environment {} with others", plan.environment));
    for link in here.links().map_err(doing())? {
        if is_ours(&link) && !plan.joins.iter().any(|join| join.inner == link.name) {
            here.delete_link(link.index).map_err(doing())?;
            changes.note(format!("removed {}", link.name));
        }
    }
    for join in &plan.joins {
        let other = beside(path, join.other);
        let Some(there) = Namespace::at(&other)? else { continue };
        match connect(join, here, &there, changes) {
            Ok(()) => {}
            // It has just gone, and the link with it.
            Err(_) if Namespace::at(&other)?.is_none() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether every link is there that can be.
pub(crate) fn are_there(plan: &NetworkPlan, path: &Path, links: &[Link]) -> Result<bool, NetworkError> {
    for join in &plan.joins {
        let is_there = links.iter().any(|link| link.name == join.inner && link.is_veth && link.up);
        if !is_there && Namespace::at(&beside(path, join.other))?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn beside(path: &Path, other: EnvironmentId) -> PathBuf {
    path.with_file_name(other.to_string())
}

/// Links are called so by nobody else in these namespaces.
fn is_ours(link: &Link) -> bool {
    link.is_veth && link.name.strip_prefix(JOIN).is_some_and(|slot| slot.parse::<u16>().is_ok())
}

fn connect(join: &JoinPlan, here: &mut Netlink, there: &Namespace, changes: &mut Changes) -> Result<(), NetworkError> {
    let doing = || NetworkError::kernel(format!("make the link to environment {}", join.other));
    let mut beyond = there.run_blocking("enter an environment", || {
        Netlink::open().map_err(NetworkError::kernel("open a netlink socket"))
    })?;
    let ends = (here.link(&join.inner).map_err(doing())?, beyond.link(&join.outer).map_err(doing())?);
    let (near, far) = match ends {
        (Some(near), Some(far)) if are_pair(&near, &far) => (near, far),
        (near, far) => {
            if let Some(near) = near {
                here.delete_link(near.index).map_err(doing())?;
            }
            // It may have been the other end of that one.
            if far.is_some()
                && let Some(far) = beyond.link(&join.outer).map_err(doing())?
            {
                beyond.delete_link(far.index).map_err(doing())?;
            }
            let outer = (&*join.outer, Some(join.mac), there.file());
            here.add_pair(&join.inner, None, outer, join.mtu).map_err(doing())?;
            changes.note(format!("made {}", join.inner));
            let near = here.link(&join.inner).and_then(|link| link.ok_or_else(gone)).map_err(doing())?;
            let far = beyond.link(&join.outer).and_then(|link| link.ok_or_else(gone)).map_err(doing())?;
            (near, far)
        }
    };
    let (mac, mtu) = (join.mac, join.mtu);
    End { link: near, mac, mtu, next: join.next, subnets: &join.theirs }.open(here, changes).map_err(doing())?;
    End { link: far, mac, mtu, next: join.back, subnets: &join.ours }.open(&mut beyond, changes).map_err(doing())
}

/// One end of a link, in its namespace.
struct End<'a> {
    link: Link,
    mac: MacAddress,
    mtu: u16,
    /// What is next on the way, by which nobody else goes: it has the hardware address of the other end, and is not
    /// asked for.
    next: Ipv4Addr,
    /// What is reached by it.
    subnets: &'a [Ipv4Net],
}

impl End<'_> {
    fn open(&self, netlink: &mut Netlink, changes: &mut Changes) -> io::Result<()> {
        let Self { link, mac, mtu, next, subnets } = self;
        let change = LinkChange {
            mac: Some(*mac).filter(|mac| link.mac != mac.bytes()),
            mtu: Some(*mtu).filter(|mtu| link.mtu != u32::from(*mtu)),
            up: !link.up,
            ..LinkChange::default()
        };
        if !change.is_empty() {
            netlink.change_link(link.index, change)?;
            changes.note(format!("set up {}", link.name));
        }
        if !netlink.has_neighbour(link.index, *next, *mac)? {
            netlink.set_neighbour(link.index, *next, *mac)?;
            changes.note(format!("set who is next by {}", link.name));
        }
        let there = netlink.routes()?;
        let next = Route {
            destination: (*next).into(),
            gateway: None,
            link: Some(link.index),
            table: MAIN_TABLE,
            metric: 0,
            kind: RouteType::Unicast,
        };
        let gateway = Some(next.destination.addr());
        let by_it = |subnet: &Ipv4Net| Route { destination: *subnet, gateway, ..next.clone() };
        for route in std::iter::once(next.clone()).chain(subnets.iter().map(by_it)) {
            if !there.contains(&route) {
                netlink.set_route(&route)?;
                changes.note(format!("set the route to {}", route.destination));
            }
        }
        Ok(())
    }
}
