//! Cutting through an environment: one moment for all its machines, from which clones and restores start.
//!
//! With their memory, machines that run hand over to successors (`live`). Without, only their disks are cut:
//! write down the new layers; make their files; freeze the guests' file systems (where an agent answers);
//! stop all machines; switch each to its new layer; let all go on; thaw. The layers below never change again.
//!
//! Killed at any point, a machine's record may name a new top layer its QEMU does not write to yet. That is right
//! all the same: the layer is empty and lies on what QEMU writes, so the next start reads the same content. The cut
//! is still wanted then, and is made anew.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{join_all, try_join_all};
use indexmap::IndexMap;
use wardian_machine::{Machine, RunState};
use wardian_model::{
    cut::{CutPartRecord, CutPhase, CutRecord},
    environment::{Desired, EnvironmentRecord, Problem},
    id::{CutId, LayerId},
    machine::{AgentState, MachineRecord},
    memory::FrozenMemory,
    name::MachineName,
    record::Record,
};
use wardian_plan::network::{NetworkPlan, machine_uid};
use wardian_store::{Outcome, Transaction};

use super::{Controller, Done, RETRY, live::Live, together::Together};
use crate::{disks, fault, records::At, refusal::problem, shared::Shared};

/// How long a guest may take to freeze or thaw its file systems.
const FREEZE: Duration = Duration::from_secs(10);

/// How long an agent may take to show that it is there.
const PING: Duration = Duration::from_secs(2);

/// One machine of the environment that is cut.
pub(super) struct Part {
    pub(super) name: MachineName,
    pub(super) slot: u16,
    uid: u32,
    pub(super) record: MachineRecord,
    pub(super) handle: Option<Machine>,
}

/// What came of a cut.
pub(super) struct Taken {
    /// The processes that machines are now, where they are others than before.
    pub(super) machines: Vec<(MachineName, Machine)>,
    /// Memory, and the longest pause in microseconds.
    pub(super) result: Result<(IndexMap<MachineName, FrozenMemory>, u64), Problem>,
}

/// A cut to be made.
struct Cut {
    shared: Arc<Shared>,
    id: CutId,
    environment: EnvironmentRecord,
    network: Option<NetworkPlan>,
    parts: Vec<Part>,
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
            .filter(|(name, _)| self.shared.has(environment, name))
            .filter_map(|(name, record)| {
                let slot = environment.identities.get(name)?.slot;
                let uid = machine_uid(slot);
                let handle = self.living(name).cloned();
                Some(Part { name: name.clone(), slot, uid, record: record.clone(), handle })
            })
            .collect();
        let cut = Cut {
            shared: self.shared.clone(),
            id: cut,
            environment: environment.clone(),
            network: self.network.made.as_ref().map(|made| made.plan.clone()),
            parts,
        };
        self.tasks.spawn(cut.make());
    }

    pub(super) fn refuse_cut(&mut self, cut: CutId, desired: Desired) {
        self.cutting = true;
        let refused = match desired {
            Desired::Suspended => Problem::new(format!("{} is being suspended, so it can't be cut now", self.name))
                .hint(format!("start it first: wardian start {}", self.name)),
            _ => Problem::new(format!("{} is being removed, so it can't be cloned any more", self.name)),
        };
        let shared = self.shared.clone();
        self.tasks.spawn(async move {
            conclude(&shared, cut, CutPhase::Failed { problem: refused }).await;
            Done::Cut(Vec::new())
        });
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

impl Cut {
    async fn make(self) -> Done {
        let memory = match self.shared.records.cut(self.id).await {
            Ok(found) => found.is_some_and(|cut| cut.record.memory),
            Err(error) => {
                tracing::warn!(cut = %self.id, %error, "cut can't be read");
                tokio::time::sleep(RETRY).await;
                return Done::Cut(Vec::new());
            }
        };
        // What is made here has no name in a record until it is done.
        let _making = self.shared.making().await;
        let together = Together::new(&self.shared, &self.environment, self.id);
        let (machines, phase) = match self.attempt(memory, &together).await {
            Ok((machines, phase)) => (machines, phase),
            Err(problem) => (Vec::new(), CutPhase::Failed { problem }),
        };
        let Some(phase) = together.conclude(self.shared.is_home(&self.environment), phase).await else {
            return Done::Cut(machines);
        };
        let stood = match &phase {
            CutPhase::Done { pause_us, .. } => *pause_us,
            CutPhase::Wanted | CutPhase::Failed { .. } => 0,
        };
        conclude(&self.shared, self.id, phase).await;
        if stood > 0 {
            let message = format!("was cut; its machines {}", stood_for(stood));
            self.shared.records.say(&self.environment.name, None, message).await;
        }
        Done::Cut(machines)
    }

    async fn attempt(
        &self,
        memory: bool,
        together: &Together<'_>,
    ) -> Result<(Vec<(MachineName, Machine)>, CutPhase), Problem> {
        let tops = try_join_all(self.parts.iter().map(|part| new_top(&self.shared, part))).await?;
        fault::point("cut: layers made");
        let runs = self.parts.iter().any(|part| part.handle.is_some());
        let (taken, quiesced) = match &self.network {
            Some(network) if memory && runs => {
                let live = Live { shared: &self.shared, environment: &self.environment, network, together };
                (live.cut(&self.parts, &tops).await?, Vec::new())
            }
            // Less than was asked for is not what was asked for.
            None if memory && runs => {
                return Err(Problem::new(format!(
                    "the memory of {} can't be kept: its network is broken",
                    self.environment.name
                ))
                .hint(
                    "mend that and try again with `wardian start`, or cut its disks only (`--disk-only`, `--boot`)",
                ));
            }
            _ => self.disks_only(&tops, together).await,
        };
        let phase = match taken.result {
            Ok((memories, pause_us)) => {
                let mut disks = IndexMap::new();
                for part in &self.parts {
                    disks::seal(&self.shared, &part.record.disk).await?;
                    disks.insert(part.name.clone(), part.record.disk.clone());
                }
                CutPhase::Done { disks, quiesced, memories, pause_us }
            }
            Err(problem) => CutPhase::Failed { problem },
        };
        Ok((taken.machines, phase))
    }

    async fn disks_only(&self, tops: &[LayerId], together: &Together<'_>) -> (Taken, Vec<MachineName>) {
        let quiesced = freeze(&self.parts).await;
        fault::point("cut: frozen");
        let switched = match together.prepared().await {
            Ok(()) => switch(&self.shared, &self.parts, tops, together).await,
            Err(problem) => Err(problem),
        };
        fault::point("cut: running again");
        thaw_all(&self.parts, &quiesced).await;
        fault::point("cut: thawed");
        (Taken { machines: Vec::new(), result: switched.map(|pause_us| (IndexMap::new(), pause_us)) }, quiesced)
    }
}

/// How long machines stood that were paused for so many microseconds, as users read it.
pub(super) fn stood_for(pause_us: u64) -> String {
    format!("stood for {}.{} ms", pause_us / 1000, pause_us % 1000 / 100)
}

async fn conclude(shared: &Shared, cut: CutId, phase: CutPhase) {
    if let Err(error) = write_down(shared, cut, &phase).await {
        tracing::warn!(%cut, %error, "cut not written down; it is made anew");
    }
    fault::point("cut: recorded");
}

/// With its end, what hosts have said of their parts goes: nobody looks for it any more.
async fn write_down(shared: &Shared, cut: CutId, phase: &CutPhase) -> wardian_store::Result<()> {
    while let Some(At { mut record, revision }) = shared.records.cut(cut).await? {
        record.phase = phase.clone();
        let transaction = Transaction::new()
            .unchanged(record.key(), revision)
            .put_json(record.key(), &record)?
            .delete_prefix(CutPartRecord::prefix_of(cut));
        if let Outcome::Committed(_) = shared.records.store().commit(transaction).await? {
            break;
        }
    }
    Ok(())
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
async fn switch(shared: &Shared, parts: &[Part], tops: &[LayerId], together: &Together<'_>) -> Result<u64, Problem> {
    let running: Vec<_> =
        parts.iter().zip(tops).filter_map(|(part, top)| Some((part, part.handle.as_ref()?, *top))).collect();
    let begun = Instant::now();
    let paused = join_all(running.iter().map(|(_, machine, _)| machine.pause())).await;
    let mut outcome: Result<(), Problem> =
        paused.into_iter().find_map(Result::err).map_or(Ok(()), |error| Err(problem(&error)));
    fault::point("cut: paused");
    if outcome.is_ok() {
        outcome = together.stopped().await;
    }
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
    outcome.map(|()| u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX))
}
