//! What it takes to know where 100,000 machines are: to find that from all records, and to follow one record that
//! changes, from its bytes to the kernel's tables and the lab bridge. Prints a line for each, its name and the median
//! in ms; of the second, ms of the processor. `cargo xtask bench` runs it; it needs root, and touches nothing outside
//! of namespaces it makes.
#![allow(missing_docs, unused_crate_dependencies)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use common::cluster::{Cluster, wait};
use nix::time::{ClockId, clock_gettime};
use serde_json::json;
use wardian_model::{cluster::HostRecord, environment::EnvironmentRecord};
use wardian_plan::fabric::{Encapsulation, HostPolicy, Policy};

const HOSTS: usize = 100;
/// As many as the lab network has addresses for.
const ENVIRONMENTS: usize = 3_200;
const MACHINES: usize = 20;
/// Of every so many environments, one lies on one host alone.
const ALONE: usize = 3;
/// Lookup records in the filter of the host under test.
const WANTED: usize = 100_000;
const ROUNDS: usize = 9;
const CHANGES: usize = 200;

fn main() {
    // `cargo test` runs benches too, to see that they can: not this one.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let cluster = Cluster::new(1, Encapsulation::Nvgre);
    let (here, underlay) = (cluster.hosts[0].provider, cluster.hosts[0].underlay());
    let prefix = "10.86.0.0/16".parse().unwrap();
    let hosts: Vec<HostRecord> = (0..HOSTS).map(|number| host(number, here)).collect();
    let environments: Vec<EnvironmentRecord> = (0..ENVIRONMENTS).map(|number| environment(number, 0)).collect();
    let full = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        let policy = Policy::new(here, prefix, Encapsulation::Nvgre, &hosts, &environments).whole();
        let took = began.elapsed();
        assert!(policy.lookups.len() >= WANTED, "only {} lookup records", policy.lookups.len());
        took
    });
    told("policy-compile-100k", full.collect());
    let mut policy = Policy::new(here, prefix, Encapsulation::Nvgre, &hosts, &environments);
    let whole = policy.whole();
    eprintln!("   {} lookup records in {} subnets", whole.lookups.len(), whole.switches.len());
    let began = Instant::now();
    wait(underlay.apply(&whole)).unwrap();
    eprintln!("   all of them applied in {:.0} ms", began.elapsed().as_secs_f64() * 1000.0);
    // A machine moves to another host; one comes; an environment goes, and comes.
    let moved =
        |number: usize, by: usize| serde_json::to_vec(&environment(number * 7 % 1_000 * ALONE + 1, by)).unwrap();
    let mut all = Vec::new();
    for number in 0..CHANGES {
        let record = moved(number, 1);
        let began = processor();
        let record: EnvironmentRecord = serde_json::from_slice(&record).unwrap();
        let changes = policy.environment(&record);
        assert!(!changes.is_empty());
        assert!(wait(underlay.change(changes)).unwrap());
        all.push(processor() - began);
        let began = processor();
        let changes = policy.without_environment(&record.name);
        assert!(wait(underlay.change(changes)).unwrap());
        all.push(processor() - began);
        let again = serde_json::to_vec(&record).unwrap();
        let began = processor();
        let changes = policy.environment(&serde_json::from_slice(&again).unwrap());
        assert!(wait(underlay.change(changes)).unwrap());
        all.push(processor() - began);
    }
    told("policy-change-100k", all);
    // Switches that are not connected have no domain in the tables.
    let (known, whole) = (wait(underlay.known()).unwrap(), policy.whole());
    let peers =
        |policy: &HostPolicy| -> Vec<_> { policy.switches.values().map(|switch| switch.peers.clone()).collect() };
    assert!(known.stations == whole.stations && known.lookups == whole.lookups && peers(&known) == peers(&whole));
}

fn told(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let [middle, longest] = [times.len() / 2, times.len() - 1].map(|n| times[n].as_secs_f64() * 1000.0);
    println!("{name} {middle:.3}");
    eprintln!("   {name}: {middle:.3} ms, at most {longest:.3}");
}

/// What this process, with all its threads, has had of the processor.
fn processor() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap().into()
}

fn host(number: usize, here: Ipv4Addr) -> HostRecord {
    let provider = if number == 0 { here } else { Ipv4Addr::from(0x0a09_0000 + u32::try_from(number).unwrap()) };
    serde_json::from_value(json!({
        "name": format!("host-{number}"), "instance": "word", "provider": provider, "peer": format!("{provider}:7643"),
        "lab-address": format!("10.86.255.{}", 254 - number), "memory-mib": 1024, "cores": 2, "version": "1", "qemu": "10",
        "encapsulations": ["nvgre"], "joined": "2026-01-01T00:00:00Z",
    }))
    .unwrap()
}

/// One of 20 machines, with their addresses on the lab network. Most lie on three hosts, this one among them; `by` says
/// how many hosts farther its last machine is.
fn environment(number: usize, by: usize) -> EnvironmentRecord {
    let (mut machines, mut identities, mut elsewhere) =
        (serde_json::Map::new(), serde_json::Map::new(), serde_json::Map::new());
    for n in 0..MACHINES {
        let (name, slot) = (format!("m{n:02}"), number * MACHINES + n + 1);
        machines.insert(name.clone(), json!({ "image": "micro" }));
        let inside = json!({
            "hostname": name, "address": format!("192.168.23.{}", n + 1), "mac": format!("02:57:00:00:00:{:02x}", n + 1),
            "uuid": "6f2c54f8-7f0a-4a55-a7a9-0a0f7a6e6f01",
        });
        let address = Ipv4Addr::from(0x0a56_0000 + u32::try_from(slot).unwrap());
        let mac = format!("02:57:80:00:{:02x}:{:02x}", (number + 1) >> 8, (number + 1) & 0xff);
        identities.insert(
            name.clone(),
            json!({ "inside": inside, "outside": { "address": address, "mac": mac }, "slot": slot }),
        );
        let away = if n + 1 == MACHINES { n + by } else { n };
        match away % 3 {
            0 => {}
            1 => drop(elsewhere.insert(name, "host-0".into())),
            _ => drop(elsewhere.insert(name, format!("host-{}", 1 + (number + away) % (HOSTS - 1)).into())),
        }
    }
    let mut record = json!({
        "id": format!("{number:016x}"), "name": format!("environment-{number}"), "created": "2026-01-01T00:00:00Z",
        "host": format!("host-{}", number % HOSTS),
        "spec": { "name": format!("environment-{number}"), "machines": machines },
        "origin": { "from": "file" },
        "edge": { "slot": number + 1, "mac": format!("02:57:80:00:{:02x}:{:02x}", (number + 1) >> 8, (number + 1) & 0xff) },
        "identities": identities, "fence": "out-only", "desired": "running", "run": 1, "phase": { "is": "running" },
    });
    if !number.is_multiple_of(ALONE) {
        record["stretch"] = json!({ "elsewhere": elsewhere });
    }
    serde_json::from_value(record).unwrap()
}
