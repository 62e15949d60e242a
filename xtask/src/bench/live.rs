//! What snapshots and clones of running machines cost: pauses, the time until a clone can be used, and memory.

use super::{Measured, bare, median};
use crate::lab::Lab;
use crate::run;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::time::Instant;

const ROUNDS: usize = 5;
const CLONES: usize = 50;
const MACHINES: [&str; 2] = ["web", "db"];

/// Two machines that serve a page each, with `mib` MiB of memory.
fn pair(folder: &Path, mib: u32) -> Result<String> {
    let machine = |name: &str| {
        format!(
            "  {name}:\n    image: micro\n    memory: {mib} MiB\n    ready: {{ tcp: 80 }}\n    cloud-init:\n      user-data: |\n        \
         #!/bin/sh\n        mkdir -p /etc/wardian /srv\n        echo {name} > /srv/index.html\n        \
         printf '#!/bin/sh\\nhttpd -h /srv\\n' > /etc/wardian/start\n        chmod +x /etc/wardian/start\n"
        )
    };
    let machines = MACHINES.map(machine).concat();
    let text = format!("name: pair\nmachines:\n{machines}isolation:\n  fence: open\n");
    let path = folder.join(format!("pair-{mib}.yaml"));
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// Brings up a fresh pair; its first snapshot or clone is the first of its memory. The time it took, in ms.
fn up(lab: &Lab, mib: u32) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let file = pair(folder.path(), mib)?;
    let start = Instant::now();
    run::read(&mut lab.wardian(&["up", &file])?)?;
    Ok(milliseconds(start))
}

fn remove(lab: &Lab, names: &[&str]) -> Result<()> {
    run::read(&mut lab.wardian(&[&["rm"], names].concat())?).map(drop)
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

/// How long the machines of `pair` stood in a snapshot, in ms: the longer of the two.
fn pause(lab: &Lab, snapshot: &str) -> Result<f64> {
    run::read(&mut lab.wardian(&["snapshot", "create", "pair", snapshot])?)?;
    let text = run::read(&mut lab.wardian(&["snapshot", "ls", "pair", "--json"])?)?;
    let list: serde_json::Value = serde_json::from_str(&text)?;
    let mut snapshots = list["snapshots"].as_array().into_iter().flatten();
    let found = snapshots.find(|one| one["name"] == snapshot).context("the snapshot is not listed")?;
    Ok(found["pause-us"].as_f64().context("no pause is told")? / 1000.0)
}

/// Clones, and waits until both machines answer at their aliases. In ms.
fn clone_until_reachable(lab: &Lab, name: &str) -> Result<f64> {
    let start = Instant::now();
    run::read(&mut lab.wardian(&["clone", "pair", name])?)?;
    for machine in MACHINES {
        answers_at_its_alias(lab, machine, name)?;
    }
    Ok(milliseconds(start))
}

/// Asks the lab's name server for the alias, then the machine for its page.
fn answers_at_its_alias(lab: &Lab, machine: &str, environment: &str) -> Result<()> {
    let text = run::read(&mut lab.wardian(&["addresses", environment, machine, "--json"])?)?;
    let list: serde_json::Value = serde_json::from_str(&text)?;
    let alias = list["addresses"][0]["alias"].as_str().context("no alias is told")?;
    let server = list["addresses"][0]["name-server"].as_str().unwrap_or("10.86.255.254");
    let address = run::read(lab.inside(Path::new("kdig"))?.args(["+short", &format!("@{server}"), alias]))?;
    let url = format!("http://{}/", address.trim());
    let page = run::read(lab.inside(Path::new("curl"))?.args(["-sf", "--max-time", "60", &url]))?;
    if page.trim() != machine {
        bail!("{alias} answers as {page:?}");
    }
    Ok(())
}

/// Pauses of the first snapshot of two machines, and how they grow with memory and with a second snapshot.
pub(super) fn pauses(lab: &Lab) -> Result<Vec<Measured>> {
    let (mut small, mut large, mut second) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        Lab::check_interrupt()?;
        up(lab, 256)?;
        small.push(pause(lab, "first")?);
        for machine in MACHINES {
            let dirty = "dd if=/dev/urandom of=/tmp/dirty bs=1M count=32 2>/dev/null";
            run::read(&mut lab.wardian(&["exec", &format!("pair/{machine}"), "--", "sh", "-c", dirty])?)?;
        }
        second.push(pause(lab, "second")?);
        remove(lab, &["pair"])?;
        up(lab, 1024)?;
        large.push(pause(lab, "first")?);
        remove(lab, &["pair"])?;
    }
    let (small, large, second) = (median(small), median(large), median(second));
    Ok(vec![
        Measured::new("clone-source-pause", small, "ms", 40.0),
        Measured::new("clone-pause-growth", large / small, "ratio", 1.2),
        Measured::new("snapshot-second", second / small, "ratio", 4.0),
    ])
}

/// Clones and restores against boots, and against what QEMU itself has for the purpose.
pub(super) fn clones(lab: &Lab) -> Result<Vec<Measured>> {
    let (mut boots, mut cloned, mut restored) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        Lab::check_interrupt()?;
        boots.push(up(lab, 256)?);
        let name = format!("copy-{round}");
        cloned.push(clone_until_reachable(lab, &name)?);
        run::read(&mut lab.wardian(&["snapshot", "create", "pair", "good"])?)?;
        let start = Instant::now();
        run::read(&mut lab.wardian(&["restore", "pair", "good"])?)?;
        for machine in MACHINES {
            answers_at_its_alias(lab, machine, "pair")?;
        }
        restored.push(milliseconds(start));
        remove(lab, &["pair", &name])?;
    }
    let savevm = bare::save_and_load_two(false)? * 1000.0;
    let used = clone_of_used_memory(lab)?;
    let savevm_of_used = bare::save_and_load_two(true)? * 1000.0;
    let (boot, clone) = (median(boots), median(cloned));
    Ok(vec![
        Measured::new("clone-reachable", clone, "ms", 700.0),
        Measured::at_least("clone-vs-boot", boot / clone, "ratio", 5.0),
        Measured::at_least("clone-vs-savevm", savevm / clone, "ratio", 3.0),
        // The same where memory is in use: what QEMU writes and reads grows with it, and a clone shares it.
        Measured::at_least("clone-vs-savevm-used", savevm_of_used / used, "ratio", 3.0),
        Measured::new("restore-in-place", median(restored), "ms", 1000.0),
    ])
}

/// The time until a clone can be used whose source uses most of its memory, in ms.
fn clone_of_used_memory(lab: &Lab) -> Result<f64> {
    let mut cloned = Vec::new();
    for round in 0..ROUNDS {
        Lab::check_interrupt()?;
        up(lab, 256)?;
        for machine in MACHINES {
            run::read(&mut lab.wardian(&["exec", &format!("pair/{machine}"), "--", "sh", "-c", bare::FILL])?)?;
        }
        let name = format!("used-{round}");
        cloned.push(clone_until_reachable(lab, &name)?);
        remove(lab, &["pair", &name])?;
    }
    Ok(median(cloned))
}

/// What each machine of many clones has of memory for itself.
pub(super) fn memory(lab: &Lab) -> Result<Vec<Measured>> {
    up(lab, 256)?;
    run::read(&mut lab.wardian(&["clone", "pair", "many", "--count", &CLONES.to_string()])?)?;
    let names: Vec<String> = (1..=CLONES).map(|number| format!("many-{number}")).collect();
    for name in &names {
        Lab::check_interrupt()?;
        for machine in MACHINES {
            answers_at_its_alias(lab, machine, name)?;
        }
    }
    let private: Vec<f64> = lab.machine_processes().into_iter().filter_map(private_mib).collect();
    if private.len() < CLONES * MACHINES.len() {
        bail!("only {} machines run", private.len());
    }
    let each = private.iter().sum::<f64>() / private.len() as f64;
    let words: Vec<&str> = names.iter().map(String::as_str).chain(["pair"]).collect();
    remove(lab, &words)?;
    Ok(vec![Measured::new("clone-memory", each, "MiB", 40.0)])
}

/// Memory that is a process's alone (proc(5), smaps_rollup), in MiB.
fn private_mib(process: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let of = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()
    };
    Some((of("Private_Clean:")? + of("Private_Dirty:")?) / 1024.0)
}
