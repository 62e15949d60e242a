//! What the server says to a question: a function of records and of bytes that may be anything.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    time::SystemTime,
};

use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{
        LowerName, Name, RData, Record, RecordType,
        rdata::{A, AAAA, NS, PTR, SOA},
    },
};
use ipnet::Ipv4Net;
use wardian_plan::alias::{AliasData, AliasRecord, reverse_zones};

use super::LabDnsConfig;
use crate::services::wire::{Answer, Received, reverse_of};

/// How long "there is no such name" may be remembered, in seconds: the name may come with the next environment.
const NEGATIVE_TTL: u32 = 1;
/// Of what belongs to the zones themselves, in seconds.
const ZONE_TTL: u32 = 60;
/// The server's own name below the alias zone.
const SERVER: &str = "ns";

/// Everything the server answers for. Never changed, only replaced.
#[derive(Debug)]
pub(super) struct Zones {
    records: BTreeSet<AliasRecord>,
    prefix: Ipv4Net,
    serial: u32,
    server: Name,
    mailbox: Name,
    zones: Vec<LowerName>,
    /// All names there are, those in between too: they exist and have nothing (RFC 8020).
    names: HashMap<LowerName, Vec<Data>>,
}

/// What a name has.
#[derive(Debug, Clone)]
struct Data {
    data: RData,
    ttl: u32,
}

/// The serial number of a server's first zones: it grows from one start to the next.
pub(super) fn first_serial() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Serial numbers go round (RFC 1982).
    since.as_secs() as u32
}

impl Zones {
    pub(super) fn new(config: &LabDnsConfig, records: &BTreeSet<AliasRecord>, serial: u32) -> Self {
        // A domain is always a name; `root` is for the compiler.
        let zone = name_of(config.zone.as_str()).unwrap_or_else(Name::root);
        let own = |label: &str| zone.prepend_label(label).unwrap_or_else(|_| zone.clone());
        let mut all = Self {
            records: records.clone(),
            prefix: config.prefix,
            serial,
            server: own(SERVER),
            mailbox: own("hostmaster"),
            zones: vec![LowerName::from(&zone)],
            names: HashMap::new(),
        };
        let reverse = reverse_zones(config.prefix);
        all.zones.extend(reverse.iter().filter_map(|z| Some(LowerName::from(&name_of(z.as_str())?))));
        for apex in all.zones.clone() {
            all.add(&apex, Data { data: RData::NS(NS(all.server.clone())), ttl: ZONE_TTL });
        }
        let server = LowerName::from(&all.server);
        all.add(&server, Data { data: RData::A(A(config.address)), ttl: ZONE_TTL });
        for record in records {
            let data = match &record.data {
                AliasData::Address(IpAddr::V4(address)) => Some(RData::A(A(*address))),
                AliasData::Address(IpAddr::V6(address)) => Some(RData::AAAA(AAAA(*address))),
                AliasData::Pointer(to) => name_of(to.as_str()).map(|to| RData::PTR(PTR(to))),
            };
            if let (Some(name), Some(data)) = (name_of(record.name.as_str()), data) {
                all.add(&LowerName::from(&name), Data { data, ttl: record.ttl_seconds });
            }
        }
        all
    }

    /// Whether they were made from `records`.
    pub(super) fn are_of(&self, records: &BTreeSet<AliasRecord>) -> bool {
        self.records == *records
    }

    pub(super) const fn next_serial(&self) -> u32 {
        self.serial.wrapping_add(1)
    }

    /// Adds what is in one of the zones, and all names between.
    fn add(&mut self, name: &LowerName, data: Data) {
        let Some(zone) = self.zone_of(name).cloned() else { return };
        self.names.entry(name.clone()).or_default().push(data);
        let mut above = name.clone();
        while above != zone {
            above = above.base_name();
            self.names.entry(above.clone()).or_default();
        }
    }

    fn zone_of(&self, name: &LowerName) -> Option<&LowerName> {
        self.zones.iter().find(|zone| zone.zone_of(name))
    }

    /// The answer to `bytes`; none when they are not a question.
    pub(super) fn answer(&self, bytes: &[u8]) -> Option<Answer> {
        let request = match Received::from(bytes, false) {
            Received::Ignore => return None,
            Received::Answer(answer) => return Some(answer),
            Received::Question(request) => request,
        };
        let query = request.queries.first()?;
        Some(self.look_up(&request, query))
    }

    fn look_up(&self, request: &Message, query: &Query) -> Answer {
        let name = LowerName::from(query.name());
        let transfer = matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR);
        let zone = self.zone_of(&name).filter(|_| !transfer && self.is_ours(query.name()));
        let Some(zone) = zone else { return Answer::to(request, false).code(ResponseCode::Refused) };
        let found = self.names.get(&name);
        let code = if found.is_some() { ResponseCode::NoError } else { ResponseCode::NXDomain };
        let mut answer = Answer::to(request, false).code(code);
        answer.message.metadata.authoritative = true;
        let soa = (name == *zone && matches!(query.query_type(), RecordType::SOA | RecordType::ANY))
            .then(|| Data { data: self.soa(), ttl: ZONE_TTL });
        let of_kind =
            |d: &&Data| matches!(query.query_type(), RecordType::ANY) || d.data.record_type() == query.query_type();
        let mut data: Vec<Data> = soa.into_iter().chain(found.into_iter().flatten().filter(of_kind).cloned()).collect();
        if query.query_type() == RecordType::ANY {
            // One kind of what there is (RFC 8482, section 4.1).
            let kind = data.first().map(|d| d.data.record_type());
            data.retain(|d| Some(d.data.record_type()) == kind);
        }
        if data.is_empty() {
            answer.message.add_authority(Record::from_rdata(Name::from(zone), NEGATIVE_TTL, self.soa()));
        }
        if data.iter().any(|d| d.data.record_type() == RecordType::NS) {
            let own = self.names.get(&LowerName::from(&self.server)).into_iter().flatten();
            let own = own.map(|d| Record::from_rdata(self.server.clone(), d.ttl, d.data.clone()));
            answer.message.add_additionals(own.collect::<Vec<_>>());
        }
        // The name as it was asked, capitals and all: some clients compare.
        let named = |d: Data| Record::from_rdata(query.name().clone(), d.ttl, d.data);
        answer.message.add_answers(data.into_iter().map(named).collect::<Vec<_>>());
        answer
    }

    /// Whether a name is no other network's: a prefix longer than 24 bits shares its reverse zone with its neighbours.
    fn is_ours(&self, name: &Name) -> bool {
        reverse_of(name).is_none_or(|address| self.prefix.contains(&address))
    }

    fn soa(&self) -> RData {
        // Nobody transfers the zone; the last number says how long a "no" may be remembered.
        RData::SOA(SOA::new(self.server.clone(), self.mailbox.clone(), self.serial, 3600, 600, 86_400, NEGATIVE_TTL))
    }
}

/// The name a domain is, with the dot at its end.
fn name_of(domain: &str) -> Option<Name> {
    Name::from_ascii(format!("{domain}.")).ok()
}

#[cfg(test)]
mod tests;
