//! Prints how long a network takes to make and to remove. Says nothing about how long it should: that is the bench's.
#![allow(missing_docs)]

mod common;

use common::{on_a_host, store};
use std::time::{Duration, Instant};
use wardian_plan::network::{LabConfig, environment};

/// Bytes of this process that are resident.
fn memory() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Processor time of this process.
fn cpu_ticks() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn many_environments_come_and_go() {
    on_a_host(|host| async move {
        let started = Instant::now();
        host.lab(&[]).await;
        println!("lab: {:?}", started.elapsed());
        let (mut make, mut again, mut look, mut end) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let time = |started: Instant, list: &mut Vec<Duration>| list.push(started.elapsed());
        let plans: Vec<_> = (1..=30).map(|n| environment(&store(n, "out-only"), &LabConfig::default())).collect();
        let mut services = Vec::new();
        let before = memory();
        for plan in &plans {
            let started = Instant::now();
            host.network.ensure(plan).await.unwrap();
            time(started, &mut make);
            let started = Instant::now();
            host.network.ensure(plan).await.unwrap();
            time(started, &mut again);
            let started = Instant::now();
            host.network.observe(plan).await.unwrap();
            time(started, &mut look);
            services.push(host.network.serve(plan).await.unwrap());
        }
        println!("memory with servers: {} KiB each", (memory() - before) / 1024 / plans.len());
        let (cpu, idle) = (cpu_ticks(), Instant::now());
        tokio::time::sleep(Duration::from_secs(2)).await;
        println!("idle: {} ticks of 10 ms in {:?}", cpu_ticks() - cpu, idle.elapsed());
        assert_eq!(host.network.list().await.unwrap().len(), plans.len());
        for service in services {
            service.stop().await;
        }
        for plan in &plans {
            let started = Instant::now();
            host.network.remove(plan.environment).await.unwrap();
            time(started, &mut end);
        }
        assert_eq!(host.network.list().await.unwrap(), []);
        for (what, list) in [("make", &mut make), ("again", &mut again), ("observe", &mut look), ("remove", &mut end)] {
            list.sort();
            println!("{what}: median {:?}, worst {:?}", list[list.len() / 2], list[list.len() - 1]);
        }
    });
}
