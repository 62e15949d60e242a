//! No name twice, and what a name server knows in the end is what shall be, whoever was killed on the way.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use serde_json::json;
use wardian_model::mac::MacAddress;

use super::*;

fn config() -> AliasConfig {
    AliasConfig::new(Domain::new("lab.example").unwrap()).unwrap()
}

/// An environment whose machines are `m0`, `m1`, …, at 10.86.0.0 + `places`.
fn environment(id: u64, name: &str, places: &[u16], desired: &str) -> EnvironmentRecord {
    let machines: serde_json::Map<_, _> =
        (0..places.len()).map(|i| (format!("m{i}"), json!({ "image": "micro" }))).collect();
    let identities: serde_json::Map<_, _> = places.iter().enumerate().map(|(i, place)| {
        let identity = json!({
            "inside": {
                "hostname": format!("host-{i}"), "address": Ipv4Addr::new(192, 168, 23, i as u8 + 1),
                "mac": MacAddress::local(i as u32 + 1), "uuid": "6f3c1f0e-0000-4000-8000-000000000000",
            },
            "outside": { "address": Ipv4Addr::from_bits(0x0a56_0000 + u32::from(*place)), "mac": MacAddress::local(0x8000_0001) },
            "slot": place,
        });
        (format!("m{i}"), identity)
    }).collect();
    serde_json::from_value(json!({
        "id": format!("{id:016x}"), "name": name, "created": "2026-01-01T00:00:00Z",
        "spec": { "name": "lab", "machines": machines, "network": {} }, "origin": { "from": "file" },
        "edge": { "slot": 1, "mac": MacAddress::local(0x8000_0001) }, "identities": identities,
        "fence": "out-only", "desired": desired, "run": 0, "phase": { "is": "pending" },
    }))
    .unwrap()
}

fn texts(records: &BTreeSet<AliasRecord>) -> Vec<String> {
    let text = |r: &AliasRecord| match &r.data {
        AliasData::Address(address) => format!("{} {} {address}", r.name, r.ttl_seconds),
        AliasData::Pointer(name) => format!("{} {} -> {name}", r.name, r.ttl_seconds),
    };
    records.iter().map(text).collect()
}

#[test]
fn a_domain_controller_has_no_alias() {
    let mut store = environment(7, "store-7", &[5, 6], "running");
    store.spec.machines[0].role = Some(wardian_model::spec::Role::DomainController);
    let aliases = aliases_of(&store, &config());
    assert_eq!(aliases.iter().map(|aliases| aliases.machine.as_str()).collect::<Vec<_>>(), ["m1"]);
    assert!(!texts(&records([&store], &config())).join("\n").contains("5.0.86.10"));
}

#[test]
fn a_machine_has_a_name_an_opaque_name_and_its_address_has_the_first() {
    let store = environment(7, "store-7", &[5, 6], "running");
    let aliases = aliases_of(&store, &config());
    assert_eq!(aliases[1].stable.as_str(), "m1.store-7.lab.example");
    assert_eq!(aliases[1].address, IpAddr::from([10, 86, 0, 6]));
    assert_ne!(aliases[0].opaque, aliases[1].opaque);
    // Part of what is published: it must not change from one version to the next.
    assert_eq!(aliases[0].opaque.as_str(), "m-9afd9171fb66f705.lab.example");
    assert_eq!(
        texts(&records([&store], &config())),
        [
            "5.0.86.10.in-addr.arpa 5 -> m0.store-7.lab.example",
            "6.0.86.10.in-addr.arpa 5 -> m1.store-7.lab.example",
            &format!("{} 5 10.86.0.6", aliases[1].opaque),
            &format!("{} 5 10.86.0.5", aliases[0].opaque),
            "m0.store-7.lab.example 5 10.86.0.5",
            "m1.store-7.lab.example 5 10.86.0.6",
        ]
    );
}

#[test]
fn an_environment_that_is_being_removed_has_no_names_and_a_stopped_one_keeps_them() {
    assert!(aliases_of(&environment(7, "store", &[5], "removed"), &config()).is_empty());
    assert_eq!(records([&environment(7, "store", &[5], "stopped")], &config()).len(), 3);
}

#[test]
fn another_life_of_a_name_has_the_same_stable_and_another_opaque_alias() {
    let [one, two] = [7, 8].map(|id| aliases_of(&environment(id, "store", &[5], "running"), &config()).remove(0));
    assert_eq!(one.stable, two.stable);
    assert_ne!(one.opaque, two.opaque);
}

#[test]
fn a_zone_without_room_for_two_labels_and_a_long_memory_are_refused() {
    let zone =
        |length: usize| Domain::new(format!("{}.example", vec!["a"; (length - 8).div_ceil(2)].join("."))).unwrap();
    assert_eq!(zone(125).as_str().len(), 125);
    let config = AliasConfig::new(zone(125)).unwrap();
    let long = "x".repeat(63);
    let mut widest = environment(7, &long, &[5], "running");
    let (_, identity) = widest.identities.pop().unwrap();
    widest.identities.insert(MachineName::new(long).unwrap(), identity);
    assert_eq!(aliases_of(&widest, &config)[0].stable.as_str().len(), 253);
    assert!(matches!(AliasConfig::new(zone(127)), Err(AliasConfigError::ZoneTooLong { length: 127, .. })));
    assert!(matches!(config.with_ttl(3601), Err(AliasConfigError::Ttl { ttl_seconds: 3601 })));
}

#[test]
fn published_records_read_back_from_json() {
    let published = Published::settled(records([&environment(7, "store", &[5], "running")], &config()));
    let text = serde_json::to_string(&published).unwrap();
    assert!(text.contains(r#""ttl-seconds":5"#), "{text}");
    assert_eq!(serde_json::from_str::<Published>(&text).unwrap(), published);
}

#[test]
fn what_is_acknowledged_is_not_told_again_and_what_is_not_is() {
    let desired = records([&environment(7, "store", &[5], "running")], &config());
    let begun = Published::default().begin(&desired);
    assert_eq!(plan_updates(&desired, [&begun]).add.len(), 3);
    assert!(plan_updates(&desired, [&Published::settled(desired.clone())]).is_empty());
    let removal = plan_updates(&BTreeSet::new(), [&Published::settled(desired.clone())]);
    assert_eq!((removal.add.len(), removal.remove.len()), (0, 3));
    let slower = records([&environment(7, "store", &[5], "running")], &config().with_ttl(30).unwrap());
    let change = plan_updates(&slower, [&Published::settled(desired)]);
    assert_eq!((change.add.len(), change.remove.len()), (3, 0));
}

proptest! {
    #[test]
    fn no_name_is_there_twice_and_every_address_has_one_name(
        environments in prop::collection::vec((0u64..6, 0u8..4, prop::collection::vec(1u16..20, 0..4), any::<bool>()), 0..8),
    ) {
        let environments: Vec<_> = environments
            .into_iter()
            .map(|(id, name, places, gone)| {
                environment(id, &format!("e{name}"), &places, if gone { "removed" } else { "running" })
            })
            .collect();
        let all = records(&environments, &config());
        let keys: BTreeSet<_> = all.iter().map(AliasRecord::key).collect();
        prop_assert_eq!(keys.len(), all.len());
        let living = environments.iter().filter(|e| e.desired != Desired::Removed);
        let addresses: BTreeSet<_> = living.flat_map(|e| e.identities.values().map(|i| i.outside.address)).collect();
        let pointers = all.iter().filter(|r| r.data.kind() == AliasKind::Ptr).count();
        prop_assert_eq!(pointers, addresses.len());
    }
}

/// A name server that remembers, and a store: all that survives a crash.
#[derive(Debug, Default)]
struct World {
    server: BTreeMap<(Domain, AliasKind), BTreeSet<AliasData>>,
    store: BTreeMap<u64, Published>,
    /// Living environments: their places and time to live.
    living: BTreeMap<u64, (String, Vec<u16>, u32)>,
    next_id: u64,
}

#[derive(Debug, Clone)]
enum Event {
    /// A new environment of a name, at a place, if both are free.
    Up(u8, u16),
    /// The oldest ends.
    Gone,
    /// From now on another time to live.
    Ttl(u32),
    /// The publisher's turn, killed after so many steps.
    Turn(usize),
}

impl World {
    fn desired_of(&self, id: u64) -> BTreeSet<AliasRecord> {
        let Some((name, places, ttl)) = self.living.get(&id) else { return BTreeSet::new() };
        records([&environment(id, name, places, "running")], &config().with_ttl(*ttl).unwrap())
    }

    fn desired(&self) -> BTreeSet<AliasRecord> {
        self.living.keys().flat_map(|id| self.desired_of(*id)).collect()
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Up(name, place) => {
                let name = format!("e{name}");
                let free = self.living.values().all(|(n, places, _)| *n != name && !places.contains(place));
                if free {
                    self.next_id += 1;
                    self.living.insert(self.next_id, (name, vec![*place], 5));
                }
            }
            Event::Gone => drop(self.living.pop_first()),
            Event::Ttl(ttl) => self.living.values_mut().for_each(|e| e.2 = *ttl),
            Event::Turn(steps) => drop(self.turn(*steps)),
        }
    }

    /// One turn of the publisher as it is to be wired; none if it was killed.
    fn turn(&mut self, mut steps: usize) -> Option<Updates> {
        let mut step = || {
            steps = steps.checked_sub(1)?;
            Some(())
        };
        let desired = self.desired();
        let updates = plan_updates(&desired, self.store.values());
        let ids: BTreeSet<u64> = self.living.keys().chain(self.store.keys()).copied().collect();
        let changed = |id: &u64| self.store.get(id) != Some(&Published::settled(self.desired_of(*id)));
        let changed: Vec<_> = ids.into_iter().filter(changed).collect();
        for id in &changed {
            step()?;
            let begun = self.store.get(id).cloned().unwrap_or_default().begin(&self.desired_of(*id));
            self.store.insert(*id, begun);
        }
        for record in &updates.remove {
            step()?;
            let key = (record.name.clone(), record.data.kind());
            let left = self.server.get_mut(&key).map(|set| {
                set.remove(&record.data);
                set.is_empty()
            });
            if left == Some(true) {
                self.server.remove(&key);
            }
        }
        for record in &updates.add {
            step()?;
            self.server.insert((record.name.clone(), record.data.kind()), [record.data.clone()].into());
        }
        for id in &changed {
            step()?;
            let desired = self.desired_of(*id);
            if desired.is_empty() {
                self.store.remove(id);
            } else {
                self.store.insert(*id, Published::settled(desired));
            }
        }
        Some(updates)
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0u8..3, 1u16..4).prop_map(|(name, place)| Event::Up(name, place)),
        3 => Just(Event::Gone),
        1 => (5u32..8).prop_map(Event::Ttl),
        6 => (0usize..24).prop_map(Event::Turn),
    ]
}

proptest! {
    #[test]
    fn whoever_is_killed_when_the_server_knows_in_the_end_what_shall_be(events in prop::collection::vec(event(), 0..40)) {
        let mut world = World::default();
        for event in &events {
            world.happen(event);
        }
        world.turn(usize::MAX);
        let known: BTreeSet<_> = world.server.iter().flat_map(|((n, _), d)| d.iter().map(|d| (n.clone(), d.clone()))).collect();
        let wanted: BTreeSet<_> = world.desired().into_iter().map(|r| (r.name, r.data)).collect();
        prop_assert_eq!(known, wanted);
        prop_assert!(world.store.values().all(|p| p.settled && !p.is_empty()));
        prop_assert!(world.turn(usize::MAX).unwrap().is_empty());
    }
}
