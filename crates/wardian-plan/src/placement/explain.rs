//! Why a machine is placed where it is: what each host was to it when that was decided.
//!
//! Found from the rules and the names of machines, and not from the units by which hosts were chosen: so each checks
//! the other.

use std::collections::{BTreeMap, HashMap, HashSet};

use wardian_model::{
    name::{HostName, MachineName},
    size::ByteSize,
};

use super::{
    choose::{Step, Why},
    cluster::Cluster,
    input::{Host, Hosts, Wanted},
    ledger::{HostIndex, Need},
    rules::Policy,
};

/// One decision: machines that go to a host, and why there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The machines, in the order of the environment.
    pub machines: Vec<MachineName>,
    /// Their host.
    pub host: HostName,
    /// The memory it has left with them; of those that are there already, now.
    pub free: ByteSize,
    /// All memory it has for machines.
    pub memory: ByteSize,
    /// How loaded it was before, in percent, by the larger of the shares of memory and processors.
    pub load: u64,
    /// Why there.
    pub why: Why,
    /// The machines there that it joins, where that is why.
    pub joins: Vec<MachineName>,
    /// What the other hosts were to them, by name; nothing for a machine that stays where it is.
    pub others: Vec<(HostName, Standing)>,
}

/// What a host that was not chosen was to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It would have done.
    Fits {
        /// How loaded it was, in percent.
        load: u64,
    },
    /// It would not, for all of these.
    Unfit(Vec<Obstacle>),
}

/// What keeps machines from a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It isn't there.
    Down,
    /// It gets nothing new.
    Paused,
    /// It has too little memory left.
    Memory {
        /// How much is missing.
        missing: ByteSize,
    },
    /// It has too few virtual processors left.
    Cpus {
        /// How many are missing.
        missing: u64,
    },
    /// A machine is there that one of them must be apart from.
    Apart {
        /// The one of them.
        machine: MachineName,
        /// The machine that is there.
        from: MachineName,
    },
    /// A machine that one of them must be with is on another host.
    SameHost {
        /// The one of them.
        machine: MachineName,
        /// The machine that is elsewhere.
        with: MachineName,
        /// Where that is.
        on: HostName,
    },
    /// Their environment is on other hosts, and is kept together.
    Together {
        /// Where it is.
        on: Vec<HostName>,
    },
}

/// All decisions of an environment, in the order they were made.
pub(super) fn decisions<'a>(
    hosts: &Hosts,
    mut cluster: Cluster<'a>,
    wanted: &'a Wanted,
    steps: &[Step],
) -> Vec<Decision> {
    let homes = homes(&cluster, wanted);
    let mut decisions = Vec::with_capacity(steps.len());
    for step in steps {
        let names = names(wanted, &step.machines);
        let stays = step.why == Why::Stays;
        let view = View::new(&cluster, wanted, &homes, &names, step.need);
        let own = hosts.get(cluster.name(step.host)).filter(|_| !stays);
        debug_assert!(own.is_none_or(|host| view.obstacles(step.host, host).is_empty()), "{names:?} can't go there");
        let others = cluster.ledger.hosts().zip(hosts.values()).filter(|(host, _)| *host != step.host && !stays);
        let others = others.map(|(index, host)| {
            let standing = match view.obstacles(index, host) {
                none if none.is_empty() => Standing::Fits { load: cluster.ledger.load(index).percent() },
                obstacles => Standing::Unfit(obstacles),
            };
            (cluster.name(index).clone(), standing)
        });
        let (others, joins, load) = (others.collect(), view.joins(step), cluster.ledger.load(step.host).percent());
        let machines = names.into_iter().cloned().collect();
        cluster.follow(wanted, std::slice::from_ref(step));
        decisions.push(Decision {
            machines,
            host: cluster.name(step.host).clone(),
            free: ByteSize::bytes(cluster.ledger.free(step.host).memory),
            memory: ByteSize::bytes(cluster.ledger.all(step.host).memory),
            load,
            why: step.why,
            joins,
            others,
        });
    }
    decisions
}

/// The hosts that had machines of the environment before any was placed: it is kept together there.
pub(super) fn homes(cluster: &Cluster<'_>, wanted: &Wanted) -> Vec<HostIndex> {
    let mut homes: Vec<_> = cluster.residents(&wanted.environment).iter().map(|(_, host)| *host).collect();
    homes.sort_unstable();
    homes.dedup();
    homes
}

pub(super) fn names<'a>(wanted: &'a Wanted, machines: &[usize]) -> Vec<&'a MachineName> {
    machines.iter().filter_map(|at| wanted.machines.get_index(*at)).map(|(name, _)| name).collect()
}

/// Machines that go to one host, and what others of their environment say about where: found once for all hosts.
pub(super) struct View<'a> {
    cluster: &'a Cluster<'a>,
    wanted: &'a Wanted,
    need: Need,
    /// Who is there that one of them must be apart from, by host.
    apart: BTreeMap<HostIndex, Vec<Obstacle>>,
    /// Who has a host that one of them must be with: the machine, the other, and where that is.
    with: Vec<(&'a MachineName, &'a MachineName, HostIndex)>,
    /// Where the environment is kept together, as far as the groups let them go there; nowhere if it need not be.
    homes: Vec<HostIndex>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        cluster: &'a Cluster<'a>,
        wanted: &'a Wanted,
        homes: &[HostIndex],
        machines: &[&'a MachineName],
        need: Need,
    ) -> Self {
        let mut residents: HashMap<&MachineName, Vec<HostIndex>> = HashMap::new();
        for (name, host) in cluster.residents(&wanted.environment) {
            residents.entry(name).or_default().push(*host);
        }
        let own: HashSet<&MachineName> = machines.iter().copied().collect();
        let partners = |groups: &'a [Vec<MachineName>]| {
            let mut found = Vec::new();
            for (one, group) in groups.iter().flat_map(|group| group.iter().map(move |one| (one, group))) {
                if own.contains(one) {
                    let others = group.iter().filter(|other| !own.contains(other));
                    let hosts =
                        others.flat_map(|other| residents.get(other).into_iter().flatten().map(move |on| (other, on)));
                    found.extend(hosts.map(|(other, on)| (one, other, *on)));
                }
            }
            found
        };
        let mut apart: BTreeMap<HostIndex, Vec<Obstacle>> = BTreeMap::new();
        for (machine, from, on) in partners(wanted.rules.apart()) {
            let obstacle = Obstacle::Apart { machine: machine.clone(), from: from.clone() };
            let there = apart.entry(on).or_default();
            if !there.contains(&obstacle) {
                there.push(obstacle);
            }
        }
        let mut view =
            Self { cluster, wanted, need, apart, with: partners(wanted.rules.same_host()), homes: Vec::new() };
        if wanted.rules.policy() == Policy::Together {
            let admits = |home: &HostIndex| !view.apart.contains_key(home) && view.elsewhere(*home).is_none();
            view.homes = homes.iter().copied().filter(admits).collect();
        }
        view
    }

    /// All that keeps them from a host.
    pub(super) fn obstacles(&self, index: HostIndex, host: &Host) -> Vec<Obstacle> {
        let mut found = Vec::new();
        if !host.up {
            found.push(Obstacle::Down);
        }
        if host.paused {
            found.push(Obstacle::Paused);
        }
        let missing = self.need.above(self.cluster.ledger.free(index));
        if missing.memory > 0 {
            found.push(Obstacle::Memory { missing: ByteSize::bytes(missing.memory) });
        }
        if missing.cpus > 0 {
            found.push(Obstacle::Cpus { missing: missing.cpus });
        }
        found.extend(self.apart.get(&index).into_iter().flatten().cloned());
        found.extend(self.elsewhere(index));
        if !self.homes.is_empty() && !self.homes.contains(&index) {
            let on = self.homes.iter().map(|home| self.cluster.name(*home).clone()).collect();
            found.push(Obstacle::Together { on });
        }
        found
    }

    /// The first machine that says they go elsewhere is enough.
    fn elsewhere(&self, host: HostIndex) -> Option<Obstacle> {
        let (machine, with, on) = self.with.iter().find(|(_, _, on)| *on != host)?;
        let on = self.cluster.name(*on).clone();
        Some(Obstacle::SameHost { machine: (*machine).clone(), with: (*with).clone(), on })
    }

    /// Who is there that they have to be with; all of the environment where no group says so.
    fn joins(&self, step: &Step) -> Vec<MachineName> {
        if step.why != Why::Joins {
            return Vec::new();
        }
        let mut found: Vec<MachineName> = self.with.iter().map(|(_, with, _)| (*with).clone()).collect();
        if found.is_empty() {
            let there = self.cluster.residents(&self.wanted.environment).iter().filter(|(_, on)| *on == step.host);
            found = there.map(|(name, _)| (*name).clone()).collect();
        }
        found.sort();
        found.dedup();
        found
    }
}
