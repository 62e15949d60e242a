//! A cgroup per machine, on hosts with version 2, with version 1, or without writable ones.
//!
//! Names are given below the hierarchy's root, as in `wardian-7/store.web`: a parent per daemon, a group per machine.
//! What a host cannot enforce is reported, never an error: a machine without a limit runs. Removing leaves nothing: the
//! group, and its parent when that was the last one. Kernel: `admin-guide/cgroup-v2.rst`, `cgroup-v1/`.

mod detect;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

pub use detect::{Hierarchy, Mount, detect};

use crate::launch::Limits;

/// The period processor quotas are counted in, in microseconds; the kernel's default.
const PERIOD: u64 = 100_000;

/// A resource a group limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Number of processes and threads.
    Pids,
    /// Stopping all processes at once (version 1 only; part of every group in version 2).
    Freezer,
}

impl Controller {
    const ALL: [Controller; 4] = [Controller::Cpu, Controller::Memory, Controller::Pids, Controller::Freezer];

    /// The kernel's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Freezer => "freezer",
        }
    }
}

/// Why a cgroup cannot be used or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// The name could leave the hierarchy.
    #[error("{0:?} is no name of a cgroup: relative, without empty, `.` and `..` parts")]
    Name(String),
    /// The group cannot be removed.
    #[error("the cgroup {} cannot be removed", .path.display())]
    Remove {
        /// The group's directory.
        path: PathBuf,
        /// Why; busy while a process is in it.
        source: io::Error,
    },
}

/// A group made for a machine.
#[derive(Debug)]
pub struct Group {
    /// The `cgroup.procs` files: who writes "0" into each is in the group.
    pub(crate) entrances: Vec<File>,
    /// What could not be limited and why, for people; empty when everything wished is enforced.
    pub unenforced: Vec<String>,
}

impl Hierarchy {
    /// Makes the group `name` with its limits, or sets them again when it is there.
    ///
    /// `guest_memory` is the guest's memory in bytes, to which [`Limits::memory_overhead_bytes`] is added. While a
    /// process is in the group, as when a machine's successor joins it, the limit of memory is only ever raised.
    pub fn create(&self, name: &str, limits: &Limits, guest_memory: u64) -> Result<Group, CgroupError> {
        check(name)?;
        let mut group = Group { entrances: Vec::new(), unenforced: Vec::new() };
        let wishes = wishes(self, limits, guest_memory);
        for mount in self.mounts() {
            if let Err(error) = make(self, mount, name) {
                group.unenforced.push(format!("{}: {error}", mount.root.join(name).display()));
                continue;
            }
            let directory = mount.root.join(name);
            for (controller, file, value) in &wishes {
                if !mount.controllers.contains(controller) {
                    continue;
                }
                if *controller == Controller::Memory && keeps(&directory, file, value) {
                    continue;
                }
                if let Err(error) = std::fs::write(directory.join(file), value) {
                    group.unenforced.push(format!("{file}: {error}"));
                }
            }
            match OpenOptions::new().write(true).open(directory.join("cgroup.procs")) {
                Ok(file) => group.entrances.push(file),
                Err(error) => group.unenforced.push(format!("{}: {error}", directory.display())),
            }
        }
        for (controller, _, value) in &wishes {
            let there = self.mounts().iter().any(|mount| mount.controllers.contains(controller));
            if !there && *value != "max" && *value != "-1" {
                group.unenforced.push(format!("this host has no writable {} cgroup", controller.as_str()));
            }
        }
        Ok(group)
    }

    /// Removes the group `name`, and its parent when it is empty then. Fine when it is not there.
    pub fn remove(&self, name: &str) -> Result<(), CgroupError> {
        check(name)?;
        for mount in self.mounts() {
            let path = mount.root.join(name);
            match std::fs::remove_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(CgroupError::Remove { path, source }),
            }
            if let Some(parent) = Path::new(name).parent().filter(|p| !p.as_os_str().is_empty()) {
                // Not empty: another machine lives there. Not there: somebody was faster.
                let _ = std::fs::remove_dir(mount.root.join(parent));
            }
        }
        Ok(())
    }

    /// How many processes of the group the kernel has killed for want of memory; 0 when it cannot be told.
    pub fn out_of_memory_kills(&self, name: &str) -> u64 {
        let mount = self.mounts().iter().find(|mount| mount.controllers.contains(&Controller::Memory));
        let Some(mount) = mount.filter(|_| check(name).is_ok()) else { return 0 };
        let file = if self.is_version_2() { "memory.events" } else { "memory.oom_control" };
        let text = std::fs::read_to_string(mount.root.join(name).join(file)).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
    }
}

/// Whether the group holds processes and allows them as much memory already.
fn keeps(group: &Path, file: &str, wished: &str) -> bool {
    let read = |file: &str| std::fs::read_to_string(group.join(file)).unwrap_or_default();
    // No number is no limit: `max`, and version 1's -1.
    let limit = |text: &str| text.trim().parse().unwrap_or(u64::MAX);
    !read("cgroup.procs").is_empty() && limit(&read(file)) >= limit(wished)
}

/// Makes the directories, and in version 2 hands the controllers down to them.
fn make(hierarchy: &Hierarchy, mount: &Mount, name: &str) -> io::Result<()> {
    let mut directory = mount.root.clone();
    for part in Path::new(name).components() {
        if hierarchy.is_version_2() {
            for controller in &mount.controllers {
                // One at a time: one that is missing must not keep the others away. What is missing shows at its limit.
                let _ = std::fs::write(directory.join("cgroup.subtree_control"), format!("+{}", controller.as_str()));
            }
        }
        directory.push(part);
        match std::fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Which file gets which value. An unset limit is written too: the group may be left from another start.
fn wishes(hierarchy: &Hierarchy, limits: &Limits, guest_memory: u64) -> Vec<(Controller, &'static str, String)> {
    let memory = limits.memory_overhead_bytes.map(|overhead| guest_memory.saturating_add(overhead));
    let quota = limits.cpu_percent.map(|percent| u64::from(percent.max(1)) * PERIOD / 100);
    let or = |value: Option<u64>, none: &str| value.map_or(none.to_owned(), |v| v.to_string());
    let processes = or(limits.processes.map(u64::from), "max");
    if hierarchy.is_version_2() {
        return vec![
            (Controller::Cpu, "cpu.max", format!("{} {PERIOD}", or(quota, "max"))),
            (Controller::Memory, "memory.max", or(memory, "max")),
            (Controller::Pids, "pids.max", processes),
        ];
    }
    vec![
        (Controller::Cpu, "cpu.cfs_period_us", PERIOD.to_string()),
        (Controller::Cpu, "cpu.cfs_quota_us", or(quota, "-1")),
        (Controller::Memory, "memory.limit_in_bytes", or(memory, "-1")),
        (Controller::Pids, "pids.max", processes),
    ]
}

fn check(name: &str) -> Result<(), CgroupError> {
    let fine = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if name.split('/').all(fine) { Ok(()) } else { Err(CgroupError::Name(name.to_owned())) }
}
