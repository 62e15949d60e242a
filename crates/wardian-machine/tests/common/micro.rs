//! The micro image as `cargo xtask images` makes it, or another one named by `WARDIAN_MICRO` (a directory with
//! `kernel`, `initrd`, `disk.qcow2` and `image.json`). Without it the tests that need a guest fail, and say so.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wardian_machine::agent::Exec;
use wardian_machine::{Disk, DiskFormat, KernelBoot, Launch, Machine};

use super::{NOBODY, Place};

/// How long a guest may take to its agent.
pub const BOOT: Duration = Duration::from_secs(60);

/// The image's directory.
pub fn image() -> PathBuf {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/wardian-images/micro");
    let image = std::env::var_os("WARDIAN_MICRO").map_or_else(usual, PathBuf::from);
    image
        .canonicalize()
        .expect("there is no micro image: make it with `cargo xtask images` or name it with WARDIAN_MICRO")
}

/// A machine of the micro image with an overlay of its own.
pub async fn micro(place: &Place) -> Launch {
    let image = image();
    let path = place.path().join("overlay.qcow2");
    let base = image.join("disk.qcow2");
    let made = tokio::process::Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
        .args([&base, &path])
        .status()
        .await
        .unwrap();
    assert!(made.success());
    std::os::unix::fs::chown(&path, Some(NOBODY.uid), Some(NOBODY.gid)).unwrap();
    let disk = Disk { path, format: DiskFormat::Qcow2, serial: "root".to_owned(), read_only: false };
    Launch { disks: vec![disk], ..diskless(place) }
}

/// The same machine without a disk.
pub fn diskless(place: &Place) -> Launch {
    let image = image();
    let description = std::fs::read(image.join("image.json")).unwrap();
    let description: serde_json::Value = serde_json::from_slice(&description).unwrap();
    let kernel = KernelBoot {
        kernel: image.join("kernel"),
        initrd: Some(image.join("initrd")),
        command_line: description["command-line"].as_str().unwrap().to_owned(),
    };
    Launch { kernel: Some(kernel), memory_bytes: 192 << 20, ..place.launch() }
}

/// Waits until the agent answers.
pub async fn ready(machine: &Machine) {
    let wait = async {
        while let Err(error) = machine.agent().ping(Duration::from_secs(5)).await {
            assert!(error.is_absence(), "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(BOOT, wait).await.expect("the guest's agent comes up");
}

/// A program that may take half a minute.
pub fn exec(argv: &[&str]) -> Exec {
    let argv = argv.iter().map(|&word| word.to_owned()).collect();
    Exec { argv, timeout: Duration::from_secs(30), ..Exec::default() }
}
