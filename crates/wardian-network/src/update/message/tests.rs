//! What is sent, and that no answer is believed that our key didn't sign.

use hickory_proto::rr::{TSigResponseContext, rdata::tsig::TsigAlgorithm};
use proptest::prelude::*;

use super::*;
use crate::update::Secret;

const NOW: u64 = 1_800_000_000;

fn domain(text: &str) -> Domain {
    Domain::new(text).unwrap()
}

fn config() -> UpdateConfig {
    let server = "192.0.2.53:53".parse().unwrap();
    let mut config = UpdateConfig::new(server, domain("lab.example"), "wardian", Secret::new(*b"secret"));
    config.reverse_zone = Some(domain("86.10.in-addr.arpa"));
    config
}

fn signer_of(name: &str, secret: &[u8]) -> TSigner {
    TSigner::new(secret.to_vec(), TsigAlgorithm::HmacSha256, Name::from_ascii(name).unwrap(), 300).unwrap()
}

fn signer() -> TSigner {
    signer_of("wardian.", b"secret")
}

fn address(name: &str) -> AliasRecord {
    AliasRecord { name: domain(name), data: AliasData::Address("10.86.0.5".parse().unwrap()), ttl_seconds: 5 }
}

fn pointer(name: &str) -> AliasRecord {
    let data = AliasData::Pointer(domain("web.store.lab.example"));
    AliasRecord { name: domain(name), data, ttl_seconds: 5 }
}

fn one() -> Update {
    let record = address("web.store.lab.example");
    updates(&config(), &signer(), [Change::Replace(&record)], NOW).unwrap().remove(0)
}

/// An answer to `update`, with `code`, signed by `sign`.
fn answer(update: &Update, code: ResponseCode, sign: Option<TSigResponseContext>) -> Vec<u8> {
    let mut message = Message::response(update.id, OpCode::Update);
    message.metadata.response_code = code;
    if let Some(sign) = sign {
        let signature = sign.sign(&message.to_vec().unwrap()).unwrap();
        message.set_signature(signature);
    }
    message.to_vec().unwrap()
}

fn signed(update: &Update, signer: TSigner, time: u64, error: Option<TsigError>) -> TSigResponseContext {
    TSigResponseContext::new(update.id, time, signer, update.mac.clone(), error)
}

#[test]
fn a_record_is_replaced_whole_and_removed_alone() {
    let (web, back) = (address("web.store.lab.example"), pointer("5.0.86.10.in-addr.arpa"));
    let updates = updates(&config(), &signer(), [Change::Replace(&web), Change::Remove(&back)], NOW).unwrap();
    let messages: Vec<_> = updates.iter().map(|u| Message::from_vec(&u.bytes).unwrap()).collect();
    let text = |m: &Message| {
        let changes = m.updates().iter().map(|r| format!("{} {} {}", r.dns_class, r.record_type(), r.ttl));
        (m.zones()[0].name().to_string(), changes.collect::<Vec<_>>())
    };
    assert_eq!(text(&messages[0]), ("lab.example.".into(), vec!["ANY A 0".to_owned(), "IN A 5".to_owned()]));
    assert_eq!(text(&messages[1]), ("86.10.in-addr.arpa.".into(), vec!["NONE PTR 0".to_owned()]));
    for update in &updates {
        signer().verify_message_byte(&update.bytes, None, true).unwrap();
    }
}

#[test]
fn a_record_outside_the_zones_is_not_sent() {
    for record in [address("web.otherlab.example"), address("weblab.example"), pointer("5.0.87.10.in-addr.arpa")] {
        let refused = updates(&config(), &signer(), [Change::Replace(&record)], NOW);
        assert!(matches!(refused, Err(UpdateError::OutsideZone { record: name, .. }) if name == record.name));
        // It can't hold up others for ever: it was told when the zone was another one.
        assert!(updates(&config(), &signer(), [Change::Remove(&record)], NOW).unwrap().is_empty());
    }
    let forward_only = UpdateConfig { reverse_zone: None, ..config() };
    let back = pointer("5.0.86.10.in-addr.arpa");
    assert!(updates(&forward_only, &signer(), [Change::Replace(&back)], NOW).unwrap().is_empty());
}

#[test]
fn any_number_of_the_longest_names_fits() {
    let long = ["x".repeat(63), "y".repeat(63), ["z"; 56].join("."), "lab.example".into()].join(".");
    let records: Vec<_> = (0..1000).map(|i| address(&format!("{}{}", i % 10, &long[1..]))).collect();
    let updates = updates(&config(), &signer(), records.iter().map(Change::Replace), NOW).unwrap();
    assert_eq!(updates.len(), 10);
    assert!(updates.iter().all(|u| u.bytes.len() < 65_535));
}

#[test]
fn an_answer_signed_with_our_key_is_believed() {
    let update = one();
    let answer_of = |code| answer(&update, code, Some(signed(&update, signer(), NOW + 3, None)));
    let judge = |code| update.judge(&config(), &signer(), &answer_of(code));
    judge(ResponseCode::NoError).unwrap();
    assert!(matches!(judge(ResponseCode::NotAuth), Err(UpdateError::NotAuthoritative { .. })));
    assert!(matches!(judge(ResponseCode::Refused), Err(UpdateError::Refused { .. })));
    let Err(failed) = judge(ResponseCode::ServFail) else { panic!() };
    assert!(failed.is_passing());
    assert!(matches!(judge(ResponseCode::NotImp), Err(UpdateError::Failed { passing: false, .. })));
}

#[test]
fn an_answer_that_is_not_signed_with_our_key_is_not_believed() {
    let update = one();
    let judge = |bytes: &[u8]| update.judge(&config(), &signer(), bytes);
    let unsigned = answer(&update, ResponseCode::NoError, None);
    assert!(matches!(judge(&unsigned), Err(UpdateError::Unsigned { .. })));
    let other = signed(&update, signer_of("wardian.", b"guess"), NOW, None);
    assert!(matches!(judge(&answer(&update, ResponseCode::NoError, Some(other))), Err(UpdateError::Forged { .. })));
    let late = signed(&update, signer(), NOW + 900, None);
    assert!(matches!(
        judge(&answer(&update, ResponseCode::NoError, Some(late))),
        Err(UpdateError::Clock { ahead: Some(900), .. })
    ));
    // Of another update.
    let another = one();
    let of_another = answer(&another, ResponseCode::NoError, Some(signed(&another, signer(), NOW, None)));
    assert!(judge(&of_another).is_err());
}

#[test]
fn reasons_why_our_signature_was_not_taken_are_told_apart() {
    let update = one();
    let judge = |context| update.judge(&config(), &signer(), &answer(&update, ResponseCode::NotAuth, Some(context)));
    let unknown = TSigResponseContext::unknown_key(update.id, NOW, Name::from_ascii("wardian.").unwrap());
    assert!(matches!(judge(unknown), Err(UpdateError::BadKey { .. })));
    let bad = TSigResponseContext::bad_signature(update.id, NOW, signer());
    assert!(matches!(judge(bad), Err(UpdateError::BadSignature { .. })));
    let time = signed(&update, signer(), NOW, Some(TsigError::BadTime));
    assert!(matches!(judge(time), Err(UpdateError::Clock { ahead: None, .. })));
}

proptest! {
    #[test]
    fn no_bytes_are_taken_for_an_acknowledgement(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(one().judge(&config(), &signer(), &bytes).is_err());
    }

    #[test]
    fn no_damaged_answer_makes_the_client_fail(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let update = one();
        let mut bytes = answer(&update, ResponseCode::NoError, Some(signed(&update, signer(), NOW, None)));
        let whole = bytes.clone();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let judged = update.judge(&config(), &signer(), &bytes);
        // Class and time to live of the signature itself are not signed, and mean nothing. All that is judged is.
        prop_assert!(judged.is_err() || bytes[..12] == whole[..12]);
    }
}
