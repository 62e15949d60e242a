//! What the records say of hosts: what each has for machines, and what environments take of it.

use std::{collections::BTreeSet, num::NonZeroU32};

use wardian_model::{
    cluster::HostRecord,
    environment::{Desired, EnvironmentRecord, Origin},
    name::HostName,
    size::ByteSize,
    spec::EnvironmentSpec,
};

use super::{Host, Hosts, Limits, Placed, Rules, RulesError, Size, Wanted};

impl Limits {
    /// Machines of labs mostly wait, and memory runs out long before their processors do.
    pub const OF_LABS: Self = Self { vcpus_per_core: NonZeroU32::new(16).unwrap() };
}

/// What a machine that goes on from frozen memory has to itself soon: it shares the rest. Measured on idle and busy
/// guests.
const OWN_OF_A_CLONE: ByteSize = ByteSize::mib(48);

/// What a machine has to itself; `frozen` says whether it goes on from memory that it shares.
#[must_use]
pub fn own_memory(size: ByteSize, frozen: bool) -> ByteSize {
    if frozen { size.min(OWN_OF_A_CLONE) } else { size }
}

/// What a host has for machines. It keeps for itself a GiB, or a quarter of a small one's memory.
#[must_use]
pub fn memory_for_machines(host: &HostRecord) -> ByteSize {
    ByteSize::mib(host.memory_mib - (host.memory_mib / 4).min(1024))
}

/// What an environment takes of a host. One that was stopped takes nothing: whoever starts it finds room, or is told
/// that there is none.
#[must_use]
pub fn placed(environment: &EnvironmentRecord, host: &HostName) -> Vec<Placed> {
    if environment.desired != Desired::Running {
        return Vec::new();
    }
    let shares = matches!(environment.origin, Origin::Clone { boot: false, .. });
    let here = environment.spec.machines.iter().filter(|(name, _)| environment.host_of(name) == Some(host));
    let machines = here.map(|(name, machine)| Placed {
        environment: environment.name.clone(),
        machine: name.clone(),
        size: Size { memory: own_memory(machine.memory, shares), cpus: machine.cpus.into() },
    });
    machines.collect()
}

/// The hosts, of which `there` have a daemon that answers, and what is on them.
#[must_use]
pub fn hosts(all: Vec<HostRecord>, there: &BTreeSet<HostName>, environments: &[EnvironmentRecord]) -> Hosts {
    let standing = all.into_iter().map(|host| {
        let machines = environments.iter().flat_map(|environment| placed(environment, &host.name));
        let standing = Host {
            memory: memory_for_machines(&host),
            cores: host.cores,
            up: there.contains(&host.name),
            paused: false,
            machines: machines.collect(),
        };
        (host.name, standing)
    });
    standing.collect()
}

/// What a new environment needs.
///
/// # Errors
/// When its file asks for what can't be.
pub fn wanted(spec: &EnvironmentSpec) -> Result<Wanted, RulesError> {
    let sizes = spec.machines.iter().map(|(name, machine)| {
        (name.clone(), Size { memory: own_memory(machine.memory, false), cpus: machine.cpus.into() })
    });
    Ok(Wanted { environment: spec.name.clone(), rules: Rules::of(spec)?, machines: sizes.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(memory_mib: u64) -> HostRecord {
        serde_json::from_value(serde_json::json!({
            "name": "a", "instance": "a", "provider": "10.1.0.1", "peer": "10.1.0.1:7643", "lab-address": "10.86.0.254",
            "memory-mib": memory_mib, "cores": 2, "version": "1", "qemu": "10", "encapsulations": ["nvgre"],
            "joined": "2026-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    #[test]
    fn a_host_keeps_a_gib_or_a_quarter_for_itself() {
        let left = [0, 1000, 4096, 65536].map(|mib| memory_for_machines(&host(mib)));
        assert_eq!(left, [0, 750, 3072, 64512].map(ByteSize::mib));
    }

    #[test]
    fn a_machine_that_shares_its_memory_takes_little_and_never_more_than_it_has() {
        let [large, small] = [512, 32].map(ByteSize::mib);
        assert_eq!(own_memory(large, false), large);
        assert!(own_memory(large, true) < large);
        assert_eq!(own_memory(small, true), small);
    }
}
