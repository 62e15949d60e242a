//! Beside scapy: envelopes that it builds field by field are taken or dropped as the standards have it, and all fields
//! of those that the filter sends are what it reads there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use wardian_network::filter::Reason;
use wardian_plan::fabric::Encapsulation;

use crate::{
    FOREIGN, Pair,
    common::{Namespace, Running},
    pair,
};

const FLOWS: usize = 16;
const EACH: usize = 3;

/// A guest of ours and a host that is scapy.
struct Beside {
    pair: Pair,
    peer: Namespace,
    orders: Value,
}

/// Scapy at work; what it has told so far is in a file.
struct Told {
    file: PathBuf,
    _running: Running,
}

impl Beside {
    fn new(encapsulation: Encapsulation) -> Self {
        let pair = pair(encapsulation);
        let peer = pair.fabric.stranger("peer", FOREIGN);
        let ([guest, machine], host) = (pair.macs(), &pair.fabric.hosts[1]);
        let orders = json!({
            "encapsulation": encapsulation.to_string(), "vsid": pair.subnet.vsid.number(),
            "own": FOREIGN, "own-mac": hardware_address(&peer),
            "host": host.provider, "host-mac": hardware_address(&host.space),
            "guest": pair.subnet.seats[0].address, "guest-mac": guest,
            "machine": pair.subnet.seats[1].address, "machine-mac": machine,
        });
        Self { pair, peer, orders }
    }

    fn command(&self, role: &str, more: &Value) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/filter_peers/scapy_peer.py");
        let mut orders = self.orders.clone();
        let more = more.as_object().unwrap().clone();
        orders.as_object_mut().unwrap().extend(more);
        // The one of the distribution, which scapy is installed for.
        format!("/usr/bin/python3 {script} {role} '{orders}'")
    }

    /// Scapy as the other host, once it listens.
    fn host(&self, more: &Value) -> Told {
        let file = self.pair.fabric.folder.path().join("told");
        let running = self.peer.start(&format!("{} > {}", self.command("host", more), file.display()));
        let told = Told { file, _running: running };
        told.lines(0);
        told
    }

    fn dropped(&self, reason: Reason) -> u64 {
        self.pair.fabric.hosts[1].counters().dropped[&reason]
    }
}

impl Told {
    /// What it tells after that it is ready, when that is so much.
    fn lines(&self, count: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(&self.file).unwrap_or_default();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let lines: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            if lines.len() > count {
                return lines[1..].to_vec();
            }
            assert!(began.elapsed() < Duration::from_secs(30), "scapy tells {text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn hardware_address(space: &Namespace) -> String {
    let said = space.run("ip -o link show eth0");
    said.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap().to_owned()
}

/// What every envelope of ours has, whatever is in it.
fn is_as_the_standard_has_it(beside: &Beside, envelope: &Value) {
    let (from, to) = (&beside.orders["host"], &beside.orders["own"]);
    let mut expected = json!({
        "from": from, "to": to, "version": 4, "header-words": 5, "length-is-right": true, "may-be-cut": false, "offset": 0,
        "checksum-is-right": true, "vsid": 5001, "other-bits": 0,
    });
    // RFC 7637, section 3.2: of the flags the key's alone; and section 4.2: TEB. RFC 7348, section 5: the I flag alone.
    let more = match beside.orders["encapsulation"].as_str() {
        Some("nvgre") => json!({ "protocol": 47, "key": 1, "gre_version": 0, "type": 0x6558 }),
        _ => json!({ "protocol": 17, "port": 4789, "sum": 0, "udp-length-is-right": true, "flags": 8 }),
    };
    expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    for (field, wanted) in expected.as_object().unwrap() {
        assert_eq!(&envelope[field], wanted, "{field} of {envelope}");
    }
}

fn scapy_reads_what_is_sent(encapsulation: Encapsulation) {
    let beside = Beside::new(encapsulation);
    let told = beside.host(&json!({ "of": "UDP", "count": FLOWS * EACH }));
    let sent = beside.pair.guest.run(&beside.command("machine", &json!({ "flows": FLOWS, "each": EACH })));
    let sent: Vec<Value> = sent.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let envelopes = told.lines(FLOWS * EACH);
    assert_eq!((sent.len(), envelopes.len()), (FLOWS * EACH, FLOWS * EACH));
    let mut flows: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for (sent, envelope) in sent.iter().zip(&envelopes) {
        is_as_the_standard_has_it(&beside, envelope);
        assert_eq!(envelope["inner"], sent["frame"]);
        flows.entry(sent["flow"].as_u64().unwrap()).or_default().insert(envelope["flow"].as_u64().unwrap());
    }
    // Each flow has one number, and they are many: routers between hosts spread flows by them.
    assert!(flows.values().all(|numbers| numbers.len() == 1), "{flows:?}");
    assert!(flows.values().collect::<BTreeSet<_>>().len() > FLOWS / 2, "{flows:?}");
}

fn scapys_envelopes_are_understood(encapsulation: Encapsulation) {
    let beside = Beside::new(encapsulation);
    let told = beside.host(&json!({ "ping": true, "of": "ICMP", "count": 1 }));
    let answer = &told.lines(1)[0];
    is_as_the_standard_has_it(&beside, answer);
    // An answer to what it asked, from the guest: behind Ethernet, IP and the kind, code and checksum of ICMP.
    let inner = answer["inner"].as_str().unwrap();
    assert_eq!(&inner[52..68], "c0a81701c0a81702", "{answer}");
    assert_eq!((&inner[68..72], &inner[76..]), ("0000", "0007000166726f6d207363617079"), "{answer}");
}

/// Each of these is dropped for that reason, and the guest answers none; then it answers a right one.
fn scapys_forgeries_are_dropped(encapsulation: Encapsulation, wrong: &[(Reason, Value)]) {
    let beside = Beside::new(encapsulation);
    let mut expected: BTreeMap<Reason, u64> = BTreeMap::new();
    for (reason, _) in wrong {
        *expected.entry(*reason).or_insert_with(|| beside.dropped(*reason)) += 1;
    }
    let changes: Vec<_> = wrong.iter().map(|(_, changes)| changes).collect();
    let told = beside.host(&json!({ "wrong": changes, "ping": true, "of": "ICMP", "count": 2, "seconds": 3 }));
    let answers = told.lines(1);
    let found: BTreeMap<Reason, u64> = expected.keys().map(|reason| (*reason, beside.dropped(*reason))).collect();
    assert_eq!(found, expected);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!((answers.len(), told.lines(1).len()), (1, 1), "a forged one is answered");
}

#[test]
fn scapy_reads_all_fields_of_nvgre_as_the_standard_has_them() {
    scapy_reads_what_is_sent(Encapsulation::Nvgre);
}

#[test]
fn scapy_reads_all_fields_of_vxlan_as_the_standard_has_them() {
    scapy_reads_what_is_sent(Encapsulation::Vxlan);
}

#[test]
fn a_machine_answers_what_scapy_has_put_into_nvgre() {
    scapys_envelopes_are_understood(Encapsulation::Nvgre);
}

#[test]
fn a_machine_answers_what_scapy_has_put_into_vxlan() {
    scapys_envelopes_are_understood(Encapsulation::Vxlan);
}

#[test]
fn nvgre_that_scapy_has_forged_is_dropped_and_counted() {
    scapys_forgeries_are_dropped(
        Encapsulation::Nvgre,
        &[
            (Reason::NoSwitch, json!({ "vsid": 5002 })),
            // Reserved (RFC 7637, section 3.3).
            (Reason::NoSwitch, json!({ "vsid": 0 })),
            (Reason::NoSwitch, json!({ "vsid": 0xfff })),
            (Reason::NoSwitch, json!({ "vsid": 0xff_ffff })),
            // These must not be set (section 3.2).
            (Reason::Malformed, json!({ "chksum_present": 1 })),
            (Reason::Malformed, json!({ "seqnum_present": 1 })),
            (Reason::Malformed, json!({ "version": 1 })),
        ],
    );
}

#[test]
fn vxlan_that_scapy_has_forged_is_dropped_and_counted() {
    scapys_forgeries_are_dropped(
        Encapsulation::Vxlan,
        &[
            (Reason::NoSwitch, json!({ "vni": 5002 })),
            (Reason::NoSwitch, json!({ "vni": 0xff_ffff })),
            // Without the flag that says that there is a VNI (RFC 7348, section 5).
            (Reason::Malformed, json!({ "flags": 0 })),
        ],
    );
}
