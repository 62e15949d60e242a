//! Hosts and environments, made in few words.

use wardian_model::{name::MachineName, size::ByteSize};

use super::*;

/// GiB.
pub(super) const fn size(memory: u64, cpus: u32) -> Size {
    Size { memory: ByteSize::mib(memory << 10), cpus }
}

/// A host with this many GiB and cores.
pub(super) fn host(memory: u64, cores: u32) -> Host {
    Host { memory: ByteSize::mib(memory << 10), cores, up: true, paused: false, machines: Vec::new() }
}

impl Host {
    /// With a machine, `ENVIRONMENT/MACHINE`, of this many GiB and one processor.
    pub(super) fn with(mut self, machine: &str, memory: u64) -> Self {
        let (environment, machine) = machine.split_once('/').unwrap();
        self.machines.push(Placed {
            environment: environment.parse().unwrap(),
            machine: machine.parse().unwrap(),
            size: size(memory, 1),
        });
        self
    }

    pub(super) fn paused(self) -> Self {
        Self { paused: true, ..self }
    }

    pub(super) fn down(self) -> Self {
        Self { up: false, ..self }
    }
}

/// Called a, b, c, …
pub(super) fn hosts(hosts: impl IntoIterator<Item = Host>) -> Hosts {
    ('a'..='z').map(|letter| letter.to_string().parse().unwrap()).zip(hosts).collect()
}

fn groups(texts: &[&str]) -> Vec<Vec<MachineName>> {
    texts.iter().map(|text| text.split_whitespace().map(|name| name.parse().unwrap()).collect()).collect()
}

/// An environment `lab` of machines with this many GiB and one processor each.
pub(super) fn lab(policy: Policy, machines: &[(&str, u64)]) -> Wanted {
    lab_with(policy, machines, &[], &[])
}

/// The same, with groups.
pub(super) fn lab_with(policy: Policy, machines: &[(&str, u64)], same_host: &[&str], apart: &[&str]) -> Wanted {
    let machines: IndexMap<MachineName, Size> =
        machines.iter().map(|(name, memory)| (name.parse().unwrap(), size(*memory, 1))).collect();
    let rules = Rules::new(policy, groups(same_host), groups(apart), machines.keys()).unwrap();
    Wanted { environment: "lab".parse().unwrap(), rules, machines }
}

/// `web=a db=b`, or why not.
pub(super) fn placed(hosts: &Hosts, wanted: &Wanted) -> Result<String, String> {
    let wanted = std::slice::from_ref(wanted);
    let plan = place(hosts, wanted, Limits::default());
    match plan.hosts_of(0) {
        Some(hosts) => {
            Ok(hosts.iter().map(|(machine, host)| format!("{machine}={host}")).collect::<Vec<_>>().join(" "))
        }
        None => Err(plan.explain(0).unwrap_err().to_string()),
    }
}

/// The decisions, each in its words.
pub(super) fn explained(hosts: &Hosts, wanted: &Wanted) -> Vec<String> {
    let wanted = std::slice::from_ref(wanted);
    place(hosts, wanted, Limits::default()).explain(0).unwrap().iter().map(ToString::to_string).collect()
}
