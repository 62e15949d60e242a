//! Cutting through the disks of an environment: one moment for all its machines, from which clones start.
//!
//! Order: write down the new layers; make their files; freeze the guests' file systems (where an agent answers);
//! stop all machines; switch each to its new layer; let all go on; thaw. The layers below never change again.
//!
//! Killed at any point, a machine's record may name a new top layer its QEMU does not write to yet. That is right
//! all the same: the layer is empty and lies on what QEMU writes, so the next start reads the same content. The cut
//! is still wanted then, and is made anew.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use indexmap::IndexMap;
use wardian_machine::{Machine, RunState};
use wardian_model::{
    cut::{CutPhase, CutRecord},
    environment::{EnvironmentRecord, Problem},
    id::{CutId, LayerId},
    machine::{AgentState, Disk, MachineRecord},
    name::MachineName,
    record::Record,
};
use wardian_plan::network::machine_uid;

use super::{Controller, Done};
use crate::{disks, fault, refusal::problem, shared::Shared};

/// How long a guest may take to freeze or thaw its file systems.
const FREEZE: Duration = Duration::from_secs(10);

/// How long an agent may take to show that it is there.
const PING: Duration = Duration::from_secs(2);

/// One machine of the environment that is cut.
struct Part {
    name: MachineName,
    uid: u32,
    record: MachineRecord,
    handle: Option<Machine>,
}

impl Controller {
    pub(super) fn begin_cut(
        &mut self,
        environment: &EnvironmentRecord,
        machines: &IndexMap<MachineName, MachineRecord>,
        cut: CutId,
    ) {
        self.cutting = true;
        let parts = machines
            .iter()
            .filter_map(|(name, record)| {
                let uid = machine_uid(environment.identities.get(name)?.slot);
                let handle = self.machines.get(name).and_then(|live| live.handle.clone());
                let handle = handle.filter(|handle| handle.exit().is_none());
                Some(Part { name: name.clone(), uid, record: record.clone(), handle })
            })
            .collect();
        self.tasks.spawn(make(self.shared.clone(), cut, parts));
    }

    pub(super) fn refuse_cut(&mut self, cut: CutId) {
        self.cutting = true;
        let refused = Problem::new(format!("{} is being removed, so it can't be cloned any more", self.name));
        self.tasks.spawn(conclude(self.shared.clone(), cut, CutPhase::Failed { problem: refused }));
    }

    /// After a restart: machines that an interrupted cut has left standing go on.
    pub(super) async fn undo_interrupted_cut(&mut self) {
        for (name, live) in &self.machines {
            let Some(machine) = &live.handle else { continue };
            if !machine.status().await.is_ok_and(|status| status.state == RunState::Paused) {
                continue;
            }
            tracing::warn!(environment = %self.name, machine = %name, "was left paused; goes on");
            if let Err(error) = machine.resume().await {
                tracing::error!(environment = %self.name, machine = %name, %error, "can't go on");
            }
        }
        let cuts = self.shared.records.list::<CutRecord>(CutRecord::PREFIX).await.unwrap_or_default();
        if cuts.iter().any(|cut| cut.source_id == self.id && cut.phase == CutPhase::Wanted) {
            let machines = self.machines.values().filter_map(|live| live.handle.clone());
            join_all(machines.map(|machine| async move { thaw(&machine).await })).await;
        }
    }
}

async fn make(shared: Arc<Shared>, cut: CutId, parts: Vec<Part>) -> Done {
    let phase = match attempt(&shared, &parts).await {
        Ok((disks, quiesced)) => CutPhase::Done { disks, quiesced },
        Err(problem) => CutPhase::Failed { problem },
    };
    conclude(shared, cut, phase).await
}

async fn conclude(shared: Arc<Shared>, cut: CutId, phase: CutPhase) -> Done {
    let written = shared
        .records
        .update::<CutRecord>(&CutRecord::key_of(cut), |record| {
            record.phase = phase.clone();
            true
        })
        .await;
    if let Err(error) = written {
        tracing::warn!(%cut, %error, "cut not written down; it is made anew");
    }
    fault::point("cut: recorded");
    Done::Cut
}

async fn attempt(shared: &Shared, parts: &[Part]) -> Result<(IndexMap<MachineName, Disk>, Vec<MachineName>), Problem> {
    let mut tops = Vec::new();
    for part in parts {
        tops.push(new_top(shared, part).await?);
    }
    fault::point("cut: layers made");
    let quiesced = freeze(parts).await;
    fault::point("cut: frozen");
    let switched = switch(shared, parts, &tops).await;
    fault::point("cut: running again");
    thaw_all(parts, &quiesced).await;
    fault::point("cut: thawed");
    switched?;
    let mut disks = IndexMap::new();
    for part in parts {
        disks::seal(shared, &part.record.disk).await?;
        disks.insert(part.name.clone(), part.record.disk.clone());
    }
    Ok((disks, quiesced))
}

/// Writes down the machine's new top layer and makes its file.
async fn new_top(shared: &Shared, part: &Part) -> Result<LayerId, Problem> {
    // A disk that was never started from may have no file yet; the clone needs one below.
    disks::ensure(shared, &part.record.disk, part.uid, None).await?;
    let top = LayerId::random();
    let mut disk = part.record.disk.clone();
    disk.layers.push(top);
    let id = part.record.environment_id;
    shared
        .records
        .update::<MachineRecord>(&part.record.key(), |record| {
            let ours = record.environment_id == id;
            if ours {
                record.disk = disk.clone();
            }
            ours
        })
        .await
        .map_err(|error| problem(&error))?;
    fault::point("cut: layer recorded");
    disks::ensure(shared, &disk, part.uid, None).await?;
    Ok(top)
}

/// Freezes the file systems of guests whose agent answers. Who does not freeze is cut as a power failure would.
async fn freeze(parts: &[Part]) -> Vec<MachineName> {
    let frozen = parts.iter().map(|part| async move {
        let machine = part.handle.as_ref()?;
        // Asked and not looked up: an agent may have come up since it was last heard of.
        if part.record.agent == AgentState::Silent || machine.agent().ping(PING).await.is_err() {
            return None;
        }
        match tokio::time::timeout(FREEZE, machine.agent().fs_freeze()).await {
            Ok(Ok(_)) => Some(part.name.clone()),
            refused => {
                tracing::warn!(machine = %part.name, ?refused, "file systems not frozen");
                // It may have frozen after all, and only the answer be late.
                thaw(machine).await;
                None
            }
        }
    });
    join_all(frozen).await.into_iter().flatten().collect()
}

async fn thaw_all(parts: &[Part], frozen: &[MachineName]) {
    let machines = parts.iter().filter(|part| frozen.contains(&part.name)).filter_map(|part| part.handle.as_ref());
    join_all(machines.map(thaw)).await;
}

async fn thaw(machine: &Machine) {
    for _ in 0..3 {
        if let Ok(Ok(_)) = tokio::time::timeout(FREEZE, machine.agent().fs_thaw()).await {
            return;
        }
    }
    tracing::error!(pid = machine.pid(), "file systems could not be thawed");
}

/// All machines stop, all switch, all go on. Those that do not run have nothing to switch.
async fn switch(shared: &Shared, parts: &[Part], tops: &[LayerId]) -> Result<(), Problem> {
    let running: Vec<_> =
        parts.iter().zip(tops).filter_map(|(part, top)| Some((part, part.handle.as_ref()?, *top))).collect();
    let paused = join_all(running.iter().map(|(_, machine, _)| machine.pause())).await;
    let mut outcome: Result<(), Problem> =
        paused.into_iter().find_map(Result::err).map_or(Ok(()), |error| Err(problem(&error)));
    fault::point("cut: paused");
    if outcome.is_ok() {
        let switched = join_all(running.iter().map(|(part, machine, top)| {
            let path = shared.paths.layer(*top);
            async move {
                machine.switch_disk(0, &path).await.map_err(|error| {
                    let mut problem = problem(&error);
                    problem.message = format!("the disk of {} can't be cut: {}", part.name, problem.message);
                    problem
                })
            }
        }))
        .await;
        fault::point("cut: switched");
        outcome = switched.into_iter().collect::<Result<Vec<()>, Problem>>().map(drop);
    }
    for resumed in join_all(running.iter().map(|(_, machine, _)| machine.resume())).await {
        if let Err(error) = resumed {
            outcome = outcome.and(Err(problem(&error)));
        }
    }
    outcome
}
