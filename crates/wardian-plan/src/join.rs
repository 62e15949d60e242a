//! Whether two environments' routing domains can be joined.
//!
//! Joined, their machines reach one another by their inside addresses. So no address may mean two machines: neither of
//! the two, nor of those that either is joined with already. It goes no further: whom the other is joined with is not
//! reached by way of it.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use wardian_model::{
    encapsulation::Encapsulation,
    environment::EnvironmentRecord,
    join::Joined,
    name::{EnvironmentName, HostName},
    spec::IsolationMode,
};

/// The most an environment may be joined with: when it goes, it is parted from all in one transaction.
pub const MOST: usize = 16;

/// A subnet, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The environment.
    pub environment: EnvironmentName,
    /// The subnet.
    pub subnet: Ipv4Net,
}

impl std::fmt::Display for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.subnet, self.environment)
    }
}

/// Why two environments can't be joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// They are one.
    #[error("{0} can't be joined with itself")]
    Itself(EnvironmentName),
    /// One of them has no inside of that kind.
    #[error("{environment} has mode {mode}, and only environments with mode two-way-nat can be joined")]
    Mode {
        /// It.
        environment: EnvironmentName,
        /// Its mode.
        mode: IsolationMode,
    },
    /// An address would mean two machines.
    #[error("{0} overlaps {1}, so an address in both would mean two machines")]
    Overlap(Owned, Owned),
    /// An address would mean two machines to somebody whom one of them is joined with.
    #[error("{by} is joined with {third} already, and {of_third} overlaps {of_other}")]
    Third {
        /// The one that is joined with the third.
        by: EnvironmentName,
        /// The third.
        third: EnvironmentName,
        /// Its subnet.
        of_third: Owned,
        /// That of the other one of the two.
        of_other: Owned,
    },
    /// One of them is joined with as many as may be.
    #[error("{0} is joined with {MOST} environments already, which are the most")]
    TooMany(EnvironmentName),
    /// They are on several hosts, and no envelope carries their frames. Without one, the filter of a host knows whose a
    /// packet is by its routing domain, and lets it into no other.
    #[error(
        "{one} and {other} lie on {}, and with `encapsulation: ip-rewrite` only environments on one host can be joined",
        list(.hosts)
    )]
    Apart {
        /// One.
        one: EnvironmentName,
        /// The other.
        other: EnvironmentName,
        /// Where they are.
        hosts: BTreeSet<HostName>,
    },
}

/// Whether they can be joined, or are.
///
/// # Errors
/// Says why not.
pub fn may_join(one: &EnvironmentRecord, other: &EnvironmentRecord) -> Result<(), JoinError> {
    if one.id == other.id {
        return Err(JoinError::Itself(one.name.clone()));
    }
    if one.is_joined_with(other.id) && other.is_joined_with(one.id) {
        return Ok(());
    }
    for environment in [one, other] {
        let (name, mode) = (environment.name.clone(), environment.spec.isolation.mode);
        if mode != IsolationMode::TwoWayNat {
            return Err(JoinError::Mode { environment: name, mode });
        }
        if environment.joined.len() >= MOST {
            return Err(JoinError::TooMany(name));
        }
    }
    let (first, second) = (one.as_joined(), other.as_joined());
    if let Some((a, b)) = overlap(&first, &second) {
        return Err(JoinError::Overlap(a, b));
    }
    for (by, other) in [(one, &second), (other, &first)] {
        for third in by.joined.iter().filter(|third| third.id != other.id) {
            if let Some((of_third, of_other)) = overlap(third, other) {
                let (by, third) = (by.name.clone(), third.name.clone());
                return Err(JoinError::Third { by, third, of_third, of_other });
            }
        }
    }
    may_be_carried(one, other)
}

/// Whether the hosts that they are on can send frames from one to the other.
fn may_be_carried(one: &EnvironmentRecord, other: &EnvironmentRecord) -> Result<(), JoinError> {
    let rewrites = |record: &EnvironmentRecord| record.spec.network.encapsulation == Some(Encapsulation::IpRewrite);
    let hosts: BTreeSet<_> = one.hosts().into_iter().chain(other.hosts()).cloned().collect();
    if (rewrites(one) || rewrites(other)) && hosts.len() > 1 {
        return Err(JoinError::Apart { one: one.name.clone(), other: other.name.clone(), hosts });
    }
    Ok(())
}

fn list(hosts: &BTreeSet<HostName>) -> String {
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(" and ")
}

/// The first two subnets that have addresses in common.
fn overlap(one: &Joined, other: &Joined) -> Option<(Owned, Owned)> {
    let owned = |of: &Joined, subnet: &Ipv4Net| Owned { environment: of.name.clone(), subnet: *subnet };
    let pairs = one.subnets.iter().flat_map(|a| other.subnets.iter().map(move |b| (a, b)));
    let mut common = pairs.filter(|(a, b)| a.contains(*b) || b.contains(*a));
    common.next().map(|(a, b)| (owned(one, a), owned(other, b)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn environment(n: u8, name: &str, subnet: &str) -> EnvironmentRecord {
        serde_json::from_value(json!({
            "id": format!("{n:016x}"), "name": name, "created": "2026-01-01T00:00:00Z",
            "spec": { "name": name, "machines": { "web": { "image": "micro" } }, "network": { "subnet": subnet } },
            "origin": { "from": "file" }, "edge": { "slot": n, "mac": "02:57:80:00:00:01" }, "identities": {},
            "fence": "open", "desired": "running", "run": 1, "phase": { "is": "running" },
        }))
        .unwrap()
    }

    fn said(one: &EnvironmentRecord, other: &EnvironmentRecord) -> String {
        may_join(one, other).unwrap_err().to_string()
    }

    #[test]
    fn subnets_apart_are_joined_and_asking_again_is_no_error() {
        let (mut red, mut blue) = (environment(1, "red", "10.0.0.0/24"), environment(2, "blue", "10.0.1.0/24"));
        assert_eq!(may_join(&red, &blue), Ok(()));
        red.joined.push(blue.as_joined());
        blue.joined.push(red.as_joined());
        assert_eq!(may_join(&blue, &red), Ok(()));
    }

    #[test]
    fn what_overlaps_is_named_with_both_subnets() {
        let (red, blue) = (environment(1, "red", "10.0.0.0/16"), environment(2, "blue", "10.0.1.0/24"));
        let expected = "10.0.0.0/16 of red overlaps 10.0.1.0/24 of blue, so an address in both would mean two machines";
        assert_eq!(said(&red, &blue), expected);
        assert_eq!(said(&red, &red), "red can't be joined with itself");
    }

    #[test]
    fn a_third_one_that_overlaps_is_in_the_way_from_either_side() {
        let (mut red, blue) = (environment(1, "red", "10.0.0.0/24"), environment(2, "blue", "10.0.1.0/24"));
        red.joined.push(environment(3, "green", "10.0.1.0/25").as_joined());
        for (one, other) in [(&red, &blue), (&blue, &red)] {
            let expected = "red is joined with green already, and 10.0.1.0/25 of green overlaps 10.0.1.0/24 of blue";
            assert_eq!(said(one, other), expected);
        }
    }

    #[test]
    fn it_does_not_matter_where_they_are() {
        let (mut red, mut blue) = (environment(1, "red", "10.0.0.0/24"), environment(2, "blue", "10.0.1.0/24"));
        red.host = Some("a".parse().unwrap());
        blue.host = Some("b".parse().unwrap());
        let elsewhere = [("web".parse().unwrap(), "c".parse().unwrap())].into();
        blue.stretch = Some(wardian_model::environment::Stretch { elsewhere });
        assert_eq!(may_join(&red, &blue), Ok(()));
        assert_eq!(blue.as_joined().hosts, ["b", "c"].map(|name| name.parse().unwrap()).into());
    }

    #[test]
    fn what_has_no_envelope_is_joined_on_one_host_only() {
        let (mut red, mut blue) = (environment(1, "red", "10.0.0.0/24"), environment(2, "blue", "10.0.1.0/24"));
        (red.host, blue.host) = (Some("b".parse().unwrap()), Some("a".parse().unwrap()));
        for (red_by, blue_by) in
            [(Encapsulation::IpRewrite, None), (Encapsulation::Vxlan, Some(Encapsulation::IpRewrite))]
        {
            red.spec.network.encapsulation = Some(red_by);
            blue.spec.network.encapsulation = blue_by;
            let expected = "red and blue lie on a and b, and with `encapsulation: ip-rewrite` only environments on one host \
                            can be joined";
            assert_eq!(said(&red, &blue), expected);
        }
        blue.host = red.host.clone();
        assert_eq!(may_join(&red, &blue), Ok(()));
    }

    #[test]
    fn what_is_not_built_is_refused_with_the_reason() {
        let red = environment(1, "red", "10.0.0.0/24");
        let blue = || environment(2, "blue", "10.0.1.0/24");
        for mode in [IsolationMode::DualInterface, IsolationMode::None] {
            let mut blue = blue();
            blue.spec.isolation.mode = mode;
            assert!(said(&red, &blue).contains(&format!("blue has mode {mode}")));
        }
        let mut full = red;
        full.joined = (10..26).map(|n| environment(n, "e", &format!("10.{n}.0.0/24")).as_joined()).collect();
        assert!(said(&full, &blue()).contains("joined with 16 environments already"));
    }
}
