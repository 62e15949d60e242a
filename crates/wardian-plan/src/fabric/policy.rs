//! What one host's filter shall know, kept while records change one by one: what a change leads to is found from what
//! that record was before, and not by compiling everything anew. It comes to the same ([`compile`](super::compile),
//! [`difference`]).
//!
//! Seats are kept with whose they are. Where two records claim one address, the later one in the order of a listing has
//! it, as when all are compiled; and when that one goes, the other has it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use ipnet::Ipv4Net;
use wardian_model::{
    cluster::HostRecord,
    encapsulation::Encapsulation,
    environment::EnvironmentRecord,
    mac::MacAddress,
    name::{EnvironmentName, HostName},
    vsid::Vsid,
};

use super::{Change, HostPolicy, LAB_DOMAIN, LAB_VSID, Lookup, Seat, Subnet, Switch, difference, subnets::Extent};

/// The records of a cluster, as far as they concern the filter of the host with one provider address.
#[derive(Debug, Clone)]
pub struct Policy {
    here: Ipv4Addr,
    prefix: Ipv4Net,
    encapsulation: Encapsulation,
    hosts: BTreeMap<HostName, Place>,
    environments: BTreeMap<EnvironmentName, Extent>,
    nets: BTreeMap<Vsid, Net>,
    domains: BTreeMap<u32, Domain>,
}

/// Where a host is: on the lab network, and on the physical one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    lab: Ipv4Addr,
    provider: Ipv4Addr,
}

/// Whose seats are, in the order in which later ones have what two of them claim.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Host(HostName),
    Environment(EnvironmentName),
}

/// A seat's place in the order of all of a subnet: those on the lab network first, then by record, then in it.
type Order = (bool, Option<Arc<Source>>, usize);

const FIRST: Order = (false, None, 0);

/// Part of a subnet, from one record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    vsid: Vsid,
    domain: u32,
    encapsulation: Encapsulation,
    is_inside: bool,
    seats: Vec<Seat>,
    /// Further hosts that have a switch of it.
    passages: Vec<Ipv4Addr>,
}

/// A subnet, from all records.
#[derive(Debug, Clone, Default)]
struct Net {
    domain: u32,
    /// How frames travel, as each of its parts says, whether it has seats or not. It is as the last one says.
    parts: BTreeMap<Order, Encapsulation>,
    stations: BTreeMap<(MacAddress, Order), Ipv4Addr>,
    lookups: BTreeMap<(Ipv4Addr, Order), Lookup>,
}

/// A routing domain, from all records. Each host routes between its subnets by itself, so who has one has all.
#[derive(Debug, Clone, Default)]
struct Domain {
    nets: BTreeSet<Vsid>,
    /// How many seats and passages are on each host.
    hosts: BTreeMap<Ipv4Addr, usize>,
}

/// What of a subnet may be another than before.
#[derive(Debug, Default)]
struct Touched {
    macs: BTreeSet<MacAddress>,
    addresses: BTreeSet<Ipv4Addr>,
}

impl Policy {
    /// What all records say.
    pub fn new<'a>(
        here: Ipv4Addr,
        prefix: Ipv4Net,
        encapsulation: Encapsulation,
        hosts: impl IntoIterator<Item = &'a HostRecord>,
        environments: impl IntoIterator<Item = &'a EnvironmentRecord>,
    ) -> Self {
        let hosts = hosts.into_iter().map(|host| (host.name.clone(), Place::of(host)));
        let environments = environments.into_iter().map(|record| (record.name.clone(), Extent::of(record)));
        let mut policy = Self {
            here,
            prefix,
            encapsulation,
            hosts: hosts.collect(),
            environments: environments.collect(),
            nets: BTreeMap::new(),
            domains: BTreeMap::new(),
        };
        policy.compile();
        policy
    }

    /// All that the filter shall know.
    #[must_use]
    pub fn whole(&self) -> HostPolicy {
        let mut policy = HostPolicy::default();
        for (vsid, net) in &self.nets {
            if let Some(switch) = self.switch(net) {
                policy.switches.insert(*vsid, switch);
                policy.stations.extend(net.stations.iter().map(|((mac, _), provider)| ((*vsid, *mac), *provider)));
                policy.lookups.extend(net.lookups.iter().map(|((address, _), lookup)| ((*vsid, *address), *lookup)));
            }
        }
        policy
    }

    /// An environment is as this record says now; what that changes.
    #[must_use]
    pub fn environment(&mut self, record: &EnvironmentRecord) -> Vec<Change> {
        let extent = Extent::of(record);
        let (now, before) = (self.parts_of(&extent), self.environments.insert(record.name.clone(), extent));
        let before = before.map_or_else(Vec::new, |before| self.parts_of(&before));
        self.replace(Source::Environment(record.name.clone()), &before, &now)
    }

    /// There is no environment of that name any more; what that changes.
    #[must_use]
    pub fn without_environment(&mut self, name: &EnvironmentName) -> Vec<Change> {
        let Some(before) = self.environments.remove(name) else { return Vec::new() };
        self.replace(Source::Environment(name.clone()), &self.parts_of(&before), &[])
    }

    /// A host is as this record says now; what that changes. Everybody may be on it, so all is compiled where it has
    /// moved.
    #[must_use]
    pub fn host(&mut self, record: &HostRecord) -> Vec<Change> {
        let place = Place::of(record);
        if self.hosts.get(&record.name) == Some(&place) {
            return Vec::new();
        }
        self.anew(|policy| {
            policy.hosts.insert(record.name.clone(), place);
        })
    }

    /// There is no host of that name any more; what that changes.
    #[must_use]
    pub fn without_host(&mut self, name: &HostName) -> Vec<Change> {
        if !self.hosts.contains_key(name) {
            return Vec::new();
        }
        self.anew(|policy| {
            policy.hosts.remove(name);
        })
    }

    fn anew(&mut self, change: impl FnOnce(&mut Self)) -> Vec<Change> {
        let before = self.whole();
        change(self);
        self.compile();
        difference(&before, &self.whole())
    }

    fn compile(&mut self) {
        self.nets.clear();
        self.domains.clear();
        for (name, place) in self.hosts.clone() {
            let mac = crate::network::lab_mac(self.prefix, place.lab);
            let seats = vec![Seat { address: place.lab, mac, provider: place.provider, own: None }];
            let part = self.on_lab(seats);
            self.add(&Arc::new(Source::Host(name)), &part);
        }
        let environments: Vec<_> =
            self.environments.iter().map(|(name, extent)| (name.clone(), self.parts_of(extent))).collect();
        for (name, parts) in environments {
            let source = Arc::new(Source::Environment(name));
            parts.iter().for_each(|part| self.add(&source, part));
        }
    }

    fn parts_of(&self, extent: &Extent) -> Vec<Part> {
        let provider = |host: &HostName| Some(self.hosts.get(host)?.provider);
        let lab = extent.on_lab(provider).collect();
        let outside = self.on_lab(lab);
        let inside = extent.inside(self.encapsulation, provider);
        let inside = inside.map(|subnet| {
            let Subnet { vsid, domain, encapsulation, seats, passages } = subnet;
            Part { vsid, domain, encapsulation, is_inside: true, seats, passages }
        });
        std::iter::once(outside).chain(inside).collect()
    }

    const fn on_lab(&self, seats: Vec<Seat>) -> Part {
        let encapsulation = self.encapsulation;
        Part { vsid: LAB_VSID, domain: LAB_DOMAIN, encapsulation, is_inside: false, seats, passages: Vec::new() }
    }

    /// What `before` was of that record is `now`.
    fn replace(&mut self, source: Source, before: &[Part], now: &[Part]) -> Vec<Change> {
        if before == now {
            return Vec::new();
        }
        let touched = self.touched(before, now);
        let source = Arc::new(source);
        let was = self.view(&touched);
        before.iter().for_each(|part| self.remove(&source, part));
        now.iter().for_each(|part| self.add(&source, part));
        difference(&was, &self.view(&touched))
    }

    /// What may be another: what seats of these parts say; the peers of all subnets of their domains; and all of a
    /// domain that comes to this host, or goes.
    fn touched(&self, before: &[Part], now: &[Part]) -> BTreeMap<Vsid, Touched> {
        let mut touched: BTreeMap<Vsid, Touched> = BTreeMap::new();
        for part in before.iter().chain(now) {
            let of = touched.entry(part.vsid).or_default();
            of.macs.extend(part.seats.iter().map(|seat| seat.mac));
            of.addresses.extend(part.seats.iter().map(|seat| seat.address));
        }
        let domains: BTreeSet<u32> = before.iter().chain(now).map(|part| part.domain).collect();
        for (number, domain) in domains.iter().filter_map(|number| Some((number, self.domains.get(number)?))) {
            let here = |parts: &[Part]| {
                let of_it = parts.iter().filter(|part| part.domain == *number);
                of_it.flat_map(Part::providers).filter(|provider| *provider == self.here).count()
            };
            let has = domain.hosts.get(&self.here).copied().unwrap_or_default();
            let comes_or_goes = (has > 0) != (has + here(now) > here(before));
            for (vsid, net) in domain.nets.iter().filter_map(|vsid| Some((vsid, self.nets.get(vsid)?))) {
                let of = touched.entry(*vsid).or_default();
                if comes_or_goes {
                    of.macs.extend(net.stations.keys().map(|(mac, _)| *mac));
                    of.addresses.extend(net.lookups.keys().map(|(address, _)| *address));
                }
            }
        }
        touched
    }

    /// What is known of these now.
    fn view(&self, touched: &BTreeMap<Vsid, Touched>) -> HostPolicy {
        let mut policy = HostPolicy::default();
        for (vsid, of) in touched {
            let Some(net) = self.nets.get(vsid) else { continue };
            let Some(switch) = self.switch(net) else { continue };
            policy.switches.insert(*vsid, switch);
            let station = |mac: &MacAddress| Some(((*vsid, *mac), last(&net.stations, *mac)?));
            policy.stations.extend(of.macs.iter().filter_map(station));
            let lookup = |address: &Ipv4Addr| Some(((*vsid, *address), last(&net.lookups, *address)?));
            policy.lookups.extend(of.addresses.iter().filter_map(lookup));
        }
        policy
    }

    /// The switch of a subnet, if this host has one.
    fn switch(&self, net: &Net) -> Option<Switch> {
        let hosts = &self.domains.get(&net.domain)?.hosts;
        hosts.contains_key(&self.here).then(|| Switch {
            domain: net.domain,
            encapsulation: net.parts.values().next_back().copied().unwrap_or(self.encapsulation),
            peers: hosts.keys().copied().filter(|host| *host != self.here).collect(),
        })
    }

    fn add(&mut self, source: &Arc<Source>, part: &Part) {
        let net = self.nets.entry(part.vsid).or_default();
        let domain = self.domains.entry(part.domain).or_default();
        domain.nets.insert(part.vsid);
        net.domain = part.domain;
        net.parts.insert((part.is_inside, Some(source.clone()), 0), part.encapsulation);
        for provider in part.providers() {
            *domain.hosts.entry(provider).or_default() += 1;
        }
        for (number, seat) in part.seats.iter().enumerate() {
            let order = (part.is_inside, Some(source.clone()), number);
            net.stations.insert((seat.mac, order.clone()), seat.provider);
            net.lookups.insert((seat.address, order), seat.lookup(part.domain, part.encapsulation));
        }
    }

    fn remove(&mut self, source: &Arc<Source>, part: &Part) {
        let (Some(net), Some(domain)) = (self.nets.get_mut(&part.vsid), self.domains.get_mut(&part.domain)) else {
            return;
        };
        for (number, seat) in part.seats.iter().enumerate() {
            let order = (part.is_inside, Some(source.clone()), number);
            net.stations.remove(&(seat.mac, order.clone()));
            net.lookups.remove(&(seat.address, order));
        }
        for provider in part.providers() {
            if let Some(count) = domain.hosts.get_mut(&provider) {
                *count -= 1;
                if *count == 0 {
                    domain.hosts.remove(&provider);
                }
            }
        }
        net.parts.remove(&(part.is_inside, Some(source.clone()), 0));
        if net.parts.is_empty() {
            self.nets.remove(&part.vsid);
            domain.nets.remove(&part.vsid);
            if domain.nets.is_empty() {
                self.domains.remove(&part.domain);
            }
        }
    }
}

impl Part {
    /// The host of each seat and each passage.
    fn providers(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.seats.iter().map(|seat| seat.provider).chain(self.passages.iter().copied())
    }
}

impl Place {
    const fn of(record: &HostRecord) -> Self {
        Self { lab: record.lab_address, provider: record.provider }
    }
}

/// Of all that are claimed under one key, the last.
fn last<K: Ord + Copy, V: Copy>(all: &BTreeMap<(K, Order), V>, key: K) -> Option<V> {
    let of_key = all.range((key, FIRST)..).take_while(|((other, _), _)| *other == key);
    of_key.last().map(|(_, value)| *value)
}

#[cfg(test)]
mod tests;
