//! An environment as something to be placed: units that each go to one host as a whole, and what keeps them from where.

use std::collections::HashMap;

use wardian_model::name::MachineName;

use super::{
    input::Wanted,
    ledger::{HostIndex, Need},
    rules::Policy,
};

/// Machines that go to one host, by their places in [`Wanted::machines`].
#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) machines: Vec<usize>,
    pub(super) need: Need,
    /// The only hosts it may go to, when machines that have theirs say so.
    pub(super) only: Option<Vec<HostIndex>>,
    /// Hosts of machines that it must be apart from.
    pub(super) barred: Vec<HostIndex>,
    /// Other units that it must be apart from, by their places in [`Task::units`].
    pub(super) apart: Vec<usize>,
}

/// What is to be decided for an environment.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) policy: Policy,
    /// Those without a choice first, then the largest, since later ones find less room.
    pub(super) units: Vec<Unit>,
    /// Hosts that have machines of it already, by name, and how many.
    pub(super) homes: Vec<(HostIndex, usize)>,
    /// Machines that have a host already.
    pub(super) placed: Vec<(usize, HostIndex)>,
}

/// A machine of an environment, and the host that it is on.
pub(super) type Resident<'a> = (&'a MachineName, HostIndex);

impl Task {
    pub(super) fn new(wanted: &Wanted, residents: &[Resident<'_>]) -> Self {
        let mut task =
            Self { policy: wanted.rules.policy(), units: Vec::new(), homes: homes(residents), placed: Vec::new() };
        let at: HashMap<&MachineName, HostIndex> = residents.iter().rev().copied().collect();
        let (mut sizes, mut new) = (Vec::new(), Vec::new());
        for (index, (name, size)) in wanted.machines.iter().enumerate() {
            match at.get(name) {
                Some(host) => task.placed.push((index, *host)),
                None => {
                    new.push(index);
                    sizes.push(Need::from(*size));
                }
            }
        }
        // Groups by places in `new`, and by the hosts of those that have one.
        let split = |members: &[MachineName]| {
            let new = members.iter().filter_map(|name| new.binary_search(&wanted.machines.get_index_of(name)?).ok());
            let hosts = members.iter().flat_map(|name| residents.iter().filter(move |(other, _)| *other == name));
            (new.collect::<Vec<_>>(), hosts.map(|(_, host)| *host).collect::<Vec<_>>())
        };
        let mut joined = Joined((0..new.len()).collect());
        for members in wanted.rules.same_host() {
            let (members, _) = split(members);
            members.windows(2).for_each(|pair| joined.join(pair[0], pair[1]));
        }
        let unit_of = task.make_units(&new, &sizes, &mut joined);
        for (members, hosts) in wanted.rules.same_host().iter().map(|members| split(members)) {
            for host in hosts {
                members.iter().for_each(|member| task.units[unit_of[*member]].restrict(&[host]));
            }
        }
        for (members, hosts) in wanted.rules.apart().iter().map(|members| split(members)) {
            for member in &members {
                let unit = unit_of[*member];
                task.units[unit].barred.extend(&hosts);
                let others = members.iter().map(|other| unit_of[*other]).filter(|other| *other != unit);
                task.units[unit].apart.extend(others);
            }
        }
        task.sort();
        task
    }

    /// Units of what is joined; which unit each machine is in.
    fn make_units(&mut self, new: &[usize], sizes: &[Need], joined: &mut Joined) -> Vec<usize> {
        let mut units: HashMap<usize, usize> = HashMap::new();
        let mut unit_of = Vec::with_capacity(new.len());
        for (at, machine) in new.iter().enumerate() {
            let unit = *units.entry(joined.first(at)).or_insert_with(|| {
                self.units.push(Unit::new());
                self.units.len() - 1
            });
            self.units[unit].machines.push(*machine);
            self.units[unit].need = self.units[unit].need.and(sizes[at]);
            unit_of.push(unit);
        }
        unit_of
    }

    fn sort(&mut self) {
        let mut order: Vec<usize> = (0..self.units.len()).collect();
        order.sort_by_key(|at| {
            let unit = &self.units[*at];
            (unit.only.is_none(), std::cmp::Reverse((unit.need.memory, unit.need.cpus)), *at)
        });
        let mut now = vec![0; order.len()];
        order.iter().enumerate().for_each(|(to, from)| now[*from] = to);
        let mut units: Vec<Option<Unit>> = std::mem::take(&mut self.units).into_iter().map(Some).collect();
        self.units = order.iter().filter_map(|from| units[*from].take()).collect();
        for unit in &mut self.units {
            unit.apart.iter_mut().for_each(|other| *other = now[*other]);
            unit.apart.sort_unstable();
            unit.apart.dedup();
        }
    }
}

impl Unit {
    pub(super) const fn new() -> Self {
        Self {
            machines: Vec::new(),
            need: Need { memory: 0, cpus: 0 },
            only: None,
            barred: Vec::new(),
            apart: Vec::new(),
        }
    }

    /// Lets it go to these only, of those it may go to.
    pub(super) fn restrict(&mut self, hosts: &[HostIndex]) {
        match &mut self.only {
            None => self.only = Some(hosts.to_vec()),
            Some(only) => only.retain(|host| hosts.contains(host)),
        }
    }

    /// Whether machines that have their hosts let it go there.
    pub(super) fn may_go_to(&self, host: HostIndex) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&host)) && !self.barred.contains(&host)
    }
}

fn homes(residents: &[Resident<'_>]) -> Vec<(HostIndex, usize)> {
    let mut hosts: Vec<HostIndex> = residents.iter().map(|(_, host)| *host).collect();
    hosts.sort_unstable();
    hosts.chunk_by(|one, other| one == other).map(|same| (same[0], same.len())).collect()
}

/// Sets of machines that are joined one by one: each points towards the first of its set.
struct Joined(Vec<usize>);

impl Joined {
    fn first(&mut self, of: usize) -> usize {
        let mut at = of;
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.first(one), self.first(other));
        self.0[one.max(other)] = one.min(other);
    }
}
