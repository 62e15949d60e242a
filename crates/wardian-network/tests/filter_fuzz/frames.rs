//! Frames to try: right ones of every kind, and what becomes of them when they are changed in ways that know how frames
//! are made.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use wardian_model::mac::MacAddress;
use wardian_plan::fabric::{Seat, Subnet};

/// Where frames begin: on the wire, in NVGRE and in VXLAN.
const STARTS: [usize; 3] = [0, 42, 50];
/// Where fields begin in a frame: of Ethernet, IP, what IP carries, ARP, and what an error quotes.
const FIELDS: [usize; 26] =
    [0, 6, 12, 14, 15, 16, 18, 20, 22, 23, 24, 26, 28, 30, 34, 35, 36, 38, 40, 42, 46, 50, 51, 54, 58, 62];

pub(crate) fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}

pub(crate) fn ethernet(target: MacAddress, source: MacAddress) -> Vec<u8> {
    [&target.bytes()[..], &source.bytes(), &[8, 0]].concat()
}

pub(crate) fn ip(protocol: u8, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let start = [0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
    let mut header = [&start[..], &from.octets(), &to.octets()].concat();
    let checksum = !crate::rules::sum(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    [&header, payload].concat()
}

/// What IP may carry: UDP with a checksum and without, TCP, an echo, and an error about a packet of the other's.
pub(crate) fn payloads(from: Ipv4Addr, to: Ipv4Addr) -> Vec<(u8, Vec<u8>)> {
    let tcp = [0, 80, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0x12, 0x34, 0, 0];
    let mut tcp_in_error = tcp;
    tcp_in_error[16..18].fill(0);
    let error = |kind: u8| [&[kind, 1, 0x56, 0x78, 0, 0, 0, 0], &ip(6, to, from, &tcp)[..]].concat();
    vec![
        (17, vec![0, 7, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4]),
        (17, vec![0, 7, 0, 9, 0, 12, 0xab, 0xcd, 1, 2, 3, 4]),
        (6, tcp.to_vec()),
        (6, tcp_in_error.to_vec()),
        (1, vec![8, 0, 0xf7, 0xff, 0, 0, 0, 0]),
        (1, error(3)),
        (1, error(11)),
        (47, vec![0; 24]),
    ]
}

/// Frames from one machine to another.
pub(crate) fn frames(from: &Seat, to: &Seat) -> Vec<Vec<u8>> {
    let all = payloads(from.address, to.address).into_iter();
    all.map(|(kind, load)| [ethernet(to.mac, from.mac), ip(kind, from.address, to.address, &load)].concat()).collect()
}

/// The same on its way between hosts, where addresses are rewritten.
pub(crate) fn rewritten(from: &Seat, to: &Seat) -> Vec<Vec<u8>> {
    let [from, to] = [from, to].map(|seat| seat.own.unwrap());
    let ethernet = ethernet(MacAddress::local(1), MacAddress::local(2));
    payloads(from, to).into_iter().map(|(kind, load)| [&ethernet[..], &ip(kind, from, to, &load)].concat()).collect()
}

/// What a router says to `to` about packets that it has sent to `about`.
pub(crate) fn router_errors(router: &Seat, to: &Seat, about: &Seat) -> Vec<Vec<u8>> {
    let [router, to, about] = [router, to, about].map(|seat| seat.own.unwrap());
    let ethernet = ethernet(MacAddress::local(1), MacAddress::local(2));
    let quoted = ip(6, to, about, &[0, 80, 0, 9, 0, 0, 0, 1]);
    let error = |kind: u8| [&[kind, 4, 0x56, 0x78, 0, 0, 5, 0x78], &quoted[..]].concat();
    [3, 11, 5].map(|kind| [&ethernet[..], &ip(1, router, to, &error(kind))].concat()).into()
}

pub(crate) fn nvgre(vsid: u32, from: Ipv4Addr, to: Ipv4Addr, inner: &[u8]) -> Vec<u8> {
    let gre = [&[0x20, 0, 0x65, 0x58][..], &(vsid << 8 | 0x5a).to_be_bytes(), inner].concat();
    [ethernet(MacAddress::local(1), MacAddress::local(2)), ip(47, from, to, &gre)].concat()
}

pub(crate) fn vxlan(vsid: u32, from: Ipv4Addr, to: Ipv4Addr, inner: &[u8]) -> Vec<u8> {
    let udp = [&[0xc0, 0, 0x12, 0xb5, 0, 0, 0, 0][..], &[8, 0, 0, 0], &(vsid << 8).to_be_bytes(), inner].concat();
    [ethernet(MacAddress::local(1), MacAddress::local(2)), ip(17, from, to, &udp)].concat()
}

/// A question for the hardware address of a machine.
pub(crate) fn question(from: &Seat, to: &Seat) -> Vec<u8> {
    let mac = from.mac.bytes();
    let start = [&[0xff; 6][..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    [&start, &mac[..], &from.address.octets(), &[0; 6], &to.address.octets()].concat()
}

/// What the fields of frames may have in them: all that is known, and what is easily taken for it.
pub(crate) fn words(subnets: &[Subnet], hosts: &[Ipv4Addr]) -> Vec<Vec<u8>> {
    let seats = || subnets.iter().flat_map(|subnet| &subnet.seats);
    let macs = seats().map(|seat| seat.mac).chain([MacAddress::GATEWAY]).map(|mac| mac.bytes().to_vec());
    let addresses = seats().flat_map(|seat| [Some(seat.address), seat.own]).flatten().chain(hosts.iter().copied());
    let addresses = addresses.map(|address| address.octets().to_vec());
    let vsids = subnets.iter().map(|subnet| subnet.vsid.number()).chain([0, 1, 4095, 0xff_ffff]);
    let vsids = vsids.map(|vsid| vsid.to_be_bytes()[1..].to_vec());
    let others: [&[u8]; 30] = [
        &[0xff; 6],
        &[0; 6],
        &[0; 4],
        &[0xff; 4],
        &[224, 0, 0, 1],
        &[8, 0],
        &[8, 6],
        &[0x86, 0xdd],
        &[0x81, 0, 0, 1],
        &[0x88, 0xa8, 0, 1],
        &[0x45],
        &[0x46],
        &[0x4f],
        &[0x44],
        &[0x65],
        &[0x40, 0],
        &[0x20, 0],
        &[0, 1],
        &[0x80, 0],
        &[1],
        &[6],
        &[17],
        &[47],
        &[0x65, 0x58],
        &[0xa0, 0, 0x65, 0x58],
        &[0x30, 0, 0x65, 0x58],
        &[0x20, 1, 0x65, 0x58],
        &[0x12, 0xb5],
        &[3],
        &[8, 0, 0, 0],
    ];
    macs.chain(addresses).chain(vsids).chain(others.iter().map(|word| word.to_vec())).collect()
}

/// One change to a frame.
#[derive(Debug, Clone)]
enum Change {
    Byte(usize, u8),
    Word(usize, Vec<u8>),
    /// An 802.1Q or 802.1ad tag.
    Tag(usize, [u8; 4]),
    /// Words of options behind an IP header.
    Options(usize, u8),
    /// An error about another frame's packet in the place of what IP carries.
    Quote(usize, u8, Vec<u8>),
    Cut(usize),
    /// More bytes at the end.
    Grow(usize),
}

impl Change {
    fn apply(self, frame: &mut Vec<u8>) {
        match self {
            Self::Byte(place, value) => frame.iter_mut().skip(place).take(1).for_each(|byte| *byte = value),
            Self::Word(place, word) => frame.iter_mut().skip(place).zip(word).for_each(|(byte, new)| *byte = new),
            Self::Tag(start, tag) if frame.len() > start + 12 => {
                frame.splice(start + 12..start + 12, tag);
            }
            Self::Options(start, words) if frame.len() > start + 34 => {
                frame[start + 14] = 0x45 + words;
                frame.splice(start + 34..start + 34, vec![1; usize::from(words) * 4]);
            }
            Self::Quote(start, kind, quoted) if frame.len() > start + 34 => {
                frame.truncate(start + 34);
                frame[start + 23] = 1;
                frame.extend([kind, 4, 0, 0, 0, 0, 5, 0xdc]);
                frame.extend(quoted.iter().skip(14));
            }
            Self::Cut(length) => frame.truncate(length),
            Self::Grow(more) => frame.extend((0..more).map(|n| n.to_le_bytes()[0])),
            Self::Tag(..) | Self::Options(..) | Self::Quote(..) => {}
        }
    }
}

fn change(right: &[Vec<u8>], words: &[Vec<u8>]) -> impl Strategy<Value = Change> + use<> {
    let start = || prop::sample::select(&STARTS[..]);
    let field = (start(), prop::sample::select(&FIELDS[..])).prop_map(|(start, field)| start + field);
    let tag = prop::sample::select(&[[0x81u8, 0, 0, 1], [0x81, 0, 0x0f, 0xff], [0x88, 0xa8, 0, 1]][..]);
    let kind = prop::sample::select(&[0u8, 3, 4, 5, 8, 11, 12][..]);
    prop_oneof![
        4 => (0usize..140, any::<u8>()).prop_map(|(place, value)| Change::Byte(place, value)),
        8 => (field, prop::sample::select(words.to_vec())).prop_map(|(place, word)| Change::Word(place, word)),
        1 => (start(), tag).prop_map(|(start, tag)| Change::Tag(start, tag)),
        1 => (start(), 1u8..11).prop_map(|(start, words)| Change::Options(start, words)),
        2 => (start(), kind, prop::sample::select(right.to_vec())).prop_map(|(s, kind, of)| Change::Quote(s, kind, of)),
        2 => (0usize..140).prop_map(Change::Cut),
        1 => prop_oneof![0usize..100, 1_300usize..1_700].prop_map(Change::Grow),
    ]
}

/// A right frame with up to five changes; now and then, any bytes.
pub(crate) fn damaged(right: &[Vec<u8>], words: &[Vec<u8>]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let changes = prop::collection::vec(change(right, words), 0..6);
    let of_right = (prop::sample::select(right.to_vec()), changes).prop_map(|(mut frame, changes)| {
        changes.into_iter().for_each(|change| change.apply(&mut frame));
        frame
    });
    prop_oneof![30 => of_right, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}
