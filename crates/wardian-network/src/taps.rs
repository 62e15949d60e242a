//! The taps of an environment's machines, as ports of its switch.
//!
//! A machine has one, or two while it is handed over; of two, one passes frames at most. Nothing here turns over from
//! one to the other: that is `hand_over`'s.

use std::{io, os::fd::OwnedFd};

use wardian_model::id::EnvironmentId;
use wardian_plan::network::{NetworkPlan, TapPlan};

use crate::{
    environment::Changes,
    error::NetworkError,
    kernel::{
        message::{Link, LinkChange, Passing},
        netlink::Netlink,
        tap,
    },
};

/// Whom a tap is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The only process of a machine.
    First,
    /// One that waits until it may take over.
    Successor,
}

/// Makes a tap of a machine, a port of the switch. Runs in the environment's namespace.
pub(crate) fn open(
    environment: EnvironmentId,
    bridge: &str,
    mtu: u16,
    plan: &TapPlan,
    role: Role,
) -> Result<(OwnedFd, String), NetworkError> {
    let doing = || NetworkError::kernel(format!("make a tap of {}", plan.machine));
    let busy = |tap: &str| NetworkError::TapBusy { machine: plan.machine.clone(), tap: tap.to_owned() };
    let no = || NetworkError::NoEnvironment { environment };
    let mut netlink = Netlink::open().map_err(doing())?;
    let all = netlink.links().map_err(doing())?;
    // A tap exists as long as somebody holds it.
    let (held, free): (Vec<&str>, Vec<&str>) =
        plan.names().into_iter().partition(|name| all.iter().any(|l| l.name == *name));
    let name = match (role, free.first(), held.first()) {
        (Role::Successor, Some(name), _) | (Role::First, Some(name), None) => *name,
        (_, _, held) => return Err(busy(held.unwrap_or(&&*plan.name))),
    };
    let switch = all.iter().find(|l| l.name == bridge).ok_or_else(no)?.index;
    let file = tap::open(name, plan.owner).map_err(|e| match e.kind() {
        io::ErrorKind::ResourceBusy => busy(name),
        _ => doing()(e),
    })?;
    let link = netlink.link(name).map_err(doing())?.ok_or_else(no)?;
    let passing = match role {
        Role::First => Passing::Frames,
        Role::Successor => Passing::Nothing,
    };
    pin(&mut netlink, &link, switch, mtu, plan, Some(passing))?;
    Ok((file, name.to_owned()))
}

/// Existing taps are ports of the switch. One that is alone passes frames; of two, those who hand over decide.
pub(crate) fn pin_all(plan: &NetworkPlan, inside: &mut Netlink, changes: &mut Changes) -> Result<(), NetworkError> {
    let all = inside.links().map_err(NetworkError::kernel("list an environment's links"))?;
    for (switch, tap) in plan.all_taps() {
        let Some(bridge) = all.iter().find(|link| link.name == switch).map(|link| link.index) else { continue };
        let there: Vec<&Link> = all.iter().filter(|l| tap.names().contains(&&*l.name)).collect();
        for link in &there {
            let passing = match there.len() {
                1 => Some(Passing::Frames),
                // No port at all, so nobody's turn.
                _ if link.master != Some(bridge) => Some(Passing::Nothing),
                _ => None,
            };
            match pin(inside, link, bridge, plan.bridge.mtu, tap, passing) {
                Ok(true) => changes.note(format!("set up {}", link.name)),
                Ok(false) => {}
                // Its process has just ended.
                Err(NetworkError::Kernel { source, .. }) if source.raw_os_error() == Some(libc::ENODEV) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}

/// Makes `link` a port of the switch, up, that passes what is said, or what it did; says whether it wasn't so.
fn pin(
    inside: &mut Netlink,
    link: &Link,
    bridge: u32,
    mtu: u16,
    tap: &TapPlan,
    passing: Option<Passing>,
) -> Result<bool, NetworkError> {
    let doing = || NetworkError::kernel(format!("set up {} of {}", link.name, tap.machine));
    let mut changed = false;
    let join = LinkChange {
        mtu: Some(mtu).filter(|m| link.mtu != u32::from(*m)),
        master: Some(bridge).filter(|_| link.master != Some(bridge)),
        ..LinkChange::default()
    };
    // A new port passes frames, if nothing else is said.
    let now = link.passing.filter(|now| join.master.is_none() || *now == Passing::Frames);
    if !join.is_empty() {
        inside.change_link(link.index, join).map_err(doing())?;
        changed = true;
    }
    if let Some(passing) = passing
        && now != Some(passing)
    {
        inside.set_port(link.index, passing).map_err(doing())?;
        changed = true;
    }
    // Last: up to here a new tap passed nothing, whatever its settings.
    if !link.up {
        inside.change_link(link.index, LinkChange { up: true, ..LinkChange::default() }).map_err(doing())?;
        changed = true;
    }
    Ok(changed)
}
