//! The filter against whatever bytes come: it does exactly what a second reading of the rules, in Rust, says, in every
//! encapsulation and both directions. Frames are right ones that were changed, and any bytes at all.
//!
//! `PROPTEST_CASES` says how many are tried; with `WARDIAN_FUZZ_SECONDS`, as many as that time allows. One that is
//! treated wrongly is kept in `tests/corpus/filter`.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod corpus;
mod frames;
mod rules;

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use common::fabric::{Fabric, TestSwitch, UNDERLAY_MTU, mac_of, subnet};
use proptest::{
    prelude::*,
    test_runner::{Config, TestError, TestRunner},
};
use rules::{Expected, Rules};
use wardian_model::mac::MacAddress;
use wardian_network::filter::Side;
use wardian_plan::fabric::{Encapsulation, Seat, Subnet};

/// The smallest frame, without its checksum.
const SHORTEST: usize = 60;
/// What the kernel tries at most.
const LONGEST: usize = 3_500;
const DEVICES: [&str; 5] = ["eth0", "w5001", "w6001", "w7001", "w7003"];

/// What the host under test, the second one, knows: a subnet for each encapsulation, with a machine on each host. Where
/// there are envelopes, each machine has two addresses. Where addresses are rewritten there are two tenants, one of
/// them with two subnets and two machines on each host.
struct World {
    fabric: Fabric,
    rules: Rules,
    _switches: Vec<TestSwitch>,
}

impl World {
    fn new() -> Self {
        let mut fabric = Fabric::early(2);
        let [there, here] = [0, 1].map(|n: usize| fabric.hosts[n].provider);
        let mut subnets = vec![
            subnet(5001, 1, Encapsulation::Nvgre, 23, &[there, here]),
            subnet(6001, 2, Encapsulation::Vxlan, 23, &[there, here]),
            subnet(7001, 3, Encapsulation::IpRewrite, 23, &[there, here, there, here]),
            subnet(7003, 3, Encapsulation::IpRewrite, 24, &[there, here]),
            subnet(7002, 4, Encapsulation::IpRewrite, 23, &[there, here]),
        ];
        let farther = |address: Ipv4Addr, by: u32| Ipv4Addr::from(u32::from(address) + by);
        for subnet in &mut subnets[..2] {
            let second = |seat: &Seat| Seat { address: farther(seat.address, 100), ..*seat };
            subnet.seats.extend(subnet.seats.clone().iter().map(second));
        }
        // Of one domain with another, so with provider addresses of its own.
        for seat in &mut subnets[3].seats {
            seat.own = seat.own.map(|own| farther(own, 100));
        }
        let switches =
            subnets.iter().map(|subnet| fabric.switch(1, &format!("s{}", subnet.vsid), subnet, None)).collect();
        fabric.know(&subnets);
        let mac = mac_of(&fabric.hosts[1].space, "eth0").bytes();
        Self { fabric, rules: Rules { here, mac, subnets }, _switches: switches }
    }

    fn subnet(&self, vsid: u32) -> &Subnet {
        self.rules.subnets.iter().find(|subnet| subnet.vsid.number() == vsid).unwrap()
    }

    fn side(device: &str) -> Side {
        if device == "eth0" { Side::Arrive } else { Side::Leave }
    }

    /// What the rules say of a frame at a device.
    fn expected(&self, device: &str, frame: &[u8]) -> Expected {
        match device.strip_prefix('w') {
            Some(vsid) => self.rules.leave(self.subnet(vsid.parse().unwrap()), frame),
            None => self.rules.arrive(frame),
        }
    }

    /// Frames that are sent on, and some that are wrong in ways that chance does not find: everything in them is known.
    fn seeds(&self, device: &str) -> Vec<Vec<u8>> {
        let mut all = match device.strip_prefix('w') {
            Some(vsid) => self.leaving(self.subnet(vsid.parse().unwrap())),
            None => self.arriving(),
        };
        all.extend(corpus::kept(device));
        all
    }

    fn leaving(&self, subnet: &Subnet) -> Vec<Vec<u8>> {
        let elsewhere = |seat: &&Seat| seat.provider != self.rules.here;
        let [others, own]: [Vec<&Seat>; 2] =
            [true, false].map(|other| subnet.seats.iter().filter(|seat| elsewhere(seat) == other).collect());
        let mut all: Vec<_> = own.iter().flat_map(|own| others.iter().flat_map(|to| frames::frames(own, to))).collect();
        let gateway = Seat { mac: MacAddress::GATEWAY, ..*own[0] };
        all.extend(frames::frames(&gateway, others[0]));
        for mut frame in frames::frames(own[0], others[0]).into_iter().chain(frames::frames(&gateway, others[0])) {
            frame[..6].fill(0xff);
            all.push(frame);
        }
        all.push(frames::question(own[0], others[0]));
        all.push(frames::question(own[0], own[0]));
        // Of the other's machine; to one of the own; under an address that another has.
        let claimed = Seat { mac: own[0].mac, ..*others[0] };
        for (from, to) in [(others[0], own[0]), (own[0], own[0]), (&claimed, others[0])] {
            all.extend(frames::frames(from, to));
        }
        all
    }

    fn arriving(&self) -> Vec<Vec<u8>> {
        let [there, here] = [0, 1].map(|n: usize| self.fabric.hosts[n].provider);
        let mut all = Vec::new();
        let nvgre = frames::nvgre as fn(_, _, _, &[u8]) -> _;
        for (vsid, wrap) in [(5001, nvgre), (6001, frames::vxlan), (7001, nvgre)] {
            let [other, own, second, own_second] = [0, 1, 2, 3].map(|n: usize| self.subnet(vsid).seats[n]);
            let gateway = Seat { mac: MacAddress::GATEWAY, ..other };
            let claimed = Seat { mac: second.mac, ..own_second };
            let ways = [(other, own), (gateway, own), (second, own_second), (claimed, own), (other, other), (own, own)];
            for inner in ways.iter().flat_map(|(from, to)| frames::frames(from, to)) {
                all.extend([wrap(vsid, there, here, &inner), wrap(vsid, here, here, &inner)]);
                let mut to_all = inner;
                to_all[..6].fill(0xff);
                all.push(wrap(vsid, there, here, &to_all));
            }
            all.push(wrap(if vsid == 5001 { 6001 } else { 5001 }, there, here, &frames::frames(&other, &own)[0]));
        }
        for domain in [3, 4] {
            let subnets = || self.rules.subnets.iter().filter(|subnet| subnet.domain == domain);
            let seats: Vec<_> = subnets().flat_map(|subnet| &subnet.seats).collect();
            all.extend(seats.iter().flat_map(|from| seats.iter().flat_map(|to| frames::rewritten(from, to))));
            // Errors of routers on the way about what one has sent, right and wrong; and questions for addresses.
            let router = Seat { own: Some(Ipv4Addr::new(10, 2, 0, 254)), ..*seats[0] };
            for to in &seats {
                all.extend(seats.iter().flat_map(|about| frames::router_errors(&router, to, about)));
                let asked = Seat { address: to.own.unwrap(), ..**to };
                all.push(frames::question(&router, &asked));
            }
        }
        all
    }

    /// Tries one frame; what is wrong, if something is.
    fn try_one(&self, device: &str, mut frame: Vec<u8>) -> Option<String> {
        // As on a wire, and the kernel tries nothing shorter.
        frame.resize(frame.len().clamp(SHORTEST, LONGEST), 0);
        let filter = &self.fabric.hosts[1].filter;
        if device == "eth0" {
            let (expected, found) = (self.rules.early(&frame), filter.try_early(&frame).unwrap());
            if expected != found {
                return Some(format!("driver {frame:02x?}: expected {expected:02x?}, found {found:02x?}"));
            }
        }
        let verdict = filter.judge(Self::side(device), device, &frame).unwrap();
        self.expected(device, &frame).differs(&verdict).map(|wrong| format!("{device} {frame:02x?}: {wrong}"))
    }

    fn try_all(&self, device: &str, all: impl Iterator<Item = Vec<u8>> + Send) {
        self.fabric.hosts[1].space.enter(|| {
            for frame in all {
                if let Some(wrong) = self.try_one(device, frame.clone()) {
                    panic!("{wrong}; kept in {}", corpus::keep(device, &frame).display());
                }
            }
        });
    }

    /// Tries that many frames at a device.
    fn fuzz(&self, device: &str, cases: u32) {
        let (seeds, hosts) = (self.seeds(device), [0, 1].map(|n: usize| self.fabric.hosts[n].provider));
        let strategy = frames::damaged(&seeds, &frames::words(&self.rules.subnets, &hosts));
        self.fabric.hosts[1].space.enter(move || {
            let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
            let outcome = runner.run(&strategy, |frame| {
                self.try_one(device, frame).map_or(Ok(()), |wrong| Err(TestCaseError::fail(wrong)))
            });
            match outcome {
                Ok(()) => {}
                Err(TestError::Fail(why, frame)) => {
                    panic!("{why}; kept in {}", corpus::keep(device, &frame).display());
                }
                Err(error) => panic!("{error}"),
            }
        });
    }
}

#[test]
fn whatever_comes_the_filter_does_what_the_rules_say() {
    let world = World::new();
    let Ok(seconds) = std::env::var("WARDIAN_FUZZ_SECONDS") else {
        DEVICES.iter().for_each(|device| world.fuzz(device, Config::default().cases));
        return;
    };
    let (began, wanted) =
        (Instant::now(), Duration::from_secs(seconds.parse().expect("WARDIAN_FUZZ_SECONDS is a number")));
    const AT_ONCE: u32 = 2_000;
    let (mut cases, mut told) = (0u64, Instant::now());
    while began.elapsed() < wanted {
        DEVICES.iter().for_each(|device| world.fuzz(device, AT_ONCE));
        cases += u64::from(AT_ONCE) * DEVICES.len() as u64;
        if told.elapsed() > Duration::from_secs(60) {
            eprintln!("{cases} frames in {} s", began.elapsed().as_secs());
            told = Instant::now();
        }
    }
    eprintln!("{cases} frames in {} s, all treated as the rules say", began.elapsed().as_secs());
}

#[test]
fn right_frames_are_sent_on_and_what_was_ever_treated_wrongly_is_treated_rightly() {
    let world = World::new();
    for device in DEVICES {
        let seeds = world.seeds(device);
        let sent = seeds.iter().filter(|frame| {
            let mut frame = (*frame).clone();
            frame.resize(frame.len().max(SHORTEST), 0);
            matches!(world.expected(device, &frame), Expected::Sent(_))
        });
        assert!(sent.count() >= 8, "{device}");
        let taken_off = seeds.iter().filter(|frame| device == "eth0" && world.rules.early(frame).is_some());
        assert!(device != "eth0" || taken_off.count() >= 8);
        world.try_all(device, seeds.into_iter());
    }
}

#[test]
fn a_frame_that_ends_early_or_has_one_wrong_byte_is_treated_as_what_it_is_then() {
    let world = World::new();
    for device in DEVICES {
        let seeds = world.seeds(device);
        let ends_early = seeds.iter().flat_map(|frame| (0..frame.len()).map(|length| frame[..length].to_vec()));
        world.try_all(device, ends_early);
        let wrong = seeds.iter().flat_map(|frame| {
            let bytes = (0..frame.len()).flat_map(|place| [0x01, 0x10, 0x80, 0xff].map(|bits| (place, bits)));
            bytes.map(|(place, bits)| {
                let mut frame = frame.clone();
                frame[place] ^= bits;
                frame
            })
        });
        world.try_all(device, wrong);
    }
}
