//! Whether the rules of an environment name machines that are there, and whether each can ever decide anything.

use super::{Finding, unknown_machine};
use crate::{
    name::MachineName,
    spec::{AclRule, EnvironmentSpec, MAX_RULES},
};

pub(super) fn check(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    found.extend(check_acl(spec, None, &spec.network.acl));
    for (name, machine) in &spec.machines {
        found.extend(check_acl(spec, Some(name), &machine.acl));
    }
}

/// Everything about a list of rules that can't work in `spec`, or probably isn't meant: a machine's, or the network's.
#[must_use]
pub fn check_acl(spec: &EnvironmentSpec, machine: Option<&MachineName>, rules: &[AclRule]) -> Vec<Finding> {
    let list = machine.map_or_else(|| "network/acl".to_owned(), |machine| format!("machines/{machine}/acl"));
    let mut found = Vec::new();
    if rules.len() > MAX_RULES {
        let message = format!("the list has {} rules; {MAX_RULES} at most", rules.len());
        found.push(Finding::error(list, message).at_key().hint("prefixes and ranges of ports need fewer"));
        return found;
    }
    for (n, rule) in rules.iter().enumerate() {
        let at = || format!("{list}/{n}");
        let unknown = [&rule.from, &rule.to].into_iter().filter_map(|end| end.machine());
        let unknown: Vec<_> = unknown.filter(|named| !spec.machines.contains_key(*named)).collect();
        found.extend(unknown.iter().map(|named| unknown_machine(spec, at(), named)));
        if let Some(machine) = machine.filter(|machine| unknown.is_empty() && !rule.concerns(machine)) {
            let message = format!("`{rule}` is never about what {machine} says or hears");
            found.push(Finding::warning(at(), message).hint("write it at the machine it is about, or under `network`"));
        }
        if let Some(earlier) = rules[..n].iter().find(|earlier| earlier.is_last() || *earlier == rule) {
            let finding = Finding::warning(at(), format!("`{rule}` is never asked: `{earlier}` has decided before"));
            found.push(finding.hint("the first rule that matches decides; write special ones before general ones"));
        }
    }
    found
}
