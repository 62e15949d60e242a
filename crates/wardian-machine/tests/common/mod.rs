//! What the tests with a real QEMU share: a directory of their own, boot sectors as the smallest guests there are, and
//! a guard that leaves no process behind.

#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]

pub mod live;
pub mod micro;

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;
use wardian_machine::lock::{Holder, holder, is_held};
use wardian_machine::{
    Accelerator, Disk, DiskFormat, Event, Launch, Limits, MACHINE_TYPE, Machine, MachineEvent, Memory,
    RuntimeDirectory, User,
};

/// Nobody, as Debian numbers it: a user that owns nothing.
pub const NOBODY: User = User { uid: 65534, gid: 65534 };
/// Far longer than anything here takes; only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where the QEMU under test is.
pub fn qemu() -> PathBuf {
    let path = PathBuf::from("/usr/bin/qemu-system-x86_64");
    assert!(path.exists(), "these tests need QEMU: apt install qemu-system-x86 qemu-utils");
    assert!(nix::unistd::geteuid().is_root(), "these tests need root: QEMU is started as another user");
    path
}

/// A scratch directory with room for one machine; on drop the machine is killed and all of it removed.
pub struct Place {
    scratch: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let scratch = tempfile::Builder::new().prefix("wm").tempdir().unwrap();
        // QEMU's user has to pass to the disks.
        std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        Place { scratch }
    }

    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    pub fn runtime(&self) -> RuntimeDirectory {
        RuntimeDirectory::new(self.path().join("run"))
    }

    /// A raw disk of 1 MiB that starts with this boot sector.
    pub fn boot_sector(&self, code: &[u8]) -> Disk {
        let path = self.path().join("disk.raw");
        let mut image = vec![0; 1 << 20];
        image[..code.len()].copy_from_slice(code);
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(&path, image).unwrap();
        chown(&path, Some(NOBODY.uid), Some(NOBODY.gid)).unwrap();
        Disk { path, format: DiskFormat::Raw, serial: "boot".to_owned(), read_only: false }
    }

    /// A small machine with no disk: the firmware runs and finds nothing to boot.
    pub fn launch(&self) -> Launch {
        Launch {
            name: "test machine".to_owned(),
            directory: self.runtime().path().to_owned(),
            qemu: qemu(),
            machine_type: MACHINE_TYPE.to_owned(),
            accelerator: Accelerator::Tcg,
            cpu_model: None,
            cpus: 1,
            memory_bytes: 32 << 20,
            memory: Memory::Anonymous,
            disks: Vec::new(),
            seed: None,
            kernel: None,
            interfaces: Vec::new(),
            uuid: Uuid::from_u128(1),
            generation_id: Uuid::from_u128(2),
            user: Some(NOBODY),
            cgroup: None,
            limits: Limits::default(),
            paused: false,
            incoming: false,
        }
    }

    /// The machine's process; `None` when none runs.
    pub fn process(&self) -> Option<i32> {
        match holder(&self.runtime().lock()).unwrap() {
            Holder::Process(pid) => Some(pid),
            _ => None,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Successors and clones stand in directories of their own.
        for entry in std::fs::read_dir(self.path()).into_iter().flatten().flatten() {
            let lock = RuntimeDirectory::new(entry.path()).lock();
            let Ok(Holder::Process(pid)) = holder(&lock) else { continue };
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            for _ in 0..200 {
                if !is_held(&lock).unwrap_or(false) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Boot sectors: 16-bit code that the firmware puts at 0x7c00.
pub mod code {
    /// Writes "sleep" to the power management register (ACPI, where SeaBIOS puts it on `pc`): the machine powers off.
    pub const POWER_OFF: &[u8] = &[0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4, 0xeb, 0xfd];
    /// Pulls the reset line by the keyboard controller.
    pub const RESET: &[u8] = &[0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd];
    /// Prints "A", "B", … "Z" on the first serial port without end.
    pub const PRINT: &[u8] = &[0xba, 0xf8, 0x03, 0xb0, 0x41, 0xee, 0xfe, 0xc0, 0x3c, 0x5b, 0x75, 0xf9, 0xeb, 0xf5];
    /// Echoes what arrives on the first serial port.
    pub const ECHO: &[u8] = &[
        0xba, 0xfd, 0x03, // mov dx, 0x3fd: line status
        0xec, 0xa8, 0x01, 0x74, 0xf8, // wait for a byte
        0xb2, 0xf8, 0xec, 0xee, // read it, write it
        0xeb, 0xf2,
    ];
}

/// Waits for an event.
pub async fn wait_for(
    events: &mut tokio::sync::broadcast::Receiver<Event>,
    what: &str,
    mut fits: impl FnMut(&MachineEvent) -> bool,
) -> Event {
    let search = async {
        loop {
            let event = events.recv().await.expect("the machine still reports");
            if fits(&event.what) {
                return event;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("no {what} within {PATIENCE:?}"))
}

/// Waits for the end of a machine.
pub async fn ended(machine: &Machine) -> wardian_machine::Exit {
    tokio::time::timeout(PATIENCE, machine.wait_exit()).await.expect("the machine ends")
}
