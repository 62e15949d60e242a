//! Traffic between hosts: what the filter carries, against the kernel's VXLAN device and bridges in the same run.
//!
//! Measured by a program of `wardian-network`'s own (`benches/filter.rs`): this one is there before clang is.

use super::Measured;
use crate::lab::Lab;
use crate::run;
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Each is at least this part of what its peer does.
const BOUNDS: &[(&str, f64)] = &[
    ("nvgre-throughput", 0.95),
    ("vxlan-throughput", 0.95),
    ("rewrite-throughput", 0.97),
    ("nvgre-rr", 0.95),
    ("rewrite-rr", 0.97),
    ("policy-100k", 0.97),
];

/// It makes hosts of its own.
pub(super) fn traffic_between_hosts(_: &Lab) -> Result<Vec<Measured>> {
    let text = run::read(run::cargo().args(["bench", "--quiet", "--package", "wardian-network", "--bench", "filter"]))?;
    let told: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let measured = BOUNDS.iter().map(|(name, bound)| {
        let value = told.iter().find(|one| one["name"] == *name).and_then(|one| one["value"].as_f64());
        let value = value.with_context(|| format!("{name} was not measured"))?;
        Ok(Measured::at_least(name, value, "ratio", *bound))
    });
    let measured: Vec<_> = measured.collect::<Result<_>>()?;
    if measured.len() != told.len() {
        bail!("more is measured than there are bounds for: {text}");
    }
    Ok(measured)
}
