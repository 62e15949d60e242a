//! How much bringing up an environment adds to what QEMU takes anyway.

use super::{Measured, bare, median};
use crate::lab::Lab;
use crate::run;
use anyhow::{Context, Result, bail};
use std::process::Stdio;
use std::time::Instant;

const ROUNDS: usize = 5;
const TOGETHER: usize = 10;
const TEN_ROUNDS: usize = 3;

/// `wardian up` of one machine against a bare boot of the same guest to the same readiness, in turns.
pub(super) fn one_against_bare_qemu(lab: &Lab) -> Result<Vec<Measured>> {
    let file = lab.one_machine()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        Lab::check_interrupt()?;
        theirs.push(bare::boot()?);
        let start = Instant::now();
        run::read(&mut lab.wardian(&["up", &file, "--name", "one"])?)?;
        ours.push(start.elapsed().as_secs_f64());
        run::read(&mut lab.wardian(&["rm", "one"])?)?;
    }
    Ok(vec![Measured::new("up-vs-bare-qemu", median(ours) / median(theirs), "ratio", 1.10)])
}

/// Ten environments with the same addresses inside, started at once, against ten bare boots spread over the cores.
///
/// In rounds, each against the bare boots just before and after it: a shared machine is at times half as fast as at
/// others.
pub(super) fn ten_equal_at_once(lab: &Lab) -> Result<Vec<Measured>> {
    let file = lab.one_machine()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut against_ideal, mut against_limit) = (Vec::new(), Vec::new());
    for _ in 0..TEN_ROUNDS {
        Lab::check_interrupt()?;
        let mut bare = vec![bare::boot()?, bare::boot()?];
        let time = ten_up(lab, &file)?;
        bare.extend([bare::boot()?, bare::boot()?]);
        let one = bare.iter().sum::<f64>() / bare.len() as f64;
        against_ideal.push(time / (one * TOGETHER as f64 / cores as f64));
        against_limit.push(time / ten_bare_at_once()?);
    }
    Ok(vec![
        Measured::new("ten-equal-up", median(against_ideal), "ratio", 1.3),
        // What QEMU alone takes for ten at once here: cores that share caches don't give ten boots at ten times the
        // speed.
        Measured::new("ten-up-vs-ten-bare", median(against_limit), "ratio", 1.1),
    ])
}

/// Brings ten up at once and removes them; the time from the first request to the last answer, in seconds.
fn ten_up(lab: &Lab, file: &str) -> Result<f64> {
    let start = Instant::now();
    let mut running = Vec::new();
    for number in 0..TOGETHER {
        let name = format!("equal-{number}");
        let child = lab.wardian(&["up", file, "--name", &name])?.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        running.push((name, child.context("cannot start wardian")?));
    }
    let mut failed = Vec::new();
    let mut names = vec!["rm".to_owned()];
    for (name, mut child) in running {
        if !child.wait()?.success() {
            failed.push(name.clone());
        }
        names.push(name);
    }
    let time = start.elapsed().as_secs_f64();
    if !failed.is_empty() {
        bail!("did not come up: {}", failed.join(", "));
    }
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    run::read(&mut lab.wardian(&words)?)?;
    Ok(time)
}

/// Ten bare boots at once, from the first start to the last answer, in seconds.
fn ten_bare_at_once() -> Result<f64> {
    let start = Instant::now();
    let boots: Vec<_> = (0..TOGETHER).map(|_| std::thread::spawn(bare::boot)).collect();
    for boot in boots {
        boot.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    Ok(start.elapsed().as_secs_f64())
}
