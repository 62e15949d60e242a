//! Why an environment can't be placed: which machines no host takes, what keeps each host from it, and what would help.
//!
//! What would help was tried: each remedy that is named makes the placement possible, by itself.

use wardian_model::{
    name::{EnvironmentName, HostName, MachineName},
    size::ByteSize,
};

use super::{
    choose::{Stuck, choose},
    cluster::Cluster,
    explain::{Obstacle, View, homes, names},
    input::{Hosts, Wanted},
    ledger::{HostIndex, Ledger, Need},
    rules::Policy,
    task::Task,
};

/// How many hosts each remedy is tried with: whoever asks waits.
const TRIALS: usize = 8;

/// Why an environment was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The environment.
    pub environment: EnvironmentName,
    /// The machines that have to go to one host, and that none takes.
    pub machines: Vec<MachineName>,
    /// What they need of it.
    pub memory: ByteSize,
    /// Their virtual processors.
    pub cpus: u64,
    /// The machines that had their hosts by then, in this attempt.
    pub before: Vec<(MachineName, HostName)>,
    /// What keeps them from each host, by name.
    pub hosts: Vec<(HostName, Vec<Obstacle>)>,
    /// Whether there is no way at all by the rules as they are and with what is placed; otherwise none was found.
    pub certain: bool,
    /// What would help; each alone.
    pub remedies: Vec<Remedy>,
}

/// Something that would make room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Let a paused host take machines again.
    Resume(HostName),
    /// Bring back a host that is down.
    Return(HostName),
    /// Let the environment lie on several hosts.
    Policy(Policy),
    /// Make more room on a host, by removing something from it.
    Room {
        /// The host.
        host: HostName,
        /// How much more memory.
        memory: ByteSize,
        /// How many more virtual processors.
        cpus: u64,
    },
    /// Add a host with room for this.
    Host {
        /// Memory for machines.
        memory: ByteSize,
        /// Virtual processors.
        cpus: u64,
    },
}

pub(super) fn refusal<'a>(hosts: &Hosts, mut cluster: Cluster<'a>, wanted: &'a Wanted, stuck: &Stuck) -> Refusal {
    let homes = homes(&cluster, wanted);
    let machines = names(wanted, &stuck.machines);
    let need = stuck.need;
    // Remedies are tried on the hosts as they were before the attempt; obstacles are those it came upon.
    let unattempted = cluster.ledger.clone();
    let residents = cluster.residents(&wanted.environment).to_vec();
    cluster.follow(wanted, &stuck.before);
    let view = View::new(&cluster, wanted, &homes, &machines, need);
    let found: Vec<(HostIndex, Vec<Obstacle>)> =
        cluster.ledger.hosts().zip(hosts.values()).map(|(index, host)| (index, view.obstacles(index, host))).collect();
    let works = |rules: Option<Policy>, change: &dyn Fn(&mut Ledger)| {
        let mut ledger = unattempted.clone();
        change(&mut ledger);
        let rules = rules.map_or_else(|| wanted.rules.clone(), |policy| wanted.rules.with_policy(policy));
        choose(Task::new(&Wanted { rules, ..wanted.clone() }, &residents), &mut ledger).is_ok()
    };
    let remedies = remedies(&cluster, &found, need, wanted.rules.policy(), &works);
    let before = stuck.before.iter().flat_map(|step| {
        let host = cluster.name(step.host);
        names(wanted, &step.machines).into_iter().map(move |machine| (machine.clone(), host.clone()))
    });
    Refusal {
        environment: wanted.environment.clone(),
        memory: ByteSize::bytes(need.memory),
        cpus: need.cpus,
        before: before.collect(),
        certain: stuck.certain,
        remedies,
        hosts: found.into_iter().map(|(host, obstacles)| (cluster.name(host).clone(), obstacles)).collect(),
        machines: machines.into_iter().cloned().collect(),
    }
}

/// Whether the placement comes out by another policy, or with hosts that were changed.
type Works<'a> = dyn Fn(Option<Policy>, &dyn Fn(&mut Ledger)) -> bool + 'a;

fn remedies(
    cluster: &Cluster<'_>,
    found: &[(HostIndex, Vec<Obstacle>)],
    need: Need,
    policy: Policy,
    works: &Works<'_>,
) -> Vec<Remedy> {
    let name = |host: HostIndex| cluster.name(host).clone();
    let opened = |why: &[Obstacle]| {
        let mut hosts = found.iter().filter(|(_, obstacles)| obstacles == why).map(|(host, _)| *host).take(TRIALS);
        hosts.find(|host| works(None, &|ledger: &mut Ledger| ledger.open(*host)))
    };
    let mut remedies = Vec::new();
    remedies.extend(opened(&[Obstacle::Paused]).map(|host| Remedy::Resume(name(host))));
    remedies.extend(opened(&[Obstacle::Down]).map(|host| Remedy::Return(name(host))));
    if policy == Policy::Together && works(Some(Policy::Pack), &|_| ()) {
        remedies.push(Remedy::Policy(Policy::Pack));
    }
    let mut short: Vec<(Need, HostIndex)> =
        found.iter().filter_map(|(host, obstacles)| Some((only_short(obstacles)?, *host))).collect();
    short.sort_by_key(|(missing, host)| (missing.memory, missing.cpus, *host));
    let enlarged = short
        .into_iter()
        .take(TRIALS)
        .find(|(missing, host)| works(None, &|ledger: &mut Ledger| ledger.enlarge(*host, *missing)));
    remedies.extend(enlarged.map(|(missing, host)| Remedy::Room {
        host: name(host),
        memory: ByteSize::bytes(missing.memory),
        cpus: missing.cpus,
    }));
    if works(None, &|ledger: &mut Ledger| ledger.add(need, Need::default(), true)) {
        remedies.push(Remedy::Host { memory: ByteSize::bytes(need.memory), cpus: need.cpus });
    }
    remedies
}

/// How much is missing, where nothing else is wrong.
fn only_short(obstacles: &[Obstacle]) -> Option<Need> {
    obstacles.iter().try_fold(Need::default(), |sum, obstacle| match obstacle {
        Obstacle::Memory { missing } => Some(Need { memory: missing.as_bytes(), ..sum }),
        Obstacle::Cpus { missing } => Some(Need { cpus: *missing, ..sum }),
        _ => None,
    })
}
