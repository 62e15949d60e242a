//! Everything needed to start one machine, as plain values.
//!
//! What is refused here is what QEMU would refuse late, unclearly or not at all; where files live, which addresses a
//! machine has and who may own what is the caller's knowledge.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// The machine type every machine is given, whatever QEMU runs it.
///
/// It is a *versioned* type, and one that every QEMU we accept has ([`crate::MINIMUM`]): devices then look the same to
/// a guest under all of them, so that a snapshot or a stream of one host is understood by another.
pub const MACHINE_TYPE: &str = "pc-i440fx-8.0";

/// Most disks of one machine (the PCI slots set aside for them; the seed has its own).
pub const MAXIMUM_DISKS: usize = 12;
/// Most network interfaces of one machine (the PCI slots set aside for them).
pub const MAXIMUM_INTERFACES: usize = 8;
/// Least memory a machine can have: the firmware does not come up with less.
pub const MINIMUM_MEMORY: u64 = 16 << 20;
/// Virtio block serials are 20 bytes on the wire (virtio 1.2, 5.2.6.1).
const SERIAL_LENGTH: usize = 20;

/// How the guest's instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accelerator {
    /// Hardware virtualization. Prove it first: [`crate::accelerator::prove`].
    Kvm,
    /// Translation by QEMU: works everywhere, slower.
    Tcg,
}

impl Accelerator {
    /// QEMU's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg",
        }
    }
}

impl std::fmt::Display for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Format of a disk file. Always said, never probed: a guest can write any header into a raw disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiskFormat {
    /// QEMU's copy-on-write format.
    Qcow2,
    /// Plain bytes.
    Raw,
}

/// A disk of the machine; the first one is booted from when there is no kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The file. QEMU's user must be able to open it.
    pub path: PathBuf,
    /// Format of the file.
    pub format: DiskFormat,
    /// Serial number the guest sees (`/dev/disk/by-id/virtio-SERIAL`), at most 20 bytes.
    pub serial: String,
    /// Whether the guest may only read.
    pub read_only: bool,
}

/// Where the guest's memory lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Memory {
    /// In a memory file of QEMU's own, without a name: a machine that will never be cloned with its memory.
    Anonymous,
    /// In a new file, made by [`crate::start`] with the machine's size for [`Launch::user`] alone (mode 0600). What was
    /// there under this name is unlinked and never changed: others may map it. Its file system is memory (tmpfs), its
    /// directory lets QEMU's user pass.
    Shared {
        /// The file.
        path: PathBuf,
    },
    /// A copy-on-write child of a file nobody writes any more ([`crate::memory::freeze`]) and that QEMU's user may
    /// read: what the guest changes is the process's own.
    Frozen {
        /// The file, of exactly the machine's size.
        path: PathBuf,
    },
}

impl Memory {
    /// The file, when it has a name.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Memory::Anonymous => None,
            Memory::Shared { path } | Memory::Frozen { path } => Some(path),
        }
    }
}

/// Boot this kernel instead of what the first disk holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelBoot {
    /// The kernel image.
    pub kernel: PathBuf,
    /// The initial RAM file system.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub command_line: String,
}

/// A network interface.
#[derive(Debug)]
pub struct Interface {
    /// The guest's MAC address.
    pub mac: [u8; 6],
    /// The tap it is plugged into: an open `/dev/net/tun` attached with `IFF_TAP | IFF_NO_PI | IFF_VNET_HDR`.
    pub tap: OwnedFd,
    /// MTU told to the guest's driver (virtio-net `host_mtu`), in bytes; 68 and more.
    pub mtu: Option<u16>,
}

/// The user QEMU runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id. The group of `/dev/kvm` is added when KVM is used.
    pub gid: u32,
}

/// What the process may use. Enforced by a cgroup where the host has writable ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Processor time, in percent of one core (150 is one and a half); `None` is no limit.
    pub cpu_percent: Option<u32>,
    /// Memory the QEMU process may use above the guest's memory, in bytes; `None` sets no memory limit.
    pub memory_overhead_bytes: Option<u64>,
    /// Most threads and processes; `None` is no limit.
    pub processes: Option<u32>,
    /// The kernel's `oom_score_adj`, -1000 to 1000: higher is killed earlier when the host runs out of memory.
    pub oom_score_adjust: i16,
}

impl Default for Limits {
    /// No processor limit, 512 MiB over the guest's memory, 512 threads, killed before ordinary services.
    fn default() -> Self {
        Limits {
            cpu_percent: None,
            memory_overhead_bytes: Some(512 << 20),
            processes: Some(512),
            oom_score_adjust: 200,
        }
    }
}

/// Everything to start one machine.
#[derive(Debug)]
pub struct Launch {
    /// Name for messages and process lists; any text.
    pub name: String,
    /// Runtime directory of this machine. Made when missing; its path is short (sockets: [`crate::RuntimeDirectory`]).
    pub directory: PathBuf,
    /// The QEMU binary (`qemu-system-x86_64`).
    pub qemu: PathBuf,
    /// Machine type; [`MACHINE_TYPE`] unless an older machine is to be resumed.
    pub machine_type: String,
    /// How to execute the guest.
    pub accelerator: Accelerator,
    /// QEMU's CPU model; `None` is `host` under KVM and one of x86-64-v2 under TCG.
    pub cpu_model: Option<String>,
    /// Number of virtual processors, 1 to 255.
    pub cpus: u32,
    /// The guest's memory in bytes, a multiple of 1 MiB.
    pub memory_bytes: u64,
    /// Where that memory lives.
    pub memory: Memory,
    /// Disks in order: `vda`, `vdb`, …
    pub disks: Vec<Disk>,
    /// A raw or ISO image the guest reads its first settings from (cloud-init's NoCloud), read-only.
    pub seed: Option<PathBuf>,
    /// Direct kernel boot; without it the firmware boots the first disk.
    pub kernel: Option<KernelBoot>,
    /// Network interfaces in order.
    pub interfaces: Vec<Interface>,
    /// SMBIOS system UUID: part of the inside, the same in every clone.
    pub uuid: Uuid,
    /// VM generation id: another one in every clone, so that guests renew what must be unique.
    pub generation_id: Uuid,
    /// Who QEMU runs as; `None` is the caller's own user (only for callers without root).
    pub user: Option<User>,
    /// cgroup of this machine, below the hierarchy's root, as in `wardian-1/store.web`; `None` for none.
    pub cgroup: Option<String>,
    /// What it may use.
    pub limits: Limits,
    /// Start with the processors stopped; [`crate::Machine::resume`] lets them go.
    pub paused: bool,
    /// Start as the successor of another machine: stopped, its disks not yet opened for writing, until
    /// [`crate::Machine::load_state`] and then [`crate::Machine::resume`].
    pub incoming: bool,
}

/// Why a [`Launch`] cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadLaunch {
    /// The name has a control character.
    #[error("the machine's name {0:?} has a control character")]
    Name(String),
    /// The number of processors is out of range.
    #[error("{0} processors are out of range: 1 to 255")]
    Cpus(u32),
    /// Too little memory, or not whole MiB.
    #[error("{0} bytes of memory: at least 16 MiB and whole MiB are needed")]
    Memory(u64),
    /// More disks than slots.
    #[error("{0} disks are too many: at most {MAXIMUM_DISKS}")]
    Disks(usize),
    /// More interfaces than slots.
    #[error("{0} network interfaces are too many: at most {MAXIMUM_INTERFACES}")]
    Interfaces(usize),
    /// A serial that virtio cannot carry.
    #[error("the disk serial {0:?} is not 1 to 20 printable ASCII characters without space and comma")]
    Serial(String),
    /// An MTU below the least IPv4 allows.
    #[error("an MTU of {0} bytes is below 68")]
    Mtu(u16),
    /// A path that cannot be given on a command line or in JSON.
    #[error("the path {} is not UTF-8 or holds a control character", .0.display())]
    Path(PathBuf),
    /// The frozen memory cannot be looked at.
    #[error("the frozen memory {} cannot be looked at: {why}", .path.display())]
    MemoryMissing {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The frozen memory is not this machine's: it has another size.
    #[error("the frozen memory {} has {found} bytes, the machine {wanted}", .path.display())]
    MemorySize {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// [`Launch::memory_bytes`].
        wanted: u64,
    },
    /// A relative path: QEMU does not run in the caller's directory.
    #[error("the path {} is not absolute", .0.display())]
    Relative(PathBuf),
}

impl Launch {
    /// Looks for what QEMU would refuse late or unclearly. Only a frozen memory file is looked at, nothing else is
    /// touched.
    pub fn check(&self) -> Result<(), BadLaunch> {
        if self.name.chars().any(char::is_control) {
            return Err(BadLaunch::Name(self.name.clone()));
        }
        if !(1..=255).contains(&self.cpus) {
            return Err(BadLaunch::Cpus(self.cpus));
        }
        if self.memory_bytes < MINIMUM_MEMORY || !self.memory_bytes.is_multiple_of(1 << 20) {
            return Err(BadLaunch::Memory(self.memory_bytes));
        }
        if self.disks.len() > MAXIMUM_DISKS {
            return Err(BadLaunch::Disks(self.disks.len()));
        }
        if self.interfaces.len() > MAXIMUM_INTERFACES {
            return Err(BadLaunch::Interfaces(self.interfaces.len()));
        }
        for disk in &self.disks {
            let serial = &disk.serial;
            let fine = |c: u8| c.is_ascii_graphic() && c != b',';
            if serial.is_empty() || serial.len() > SERIAL_LENGTH || !serial.bytes().all(fine) {
                return Err(BadLaunch::Serial(serial.clone()));
            }
        }
        if let Some(mtu) = self.interfaces.iter().filter_map(|i| i.mtu).find(|mtu| *mtu < 68) {
            return Err(BadLaunch::Mtu(mtu));
        }
        let boot = self.kernel.iter().flat_map(|k| std::iter::once(&k.kernel).chain(&k.initrd));
        let files = self.disks.iter().map(|d| &d.path).chain(&self.seed).chain(boot);
        let memory = self.memory.path();
        for path in files.map(PathBuf::as_path).chain(memory).chain([self.directory.as_path(), &self.qemu]) {
            match path.to_str() {
                Some(text) if !text.chars().any(char::is_control) => {}
                _ => return Err(BadLaunch::Path(path.to_owned())),
            }
            if !path.is_absolute() {
                return Err(BadLaunch::Relative(path.to_owned()));
            }
        }
        match &self.memory {
            Memory::Frozen { path } => frozen_memory(path, self.memory_bytes),
            Memory::Anonymous | Memory::Shared { .. } => Ok(()),
        }
    }
}

fn frozen_memory(path: &Path, wanted: u64) -> Result<(), BadLaunch> {
    let missing = |why: String| BadLaunch::MemoryMissing { path: path.to_owned(), why };
    // Not followed: a link could be turned to a file that somebody writes.
    let metadata = std::fs::symlink_metadata(path).map_err(|error| missing(error.to_string()))?;
    if !metadata.is_file() {
        return Err(missing("it is no ordinary file".to_owned()));
    }
    let found = metadata.len();
    if found == wanted { Ok(()) } else { Err(BadLaunch::MemorySize { path: path.to_owned(), found, wanted }) }
}
