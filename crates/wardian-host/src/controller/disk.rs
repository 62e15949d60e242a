//! A machine's writable layer: written down first, then made.

use wardian_machine::Machine;
use wardian_model::{
    cut::CutPhase,
    environment::{Origin, Problem},
    id::LayerId,
    machine::{Disk, MachinePhase},
};

use super::Task;
use crate::{disks, fault, refusal::problem};

impl Task {
    /// The record names the layer before its file exists, so that a file no record names is garbage.
    pub(super) async fn make_disk(self) -> Option<Machine> {
        let lower = match self.lower_disk().await {
            Ok(lower) => lower,
            Err(problem) => {
                self.fail(problem).await;
                return self.handle.clone();
            }
        };
        let layer = LayerId::random();
        self.update(|record| {
            record.disk = lower.clone();
            record.disk.layers.push(layer);
        })
        .await;
        fault::point("disk: recorded");
        // The file itself is made when the machine starts: that step has to see to it anyway, after any interruption.
        self.handle
    }

    /// What the layer lies on: the image, or the frozen disk of the machine's original.
    async fn lower_disk(&self) -> Result<Disk, Problem> {
        let Origin::Clone { cut, .. } = &self.environment.origin else {
            return Ok(Disk { image: self.record.disk.image.clone(), layers: Vec::new() });
        };
        let cut = self.shared.records.cut(*cut).await.map_err(|error| problem(&error))?;
        match cut.map(|cut| cut.record.phase) {
            Some(CutPhase::Done { mut disks, .. }) => disks.shift_remove(&self.name).ok_or_else(|| {
                Problem::new(format!("the cut has no disk of {}", self.name)).hint("remove the clone and make it again")
            }),
            _ => Err(Problem::new(format!("the cut that {} starts from is gone", self.name))
                .hint("remove the clone and make it again")),
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
