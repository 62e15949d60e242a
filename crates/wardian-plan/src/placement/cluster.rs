//! The hosts while environments are placed one after the other: what each has left, and where machines are by now.

use std::collections::HashMap;

use wardian_model::name::{EnvironmentName, HostName};

use super::{
    choose::{Step, Stuck, Why, choose},
    input::{Hosts, Limits, Wanted},
    ledger::{HostIndex, Ledger},
    task::{Resident, Task},
};

/// Hosts, and the machines on them that matter.
#[derive(Debug)]
pub(super) struct Cluster<'a> {
    pub(super) names: Vec<&'a HostName>,
    pub(super) ledger: Ledger,
    /// Of the environments that are wanted: who is where.
    residents: HashMap<&'a EnvironmentName, Vec<Resident<'a>>>,
}

impl<'a> Cluster<'a> {
    pub(super) fn new(hosts: &'a Hosts, wanted: &'a [Wanted], limits: Limits) -> Self {
        let mut residents: HashMap<&EnvironmentName, Vec<Resident<'a>>> =
            wanted.iter().map(|wanted| (&wanted.environment, Vec::new())).collect();
        let ledger = Ledger::new(hosts.values(), limits);
        for (host, index) in hosts.values().zip(ledger.hosts()) {
            for placed in &host.machines {
                if let Some(residents) = residents.get_mut(&placed.environment) {
                    residents.push((&placed.machine, index));
                }
            }
        }
        // Whatever order a host lists them in.
        residents.values_mut().for_each(|residents| residents.sort_unstable());
        Self { names: hosts.keys().collect(), ledger, residents }
    }

    pub(super) fn name(&self, host: HostIndex) -> &'a HostName {
        self.names[host as usize]
    }

    /// The machines of an environment that have a host.
    pub(super) fn residents(&self, environment: &EnvironmentName) -> &[Resident<'a>] {
        self.residents.get(environment).map_or(&[], Vec::as_slice)
    }

    /// Decides for an environment, and does as decided.
    pub(super) fn place(&mut self, wanted: &'a Wanted) -> Result<Vec<Step>, Stuck> {
        let task = Task::new(wanted, self.residents(&wanted.environment));
        let stays = |(machine, host): &(usize, HostIndex)| Step {
            machines: vec![*machine],
            need: wanted.machines[*machine].into(),
            host: *host,
            why: Why::Stays,
        };
        let mut steps: Vec<Step> = task.placed.iter().map(stays).collect();
        let chosen = choose(task, &mut self.ledger)?;
        self.remember(wanted, &chosen);
        steps.extend(chosen);
        Ok(steps)
    }

    /// Does what was decided before.
    pub(super) fn follow(&mut self, wanted: &'a Wanted, steps: &[Step]) {
        for step in steps.iter().filter(|step| step.why != Why::Stays) {
            self.ledger.take(step.host, step.need);
            self.remember(wanted, std::slice::from_ref(step));
        }
    }

    fn remember(&mut self, wanted: &'a Wanted, steps: &[Step]) {
        let residents = self.residents.entry(&wanted.environment).or_default();
        for step in steps {
            let names = step.machines.iter().filter_map(|machine| wanted.machines.get_index(*machine));
            residents.extend(names.map(|(name, _)| (name, step.host)));
        }
    }
}
