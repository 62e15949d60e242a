//! What the filter shall do with a frame, read from its rules and not from its code: exactly which bytes it sends on.

use std::net::Ipv4Addr;

use wardian_model::mac::MacAddress;
use wardian_network::filter::{TakenOff, Verdict};
use wardian_plan::fabric::{Encapsulation, Seat, Subnet};

use crate::{UNDERLAY_MTU, frames::at};

const ETHERNET: usize = 14;
const IP: usize = 20;
const GATEWAY: [u8; 6] = MacAddress::GATEWAY.bytes();

/// What one host knows.
pub(crate) struct Rules {
    pub(crate) here: Ipv4Addr,
    /// The hardware address of its device towards the other hosts.
    pub(crate) mac: [u8; 6],
    pub(crate) subnets: Vec<Subnet>,
}

/// Bytes to send, but for what is not said exactly.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) bytes: Vec<u8>,
    /// Where there is a number that only has to be the same for all frames of a flow: one byte of NVGRE, two of VXLAN.
    pub(crate) flow: Option<(usize, usize)>,
    /// Where there is a checksum. Its two zeros are one, but for that of UDP, where 0 is "none".
    pub(crate) sums: Vec<usize>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    NotOurs,
    Dropped,
    Sent(Sent),
}

impl Expected {
    /// What differs from what the filter did, if something does.
    pub(crate) fn differs(&self, verdict: &Verdict) -> Option<String> {
        let same = match (self, verdict) {
            (Self::NotOurs, Verdict::NotOurs) | (Self::Dropped, Verdict::Dropped) => true,
            (Self::Sent(wanted), Verdict::Sent(sent)) => wanted.is(sent),
            _ => false,
        };
        (!same).then(|| format!("expected {self:02x?}, found {verdict:02x?}"))
    }
}

impl Sent {
    const fn exactly(bytes: Vec<u8>) -> Self {
        Self { bytes, flow: None, sums: Vec::new() }
    }

    fn is(&self, sent: &[u8]) -> bool {
        let mut sent = sent.to_vec();
        if sent.len() != self.bytes.len() {
            return false;
        }
        for &sum in &self.sums {
            let [wanted, found] = [&self.bytes, &sent].map(|all| u16::from_be_bytes(at(all, sum).unwrap()));
            if wanted % 0xffff != found % 0xffff || (wanted == 0) != (found == 0) && self.is_udp(sum) {
                return false;
            }
            sent[sum..sum + 2].copy_from_slice(&wanted.to_be_bytes());
        }
        if let Some((from, length)) = self.flow {
            // A port for envelopes is one of those for private use.
            if length == 2 && sent[from] < 0xc0 {
                return false;
            }
            sent[from..from + length].copy_from_slice(&self.bytes[from..from + length]);
        }
        sent == self.bytes
    }

    fn is_udp(&self, sum: usize) -> bool {
        self.bytes[ETHERNET + 9] == 17 && sum == ETHERNET + IP + 6
    }
}

/// Whether the machine on that host with this hardware address has this address too.
fn speaks(subnet: &Subnet, provider: Ipv4Addr, mac: [u8; 6], address: [u8; 4]) -> bool {
    let mut seats = subnet.seats.iter().filter(|seat| seat.provider == provider);
    seats.any(|seat| seat.mac.bytes() == mac && seat.address.octets() == address)
}

fn host_of(subnet: &Subnet, mac: [u8; 6]) -> Option<Ipv4Addr> {
    subnet.seats.iter().find(|seat| seat.mac.bytes() == mac).map(|seat| seat.provider)
}

fn is_for_all(mac: [u8; 6]) -> bool {
    mac[0] & 1 == 1
}

/// The sum of RFC 1071.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)));
    u16::try_from(words.sum::<u64>() % 0xffff).unwrap()
}

/// The same checksum after `old` became `new` under it.
fn exchanged(checksum: [u8; 2], old: [u8; 4], new: [u8; 4]) -> [u8; 2] {
    let of = |bytes: &[u8]| u32::from(sum(bytes));
    let now = of(&checksum) + of(&old) + 0xffff - of(&new);
    u16::try_from(now % 0xffff).unwrap().to_be_bytes()
}

fn header(protocol: u8, from: Ipv4Addr, to: Ipv4Addr, payload: usize) -> Vec<u8> {
    let length = u16::try_from(IP + payload).unwrap().to_be_bytes();
    let start = [0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
    let mut bytes = [&start[..], &from.octets(), &to.octets()].concat();
    let checksum = !sum(&bytes);
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

impl Rules {
    /// The subnets that a machine of this one may be known in.
    fn domain(&self, domain: u32) -> impl Iterator<Item = (&Subnet, &Seat)> {
        let subnets = self.subnets.iter().filter(move |subnet| subnet.domain == domain);
        subnets.flat_map(|subnet| subnet.seats.iter().map(move |seat| (subnet, seat)))
    }

    fn owner(&self, address: [u8; 4]) -> Option<(&Subnet, &Seat)> {
        let rewritten = self.subnets.iter().filter(|subnet| subnet.encapsulation == Encapsulation::IpRewrite);
        let mut seats = rewritten.flat_map(|subnet| subnet.seats.iter().map(move |seat| (subnet, seat)));
        seats.find(|(_, seat)| seat.own.is_some_and(|own| own.octets() == address))
    }

    /// What comes out of the switch of `subnet`.
    pub(crate) fn leave(&self, subnet: &Subnet, frame: &[u8]) -> Expected {
        match at(frame, 12).unwrap() {
            [8, 6] => {
                self.answer(subnet, frame).map_or(Expected::Dropped, |bytes| Expected::Sent(Sent::exactly(bytes)))
            }
            [8, 0] => self.leaves(subnet, frame).map_or(Expected::Dropped, Expected::Sent),
            _ => Expected::Dropped,
        }
    }

    /// The answer to who asks for the hardware address of a machine that is elsewhere.
    fn answer(&self, subnet: &Subnet, frame: &[u8]) -> Option<Vec<u8>> {
        let asks = at(frame, 14)? == [0, 1, 8, 0] && at(frame, 20)? == [0, 1];
        let wanted: [u8; 4] = at(frame, 38)?;
        let seat = subnet.seats.iter().find(|seat| seat.address.octets() == wanted)?;
        if !asks || seat.provider == self.here {
            return None;
        }
        let mac = seat.mac.bytes();
        let asker: [u8; 10] = at(frame, 22)?;
        let answer = [&asker[..6], &mac, &frame[12..20], &[0, 2], &mac, &wanted, &asker, &frame[42..]];
        Some(answer.concat())
    }

    fn leaves(&self, subnet: &Subnet, frame: &[u8]) -> Option<Sent> {
        let (target, source): ([u8; 6], [u8; 6]) = (at(frame, 0)?, at(frame, 6)?);
        let (from, to): ([u8; 4], [u8; 4]) = (at(frame, 26)?, at(frame, 30)?);
        let is_ip = frame[14] >> 4 == 4 && frame[14] & 15 >= 5;
        let routed = source == GATEWAY;
        if !is_ip || from == [0; 4] || !routed && !speaks(subnet, self.here, source, from) {
            return None;
        }
        let mtu = subnet.encapsulation.guest_mtu(UNDERLAY_MTU);
        let fits = frame.len() - ETHERNET <= usize::from(mtu);
        let host = if is_for_all(target) {
            let other = subnet.seats.iter().map(|seat| seat.provider).find(|provider| *provider != self.here)?;
            if routed || !fits {
                return None;
            }
            other
        } else {
            host_of(subnet, target).filter(|host| *host != self.here)?
        };
        if !fits {
            return too_big(frame, mtu);
        }
        if let Some(sent) = self.between_two(subnet, target, [from, to], frame) {
            return Some(sent);
        }
        let vsid = subnet.vsid.number() << 8;
        let ethernet = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0];
        if subnet.encapsulation != Encapsulation::Vxlan {
            let gre = [&[0x20, 0, 0x65, 0x58][..], &vsid.to_be_bytes()].concat();
            let ip = header(47, self.here, host, gre.len() + frame.len());
            return Some(Sent {
                bytes: [&ethernet, &ip[..], &gre, frame].concat(),
                flow: Some((41, 1)),
                sums: vec![24],
            });
        }
        let length = u16::try_from(16 + frame.len()).unwrap().to_be_bytes();
        let udp = [&[0, 0, 0x12, 0xb5][..], &length, &[0, 0, 8, 0, 0, 0], &vsid.to_be_bytes()].concat();
        let ip = header(17, self.here, host, udp.len() + frame.len());
        Some(Sent { bytes: [&ethernet, &ip[..], &udp, frame].concat(), flow: Some((34, 2)), sums: vec![24] })
    }

    /// Where addresses are rewritten: what one machine here says to one elsewhere, each with a provider address of
    /// its own.
    fn between_two(&self, subnet: &Subnet, target: [u8; 6], [from, to]: [[u8; 4]; 2], frame: &[u8]) -> Option<Sent> {
        let has_hops = frame[22] >= 32;
        if subnet.encapsulation != Encapsulation::IpRewrite || is_for_all(target) || !has_hops {
            return None;
        }
        let (_, source) = self.domain(subnet.domain).find(|(_, seat)| seat.address.octets() == from)?;
        let receiver = subnet.seats.iter().find(|seat| seat.address.octets() == to)?;
        if source.provider != self.here || receiver.provider == self.here || receiver.mac.bytes() != target {
            return None;
        }
        let outside = |address| self.outside(subnet.domain, address);
        rewritten(frame, [outside(from)?, outside(to)?], outside)
    }

    fn outside(&self, domain: u32, address: [u8; 4]) -> Option<[u8; 4]> {
        let mut all = self.domain(domain);
        all.find(|(_, seat)| seat.address.octets() == address).and_then(|(_, seat)| Some(seat.own?.octets()))
    }

    fn inside(&self, domain: u32, address: [u8; 4]) -> Option<[u8; 4]> {
        let (subnet, seat) = self.owner(address)?;
        (subnet.domain == domain).then_some(seat.address.octets())
    }

    /// What the device's driver takes out of its envelope: a packet for one machine, whoever it is from.
    pub(crate) fn early(&self, frame: &[u8]) -> Option<TakenOff> {
        let is_ours = at(frame, 12)? == [8, 0] && frame[14] == 0x45 && at(frame, 30)? == self.here.octets();
        let in_one_piece = frame[20] & 0x3f == 0 && frame[21] == 0;
        let (vsid, start): ([u8; 3], _) = match frame[23] {
            47 if at(frame, 34)? == [0x20, 0, 0x65, 0x58] => (at(frame, 38)?, 42),
            17 if at(frame, 36)? == [0x12, 0xb5] && at(frame, 42)? == [8, 0, 0, 0] => (at(frame, 46)?, 50),
            _ => return None,
        };
        let vsid = u32::from_be_bytes([0, vsid[0], vsid[1], vsid[2]]);
        let is_packet = at(frame, start + 12)? == [8, 0] && !is_for_all(at(frame, start)?);
        let sender = at::<4>(frame, 26)?.into();
        (is_ours && in_one_piece && is_packet && vsid != 0).then(|| TakenOff {
            vsid,
            sender,
            frame: frame[start..].to_vec(),
        })
    }

    /// What comes from the other hosts.
    pub(crate) fn arrive(&self, frame: &[u8]) -> Expected {
        if at(frame, 12) == Some([8, 6]) {
            return self.machine_answers(frame).map_or(Expected::NotOurs, |sent| Expected::Sent(Sent::exactly(sent)));
        }
        if at(frame, 12) != Some([8, 0]) || frame[14] >> 4 != 4 {
            return Expected::NotOurs;
        }
        if let Some(owner) = self.owner(at(frame, 30).unwrap()) {
            return self.given_back(frame, owner).map_or(Expected::Dropped, Expected::Sent);
        }
        let in_one_piece = frame[20] & 0x3f == 0 && frame[21] == 0;
        if at(frame, 30) != Some(self.here.octets()) || frame[14] != 0x45 || !in_one_piece {
            return Expected::NotOurs;
        }
        let (encapsulation, vsid, start) = match frame[23] {
            47 if at(frame, 36) == Some([0x65, 0x58]) && frame[34] & 0x20 != 0 => {
                if at(frame, 34) != Some([0x20, 0]) {
                    return Expected::Dropped;
                }
                (Encapsulation::Nvgre, at::<3>(frame, 38), 42)
            }
            17 if at(frame, 36) == Some([0x12, 0xb5]) => {
                if at(frame, 42) != Some([8, 0, 0, 0]) {
                    return Expected::Dropped;
                }
                (Encapsulation::Vxlan, at::<3>(frame, 46), 50)
            }
            _ => return Expected::NotOurs,
        };
        let subnet = self.subnets.iter().find(|subnet| {
            let is_so = subnet.encapsulation == encapsulation;
            (is_so || subnet.encapsulation == Encapsulation::IpRewrite && encapsulation == Encapsulation::Nvgre)
                && vsid.as_ref().map(|v| &v[..]) == Some(&subnet.vsid.number().to_be_bytes()[1..])
        });
        let inner = subnet.and_then(|subnet| self.unwrapped(subnet, at(frame, 26)?, frame.get(start..)?));
        inner.map_or(Expected::Dropped, |bytes| Expected::Sent(Sent::exactly(bytes)))
    }

    fn unwrapped(&self, subnet: &Subnet, sender: [u8; 4], inner: &[u8]) -> Option<Vec<u8>> {
        let sender = Ipv4Addr::from(sender);
        let is_peer = sender != self.here && subnet.seats.iter().any(|seat| seat.provider == sender);
        let (target, source): ([u8; 6], [u8; 6]) = (at(inner, 0)?, at(inner, 6)?);
        let header: [u8; IP] = at(inner, ETHERNET)?;
        let is_ip = at(inner, 12)? == [8, 0] && header[0] >> 4 == 4 && header[0] & 15 >= 5;
        let routed = source == GATEWAY;
        let right = routed || speaks(subnet, sender, source, at(&header, 12)?);
        // What a gateway says to all is for its own host.
        let reaches = if is_for_all(target) { !routed } else { host_of(subnet, target) == Some(self.here) };
        (is_peer && is_ip && right && reaches).then(|| inner.to_vec())
    }

    /// The answer to who asks for the hardware address of a machine's own provider address, for those that are here.
    fn machine_answers(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let asks = at(frame, 14)? == [0, 1, 8, 0] && at(frame, 20)? == [0, 1];
        let wanted: [u8; 4] = at(frame, 38)?;
        let (_, seat) = self.owner(wanted)?;
        if !asks || seat.provider != self.here {
            return None;
        }
        let asker: [u8; 10] = at(frame, 22)?;
        let answer = [&asker[..6], &self.mac, &frame[12..20], &[0, 2], &self.mac, &wanted, &asker, &frame[42..]];
        Some(answer.concat())
    }

    /// To whom the packet was that an error quotes, if it is one that its receiver has sent.
    fn quoted_receiver(&self, frame: &[u8]) -> Option<(&Subnet, &Seat)> {
        let is_first = frame[20] & 0x1f == 0 && frame[21] == 0;
        let is_error = frame[14] == 0x45 && frame[23] == 1 && is_first && matches!(frame.get(34)?, 3 | 11 | 12);
        let quoted: [u8; IP] = at(frame, 42)?;
        (is_error && at(&quoted, 12) == at::<4>(frame, 30)).then(|| self.owner(at(&quoted, 16)?)).flatten()
    }

    /// A packet for the own provider address of a machine.
    fn given_back(&self, frame: &[u8], (subnet, to): (&Subnet, &Seat)) -> Option<Sent> {
        let (of, from) = self.owner(at(frame, 26)?).or_else(|| self.quoted_receiver(frame))?;
        if of.domain != subnet.domain || from.provider == self.here || to.provider != self.here {
            return None;
        }
        let inside = |address| self.inside(subnet.domain, address);
        let mut sent = rewritten(frame, [from.address.octets(), to.address.octets()], inside)?;
        let source = if of.vsid == subnet.vsid { from.mac.bytes() } else { GATEWAY };
        sent.bytes[..ETHERNET].copy_from_slice(&[&to.mac.bytes()[..], &source, &[8, 0]].concat());
        Some(sent)
    }
}

/// The packet under these addresses, and the one it quotes under those that `other` says.
fn rewritten(frame: &[u8], addresses: [[u8; 4]; 2], other: impl Fn([u8; 4]) -> Option<[u8; 4]>) -> Option<Sent> {
    const AFTER: usize = ETHERNET + IP;
    // With options it is not carried.
    if frame[14] & 15 != 5 {
        return None;
    }
    let mut bytes = frame.to_vec();
    let mut sums = vec![24];
    let exchange = |bytes: &mut Vec<u8>, field: usize, sum: usize, new: [u8; 4]| {
        let checksum = exchanged(at(bytes, sum).unwrap(), at(bytes, field).unwrap(), new);
        bytes[sum..sum + 2].copy_from_slice(&checksum);
    };
    let is_first = frame[20] & 0x1f == 0 && frame[21] == 0;
    let is_error = frame[23] == 1 && is_first && matches!(frame[AFTER], 3 | 11 | 12);
    if is_error {
        const QUOTED: usize = AFTER + 8;
        let quoted: [u8; IP] = at(frame, QUOTED)?;
        for field in [12, 16] {
            let new = other(at(&quoted, field)?)?;
            exchange(&mut bytes, QUOTED + field, QUOTED + 10, new);
            bytes[QUOTED + field..QUOTED + field + 4].copy_from_slice(&new);
        }
        sums.push(QUOTED + 10);
    }
    let transport = match frame[23] {
        6 if is_first => Some(AFTER + 16),
        17 if is_first => Some(AFTER + 6),
        _ => None,
    };
    // None is written where there was none.
    let transport = transport.filter(|sum| at(frame, *sum) != Some([0, 0]));
    for (field, new) in [26, 30].into_iter().zip(addresses) {
        exchange(&mut bytes, field, 24, new);
        if let Some(sum) = transport {
            exchange(&mut bytes, field, sum, new);
        }
        bytes[field..field + 4].copy_from_slice(&new);
    }
    if let Some(sum) = transport {
        sums.push(sum);
        // Here 0 would be "none", and is written as the other zero.
        if at(&bytes, sum) == Some([0, 0]) {
            bytes[sum..sum + 2].fill(0xff);
        }
    }
    Some(Sent { bytes, flow: None, sums })
}

/// The answer to a packet that is too long (RFC 1191), if it is one that may be answered.
fn too_big(frame: &[u8], mtu: u16) -> Option<Sent> {
    const QUOTED: usize = IP + 18;
    let may_not_be_cut = frame[20] & 0x40 != 0;
    let is_echo = matches!(frame[34], 0 | 8);
    if frame[14] & 15 != 5 || !may_not_be_cut || frame[23] == 1 && !is_echo {
        return None;
    }
    let mut quoted = frame[ETHERNET..ETHERNET + QUOTED].to_vec();
    let mut sums = vec![24, 36];
    if frame[23] == 6 {
        // The sum over what is quoted of TCP becomes none.
        quoted[IP + 14..].fill(0);
        let balance = !sum(&quoted[IP..]);
        quoted[IP + 14..IP + 16].copy_from_slice(&balance.to_be_bytes());
        sums.push(ETHERNET + IP + 8 + IP + 14);
    }
    let mtu = mtu.to_be_bytes();
    let mut icmp = [&[3, 4, 0, 0, 0, 0, mtu[0], mtu[1]], &quoted[..]].concat();
    let checksum = !sum(&icmp);
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    let [from, to] = [30, 26].map(|field| Ipv4Addr::from(at::<4>(frame, field).unwrap()));
    let ip = header(1, from, to, icmp.len());
    let bytes = [&frame[6..12], &frame[..6], &[8, 0], &ip, &icmp].concat();
    Some(Sent { bytes, flow: None, sums })
}
