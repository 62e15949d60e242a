//! `cargo xtask test`: prepares what tests need, runs them by kind, and says how many of which kind passed.
//!
//! Kinds: *unit* tests lie beside the code (property tests too), *part* tests in a crate's `tests/` use real kernels,
//! QEMU and `qemu-img`, *stories* (files or tests named `story_…`) drive the whole binary from outside.

mod counts;

use crate::lab::Lab;
use crate::{check, images, packages, run};
use anyhow::{Context, Result, bail};
use counts::Counts;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

struct Kind {
    name: &'static str,
    /// A nextest filter.
    filter: &'static str,
    /// How many run at a time; as many as there are processors, with nothing. Stories boot machines, and wait for half
    /// of their time: two at a time take little more than one.
    at_a_time: Option<&'static str>,
}

const UNIT: Kind = Kind { name: "unit", filter: "(kind(lib) + kind(bin)) - test(/(^|::)story_/)", at_a_time: None };
const PART: Kind =
    Kind { name: "part", filter: "kind(test) - binary(/^story_/) - test(/(^|::)story_/)", at_a_time: None };
const STORY: Kind = Kind { name: "story", filter: "binary(/^story_/) + test(/(^|::)story_/)", at_a_time: Some("2") };

/// Where the binary is once it is built.
pub(crate) fn binary() -> PathBuf {
    run::target().join("debug").join("wardian")
}

/// Builds the binary that demo, benches and stories drive.
pub(crate) fn build() -> Result<()> {
    run::timed("building wardian", || run::shown(run::cargo().args(["build", "--quiet", "--package", "wardian"])))
}

/// Builds the binary that benches measure, and says where it is.
pub(crate) fn build_release() -> Result<PathBuf> {
    run::timed("building wardian for speed", || {
        run::shown(run::cargo().args(["build", "--quiet", "--release", "--package", "wardian"]))
    })?;
    Ok(run::target().join("release").join("wardian"))
}

/// Runs the tests; `quick` leaves the stories and the slow checks out.
pub(crate) fn run(quick: bool) -> Result<()> {
    let start = Instant::now();
    packages::ensure_for_tests()?;
    images::build(if quick { images::Which::Micro } else { images::Which::All })?;
    if quick {
        check::quick()?
    } else {
        check::all()?
    }
    build()?;
    let kinds: &[Kind] = if quick { &[UNIT, PART] } else { &[UNIT, PART, STORY] };
    let accelerator = proven_accelerator()?;
    let nextest = run::read(run::cargo().args(["nextest", "--version"])).is_ok();
    if !nextest {
        eprintln!("cargo-nextest is not installed: using cargo test");
    }
    let mut table = Vec::new();
    for kind in kinds {
        eprintln!("== {} tests", kind.name);
        let begun = Instant::now();
        let accelerator = accelerator.as_deref();
        let counts = if nextest { with_nextest(kind, accelerator)? } else { with_cargo(kind, accelerator)? };
        table.push((kind.name, counts, begun.elapsed()));
    }
    report(&table, start.elapsed())
}

/// The accelerator that a daemon proves on this machine: every test host would prove it anew, and where KVM is there
/// but hangs guests, that takes each of them seconds. Nothing is said where nothing has to be proven.
fn proven_accelerator() -> Result<Option<String>> {
    if !Path::new("/dev/kvm").exists() {
        return Ok(None);
    }
    run::timed("proving the accelerator", || {
        let lab = Lab::start("proof", binary())?;
        lab.import("micro")?;
        run::read(&mut lab.wardian(&["up", &lab.one_machine()?])?)?;
        let checks = run::read(&mut lab.wardian(&["host", "check", "--json"])?)?;
        let checks: serde_json::Value = serde_json::from_str(&checks)?;
        let found = checks["checks"].as_array().into_iter().flatten().find(|check| check["name"] == "accelerator");
        let said = found.and_then(|check| check["message"].as_str()).context("the accelerator is not told")?;
        let accelerator = if said.starts_with("kvm") { "kvm" } else { "tcg" };
        eprintln!("   test hosts use {accelerator} ({said})");
        Ok(Some(accelerator.to_owned()))
    })
}

fn report(table: &[(&str, Counts, Duration)], all: Duration) -> Result<()> {
    let mut sum = Counts::default();
    println!();
    for (name, counts, time) in table {
        println!("{name:>6}: {counts} in {}", run::seconds(*time));
        sum.add(counts);
    }
    println!("{sum}");
    println!("all in {}", run::seconds(all));
    if sum.failed > 0 || table.iter().any(|(_, counts, _)| !counts.good) {
        bail!("tests failed");
    }
    Ok(())
}

fn with_nextest(kind: &Kind, accelerator: Option<&str>) -> Result<Counts> {
    let mut command = run::cargo();
    command.args(["nextest", "run", "--workspace", "--no-fail-fast", "--color", "never", "--no-tests", "pass"]);
    command.args(["--status-level", "slow", "--final-status-level", "fail", "-E", kind.filter]);
    if let Some(number) = kind.at_a_time {
        command.args(["--test-threads", number]);
    }
    watched(&mut command, accelerator)
}

/// Without nextest the kinds are told apart by where they lie: targets first, then names.
fn with_cargo(kind: &Kind, accelerator: Option<&str>) -> Result<Counts> {
    let mut counts = Counts { good: true, ..Counts::default() };
    let targets: Vec<Vec<String>> = if kind.name == "unit" {
        vec![vec!["--workspace".into(), "--lib".into(), "--bins".into()]]
    } else {
        integration_targets()?
            .into_iter()
            .filter(|(_, test)| test.starts_with("story_") == (kind.name == "story"))
            .map(|(package, test)| vec!["--package".into(), package, "--test".into(), test])
            .collect()
    };
    for target in targets {
        let mut command = run::cargo();
        command.args(["test", "--quiet", "--no-fail-fast", "--color", "never"]).args(target);
        if let Some(number) = kind.at_a_time {
            command.args(["--", "--test-threads", number]);
        }
        counts.add(&watched(&mut command, accelerator)?);
    }
    Ok(counts)
}

/// Package and name of every file in a `tests` folder.
fn integration_targets() -> Result<Vec<(String, String)>> {
    let text = run::read(run::cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("cannot understand cargo metadata")?;
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        for target in package["targets"].as_array().into_iter().flatten() {
            if target["kind"][0] == "test"
                && let (Some(package), Some(name)) = (package["name"].as_str(), target["name"].as_str())
            {
                found.push((package.to_owned(), name.to_owned()));
            }
        }
    }
    Ok(found)
}

/// Runs a test command, passing its output on and counting what it says.
fn watched(command: &mut Command, accelerator: Option<&str>) -> Result<Counts> {
    let mut child = command
        .env("WARDIAN_MICRO", images::folder("micro"))
        .env("WARDIAN_IMAGES", images::all())
        .env("WARDIAN_BIN", binary())
        .envs(accelerator.map(|accelerator| ("WARDIAN_TEST_ACCELERATOR", accelerator)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("no pipes to cargo");
    };
    let errors = std::thread::spawn(move || pass_on(stderr, std::io::stderr()));
    let mut counts = pass_on(stdout, std::io::stdout());
    // The reader cannot fail but by a panic, which would have been printed.
    counts.add(&errors.join().unwrap_or_default());
    counts.good = child.wait().context("cannot wait for cargo")?.success();
    Ok(counts)
}

fn pass_on(from: impl std::io::Read, mut to: impl Write) -> Counts {
    let mut counts = Counts::default();
    for line in BufReader::new(from).split(b'\n').map_while(std::result::Result::ok) {
        let line = String::from_utf8_lossy(&line);
        counts.read(&line);
        // A closed terminal is no reason to stop counting.
        let _ = writeln!(to, "{line}");
    }
    counts
}
