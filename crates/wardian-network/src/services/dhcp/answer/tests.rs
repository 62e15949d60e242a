//! What clients are told, and that hostile bytes are told nothing.

use dhcproto::v4::Flags;
use ipnet::Ipv4Net;
use proptest::prelude::*;
use wardian_model::name::{Domain, Hostname};

use super::*;

const WEB: MacAddress = MacAddress::local(1);
const STRANGER: MacAddress = MacAddress::local(99);

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 23, last)
}

fn plan() -> DhcpPlan {
    DhcpPlan {
        server: address(254),
        router: Some(address(254)),
        name_server: Some(address(2)),
        subnet: Ipv4Net::new(address(0), 24).unwrap(),
        domain: Domain::new("lab.contoso.com").unwrap(),
        mtu: 1450,
        lease_seconds: 86_400,
        leases: vec![LeasePlan { mac: WEB, address: address(1), hostname: Hostname::new("web-server").unwrap() }],
    }
}

fn request(mac: MacAddress, kind: MessageType, options: &[DhcpOption]) -> Message {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(0x1234_5678, none, none, none, none, &mac.bytes());
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    for option in options {
        message.opts_mut().insert(option.clone());
    }
    message
}

fn ask(message: &Message) -> Option<(Message, Receiver)> {
    let reply = answer(&plan(), &message.to_vec().unwrap())?;
    assert!(reply.message.len() >= BOOTP);
    Some((Message::decode(&mut Decoder::new(&reply.message)).unwrap(), reply.receiver))
}

fn kind(message: &Message) -> MessageType {
    match message.opts().get(OptionCode::MessageType) {
        Some(DhcpOption::MessageType(kind)) => *kind,
        _ => panic!("no message type"),
    }
}

fn wants(address: Ipv4Addr) -> DhcpOption {
    DhcpOption::RequestedIpAddress(address)
}

#[test]
fn a_known_machine_is_offered_all_it_needs() {
    let id = DhcpOption::ClientIdentifier(vec![255, 1, 2, 3]);
    let (offer, to) = ask(&request(WEB, MessageType::Discover, std::slice::from_ref(&id))).unwrap();
    assert_eq!((kind(&offer), offer.yiaddr(), offer.xid()), (MessageType::Offer, address(1), 0x1234_5678));
    assert_eq!(to, Receiver::One(WEB, address(1)));
    for expected in [
        id,
        DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
        DhcpOption::BroadcastAddr(address(255)),
        DhcpOption::Router(vec![address(254)]),
        DhcpOption::DomainNameServer(vec![address(2)]),
        DhcpOption::ServerIdentifier(address(254)),
        DhcpOption::Hostname("web-server".into()),
        DhcpOption::DomainName("lab.contoso.com".into()),
        DhcpOption::InterfaceMtu(1450),
        DhcpOption::AddressLeaseTime(86_400),
        DhcpOption::Renewal(43_200),
        DhcpOption::Rebinding(75_600),
        DhcpOption::DomainSearch(vec![Name::from_ascii("lab.contoso.com.").unwrap()]),
    ] {
        assert!(offer.opts().iter().any(|(_, o)| *o == expected), "{expected:?}");
    }
}

#[test]
fn strangers_and_relays_get_no_answer() {
    assert!(ask(&request(STRANGER, MessageType::Discover, &[])).is_none());
    let mut relayed = request(WEB, MessageType::Discover, &[]);
    relayed.set_giaddr(address(9));
    assert!(ask(&relayed).is_none());
    let mut reply = request(WEB, MessageType::Offer, &[]);
    reply.set_opcode(Opcode::BootReply);
    assert!(ask(&reply).is_none());
    for kind in [MessageType::Release, MessageType::Decline, MessageType::Ack] {
        assert!(ask(&request(WEB, kind, &[])).is_none());
    }
}

#[test]
fn who_asks_for_broadcasts_gets_them() {
    let mut discover = request(WEB, MessageType::Discover, &[]);
    discover.set_flags(Flags::default().set_broadcast());
    assert_eq!(ask(&discover).unwrap().1, Receiver::All);
}

#[test]
fn a_request_is_confirmed_or_refused_in_every_state() {
    let ours = DhcpOption::ServerIdentifier(address(254));
    let other = DhcpOption::ServerIdentifier(address(253));
    // Selecting.
    assert_eq!(
        kind(&ask(&request(WEB, MessageType::Request, &[ours.clone(), wants(address(1))])).unwrap().0),
        MessageType::Ack
    );
    assert_eq!(
        kind(&ask(&request(WEB, MessageType::Request, &[ours, wants(address(2))])).unwrap().0),
        MessageType::Nak
    );
    assert!(ask(&request(WEB, MessageType::Request, &[other, wants(address(1))])).is_none());
    // Starting again with a remembered address, right and of another network.
    assert_eq!(kind(&ask(&request(WEB, MessageType::Request, &[wants(address(1))])).unwrap().0), MessageType::Ack);
    let (nak, to) = ask(&request(WEB, MessageType::Request, &[wants(Ipv4Addr::new(10, 0, 0, 1))])).unwrap();
    assert_eq!((kind(&nak), nak.yiaddr(), to), (MessageType::Nak, Ipv4Addr::UNSPECIFIED, Receiver::All));
    assert!(nak.opts().get(OptionCode::AddressLeaseTime).is_none());
    // Renewing and rebinding.
    let mut renew = request(WEB, MessageType::Request, &[]);
    renew.set_ciaddr(address(1));
    let (ack, to) = ask(&renew).unwrap();
    assert_eq!((kind(&ack), ack.ciaddr(), to), (MessageType::Ack, address(1), Receiver::One(WEB, address(1))));
    renew.set_ciaddr(address(7));
    assert_eq!(kind(&ask(&renew).unwrap().0), MessageType::Nak);
}

#[test]
fn who_only_wants_to_know_gets_no_lease() {
    let mut inform = request(WEB, MessageType::Inform, &[]);
    inform.set_ciaddr(address(1));
    let (ack, _) = ask(&inform).unwrap();
    assert_eq!((kind(&ack), ack.yiaddr()), (MessageType::Ack, Ipv4Addr::UNSPECIFIED));
    assert!(ack.opts().get(OptionCode::AddressLeaseTime).is_none());
    assert!(ack.opts().get(OptionCode::DomainNameServer).is_some());
}

#[test]
fn an_answer_fits_the_room_the_client_has() {
    let long = [["a".repeat(60).as_str(); 4].join("."), "bc".into()].join(".");
    let plan = DhcpPlan { domain: Domain::new(long).unwrap(), ..plan() };
    let bytes = |size: Option<u16>| {
        let options: Vec<_> = size.map(DhcpOption::MaxMessageSize).into_iter().collect();
        answer(&plan, &request(WEB, MessageType::Discover, &options).to_vec().unwrap()).unwrap().message.len()
    };
    assert!(bytes(None) > LEAST_ROOM, "a domain this long can't be told in less; the search list is left out");
    assert!(bytes(Some(1500)) > bytes(None));
}

#[test]
fn a_hardware_address_longer_than_its_field_is_survived() {
    let mut bytes = request(WEB, MessageType::Discover, &[]).to_vec().unwrap();
    for length in [0, 5, 7, 16, 17, 255] {
        bytes[2] = length;
        assert!(answer(&plan(), &bytes).is_none());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_server_fail(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        prop_assert!(answer(&plan(), &bytes).is_none());
    }

    #[test]
    fn no_damaged_request_makes_the_server_fail(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        kind in prop::sample::select(vec![MessageType::Discover, MessageType::Request, MessageType::Inform]),
        tail in prop::collection::vec(any::<u8>(), 0..80),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut bytes = request(WEB, kind, &[
            wants(address(1)), DhcpOption::ClientIdentifier(vec![1; 7]), DhcpOption::MaxMessageSize(576),
            DhcpOption::ParameterRequestList(vec![OptionCode::SubnetMask, OptionCode::Router]),
        ]).to_vec().unwrap();
        bytes.pop();
        bytes.extend(tail);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Some(reply) = answer(&plan(), &bytes) {
            prop_assert!(reply.message.len() <= 1472);
            let frame = super::super::frame::build(&reply, MacAddress::local(7), address(254)).unwrap();
            prop_assert!(etherparse::SlicedPacket::from_ethernet(&frame).is_ok());
        }
    }
}
