//! Placement: which host each machine of an environment goes to.
//!
//! [`place`] takes all hosts with what is on them and the environments that shall be placed, and decides for one
//! environment after the other: for all of its machines or for none. What is placed already stays.
//!
//! * Memory is never promised twice; processors are, up to [`Limits::vcpus_per_core`].
//! * A host that is down or paused gets nothing.
//! * [`Policy`] says how an environment lies, its groups ([`Rules`]) what lies together or apart in any case.
//! * Of hosts that will do, the least loaded is taken, by the larger of its shares of memory and processors; to pack,
//!   the most loaded. What is still the same goes by name. So the answer depends on the input and on nothing else, not
//!   even on the order of hosts; that of environments counts, because who comes first finds more room.
//!
//! Why a machine goes where it goes, and why an environment can't be placed, is told on demand ([`Plan::explain`]): the
//! plan remembers its decisions, and looks again at what the hosts were when each was made.
//!
//! **A refusal may be wrong, and says when**: [`Refusal::certain`] is false whenever there may be a way. Placing is bin
//! packing. One unit after the other gets its host, the largest first; when that does not come out, arrangements are
//! tried, a bounded number (`search.rs`).
//!
//! * Under `spread` and `pack`, all arrangements of five units on four hosts are tried, and some of more. Any
//!   environment is refused with certainty for a unit that fits nowhere by itself, or for more memory than there is.
//! * Under `together` without `apart` there is one unit, and the refusal is always right.
//! * Under `together` with `apart`, which machines leave the one host is a rule of thumb (`together.rs`): another
//!   division might have fitted.
//! * A new environment is never refused where as many hosts as it has machines have room for all of it each.
//! * `spread` takes the most hosts there can be only where processors, groups or a second try don't interfere; `pack`
//!   takes one host where one has room, and not always the fewest where none has.
//!
//! Nobody is moved to make room.
//!
//! A file says it so: `placement: { policy: together|spread|pack, same-host: [[web, cache]], apart: [[db-1, db-2]] }`.
//! What hosts have and environments take is read from their records (`records.rs`).

mod choose;
mod cluster;
mod explain;
mod input;
mod ledger;
pub mod records;
mod refusal;
mod rules;
mod search;
mod task;
#[cfg(test)]
mod tests;
mod text;
mod together;

use indexmap::IndexMap;
use wardian_model::name::{HostName, MachineName};

pub use choose::Why;
pub use explain::{Decision, Obstacle, Standing};
pub use input::{Host, Hosts, Limits, Placed, Size, Wanted};
pub use refusal::{Refusal, Remedy};
pub use rules::{Group, Policy, Rules, RulesError};

use choose::{Step, Stuck};
use cluster::Cluster;

/// Where everything goes.
#[derive(Debug)]
pub struct Plan<'a> {
    hosts: &'a Hosts,
    wanted: &'a [Wanted],
    limits: Limits,
    names: Vec<&'a HostName>,
    answers: Vec<Result<Vec<Step>, Stuck>>,
}

/// Decides where the machines of the environments go, in their order.
#[must_use]
pub fn place<'a>(hosts: &'a Hosts, wanted: &'a [Wanted], limits: Limits) -> Plan<'a> {
    let mut cluster = Cluster::new(hosts, wanted, limits);
    let answers = wanted.iter().map(|wanted| cluster.place(wanted)).collect();
    Plan { hosts, wanted, limits, names: cluster.names, answers }
}

impl<'a> Plan<'a> {
    /// The hosts of all machines of the environment at this place among the wanted, or nothing when it was refused.
    #[must_use]
    pub fn hosts_of(&self, at: usize) -> Option<IndexMap<&'a MachineName, &'a HostName>> {
        let (wanted, steps) = (self.wanted.get(at)?, self.answers.get(at)?.as_ref().ok()?);
        let mut hosts: Vec<(usize, &HostName)> = steps
            .iter()
            .flat_map(|step| step.machines.iter().map(|machine| (*machine, self.names[step.host as usize])))
            .collect();
        hosts.sort_unstable_by_key(|(machine, _)| *machine);
        let named = hosts.into_iter().filter_map(|(at, host)| Some((wanted.machines.get_index(at)?.0, host)));
        Some(named.collect())
    }

    /// Why the environment at this place among the wanted is placed as it is, decision by decision; nothing when there
    /// is no such place.
    ///
    /// # Errors
    /// When it was refused: why that is.
    pub fn explain(&self, at: usize) -> Result<Vec<Decision>, Box<Refusal>> {
        let (Some(wanted), Some(answer)) = (self.wanted.get(at), self.answers.get(at)) else { return Ok(Vec::new()) };
        let mut cluster = Cluster::new(self.hosts, self.wanted, self.limits);
        for (wanted, answer) in self.wanted.iter().zip(&self.answers).take(at) {
            if let Ok(steps) = answer {
                cluster.follow(wanted, steps);
            }
        }
        match answer {
            Ok(steps) => Ok(explain::decisions(self.hosts, cluster, wanted, steps)),
            Err(stuck) => Err(Box::new(refusal::refusal(self.hosts, cluster, wanted, stuck))),
        }
    }
}
