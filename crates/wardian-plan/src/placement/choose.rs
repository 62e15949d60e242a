//! Choosing hosts for the units of a task: one after the other by the policy, and by trying when that fails.

use super::{
    ledger::{HostIndex, Ledger, Need},
    rules::Policy,
    search,
    task::{Task, Unit},
    together,
};

/// Why a host was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The machine is there already, and what is placed stays.
    Stays,
    /// Machines are there that have to be with it: by a group of `same-host`, or its environment that is kept together.
    Joins,
    /// Of the hosts it fits, it is the least loaded.
    LeastLoaded,
    /// To spread: it has no machine of the environment yet, and of those it is the least loaded.
    Fresh,
    /// To spread: no host without a machine of the environment fits it, and this one has the fewest.
    Fewest,
    /// To pack: machines of the environment went there already, and it still fits.
    Filled,
    /// To pack: of the hosts that fit all that is left of the environment, it is the most loaded.
    MostLoaded,
    /// To pack: no host fits all that is left of the environment, and this one has the most memory for it.
    Roomiest,
    /// The hosts of the first choice did not come out for all of the environment; with this one it does.
    Tried,
}

/// A unit and its host.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Machines of the unit.
    pub(super) machines: Vec<usize>,
    pub(super) need: Need,
    pub(super) host: HostIndex,
    pub(super) why: Why,
}

/// The unit that no host takes.
#[derive(Debug, Clone)]
pub(super) struct Stuck {
    pub(super) machines: Vec<usize>,
    pub(super) need: Need,
    /// What had its place by then.
    pub(super) before: Vec<Step>,
    /// Whether there is no way at all, by the rules as they are.
    pub(super) certain: bool,
}

/// Decides for a whole environment. What it was given is taken in the ledger; after a refusal that is as before.
pub(super) fn choose(mut task: Task, ledger: &mut Ledger) -> Result<Vec<Step>, Stuck> {
    let whole = task.policy != Policy::Together || together::join(&mut task, ledger);
    let mut chosen = Chosen::new(&task, ledger);
    let Some(at) = chosen.all_units() else { return Ok(chosen.steps) };
    let before = chosen.undo();
    // One that does not even fit alone is the better reason, and no other order of the others helps it.
    for alone in std::iter::once(at).chain(0..task.units.len()) {
        if !search::fits_somewhere(&task.units[alone], ledger) {
            let Unit { machines, need, .. } = task.units[alone].clone();
            return Err(Stuck { machines, need, before: Vec::new(), certain: whole });
        }
    }
    match search::search(&task, ledger) {
        search::Found::Way(hosts) => {
            let mut chosen = Chosen::new(&task, ledger);
            for (at, host) in hosts.into_iter().enumerate() {
                chosen.put(at, host, Why::Tried);
            }
            Ok(chosen.steps)
        }
        found => {
            let Unit { machines, need, .. } = task.units[at].clone();
            Err(Stuck { machines, need, before, certain: whole && matches!(found, search::Found::NoWay) })
        }
    }
}

/// What has been chosen so far.
struct Chosen<'a> {
    task: &'a Task,
    ledger: &'a mut Ledger,
    steps: Vec<Step>,
    /// The host of each unit that has one: units get theirs in their order.
    hosts: Vec<HostIndex>,
    /// How many machines of the environment each host has.
    counts: Vec<usize>,
    /// The hosts that have any.
    used: Vec<HostIndex>,
}

impl<'a> Chosen<'a> {
    fn new(task: &'a Task, ledger: &'a mut Ledger) -> Self {
        let mut counts = vec![0; ledger.hosts().end as usize];
        task.homes.iter().for_each(|(host, count)| counts[*host as usize] = *count);
        let used = task.homes.iter().map(|(host, _)| *host).collect();
        Self { task, ledger, steps: Vec::new(), hosts: Vec::new(), counts, used }
    }

    /// Finds hosts for all units, in their order. Returns the first that there is none for.
    fn all_units(&mut self) -> Option<usize> {
        for (at, unit) in self.task.units.iter().enumerate() {
            let found = match self.task.policy {
                _ if unit.only.is_some() => self.of_few(unit),
                Policy::Together => self.least_loaded(unit, |_| true).map(|host| (host, Why::LeastLoaded)),
                Policy::Spread => self.spread(unit),
                Policy::Pack => self.pack(at, unit),
            };
            match found {
                Some((host, why)) => self.put(at, host, why),
                None => return Some(at),
            }
        }
        None
    }

    fn put(&mut self, at: usize, host: HostIndex, why: Why) {
        let Unit { machines, need, .. } = &self.task.units[at];
        self.ledger.take(host, *need);
        self.hosts.push(host);
        if self.counts[host as usize] == 0 {
            self.used.push(host);
        }
        self.counts[host as usize] += machines.len();
        self.steps.push(Step { machines: machines.clone(), need: *need, host, why });
    }

    fn undo(self) -> Vec<Step> {
        self.steps.iter().for_each(|step| self.ledger.give_back(step.host, step.need));
        self.steps
    }

    fn good(&self, unit: &Unit, host: HostIndex) -> bool {
        // Most hosts have nothing of the environment, and with that nothing to be apart from.
        let apart = || unit.apart.iter().all(|other| self.hosts.get(*other) != Some(&host));
        self.ledger.fits(host, unit.need) && unit.may_go_to(host) && (self.counts[host as usize] == 0 || apart())
    }

    fn of_few(&self, unit: &Unit) -> Option<(HostIndex, Why)> {
        let good = unit.only.iter().flatten().find(|host| self.good(unit, **host))?;
        Some((*good, Why::Joins))
    }

    fn least_loaded(&self, unit: &Unit, good: impl Fn(HostIndex) -> bool) -> Option<HostIndex> {
        self.ledger.least_loaded().find(|host| good(*host) && self.good(unit, *host))
    }

    fn spread(&self, unit: &Unit) -> Option<(HostIndex, Why)> {
        if let Some(host) = self.least_loaded(unit, |host| self.counts[host as usize] == 0) {
            return Some((host, Why::Fresh));
        }
        let used = self.used.iter().filter(|host| self.good(unit, **host));
        let fewest = used.min_by_key(|host| (self.counts[**host as usize], self.ledger.load(**host), **host))?;
        Some((*fewest, Why::Fewest))
    }

    fn pack(&self, at: usize, unit: &Unit) -> Option<(HostIndex, Why)> {
        let used = self.used.iter().filter(|host| self.good(unit, **host));
        if let Some(host) = used.min_by_key(|host| (std::cmp::Reverse(self.ledger.load(**host)), **host)) {
            return Some((*host, Why::Filled));
        }
        // What can't come along needs no room there.
        let rest = self.task.units.iter().enumerate().skip(at);
        let rest = rest.filter(|(other, rest)| rest.only.is_none() && !unit.apart.contains(other));
        let rest = rest.fold(Need::default(), |sum, (_, unit)| sum.and(unit.need));
        if let Some(host) = self.ledger.most_loaded(|host| self.ledger.fits(host, rest) && self.good(unit, host)) {
            return Some((host, Why::MostLoaded));
        }
        let good = self.ledger.least_loaded().filter(|host| self.good(unit, *host));
        let roomiest = good.min_by_key(|host| (std::cmp::Reverse(self.ledger.free(*host).memory), *host))?;
        Some((roomiest, Why::Roomiest))
    }
}
