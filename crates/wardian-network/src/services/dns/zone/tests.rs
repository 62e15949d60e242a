//! What the zone answers, and that hostile bytes never break it.

use hickory_proto::{
    op::{Edns, MessageType, OpCode},
    rr::{DNSClass, rdata::CNAME},
};
use proptest::prelude::*;
use wardian_model::name::{Domain, Hostname};

use super::*;
use crate::services::wire::MOST;

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 23, last)
}

fn plan(forward: bool) -> DnsPlan {
    let host = |name: &str| Hostname::new(name).unwrap();
    DnsPlan {
        address: address(254),
        domain: Domain::new("lab.contoso.com").unwrap(),
        subnet: Ipv4Net::new(address(0), 24).unwrap(),
        more: Vec::new(),
        hosts: vec![(host("web-server"), address(1)), (host("db-server"), address(2)), (host("web"), address(1))],
        forward,
    }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(77, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn ask_in(plan: &DnsPlan, message: &Message) -> Option<Message> {
    match judge(plan, plan.address, &message.to_vec().unwrap()) {
        Verdict::Answer(answer) => Some(Message::from_vec(&answer.datagram()).unwrap()),
        Verdict::Ignore | Verdict::Forward(_) => None,
    }
}

fn ask(name: &str, kind: RecordType) -> Message {
    ask_in(&plan(false), &question(name, kind)).unwrap()
}

fn texts(answer: &Message) -> Vec<String> {
    answer.answers.iter().map(|r| r.data.to_string()).collect()
}

#[test]
fn of_several_subnets_all_have_names_and_each_its_own_gateway() {
    let mut plan = plan(false);
    let (db, gateway) = (Ipv4Addr::new(10, 1, 7, 9), Ipv4Addr::new(10, 1, 255, 254));
    plan.more = vec![Ipv4Net::new(gateway, 16).unwrap()];
    plan.hosts.push((Hostname::new("back").unwrap(), db));
    let said = |at: Ipv4Addr, name: &str, kind| {
        let bytes = question(name, kind).to_vec().unwrap();
        let Verdict::Answer(answer) = judge(&plan, at, &bytes) else { panic!("{name}") };
        let message = Message::from_vec(&answer.datagram()).unwrap();
        (message.metadata.response_code, texts(&message).concat())
    };
    for at in [address(254), gateway] {
        let found = |text: &str| (ResponseCode::NoError, text.to_owned());
        assert_eq!(said(at, "back.lab.contoso.com.", RecordType::A), found("10.1.7.9"));
        assert_eq!(said(at, "9.7.1.10.in-addr.arpa.", RecordType::PTR), found("back.lab.contoso.com."));
        assert_eq!(said(at, "1.23.168.192.in-addr.arpa.", RecordType::PTR), found("web-server.lab.contoso.com."));
        assert_eq!(said(at, "gateway.lab.contoso.com.", RecordType::A), found(&at.to_string()));
        for gateway in ["254.255.1.10", "254.23.168.192"] {
            let name = format!("{gateway}.in-addr.arpa.");
            assert_eq!(said(at, &name, RecordType::PTR), found("gateway.lab.contoso.com."));
        }
        assert_eq!(said(at, "8.7.1.10.in-addr.arpa.", RecordType::PTR).0, ResponseCode::NXDomain);
        assert_eq!(said(at, "9.7.2.10.in-addr.arpa.", RecordType::PTR).0, ResponseCode::Refused);
    }
}

#[test]
fn machines_have_addresses_by_every_name() {
    for name in ["web-server.lab.contoso.com.", "WEB.Lab.Contoso.COM.", "web.", "web-server."] {
        let answer = ask(name, RecordType::A);
        assert_eq!(texts(&answer), ["192.168.23.1"], "{name}");
        assert!(answer.metadata.authoritative && answer.metadata.message_type == MessageType::Response);
        assert_eq!(answer.answers[0].name.to_string(), name, "the name as it was asked");
        assert!(answer.answers[0].ttl <= 5);
        assert_eq!(answer.metadata.id, 77);
    }
    assert_eq!(texts(&ask("gateway.lab.contoso.com.", RecordType::A)), ["192.168.23.254"]);
}

#[test]
fn addresses_have_names() {
    assert_eq!(texts(&ask("1.23.168.192.in-addr.arpa.", RecordType::PTR)), ["web-server.lab.contoso.com."]);
    assert_eq!(texts(&ask("254.23.168.192.in-addr.arpa.", RecordType::PTR)), ["gateway.lab.contoso.com."]);
    let nobody = ask("9.23.168.192.in-addr.arpa.", RecordType::PTR);
    assert_eq!(nobody.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(nobody.authorities[0].name.to_string(), "23.168.192.in-addr.arpa.");
}

#[test]
fn what_is_not_there_is_said_with_authority() {
    for (name, kind, code) in [
        ("web.lab.contoso.com.", RecordType::AAAA, ResponseCode::NoError),
        ("web.", RecordType::AAAA, ResponseCode::NoError),
        ("lab.contoso.com.", RecordType::A, ResponseCode::NoError),
        ("nobody.lab.contoso.com.", RecordType::A, ResponseCode::NXDomain),
        ("a.web.lab.contoso.com.", RecordType::A, ResponseCode::NXDomain),
        ("nobody.", RecordType::A, ResponseCode::NXDomain),
    ] {
        let answer = ask(name, kind);
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (code, 0), "{name} {kind}");
        assert!(matches!(answer.authorities[0].data, RData::SOA(_)), "{name}: how long to remember");
    }
    assert!(texts(&ask("lab.contoso.com.", RecordType::SOA))[0].starts_with("gateway.lab.contoso.com."));
    assert_eq!(texts(&ask("lab.contoso.com.", RecordType::NS)), ["gateway.lab.contoso.com."]);
}

#[test]
fn other_names_are_forwarded_or_refused() {
    for name in ["example.com.", "contoso.com.", "xlab.contoso.com.", "1.24.168.192.in-addr.arpa.", "."] {
        let message = question(name, RecordType::A);
        let refused = ask_in(&plan(false), &message).unwrap();
        assert_eq!(refused.metadata.response_code, ResponseCode::Refused, "{name}");
        let bytes = message.to_vec().unwrap();
        let Verdict::Forward(forwarded) = judge(&plan(true), address(254), &bytes) else { panic!("{name}") };
        assert_eq!(forwarded.with_id(5)[2..], bytes[2..]);
        assert_eq!(forwarded.restore(forwarded.with_id(5)).unwrap(), bytes);
        assert_eq!(
            Message::from_vec(&forwarded.failure().datagram()).unwrap().metadata.response_code,
            ResponseCode::ServFail
        );
    }
}

#[test]
fn too_long_answers_are_cut_and_said_to_be() {
    let message = question("example.com.", RecordType::TXT);
    let Verdict::Forward(forwarded) = judge(&plan(true), address(254), &message.to_vec().unwrap()) else { panic!() };
    assert_eq!(forwarded.fit(vec![1; 512]).len(), 512);
    let cut = Message::from_vec(&forwarded.fit(vec![1; 513])).unwrap();
    assert!(cut.metadata.truncation && cut.queries == message.queries);

    let mut answer = Answer::to(&message, true);
    let name = Name::from_ascii("example.com.").unwrap();
    answer.message.add_answers((0..90).map(|_| Record::from_rdata(name.clone(), 1, RData::CNAME(CNAME(name.clone())))));
    assert!(Message::from_vec(&answer.datagram()).unwrap().metadata.truncation);
    assert!(!Message::from_vec(&answer.stream()).unwrap().metadata.truncation);
}

#[test]
fn edns_is_answered_with_edns() {
    let mut message = question("web.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    message.set_edns(edns.clone());
    assert_eq!(ask_in(&plan(false), &message).unwrap().edns.unwrap().max_payload(), 1232);
    edns.set_version(1);
    message.set_edns(edns);
    let answer = ask_in(&plan(false), &message).unwrap();
    // Number 16 has two names; which is meant depends on where it stands.
    assert_eq!(u16::from(answer.metadata.response_code), u16::from(ResponseCode::BADVERS));
}

#[test]
fn odd_questions_are_refused_and_answers_are_ignored() {
    let mut message = question("web.", RecordType::A);
    message.metadata.op_code = OpCode::Status;
    assert_eq!(ask_in(&plan(true), &message).unwrap().metadata.response_code, ResponseCode::NotImp);
    let mut message = question("web.", RecordType::A);
    message.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(ask_in(&plan(true), &message).unwrap().metadata.response_code, ResponseCode::Refused);
    let mut message = question("web.", RecordType::A);
    message.metadata.message_type = MessageType::Response;
    assert!(ask_in(&plan(true), &message).is_none());
    assert!(matches!(judge(&plan(true), address(254), &[0; 11]), Verdict::Ignore));
    let mut broken = question("web.", RecordType::A).to_vec().unwrap();
    broken.truncate(14);
    assert!(matches!(judge(&plan(true), address(254), &broken), Verdict::Answer(_)));
}

proptest! {
    #[test]
    fn no_bytes_make_the_server_fail(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Verdict::Answer(answer) = judge(&plan(true), address(254), &bytes) {
            prop_assert!(answer.datagram().len() <= MOST);
        }
    }

    #[test]
    fn no_damaged_question_makes_the_server_fail(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        name in prop::sample::select(vec!["web.lab.contoso.com.", "1.23.168.192.in-addr.arpa.", "example.com.", "web."]),
    ) {
        let mut message = question(name, RecordType::A);
        message.set_edns(Edns::new());
        let mut bytes = message.to_vec().unwrap();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        match judge(&plan(true), address(254), &bytes) {
            Verdict::Answer(answer) => prop_assert!(answer.datagram().len() <= MOST && !answer.datagram().is_empty()),
            Verdict::Forward(question) => drop((question.with_id(1), question.failure().datagram(), question.fit(vec![0; 9000]))),
            Verdict::Ignore => {}
        }
    }
}
