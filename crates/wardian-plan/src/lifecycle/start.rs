//! What a machine starts from, and how its record changes when its disk is made from that.

use wardian_model::{
    environment::{EnvironmentRecord, Origin, Restore},
    id::CutId,
    machine::{Disk, MachineRecord},
    memory::FrozenMemory,
};

/// What a machine's disk is to be made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartsFrom<'a> {
    /// Its image: it boots.
    Image,
    /// A cut: its disk there, and its memory.
    Cut {
        /// The cut.
        id: CutId,
        /// Whether it boots even where the cut has memory to go on from.
        boot: bool,
        /// The restore that asks for it; nothing when it is the first start of a clone.
        restore: Option<&'a Restore>,
    },
}

impl<'a> StartsFrom<'a> {
    /// The cut, where it is one.
    #[must_use]
    pub const fn cut(self) -> Option<CutId> {
        match self {
            Self::Image => None,
            Self::Cut { id, .. } => Some(id),
        }
    }

    /// The restore that asks for it, where one does.
    #[must_use]
    pub const fn restore(self) -> Option<&'a Restore> {
        match self {
            Self::Image => None,
            Self::Cut { restore, .. } => restore,
        }
    }
}

/// What the disk of a machine is to be made from; nothing when it is as it shall be.
#[must_use]
pub fn starts_from<'a>(environment: &'a EnvironmentRecord, machine: &MachineRecord) -> Option<StartsFrom<'a>> {
    if let Some(restore) = environment.restore_due(machine) {
        return Some(StartsFrom::Cut { id: restore.cut, boot: false, restore: Some(restore) });
    }
    if !machine.disk.layers.is_empty() {
        return None;
    }
    Some(match &environment.origin {
        Origin::File => StartsFrom::Image,
        Origin::Clone { cut, boot, .. } => StartsFrom::Cut { id: *cut, boot: *boot, restore: None },
    })
}

/// The cut that machines of an environment are still to start from. All have the same: whose disk was never made goes
/// back with the others.
pub fn waits_for<'a, 'm>(
    environment: &'a EnvironmentRecord,
    machines: impl IntoIterator<Item = &'m MachineRecord>,
) -> Option<StartsFrom<'a>> {
    let mut from = machines.into_iter().filter_map(|machine| starts_from(environment, machine));
    from.find(|from| from.cut().is_some())
}

/// A disk that was made, and what belongs to it.
#[derive(Debug, Clone)]
pub struct Made {
    /// The layers of what the machine starts from, and the new one.
    pub disk: Disk,
    /// The memory it goes on from.
    pub memory: Option<FrozenMemory>,
    /// A generation id that no machine had before.
    pub generation: String,
}

/// Changes the record of a machine to that of one on this disk.
pub fn disk_made(record: &mut MachineRecord, environment: &EnvironmentRecord, from: StartsFrom<'_>, made: &Made) {
    record.disk = made.disk.clone();
    record.resume = made.memory.clone();
    record.saved = false;
    if let Some(restore) = from.restore() {
        record.restored = restore.number;
        // It has been here before: what must be unique is to be renewed.
        record.generation.clone_from(&made.generation);
        // Whatever was counted for this request before is not what it asked for.
        record.run = record.run.min(environment.run.saturating_sub(1));
    }
    let spec = environment.spec.machines.get(&record.name);
    if let Some(memory) = &made.memory
        && spec.is_some_and(|spec| !spec.generation_id.is_fresh())
        && !memory.generation.is_empty()
    {
        record.generation.clone_from(&memory.generation);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wardian_model::{host::Accelerator, id::LayerId, id::MemoryId};

    use super::*;

    const CLONED: CutId = CutId::from_bits(0xaa);
    const KEPT: CutId = CutId::from_bits(0xbb);

    fn environment(origin: serde_json::Value, generation_id: &str) -> EnvironmentRecord {
        serde_json::from_value(json!({
            "id": "0000000000000001", "name": "lab", "created": "2026-01-01T00:00:00Z",
            "spec": { "name": "lab", "machines": { "web": { "image": "micro", "generation-id": generation_id } } },
            "origin": origin, "edge": { "slot": 1, "mac": "02:57:80:00:00:01" }, "identities": {},
            "fence": "open", "desired": "running", "run": 3, "phase": { "is": "running" },
        }))
        .unwrap()
    }

    fn file() -> EnvironmentRecord {
        environment(json!({ "from": "file" }), "fresh")
    }

    fn clone() -> EnvironmentRecord {
        let origin = json!({ "from": "clone", "name": "other", "id": "0000000000000009", "boot": true, "cut": CLONED });
        environment(origin, "fresh")
    }

    fn going_back(environment: EnvironmentRecord) -> EnvironmentRecord {
        let restore = Restore { number: 3, cut: KEPT, snapshot: "kept".parse().unwrap(), at: None };
        EnvironmentRecord { restore: Some(restore), ..environment }
    }

    fn machine(layers: &[u64], restored: u32) -> MachineRecord {
        serde_json::from_value(json!({
            "environment": "lab", "environment-id": "0000000000000001", "name": "web",
            "disk": { "image": "d", "layers": layers.iter().map(|l| format!("{l:016x}")).collect::<Vec<_>>() },
            "generation": "old", "run": 3, "restored": restored, "phase": { "is": "stopped" },
            "agent": { "is": "unknown" },
        }))
        .unwrap()
    }

    #[test]
    fn a_machine_starts_from_a_restore_then_from_what_its_environment_comes_from_and_once_only() {
        let first = StartsFrom::Cut { id: CLONED, boot: true, restore: None };
        assert_eq!(starts_from(&file(), &machine(&[], 0)), Some(StartsFrom::Image));
        assert_eq!(starts_from(&clone(), &machine(&[], 0)), Some(first));
        for environment in [file(), clone()] {
            assert_eq!(starts_from(&environment, &machine(&[1], 0)), None);
            let environment = going_back(environment);
            let back = StartsFrom::Cut { id: KEPT, boot: false, restore: environment.restore.as_ref() };
            assert_eq!(starts_from(&environment, &machine(&[], 0)), Some(back));
            assert_eq!(starts_from(&environment, &machine(&[1], 2)), Some(back));
            assert_eq!(starts_from(&environment, &machine(&[1], 3)), None);
            assert_eq!(waits_for(&environment, &[machine(&[1], 3), machine(&[1], 0)]), Some(back));
        }
        assert_eq!(waits_for(&file(), &[machine(&[], 0)]), None);
        assert_eq!(waits_for(&clone(), &[machine(&[1], 0), machine(&[], 0)]), Some(first));
    }

    #[test]
    fn who_goes_back_is_somebody_new_and_is_started_once_more() {
        let memory = FrozenMemory {
            id: MemoryId::from_bits(1),
            qemu: "10.0.2".to_owned(),
            machine_type: "pc".to_owned(),
            accelerator: Accelerator::Tcg,
            cpus: 1,
            size: 1 << 27,
            generation: "of-the-memory".to_owned(),
        };
        let disk = Disk { image: "d".to_owned(), layers: vec![LayerId::from_bits(1), LayerId::from_bits(2)] };
        let made = Made { disk, memory: Some(memory), generation: "new".to_owned() };
        let after = |environment: &EnvironmentRecord, layers: &[u64]| {
            let mut record = machine(layers, 0);
            let from = starts_from(environment, &record).unwrap();
            disk_made(&mut record, environment, from, &made);
            assert_eq!((&record.disk, &record.resume), (&made.disk, &made.memory));
            assert_eq!(starts_from(environment, &record), None);
            (record.generation, record.run)
        };
        let keeping = || environment(json!({ "from": "file" }), "keep");
        assert_eq!(after(&file(), &[]), ("old".to_owned(), 3));
        assert_eq!(after(&going_back(file()), &[1]), ("new".to_owned(), 2));
        assert_eq!(after(&going_back(keeping()), &[1]), ("of-the-memory".to_owned(), 2));
    }
}
