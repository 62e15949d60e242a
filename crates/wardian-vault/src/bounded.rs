//! Running a program that reads hostile bytes: limits on memory, processor time, file size, wall time and output, no
//! network, and an end together with this process.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// What one run may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Address space in bytes.
    pub(crate) memory: u64,
    /// Wall time.
    pub(crate) time: Duration,
    /// The largest file it may write, in bytes.
    pub(crate) file: u64,
}

/// How a bounded run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    /// The last words of the program, for people; the signal when it said nothing.
    pub(crate) fn words(&self) -> String {
        let text = self.stderr.trim();
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        match (last, self.status.signal()) {
            (Some(line), _) => line.trim_start_matches("qemu-img: ").to_owned(),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => self.status.to_string(),
        }
    }
}

/// More than this of either stream is read and thrown away.
const KEPT: usize = 1 << 20;

/// Runs `command` to its end. `None` means it was stopped because its time was up. `seen` gets standard output as it
/// comes.
pub(crate) async fn run(
    mut command: Command,
    bounds: Bounds,
    mut seen: impl FnMut(&[u8]),
) -> io::Result<Option<Ended>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // SAFETY: between fork and exec only system calls are made, on values copied into the closure; nothing allocates
    // and no lock is taken.
    unsafe {
        command.pre_exec(move || restrict(bounds));
    }
    let mut child = command.spawn()?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("no pipes to the program"));
    };
    let work = async {
        let (stdout, stderr) = tokio::join!(drain(stdout, &mut seen), drain(stderr, |_| ()));
        Ok::<_, io::Error>((child.wait().await?, stdout?, stderr?))
    };
    let Ok(done) = tokio::time::timeout(bounds.time, work).await else {
        // Waited for, so that nothing of it is left when the caller removes its files.
        child.kill().await?;
        return Ok(None);
    };
    let (status, stdout, stderr) = done?;
    Ok(Some(Ended { status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }))
}

async fn drain(mut from: impl AsyncRead + Unpin, mut seen: impl FnMut(&[u8])) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(kept);
        }
        seen(&buffer[..count]);
        let room = KEPT.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
}

fn restrict(bounds: Bounds) -> io::Result<()> {
    // Sent when the *thread* that started the program ends; runtime workers live as long as the process does, as long
    // as nobody uses `block_in_place`.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    nix::sys::prctl::set_no_new_privs()?;
    // Needs privilege; without it the run is still bounded in every other way.
    let _ = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
    lower(libc::RLIMIT_AS, bounds.memory)?;
    lower(libc::RLIMIT_CPU, bounds.time.as_secs().max(1))?;
    lower(libc::RLIMIT_FSIZE, bounds.file)?;
    lower(libc::RLIMIT_CORE, 0)
}

/// Lowers one limit; a limit above the one this process itself has would be refused.
fn lower(resource: libc::__rlimit_resource_t, wanted: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the answer, for as long as the call takes.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_max = wanted.min(limit.rlim_max);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a valid value, for as long as the call takes.
    if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
