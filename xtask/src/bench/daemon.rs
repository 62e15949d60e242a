//! What a daemon that knows many environments costs while nothing happens.

use super::{Measured, median};
use crate::lab::Lab;
use crate::run;
use anyhow::{Context, Result};
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

const ENVIRONMENTS: usize = 200;
const WATCHED: Duration = Duration::from_secs(60);

pub(super) fn with_200_environments(lab: &Lab) -> Result<Vec<Measured>> {
    fill(lab)?;
    let mut times = Vec::new();
    for _ in 0..21 {
        let mut command = lab.wardian(&["ls"])?;
        command.stdout(Stdio::null());
        let start = Instant::now();
        run::shown(&mut command)?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    let daemon = lab.daemon().context("the daemon is not running")?;
    let memory = resident_mib(daemon)?;
    let before = ticks(daemon)?;
    let start = Instant::now();
    while start.elapsed() < WATCHED {
        Lab::check_interrupt()?;
        std::thread::sleep(Duration::from_millis(500));
    }
    // SAFETY: the call takes a number and returns one.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    let busy = (ticks(daemon)? - before) / per_second / start.elapsed().as_secs_f64() * 100.0;
    Ok(vec![
        Measured::new("ls-200", median(times), "ms", 30.0),
        Measured::new("daemon-rss-200", memory, "MiB", 60.0),
        Measured::new("daemon-idle-cpu", busy, "%", 1.0),
    ])
}

/// Leaves 200 environments behind that are stopped.
fn fill(lab: &Lab) -> Result<()> {
    let file = lab.one_machine()?;
    let names: Vec<String> = (0..ENVIRONMENTS).map(|number| format!("many-{number}")).collect();
    for name in &names {
        Lab::check_interrupt()?;
        run::read(&mut lab.wardian(&["up", &file, "--no-start", "--name", name])?)?;
    }
    Ok(())
}

fn resident_mib(process: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).context("the daemon is gone")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is no number")?;
    Ok(kib / 1024.0)
}

/// Processor time in clock ticks, of the daemon itself (proc(5): fields 14 and 15).
fn ticks(process: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).context("the daemon is gone")?;
    // The name in parentheses may have spaces; what follows it has none.
    let rest = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split(' ').collect();
    let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<f64>().ok());
    field(14).zip(field(15)).map(|(user, system)| user + system).context("cannot read /proc/PID/stat")
}
