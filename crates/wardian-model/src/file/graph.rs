//! The order of starts: that machines wait for machines there are, and that no wait is a circle.

use indexmap::IndexMap;

use super::check::{Finding, unknown_machine};
use crate::{name::MachineName, spec::EnvironmentSpec};

/// How far the search for circles has come with a machine.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// On the way that is followed now.
    Open,
    /// It and everything behind it.
    Done,
}

pub(super) fn check(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    for (name, machine) in &spec.machines {
        for (n, other) in machine.start_after.iter().enumerate() {
            let path = format!("machines/{name}/start-after/{n}");
            if other == name {
                let finding = Finding::error(path, format!("{name} waits for itself, so it would never start"));
                found.push(finding.hint("remove it here"));
            } else if !spec.machines.contains_key(other) {
                found.push(unknown_machine(spec, path, other));
            } else if machine.start_after[..n].contains(other) {
                found.push(Finding::warning(path, format!("{name} waits for {other} twice")).hint("once is enough"));
            }
        }
    }
    let mut states = IndexMap::new();
    for name in spec.machines.keys() {
        follow(spec, name, &mut states, found);
    }
}

/// Follows every wait from `start`, without recursion: a chain may be as long as the environment.
fn follow<'a>(
    spec: &'a EnvironmentSpec,
    start: &'a MachineName,
    states: &mut IndexMap<&'a MachineName, State>,
    found: &mut Vec<Finding>,
) {
    if states.contains_key(start) {
        return;
    }
    states.insert(start, State::Open);
    // The machines on the way, each with the number of the wait to follow next.
    let mut way = vec![(start, 0)];
    while let Some((name, next)) = way.last_mut() {
        let name = *name;
        let n = *next;
        *next += 1;
        let Some(other) = spec.machines.get(name).and_then(|machine| machine.start_after.get(n)) else {
            states.insert(name, State::Done);
            way.pop();
            continue;
        };
        if other == name || !spec.machines.contains_key(other) {
            continue;
        }
        match states.get(other) {
            None => {
                states.insert(other, State::Open);
                way.push((other, 0));
            }
            Some(State::Open) => {
                let from = way.iter().position(|(name, _)| *name == other).unwrap_or_default();
                let circle: Vec<&str> =
                    way[from..].iter().map(|(name, _)| name.as_str()).chain([other.as_str()]).collect();
                let message = format!("these machines wait for each other: {}", circle.join(" → "));
                let finding = Finding::error(format!("machines/{name}/start-after/{n}"), message);
                found.push(finding.hint("one of them must start first; remove its `start-after`"));
            }
            Some(State::Done) => {}
        }
    }
}
