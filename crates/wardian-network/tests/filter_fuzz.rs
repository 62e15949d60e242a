//! The filter against whatever bytes come: it sends on exactly what a second reading of the rules, in Rust, allows. Frames
//! are right ones with some bytes changed or cut off, and any bytes at all. `PROPTEST_CASES` says how many.
#![allow(missing_docs)]

mod common;

use std::net::Ipv4Addr;

use common::fabric::{Fabric, TestSwitch, subnet};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use wardian_model::mac::MacAddress;
use wardian_network::filter::{Filter, Side, Verdict};
use wardian_plan::fabric::{Encapsulation, Seat, Subnet};

const ETHERNET: usize = 14;
/// The smallest frame, without its checksum.
const SHORTEST: usize = 60;
const IP: usize = 20;

/// What the host under test, the second one, knows: a subnet for each encapsulation, with a machine on each host. Where there
/// are envelopes, each machine has two addresses.
struct World {
    fabric: Fabric,
    nvgre: Subnet,
    vxlan: Subnet,
    /// Two tenants.
    rewrite: [Subnet; 2],
    _switches: [TestSwitch; 4],
}

impl World {
    fn new() -> Self {
        let mut fabric = Fabric::new(2);
        let hosts = [0, 1].map(|n: usize| fabric.hosts[n].provider);
        let [mut nvgre, mut vxlan, one, two] = [
            subnet(5001, 1, Encapsulation::Nvgre, 23, &hosts),
            subnet(6001, 2, Encapsulation::Vxlan, 23, &hosts),
            subnet(7001, 3, Encapsulation::IpRewrite, 23, &hosts),
            subnet(7002, 4, Encapsulation::IpRewrite, 23, &hosts),
        ];
        for subnet in [&mut nvgre, &mut vxlan] {
            let second = |seat: &Seat| Seat { address: Ipv4Addr::from(u32::from(seat.address) + 100), ..*seat };
            subnet.seats.extend(subnet.seats.clone().iter().map(second));
        }
        let switches =
            [&nvgre, &vxlan, &one, &two].map(|subnet| fabric.switch(1, &format!("s{}", subnet.vsid), subnet, None));
        fabric.know(&[nvgre.clone(), vxlan.clone(), one.clone(), two.clone()]);
        Self { fabric, nvgre, vxlan, rewrite: [one, two], _switches: switches }
    }

    /// Tries frames of `strategy` at a device of the host, each against what `allowed` makes of it.
    fn holds(
        &self,
        side: Side,
        device: &str,
        strategy: impl Strategy<Value = Vec<u8>> + Send,
        judge: impl Fn(&[u8], Verdict) -> Result<(), TestCaseError> + Sync + Send,
    ) {
        let host = &self.fabric.hosts[1];
        let filter: &Filter = &host.filter;
        host.space.enter(move || {
            let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
            let outcome = runner.run(&strategy, |frame| {
                // As on a wire, and the kernel tries nothing shorter.
                let mut frame = frame;
                frame.resize(frame.len().max(SHORTEST), 0);
                judge(&frame, filter.judge(side, device, &frame).unwrap())
            });
            outcome.unwrap_or_else(|failure| panic!("{failure}"));
        });
    }
}

/// A right frame with up to four bytes changed and perhaps its end cut off; now and then, any bytes.
fn damaged(right: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let length = right.iter().map(Vec::len).max().unwrap();
    let changes = prop::collection::vec((0..length, any::<u8>()), 0..4);
    let cut = prop_oneof![4 => Just(usize::MAX), 1 => 0..length];
    let of_right = (prop::sample::select(right), changes, cut).prop_map(|(mut frame, changes, cut)| {
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        frame.truncate(cut);
        frame
    });
    prop_oneof![9 => of_right, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

fn ethernet(target: MacAddress, source: MacAddress) -> Vec<u8> {
    [&target.bytes()[..], &source.bytes(), &[8, 0]].concat()
}

fn ip(protocol: u8, from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(IP + payload.len()).unwrap().to_be_bytes();
    let start = [0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
    [&start[..], &from.octets(), &to.octets(), payload].concat()
}

/// A datagram from one seat to another, as a frame.
fn frame(from: &Seat, to: &Seat) -> Vec<u8> {
    [ethernet(to.mac, from.mac), ip(17, from.address, to.address, &[0, 7, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4])].concat()
}

fn nvgre(vsid: u32, from: Ipv4Addr, to: Ipv4Addr, inner: &[u8]) -> Vec<u8> {
    let gre = [&[0x20, 0, 0x65, 0x58][..], &(vsid << 8 | 0x5a).to_be_bytes(), inner].concat();
    [ethernet(MacAddress::local(1), MacAddress::local(2)), ip(47, from, to, &gre)].concat()
}

fn vxlan(vsid: u32, from: Ipv4Addr, to: Ipv4Addr, inner: &[u8]) -> Vec<u8> {
    let udp = [&[0xc0, 0, 0x12, 0xb5, 0, 0, 0, 0][..], &[8, 0, 0, 0], &(vsid << 8).to_be_bytes(), inner].concat();
    [ethernet(MacAddress::local(1), MacAddress::local(2)), ip(17, from, to, &udp)].concat()
}

fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}

/// Whether the machine on that host with this hardware address has this address too.
fn speaks(subnet: &Subnet, provider: Ipv4Addr, mac: &[u8], address: &[u8]) -> bool {
    let mut seats = subnet.seats.iter().filter(|seat| seat.provider == provider);
    seats.any(|seat| seat.mac.bytes() == *mac && seat.address.octets() == *address)
}

/// The frame in an envelope, if the rules allow it. Read apart from how the filter reads.
fn allowed(world: &World, frame: &[u8]) -> Option<Vec<u8>> {
    let [here, there] = [1, 0].map(|n: usize| world.fabric.hosts[n].provider);
    let outer: [u8; IP] = at(frame, ETHERNET)?;
    let in_one_piece = outer[6] & 0x3f == 0 && outer[7] == 0;
    if at(frame, 12)? != [8, 0] || outer[0] != 0x45 || !in_one_piece {
        return None;
    }
    if outer[12..16] != there.octets() || outer[16..] != here.octets() {
        return None;
    }
    let (subnet, vsid, start) = match outer[9] {
        47 if at(frame, 34)? == [0x20, 0, 0x65, 0x58] => (&world.nvgre, at::<3>(frame, 38)?, 42),
        17 if at(frame, 36)? == [0x12, 0xb5] && at(frame, 42)? == [8, 0, 0, 0] => {
            (&world.vxlan, at::<3>(frame, 46)?, 50)
        }
        _ => return None,
    };
    if vsid != subnet.vsid.number().to_be_bytes()[1..] {
        return None;
    }
    // The whole envelope must be there.
    let inner = frame.get(start..)?;
    let header: [u8; IP] = at(inner, ETHERNET)?;
    let (target, source): ([u8; 6], [u8; 6]) = (at(inner, 0)?, at(inner, 6)?);
    let to = &subnet.seats[1];
    let routed = source == MacAddress::GATEWAY.bytes();
    let right = speaks(subnet, there, &source, &header[12..16]) || routed;
    // What a gateway says to all is for its own host.
    let reaches = target[0] & 1 == 1 && !routed || target == to.mac.bytes();
    let is_ip = at(inner, 12)? == [8, 0] && header[0] >> 4 == 4 && header[0] & 15 >= 5;
    (right && reaches && is_ip).then(|| inner.to_vec())
}

#[test]
fn nothing_comes_out_of_an_envelope_but_what_the_rules_allow() {
    let world = World::new();
    let [here, there] = [1, 0].map(|n: usize| world.fabric.hosts[n].provider);
    let of = |subnet: &Subnet| frame(&subnet.seats[0], &subnet.seats[1]);
    let mut routed = of(&world.nvgre);
    routed[6..12].copy_from_slice(&MacAddress::GATEWAY.bytes());
    let mut to_all = routed.clone();
    to_all[..6].fill(0xff);
    let right = vec![
        nvgre(5001, there, here, &of(&world.nvgre)),
        nvgre(5001, there, here, &routed),
        nvgre(5001, there, here, &frame(&world.nvgre.seats[2], &world.nvgre.seats[3])),
        vxlan(6001, there, here, &of(&world.vxlan)),
    ];
    for frame in &right {
        assert!(allowed(&world, frame).is_some());
    }
    // Wrong in ways that chance does not find: everything in them is known.
    let [other, own, second, own_second] = [0, 1, 2, 3].map(|n: usize| world.nvgre.seats[n]);
    let claimed = Seat { mac: second.mac, ..own_second };
    let wrong = vec![
        nvgre(5001, there, here, &to_all),
        nvgre(5001, there, here, &frame(&claimed, &own)),
        nvgre(5001, there, here, &frame(&other, &other)),
        nvgre(5001, there, here, &frame(&own, &own)),
        nvgre(5001, here, here, &of(&world.nvgre)),
        nvgre(6001, there, here, &of(&world.nvgre)),
        vxlan(5001, there, here, &of(&world.nvgre)),
    ];
    for frame in &wrong {
        assert_eq!(allowed(&world, frame), None);
    }
    world.holds(Side::Arrive, "eth0", damaged([right, wrong].concat()), |frame, verdict| {
        let sent = match verdict {
            Verdict::Sent(sent) => Some(sent),
            Verdict::Dropped | Verdict::NotOurs => None,
        };
        prop_assert_eq!(sent, allowed(&world, frame));
        Ok(())
    });
}

#[test]
fn nothing_leaves_a_switch_but_frames_of_its_own_machines() {
    let world = World::new();
    let [here, there] = [1, 0].map(|n: usize| world.fabric.hosts[n].provider);
    let [other, own, other_second, second] = [0, 1, 2, 3].map(|n: usize| world.nvgre.seats[n]);
    let mut routed = frame(&own, &other);
    routed[6..12].copy_from_slice(&MacAddress::GATEWAY.bytes());
    let mut to_all = routed.clone();
    to_all[..6].fill(0xff);
    let question = [
        &[0xff; 6][..],
        &own.mac.bytes(),
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &own.mac.bytes(),
        &own.address.octets(),
        &[0; 6],
        &other.address.octets(),
    ]
    .concat();
    // Those of the other's machine, and to one of the own, do not leave.
    let mut right = vec![frame(&own, &other), routed, to_all, question, frame(&other, &own), frame(&own, &own)];
    // With the second address; with another machine's, under its own hardware address.
    right.extend([&second, &Seat { mac: own.mac, ..other_second }].map(|from| frame(from, &other)));
    world.holds(Side::Leave, "w5001", damaged(right), |frame, verdict| {
        let source: [u8; 6] = at(frame, 6).unwrap();
        let sender = at::<4>(frame, 26);
        let is_ip = at(frame, 12) == Some([8, 0]) && frame.len() >= ETHERNET + IP && sender != Some([0; 4]);
        let routed = source == MacAddress::GATEWAY.bytes();
        let speaks = routed || sender.is_some_and(|sender| speaks(&world.nvgre, here, &source, &sender));
        let reaches = frame[0] & 1 == 1 && !routed || frame[..6] == other.mac.bytes();
        let wanted = at(frame, 38).filter(|wanted| [other, other_second].iter().any(|s| s.address.octets() == *wanted));
        let asks = at(frame, 12) == Some([8, 6, 0, 1, 8, 0]) && at(frame, 20) == Some([0, 1]) && wanted.is_some();
        match verdict {
            Verdict::Sent(sent) if asks => {
                // The answer, to who asked.
                prop_assert_eq!(&sent[..6], &frame[22..28]);
                prop_assert_eq!(&sent[6..12], &other.mac.bytes());
                prop_assert_eq!(at(&sent, 20), Some([0, 2]));
                let answer = [&other.mac.bytes()[..], &wanted.unwrap(), &frame[22..32]].concat();
                prop_assert_eq!(&sent[22..42], &answer[..]);
            }
            Verdict::Sent(sent) => {
                prop_assert!(is_ip && speaks && reaches, "{frame:02x?} leaves");
                prop_assert_eq!(&sent[42..], frame);
                prop_assert_eq!(&sent[26..34], &[here.octets(), there.octets()].concat()[..]);
                prop_assert_eq!(&sent[34..41], &[0x20, 0, 0x65, 0x58, 0, 0x13, 0x89]);
            }
            Verdict::Dropped => prop_assert!(!(asks || is_ip && speaks && reaches), "{frame:02x?} is lost"),
            Verdict::NotOurs => prop_assert!(false, "what comes out of a switch is always ours"),
        }
        Ok(())
    });
}

#[test]
fn addresses_are_rewritten_only_between_machines_of_one_domain() {
    let world = World::new();
    let [from, to] = [0, 1].map(|n: usize| world.rewrite[0].seats[n]);
    let foreign = world.rewrite[1].seats[0];
    let own = |seat: &Seat| seat.own.unwrap();
    let travelling = |from: &Seat| {
        let datagram = ip(17, own(from), own(&to), &[0, 7, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4]);
        [ethernet(MacAddress::local(1), MacAddress::local(2)), datagram].concat()
    };
    let frames = vec![travelling(&from), travelling(&foreign), travelling(&to)];
    world.holds(Side::Arrive, "eth0", damaged(frames), |frame, verdict| {
        let Verdict::Sent(sent) = verdict else { return Ok(()) };
        prop_assert_eq!(&frame[12..15], &[8, 0, 0x45]);
        // Chance finds the other tenant's pair, too.
        let pair = world
            .rewrite
            .iter()
            .map(|tenant| [tenant.seats[0], tenant.seats[1]])
            .find(|[from, to]| frame[26..34] == [own(from).octets(), own(to).octets()].concat());
        let Some([from, to]) = pair else { return Err(TestCaseError::fail(format!("{frame:02x?} gets in"))) };
        prop_assert_eq!(&sent[..14], &ethernet(to.mac, from.mac)[..]);
        prop_assert_eq!(&sent[26..34], &[from.address.octets(), to.address.octets()].concat()[..]);
        prop_assert_eq!(sent.len(), frame.len());
        Ok(())
    });
}
