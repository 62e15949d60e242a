//! A seed disk is read by a guest's kernel: the micro guest boots with one, takes its name and runs its script.
//! Needs QEMU and `cargo xtask images micro`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wardian_vault::{Description, seed};

fn micro() -> PathBuf {
    std::env::var_os("WARDIAN_MICRO")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/wardian-images/micro"), PathBuf::from)
}

#[test]
fn a_guest_takes_its_name_and_runs_its_script_from_the_seed() {
    let image = Description::read(&micro().join("image.json")).expect("run `cargo xtask images micro` first");
    let folder = tempfile::tempdir().unwrap();
    let (disk, console) = (folder.path().join("seed.iso"), folder.path().join("console"));
    let script = "#!/bin/sh\necho \"seed says: $(hostname) $(cd /run/cidata; echo *) $(cat /run/cidata/a-rather-long-name.d)\" > /dev/ttyS0\n\
                  poweroff -f\n";
    let long = "x".repeat(5000) + "end";
    seed::build(
        &disk,
        &[
            ("user-data", script.as_bytes()),
            ("meta-data", b"instance-id: one\nlocal-hostname: seeded\n"),
            ("a-rather-long-name.d", long.as_bytes()),
        ],
    )
    .unwrap();
    let mut machine = Command::new("qemu-system-x86_64")
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "tcg", "-m", "192"])
        .arg("-kernel")
        .arg(image.kernel.unwrap())
        .arg("-initrd")
        .arg(image.initrd.unwrap())
        .args(["-append", &image.command_line.unwrap()])
        .args(["-drive", &format!("if=virtio,snapshot=on,format=qcow2,file={}", image.disk.display())])
        .args(["-drive", &format!("if=virtio,readonly=on,format=raw,file={}", disk.display())])
        .args(["-serial", &format!("file:{}", console.display())])
        .stdin(Stdio::null())
        .spawn()
        .expect("QEMU must be installed (package qemu-system-x86)");
    let start = Instant::now();
    while machine.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(120) {
            machine.kill().unwrap();
            machine.wait().unwrap();
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = std::fs::read_to_string(console).unwrap();
    let wanted = format!("seed says: seeded a-rather-long-name.d meta-data user-data {long}");
    assert!(said.contains(&wanted), "{said}");
}
