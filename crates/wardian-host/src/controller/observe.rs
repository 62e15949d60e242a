//! Observing: records, and which processes are there.

use indexmap::IndexMap;
use wardian_machine::Machine;
use wardian_model::{
    cut::{CutPhase, CutRecord},
    environment::{Desired, EnvironmentRecord, Origin},
    id::CutId,
    machine::MachineRecord,
    name::MachineName,
    record::Record,
};
use wardian_plan::{
    lifecycle::{MachineView, NetworkView, View},
    network::{self, NetworkPlan},
};

use super::Controller;

/// The records of an environment, as they were read.
pub(super) struct Observed {
    pub(super) environment: EnvironmentRecord,
    pub(super) machines: IndexMap<MachineName, MachineRecord>,
    pub(super) origin_cut: Option<CutPhase>,
    pub(super) wanted_cut: Option<CutId>,
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
            match Machine::adopt(&directory).await {
                Ok(handle) => self.hold(name.clone(), handle),
                Err(error) => {
                    tracing::error!(environment = %self.name, machine = %name, %error, "can't be adopted");
                }
            }
        }
        self.undo_interrupted_cut().await;
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
        let origin_cut = match &environment.origin {
            Origin::File => None,
            Origin::Clone { cut, .. } if machines.values().any(|m| m.disk.layers.is_empty()) => {
                records.cut(*cut).await?.map(|cut| cut.record.phase)
            }
            // All disks are there: what they came from does not matter any more.
            Origin::Clone { .. } => None,
        };
        let wanted_cut = records
            .list::<CutRecord>(CutRecord::PREFIX)
            .await?
            .into_iter()
            .find(|cut| cut.source_id == self.id && cut.phase == CutPhase::Wanted)
            .map(|cut| cut.id);
        self.refresh_network(&environment);
        Ok(Some(Observed { environment, machines, origin_cut, wanted_cut }))
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
        network::environment(environment, &self.shared.config.lab)
    }

    pub(super) fn view<'a>(&self, observed: &'a Observed) -> View<'a> {
        let machines = observed
            .machines
            .iter()
            .map(|(name, record)| {
                let live = self.machines.get(name);
                let view = MachineView {
                    record,
                    alive: live.and_then(|l| l.handle.as_ref()).is_some_and(|handle| handle.exit().is_none()),
                    busy: live.and_then(|l| l.busy.as_ref()).map(|under| under.what),
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
        }
    }
}
