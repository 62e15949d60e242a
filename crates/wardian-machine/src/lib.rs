//! One virtual machine on QEMU: command line, process, QMP, guest agent, console, cgroup.
//!
//! This crate knows one machine at a time and nothing of environments, records or networks: the caller hands in plain
//! values ([`Launch`]) and gets a handle ([`Machine`]). Machines outlive the process that started them; what proves
//! that one is running is a lock which the QEMU process itself holds (see [`lock`]).
//!
//! | file of the runtime directory | what it is | who writes |
//! |---|---|---|
//! | `lock` | held (flock) by QEMU while it lives; its text is the process id | the process that becomes QEMU |
//! | `qmp.sock`, `agent.sock`, `console.sock` | listening sockets, handed to QEMU as descriptors | the starter |
//! | `console.log` | what the guest printed on its serial line, a bounded tail | QEMU; trimmed by [`Machine`] |
//! | `qemu.log` | QEMU's standard output and error: its last words | QEMU; trimmed by [`Machine`] |
//! | `process.json` | process id, start time and cgroup of the last start, for people and tools | the starter |
//!
//! The directory belongs to the starter (root), QEMU's user may pass through it but not write in it: a QEMU that was
//! broken out of can neither replace a socket nor the lock.

pub mod accelerator;
pub mod agent;
pub mod cgroup;
mod command_line;
pub mod console;
pub mod directory;
mod exit;
mod framing;
mod launch;
pub mod lock;
mod machine;
pub mod memory;
mod process;
pub mod qmp;
mod shutdown;
mod spawn;
mod start;
mod state;
pub mod succession;
mod switch;
mod version;

pub use agent::{Agent, AgentError};
pub use command_line::{Descriptors, command_line, interface_slot};
pub use directory::{DirectoryError, RuntimeDirectory};
pub use exit::Exit;
pub use launch::{Accelerator, BadLaunch, Disk, DiskFormat, Interface, KernelBoot, Launch, Limits, Memory, User};
pub use launch::{MACHINE_TYPE, MAXIMUM_DISKS, MAXIMUM_INTERFACES, MINIMUM_MEMORY};
pub use machine::{AdoptError, Machine, RunState, Status};
pub use process::ProcessId;
pub use qmp::{Event, MachineEvent, Qmp, QmpError};
pub use shutdown::{Deadlines, ShutdownError, ShutdownStep};
pub use start::{StartError, Started, start};
pub use state::StateError;
pub use version::{MINIMUM, Version, VersionError, version};
