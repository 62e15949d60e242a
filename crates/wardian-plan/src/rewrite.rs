//! Which provider addresses the machines of an environment get, where addresses are rewritten between its hosts: each
//! one of its host's, and nobody else's.
//!
//! As with [`allocate`](crate::allocate), the caller reads what is taken, and commits the answer under the condition
//! that nobody took it meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use indexmap::IndexMap;
use ipnet::Ipv4Net;
use wardian_model::{
    environment::MachineIdentity,
    name::{HostName, MachineName},
};

/// Why a machine gets none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// Its host has none to give.
    #[error("the host {host} has no provider addresses for machines, and {machine} needs one for ip-rewrite")]
    NoAddresses {
        /// The host.
        host: HostName,
        /// Who would have got it.
        machine: MachineName,
    },
    /// Its host has given all it had.
    #[error("the rewrite addresses {prefix} of the host {host} have none free for {machine}")]
    Exhausted {
        /// The host.
        host: HostName,
        /// Its addresses.
        prefix: Ipv4Net,
        /// Who would have got it.
        machine: MachineName,
    },
}

/// Gives each machine the first free address of its host's prefix.
///
/// # Errors
/// When a host has no prefix, or all its addresses are taken; says which. Some machines may have theirs then.
pub fn give<'a>(
    identities: &mut IndexMap<MachineName, MachineIdentity>,
    host_of: impl Fn(&MachineName) -> &'a HostName,
    prefixes: &BTreeMap<HostName, Ipv4Net>,
    taken: &BTreeSet<Ipv4Addr>,
) -> Result<(), RewriteError> {
    let mut free = BTreeMap::new();
    for (machine, identity) in identities {
        let host = host_of(machine);
        let prefix = *prefixes
            .get(host)
            .ok_or_else(|| RewriteError::NoAddresses { host: host.clone(), machine: machine.clone() })?;
        let free = free.entry(host).or_insert_with(|| prefix.hosts().filter(|address| !taken.contains(address)));
        let exhausted = || RewriteError::Exhausted { host: host.clone(), prefix, machine: machine.clone() };
        identity.provider = Some(free.next().ok_or_else(exhausted)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wardian_model::spec::{EnvironmentSpec, IsolationSpec};

    use super::*;
    use crate::allocate::{self, Pools, Taken};

    fn identities(count: usize) -> IndexMap<MachineName, MachineIdentity> {
        let machines: serde_json::Map<_, _> =
            (0..count).map(|i| (format!("m{i}"), serde_json::json!({ "image": "micro" }))).collect();
        let spec: EnvironmentSpec =
            serde_json::from_value(serde_json::json!({ "name": "lab", "machines": machines })).unwrap();
        let inside = allocate::inside(&spec, String::new).unwrap();
        let pools = Pools { lab: "10.86.0.0/16".parse().unwrap(), ports: 30000..=30099 };
        allocate::outside(inside, &IsolationSpec::default(), &pools, &Taken::default()).unwrap().identities
    }

    fn host(number: usize) -> HostName {
        format!("h{number}").parse().unwrap()
    }

    #[test]
    fn who_has_none_and_who_has_no_more_is_named() {
        let (a, b) = (host(0), host(1));
        let prefixes = BTreeMap::from([(a.clone(), "10.9.1.0/30".parse().unwrap())]);
        let refused = give(&mut identities(1), |_| &b, &prefixes, &BTreeSet::new()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the host h1 has no provider addresses for machines, and m0 needs one for ip-rewrite"
        );
        let taken = BTreeSet::from([Ipv4Addr::new(10, 9, 1, 1)]);
        let refused = give(&mut identities(2), |_| &a, &prefixes, &taken).unwrap_err();
        assert_eq!(refused.to_string(), "the rewrite addresses 10.9.1.0/30 of the host h0 have none free for m1");
        let mut one = identities(1);
        give(&mut one, |_| &a, &prefixes, &taken).unwrap();
        assert_eq!(one[0].provider, Some(Ipv4Addr::new(10, 9, 1, 2)));
    }

    proptest! {
        #[test]
        fn each_has_one_of_its_hosts_and_none_is_given_twice(
            places in prop::collection::vec(0usize..3, 1..12),
            taken in prop::collection::btree_set((0u8..3, 0u8..16), 0..24),
        ) {
            let hosts = [0, 1, 2].map(host);
            let prefixes: BTreeMap<HostName, Ipv4Net> =
                (0..3).map(|n| (hosts[n].clone(), format!("10.9.{n}.0/28").parse().unwrap())).collect();
            let mut taken: BTreeSet<_> = taken.into_iter().map(|(n, k)| Ipv4Addr::new(10, 9, n, k)).collect();
            let host_of = |machine: &MachineName| &hosts[places[machine.as_str()[1..].parse::<usize>().unwrap()]];
            let mut all = identities(places.len());
            match give(&mut all, host_of, &prefixes, &taken) {
                Ok(()) => for (machine, identity) in &all {
                    let own = identity.provider.unwrap();
                    prop_assert!(prefixes[host_of(machine)].hosts().any(|address| address == own));
                    prop_assert!(taken.insert(own), "{own} is given twice");
                },
                Err(RewriteError::Exhausted { host, prefix, .. }) => {
                    let here = places.iter().filter(|place| hosts[**place] == host).count();
                    prop_assert!(prefix.hosts().filter(|address| !taken.contains(address)).count() < here);
                }
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
    }
}
