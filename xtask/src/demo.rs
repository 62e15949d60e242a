//! `cargo xtask demo`: what Wardian is for, in one command on a fresh machine. Brings up the store of
//! `examples/store.yaml`, clones it while it runs, shows that both go on from the same moment and answer at once with
//! the same names and addresses inside, that writing in one does not show in the other, and cleans up.

use crate::lab::Lab;
use crate::{images, packages, run, tests};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const FIRST: &str = "store";
const CLONE: &str = "store-2";

type Step = fn(&Lab) -> Result<()>;

/// What the demo shows, in order.
const STEPS: &[(&str, Step)] = &[
    ("importing the image", |lab| lab.import("micro")),
    ("bringing up the store", |lab| {
        let file = run::repository().join("examples/store.yaml");
        run::shown(&mut lab.wardian(&["up", &file.display().to_string(), "--name", FIRST])?)
    }),
    ("cloning it while it runs", clone_in_motion),
    ("the same inside, another outside", |lab| {
        for environment in [FIRST, CLONE] {
            println!("\n{environment}:");
            run::shown(&mut lab.wardian(&["addresses", environment])?)?;
        }
        same_inside(lab)
    }),
    ("each answers at its own address", |lab| {
        for environment in [FIRST, CLONE] {
            let text = page(lab, environment, "/cgi-bin/index.cgi")?;
            println!("\n{environment}:\n{}", text.trim());
        }
        Ok(())
    }),
    ("writing in one does not show in the other", apart),
];

/// Runs the demo from an empty machine on.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    packages::ensure()?;
    tests::build()?;
    images::build(images::Which::Micro)?;
    let prepared = start.elapsed();
    let lab = run::timed("starting a test host", || Lab::start("demo", tests::binary()))?;
    for (title, step) in STEPS {
        Lab::check_interrupt()?;
        if let Err(error) = run::timed(title, || step(&lab)) {
            eprintln!("the daemon said:\n{}", lab.last_words());
            return Err(error);
        }
    }
    run::timed("cleaning up", || {
        run::shown(&mut lab.wardian(&["rm", FIRST, CLONE])?)?;
        drop(lab);
        Ok(())
    })?;
    println!("\ndone in {}, of which {} for preparation", run::seconds(start.elapsed()), run::seconds(prepared));
    Ok(())
}

/// The database counts in its memory. The clone goes on from where the original was, not from its boot; then each
/// counts for itself.
fn clone_in_motion(lab: &Lab) -> Result<()> {
    let before = counted(lab, FIRST)?;
    run::shown(&mut lab.wardian(&["clone", FIRST, CLONE])?)?;
    let (clone, first) = (counted(lab, CLONE)?, counted(lab, FIRST)?);
    println!("\nthe database's counter: {before} before, then {first} in {FIRST} and {clone} in {CLONE}");
    if clone < before || first < before {
        bail!("a counter went back: the memory was lost");
    }
    let jump = "echo 1000000 > /run/counter.next";
    run::read(&mut lab.wardian(&["exec", &format!("{CLONE}/db"), "--", "sh", "-c", jump])?)?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    let (clone, first) = (counted(lab, CLONE)?, counted(lab, FIRST)?);
    println!("after setting it in {CLONE}: {first} in {FIRST} and {clone} in {CLONE}");
    if clone < 1_000_000 || first >= 1_000_000 {
        bail!("the counters are not apart");
    }
    Ok(())
}

fn counted(lab: &Lab, environment: &str) -> Result<u64> {
    let machine = format!("{environment}/db");
    let text = run::read(&mut lab.wardian(&["exec", &machine, "--", "cat", "/run/counter"])?)?;
    text.trim().parse().with_context(|| format!("the counter of {machine} reads {text:?}"))
}

fn addresses(lab: &Lab, environment: &str) -> Result<serde_json::Value> {
    let text = run::read(&mut lab.wardian(&["addresses", environment, "--json"])?)?;
    serde_json::from_str(&text).context("cannot understand `wardian addresses --json`")
}

fn same_inside(lab: &Lab) -> Result<()> {
    let of = |list: &serde_json::Value, side: &str| -> Vec<serde_json::Value> {
        list["addresses"].as_array().into_iter().flatten().map(|machine| machine[side].clone()).collect()
    };
    let (first, clone) = (addresses(lab, FIRST)?, addresses(lab, CLONE)?);
    let (inside, outside) = (of(&first, "inside"), of(&first, "outside"));
    if inside.is_empty() || inside != of(&clone, "inside") {
        bail!("the insides differ");
    }
    if outside.iter().zip(of(&clone, "outside")).any(|(first, clone)| first["address"] == clone["address"]) {
        bail!("the outsides are not different");
    }
    Ok(())
}

/// Fetches a page of the web server from the host, through its outside address.
fn page(lab: &Lab, environment: &str, path: &str) -> Result<String> {
    let list = addresses(lab, environment)?;
    let address = list["addresses"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|machine| machine["machine"] == "web")
        .and_then(|web| web["outside"]["address"].as_str())
        .with_context(|| format!("{environment} has no machine `web` with an outside address"))?;
    let mut curl: Command = lab.inside(Path::new("curl"))?;
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "20"]).arg(format!("http://{address}{path}"));
    run::read(&mut curl)
}

fn apart(lab: &Lab) -> Result<()> {
    let item = "an orchid, only here";
    page(lab, CLONE, &format!("/cgi-bin/index.cgi?put={}", item.replace(' ', "+")))?;
    let (first, clone) = (page(lab, FIRST, "/cgi-bin/index.cgi")?, page(lab, CLONE, "/cgi-bin/index.cgi")?);
    println!("\n{FIRST}:\n{}\n\n{CLONE}:\n{}", first.trim(), clone.trim());
    if !clone.contains("an orchid") {
        bail!("what was written in {CLONE} is not there");
    }
    if first.contains("an orchid") {
        bail!("what was written in {CLONE} shows in {FIRST}");
    }
    Ok(())
}
