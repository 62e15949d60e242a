//! What environments would collide in, if they were not isolated from one another: names, addresses, subnets,
//! hardware addresses, system UUIDs; and where isolation can't help, because something outside sees them all.
//!
//! That they collide is what clones are for, so nothing here is an error. It says what would happen without the
//! isolation, and since when; how isolation is made is for [`crate::network`].

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use wardian_model::{
    Timestamp,
    environment::{EnvironmentRecord, Origin},
    name::{EnvironmentName, MachineName, SnapshotName},
    snapshot::SnapshotRecord,
    spec::Fence,
};

/// What would collide.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What they have in common, each thing once, by kind and value.
    pub clashes: Vec<Clash>,
    /// The environments that take part in any, by name.
    pub contenders: Vec<Contender>,
    /// Environments that isolation can't keep apart for somebody outside: sets of names, none within another.
    pub seen_outside: Vec<BTreeSet<EnvironmentName>>,
    /// Environments that collide indeed: each shares something with another, and none of them is isolated.
    pub colliding: BTreeSet<EnvironmentName>,
    /// What several environments say they use outside, and may reach.
    pub used_outside: Vec<Dependency>,
}

/// Something outside that several environments use. Isolation can't keep them apart there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// What, in the words of the first of them.
    pub what: String,
    /// Who uses it, by name; at least two environments, none of them sealed.
    pub users: Vec<Party>,
}

/// One thing that several environments have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// What it is.
    pub kind: Kind,
    /// The thing itself; of overlapping subnets, the widest.
    pub value: String,
    /// Who has it, by name; at least two environments.
    pub between: Vec<Party>,
}

/// What can collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A computer name.
    Name,
    /// An address inside.
    Address,
    /// A subnet inside.
    Subnet,
    /// A hardware address inside.
    Mac,
    /// An SMBIOS system UUID.
    Uuid,
}

/// One that has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Party {
    /// The environment.
    pub environment: EnvironmentName,
    /// The machine; nothing for what the environment itself has, such as its gateway's address.
    pub machine: Option<MachineName>,
    /// What it has there: the clash's value, or its own subnet where that is a part of the clash's.
    pub value: String,
}

/// An environment that takes part, and where its inside comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contender {
    /// Its name.
    pub environment: EnvironmentName,
    /// Since when it has its inside: when it was made, or last taken back to a snapshot.
    pub since: Timestamp,
    /// The environment it was cloned from, and the snapshot of it where there was one.
    pub clone_of: Option<(EnvironmentName, Option<SnapshotName>)>,
    /// The snapshot it was last taken back to.
    pub restored: Option<Restored>,
}

/// A snapshot that an environment was taken back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Its name.
    pub snapshot: SnapshotName,
    /// The environment it was taken of, and when, where it is still there.
    pub taken: Option<(EnvironmentName, Timestamp)>,
}

/// What among `environments` would collide. With `of`, only what that one takes part in.
#[must_use]
pub fn conflicts(
    environments: &[&EnvironmentRecord],
    snapshots: &[SnapshotRecord],
    of: Option<&EnvironmentName>,
) -> Report {
    let subnets: BTreeSet<(&EnvironmentName, Ipv4Net)> = environments
        .iter()
        .flat_map(|e| e.spec.network.subnets.iter().map(|subnet| (&e.name, subnet.net.trunc())))
        .collect();
    let mut clashes: Vec<Clash> = shared(environments)
        .into_iter()
        .map(|((kind, value), between)| Clash { kind, value, between: between.into_iter().collect() })
        .chain(overlapping(&subnets))
        .collect();
    if let Some(of) = of {
        for clash in clashes.iter_mut().filter(|clash| clash.kind == Kind::Subnet) {
            // Two parts of one wide subnet don't collide with each other.
            clash.between.retain(|p| {
                let Ok(other) = p.value.parse::<Ipv4Net>() else { return true };
                subnets.iter().any(|(name, own)| *name == of && overlap(*own, other))
            });
        }
        clashes.retain(|clash| clash.between.iter().any(|party| party.environment == *of));
    }
    clashes.retain(Clash::is_one);
    clashes.sort_by(|a, b| (a.kind, &a.value).cmp(&(b.kind, &b.value)));
    let involved: BTreeSet<&EnvironmentName> =
        clashes.iter().flat_map(|clash| &clash.between).map(|party| &party.environment).collect();
    let mut contenders: Vec<Contender> = environments
        .iter()
        .filter(|environment| involved.contains(&environment.name))
        .map(|environment| contender(environment, snapshots))
        .collect();
    contenders.sort_by(|a, b| a.environment.cmp(&b.environment));
    contenders.dedup_by(|a, b| a.environment == b.environment);
    let seen_outside = seen_outside(environments, &clashes);
    let used_outside = used_outside(environments, of);
    let colliding = colliding(environments, &clashes);
    Report { clashes, contenders, seen_outside, colliding, used_outside }
}

impl Clash {
    /// Whether it is between different environments, and about a machine or a subnet: that two gateways have the same
    /// address is said by their subnets.
    fn is_one(&self) -> bool {
        let environments: BTreeSet<_> = self.between.iter().map(|party| &party.environment).collect();
        let about = self.kind == Kind::Subnet || self.between.iter().any(|party| party.machine.is_some());
        environments.len() > 1 && about
    }
}

/// Who has what, of all that is equal or not.
fn shared(environments: &[&EnvironmentRecord]) -> BTreeMap<(Kind, String), BTreeSet<Party>> {
    let mut all: BTreeMap<(Kind, String), BTreeSet<Party>> = BTreeMap::new();
    for environment in environments {
        let mut has = |kind: Kind, value: String, machine: Option<&MachineName>| {
            let party =
                Party { environment: environment.name.clone(), machine: machine.cloned(), value: value.clone() };
            all.entry((kind, value)).or_default().insert(party);
        };
        for subnet in environment.spec.network.subnets.iter() {
            has(Kind::Address, subnet.gateway().to_string(), None);
        }
        for (machine, identity) in &environment.identities {
            let inside = &identity.inside;
            has(Kind::Name, inside.hostname.to_string(), Some(machine));
            has(Kind::Address, inside.address.to_string(), Some(machine));
            has(Kind::Mac, inside.mac.to_string(), Some(machine));
            has(Kind::Uuid, inside.uuid.to_ascii_lowercase(), Some(machine));
        }
    }
    all
}

/// Subnets with those they contain: of two that overlap, one is always within the other.
fn overlapping(subnets: &BTreeSet<(&EnvironmentName, Ipv4Net)>) -> Vec<Clash> {
    let mut widest_first: Vec<_> = subnets.iter().map(|(name, subnet)| (*subnet, *name)).collect();
    widest_first.sort_by_key(|(subnet, name)| (subnet.network(), subnet.prefix_len(), *name));
    let mut found: Vec<(Ipv4Net, Clash)> = Vec::new();
    for (subnet, name) in widest_first {
        let party = Party { environment: name.clone(), machine: None, value: subnet.to_string() };
        // In the order of addresses, what contains this one can only be the last.
        match found.last_mut() {
            Some((widest, clash)) if widest.contains(&subnet) => clash.between.push(party),
            _ => found.push((subnet, Clash { kind: Kind::Subnet, value: subnet.to_string(), between: vec![party] })),
        }
    }
    let mut clashes: Vec<Clash> = found.into_iter().map(|(_, clash)| clash).collect();
    clashes.iter_mut().for_each(|clash| clash.between.sort());
    clashes
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

fn contender(environment: &EnvironmentRecord, snapshots: &[SnapshotRecord]) -> Contender {
    let clone_of = match &environment.origin {
        Origin::File => None,
        Origin::Clone { name, snapshot, .. } => Some((name.clone(), snapshot.clone())),
    };
    let restored = environment.restore.as_ref().map(|restore| Restored {
        snapshot: restore.snapshot.clone(),
        taken: snapshots
            .iter()
            .find(|snapshot| snapshot.cut == restore.cut)
            .map(|snapshot| (snapshot.environment.clone(), snapshot.created)),
    });
    let since = environment.restore.as_ref().and_then(|restore| restore.at).unwrap_or(environment.created);
    Contender { environment: environment.name.clone(), since, clone_of, restored }
}

/// Environments that are called the same and that may both reach the outside: a directory or a licence server that both
/// use takes them for one.
fn seen_outside(environments: &[&EnvironmentRecord], clashes: &[Clash]) -> Vec<BTreeSet<EnvironmentName>> {
    let sealed: BTreeSet<&EnvironmentName> =
        environments.iter().filter(|e| e.fence == Fence::Sealed).map(|e| &e.name).collect();
    let sets: BTreeSet<BTreeSet<EnvironmentName>> = clashes
        .iter()
        .filter(|clash| matches!(clash.kind, Kind::Name | Kind::Uuid))
        .map(|clash| clash.between.iter().map(|p| &p.environment).filter(|n| !sealed.contains(n)).cloned().collect())
        .filter(|set: &BTreeSet<EnvironmentName>| set.len() > 1)
        .collect();
    sets.iter().filter(|set| !sets.iter().any(|other| *set != other && set.is_subset(other))).cloned().collect()
}

/// Those without isolation, of which nothing keeps apart what they share.
fn colliding(environments: &[&EnvironmentRecord], clashes: &[Clash]) -> BTreeSet<EnvironmentName> {
    let bare: BTreeSet<&EnvironmentName> =
        environments.iter().filter(|e| !e.spec.is_isolated()).map(|e| &e.name).collect();
    let sets = clashes.iter().map(|clash| {
        let names = clash.between.iter().map(|party| &party.environment).filter(|name| bare.contains(name));
        names.cloned().collect::<BTreeSet<_>>()
    });
    sets.filter(|set| set.len() > 1).flatten().collect()
}

/// What more than one environment uses outside, `of` among them. Words are compared without case and outer spaces.
fn used_outside(environments: &[&EnvironmentRecord], of: Option<&EnvironmentName>) -> Vec<Dependency> {
    let mut all: BTreeMap<String, BTreeSet<Party>> = BTreeMap::new();
    for environment in environments.iter().filter(|environment| environment.fence != Fence::Sealed) {
        for (machine, what) in environment.spec.dependencies() {
            let party = Party {
                environment: environment.name.clone(),
                machine: machine.cloned(),
                value: what.trim().to_owned(),
            };
            all.entry(party.value.to_lowercase()).or_default().insert(party);
        }
    }
    all.into_values()
        .filter(|users| {
            let environments: BTreeSet<_> = users.iter().map(|party| &party.environment).collect();
            environments.len() > 1 && of.is_none_or(|of| environments.contains(of))
        })
        .filter_map(|users| Some(Dependency { what: users.first()?.value.clone(), users: users.into_iter().collect() }))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A machine: what its hostname, address, MAC and UUID are made from.
    type Machine = (u8, u8, u8, u8);

    fn environment(name: &str, subnet: &str, fence: &str, machines: &[Machine]) -> EnvironmentRecord {
        let (mut specs, mut identities) = (serde_json::Map::new(), serde_json::Map::new());
        for (n, (hostname, address, mac, uuid)) in machines.iter().enumerate() {
            specs.insert(format!("m{n}"), json!({ "image": "micro" }));
            let identity = json!({
                "inside": {
                    "hostname": format!("host-{hostname}"), "address": format!("10.1.0.{address}"),
                    "mac": format!("02:57:00:00:00:{mac:02x}"),
                    "uuid": format!("6F3C1F0E-0000-4000-8000-0000000000{uuid:02x}"),
                },
                "outside": { "address": "10.86.0.1", "mac": "02:57:00:00:01:00" },
                "slot": 1,
            });
            identities.insert(format!("m{n}"), identity);
        }
        serde_json::from_value(json!({
            "id": "00000000000000aa", "name": name, "created": "2026-01-01T00:00:00Z",
            "spec": { "name": name, "machines": specs, "network": { "subnet": subnet } },
            "origin": { "from": "file" }, "edge": { "slot": 7, "mac": "02:57:00:00:01:00" },
            "identities": identities, "fence": fence,
            "desired": "running", "run": 0, "phase": { "is": "running" },
        }))
        .unwrap()
    }

    fn lines(report: &Report) -> Vec<String> {
        let who = |party: &Party| match &party.machine {
            Some(machine) => format!("{}/{machine}", party.environment),
            None => party.environment.to_string(),
        };
        let line = |clash: &Clash| {
            let between = clash.between.iter().map(who).collect::<Vec<_>>().join(" ");
            format!("{:?} {}: {between}", clash.kind, clash.value)
        };
        report.clashes.iter().map(line).collect()
    }

    fn subnets_of(report: &Report) -> Vec<String> {
        lines(report).into_iter().filter(|line| line.starts_with("Subnet")).collect()
    }

    #[test]
    fn a_clone_collides_with_its_source_in_everything() {
        let store = environment("store", "10.1.0.0/24", "out-only", &[(1, 1, 1, 1)]);
        let mut copy = store.clone();
        copy.name = "copy".parse().unwrap();
        let report = conflicts(&[&store, &copy], &[], None);
        assert_eq!(
            lines(&report),
            [
                "Name host-1: copy/m0 store/m0",
                "Address 10.1.0.1: copy/m0 store/m0",
                "Subnet 10.1.0.0/24: copy store",
                "Mac 02:57:00:00:00:01: copy/m0 store/m0",
                "Uuid 6f3c1f0e-0000-4000-8000-000000000001: copy/m0 store/m0",
            ]
        );
        assert_eq!(report.seen_outside, [["copy".parse().unwrap(), "store".parse().unwrap()].into()]);
    }

    #[test]
    fn sealed_environments_are_seen_by_nobody() {
        let one = environment("one", "10.1.0.0/24", "sealed", &[(1, 1, 1, 1)]);
        let two = environment("two", "10.2.0.0/24", "open", &[(1, 2, 2, 2)]);
        let report = conflicts(&[&one, &two], &[], None);
        assert_eq!(lines(&report), ["Name host-1: one/m0 two/m0"]);
        assert!(report.seen_outside.is_empty());
    }

    #[test]
    fn those_without_isolation_collide_indeed() {
        let bare = |name: &str| {
            let mut environment = environment(name, "10.1.0.0/24", "open", &[(1, 1, 1, 1)]);
            environment.spec.isolation.mode = wardian_model::spec::IsolationMode::None;
            environment
        };
        let (one, two, kept) = (bare("one"), bare("two"), environment("kept", "10.1.0.0/24", "open", &[(1, 1, 1, 1)]));
        let report = conflicts(&[&one, &two, &kept], &[], None);
        assert_eq!(report.colliding, ["one".parse().unwrap(), "two".parse().unwrap()].into());
        assert!(conflicts(&[&one, &kept], &[], None).colliding.is_empty());
    }

    #[test]
    fn what_two_environments_use_outside_is_told_unless_one_is_sealed() {
        let using = |name: &str, subnet: &str, fence: &str, what: &str| {
            let mut environment = environment(name, subnet, fence, &[]);
            environment.spec.depends_outside = vec![what.to_owned()];
            environment
        };
        let one = using("one", "10.1.0.0/24", "open", "the directory ad.corp");
        let two = using("two", "10.2.0.0/24", "out-only", " The directory AD.corp");
        let three = using("three", "10.3.0.0/24", "sealed", "the directory ad.corp");
        let report = conflicts(&[&one, &two, &three], &[], None);
        let [dependency] = report.used_outside.as_slice() else { panic!("{report:?}") };
        let users: Vec<_> = dependency.users.iter().map(|user| user.environment.as_str()).collect();
        assert_eq!((dependency.what.as_str(), users), ("the directory ad.corp", vec!["one", "two"]));
        assert!(conflicts(&[&one, &two, &three], &[], Some(&three.name)).used_outside.is_empty());
        assert!(conflicts(&[&one, &three], &[], None).used_outside.is_empty());
    }

    #[test]
    fn subnets_collide_with_those_they_contain_and_not_with_their_neighbours() {
        let of = |name: &str, subnet: &str| environment(name, subnet, "open", &[]);
        let all = [of("wide", "10.0.0.0/8"), of("a", "10.1.0.0/16"), of("b", "10.2.0.0/16"), of("c", "11.0.0.0/16")];
        let all: Vec<&EnvironmentRecord> = all.iter().collect();
        assert_eq!(subnets_of(&conflicts(&all, &[], None)), ["Subnet 10.0.0.0/8: a b wide"]);
        let of_a = conflicts(&all, &[], Some(&"a".parse().unwrap()));
        assert_eq!(subnets_of(&of_a), ["Subnet 10.0.0.0/8: a wide"]);
        assert!(conflicts(&all, &[], Some(&"c".parse().unwrap())).clashes.is_empty());
    }

    #[test]
    fn the_gateway_of_one_may_be_a_machine_of_another() {
        let small = environment("small", "10.1.0.0/29", "open", &[(1, 1, 1, 1)]);
        let large = environment("large", "10.1.0.0/24", "open", &[(2, 6, 2, 2)]);
        let report = conflicts(&[&small, &large], &[], None);
        assert_eq!(lines(&report), ["Address 10.1.0.6: large/m0 small", "Subnet 10.1.0.0/24: large small"]);
    }

    #[test]
    fn whoever_was_cloned_or_restored_says_from_where_and_since_when() {
        let store = environment("store", "10.1.0.0/24", "open", &[(1, 1, 1, 1)]);
        let mut copy = store.clone();
        copy.name = "copy".parse().unwrap();
        copy.created = "2026-02-01T00:00:00Z".parse().unwrap();
        copy.origin = serde_json::from_value(json!({
            "from": "clone", "name": "store", "id": "00000000000000aa", "snapshot": "clean", "cut": "00000000000000cc",
        }))
        .unwrap();
        copy.restore = Some(
            serde_json::from_value(json!({ "number": 2, "cut": "00000000000000cd", "snapshot": "later" })).unwrap(),
        );
        let snapshot: SnapshotRecord = serde_json::from_value(json!({
            "id": "00000000000000ee", "name": "later", "environment": "store", "environment-id": "00000000000000aa",
            "created": "2026-01-05T00:00:00Z", "cut": "00000000000000cd", "spec": store.spec, "inside": {},
            "phase": { "is": "saving" },
        }))
        .unwrap();
        let taken = (snapshot.environment.clone(), snapshot.created);
        let report = conflicts(&[&store, &copy], &[snapshot], None);
        assert_eq!(
            report.contenders[0],
            Contender {
                environment: "copy".parse().unwrap(),
                since: copy.created,
                clone_of: Some(("store".parse().unwrap(), Some("clean".parse().unwrap()))),
                restored: Some(Restored { snapshot: "later".parse().unwrap(), taken: Some(taken) }),
            }
        );
        assert_eq!((&report.contenders[1].clone_of, &report.contenders[1].restored), (&None, &None));
    }

    fn any_environment(name: &'static str) -> impl Strategy<Value = EnvironmentRecord> {
        let subnet = prop::sample::select(vec!["10.1.0.0/24", "10.1.0.0/16", "10.1.0.128/25", "10.2.0.0/24"]);
        let fence = prop::sample::select(vec!["open", "out-only", "sealed"]);
        let machine = (0..4u8, 1..5u8, 0..4u8, 0..4u8);
        (subnet, fence, prop::collection::vec(machine, 0..4))
            .prop_map(move |(subnet, fence, machines)| environment(name, subnet, fence, &machines))
    }

    proptest! {
        #[test]
        fn conflicts_are_symmetric(one in any_environment("one"), two in any_environment("two")) {
            let report = conflicts(&[&one, &two], &[], None);
            prop_assert_eq!(&report, &conflicts(&[&two, &one], &[], None));
            // Asked from either side, of two, it is the same.
            for name in [&one.name, &two.name] {
                prop_assert_eq!(&report, &conflicts(&[&one, &two], &[], Some(name)));
            }
        }

        #[test]
        fn an_environment_alone_has_no_conflicts(one in any_environment("one")) {
            prop_assert_eq!(conflicts(&[&one], &[], None), Report::default());
            prop_assert_eq!(conflicts(&[&one], &[], Some(&one.name)), Report::default());
        }

        #[test]
        fn every_pair_with_something_in_common_is_found_and_no_other(
            all in (any_environment("one"), any_environment("two"), any_environment("three")),
        ) {
            let all = [&all.0, &all.1, &all.2];
            let report = conflicts(&all, &[], None);
            for clash in &report.clashes {
                let environments: BTreeSet<_> = clash.between.iter().map(|p| &p.environment).collect();
                prop_assert!(environments.len() > 1, "{:?}", clash);
            }
            let has = |kind: Kind, one: &EnvironmentName, other: &EnvironmentName| {
                report.clashes.iter().filter(|c| c.kind == kind).any(|c| {
                    let parties = |name: &EnvironmentName| c.between.iter().any(|p| p.environment == *name && p.machine.is_some());
                    parties(one) && parties(other)
                })
            };
            for (one, other) in [(all[0], all[1]), (all[1], all[2]), (all[2], all[0])] {
                let common = |value: fn(&wardian_model::identity::InsideIdentity) -> String| {
                    let theirs: BTreeSet<_> = other.identities.values().map(|i| value(&i.inside)).collect();
                    one.identities.values().any(|i| theirs.contains(&value(&i.inside)))
                };
                prop_assert_eq!(has(Kind::Name, &one.name, &other.name), common(|i| i.hostname.to_string()));
                prop_assert_eq!(has(Kind::Address, &one.name, &other.name), common(|i| i.address.to_string()));
                prop_assert_eq!(has(Kind::Mac, &one.name, &other.name), common(|i| i.mac.to_string()));
                prop_assert_eq!(has(Kind::Uuid, &one.name, &other.name), common(|i| i.uuid.clone()));
            }
        }
    }
}
