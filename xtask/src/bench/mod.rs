//! `cargo xtask bench`: measures what was promised, each against a peer or a limit of the same run, and prints a table
//! or JSON. What is measured, and how, is for the files beside this one.

mod bare;
mod daemon;
mod live;
mod parts;
mod up;

use crate::lab::Lab;
use crate::{images, packages, run, tests};
use anyhow::{Result, bail};
use serde::Serialize;
use std::path::PathBuf;

/// One measured promise.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    name: &'static str,
    value: f64,
    unit: &'static str,
    /// The largest value that keeps the promise; the smallest, where more is better.
    bound: f64,
    more_is_better: bool,
    holds: bool,
}

impl Measured {
    fn new(name: &'static str, value: f64, unit: &'static str, bound: f64) -> Self {
        // Three decimals: more would only be noise.
        let value = (value * 1000.0).round() / 1000.0;
        Self { name, value, unit, bound, more_is_better: false, holds: value <= bound }
    }

    fn at_least(name: &'static str, value: f64, unit: &'static str, bound: f64) -> Self {
        let value = (value * 1000.0).round() / 1000.0;
        Self { name, value, unit, bound, more_is_better: true, holds: value >= bound }
    }
}

/// What a bench measures on.
enum Bench {
    /// A fresh host with a daemon, so that one does not heat the other's caches.
    Host(fn(&Lab) -> Result<Vec<Measured>>),
    /// A crate's own bench, which needs no host with a daemon, and no image.
    Crate(fn() -> Result<Vec<Measured>>),
}

const BENCHES: &[(&str, Bench)] = &[
    ("one machine against bare QEMU", Bench::Host(up::one_against_bare_qemu)),
    ("ten equal environments at once", Bench::Host(up::ten_equal_at_once)),
    ("pauses of running machines", Bench::Host(live::pauses)),
    ("clones and restores", Bench::Host(live::clones)),
    ("memory of many clones", Bench::Host(live::memory)),
    ("a daemon with 200 environments", Bench::Host(daemon::with_200_environments)),
    ("placement of 10,000 machines", Bench::Crate(parts::placement)),
    ("traffic between hosts", Bench::Crate(parts::traffic_between_hosts)),
    ("policy of 100,000 machines", Bench::Crate(parts::policy)),
    ("ten hosts with 1,000 environments", Bench::Crate(parts::ten_hosts)),
];

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs all benches. Broken promises are shown, and are no error: a slow machine is not a wrong program.
///
/// With `only`, just the benches whose title contains that.
pub(crate) fn run(json: bool, only: Option<&str>) -> Result<()> {
    let chosen: Vec<_> = BENCHES.iter().filter(|(title, _)| only.is_none_or(|only| title.contains(only))).collect();
    let mut binary = PathBuf::new();
    packages::ensure()?;
    if chosen.iter().any(|(_, bench)| matches!(bench, Bench::Host(_))) {
        binary = tests::build_release()?;
        images::build(images::Which::Micro)?;
    }
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    for (title, bench) in chosen {
        let measured = run::timed(title, || match bench {
            Bench::Host(bench) => {
                let lab = Lab::start("bench", binary.clone())?;
                lab.import("micro")?;
                bench(&lab)
            }
            Bench::Crate(bench) => bench(),
        });
        Lab::check_interrupt()?;
        match measured {
            Ok(measured) => all.extend(measured),
            // The others are worth measuring all the same.
            Err(error) => {
                eprintln!("error: {error:#}");
                failed.push(*title);
            }
        }
    }
    show(&all, json)?;
    if failed.is_empty() {
        return Ok(());
    }
    bail!("not measured: {}", failed.join(", "))
}

fn show(all: &[Measured], json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(all)?);
        return Ok(());
    }
    println!("{:<20} {:>10} {:<5} {:>8}  holds", "name", "value", "unit", "bound");
    for one in all {
        let holds = if one.holds { "yes" } else { "NO" };
        let bound = format!("{} {}", if one.more_is_better { "≥" } else { "≤" }, one.bound);
        println!("{:<20} {:>10} {:<5} {bound:>8}  {holds}", one.name, one.value, one.unit);
    }
    Ok(())
}
