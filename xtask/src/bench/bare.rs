//! The peer: QEMU alone, with the same image, devices and memory, until the guest agent answers.

use crate::images;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running QEMU, ended when dropped; its folder is the caller's, and may be used by the next one.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots one guest; the time from starting QEMU to the agent's answer, in seconds.
pub(super) fn boot() -> Result<f64> {
    let folder = tempfile::tempdir().context("cannot make a folder for a guest")?;
    let start = Instant::now();
    let _guest = spawn(folder.path(), 192, &[])?;
    Line::to(&folder.path().join("agent"))?.answers()?;
    Ok(start.elapsed().as_secs_f64())
}

/// What QEMU has for going back: two machines of 256 MiB save their state into their disks, end, and start from it
/// again; from the first command to the last agent's answer, in seconds. With `used`, their memory is filled first, as
/// [`FILL`] does.
pub(super) fn save_and_load_two(used: bool) -> Result<f64> {
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let guests = folders.each_ref().map(|folder| spawn(folder.path(), 256, &[]));
    for folder in &folders {
        let mut agent = Line::to(&folder.path().join("agent"))?;
        agent.answers()?;
        if used {
            agent.fills()?;
        }
    }
    let start = Instant::now();
    std::thread::scope(|scope| {
        let saves: Vec<_> = folders.iter().map(|folder| scope.spawn(|| save(folder.path()))).collect();
        saves.into_iter().try_for_each(|save| save.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    // Saved machines end when dropped.
    for guest in guests {
        drop(guest?);
    }
    let mut again = Vec::new();
    for folder in &folders {
        for socket in ["agent", "monitor"] {
            let _ = fs::remove_file(folder.path().join(socket));
        }
        again.push(spawn(folder.path(), 256, &["-loadvm", "moment"])?);
    }
    for folder in &folders {
        Line::to(&folder.path().join("agent"))?.answers()?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Fills most of what a machine of 256 MiB has left with bytes that can't be packed.
pub(super) const FILL: &str = "mount -o remount,size=90% /dev/shm 2>/dev/null || mount -t tmpfs -o size=90% tmpfs /dev/shm; \
    dd if=/dev/urandom of=/dev/shm/fill bs=1M count=160 2>/dev/null; sync";

/// `savevm`, through the machine's monitor.
fn save(folder: &Path) -> Result<()> {
    let mut monitor = Line::to(&folder.join("monitor"))?;
    monitor.hear()?;
    monitor.ask(&json!({ "execute": "qmp_capabilities" }))?;
    let save = json!({ "execute": "human-monitor-command", "arguments": { "command-line": "savevm moment" } });
    match monitor.ask(&save)? {
        said if said == "" => Ok(()),
        said => bail!("QEMU can't save: {said}"),
    }
}

/// A connection to QEMU or to a guest's agent: a line of JSON asked, a line answered.
struct Line(BufReader<UnixStream>);

impl Line {
    /// As soon as somebody listens there.
    fn to(socket: &Path) -> Result<Self> {
        let start = Instant::now();
        loop {
            match UnixStream::connect(socket) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(PATIENCE))?;
                    return Ok(Self(BufReader::new(stream)));
                }
                Err(error) if start.elapsed() > Duration::from_secs(30) => {
                    return Err(error).with_context(|| format!("nobody listens at {}", socket.display()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn hear(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.0.read_line(&mut line).context("there was no answer in two minutes")?;
        serde_json::from_str(line.trim_start_matches('\u{ff}')).with_context(|| format!("{line:?} is no answer"))
    }

    /// What a command returns. Events in between are passed over.
    fn ask(&mut self, command: &Value) -> Result<Value> {
        writeln!(self.0.get_mut(), "{command}")?;
        loop {
            let mut answer = self.hear()?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if answer.get("error").is_some() {
                bail!("{command} failed: {answer}");
            }
        }
    }

    /// Until the agent answers.
    fn answers(&mut self) -> Result<()> {
        self.ask(&json!({ "execute": "guest-ping" })).context("the agent of a guest on bare QEMU").map(drop)
    }

    /// Until the guest's memory is filled.
    fn fills(&mut self) -> Result<()> {
        let fill = json!({ "path": "/bin/sh", "arg": ["-c", FILL] });
        let pid = self.ask(&json!({ "execute": "guest-exec", "arguments": fill }))?["pid"].clone();
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let status = self.ask(&json!({ "execute": "guest-exec-status", "arguments": { "pid": pid } }))?;
            if status["exited"] == true {
                return match status["exitcode"].as_i64() {
                    Some(0) => Ok(()),
                    _ => bail!("the guest can't fill its memory: {status}"),
                };
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the guest does not fill its memory in two minutes")
    }
}

fn spawn(folder: &Path, mib: u32, more: &[&str]) -> Result<Guest> {
    let image = images::folder("micro");
    let text = fs::read_to_string(image.join("image.json")).context("cannot read the image's description")?;
    let description: Value = serde_json::from_str(&text)?;
    let disk = folder.join("disk.qcow2");
    if !disk.exists() {
        crate::run::read(
            Command::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
                .arg(image.join("disk.qcow2"))
                .arg(&disk),
        )?;
    }
    let socket = |name: &str| format!("{},server=on,wait=off", folder.join(name).display());
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-accel", "tcg"])
        // The model that Wardian gives its guests: what is measured is Wardian, not QEMU's models.
        .args(["-cpu", "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+lahf-lm"])
        .args(["-smp", "1", "-m", &mib.to_string(), "-device", "virtio-rng-pci", "-device", "virtio-serial-pci"])
        .arg("-kernel")
        .arg(image.join("kernel"))
        .arg("-initrd")
        .arg(image.join("initrd"))
        .args(["-append", description["command-line"].as_str().unwrap_or_default()])
        .arg("-drive")
        .arg(format!("if=virtio,format=qcow2,file={}", disk.display()))
        .args(["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"])
        .arg("-chardev")
        .arg(format!("socket,id=agent,path={}", socket("agent")))
        .args(["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"])
        .arg("-qmp")
        .arg(format!("unix:{}", socket("monitor")))
        .arg("-serial")
        .arg(format!("file:{}", folder.join("console").display()))
        .args(more)
        .stdin(Stdio::null());
    Ok(Guest(command.spawn().context("cannot start QEMU")?))
}
