//! Observing: records, and which processes are there.

use indexmap::IndexMap;
use wardian_machine::{Machine, RunState, succession};
use wardian_model::{
    cut::{CutPartRecord, CutPhase, CutRecord, CutStage},
    environment::{Desired, EnvironmentRecord},
    id::CutId,
    machine::MachineRecord,
    name::{MachineName, SnapshotName},
    record::Record,
    snapshot::{SnapshotPhase, SnapshotRecord},
};
use wardian_plan::{
    lifecycle::{self, MachineView, NetworkView, StartsFrom, View},
    network::{self, NetworkPlan},
};

use super::{Controller, live};
use crate::refusal::problem;

/// The records of an environment, as they were read.
pub(super) struct Observed {
    pub(super) environment: EnvironmentRecord,
    pub(super) machines: IndexMap<MachineName, MachineRecord>,
    pub(super) origin_cut: Option<CutPhase>,
    pub(super) wanted_cut: Option<CutId>,
    pub(super) unsaved: Option<SnapshotName>,
}

impl Controller {
    /// Takes over the machines that run: of an earlier daemon, or started and not yet written down.
    pub(super) async fn adopt(&mut self) {
        let Ok(Some(found)) = self.shared.records.environment(&self.name).await else { return };
        for (name, identity) in &found.record.identities {
            let directory = self.shared.paths.machine(identity.slot);
            if !directory.exists() {
                continue;
            }
            // Beside a machine that a cut was interrupted in stands one that it was, or was to be.
            if let Err(error) = succession::end_other(&directory).await {
                tracing::error!(environment = %self.name, machine = %name, error = %problem(&error), "not ended");
            }
            match Machine::adopt(&directory).await {
                Ok(Some(handle)) => {
                    if self.waits_in_vain(&handle).await {
                        continue;
                    }
                    live::adopted(&self.shared, &found.record, name, &handle).await;
                    self.hold(name.clone(), Some(handle));
                }
                Ok(None) => self.hold(name.clone(), None),
                Err(error) => {
                    tracing::error!(environment = %self.name, machine = %name, %error, "can't be adopted");
                }
            }
        }
        self.undo_interrupted_cut().await;
    }

    /// Whether it is a process that was to load a state and never got so far: it is nobody, and is ended.
    async fn waits_in_vain(&self, machine: &Machine) -> bool {
        if !machine.status().await.is_ok_and(|status| status.state == RunState::Incoming) {
            return false;
        }
        let _ = machine.kill();
        machine.wait_exit().await;
        true
    }

    /// Reads the records. Nothing when the environment is gone, or a later one has its name.
    pub(super) async fn observe(&mut self) -> wardian_store::Result<Option<Observed>> {
        let records = &self.shared.records;
        let Some(environment) = records.environment(&self.name).await?.filter(|e| e.record.id == self.id) else {
            return Ok(None);
        };
        let environment = environment.record;
        let mut machines = records.machines(&self.name).await?;
        machines.sort_by_key(|name, _| environment.identities.get_index_of(name));
        // When all disks are there, what they came from does not matter any more.
        let origin_cut = match lifecycle::waits_for(&environment, machines.values()).and_then(StartsFrom::cut) {
            Some(cut) => records.cut(cut).await?.map(|cut| cut.record.phase),
            None => None,
        };
        let home = self.shared.is_home(&environment);
        let wanted_cut = self.wanted_cut(&environment).await?;
        let unsaved = if home { self.unsaved_snapshot().await? } else { None };
        self.refresh_network(&environment);
        Ok(Some(Observed { environment, machines, origin_cut, wanted_cut, unsaved }))
    }

    /// A cut through it that somebody waits for, and that this host has not done its part of.
    async fn wanted_cut(&self, environment: &EnvironmentRecord) -> wardian_store::Result<Option<CutId>> {
        let records = &self.shared.records;
        let cuts = records.readable::<CutRecord>(CutRecord::PREFIX).await?.records;
        let wanted = cuts.into_iter().find(|cut| cut.source_id == self.id && cut.phase == CutPhase::Wanted);
        let (Some(cut), Some(host), Some(_)) = (&wanted, self.shared.host(), &environment.stretch) else {
            return Ok(wanted.map(|cut| cut.id));
        };
        let part = records.get::<CutPartRecord>(&CutPartRecord::key_of(cut.id, &host)).await?;
        let over = part.is_some_and(|part| matches!(part.record.stage, CutStage::Over { .. }));
        Ok((!over).then_some(cut.id))
    }

    /// A snapshot whose cut is made or refused, and that isn't on disk yet.
    async fn unsaved_snapshot(&self) -> wardian_store::Result<Option<SnapshotName>> {
        let records = &self.shared.records;
        for snapshot in records.list::<SnapshotRecord>(&SnapshotRecord::prefix_of(&self.name)).await? {
            let unsaved = match snapshot.phase {
                SnapshotPhase::Ready { .. } | SnapshotPhase::Failed { .. } => false,
                SnapshotPhase::Saving => true,
                SnapshotPhase::Taking => {
                    let cut = records.cut(snapshot.cut).await?;
                    cut.is_none_or(|cut| cut.record.phase != CutPhase::Wanted)
                }
            };
            if unsaved && snapshot.environment_id == self.id {
                return Ok(Some(snapshot.name));
            }
        }
        Ok(None)
    }

    /// What was made may not be what is wanted any more: another fence, another exposed port.
    fn refresh_network(&mut self, environment: &EnvironmentRecord) {
        let wanted = environment.desired == Desired::Running;
        match (&self.network.view, &self.network.made) {
            (NetworkView::Ready, Some(made)) if wanted && made.plan != self.wanted_network(environment) => {
                self.network.view = NetworkView::Stale;
            }
            (NetworkView::Broken(_), _) if wanted && self.network.run < environment.run => {
                self.network.view = NetworkView::Stale;
            }
            _ => {}
        }
    }

    fn wanted_network(&self, environment: &EnvironmentRecord) -> NetworkPlan {
        network::part(environment, &self.shared.config.lab, self.shared.host().as_ref())
    }

    pub(super) fn view<'a>(&self, observed: &'a Observed, boots: usize) -> View<'a> {
        let machines = observed
            .machines
            .iter()
            .map(|(name, record)| {
                let here = self.shared.has(&observed.environment, name);
                let view = MachineView {
                    record,
                    here,
                    alive: if here { self.living(name).is_some() } else { record.phase.process().is_some() },
                    busy: self.machines.get(name).and_then(|live| live.busy.as_ref()).map(|under| under.what),
                };
                (name.clone(), view)
            })
            .collect();
        View {
            environment: &observed.environment,
            network: self.network.view.clone(),
            machines,
            origin_cut: observed.origin_cut.as_ref(),
            wanted_cut: observed.wanted_cut.filter(|_| !self.cutting),
            cutting: self.cutting,
            unsaved: observed.unsaved.clone(),
            saving: self.saving,
            boots,
        }
    }
}
