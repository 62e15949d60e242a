//! Why a machine is placed where it is: what each host was to it when that was decided.
//!
//! Found from the rules and the names of machines, and not from the units by which hosts were chosen: so each checks the other.

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
        let view = View { cluster: &cluster, wanted, homes: &homes, machines: &names, need: step.need };
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

/// Machines that go to one host, and the hosts as they are.
pub(super) struct View<'a> {
    pub(super) cluster: &'a Cluster<'a>,
    pub(super) wanted: &'a Wanted,
    pub(super) homes: &'a [HostIndex],
    pub(super) machines: &'a [&'a MachineName],
    pub(super) need: Need,
}

impl View<'_> {
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
        found.extend(self.apart(index));
        found.extend(self.elsewhere(index));
        found.extend(self.together(index));
        found
    }

    fn apart(&self, host: HostIndex) -> Vec<Obstacle> {
        let mut found = Vec::new();
        for (machine, group) in self.groups(self.wanted.rules.apart()) {
            for (from, _) in self.partners(machine, group).filter(|(_, on)| *on == host) {
                let obstacle = Obstacle::Apart { machine: machine.clone(), from: from.clone() };
                if !found.contains(&obstacle) {
                    found.push(obstacle);
                }
            }
        }
        found
    }

    /// The first machine that says they go elsewhere is enough.
    fn elsewhere(&self, host: HostIndex) -> Option<Obstacle> {
        self.groups(self.wanted.rules.same_host()).find_map(|(machine, group)| {
            let (with, on) = self.partners(machine, group).find(|(_, on)| *on != host)?;
            Some(Obstacle::SameHost { machine: machine.clone(), with: with.clone(), on: self.cluster.name(on).clone() })
        })
    }

    fn together(&self, host: HostIndex) -> Option<Obstacle> {
        let admits = |home: &&HostIndex| self.apart(**home).is_empty() && self.elsewhere(**home).is_none();
        if self.wanted.rules.policy() != Policy::Together || self.homes.contains(&host) {
            return None;
        }
        let on: Vec<HostName> = self.homes.iter().filter(admits).map(|home| self.cluster.name(*home).clone()).collect();
        (!on.is_empty()).then_some(Obstacle::Together { on })
    }

    /// Who is there that they have to be with; all of the environment where no group says so.
    fn joins(&self, step: &Step) -> Vec<MachineName> {
        if step.why != Why::Joins {
            return Vec::new();
        }
        let groups = self.groups(self.wanted.rules.same_host());
        let mut found: Vec<MachineName> =
            groups.flat_map(|(machine, group)| self.partners(machine, group)).map(|(name, _)| name.clone()).collect();
        if found.is_empty() {
            let there = self.cluster.residents(&self.wanted.environment).iter().filter(|(_, on)| *on == step.host);
            found = there.map(|(name, _)| (*name).clone()).collect();
        }
        found.sort();
        found.dedup();
        found
    }

    /// Each of them with each group that it is in.
    fn groups<'b>(
        &'b self,
        groups: &'b [Vec<MachineName>],
    ) -> impl Iterator<Item = (&'b MachineName, &'b [MachineName])> {
        self.machines.iter().flat_map(move |machine| {
            let own = groups.iter().filter(move |group| group.contains(machine));
            own.map(move |group| (*machine, group.as_slice()))
        })
    }

    /// The others of a group that have a host.
    fn partners<'b>(
        &'b self,
        machine: &'b MachineName,
        group: &'b [MachineName],
    ) -> impl Iterator<Item = (&'b MachineName, HostIndex)> {
        let residents = self.cluster.residents(&self.wanted.environment).iter().copied();
        residents.filter(move |(name, _)| *name != machine && group.contains(name))
    }
}
