//! Which files of disks and memory nobody needs any more.
//!
//! A layer's id is written into a record *before* its file is made, so a file that no record names is garbage,
//! whatever was killed in between. Memory is made while its cut is under way; [`memories`] is asked only when none is.

use std::collections::BTreeSet;

use wardian_model::{
    cut::{CutPhase, CutRecord},
    environment::{EnvironmentRecord, Origin},
    id::{CutId, LayerId, MemoryId},
    machine::{Disk, MachineRecord},
    memory::FrozenMemory,
    snapshot::{SnapshotPhase, SnapshotRecord},
};

/// Every layer some record still names.
pub fn needed<'a>(
    machines: impl IntoIterator<Item = &'a MachineRecord>,
    cuts: impl IntoIterator<Item = &'a CutRecord>,
) -> BTreeSet<LayerId> {
    let of_machines = machines.into_iter().map(|m| &m.disk);
    let of_cuts = cuts.into_iter().flat_map(|cut| match &cut.phase {
        CutPhase::Done { disks, .. } => disks.values().collect::<Vec<&Disk>>(),
        CutPhase::Wanted | CutPhase::Failed { .. } => Vec::new(),
    });
    of_machines.chain(of_cuts).flat_map(|disk| disk.layers.iter().copied()).collect()
}

/// The layers among `present` that can be deleted.
#[must_use]
pub fn unneeded(present: &BTreeSet<LayerId>, needed: &BTreeSet<LayerId>) -> BTreeSet<LayerId> {
    present.difference(needed).copied().collect()
}

/// Which memory some record still names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memories {
    /// Needed at hand: a process has it mapped, or is about to go on from it, or it is not on disk yet.
    pub at_hand: BTreeSet<MemoryId>,
    /// Needed on disk: it belongs to a snapshot, or a machine is to go on from it.
    pub on_disk: BTreeSet<MemoryId>,
}

/// The memory some record still names.
#[must_use]
pub fn memories(machines: &[MachineRecord], cuts: &[CutRecord], snapshots: &[SnapshotRecord]) -> Memories {
    let of = |cut: &CutRecord| match &cut.phase {
        CutPhase::Done { memories, .. } => memories.values().map(|memory: &FrozenMemory| memory.id).collect(),
        CutPhase::Wanted | CutPhase::Failed { .. } => Vec::new(),
    };
    let mut found = Memories::default();
    for machine in machines {
        found.at_hand.extend(machine.memory);
        if !machine.saved {
            found.at_hand.extend(machine.resume.as_ref().map(|memory| memory.id));
        }
        // Until it has been gone on from, it may have to be read from disk once more.
        found.on_disk.extend(machine.resume.as_ref().map(|memory| memory.id));
    }
    for cut in cuts {
        let snapshot = snapshots.iter().find(|snapshot| snapshot.cut == cut.id);
        // Also that of one whose snapshot was removed: the cut is there as long as a machine is to start from it.
        found.on_disk.extend(of(cut));
        if !snapshot.is_some_and(|snapshot| matches!(snapshot.phase, SnapshotPhase::Ready { .. })) {
            found.at_hand.extend(of(cut));
        }
    }
    found
}

/// The cuts nobody needs any more: no snapshot has them, and every machine that starts from them has done so, or is
/// gone.
///
/// A cut is written in one transaction with what needs it, so there is no cut whose user is yet to come.
#[must_use]
pub fn finished_cuts(
    cuts: &[CutRecord],
    environments: &[EnvironmentRecord],
    machines: &[MachineRecord],
    snapshots: &[SnapshotRecord],
) -> BTreeSet<CutId> {
    let waits = |id: CutId| {
        environments.iter().any(|environment| {
            let mut own = machines.iter().filter(|m| m.environment_id == environment.id);
            match (&environment.origin, &environment.restore) {
                (Origin::Clone { cut, .. }, _) if *cut == id && own.clone().any(|m| m.disk.layers.is_empty()) => true,
                (_, Some(restore)) => restore.cut == id && own.any(|m| environment.restore_due(m).is_some()),
                _ => false,
            }
        })
    };
    let named = |id: CutId| snapshots.iter().any(|snapshot| snapshot.cut == id);
    cuts.iter().map(|cut| cut.id).filter(|id| !waits(*id) && !named(*id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(layers: &[u64]) -> MachineRecord {
        serde_json::from_value(serde_json::json!({
            "environment": "lab", "environment-id": "0000000000000001", "name": "web",
            "disk": { "image": "d", "layers": layers.iter().map(|l| format!("{l:016x}")).collect::<Vec<_>>() },
            "generation": "g", "run": 0, "phase": { "is": "stopped" }, "agent": { "is": "unknown" },
        }))
        .unwrap()
    }

    #[test]
    fn a_layer_is_needed_while_any_machine_or_cut_names_it() {
        let cut: CutRecord = serde_json::from_value(serde_json::json!({
            "id": "00000000000000aa", "source": "lab", "source-id": "0000000000000001",
            "phase": { "is": "done", "disks": { "web": { "image": "d", "layers": ["0000000000000003"] } }, "quiesced": [] },
        }))
        .unwrap();
        let needed = needed(&[machine(&[1, 2])], &[cut]);
        let present = (1..=5).map(LayerId::from_bits).collect();
        assert_eq!(unneeded(&present, &needed), [4, 5].map(LayerId::from_bits).into());
    }

    #[test]
    fn memory_on_disk_is_kept_while_a_machine_is_to_go_back_to_it_though_its_snapshot_was_removed() {
        let environment: EnvironmentRecord = serde_json::from_value(serde_json::json!({
            "id": "0000000000000001", "name": "lab", "created": "2026-01-01T00:00:00Z",
            "spec": { "name": "lab", "machines": { "web": { "image": "micro" } } },
            "origin": { "from": "file" }, "edge": { "slot": 1, "mac": "02:57:80:00:00:01" }, "identities": {},
            "fence": "open", "desired": "running", "run": 2, "phase": { "is": "starting" },
            "restore": { "number": 2, "cut": "00000000000000aa", "snapshot": "kept" },
        }))
        .unwrap();
        let cut: CutRecord = serde_json::from_value(serde_json::json!({
            "id": "00000000000000aa", "source": "lab", "source-id": "0000000000000001", "memory": true,
            "phase": { "is": "done", "disks": {}, "quiesced": [], "memories": { "web": {
                "id": "00000000000000cc", "qemu": "10.0.2", "machine-type": "pc", "accelerator": "tcg", "cpus": 1,
                "size": 134_217_728, "generation": "g",
            } } },
        }))
        .unwrap();
        let (cuts, environments, machines) = ([cut], [environment], [machine(&[1])]);
        assert!(finished_cuts(&cuts, &environments, &machines, &[]).is_empty());
        assert!(memories(&machines, &cuts, &[]).on_disk.contains(&MemoryId::from_bits(0xcc)));
        // Once it has gone back there is neither.
        let machines = [MachineRecord { restored: 2, ..machine(&[1, 2]) }];
        assert_eq!(finished_cuts(&cuts, &environments, &machines, &[]).len(), 1);
        assert!(memories(&machines, &[], &[]).on_disk.is_empty());
    }

    #[test]
    fn a_cut_is_finished_when_no_machine_waits_for_its_disk() {
        let cut: CutRecord = serde_json::from_value(serde_json::json!({
            "id": "00000000000000aa", "source": "lab", "source-id": "0000000000000009", "phase": { "is": "wanted" },
        }))
        .unwrap();
        assert_eq!(finished_cuts(&[cut], &[], &[machine(&[])], &[]).len(), 1);
    }
}
