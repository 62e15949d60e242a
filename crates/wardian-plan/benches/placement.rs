//! How long it takes to plan 10,000 machines on 1,000 hosts: a line for each case, its name and the median in ms.
//!
//! Environments have 1 to 20 machines, under all policies, half of those with more than two with groups. Hosts are of
//! several sizes, some paused or down, and have machines of others. In the first case there is room for all; in the
//! second for half of them, so that the rest is tried and refused. `cargo xtask bench` reads what is printed.

use std::time::Instant;

use indexmap::IndexMap;
use wardian_model::{name::MachineName, size::ByteSize};
use wardian_plan::placement::{Host, Hosts, Limits, Placed, Policy, Rules, Size, Wanted, place};

const HOSTS: u64 = 1_000;
const MACHINES: usize = 10_000;
const ROUNDS: usize = 15;

fn main() {
    measure("place-10k", 4);
    measure("place-10k-tight", 1);
}

/// With `room` times 16, 32 or 48 GiB for each host.
fn measure(name: &str, room: u64) {
    let mut numbers = Numbers(20_261_121);
    let hosts: Hosts =
        (0..HOSTS).map(|at| (format!("host-{at}").parse().unwrap(), host(&mut numbers, at, room))).collect();
    let wanted = environments(&mut numbers);
    let (mut times, mut placed) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let plan = place(&hosts, &wanted, Limits::default());
        placed = (0..wanted.len()).filter_map(|at| plan.hosts_of(at)).map(|machines| machines.len()).sum();
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    println!("{name} {:.3}", times[ROUNDS / 2]);
    eprintln!(
        "   {name}: {placed} of {MACHINES} machines in {} environments placed; {:.1} to {:.1} ms",
        wanted.len(),
        times[0],
        times[ROUNDS - 1]
    );
}

fn host(numbers: &mut Numbers, at: u64, room: u64) -> Host {
    let gib = room * 16 * numbers.up_to(3);
    let others = (0..numbers.up_to(4)).map(|machine| Placed {
        environment: format!("others-{at}").parse().unwrap(),
        machine: format!("m{machine}").parse().unwrap(),
        size: size(numbers),
    });
    let machines = others.collect();
    let cores = u32::try_from(gib / 4).unwrap();
    Host {
        memory: ByteSize::mib(gib << 10),
        cores,
        up: numbers.up_to(50) > 1,
        paused: numbers.up_to(20) == 1,
        machines,
    }
}

fn size(numbers: &mut Numbers) -> Size {
    let processors = [1, 1, 2, 2, 4, 8];
    let at = usize::try_from(numbers.up_to(6)).unwrap() - 1;
    Size { memory: ByteSize::mib(512 * numbers.up_to(16)), cpus: processors[at] }
}

fn environments(numbers: &mut Numbers) -> Vec<Wanted> {
    let (mut wanted, mut left) = (Vec::new(), MACHINES);
    while left > 0 {
        let count = usize::try_from(numbers.up_to(20)).unwrap().min(left);
        left -= count;
        let machines: IndexMap<MachineName, Size> =
            (0..count).map(|at| (format!("m{at}").parse().unwrap(), size(numbers))).collect();
        let policy = [Policy::Together, Policy::Spread, Policy::Pack][wanted.len() % 3];
        let names: Vec<MachineName> = machines.keys().cloned().collect();
        let grouped = count > 2 && numbers.up_to(2) == 1;
        let same_host = grouped.then(|| names[..2].to_vec()).into_iter().collect();
        let apart = grouped.then(|| names[1..count.min(4)].to_vec()).into_iter().collect();
        let rules = Rules::new(policy, same_host, apart, &names).unwrap();
        wanted.push(Wanted { environment: format!("lab-{}", wanted.len()).parse().unwrap(), rules, machines });
    }
    wanted
}

/// Numbers that look like any and are the same in every run (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    /// 1 to `most`.
    fn up_to(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most + 1
    }
}
