//! The peer: QEMU alone, with the same image, devices and memory, until the guest agent answers.

use crate::images;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A guest that is ended when dropped.
struct Guest {
    process: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Boots one guest; the time from starting QEMU to the agent's answer, in seconds.
pub(super) fn boot() -> Result<f64> {
    let folder = tempfile::tempdir().context("cannot make a folder for a guest")?;
    let start = Instant::now();
    let agent = folder.path().join("agent");
    let process = command(folder.path(), &agent)?.spawn().context("cannot start QEMU")?;
    let guest = Guest { process, _folder: folder };
    let mut stream = connect(&agent, start)?;
    stream.set_read_timeout(Some(Duration::from_millis(10)))?;
    stream.write_all(b"{\"execute\":\"guest-ping\"}\n")?;
    let mut answer = [0; 256];
    while start.elapsed() < Duration::from_secs(120) {
        if stream.read(&mut answer).is_ok_and(|count| count > 0) {
            let time = start.elapsed().as_secs_f64();
            drop(guest);
            return Ok(time);
        }
    }
    bail!("the agent of a guest on bare QEMU did not answer in two minutes")
}

fn connect(agent: &Path, start: Instant) -> Result<UnixStream> {
    loop {
        match UnixStream::connect(agent) {
            Ok(stream) => return Ok(stream),
            Err(error) if start.elapsed() > Duration::from_secs(30) => {
                return Err(error).context("QEMU does not listen for its agent");
            }
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn command(folder: &Path, agent: &Path) -> Result<Command> {
    let image = images::folder("micro");
    let text = fs::read_to_string(image.join("image.json")).context("cannot read the image's description")?;
    let description: serde_json::Value = serde_json::from_str(&text)?;
    let disk = folder.join("disk.qcow2");
    crate::run::read(
        Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
            .arg(image.join("disk.qcow2"))
            .arg(&disk),
    )?;
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-accel", "tcg"])
        // The model that Wardian gives its guests: what is measured is Wardian, not QEMU's models.
        .args(["-cpu", "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+lahf-lm"])
        .args(["-smp", "1", "-m", "192", "-device", "virtio-rng-pci", "-device", "virtio-serial-pci"])
        .arg("-kernel")
        .arg(image.join("kernel"))
        .arg("-initrd")
        .arg(image.join("initrd"))
        .args(["-append", description["command-line"].as_str().unwrap_or_default()])
        .arg("-drive")
        .arg(format!("if=virtio,format=qcow2,file={}", disk.display()))
        .args(["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"])
        .arg("-chardev")
        .arg(format!("socket,id=agent,path={},server=on,wait=off", agent.display()))
        .args(["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"])
        .arg("-serial")
        .arg(format!("file:{}", folder.join("console").display()))
        .stdin(Stdio::null());
    Ok(command)
}
