//! What a machine starts from: its writable layer, written down first, then made, and the memory it goes on from.

use wardian_machine::Machine;
use wardian_model::{
    cut::CutPhase,
    environment::Problem,
    id::LayerId,
    machine::{Disk, MachinePhase},
    memory::FrozenMemory,
};
use wardian_plan::lifecycle::{Made, StartsFrom, disk_made, starts_from};

use super::Task;
use crate::{disks, fault, refusal::problem};

impl Task {
    /// The record names the layer before its file exists, so that a file no record names is garbage.
    pub(super) async fn make_disk(self) -> Option<Machine> {
        let Some(from) = starts_from(&self.environment, &self.record) else { return self.handle };
        let (mut disk, memory) = match self.lower(from).await {
            Ok(lower) => lower,
            Err(problem) => {
                self.fail(problem).await;
                return self.handle.clone();
            }
        };
        if from.restore().is_some() && self.network.is_some() {
            // Whoever still knows a connection from before is told so; the guest doesn't know it any more.
            if let Err(error) = self.shared.network.forget_connections(self.environment.id).await {
                tracing::warn!(environment = %self.environment.name, %error, "connections not forgotten");
            }
        }
        disk.layers.push(LayerId::random());
        let made = Made { disk, memory, generation: uuid::Uuid::new_v4().to_string() };
        self.update(|record| disk_made(record, &self.environment, from, &made)).await;
        fault::point("disk: recorded");
        if from.restore().is_some() {
            // What it has written since that moment is given up. Nobody waits for it to be deleted.
            self.shared.collector.disks();
        }
        // The file itself is made when the machine starts: that step has to see to it anyway, after any interruption.
        self.handle
    }

    /// What the layer lies on: the image, or a disk of the cut it starts from; and the memory of that cut.
    async fn lower(&self, from: StartsFrom<'_>) -> Result<(Disk, Option<FrozenMemory>), Problem> {
        let StartsFrom::Cut { id: cut, boot, restore } = from else {
            self.shared.bring_image(&self.record.disk.image).await?;
            return Ok((Disk { image: self.record.disk.image.clone(), layers: Vec::new() }, None));
        };
        let hint = match restore {
            Some(_) => "`wardian start` goes on without it",
            None => "remove the clone and make it again",
        };
        let cut = self.shared.records.cut(cut).await.map_err(|error| problem(&error))?;
        match cut.map(|cut| cut.record.phase) {
            Some(CutPhase::Done { mut disks, mut memories, .. }) => {
                let disk = disks.shift_remove(&self.name);
                let missing = || Problem::new(format!("the cut has no disk of {}", self.name)).hint(hint);
                Ok((disk.ok_or_else(missing)?, memories.shift_remove(&self.name).filter(|_| !boot)))
            }
            _ => Err(Problem::new(format!("the cut that {} starts from is gone", self.name)).hint(hint)),
        }
    }

    /// Sees to it that all layers of the record are there and that only the machine's user can write the last.
    pub(super) async fn ensure_disk(&self, uid: u32) -> Result<std::path::PathBuf, Problem> {
        let size = self.environment.spec.machines.get(&self.name).and_then(|spec| spec.disk);
        disks::ensure(&self.shared, &self.record.disk, uid, size).await
    }

    /// The machine can't run.
    pub(super) async fn fail(&self, problem: Problem) {
        self.say(format!("failed: {problem}")).await;
        let run = self.environment.run;
        self.update(|record| {
            record.run = run;
            record.phase = MachinePhase::Failed { problem: problem.clone() };
        })
        .await;
    }
}
