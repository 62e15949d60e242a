//! What ten hosts remember of a thousand environments that are all the same inside, each on two of the hosts: memory of
//! their daemons and of their packet filters, at a half and at all of them. A few of the environments run, for a
//! sample: each machine has the one it belongs with as a neighbour, on another host. Prints a line for each row: its
//! name and its value. `cargo xtask bench` runs it; it needs root, and touches nothing outside of namespaces it makes.
#![allow(missing_docs, unused_crate_dependencies)]

use std::{fs, time::Instant};

use wardian_testkit::{TestCluster, TestHost};

const HOSTS: usize = 10;
const ENVIRONMENTS: usize = 1_000;
const SAMPLE: usize = 4;

const FILE: &str = "
name: any
machines:
  web: { image: micro, memory: 80 MiB }
  db: { image: micro, memory: 80 MiB }
placement: { policy: spread }
";

fn main() {
    // `cargo test` runs benches too, to see that they can: not this one.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let mut cluster = TestCluster::new(env!("CARGO_BIN_EXE_wardian"), 1, false);
    for number in 0..HOSTS {
        cluster.start_host(&format!("host-{number}"), 1 + (number % 2) as u8);
    }
    cluster.import_micro(0);
    let files: Vec<String> =
        (0..HOSTS).map(|number| cluster.host(number).write("any.yaml", FILE).display().to_string()).collect();
    let begun = Instant::now();
    let mut costs = vec![cost(&cluster)];
    for half in 0..2 {
        for number in half * ENVIRONMENTS / 2..(half + 1) * ENVIRONMENTS / 2 {
            let (host, file) = (cluster.host(number % HOSTS), &files[number % HOSTS]);
            host.wardian(&["up", "--quiet", file, "--no-start", "--name", &format!("many-{number}")]).ok();
        }
        costs.push(settled(&cluster));
        let Cost { daemon, filter } = costs[half + 1];
        eprintln!("   {:.0} s: {daemon:.1} MiB and {filter:.1} MiB a host", begun.elapsed().as_secs_f64());
    }
    sample(&cluster);
    let growth = |of: fn(&Cost) -> f64| (of(&costs[2]) - of(&costs[1])) / (of(&costs[1]) - of(&costs[0]));
    println!("hosts-10-daemon {:.3}", costs[2].daemon);
    println!("hosts-10-filter {:.3}", costs[2].filter);
    println!("hosts-10-growth {:.3}", growth(|cost| cost.daemon).max(growth(|cost| cost.filter)));
}

/// Memory of one host, on average of all, in MiB.
#[derive(Clone, Copy)]
struct Cost {
    daemon: f64,
    filter: f64,
}

fn cost(cluster: &TestCluster) -> Cost {
    let mean = |of: fn(&TestHost) -> f64| (0..HOSTS).map(|number| of(cluster.host(number))).sum::<f64>() / HOSTS as f64;
    Cost { daemon: mean(daemon), filter: mean(filter) }
}

/// Once all hosts have taken in what was asked for.
fn settled(cluster: &TestCluster) -> Cost {
    std::thread::sleep(std::time::Duration::from_secs(5));
    cost(cluster)
}

/// What the daemon has for itself: not its program, which is the same file for all.
fn daemon(host: &TestHost) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", host.daemon_pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// What the maps of its packet filter take, as the kernel counts it.
fn filter(host: &TestHost) -> f64 {
    let files = fs::read_dir(format!("/proc/{}/fdinfo", host.daemon_pid())).unwrap();
    let texts = files.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
    let maps = texts.filter(|text| text.contains("map_type:"));
    let bytes = maps.filter_map(|text| {
        text.lines().find_map(|line| line.strip_prefix("memlock:")).and_then(|bytes| bytes.trim().parse::<f64>().ok())
    });
    bytes.sum::<f64>() / f64::from(1 << 20)
}

/// Starts a few: equal inside, and each machine finds its own neighbour.
fn sample(cluster: &TestCluster) {
    for number in 0..SAMPLE {
        let (name, host) = (format!("many-{}", number * (ENVIRONMENTS / SAMPLE)), cluster.host(number));
        host.wardian(&["start", "--quiet", &name]).ok();
        host.script(&format!("{name}/db"), &format!("echo {name} > /run/name; httpd -h /run"));
    }
    for number in 0..SAMPLE {
        let name = format!("many-{}", number * (ENVIRONMENTS / SAMPLE));
        let said = cluster.host(number).script(&format!("{name}/web"), "wget -q -O - http://192.168.23.2/name");
        assert_eq!(said.trim(), name, "it has another one's neighbour");
    }
}
