//! Which hardware addresses a bridge knows behind a port because it was told, and not because it has learned.

use std::{collections::BTreeSet, io};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
};
use wardian_model::mac::MacAddress;

use super::{
    message::ignore,
    netlink::{Mode, Netlink},
};

impl Netlink {
    /// The addresses that were told to be behind a port.
    pub(crate) fn forwarded(&mut self, port: u32) -> io::Result<BTreeSet<MacAddress>> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        let answer = self.dump(&RouteNetlinkMessage::GetNeighbour(message))?;
        let told = answer.into_iter().filter_map(|entry| {
            let RouteNetlinkMessage::NewNeighbour(entry) = entry else { return None };
            let told = entry.header.flags.contains(NeighbourFlags::ExtLearned);
            let mac = entry.attributes.iter().find_map(|attribute| match attribute {
                NeighbourAttribute::LinkLayerAddress(mac) => <[u8; 6]>::try_from(&mac[..]).ok(),
                _ => None,
            })?;
            (told && entry.header.ifindex == port).then(|| MacAddress::new(mac).ok())?
        });
        Ok(told.collect())
    }

    /// Tells the bridge of a port that an address is behind it. It does not age; but when somebody speaks with it
    /// elsewhere, the bridge believes that.
    pub(crate) fn forward(&mut self, port: u32, mac: MacAddress) -> io::Result<()> {
        self.change(RouteNetlinkMessage::NewNeighbour(entry(port, mac)), Mode::Replace)
    }

    /// Fine if it is not behind that port (any more).
    pub(crate) fn forward_no_more(&mut self, port: u32, mac: MacAddress) -> io::Result<()> {
        let gone = self.change(RouteNetlinkMessage::DelNeighbour(entry(port, mac)), Mode::Change);
        ignore(gone, &[libc::ENOENT])
    }
}

fn entry(port: u32, mac: MacAddress) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = port;
    message.header.state = NeighbourState::Reachable;
    message.header.flags = NeighbourFlags::Controller | NeighbourFlags::ExtLearned;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.bytes().to_vec()));
    message
}
