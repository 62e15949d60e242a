//! Updates as messages (RFC 2136), and what their answers mean. No I/O.

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode, UpdateMessage},
    rr::{
        DNSClass, Name, RData, Record, RecordType, TSigner,
        rdata::{A, AAAA, PTR, tsig::TsigError},
    },
};
use std::net::IpAddr;
use wardian_model::name::Domain;
use wardian_plan::alias::{AliasData, AliasRecord};

use super::{UpdateConfig, UpdateError};

/// Records of one message. It leaves room for the longest names in the 65,535 bytes there are.
const AT_ONCE: usize = 100;

/// What is to be done with a record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    /// It shall be all there is of its name and type.
    Replace(&'a AliasRecord),
    /// It shall not be there.
    Remove(&'a AliasRecord),
}

/// A message to send, and what is needed to judge its answer.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) zone: Domain,
    pub(super) bytes: Vec<u8>,
    id: u16,
    mac: Vec<u8>,
    time: u64,
}

/// The messages for `changes`, each of one zone, signed at `time` (in seconds of Unix time).
pub(super) fn updates<'a>(
    config: &UpdateConfig,
    signer: &TSigner,
    changes: impl IntoIterator<Item = Change<'a>>,
    time: u64,
) -> Result<Vec<Update>, UpdateError> {
    let (mut forward, mut reverse) = (Vec::new(), Vec::new());
    for change in changes {
        let (Change::Replace(record) | Change::Remove(record)) = change;
        let (zone, list) = match (&record.data, &config.reverse_zone) {
            (AliasData::Address(_), _) => (&config.zone, &mut forward),
            (AliasData::Pointer(_), Some(zone)) => (zone, &mut reverse),
            // Somebody else has the names of addresses.
            (AliasData::Pointer(_), None) => continue,
        };
        if !is_below(&record.name, zone) {
            if matches!(change, Change::Remove(_)) {
                // Told under another configuration; which zone it was in, and with which key, nobody knows any more.
                tracing::warn!(name = %record.name, %zone, "a record of another zone is left to its name server");
                continue;
            }
            return Err(UpdateError::OutsideZone { record: record.name.clone(), zone: zone.clone() });
        }
        list.push(change);
    }
    let zones = [(Some(&config.zone), forward), (config.reverse_zone.as_ref(), reverse)];
    let chunks = zones.iter().filter_map(|(zone, list)| Some((zone.as_ref()?, list)));
    chunks.flat_map(|(zone, list)| list.chunks(AT_ONCE).map(|c| update(zone, signer, c, time))).collect()
}

fn is_below(name: &Domain, zone: &Domain) -> bool {
    name.as_str().strip_suffix(zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn update(zone: &Domain, signer: &TSigner, changes: &[Change<'_>], time: u64) -> Result<Update, UpdateError> {
    let failed = |why: &dyn std::fmt::Display| UpdateError::Encode { zone: zone.clone(), why: why.to_string() };
    let name = |domain: &Domain| Name::from_ascii(format!("{domain}.")).map_err(|e| failed(&e));
    let id = rand::random();
    let mut message = Message::new(id, MessageType::Query, OpCode::Update);
    let mut of_zone = Query::query(name(zone)?, RecordType::SOA);
    of_zone.set_query_class(DNSClass::IN);
    message.add_zone(of_zone);
    for change in changes {
        let (Change::Replace(record) | Change::Remove(record)) = *change;
        let owner = name(&record.name)?;
        let data = match &record.data {
            AliasData::Address(IpAddr::V4(address)) => RData::A(A(*address)),
            AliasData::Address(IpAddr::V6(address)) => RData::AAAA(AAAA(*address)),
            AliasData::Pointer(to) => RData::PTR(PTR(name(to)?)),
        };
        if matches!(change, Change::Replace(_)) {
            // "Delete an RRset" (section 2.5.2), and then the only one there is.
            let mut all = Record::update0(owner.clone(), 0, data.record_type()).into_record_of_rdata();
            all.dns_class = DNSClass::ANY;
            message.add_update(all);
            message.add_update(Record::from_rdata(owner, record.ttl_seconds, data));
        } else {
            // "Delete an RR from an RRset" (section 2.5.4): what somebody else wrote there meanwhile stays.
            let mut one = Record::from_rdata(owner, 0, data);
            one.dns_class = DNSClass::NONE;
            message.add_update(one);
        }
    }
    message.finalize(signer, time).map_err(|e| failed(&e))?;
    let mac = message.signature().map(|s| s.data.mac.clone()).unwrap_or_default();
    let bytes = message.to_vec().map_err(|e| failed(&e))?;
    Ok(Update { zone: zone.clone(), bytes, id, mac, time })
}

impl Update {
    /// What the `answer` means.
    pub(super) fn judge(&self, config: &UpdateConfig, signer: &TSigner, answer: &[u8]) -> Result<(), UpdateError> {
        let server = config.server;
        let message = Message::from_vec(answer).map_err(|_| UpdateError::Unreadable { server })?;
        let head = &message.metadata;
        if head.id != self.id || head.message_type != MessageType::Response || head.op_code != OpCode::Update {
            return Err(UpdateError::Unreadable { server });
        }
        let key = || config.key_name.clone();
        let tsig = message.signature().map(|s| &s.data);
        // The reasons why our signature was not taken come unsigned, all but the last (RFC 8945, section 5.3.2):
        // somebody who forges them can do no more than who swallows the answer.
        match tsig.and_then(|t| t.error) {
            Some(TsigError::BadKey) => {
                return Err(UpdateError::BadKey { server, key: key(), algorithm: config.algorithm.as_str() });
            }
            Some(TsigError::BadSig) => return Err(UpdateError::BadSignature { server, key: key() }),
            Some(TsigError::BadTime) => {
                let theirs = tsig.and_then(|t| number(&t.other));
                let ahead = theirs.map(|theirs| theirs.wrapping_sub(self.time) as i64);
                return Err(UpdateError::Clock { server, ahead });
            }
            Some(_) | None => {}
        }
        if tsig.is_some() {
            let (_, time, fit) = signer
                .verify_message_byte(answer, Some(&self.mac), true)
                .map_err(|_| UpdateError::Forged { server, key: key() })?;
            if !fit.contains(&self.time) {
                return Err(UpdateError::Clock { server, ahead: Some(time.wrapping_sub(self.time) as i64) });
            }
        } else if head.response_code == ResponseCode::NoError {
            return Err(UpdateError::Unsigned { server });
        }
        let zone = self.zone.clone();
        match head.response_code {
            ResponseCode::NoError => Ok(()),
            ResponseCode::NotAuth => Err(UpdateError::NotAuthoritative { server, zone }),
            ResponseCode::Refused => Err(UpdateError::Refused { server, zone, key: key() }),
            code => {
                let passing = code == ResponseCode::ServFail;
                Err(UpdateError::Failed { server, zone, code: code.to_string(), passing })
            }
        }
    }
}

/// The 48-bit number of a BADTIME's other data.
fn number(bytes: &[u8]) -> Option<u64> {
    (bytes.len() == 6).then(|| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests;
