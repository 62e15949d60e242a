//! Which disk files nobody needs any more.
//!
//! A layer's id is written into a record *before* its file is made, so a file that no record names is garbage,
//! whatever was killed in between.

use std::collections::BTreeSet;

use wardian_model::{
    cut::{CutPhase, CutRecord},
    environment::{EnvironmentRecord, Origin},
    id::{CutId, LayerId},
    machine::{Disk, MachineRecord},
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

/// The cuts no clone waits for any more: every machine that starts from them has its disk, or is gone.
///
/// A cut and its clone are written in one transaction, so there is no cut whose clone is yet to come.
#[must_use]
pub fn finished_cuts(
    cuts: &[CutRecord],
    environments: &[EnvironmentRecord],
    machines: &[MachineRecord],
) -> BTreeSet<CutId> {
    let waits = |id: CutId| {
        environments.iter().any(|environment| {
            matches!(environment.origin, Origin::Clone { cut, .. } if cut == id)
                && machines.iter().any(|m| m.environment_id == environment.id && m.disk.layers.is_empty())
        })
    };
    cuts.iter().map(|cut| cut.id).filter(|id| !waits(*id)).collect()
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
    fn a_cut_is_finished_when_no_machine_waits_for_its_disk() {
        let cut: CutRecord = serde_json::from_value(serde_json::json!({
            "id": "00000000000000aa", "source": "lab", "source-id": "0000000000000009", "phase": { "is": "wanted" },
        }))
        .unwrap();
        assert_eq!(finished_cuts(&[cut], &[], &[machine(&[])]).len(), 1);
    }
}
