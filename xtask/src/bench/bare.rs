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

/// What QEMU has for going back: two machines of 256 MiB save their state into their disks, end, and start from it again;
/// from the first command to the last agent's answer, in seconds.
pub(super) fn save_and_load_two() -> Result<f64> {
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let mut running = Vec::new();
    for folder in &folders {
        running.push(spawn(folder.path(), &[])?);
    }
    for folder in &folders {
        answer(&folder.path().join("agent"), Instant::now())?;
    }
    let start = Instant::now();
    std::thread::scope(|scope| {
        let saves: Vec<_> = folders.iter().map(|folder| scope.spawn(|| save(folder.path()))).collect();
        saves.into_iter().try_for_each(|save| save.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    // Saved machines end when dropped.
    drop(running);
    let mut again = Vec::new();
    for folder in &folders {
        for socket in ["agent", "monitor"] {
            let _ = fs::remove_file(folder.path().join(socket));
        }
        again.push(spawn(folder.path(), &["-loadvm", "moment"])?);
    }
    for folder in &folders {
        answer(&folder.path().join("agent"), start)?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// A process that is ended when dropped; its folder is the caller's.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(folder: &Path, more: &[&str]) -> Result<Running> {
    let mut command = command(folder, &folder.join("agent"))?;
    let monitor = folder.join("monitor");
    command.args(["-m", "256"]).arg("-qmp").arg(format!("unix:{},server=on,wait=off", monitor.display())).args(more);
    Ok(Running(command.spawn().context("cannot start QEMU")?))
}

/// Until the agent answers.
fn answer(agent: &Path, start: Instant) -> Result<()> {
    let mut stream = connect(agent, start)?;
    stream.set_read_timeout(Some(Duration::from_millis(10)))?;
    stream.write_all(b"{\"execute\":\"guest-ping\"}\n")?;
    let mut bytes = [0; 256];
    while start.elapsed() < Duration::from_secs(120) {
        if stream.read(&mut bytes).is_ok_and(|count| count > 0) {
            return Ok(());
        }
    }
    bail!("the agent of a guest on bare QEMU did not answer in two minutes")
}

/// `savevm`, through the machine's monitor.
fn save(folder: &Path) -> Result<()> {
    use std::io::{BufRead, BufReader};
    let stream = UnixStream::connect(folder.join("monitor")).context("cannot reach QEMU's monitor")?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut stream = stream;
    stream.write_all(b"{\"execute\":\"qmp_capabilities\"}\n")?;
    let save = r#"{"execute":"human-monitor-command","arguments":{"command-line":"savevm moment"},"id":"saved"}"#;
    stream.write_all(save.as_bytes())?;
    let answer = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("\"saved\"")));
    let answer = answer.context("QEMU ended while saving")??;
    if !answer.contains("\"return\": \"\"") {
        bail!("QEMU can't save: {answer}");
    }
    Ok(())
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
    if !disk.exists() {
        crate::run::read(
            Command::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
                .arg(image.join("disk.qcow2"))
                .arg(&disk),
        )?;
    }
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
