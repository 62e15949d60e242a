//! The memory of machines on this host: files at hand (on a tmpfs of our own) and on disk.
//!
//! At hand are the memory that running machines write, and frozen memory that others are copy-on-write children of. On
//! disk is the memory of snapshots; it is brought to hand when somebody is to go on from it. Who needs which is in the
//! records ([`wardian_plan::disks::memories`]).

use std::{collections::BTreeSet, io, path::Path, path::PathBuf};

use nix::{
    mount::{MsFlags, mount},
    sys::statfs::{TMPFS_MAGIC, statfs},
};
use wardian_machine::{
    MACHINE_TYPE, Machine, RuntimeDirectory,
    lock::{self, Holder},
    memory,
};
use wardian_model::{
    environment::{EnvironmentRecord, Problem},
    host::Accelerator,
    id::MemoryId,
    machine::MachineRecord,
    memory::FrozenMemory,
    name::MachineName,
    record::Record,
    snapshot::SnapshotRecord,
};
use wardian_plan::disks;
use wardian_vault::memory::{Here, MemoryError, MemoryFacts, compatible, load, save, verify};

use crate::{fault, paths::Paths, refusal::problem, shared::Shared, state::StateError};

/// Sees to it that memory lies in memory: a tmpfs of our own, for /run is often too small to hold a guest.
pub(crate) fn mount_folder(paths: &Paths) -> Result<(), StateError> {
    let path = paths.memory();
    let failed = |source: nix::Error| StateError::Io { path: path.clone(), source: source.into() };
    let parent = statfs(paths.run()).map_err(failed)?;
    let there = statfs(&path).map_err(failed)?;
    if there.filesystem_type() == TMPFS_MAGIC && there.filesystem_id() != parent.filesystem_id() {
        return Ok(());
    }
    // Machines are refused before memory runs out; the file system itself shall not be the limit.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("wardian"), &path, Some("tmpfs"), flags, Some("mode=0711,size=100%")).map_err(failed)
}

/// What machines are started with here.
fn here(qemu: &str, accelerator: Accelerator) -> Here {
    Here {
        qemu: qemu.to_owned(),
        machine_types: vec![MACHINE_TYPE.to_owned()],
        accelerator: accelerator.to_string(),
        cpu_model: model(accelerator).to_owned(),
    }
}

/// The processor guests see; `wardian-machine` gives it to them.
const fn model(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "host",
        Accelerator::Tcg => "x86-64-v2",
    }
}

/// What somebody has to know who wants to go on from the memory `id`, which is or becomes that of this running machine.
pub(crate) async fn of_machine(
    shared: &Shared,
    environment: &EnvironmentRecord,
    record: &MachineRecord,
    machine: &Machine,
    id: MemoryId,
) -> Result<FrozenMemory, Problem> {
    let spec = environment.spec.machines.get(&record.name);
    let spec = spec.ok_or_else(|| Problem::new(format!("the record of {} is incomplete", record.name)))?;
    Ok(FrozenMemory {
        id,
        qemu: version_of(machine).await.map_err(|error| problem(&error))?,
        machine_type: MACHINE_TYPE.to_owned(),
        accelerator: shared.accelerator(None).await?,
        cpus: spec.cpus,
        size: spec.memory.as_bytes(),
        generation: record.generation.clone(),
    })
}

/// The version of the QEMU that a machine runs on, which may be older than the one installed.
async fn version_of(machine: &Machine) -> Result<String, wardian_machine::QmpError> {
    let answer = machine.qmp().execute("query-version", None).await?;
    let number = |key: &str| answer.pointer(&format!("/qemu/{key}")).and_then(serde_json::Value::as_u64).unwrap_or(0);
    Ok(format!("{}.{}.{}", number("major"), number("minor"), number("micro")))
}

/// The memory of a running machine that is about to be frozen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Freezing {
    /// Its own file; for a copy-on-write child a copy, which is to be made.
    pub(crate) id: MemoryId,
    /// What the child was born from.
    born_from: Option<MemoryId>,
}

/// Which memory that is, by what the kernel knows of the process.
pub(crate) fn to_freeze(paths: &Paths, name: &MachineName, machine: &Machine) -> Result<Freezing, Problem> {
    match of_process(paths, machine.pid()) {
        Some((id, true)) => Ok(Freezing { id, born_from: None }),
        Some((of, false)) => Ok(Freezing { id: MemoryId::random(), born_from: Some(of) }),
        None => {
            Err(Problem::new(format!("the memory of {name} can't be frozen: it was started without a file for it")))
        }
    }
}

/// Copies the memory of a copy-on-write child, as it is now; there is nothing to do for others. While it runs, that is
/// no moment; but most of what there is to copy is there then.
pub(crate) async fn copy(paths: &Paths, child: &Machine, memory: Freezing) -> Result<(), Problem> {
    let Some(of) = memory.born_from else { return Ok(()) };
    let (from, to, child) = (paths.ram(of), paths.ram(memory.id), child.clone());
    let copied = run(move || {
        memory::copy_sparse(&from, &to)?;
        memory::copy_private_pages(&child, &to).map(drop)
    });
    copied.await.map_err(|error| Problem::new(error.to_string()))
}

/// Lays what a copy-on-write child has changed over the copy of what it was born from; there is nothing to do for
/// others.
pub(crate) async fn complete(
    paths: &Paths,
    name: &MachineName,
    child: &Machine,
    memory: Freezing,
) -> Result<(), Problem> {
    if memory.born_from.is_none() {
        return Ok(());
    }
    let (to, child) = (paths.ram(memory.id), child.clone());
    let copied = run(move || memory::copy_private_pages(&child, &to)).await;
    let pages =
        copied.map_err(|error| Problem::new(format!("the changed memory of {name} can't be copied: {error}")))?;
    tracing::debug!(machine = %name, bytes = pages.copied, took = ?pages.took, "memory completed");
    Ok(())
}

fn facts(machine: &MachineName, memory: &FrozenMemory) -> MemoryFacts {
    MemoryFacts {
        qemu: memory.qemu.clone(),
        machine_type: memory.machine_type.clone(),
        accelerator: memory.accelerator.to_string(),
        cpu_model: model(memory.accelerator).to_owned(),
        cpus: u32::from(memory.cpus),
        memory_bytes: memory.size,
        created: wardian_model::Timestamp::now().to_string(),
        machine: machine.to_string(),
    }
}

/// Whether a machine can go on from that memory on this host.
pub(crate) async fn check(shared: &Shared, machine: &MachineName, memory: &FrozenMemory) -> Result<(), Problem> {
    let accelerator = shared.accelerator(None).await?;
    compatible(&facts(machine, memory), &here(&shared.qemu_version, accelerator)).map_err(|error| {
        let hint = error.hint();
        problem(&error).hint(hint)
    })?;
    if shared.paths.ram(memory.id).exists() && shared.paths.device_state(memory.id).exists() {
        return Ok(());
    }
    // All of it, and not only what it says of itself: who goes back to it gives up what there is now.
    let path = shared.paths.saved_memory(memory.id);
    let looked = run(move || verify(&path)).await.map_err(|error| bad(&error))?;
    let wanted = facts(machine, memory);
    if (looked.memory_bytes, &looked.machine_type) != (wanted.memory_bytes, &wanted.machine_type) {
        return Err(Problem::new(format!("the saved memory of {machine} belongs to another machine"))
            .hint("restore that file from a backup, or remove the snapshot"));
    }
    Ok(())
}

/// The memory and the state of the devices, at hand, frozen, and readable for machines' users.
pub(crate) async fn at_hand(shared: &Shared, id: MemoryId) -> Result<(PathBuf, PathBuf), Problem> {
    let (ram, state) = (shared.paths.ram(id), shared.paths.device_state(id));
    // Twenty clones of one snapshot read it once.
    let _alone = shared.loading.lock().await;
    if !ram.exists() || !state.exists() {
        let (from, ram, state) = (shared.paths.saved_memory(id), ram.clone(), state.clone());
        run(move || load(&from, &ram, &state)).await.map_err(|error| bad(&error))?;
        fault::point("memory: loaded");
    }
    freeze(&ram)?;
    freeze(&state)?;
    Ok((ram, state))
}

/// Nobody can open it for writing any more.
pub(crate) fn freeze(path: &Path) -> Result<(), Problem> {
    memory::freeze(path).map_err(|error| Problem::new(format!("{}: {error}", path.display())))
}

/// Writes it to disk; gives the size of the file, in bytes. Fine when it is there.
pub(crate) async fn to_disk(shared: &Shared, machine: &MachineName, memory: &FrozenMemory) -> Result<u64, Problem> {
    let to = shared.paths.saved_memory(memory.id);
    if let Ok(there) = std::fs::metadata(&to) {
        return Ok(there.len());
    }
    let (ram, state) = (shared.paths.ram(memory.id), shared.paths.device_state(memory.id));
    let facts = facts(machine, memory);
    let saved = run(move || save(&facts, &ram, &state, &to, |_, _| {})).await.map_err(|error| bad(&error))?;
    fault::point("memory: on disk");
    Ok(saved.file_bytes)
}

fn bad(error: &MemoryError) -> Problem {
    problem(error).hint(error.hint())
}

async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // A panic in there is a defect of ours; it shall not be taken for anything else.
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Deletes the files no record names. Not while a cut is under way: what it makes is named when it is done, and then
/// the collector looks again ([`Shared::making`]).
pub(crate) async fn collect(shared: &Shared) -> Result<(), Problem> {
    // One that is deleting just now is waited for: who asked relies on it.
    let _one = shared.collecting_memory.lock().await;
    let Ok(_alone) = shared.cutting.try_write() else { return Ok(()) };
    collect_alone(shared).await
}

/// The same, for who must have what is not needed any more out of the way: waits for a cut that is under way.
pub(crate) async fn collect_in_any_case(shared: &Shared) -> Result<(), Problem> {
    // In this order it would keep others waiting for the cut; so the cut is waited for first.
    drop(shared.cutting.write().await);
    let _one = shared.collecting_memory.lock().await;
    let _alone = shared.cutting.write().await;
    collect_alone(shared).await
}

async fn collect_alone(shared: &Shared) -> Result<(), Problem> {
    let _loading = shared.loading.lock().await;
    let failed = |folder: &Path, error: &io::Error| Problem::new(format!("{}: {error}", folder.display()));
    // Files first, records afterwards: memory on disk is named before it is written.
    let at_hand = present(&shared.paths.memory()).map_err(|error| failed(&shared.paths.memory(), &error))?;
    let on_disk =
        present(&shared.paths.saved_memories()).map_err(|error| failed(&shared.paths.saved_memories(), &error))?;
    let records = &shared.records;
    let machines = records.list::<MachineRecord>(MachineRecord::PREFIX).await.map_err(|error| problem(&error))?;
    let cuts = records.cuts_and_parts().await.map_err(|error| problem(&error))?;
    let snapshots = records.list::<SnapshotRecord>(SnapshotRecord::PREFIX).await.map_err(|error| problem(&error))?;
    let mut needed = disks::memories(&machines, &cuts, &snapshots);
    needed.at_hand.extend(mapped(&shared.paths).map_err(|error| failed(&shared.paths.machines(), &error))?);
    let unneeded = |files: BTreeSet<(MemoryId, PathBuf)>, needed: &BTreeSet<MemoryId>| {
        for (_, path) in files.into_iter().filter(|(id, _)| !needed.contains(id)) {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "unneeded memory not deleted");
            }
            fault::point("collect: memory deleted");
        }
    };
    unneeded(at_hand, &needed.at_hand);
    unneeded(on_disk, &needed.on_disk);
    if let Err(error) = wardian_vault::memory::sweep(&shared.paths.saved_memories()) {
        tracing::warn!(error = %problem(&error), "what an interrupted save has left is not deleted");
    }
    if let Err(error) = wardian_vault::memory::sweep(&shared.paths.memory()) {
        tracing::warn!(error = %problem(&error), "what an interrupted load has left is not deleted");
    }
    Ok(())
}

/// The memory machines have. A daemon that died in a cut may have left a machine with memory that its record doesn't
/// name yet: it is written down when the machine is adopted, and must still be there for the next cut.
fn mapped(paths: &Paths) -> io::Result<BTreeSet<MemoryId>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(paths.machines())? {
        let directory = entry?.path();
        // Who stands beside a machine (`SLOT.next`) is ended, and its memory with it.
        if directory.extension().is_none()
            && let Holder::Process(pid) = lock::holder(&RuntimeDirectory::new(&directory).lock())?
        {
            found.extend(of_process(paths, pid).map(|(id, _)| id));
        }
    }
    Ok(found)
}

fn present(folder: &Path) -> io::Result<BTreeSet<(MemoryId, PathBuf)>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('.').next()?.parse().ok());
        found.extend(id.map(|id| (id, path)));
    }
    Ok(found)
}

/// The memory a process has: which, and whether it writes the file itself (or is a copy-on-write child of it).
///
/// The kernel knows (`/proc/PID/maps`, proc(5)): what records say may be older.
pub(crate) fn of_process(paths: &Paths, pid: i32) -> Option<(MemoryId, bool)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    of_maps(&maps, &paths.memory())
}

fn of_maps(maps: &str, folder: &Path) -> Option<(MemoryId, bool)> {
    maps.lines().find_map(|line| {
        let mut words = line.splitn(6, ' ').map(str::trim);
        let permissions = words.nth(1)?;
        let file = Path::new(words.nth(3)?);
        let id = file.strip_prefix(folder).ok()?.to_str()?.strip_suffix(".ram")?.parse().ok()?;
        Some((id, permissions.ends_with('s')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_a_machine_on_its_own_memory_from_a_copy_on_write_child() {
        let line = |permissions| {
            format!(
                "00400000-00401000 r-xp 00000000 fe:00 1 /usr/bin/qemu\n7f00-7f01 {permissions} 00000000 00:1f 42                         /run/w/memory/00000000000000aa.ram\n"
            )
        };
        let folder = Path::new("/run/w/memory");
        assert_eq!(of_maps(&line("rw-s"), folder), Some((MemoryId::from_bits(0xaa), true)));
        assert_eq!(of_maps(&line("rw-p"), folder), Some((MemoryId::from_bits(0xaa), false)));
        assert_eq!(of_maps(&line("rw-p"), Path::new("/run/other")), None);
    }
}
