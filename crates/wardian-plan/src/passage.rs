//! On which hosts an environment has what, where it is joined with others.
//!
//! Every host routes between the routing domains it has to do with by itself, and what it has routed travels in the
//! subnet of its receiver. So a joined environment is on the hosts of those it is joined with, too: there, without
//! machines of its own, it has a *passage*, a part that consists of its switches, the gateway, and the way to the other
//! hosts. It goes no further than that: the hosts of those whom the others are joined with don't count.
//!
//! All of it follows from the environment's own record, which has the hosts of the others (`Joined::hosts`); who
//! changes where an environment is tells those it is joined with.

use std::collections::BTreeSet;

use wardian_model::{
    environment::{Desired, EnvironmentPhase, EnvironmentRecord},
    name::HostName,
};

/// All hosts on which it has a part of its own, or others have whom it is joined with. Its subnets lie on all of these.
#[must_use]
pub fn reach(record: &EnvironmentRecord) -> BTreeSet<&HostName> {
    let mut hosts = record.hosts();
    // One that has no host yet, or whose store is one host's own, is nowhere else either.
    if record.host.is_some() {
        hosts.extend(record.joined.iter().flat_map(|joined| &joined.hosts));
    }
    hosts
}

/// The hosts in reach on which it has no part of its own.
#[must_use]
pub fn passages(record: &EnvironmentRecord) -> BTreeSet<&HostName> {
    let own = record.hosts();
    reach(record).into_iter().filter(|host| !own.contains(host)).collect()
}

/// Whether it lies on several hosts, or reaches to some.
#[must_use]
pub fn spans_hosts(record: &EnvironmentRecord) -> bool {
    record.stretch.is_some() || reach(record).len() > 1
}

/// Whether it shall have a passage on that host now: as long as its machines may run.
#[must_use]
pub fn is_wanted(record: &EnvironmentRecord, host: &HostName) -> bool {
    let may_run = match record.desired {
        Desired::Running => true,
        Desired::Stopped | Desired::Suspended => {
            !matches!(record.phase, EnvironmentPhase::Stopped | EnvironmentPhase::Suspended)
        }
        Desired::Removed => false,
    };
    may_run && passages(record).contains(host)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// With its first machine on the first host, and one on each of the others.
    fn environment(n: u8, hosts: &[&str]) -> EnvironmentRecord {
        let elsewhere: serde_json::Map<_, _> =
            (1..).zip(&hosts[1..]).map(|(k, host)| (format!("m{k}"), json!(host))).collect();
        let mut record = json!({
            "id": format!("{n:016x}"), "name": format!("e{n}"), "created": "2026-01-01T00:00:00Z", "host": hosts[0],
            "spec": { "name": "e", "machines": { "m0": { "image": "micro" } } },
            "origin": { "from": "file" }, "edge": { "slot": n, "mac": "02:57:80:00:00:01" }, "identities": {},
            "fence": "open", "desired": "running", "run": 1, "phase": { "is": "running" },
        });
        if !elsewhere.is_empty() {
            record["stretch"] = json!({ "elsewhere": elsewhere });
        }
        serde_json::from_value(record).unwrap()
    }

    fn join(all: &mut [EnvironmentRecord], one: usize, other: usize) {
        let (as_one, as_other) = (all[one].as_joined(), all[other].as_joined());
        all[one].joined.push(as_other);
        all[other].joined.push(as_one);
    }

    fn names(hosts: &BTreeSet<&HostName>) -> String {
        hosts.iter().map(|host| host.as_str()).collect()
    }

    #[test]
    fn each_of_two_that_are_joined_has_a_passage_where_the_other_is_and_it_is_not() {
        let mut all = [environment(1, &["a", "b"]), environment(2, &["b", "c"])];
        assert_eq!(all.each_ref().map(|e| names(&passages(e))), ["", ""]);
        assert!(all.iter().all(spans_hosts));
        join(&mut all, 0, 1);
        assert_eq!(all.each_ref().map(|e| names(&reach(e))), ["abc", "abc"]);
        assert_eq!(all.each_ref().map(|e| names(&passages(e))), ["c", "a"]);
    }

    #[test]
    fn on_the_same_host_nothing_is_needed_elsewhere() {
        let mut all = [environment(1, &["a"]), environment(2, &["a"])];
        join(&mut all, 0, 1);
        assert!(all.iter().all(|e| names(&reach(e)) == "a" && !spans_hosts(e)));
    }

    #[test]
    fn it_goes_no_further_than_the_two() {
        let mut all = [environment(1, &["a"]), environment(2, &["b"]), environment(3, &["c"])];
        join(&mut all, 0, 1);
        join(&mut all, 1, 2);
        assert_eq!(all.each_ref().map(|e| names(&reach(e))), ["ab", "abc", "bc"]);
    }

    #[test]
    fn a_passage_is_there_as_long_as_machines_may_run() {
        let mut all = [environment(1, &["a"]), environment(2, &["b"])];
        join(&mut all, 0, 1);
        let [mut one, _] = all;
        let (own, other): (HostName, HostName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut when = |desired, phase| {
            (one.desired, one.phase) = (desired, phase);
            assert!(!is_wanted(&one, &own));
            is_wanted(&one, &other)
        };
        assert!(when(Desired::Running, EnvironmentPhase::Pending));
        for desired in [Desired::Stopped, Desired::Suspended] {
            assert!(when(desired, EnvironmentPhase::Running));
            assert!(when(desired, EnvironmentPhase::Stopping));
            assert!(!when(desired, EnvironmentPhase::Stopped));
        }
        assert!(!when(Desired::Removed, EnvironmentPhase::Running));
    }

    #[test]
    fn records_of_the_time_before_and_hosts_that_are_alone_have_none() {
        let mut one = environment(1, &["a"]);
        let mut joined = environment(2, &["a"]).as_joined();
        joined.hosts.clear();
        one.joined.push(joined);
        assert!(passages(&one).is_empty() && !spans_hosts(&one));
        one.host = None;
        assert!(reach(&one).is_empty());
    }

    proptest! {
        /// Whoever are joined are on the same hosts both, each with a part or a passage; nobody is anywhere else.
        #[test]
        fn where_one_of_two_has_a_part_the_other_has_something(
            places in prop::collection::vec(prop::sample::subsequence(vec!["a", "b", "c", "d"], 1..4), 2..5),
            pairs in prop::collection::vec((0usize..5, 0usize..5), 0..6),
        ) {
            let mut all: Vec<_> = (1..).zip(&places).map(|(n, hosts)| environment(n, hosts)).collect();
            let count = all.len();
            for (one, other) in pairs.into_iter().map(|(one, other)| (one % count, other % count)) {
                if one != other && !all[one].is_joined_with(all[other].id) {
                    join(&mut all, one, other);
                }
            }
            for one in &all {
                let mut expected = one.hosts();
                for other in all.iter().filter(|other| other.is_joined_with(one.id)) {
                    prop_assert!(other.hosts().is_subset(&reach(one)) && one.hosts().is_subset(&reach(other)));
                    expected.extend(other.hosts());
                }
                prop_assert_eq!(reach(one), expected);
            }
        }
    }
}
