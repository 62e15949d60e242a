//! What the lab network's server answers, and that hostile bytes never break it.

use hickory_proto::op::{Edns, MessageType, OpCode};
use proptest::prelude::*;
use wardian_model::name::Domain;

use super::*;
use crate::services::wire::MOST;

fn domain(text: &str) -> Domain {
    Domain::new(text).unwrap()
}

fn config(prefix: &str) -> LabDnsConfig {
    LabDnsConfig {
        address: "10.86.255.254".parse().unwrap(),
        zone: domain("lab.example"),
        prefix: prefix.parse().unwrap(),
    }
}

fn record(name: &str, data: AliasData) -> AliasRecord {
    AliasRecord { name: domain(name), data, ttl_seconds: 5 }
}

fn records() -> BTreeSet<AliasRecord> {
    let address = |text: &str| AliasData::Address(text.parse().unwrap());
    [
        record("web.store-1.lab.example", address("10.86.0.5")),
        record("m-0123456789abcdef.lab.example", address("10.86.0.5")),
        record("5.0.86.10.in-addr.arpa", AliasData::Pointer(domain("web.store-1.lab.example"))),
        record("six.store-1.lab.example", address("2001:db8::1")),
        record("not.ours.example", address("10.86.0.6")),
    ]
    .into()
}

fn zones() -> Zones {
    Zones::new(&config("10.86.0.0/16"), &records(), 7)
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn ask_in(zones: &Zones, message: &Message) -> Message {
    let answer = zones.answer(&message.to_vec().unwrap()).unwrap();
    Message::from_vec(&answer.datagram()).unwrap()
}

fn ask(name: &str, kind: RecordType) -> Message {
    ask_in(&zones(), &question(name, kind))
}

fn texts(answer: &Message) -> Vec<String> {
    answer.answers.iter().map(|r| r.data.to_string()).collect()
}

#[test]
fn aliases_lead_to_addresses_and_back() {
    for name in ["web.store-1.lab.example.", "WEB.Store-1.Lab.Example.", "m-0123456789abcdef.lab.example."] {
        let answer = ask(name, RecordType::A);
        assert_eq!(texts(&answer), ["10.86.0.5"], "{name}");
        assert!(answer.metadata.authoritative && !answer.metadata.recursion_available);
        assert_eq!(answer.answers[0].name.to_string(), name, "the name as it was asked");
        assert_eq!(answer.answers[0].ttl, 5);
    }
    assert_eq!(texts(&ask("5.0.86.10.in-addr.arpa.", RecordType::PTR)), ["web.store-1.lab.example."]);
    assert_eq!(texts(&ask("six.store-1.lab.example.", RecordType::AAAA)), ["2001:db8::1"]);
}

#[test]
fn what_is_not_there_is_said_with_authority_and_not_for_long() {
    for (name, kind, code, zone) in [
        ("web.store-1.lab.example.", RecordType::AAAA, ResponseCode::NoError, "lab.example."),
        ("store-1.lab.example.", RecordType::A, ResponseCode::NoError, "lab.example."),
        ("lab.example.", RecordType::A, ResponseCode::NoError, "lab.example."),
        ("db.store-1.lab.example.", RecordType::A, ResponseCode::NXDomain, "lab.example."),
        ("x.web.store-1.lab.example.", RecordType::A, ResponseCode::NXDomain, "lab.example."),
        ("6.0.86.10.in-addr.arpa.", RecordType::PTR, ResponseCode::NXDomain, "86.10.in-addr.arpa."),
        ("0.86.10.in-addr.arpa.", RecordType::PTR, ResponseCode::NoError, "86.10.in-addr.arpa."),
        ("5.0.86.10.in-addr.arpa.", RecordType::A, ResponseCode::NoError, "86.10.in-addr.arpa."),
    ] {
        let answer = ask(name, kind);
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (code, 0), "{name} {kind}");
        let soa = &answer.authorities[0];
        assert_eq!(soa.name.to_string(), zone, "{name}");
        assert!(soa.ttl <= 1 && matches!(&soa.data, RData::SOA(soa) if soa.minimum <= 1));
    }
}

#[test]
fn the_zones_tell_who_serves_them() {
    for zone in ["lab.example.", "86.10.in-addr.arpa."] {
        let answer = ask(zone, RecordType::NS);
        assert_eq!(texts(&answer), ["ns.lab.example."]);
        assert_eq!(answer.additionals[0].data.to_string(), "10.86.255.254");
        assert!(texts(&ask(zone, RecordType::SOA))[0].starts_with("ns.lab.example. hostmaster.lab.example. 7 "));
        assert_eq!(ask(zone, RecordType::ANY).answers.len(), 1);
    }
    assert_eq!(texts(&ask("ns.lab.example.", RecordType::A)), ["10.86.255.254"]);
    assert_eq!(texts(&ask("web.store-1.lab.example.", RecordType::ANY)), ["10.86.0.5"]);
    assert_eq!(zones().next_serial(), 8);
}

#[test]
fn other_zones_and_transfers_are_refused() {
    for name in ["example.", "not.ours.example.", "xlab.example.", "5.0.87.10.in-addr.arpa.", "10.in-addr.arpa.", "."] {
        let answer = ask(name, RecordType::A);
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused, "{name}");
        assert!(answer.answers.is_empty() && answer.authorities.is_empty() && !answer.metadata.authoritative);
    }
    assert_eq!(ask("lab.example.", RecordType::AXFR).metadata.response_code, ResponseCode::Refused);
}

#[test]
fn a_small_lab_network_leaves_its_neighbours_addresses_alone() {
    let zones = Zones::new(&config("10.86.0.0/26"), &records(), 1);
    let ask = |name| ask_in(&zones, &question(name, RecordType::PTR)).metadata.response_code;
    assert_eq!(ask("5.0.86.10.in-addr.arpa."), ResponseCode::NoError);
    assert_eq!(ask("63.0.86.10.in-addr.arpa."), ResponseCode::NXDomain);
    assert_eq!(ask("64.0.86.10.in-addr.arpa."), ResponseCode::Refused);
}

#[test]
fn edns_is_answered_with_edns() {
    let mut message = question("web.store-1.lab.example.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    message.set_edns(edns);
    let answer = ask_in(&zones(), &message);
    assert_eq!((answer.edns.as_ref().unwrap().max_payload(), texts(&answer)), (1232, vec!["10.86.0.5".to_owned()]));
}

#[test]
fn a_client_told_to_come_by_tcp_gets_nothing_but_that() {
    let answer = zones().answer(&question("web.store-1.lab.example.", RecordType::A).to_vec().unwrap()).unwrap();
    let cut = Message::from_vec(&answer.cut()).unwrap();
    assert!(cut.metadata.truncation && cut.answers.is_empty() && cut.queries.len() == 1);
}

proptest! {
    #[test]
    fn no_bytes_make_the_server_fail(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Some(answer) = zones().answer(&bytes) {
            prop_assert!(answer.datagram().len() <= MOST && answer.cut().len() <= MOST);
        }
    }

    #[test]
    fn no_damaged_question_makes_the_server_fail(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        name in prop::sample::select(vec!["web.store-1.lab.example.", "5.0.86.10.in-addr.arpa.", "lab.example.", "."]),
        kind in prop::sample::select(vec![RecordType::A, RecordType::ANY, RecordType::SOA, RecordType::TSIG]),
    ) {
        let mut message = question(name, kind);
        message.set_edns(Edns::new());
        let mut bytes = message.to_vec().unwrap();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(answer) = zones().answer(&bytes) {
            prop_assert!(!answer.datagram().is_empty() && answer.datagram().len() <= MOST);
        }
    }
}
