//! Keeping an environment together: its units are joined into as few as the groups of `apart` allow.
//!
//! The largest comes first, and each joins the first that it need not be apart from: so all of an environment without
//! `apart` is one unit. Where machines of it have hosts already, what may go there goes nowhere else.

use super::{
    ledger::{HostIndex, Ledger, Need},
    task::{Task, Unit},
};

/// Joins the units of a task whose policy is to keep together.
///
/// Returns whether this was the only way to do so: then a task that can't be placed now can't be kept together at all.
pub(super) fn join(task: &mut Task, ledger: &Ledger) -> bool {
    let only_way = task.units.iter().all(|unit| unit.apart.is_empty() && unit.barred.is_empty());
    let mut homes: Vec<Home> = task.homes.iter().map(|(host, count)| Home::new(*host, *count)).collect();
    // Where most of it is, most of the rest shall go.
    homes.sort_by_key(|home| (std::cmp::Reverse(home.count), home.host));
    let units = std::mem::take(&mut task.units);
    let mut bins: Vec<Bin> = Vec::new();
    for (at, unit) in units.iter().enumerate() {
        let good: Vec<usize> = (0..homes.len()).filter(|home| homes[*home].admits(unit)).collect();
        let roomy = good.iter().find(|home| ledger.fits(homes[**home].host, homes[**home].need.and(unit.need)));
        // Where it may go by the rules there may be no room; then there is none for it, and who asks is told so.
        if let Some(home) = roomy.or(good.first()) {
            homes[*home].units.push(at);
            homes[*home].need = homes[*home].need.and(unit.need);
            let only = homes.iter().map(|home| home.host).filter(|host| unit.may_go_to(*host)).collect();
            bins.push(Bin { units: vec![at], only: Some(only), closed: true });
            continue;
        }
        let free = |bin: &&mut Bin| {
            let apart = bin.units.iter().any(|other| unit.apart.contains(other));
            !bin.closed && unit.only.is_none() && !apart
        };
        match bins.iter_mut().find(free) {
            Some(bin) => bin.units.push(at),
            None => bins.push(Bin { units: vec![at], only: None, closed: unit.only.is_some() }),
        }
    }
    // Those without a choice first, as everywhere.
    bins.sort_by_key(|bin| !bin.closed);
    task.units = merge(&units, &bins);
    only_way
}

/// A host that has machines of the environment.
struct Home {
    host: HostIndex,
    count: usize,
    /// What shall go there, and what it needs together.
    units: Vec<usize>,
    need: Need,
}

impl Home {
    const fn new(host: HostIndex, count: usize) -> Self {
        Self { host, count, units: Vec::new(), need: Need { memory: 0, cpus: 0 } }
    }

    fn admits(&self, unit: &Unit) -> bool {
        unit.may_go_to(self.host) && !self.units.iter().any(|other| unit.apart.contains(other))
    }
}

/// Units that become one.
struct Bin {
    units: Vec<usize>,
    only: Option<Vec<HostIndex>>,
    /// Whether machines that have their hosts say where it goes: then nothing else comes along.
    closed: bool,
}

fn merge(units: &[Unit], bins: &[Bin]) -> Vec<Unit> {
    let mut bin_of = vec![0; units.len()];
    for (at, bin) in bins.iter().enumerate() {
        bin.units.iter().for_each(|unit| bin_of[*unit] = at);
    }
    let merged = bins.iter().map(|bin| {
        let mut one = Unit::new();
        for unit in bin.units.iter().map(|unit| &units[*unit]) {
            one.machines.extend(&unit.machines);
            one.need = one.need.and(unit.need);
            one.barred.extend(&unit.barred);
            one.apart.extend(unit.apart.iter().map(|other| bin_of[*other]));
            unit.only.iter().for_each(|only| one.restrict(only));
        }
        bin.only.iter().for_each(|only| one.restrict(only));
        one.machines.sort_unstable();
        one.apart.sort_unstable();
        one.apart.dedup();
        one
    });
    merged.collect()
}
