//! What crates measure by benches of their own, because this task must be there before what they are built with. Each
//! of those prints a line for each row: its name and its value.

use super::Measured;
use crate::{images, run};
use anyhow::{Context, Result};

/// How long it takes to plan 10,000 machines on 1,000 hosts: with room for all of them, and with room for half, where
/// the others are tried and refused.
pub(super) fn placement() -> Result<Vec<Measured>> {
    let told = bench("wardian-plan", "placement")?;
    ["place-10k", "place-10k-tight"]
        .into_iter()
        .map(|name| Ok(Measured::new(name, told.of(name)?, "ms", 200.0)))
        .collect()
}

/// What the filter carries, against the kernel's VXLAN device and bridges in the same run.
pub(super) fn traffic_between_hosts() -> Result<Vec<Measured>> {
    let told = bench("wardian-network", "filter")?;
    let rows = [
        ("nvgre-throughput", 0.95),
        ("vxlan-throughput", 0.95),
        ("rewrite-throughput", 0.97),
        ("nvgre-rr", 0.95),
        ("rewrite-rr", 0.97),
        ("policy-100k", 0.97),
        // To taps, where the wire cuts streams into packets: by the driver / after it.
        ("xdp-vs-tc", 2.0),
    ];
    rows.into_iter().map(|(name, bound)| Ok(Measured::at_least(name, told.of(name)?, "ratio", bound))).collect()
}

/// How long it takes to know where 100,000 machines are: from all records, and after one of them has changed.
pub(super) fn policy() -> Result<Vec<Measured>> {
    let told = bench("wardian-network", "policy")?;
    let rows = [("policy-compile-100k", 1_000.0), ("policy-change-100k", 10.0)];
    rows.into_iter().map(|(name, bound)| Ok(Measured::new(name, told.of(name)?, "ms", bound))).collect()
}

/// What each of ten hosts remembers of a thousand environments, and whether the second half of them costs what the
/// first did.
pub(super) fn ten_hosts() -> Result<Vec<Measured>> {
    images::build(images::Which::Micro)?;
    let told = bench("wardian", "hosts")?;
    let rows = [("hosts-10-daemon", "MiB", 60.0), ("hosts-10-filter", "MiB", 10.0), ("hosts-10-growth", "ratio", 1.25)];
    rows.into_iter().map(|(name, unit, bound)| Ok(Measured::new(name, told.of(name)?, unit, bound))).collect()
}

struct Told(String);

impl Told {
    fn of(&self, name: &str) -> Result<f64> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.with_context(|| format!("the bench says nothing of {name}: {}", self.0))?;
        value.trim().parse().with_context(|| format!("{value:?} is no number"))
    }
}

fn bench(package: &str, name: &str) -> Result<Told> {
    run::read(run::cargo().args(["bench", "--quiet", "--package", package, "--bench", name])).map(Told)
}
