//! What a machine starts from: its writable layer, written down first, then made, and the memory it goes on from.

use wardian_machine::Machine;
use wardian_model::{
    cut::CutPhase,
    environment::{Origin, Problem},
    id::LayerId,
    machine::{Disk, MachinePhase},
    memory::FrozenMemory,
};

use super::Task;
use crate::{disks, fault, refusal::problem};

impl Task {
    /// The record names the layer before its file exists, so that a file no record names is garbage.
    pub(super) async fn make_disk(self) -> Option<Machine> {
        let (lower, memory) = match self.lower().await {
            Ok(lower) => lower,
            Err(problem) => {
                self.fail(problem).await;
                return self.handle.clone();
            }
        };
        let layer = LayerId::random();
        let restore = self.environment.restore.as_ref().filter(|restore| self.record.restored < restore.number);
        if restore.is_some() && self.network.is_some() {
            // Whoever still knows a connection from before is told so; the guest doesn't know it any more.
            if let Err(error) = self.shared.network.forget_connections(self.environment.id).await {
                tracing::warn!(environment = %self.environment.name, %error, "connections not forgotten");
            }
        }
        let run = self.environment.run;
        let keeps = self.environment.spec.machines.get(&self.name).is_some_and(|spec| !spec.generation_id.is_fresh());
        let kept = memory.as_ref().map(|memory| memory.generation.as_str()).filter(|id| keeps && !id.is_empty());
        self.update(|record| {
            record.disk = lower.clone();
            record.disk.layers.push(layer);
            record.resume = memory.clone();
            record.saved = false;
            if let Some(restore) = restore {
                record.restored = restore.number;
                // It has been here before: what must be unique is to be renewed.
                record.generation = uuid::Uuid::new_v4().to_string();
            }
            if let Some(generation) = kept {
                record.generation = generation.to_owned();
            }
            if restore.is_some() {
                // Whatever was counted for this request before is not what it asked for.
                record.run = record.run.min(run.saturating_sub(1));
            }
        })
        .await;
        fault::point("disk: recorded");
        if restore.is_some() {
            // What it has written since that moment is given up. Nobody waits for it to be deleted.
            self.shared.collector.disks();
        }
        // The file itself is made when the machine starts: that step has to see to it anyway, after any interruption.
        self.handle
    }

    /// What the layer lies on: the image, or a disk of the cut it starts from; and the memory of that cut.
    async fn lower(&self) -> Result<(Disk, Option<FrozenMemory>), Problem> {
        let restore = self.environment.restore.as_ref().filter(|restore| self.record.restored < restore.number);
        let (cut, boot) = match (&self.environment.origin, restore) {
            (_, Some(restore)) => (restore.cut, false),
            (Origin::Clone { cut, boot, .. }, None) => (*cut, *boot),
            (Origin::File, None) => {
                return Ok((Disk { image: self.record.disk.image.clone(), layers: Vec::new() }, None));
            }
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
