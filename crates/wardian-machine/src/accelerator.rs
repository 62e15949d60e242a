//! Proving an accelerator: boot an ordinary kernel and see it reach a goal, within seconds.
//!
//! That `/dev/kvm` can be opened proves nothing: there are hosts whose KVM runs firmware and then lets every ordinary
//! kernel hang for ever. So the kernel boots without a root file system: it greets, finds no root, panics and reboots,
//! upon which QEMU ends (`-no-reboot`). That takes it through paging, interrupts, timers and the console: what guests
//! need.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::launch::{Accelerator, MACHINE_TYPE, User};
use crate::spawn;

/// Enough for a kernel under TCG on a busy host; where KVM works it takes about a second.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(12);
/// What every Linux kernel prints first.
const GREETING: &str = "Linux version";
/// Memory of the guest in MiB.
const MEMORY: &str = "192M";
/// Most output kept, in bytes.
const OUTPUT: usize = 256 << 10;

/// What the proof of an accelerator showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The accelerator.
    pub accelerator: Accelerator,
    /// Whether ordinary guests can be expected to run with it.
    pub usable: bool,
    /// Why, in one sentence for people.
    pub why: String,
    /// How long the proof took.
    pub took: Duration,
}

/// Tries `accelerator` with the QEMU at `qemu`, as `user`, by booting `kernel` (a Linux `bzImage`) for at most `limit`.
///
/// Without a kernel only the accelerator's set-up is tried; KVM then counts as not usable, for it is not proven.
pub async fn prove(
    qemu: &Path,
    accelerator: Accelerator,
    kernel: Option<&Path>,
    user: Option<User>,
    limit: Duration,
) -> Proof {
    let start = Instant::now();
    let (usable, why) = match run(qemu, accelerator, kernel, user, limit).await {
        Ok(why) => (true, why),
        Err(why) => (false, why),
    };
    Proof { accelerator, usable, why, took: start.elapsed() }
}

async fn run(
    qemu: &Path,
    accelerator: Accelerator,
    kernel: Option<&Path>,
    user: Option<User>,
    limit: Duration,
) -> Result<String, String> {
    let mut child = command(qemu, accelerator, kernel, user)
        .spawn()
        .map_err(|error| format!("{} cannot be started: {error}", qemu.display()))?;
    let mut stdout = child.stdout.take().ok_or("no output to read")?;
    let mut stderr = child.stderr.take().ok_or("no output to read")?;
    let (mut console, mut words) = (Vec::new(), Vec::new());
    if kernel.is_none() {
        use tokio::io::AsyncWriteExt;
        // Answered once QEMU is set up; a QEMU that failed does not read, which its exit code tells.
        if let Some(mut monitor) = child.stdin.take() {
            let _ = monitor.write_all(b"quit\n").await;
        }
    }
    let everything = async {
        let (_, _, status) =
            tokio::join!(collect(&mut stdout, &mut console), collect(&mut stderr, &mut words), child.wait());
        status
    };
    let ended = tokio::time::timeout(limit, everything).await;
    if ended.is_err() {
        // Collected here, so that no process is left when this returns.
        let _ = child.kill().await;
    }
    let console = String::from_utf8_lossy(&console).into_owned();
    let words = String::from_utf8_lossy(&words).trim().replace('\n', "; ");
    let status = match ended {
        Ok(status) => status.map_err(|error| format!("QEMU cannot be waited for: {error}"))?,
        Err(_) => return Err(hung(accelerator, &console, limit)),
    };
    if !status.success() {
        return Err(format!("QEMU failed with {accelerator} ({status}): {words}"));
    }
    match (kernel, accelerator) {
        (Some(_), _) if console.contains(GREETING) => Ok(format!("a Linux kernel ran with {accelerator}")),
        (Some(kernel), _) => Err(format!("{} printed no greeting with {accelerator}", kernel.display())),
        (None, Accelerator::Tcg) => Ok("QEMU sets up tcg".to_owned()),
        (None, Accelerator::Kvm) => Err("not proven: QEMU sets up kvm, but there was no kernel to boot".to_owned()),
    }
}

fn hung(accelerator: Accelerator, console: &str, limit: Duration) -> String {
    let last = console.lines().map(str::trim).rfind(|line| !line.is_empty());
    match last {
        None => format!("a Linux kernel printed nothing within {limit:?} with {accelerator}"),
        Some(line) => {
            let line: String = line.chars().filter(|c| !c.is_control()).take(120).collect();
            format!("a Linux kernel hung with {accelerator} for {limit:?}; it printed last: {line}")
        }
    }
}

fn command(qemu: &Path, accelerator: Accelerator, kernel: Option<&Path>, user: Option<User>) -> Command {
    let mut command = Command::new(qemu);
    let model = if accelerator == Accelerator::Kvm { "host" } else { "max" };
    command.args(["-no-user-config", "-nodefaults", "-display", "none", "-machine", MACHINE_TYPE]);
    command.args(["-accel", accelerator.as_str(), "-cpu", model, "-m", MEMORY]);
    command.args(["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]);
    match kernel {
        Some(kernel) => {
            command.args(["-no-reboot", "-serial", "stdio", "-kernel"]).arg(kernel);
            command.args(["-append", "console=ttyS0 panic=-1"]).stdin(Stdio::null());
        }
        None => {
            command.args(["-S", "-monitor", "stdio"]).stdin(Stdio::piped());
        }
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let supplementary: Vec<u32> = spawn::groups_for(accelerator);
    let prepare = move || {
        spawn::become_user(user, &supplementary)?;
        // A hanging guest must not outlive us; last, because changing the user clears it (prctl(2)).
        // SAFETY: a system call on plain numbers; async-signal-safe.
        spawn::check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })
    };
    // SAFETY: `prepare` makes only async-signal-safe system calls and allocates nothing.
    unsafe { command.pre_exec(prepare) };
    command
}

/// Reads to the end, keeping the first [`OUTPUT`] bytes: the rest is read too, so that QEMU never waits.
async fn collect(from: &mut (impl tokio::io::AsyncRead + Unpin), into: &mut Vec<u8>) {
    let mut chunk = [0; 4096];
    while let Ok(length) = from.read(&mut chunk).await {
        if length == 0 {
            return;
        }
        let room = OUTPUT.saturating_sub(into.len()).min(length);
        into.extend_from_slice(&chunk[..room]);
    }
}
