//! Records change one by one, and it comes to the same as all of them together.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fabric::{compile, subnets};

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];
const NAMES: [&str; 4] = ["one", "three", "two", "zero"];

fn prefix() -> Ipv4Net {
    "10.86.0.0/16".parse().unwrap()
}

fn host(name: &str, number: u8) -> HostRecord {
    let (provider, lab) = (format!("172.16.0.{number}"), format!("10.86.255.{number}"));
    serde_json::from_value(json!({
        "name": name, "instance": name, "provider": provider, "peer": format!("{provider}:7643"), "lab-address": lab,
        "memory-mib": 1024, "cores": 2, "version": "1", "qemu": "10", "encapsulations": ["nvgre"],
        "joined": "2026-01-01T00:00:00Z",
    }))
    .unwrap()
}

/// Everything but the name may be another's too: records are compiled as they are.
fn environment() -> impl Strategy<Value = EnvironmentRecord> {
    let machines = prop::collection::vec((1u8..6, 1u8..6, prop::option::of(0usize..4)), 0..4);
    let encapsulation = prop::option::of(prop::sample::select(&Encapsulation::ALL[..]));
    let place = (0usize..4, 0u16..5, prop::option::weighted(0.8, 0usize..4), 0usize..3, any::<bool>(), encapsulation);
    let joined = prop::option::of(prop::sample::subsequence(HOSTS.to_vec(), 0..4));
    (place, machines, joined).prop_map(|((name, slot, home, mode, is_stretched, encapsulation), machines, joined)| {
        let mode = ["two-way-nat", "dual-interface", "none"][mode];
        let (mut identities, mut elsewhere) = (serde_json::Map::new(), serde_json::Map::new());
        let (mut specs, has_several) = (serde_json::Map::new(), slot % 2 == 0);
        for (number, (address, mac, host)) in machines.into_iter().enumerate() {
            let mut identity = json!({
                "inside": {
                    "hostname": format!("m{number}"), "address": format!("192.168.23.{address}"),
                    "mac": format!("02:57:00:00:00:0{mac}"), "uuid": "6f2c54f8-7f0a-4a55-a7a9-0a0f7a6e6f01",
                },
                "outside": { "address": format!("10.86.0.{address}"), "mac": format!("02:57:90:00:00:0{mac}") },
                "slot": address,
            });
            // Some have none, as those of records that are older.
            if address % 4 > 0 {
                identity["provider"] = format!("172.17.{slot}.{address}").into();
            }
            identities.insert(format!("m{number}"), identity);
            let subnet = if has_several && mac % 2 == 0 { json!({ "subnet": "back" }) } else { json!({}) };
            specs.insert(format!("m{number}"), subnet);
            specs[&format!("m{number}")]["image"] = "micro".into();
            if let Some(host) = host {
                elsewhere.insert(format!("m{number}"), HOSTS[host].into());
            }
        }
        let mut record = json!({
            "id": "00000000000000aa", "name": NAMES[name], "created": "2026-01-01T00:00:00Z",
            "spec": { "name": NAMES[name], "machines": specs, "isolation": { "mode": mode, "fence": "open" } },
            "origin": { "from": "file" }, "edge": { "slot": slot, "mac": format!("02:57:80:00:00:0{slot}") },
            "identities": identities, "fence": "open", "desired": "running", "run": 1, "phase": { "is": "pending" },
        });
        if has_several {
            record["spec"]["network"]["subnets"] = json!({ "front": "192.168.23.0/24", "back": "192.168.24.0/24" });
        }
        if let Some(encapsulation) = encapsulation {
            record["spec"]["network"]["encapsulation"] = encapsulation.to_string().into();
        }
        if let Some(home) = home {
            record["host"] = HOSTS[home].into();
        }
        if is_stretched {
            record["stretch"] = json!({ "elsewhere": elsewhere });
        }
        if let Some(hosts) = joined {
            let joined = json!({
                "id": "00000000000000bb", "name": "other", "slot": 9, "subnets": ["192.168.30.0/24"], "hosts": hosts,
            });
            record["joined"] = json!([joined]);
        }
        serde_json::from_value(record).unwrap()
    })
}

#[derive(Debug, Clone)]
enum Step {
    Put(Box<EnvironmentRecord>),
    Delete(usize),
    Host(usize, u8),
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => environment().prop_map(|record| Step::Put(Box::new(record))),
        2 => (0usize..4).prop_map(Step::Delete),
        2 => (0usize..4, 1u8..6).prop_map(|(host, number)| Step::Host(host, number)),
        1 => (0usize..4).prop_map(Step::Leave),
    ]
}

/// What is in the store.
#[derive(Default)]
struct Store {
    hosts: BTreeMap<HostName, HostRecord>,
    environments: BTreeMap<EnvironmentName, EnvironmentRecord>,
}

impl Store {
    fn compiled(&self, here: Ipv4Addr) -> HostPolicy {
        let (hosts, environments): (Vec<_>, Vec<_>) =
            (self.hosts.values().cloned().collect(), self.environments.values().cloned().collect());
        compile(here, &subnets(prefix(), Encapsulation::Nvgre, &hosts, &environments))
    }

    fn policy(&self, here: Ipv4Addr) -> Policy {
        Policy::new(here, prefix(), Encapsulation::Nvgre, self.hosts.values(), self.environments.values())
    }
}

proptest! {
    #[test]
    fn one_record_after_another_leads_to_what_all_of_them_are_compiled_to(steps in prop::collection::vec(step(), 0..24)) {
        let here = Ipv4Addr::new(172, 16, 0, 1);
        let mut store = Store::default();
        store.hosts.insert("a".parse().unwrap(), host("a", 1));
        store.hosts.insert("b".parse().unwrap(), host("b", 2));
        let mut policy = store.policy(here);
        for step in steps {
            let before = store.compiled(here);
            let changes = match step {
                Step::Put(record) => {
                    store.environments.insert(record.name.clone(), (*record).clone());
                    policy.environment(&record)
                }
                Step::Delete(name) => {
                    let name = NAMES[name].parse().unwrap();
                    store.environments.remove(&name);
                    policy.without_environment(&name)
                }
                Step::Host(name, number) => {
                    let record = host(HOSTS[name], number);
                    store.hosts.insert(record.name.clone(), record.clone());
                    policy.host(&record)
                }
                Step::Leave(name) => {
                    let name = HOSTS[name].parse().unwrap();
                    store.hosts.remove(&name);
                    policy.without_host(&name)
                }
            };
            let after = store.compiled(here);
            prop_assert_eq!(&changes, &difference(&before, &after));
            prop_assert_eq!(policy.whole(), after.clone());
            let mut made = before;
            changes.iter().for_each(|change| made.make(change));
            prop_assert_eq!(made, after);
        }
        prop_assert_eq!(store.policy(here).whole(), policy.whole());
    }
}
