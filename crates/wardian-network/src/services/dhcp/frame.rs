//! From a reply to an Ethernet frame, with all checksums.

use std::{io, net::Ipv4Addr};

use etherparse::PacketBuilder;
use wardian_model::mac::MacAddress;

use super::answer::{Receiver, Reply};

/// A frame from the server to the reply's receiver.
pub(super) fn build(reply: &Reply, mac: MacAddress, server: Ipv4Addr) -> io::Result<Vec<u8>> {
    let (to_mac, to) = match reply.receiver {
        Receiver::All => ([0xff; 6], Ipv4Addr::BROADCAST),
        Receiver::One(mac, address) => (mac.bytes(), address),
    };
    let packet = PacketBuilder::ethernet2(mac.bytes(), to_mac).ipv4(server.octets(), to.octets(), 64).udp(67, 68);
    let mut frame = Vec::with_capacity(packet.size(reply.message.len()));
    packet.write(&mut frame, &reply.message).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
    Ok(frame)
}
