//! What an environment asks of its placement: a policy, and groups of machines that the policy does not part or join.
//!
//! [`Rules`] are checked when they are made, so the planner never meets two that can't hold at once.

use std::collections::{BTreeSet, VecDeque};

use wardian_model::{name::MachineName, spec::EnvironmentSpec};

pub use wardian_model::spec::PlacementPolicy as Policy;

/// What a group of machines asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// All of them on one host, whatever the policy.
    SameHost,
    /// No two of them on one host, whatever the policy.
    Apart,
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::SameHost => "same-host",
            Self::Apart => "apart",
        })
    }
}

/// A policy and groups that fit together. The default is [`Policy::Together`], without groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    policy: Policy,
    same_host: Vec<Vec<MachineName>>,
    apart: Vec<Vec<MachineName>>,
}

/// Why rules can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// A group names a machine that the environment doesn't have.
    #[error(
        "a group of {group} names {machine}, which is no machine of this environment; correct the name or remove it"
    )]
    UnknownMachine {
        /// Which kind of group.
        group: Group,
        /// The name.
        machine: MachineName,
    },
    /// A group names a machine twice.
    #[error("a group of {group} names {machine} twice; name it once")]
    Twice {
        /// Which kind of group.
        group: Group,
        /// The name.
        machine: MachineName,
    },
    /// A group with one machine.
    #[error("a group of {group} has {machine} alone; name the machines that it is about, or remove the group")]
    Alone {
        /// Which kind of group.
        group: Group,
        /// Its only machine.
        machine: MachineName,
    },
    /// A group without machines.
    #[error("a group of {group} is empty; name two machines at least, or remove it")]
    Empty {
        /// Which kind of group.
        group: Group,
    },
    /// Two machines that must be on one host and must not.
    #[error(
        "{one} and {other} must be apart, and on the same host{}; take one of them out of either group",
        in_between(.through)
    )]
    Contradiction {
        /// One of them.
        one: MachineName,
        /// The other.
        other: MachineName,
        /// Whom they share groups of same-host with, where they share none: the shortest chain from one to the other.
        through: Vec<MachineName>,
    },
}

fn in_between(chain: &[MachineName]) -> String {
    if chain.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = chain.iter().map(MachineName::as_str).collect();
    format!(" (through {})", names.join(" and "))
}

impl Rules {
    /// What the environment's file asks for.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(spec: &EnvironmentSpec) -> Result<Self, RulesError> {
        let asked = &spec.placement;
        Self::new(asked.policy, asked.same_host.clone(), asked.apart.clone(), spec.machines.keys())
    }

    /// Checks that the groups are of `machines`, the environment's, and that they can hold at once.
    ///
    /// # Errors
    /// When a group names no machine of these, one machine twice, or fewer than two; or when two machines must be apart
    /// that must be on the same host, be it through others.
    pub fn new<'a>(
        policy: Policy,
        same_host: Vec<Vec<MachineName>>,
        apart: Vec<Vec<MachineName>>,
        machines: impl IntoIterator<Item = &'a MachineName>,
    ) -> Result<Self, RulesError> {
        let known: BTreeSet<&MachineName> = machines.into_iter().collect();
        let groups = same_host.iter().map(|members| (Group::SameHost, members));
        for (group, members) in groups.chain(apart.iter().map(|members| (Group::Apart, members))) {
            check(group, members, &known)?;
        }
        for members in &apart {
            for (at, one) in members.iter().enumerate() {
                let chains = chains(one, &same_host);
                if let Some((other, through)) = members[at + 1..].iter().find_map(|other| Some((other, chains(other)?)))
                {
                    return Err(RulesError::Contradiction { one: one.clone(), other: other.clone(), through });
                }
            }
        }
        Ok(Self { policy, same_host, apart })
    }

    /// The policy.
    #[must_use]
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// Groups of machines that share a host.
    #[must_use]
    pub fn same_host(&self) -> &[Vec<MachineName>] {
        &self.same_host
    }

    /// Groups of machines of which no two share a host.
    #[must_use]
    pub fn apart(&self) -> &[Vec<MachineName>] {
        &self.apart
    }

    /// The same groups under another policy.
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        Self { policy, ..self.clone() }
    }
}

fn check(group: Group, members: &[MachineName], known: &BTreeSet<&MachineName>) -> Result<(), RulesError> {
    let mut seen = BTreeSet::new();
    for machine in members {
        if !known.contains(machine) {
            return Err(RulesError::UnknownMachine { group, machine: machine.clone() });
        }
        if !seen.insert(machine) {
            return Err(RulesError::Twice { group, machine: machine.clone() });
        }
    }
    match members {
        [] => Err(RulesError::Empty { group }),
        [machine] => Err(RulesError::Alone { group, machine: machine.clone() }),
        _ => Ok(()),
    }
}

/// For every machine that must be on the host of `one`: whom it is through, nobody where they share a group.
fn chains<'a>(
    one: &'a MachineName,
    same_host: &'a [Vec<MachineName>],
) -> impl Fn(&MachineName) -> Option<Vec<MachineName>> + use<'a> {
    let mut came_from: Vec<(&MachineName, Option<usize>)> = vec![(one, None)];
    let mut next = VecDeque::from([0]);
    while let Some(at) = next.pop_front() {
        let (machine, _) = came_from[at];
        for members in same_host.iter().filter(|members| members.contains(machine)) {
            for member in members {
                if !came_from.iter().any(|(known, _)| *known == member) {
                    next.push_back(came_from.len());
                    came_from.push((member, Some(at)));
                }
            }
        }
    }
    move |other| {
        let mut at = came_from.iter().position(|(machine, _)| *machine == other)?;
        let mut through = Vec::new();
        while let Some(before) = came_from[at].1 {
            at = before;
            through.push(came_from[at].0.clone());
        }
        through.pop();
        through.reverse();
        Some(through)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<MachineName> {
        text.split_whitespace().map(|name| name.parse().unwrap()).collect()
    }

    fn rules(same_host: &[&str], apart: &[&str]) -> Result<Rules, String> {
        let groups = |texts: &[&str]| texts.iter().map(|text| names(text)).collect();
        Rules::new(Policy::Spread, groups(same_host), groups(apart), &names("web cache log db-1 db-2"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_group_names_two_or_more_machines_of_the_environment_once_each() {
        assert!(rules(&["web cache"], &["db-1 db-2"]).is_ok());
        let wrong = [
            ("web wbe", "names wbe, which is no machine of this environment; correct the name or remove it"),
            ("web cache web", "names web twice; name it once"),
            ("web", "has web alone; name the machines that it is about, or remove the group"),
            ("", "is empty; name two machines at least, or remove it"),
        ];
        for (group, why) in wrong {
            assert_eq!(rules(&[group], &[]), Err(format!("a group of same-host {why}")));
            assert_eq!(rules(&[], &[group]), Err(format!("a group of apart {why}")));
        }
    }

    #[test]
    fn machines_that_must_be_apart_must_not_be_on_the_same_host_be_it_through_others() {
        assert_eq!(
            rules(&["web db-1 cache"], &["db-2 db-1 web"]).unwrap_err(),
            "db-1 and web must be apart, and on the same host; take one of them out of either group"
        );
        assert_eq!(
            rules(&["web log", "log cache", "cache db-1"], &["web db-1"]).unwrap_err(),
            "web and db-1 must be apart, and on the same host (through log and cache); \
             take one of them out of either group"
        );
        // Both apart from the same one is no reason to be together.
        assert!(rules(&["web cache", "db-1 db-2"], &["web db-1", "web db-2"]).is_ok());
    }
}
