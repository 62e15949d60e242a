//! Trying: whether there is any way to place the units of a task, when choosing one host after the other failed.
//!
//! It goes through all arrangements, so within its budget the answer is certain; placing is bin packing, and beyond a
//! handful of units and hosts nobody can afford that. Hosts that are alike are tried once.

use std::collections::HashSet;

use super::{
    ledger::{HostIndex, Ledger, Need},
    task::{Task, Unit},
};

/// How many times a unit is laid on a host before it is given up, for one environment. Enough for all arrangements of
/// five units on four hosts several times over, and little enough that a thousand refusals cost no second.
const BUDGET: usize = 5_000;

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The host of each unit.
    Way(Vec<HostIndex>),
    /// Every arrangement was looked at.
    NoWay,
    /// The budget is used up.
    Unknown,
}

/// Whether a unit could be placed if it were alone.
pub(super) fn fits_somewhere(unit: &Unit, ledger: &Ledger) -> bool {
    ledger.least_loaded().any(|host| ledger.fits(host, unit.need) && unit.may_go_to(host))
}

pub(super) fn search(task: &Task, ledger: &Ledger) -> Found {
    let named = named(task);
    let hosts: Vec<Candidate> = ledger
        .least_loaded()
        .map(|host| Candidate { host, free: ledger.free(host), units: 0, named: named.contains(&host) })
        .collect();
    let free = hosts.iter().fold(Need::default(), |sum, one| sum.and(one.free));
    let need = task.units.iter().fold(Need::default(), |sum, unit| sum.and(unit.need));
    if !need.above(free).is_nothing() {
        return Found::NoWay;
    }
    let mut search = Search { task, hosts, chosen: Vec::new(), budget: BUDGET };
    if search.rest() {
        Found::Way(search.chosen.iter().map(|at| search.hosts[*at].host).collect())
    } else if search.budget == 0 {
        Found::Unknown
    } else {
        Found::NoWay
    }
}

/// Hosts that the rules tell from others.
fn named(task: &Task) -> HashSet<HostIndex> {
    task.units.iter().flat_map(|unit| unit.barred.iter().chain(unit.only.iter().flatten())).copied().collect()
}

struct Candidate {
    host: HostIndex,
    free: Need,
    /// Units laid on it.
    units: usize,
    /// Whether the rules tell it from others.
    named: bool,
}

struct Search<'a> {
    task: &'a Task,
    hosts: Vec<Candidate>,
    /// The host of each unit that has one, by its place in `hosts`.
    chosen: Vec<usize>,
    budget: usize,
}

impl Search<'_> {
    /// Finds hosts for the units that have none; whether it did.
    fn rest(&mut self) -> bool {
        let Some(unit) = self.task.units.get(self.chosen.len()) else { return true };
        let mut alike: Vec<Need> = Vec::new();
        for at in 0..self.hosts.len() {
            if self.budget == 0 {
                return false;
            }
            self.budget -= 1;
            let host = &self.hosts[at];
            let apart = unit.apart.iter().all(|other| self.chosen.get(*other) != Some(&at));
            if !unit.need.above(host.free).is_nothing() || !unit.may_go_to(host.host) || !apart {
                continue;
            }
            if host.units == 0 && !host.named {
                if alike.contains(&host.free) {
                    continue;
                }
                alike.push(host.free);
            }
            self.lay(unit, at);
            if self.rest() {
                return true;
            }
            self.lift(unit);
        }
        false
    }

    fn lay(&mut self, unit: &Unit, at: usize) {
        self.chosen.push(at);
        self.hosts[at].units += 1;
        self.hosts[at].free = self.hosts[at].free.above(unit.need);
    }

    fn lift(&mut self, unit: &Unit) {
        if let Some(at) = self.chosen.pop() {
            self.hosts[at].units -= 1;
            self.hosts[at].free = self.hosts[at].free.and(unit.need);
        }
    }
}
