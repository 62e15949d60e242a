//! `cargo xtask demo`: what Wardian is for, in one command on a fresh machine. Brings up the store of
//! `examples/store.yaml`, clones it, shows that both answer at once with the same names and addresses inside, that
//! writing in one does not show in the other, and cleans up.

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
    ("cloning it", |lab| run::shown(&mut lab.wardian(&["clone", FIRST, CLONE])?)),
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
