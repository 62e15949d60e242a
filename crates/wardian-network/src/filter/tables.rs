//! The layout of the filter's tables (`bpf/tables.h`), byte by byte: keys and values without holes.

use std::net::Ipv4Addr;

use super::Uplink;
use wardian_model::{mac::MacAddress, vsid::Vsid};
use wardian_plan::fabric::{Encapsulation, Lookup, Rewrite};

/// How many hosts a broadcast reaches besides its own.
pub(super) const MOST_FLOODED: usize = 32;

pub(super) type PortValue = [u8; 20];
pub(super) type OwnerValue = [u8; 24];
pub(super) type InsideKey = [u8; 8];
/// Of a device towards the other hosts.
pub(super) type FaceValue = [u8; 8];
pub(super) type StationKey = [u8; 12];
pub(super) type StationValue = [u8; 4];
pub(super) type AddressKey = [u8; 8];
pub(super) type AddressValue = [u8; 12];
pub(super) type PeerKey = [u8; 8];
pub(super) type FloodValue = [u8; 4 + 4 * MOST_FLOODED];

pub(super) fn port(uplink: &Uplink, underlay: u32) -> PortValue {
    let kind = match uplink.encapsulation {
        Encapsulation::Nvgre => 1,
        Encapsulation::Vxlan => 2,
        Encapsulation::IpRewrite => 3,
    };
    joined(&[
        &number(uplink.vsid),
        &underlay.to_ne_bytes(),
        &uplink.here.octets(),
        &uplink.mtu.to_ne_bytes(),
        &[kind, 0],
        &uplink.domain.to_ne_bytes(),
    ])
}

/// Whether a port is one of that subnet.
pub(super) fn is_of(port: &PortValue, vsid: Vsid) -> bool {
    port[..4] == number(vsid)
}

pub(super) fn face(mac: [u8; 6], early: bool) -> FaceValue {
    joined(&[&mac, &u16::from(early).to_ne_bytes()])
}

/// Whether envelopes may have been taken off there by the driver.
pub(super) fn is_early(face: &FaceValue) -> bool {
    face[6..] != [0; 2]
}

/// What `early` has made of a packet, the note before it: the subnet, the sender and the inner frame, if an envelope
/// was taken off.
pub(super) fn read_note(made: &[u8]) -> Option<(u32, Ipv4Addr, &[u8])> {
    let vsid = u32::from_ne_bytes(part(made, 0)?);
    Some((vsid, part::<4>(made, 4)?.into(), made.get(12..)?)).filter(|(vsid, ..)| *vsid != 0)
}

/// What is behind a machine's own provider address.
pub(super) fn owner(vsid: Vsid, address: Ipv4Addr, lookup: &Lookup, rewrite: Rewrite) -> OwnerValue {
    joined(&[
        &rewrite.domain.to_ne_bytes(),
        &number(vsid),
        &address.octets(),
        &lookup.provider.octets(),
        &lookup.mac.bytes(),
        &[0; 2],
    ])
}

pub(super) fn inside_key(domain: u32, address: Ipv4Addr) -> InsideKey {
    joined(&[&domain.to_ne_bytes(), &address.octets()])
}

pub(super) fn station_key(vsid: Vsid, mac: MacAddress) -> StationKey {
    joined(&[&number(vsid), &mac.bytes(), &[0; 2]])
}

pub(super) fn address_key(vsid: Vsid, address: Ipv4Addr) -> AddressKey {
    joined(&[&number(vsid), &address.octets()])
}

pub(super) fn address(lookup: &Lookup) -> AddressValue {
    joined(&[&lookup.provider.octets(), &lookup.mac.bytes(), &[0; 2]])
}

/// The routing domain and the encapsulation.
pub(super) fn read_port(value: &PortValue) -> Option<(u32, Encapsulation)> {
    let encapsulation = match value[14] {
        1 => Encapsulation::Nvgre,
        2 => Encapsulation::Vxlan,
        3 => Encapsulation::IpRewrite,
        _ => return None,
    };
    Some((u32::from_ne_bytes(part(value, 16)?), encapsulation))
}

/// The routing domain, the subnet and the customer address.
pub(super) fn read_owner(value: &OwnerValue) -> Option<(u32, Vsid, Ipv4Addr)> {
    let vsid = u32::from_ne_bytes(part(value, 4)?).try_into().ok()?;
    Some((u32::from_ne_bytes(part(value, 0)?), vsid, part::<4>(value, 8)?.into()))
}

pub(super) fn read_station_key(key: &StationKey) -> Option<(Vsid, MacAddress)> {
    Some((u32::from_ne_bytes(part(key, 0)?).try_into().ok()?, MacAddress::new(part(key, 4)?).ok()?))
}

/// Of an address or a peer.
pub(super) fn read_address_key(key: &AddressKey) -> Option<(Vsid, Ipv4Addr)> {
    Some((u32::from_ne_bytes(part(key, 0)?).try_into().ok()?, part::<4>(key, 4)?.into()))
}

/// The hardware address and the host.
pub(super) fn read_address(value: &AddressValue) -> Option<(MacAddress, Ipv4Addr)> {
    Some((MacAddress::new(part(value, 4)?).ok()?, part::<4>(value, 0)?.into()))
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

pub(super) fn peer_key(vsid: Vsid, provider: Ipv4Addr) -> PeerKey {
    joined(&[&number(vsid), &provider.octets()])
}

/// Of more peers than there is room for, the first.
pub(super) fn flood<'a>(peers: impl IntoIterator<Item = &'a Ipv4Addr>) -> FloodValue {
    let mut value = [0; 4 + 4 * MOST_FLOODED];
    let mut count = 0u32;
    for (peer, slot) in peers.into_iter().zip(value[4..].chunks_exact_mut(4)) {
        slot.copy_from_slice(&peer.octets());
        count += 1;
    }
    value[..4].copy_from_slice(&count.to_ne_bytes());
    value
}

fn number(vsid: Vsid) -> [u8; 4] {
    vsid.number().to_ne_bytes()
}

/// Parts one after the other.
fn joined<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut all = [0; N];
    let bytes = parts.iter().flat_map(|part| part.iter());
    all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_laid_out_as_the_filter_reads_it() {
        let (vsid, here) = (Vsid::try_from(0x1234).unwrap(), Ipv4Addr::new(10, 1, 0, 1));
        let uplink = Uplink {
            vsid,
            domain: 9,
            device: "w1".to_owned(),
            underlay: "eth0".to_owned(),
            here,
            encapsulation: Encapsulation::Vxlan,
            mtu: 1458,
        };
        let value = port(&uplink, 7);
        assert_eq!(value[..4], 0x1234u32.to_ne_bytes());
        assert_eq!(value[8..12], [10, 1, 0, 1]);
        assert_eq!((&value[12..14], value[14]), (&1458u16.to_ne_bytes()[..], 2));
        assert_eq!(value[16..], 9u32.to_ne_bytes());
        assert_eq!(read_port(&value), Some((9, Encapsulation::Vxlan)));
        let lookup = Lookup { mac: MacAddress::local(1), provider: here, rewrite: None };
        assert_eq!(station_key(vsid, lookup.mac)[4..], [0x02, 0x57, 0, 0, 0, 1, 0, 0]);
        assert_eq!(address(&lookup)[..10], [10, 1, 0, 1, 0x02, 0x57, 0, 0, 0, 1]);
        assert_eq!(read_station_key(&station_key(vsid, lookup.mac)), Some((vsid, lookup.mac)));
        assert_eq!(read_address_key(&address_key(vsid, here)), Some((vsid, here)));
        assert_eq!(read_address(&address(&lookup)), Some((lookup.mac, here)));
        let rewrite = Rewrite { address: here, domain: 9 };
        assert_eq!(read_owner(&owner(vsid, here, &lookup, rewrite)), Some((9, vsid, here)));
    }

    #[test]
    fn no_more_peers_are_flooded_than_there_is_room_for() {
        let peers: Vec<_> = (0..40).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect();
        let value = flood(&peers);
        assert_eq!(value[..4], 32u32.to_ne_bytes());
        assert_eq!(value[value.len() - 4..], [10, 0, 0, 31]);
        assert_eq!(flood(&peers[..1])[..8], [1, 0, 0, 0, 10, 0, 0, 0]);
    }
}
