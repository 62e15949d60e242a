//! The links of a host towards the others: the device that has the provider address, and the uplink of the lab bridge,
//! a pair of which one end is the bridge's port and the other the packet filter's.

use std::net::Ipv4Addr;

use wardian_model::mac::MacAddress;

use super::UnderlayError;
use crate::{
    environment::{Changes, gone},
    error::NetworkError,
    kernel::{
        message::{Link, LinkChange},
        netlink::Netlink,
        sysctl,
    },
    pairs::are_pair,
};

/// The end that is a port of the lab bridge.
pub(super) const PORT: &str = "wlab-in";
/// The end where the packet filter is.
pub(super) const OUT: &str = "wlab-out";

pub(super) fn netlink() -> Result<Netlink, NetworkError> {
    Netlink::open().map_err(NetworkError::kernel("open a netlink socket"))
}

/// That the device with the provider address takes packets of `mtu` bytes.
pub(super) fn is_wide(device: &Link, provider: Ipv4Addr, mtu: u16) -> Result<(), UnderlayError> {
    if device.mtu < u32::from(mtu) {
        let name = device.name.clone();
        return Err(UnderlayError::Narrow { address: provider, device: name, takes: device.mtu, mtu });
    }
    Ok(())
}

/// The device that has the provider address.
pub(super) fn device_of(provider: Ipv4Addr) -> Result<Link, UnderlayError> {
    let doing = || NetworkError::kernel("list this host's addresses");
    let mut netlink = netlink()?;
    let addresses = netlink.addresses().map_err(doing())?;
    let links = netlink.links().map_err(doing())?;
    let link = |index: u32| links.iter().find(|link| link.index == index);
    if let Some(link) = addresses.iter().find(|(_, a)| a.addr() == provider).and_then(|(index, _)| link(*index)) {
        // Loopback has one of zeroes, tunnels have none.
        if link.mac.len() != 6 || link.mac.iter().all(|byte| *byte == 0) {
            return Err(UnderlayError::NotEthernet { address: provider, device: link.name.clone() });
        }
        return Ok(link.clone());
    }
    let has: Vec<String> = addresses
        .iter()
        .filter(|(_, address)| !address.addr().is_loopback())
        .filter_map(|(index, address)| Some(format!("{} ({})", address.addr(), link(*index)?.name)))
        .collect();
    let there = if has.is_empty() { "it has no address".to_owned() } else { format!("it has {}", has.join(", ")) };
    Err(UnderlayError::NoProvider { address: provider, there })
}

/// Its hardware address, which [`device_of`] has looked at.
pub(super) fn mac_of(device: &Link) -> [u8; 6] {
    <[u8; 6]>::try_from(&device.mac[..]).unwrap_or_default()
}

/// Makes the uplink of the lab bridge as it shall be; tells the index of its port, and the bridge's hardware address.
pub(super) fn ensure(bridge: &str, owner: &str, changes: &mut Changes) -> Result<(u32, MacAddress), UnderlayError> {
    let doing = || NetworkError::kernel(format!("make the uplink of {bridge}"));
    let mut netlink = netlink()?;
    let no_bridge = || NetworkError::NoLab { name: bridge.to_owned() };
    let lab = netlink.link(bridge).map_err(doing())?.filter(|link| link.is_bridge).ok_or_else(no_bridge)?;
    let mac =
        <[u8; 6]>::try_from(&lab.mac[..]).ok().and_then(|bytes| MacAddress::new(bytes).ok()).ok_or_else(no_bridge)?;
    let (port, out) = (ours(&mut netlink, PORT, owner)?, ours(&mut netlink, OUT, owner)?);
    let (port, out) = match (port, out) {
        (Some(port), Some(out)) if are_pair(&port, &out) => (port, out),
        (port, out) => {
            for wrong in [port, out].into_iter().flatten() {
                netlink.delete_link(wrong.index).map_err(doing())?;
            }
            netlink.add_pair_here(PORT, OUT, mtu_of(&lab)).map_err(doing())?;
            changes.note(format!("made the uplink of {bridge}"));
            let mut link = |name| netlink.link(name).and_then(|link| link.ok_or_else(gone)).map_err(doing());
            (link(PORT)?, link(OUT)?)
        }
    };
    for (link, master) in [(&port, Some(lab.index)), (&out, None)] {
        // Before it is up: neither end has anything to say of its own.
        sysctl::set_if_there(&format!("ipv6/conf/{}/disable_ipv6", link.name), "1")?;
        // As large as the bridge's: what is too large for other hosts is answered by the filter, and a smaller port
        // would swallow it.
        let change = LinkChange {
            mtu: Some(mtu_of(&lab)).filter(|mtu| link.mtu != u32::from(*mtu)),
            master: master.filter(|_| link.master != master),
            alias: Some(owner.to_owned()).filter(|alias| link.alias.as_ref() != Some(alias)),
            ..LinkChange::default()
        };
        let joins = change.master.is_some();
        if !change.is_empty() {
            netlink.change_link(link.index, change).map_err(doing())?;
            changes.note(format!("set up {}", link.name));
        }
        if master.is_some() && (joins || link.is_learning) {
            netlink.stop_learning(link.index).map_err(doing())?;
            changes.note(format!("made {bridge} learn nothing from {}", link.name));
        }
    }
    // Last: up to here nothing passes, whatever the settings.
    for link in [&out, &port].into_iter().filter(|link| !link.up) {
        netlink.change_link(link.index, LinkChange { up: true, ..LinkChange::default() }).map_err(doing())?;
        changes.note(format!("took {} up", link.name));
    }
    Ok((port.index, mac))
}

/// Takes a link up.
pub(super) fn take_up(name: &str, changes: &mut Changes) -> Result<(), UnderlayError> {
    let doing = || NetworkError::kernel(format!("take {name} up"));
    let mut netlink = netlink()?;
    let link = netlink.link(name).and_then(|link| link.ok_or_else(gone)).map_err(doing())?;
    if !link.up {
        netlink.change_link(link.index, LinkChange { up: true, ..LinkChange::default() }).map_err(doing())?;
        changes.note(format!("took {name} up"));
    }
    Ok(())
}

/// Removes the uplink, and nothing that is somebody else's.
pub(super) fn remove(owner: &str) -> Result<(), UnderlayError> {
    let mut netlink = netlink()?;
    for name in [PORT, OUT] {
        if let Some(link) = ours(&mut netlink, name, owner)? {
            netlink.delete_link(link.index).map_err(NetworkError::kernel(format!("remove {name}")))?;
        }
    }
    Ok(())
}

/// The end of that name, if there is one.
fn ours(netlink: &mut Netlink, name: &str, owner: &str) -> Result<Option<Link>, UnderlayError> {
    let found = netlink.link(name).map_err(NetworkError::kernel(format!("look for link {name}")))?;
    // Without alias it is one whose maker was killed before it could give one; then it is not up either.
    let is_ours = |link: &Link| match &link.alias {
        Some(alias) => alias == owner,
        None => link.is_veth && !link.up,
    };
    match found {
        Some(link) if !is_ours(&link) => {
            let owner = link.alias.unwrap_or_else(|| "somebody else".into());
            Err(UnderlayError::Foreign { name: name.to_owned(), owner })
        }
        found => Ok(found),
    }
}

pub(super) fn mtu_of(link: &Link) -> u16 {
    u16::try_from(link.mtu).unwrap_or(u16::MAX)
}
