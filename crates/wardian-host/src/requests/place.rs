//! Which host of a cluster a new environment goes to, and what all hosts are.
//!
//! The host that is chosen makes the environment itself and looks once more at the memory it has. Nobody asks the
//! others again that get a part of it, and two requests at the same moment may be promised the same memory.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use wardian_model::{
    cluster::{HostRecord, LeaderRecord, PresenceRecord},
    environment::EnvironmentRecord,
    name::{EnvironmentName, HostName, MachineName},
    record::Record,
    size::ByteSize,
    spec::{EnvironmentSpec, Gateway, IsolationMode},
};
use wardian_plan::{
    encapsulation::can_carry,
    placement::{Hosts, Limits, Wanted, place, records},
};

use crate::{Host, Refusal, refusal::problem};

/// A host of a cluster, and how it stands.
#[derive(Debug, Clone)]
pub struct HostStanding {
    /// Its record.
    pub record: HostRecord,
    /// Its daemon's presence; nothing while it is down or can't reach the store.
    pub presence: Option<PresenceRecord>,
    /// Whether it does what is done once for all hosts.
    pub leads: bool,
    /// Whether it is the one that answers.
    pub here: bool,
    /// The machines that shall run there, and those of their environments that don't.
    pub machines: usize,
    /// How much of the memory it has for machines is promised to those that shall run.
    pub promised: ByteSize,
    /// The memory it has for machines.
    pub memory: ByteSize,
}

/// Where an environment goes, and why.
#[derive(Debug, Clone)]
pub struct Placement {
    /// The host of its edge: its first machine's.
    pub home: HostName,
    /// The host of each machine.
    pub machines: IndexMap<MachineName, HostName>,
    /// One line for each decision, and for each host that was not chosen.
    pub why: Vec<String>,
}

/// Another host, and whether it is there.
#[derive(Debug, Clone)]
pub struct OtherHost {
    /// Its record.
    pub record: HostRecord,
    /// Whether its daemon is there and reaches the store.
    pub present: bool,
}

impl Host {
    /// The host that an environment is on, or a machine of it; nothing when that is this one, or nobody knows the
    /// environment.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn elsewhere_of(
        &self,
        environment: &EnvironmentName,
        machine: Option<&MachineName>,
    ) -> Result<Option<OtherHost>, Refusal> {
        let Some(found) = self.shared.records.environment(environment).await? else { return Ok(None) };
        let record = found.record;
        let host = machine.map_or(record.host.as_ref(), |machine| record.host_of(machine));
        match host {
            Some(host) => self.other(host).await,
            None => Ok(None),
        }
    }

    /// A host by its name; nothing when it is this one, or nobody knows it.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn other(&self, name: &HostName) -> Result<Option<OtherHost>, Refusal> {
        if self.shared.host().as_ref() == Some(name) {
            return Ok(None);
        }
        let records = &self.shared.records;
        let Some(found) = records.get::<HostRecord>(&HostRecord::key_of(name)).await? else { return Ok(None) };
        let present = records.get::<PresenceRecord>(&PresenceRecord::key_of(name)).await?.is_some();
        Ok(Some(OtherHost { record: found.record, present }))
    }

    /// The hosts of the cluster, by name; none where this host is alone.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn hosts(&self) -> Result<Vec<HostStanding>, Refusal> {
        let records = &self.shared.records;
        // The leader first: one that has left since is shown as away, not as leading and away.
        let leader = records.get::<LeaderRecord>(LeaderRecord::KEY).await?.map(|leader| leader.record.host);
        let presences = records.list::<PresenceRecord>(PresenceRecord::PREFIX).await?;
        let environments = records.list::<EnvironmentRecord>(EnvironmentRecord::PREFIX).await?;
        let own = self.shared.host();
        let all = records.list::<HostRecord>(HostRecord::PREFIX).await?.into_iter().map(|record| {
            let placed = environments.iter().flat_map(|environment| records::placed(environment, &record.name));
            let placed: u64 = placed.map(|placed| placed.size.memory.as_bytes()).sum();
            let there = |e: &EnvironmentRecord| {
                e.identities.keys().filter(|machine| e.host_of(machine) == Some(&record.name)).count()
            };
            let presence = presences.iter().find(|presence| presence.host == record.name).cloned();
            HostStanding {
                leads: leader.as_ref() == Some(&record.name) && presence.is_some(),
                presence,
                here: own.as_ref() == Some(&record.name),
                machines: environments.iter().map(there).sum(),
                promised: ByteSize::bytes(placed),
                memory: records::memory_for_machines(&record),
                record,
            }
        });
        Ok(all.collect())
    }

    /// Which host a new environment goes to; nothing where this host is alone.
    ///
    /// # Errors
    /// When no host takes it: what keeps it from each, and what would help.
    pub async fn place(&self, spec: &EnvironmentSpec) -> Result<Option<Placement>, Refusal> {
        if self.shared.config.member.is_none() {
            return Ok(None);
        }
        let records = &self.shared.records;
        let there: BTreeSet<_> = records
            .list::<PresenceRecord>(PresenceRecord::PREFIX)
            .await?
            .into_iter()
            .map(|presence| presence.host)
            .collect();
        let environments = records.list::<EnvironmentRecord>(EnvironmentRecord::PREFIX).await?;
        let hosts = records.list::<HostRecord>(HostRecord::PREFIX).await?;
        let placement = decide(&records::hosts(hosts.clone(), &there, &environments), spec)?;
        let chosen: BTreeSet<&HostName> = placement.machines.values().collect();
        if chosen.len() > 1 {
            can_carry(spec, &hosts, &chosen)?;
        }
        Ok(Some(placement))
    }

    /// The machines of a new environment that go to other hosts than this one, which makes it and has its edge.
    pub(super) async fn elsewhere(&self, spec: &EnvironmentSpec) -> Result<IndexMap<MachineName, HostName>, Refusal> {
        let (Some(own), Some(placement)) = (self.shared.host(), self.place(spec).await?) else {
            return Ok(IndexMap::new());
        };
        let hosts: BTreeSet<&HostName> = placement.machines.values().collect();
        if hosts.len() < 2 {
            // Who was asked to make it was chosen; what another look would choose by now doesn't matter.
            return Ok(IndexMap::new());
        }
        may_stretch(spec, &hosts)?;
        Ok(placement.machines.into_iter().filter(|(_, host)| *host != own).collect())
    }
}

/// Whether an environment can lie on several hosts.
fn may_stretch(spec: &EnvironmentSpec, hosts: &BTreeSet<&HostName>) -> Result<(), Refusal> {
    let hindrance = match (&spec.isolation.mode, &spec.isolation.gateway) {
        (IsolationMode::TwoWayNat, Gateway::Machine(machine)) => format!("`gateway: {machine}`"),
        (IsolationMode::TwoWayNat, _) => return Ok(()),
        (IsolationMode::DualInterface, _) => "`mode: dual-interface`".to_owned(),
        (IsolationMode::None, _) => "`mode: none`".to_owned(),
    };
    let hosts: Vec<_> = hosts.iter().map(|host| host.as_str()).collect();
    Err(Refusal::invalid(format!(
        "{} would lie on the hosts {}, which is not available yet with {hindrance}",
        spec.name,
        hosts.join(" and ")
    ))
    .hint("choose `placement: { policy: together }`, or `mode: two-way-nat` without such a gateway"))
}

/// What a new environment needs, and what its file asks of its placement.
///
/// # Errors
/// When that can't be.
pub(super) fn wanted(spec: &EnvironmentSpec) -> Result<Wanted, Refusal> {
    records::wanted(spec).map_err(|error| {
        Refusal::invalid(format!("`placement` of {} can't be: {}", spec.name, problem(&error).message))
            .hint("correct the groups under `placement`")
    })
}

fn decide(hosts: &Hosts, spec: &EnvironmentSpec) -> Result<Placement, Refusal> {
    let wanted = [wanted(spec)?];
    let plan = place(hosts, &wanted, Limits::OF_LABS);
    let machines = plan.hosts_of(0).unwrap_or_default();
    let machines: IndexMap<MachineName, HostName> =
        machines.into_iter().map(|(machine, host)| (machine.clone(), host.clone())).collect();
    match (machines.values().next().cloned(), plan.explain(0)) {
        (Some(home), Ok(decisions)) => {
            let why = decisions
                .iter()
                .flat_map(|decision| decision.to_string().lines().map(str::to_owned).collect::<Vec<_>>());
            Ok(Placement { home, machines, why: why.collect() })
        }
        (_, Err(refusal)) => {
            Err(Refusal::unavailable(refusal.to_string())
                .hint("`wardian host ls` shows the hosts and what they have left"))
        }
        (None, Ok(_)) => Err(Refusal::internal(format!("{} has no machines to place", spec.name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(memory: &str) -> EnvironmentSpec {
        serde_json::from_value(serde_json::json!({
            "name": "store", "machines": { "web": { "image": "micro", "memory": memory } },
        }))
        .unwrap()
    }

    fn hosts(all: &[(&str, u64, bool)]) -> Hosts {
        let host = |&(name, mib, up): &(&str, u64, bool)| {
            let host = wardian_plan::placement::Host {
                memory: ByteSize::mib(mib),
                cores: 2,
                up,
                paused: false,
                machines: Vec::new(),
            };
            (HostName::new(name).unwrap(), host)
        };
        all.iter().map(host).collect()
    }

    #[test]
    fn it_goes_to_a_host_that_is_there_and_has_room_and_is_told_why() {
        let placement =
            decide(&hosts(&[("a", 8192, false), ("b", 512, true), ("c", 4096, true)]), &spec("1 GiB")).unwrap();
        assert_eq!(placement.home.as_str(), "c");
        let why = placement.why.join("\n");
        assert!(why.contains("a is down") && why.contains("b lacks 512 MiB of memory"), "{why}");
    }

    #[test]
    fn it_is_refused_with_what_keeps_it_from_each_host() {
        let refusal = decide(&hosts(&[("a", 8192, false), ("b", 512, true)]), &spec("1 GiB")).unwrap_err();
        let message = refusal.problem.message;
        for part in ["store can't be placed", "a is down", "b lacks 512 MiB", "bring a back"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
