//! What the server says to a question: a function of the plan and of bytes that may be anything.
//!
//! The environment's domain and the addresses of its subnets are its own: it answers for them with authority, whatever
//! the rest of the world says. Names of one label that are machines' are answered too, for clients that don't search.

use std::net::Ipv4Addr;

use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, NS, PTR, SOA},
    },
};
use ipnet::Ipv4Net;
use wardian_plan::network::DnsPlan;

use crate::services::wire::{Answer, LEAST, Received, reverse_of};

/// In seconds. Names change only with the environment, but a clone's client shall not remember for long either.
const TTL: u32 = 5;
/// Of the gateway, unless a machine has it.
const GATEWAY: &str = "gateway";

/// What becomes of a message.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Not a question.
    Ignore,
    /// Ours.
    Answer(Answer),
    /// Somebody else's.
    Forward(Question),
}

/// A question for somebody else, as the client wrote it.
#[derive(Debug)]
pub(super) struct Question {
    bytes: Vec<u8>,
    request: Message,
}

impl Question {
    /// With another number: the client's may be easy to guess.
    pub(super) fn with_id(&self, id: u16) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[..2].copy_from_slice(&id.to_be_bytes());
        bytes
    }

    /// Gives an answer the client's own number.
    pub(super) fn restore(&self, mut answer: Vec<u8>) -> Option<Vec<u8>> {
        answer.get_mut(..2)?.copy_from_slice(&self.request.metadata.id.to_be_bytes());
        Some(answer)
    }

    /// "I could not find out."
    pub(super) fn failure(&self) -> Answer {
        Answer::to(&self.request, true).code(ResponseCode::ServFail)
    }

    /// `answer` as it fits into a datagram for the client.
    pub(super) fn fit(&self, answer: Vec<u8>) -> Vec<u8> {
        let room = usize::from(self.request.max_payload()).max(LEAST);
        if answer.len() <= room {
            return answer;
        }
        Answer::to(&self.request, true).cut()
    }
}

/// Decides about `bytes`, which came to the gateway `at`.
pub(super) fn judge(plan: &DnsPlan, at: Ipv4Addr, bytes: &[u8]) -> Verdict {
    let request = match Received::from(bytes, plan.forward) {
        Received::Ignore => return Verdict::Ignore,
        Received::Answer(answer) => return Verdict::Answer(answer),
        Received::Question(request) => request,
    };
    let [query] = &request.queries[..] else { return Verdict::Ignore };
    match Zones::of(plan, at).and_then(|zones| zones.look_up(query)) {
        Some(found) => {
            let mut answer = Answer::to(&request, plan.forward).code(found.code);
            answer.message.metadata.authoritative = true;
            answer.message.add_answers(found.records);
            answer.message.add_authorities(found.authority);
            Verdict::Answer(answer)
        }
        None if plan.forward => Verdict::Forward(Question { bytes: bytes.to_vec(), request }),
        None => Verdict::Answer(Answer::to(&request, false).code(ResponseCode::Refused)),
    }
}

struct Found {
    code: ResponseCode,
    records: Vec<Record>,
    authority: Vec<Record>,
}

/// What the environment answers for.
struct Zones<'a> {
    plan: &'a DnsPlan,
    domain: Name,
    /// The asker's own gateway.
    at: Ipv4Addr,
}

impl<'a> Zones<'a> {
    fn of(plan: &'a DnsPlan, at: Ipv4Addr) -> Option<Self> {
        Some(Self { plan, at, domain: Name::from_ascii(format!("{}.", plan.domain)).ok()? })
    }

    /// The answer, if the name is one of ours.
    fn look_up(&self, query: &Query) -> Option<Found> {
        let name = query.name();
        if let Some(address) = reverse_of(name) {
            return self.plan.subnet_of(address).and_then(|subnet| self.pointer(query, address, subnet));
        }
        if self.domain.zone_of(name) {
            return Some(match name.num_labels() - self.domain.num_labels() {
                0 => self.apex(query),
                1 => self.host(query, self.address_of(name)),
                _ => self.nothing(&self.domain, ResponseCode::NXDomain),
            });
        }
        let asks_address = matches!(query.query_type(), RecordType::A | RecordType::AAAA);
        if name.num_labels() == 1 {
            let address = self.address_of(name);
            // Nobody outside knows addresses of bare names, and need not learn which ones are asked for.
            if address.is_some() || asks_address {
                return Some(self.host(query, address));
            }
        }
        None
    }

    fn address_of(&self, name: &Name) -> Option<Ipv4Addr> {
        let label = name.iter().next()?;
        let is = |host: &str| host.as_bytes().eq_ignore_ascii_case(label);
        let machine = self.plan.hosts.iter().find(|(host, _)| is(host.as_str())).map(|(_, address)| *address);
        machine.or_else(|| is(GATEWAY).then_some(self.at))
    }

    fn host(&self, query: &Query, address: Option<Ipv4Addr>) -> Found {
        match (address, query.query_type()) {
            (None, _) => self.nothing(&self.domain, ResponseCode::NXDomain),
            (Some(address), RecordType::A | RecordType::ANY) => self.records(query, [RData::A(A(address))]),
            // It exists and has no such record: no IPv6, for one.
            (Some(_), _) => self.nothing(&self.domain, ResponseCode::NoError),
        }
    }

    fn apex(&self, query: &Query) -> Found {
        match query.query_type() {
            RecordType::SOA => self.records(query, self.authority(&self.domain).into_iter().map(|r| r.data)),
            RecordType::NS | RecordType::ANY => self.records(query, self.gateway().map(|g| RData::NS(NS(g)))),
            _ => self.nothing(&self.domain, ResponseCode::NoError),
        }
    }

    fn pointer(&self, query: &Query, address: Ipv4Addr, subnet: Ipv4Net) -> Option<Found> {
        // The reverse zone ends at a whole byte: that is where the subnet's own part of the name begins.
        let zone = Name::from(address).trim_to(usize::from(2 + subnet.prefix_len().min(24) / 8));
        let zone = Name::from_labels(zone.iter().chain([]).collect::<Vec<_>>()).ok()?;
        let mut names: Vec<Name> = self
            .plan
            .hosts
            .iter()
            .filter(|(_, a)| *a == address)
            .filter_map(|(host, _)| Name::from_ascii(host.as_str()).ok()?.append_domain(&self.domain).ok())
            .collect();
        // The first is the hostname; one name per address is what clients expect.
        names.truncate(1);
        if names.is_empty() && self.plan.addresses().any(|gateway| gateway == address) {
            names.extend(self.gateway());
        }
        Some(match query.query_type() {
            _ if names.is_empty() => self.nothing(&zone, ResponseCode::NXDomain),
            RecordType::PTR | RecordType::ANY => {
                self.records(query, names.into_iter().map(|name| RData::PTR(PTR(name))))
            }
            _ => self.nothing(&zone, ResponseCode::NoError),
        })
    }

    fn gateway(&self) -> Option<Name> {
        Name::from_ascii(GATEWAY).ok()?.append_domain(&self.domain).ok()
    }

    fn records(&self, query: &Query, data: impl IntoIterator<Item = RData>) -> Found {
        // The name as it was asked, capitals and all: some clients compare.
        let records = data.into_iter().map(|data| Record::from_rdata(query.name().clone(), TTL, data)).collect();
        Found { code: ResponseCode::NoError, records, authority: Vec::new() }
    }

    fn nothing(&self, zone: &Name, code: ResponseCode) -> Found {
        Found { code, records: Vec::new(), authority: self.authority(zone).into_iter().collect() }
    }

    fn authority(&self, zone: &Name) -> Option<Record> {
        let server = self.gateway()?;
        let mailbox = Name::from_ascii("hostmaster").ok()?.append_domain(&self.domain).ok()?;
        // Nobody transfers the zone; only the last number, how long a "no" may be remembered, matters.
        let soa = SOA::new(server, mailbox, 1, 3600, 600, 86_400, TTL);
        Some(Record::from_rdata(zone.clone(), TTL, RData::SOA(soa)))
    }
}

#[cfg(test)]
mod tests;
