//! How long it takes to plan 10,000 machines on 1,000 hosts.
//!
//! The planner's own bench measures it, for set-up may not use the planner: `crates/wardian-plan/benches/placement.rs`.

use super::Measured;
use crate::run;
use anyhow::{Context, Result};

/// With room for all of them, and with room for half, where the others are tried and refused.
pub(super) fn ten_thousand() -> Result<Vec<Measured>> {
    let bench = ["bench", "--quiet", "--package", "wardian-plan", "--bench", "placement"];
    let said = run::read(run::cargo().args(bench))?;
    let measured = |name: &'static str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.with_context(|| format!("the bench of the planner says nothing of {name}: {said}"))?;
        Ok(Measured::new(name, value.trim().parse().context("no number of ms")?, "ms", 200.0))
    };
    ["place-10k", "place-10k-tight"].into_iter().map(measured).collect()
}
