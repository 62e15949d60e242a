//! The layers of machines' disks on this host, and the cgroups of their processes.
//!
//! A layer is a qcow2 file above an image or another layer. The last one of a machine is writable, by that machine's
//! user alone; all others never change again. Who needs which is in the records ([`wardian_plan::disks`]).

use std::{
    collections::BTreeSet,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use wardian_machine::cgroup;
use wardian_model::{
    cut::CutRecord,
    environment::{EnvironmentRecord, Problem},
    id::LayerId,
    machine::{Disk, MachineRecord},
    name::MachineName,
    record::Record,
    size::ByteSize,
    snapshot::SnapshotRecord,
};
use wardian_plan::disks;

use crate::{fault, memories, paths::Paths, refusal::problem, shared::Shared};

/// Sees to it that every layer of `disk` is there and only user `uid` can write the last. Gives the last one's path.
///
/// Only the last may be missing, for it is written down before it is made; a lower one that is missing is a loss.
pub(crate) async fn ensure(shared: &Shared, disk: &Disk, uid: u32, size: Option<ByteSize>) -> Result<PathBuf, Problem> {
    let Some((top, lower)) = disk.layers.split_last() else {
        return Err(Problem::new("the record of the disk names no layer"));
    };
    for layer in lower {
        let path = shared.paths.layer(*layer);
        if !path.exists() {
            return Err(Problem::new(format!("a part of the disk is missing: {}", path.display()))
                .hint("restore that file from a backup; without it the disk can't be read"));
        }
    }
    let path = shared.paths.layer(*top);
    let base = match lower.last() {
        Some(layer) => shared.paths.layer(*layer),
        None => shared.image(&disk.image)?.disk,
    };
    // A layer appears under its name when it is whole, so one that is there needs no look inside.
    if !path.exists() {
        wardian_vault::overlay_on(shared.vault.tool(), &base, &path, size.map(ByteSize::as_bytes)).await.map_err(
            |error| {
                let hint = error.hint();
                problem(&error).hint(hint)
            },
        )?;
    }
    fault::point("disk: file made");
    own(&path, uid, 0o600)?;
    Ok(path)
}

/// What was the top until a cut: readable for the machines of all clones, writable for none. So is every layer below: a
/// cut that was interrupted has left one that was not sealed yet.
pub(crate) async fn seal(shared: &Shared, disk: &Disk) -> Result<(), Problem> {
    disk.layers.iter().try_for_each(|layer| own(&shared.paths.layer(*layer), 0, 0o444))
}

/// Gives a file to a user (and its group of the same number), with these permissions.
pub(crate) fn own(path: &Path, uid: u32, mode: u32) -> Result<(), Problem> {
    let failed = |error: std::io::Error| Problem::new(format!("{}: {error}", path.display()));
    chown(path, Some(uid), Some(uid)).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)
}

/// Deletes the layers no record names, and the cuts nobody waits for any more.
pub(crate) async fn collect(shared: &Shared) -> Result<(), Problem> {
    let _alone = shared.collecting.lock().await;
    finish_cuts(shared).await.map_err(|error| problem(&error))?;
    memories::collect(shared).await?;
    fault::point("collect: cuts finished");
    // Files first, records afterwards: a layer is written down before its file is made.
    let present = present(&shared.paths).map_err(|error| Problem::new(format!("layers can't be listed: {error}")))?;
    let records = &shared.records;
    let machines = records.list::<MachineRecord>(MachineRecord::PREFIX).await.map_err(|error| problem(&error))?;
    let cuts = records.cuts_and_parts().await.map_err(|error| problem(&error))?;
    for layer in disks::unneeded(&present, &disks::needed(&machines, &cuts)) {
        let path = shared.paths.layer(layer);
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "unneeded layer not deleted");
        }
        fault::point("collect: layer deleted");
    }
    Ok(())
}

async fn finish_cuts(shared: &Shared) -> wardian_store::Result<()> {
    let records = &shared.records;
    let cuts = records.list::<CutRecord>(CutRecord::PREFIX).await?;
    let environments = records.list::<EnvironmentRecord>(EnvironmentRecord::PREFIX).await?;
    let machines = records.list::<MachineRecord>(MachineRecord::PREFIX).await?;
    let snapshots = records.list::<SnapshotRecord>(SnapshotRecord::PREFIX).await?;
    for id in disks::finished_cuts(&cuts, &environments, &machines, &snapshots) {
        let _ = records.store().commit(wardian_store::Transaction::new().delete(CutRecord::key_of(id))).await?;
    }
    Ok(())
}

fn present(paths: &Paths) -> std::io::Result<BTreeSet<LayerId>> {
    let mut layers = BTreeSet::new();
    for entry in std::fs::read_dir(paths.layers())? {
        let name = entry?.file_name();
        let id: Option<LayerId> =
            name.to_str().and_then(|name| name.strip_suffix(".qcow2")).and_then(|id| id.parse().ok());
        layers.extend(id);
    }
    Ok(layers)
}

/// The cgroup of a machine's process, below the hierarchy's root. By the environment's id, which no other daemon has.
pub(crate) fn group(environment: &EnvironmentRecord, name: &MachineName) -> String {
    format!("wardian/{}.{name}", environment.id)
}

/// Removes it; fine when it is gone.
pub(crate) fn remove_group(environment: &EnvironmentRecord, name: &MachineName) -> Result<(), cgroup::CgroupError> {
    cgroup::detect().remove(&group(environment, name))
}
