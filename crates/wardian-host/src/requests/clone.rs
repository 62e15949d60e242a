//! `clone`: a new environment whose inside is another one's.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use wardian_model::{
    cut::{CutPhase, CutRecord},
    environment::{Desired, EnvironmentPhase, EnvironmentRecord, Origin},
    id::CutId,
    name::{EnvironmentName, SnapshotName},
    operation::{OperationKind, OperationRecord},
    record::Record,
    spec::EnvironmentSpec,
};

use wardian_plan::{allocate, customize};

use super::create::{Extras, Origins, exhausted};
use crate::{Host, Refusal};

/// What is to be cloned, and how.
#[derive(Debug, Clone)]
pub struct CloneRequest {
    /// The environment.
    pub source: EnvironmentName,
    /// The snapshot of it; as it is now when absent.
    pub snapshot: Option<SnapshotName>,
    /// The names of the clones.
    pub names: Vec<EnvironmentName>,
    /// Whether machines that run go on in the clone; they boot from their disks otherwise.
    pub memory: bool,
    /// Whether the clones get other names and addresses inside. Their machines boot then.
    pub customize: bool,
    /// Whose the clones are, and until when.
    pub extras: Extras,
}

impl CloneRequest {
    /// Memory knows its old names, so a customized clone has none of it.
    fn with_memory(&self) -> bool {
        self.memory && !self.customize
    }
}

impl Host {
    /// Makes environments with the same inside as their source, from one consistent cut through it.
    /// One answer per name, in order: an exhausted pool refuses the later ones only.
    ///
    /// # Errors
    /// When there is no such source, or it is not in a state to be cut.
    pub async fn clone_environment(
        &self,
        request: &CloneRequest,
    ) -> Result<Vec<Result<OperationRecord, Refusal>>, Refusal> {
        match &request.snapshot {
            Some(snapshot) => self.clone_snapshot(request, snapshot).await,
            None => self.clone_present(request).await,
        }
    }

    async fn clone_snapshot(
        &self,
        request: &CloneRequest,
        name: &SnapshotName,
    ) -> Result<Vec<Result<OperationRecord, Refusal>>, Refusal> {
        let snapshot = self.usable_snapshot(&request.source, name).await?;
        let cut = self.shared.records.cut(snapshot.cut).await?.map(|cut| cut.record.phase);
        let Some(CutPhase::Done { disks, memories, .. }) = cut else {
            return Err(Refusal::internal(format!("the cut of the snapshot {name} is gone")));
        };
        let origins = Origins {
            origin: Origin::Clone {
                name: snapshot.environment.clone(),
                id: snapshot.environment_id,
                snapshot: Some(name.clone()),
                boot: !request.with_memory(),
                cut: snapshot.cut,
            },
            inside: snapshot.inside.clone(),
            images: disks.iter().map(|(name, disk)| (name.clone(), disk.image.clone())).collect(),
            kind: OperationKind::Clone,
            cut: None,
            needs: [snapshot.key()].into(),
            desired: Desired::Running,
            from_memory: !memories.is_empty() && request.with_memory(),
            snapshot: Some(snapshot.id),
            elsewhere: IndexMap::new(),
            extras: request.extras.clone(),
        };
        let mut clones = Vec::new();
        for name in &request.names {
            let mut spec = snapshot.spec.clone();
            spec.name = name.clone();
            clones.push(self.create_clone(request, spec, &origins).await);
        }
        Ok(clones)
    }

    async fn clone_present(&self, request: &CloneRequest) -> Result<Vec<Result<OperationRecord, Refusal>>, Refusal> {
        let source = self.environment_record(&request.source).await?;
        can_be_cut(&source)?;
        let machines = self.shared.records.machines(&source.name).await?;
        let images = source
            .identities
            .keys()
            .filter_map(|name| Some((name.clone(), machines.get(name)?.disk.image.clone())))
            .collect();
        let cut = CutRecord {
            id: CutId::random(),
            source: source.name.clone(),
            source_id: source.id,
            memory: request.with_memory(),
            phase: CutPhase::Wanted,
        };
        let inside: IndexMap<_, _> = source.identities.iter().map(|(n, i)| (n.clone(), i.inside.clone())).collect();
        let origins = Origins {
            origin: Origin::Clone {
                name: source.name.clone(),
                id: source.id,
                snapshot: None,
                boot: !request.with_memory(),
                cut: cut.id,
            },
            inside,
            images,
            kind: OperationKind::Clone,
            cut: Some(cut),
            needs: BTreeSet::new(),
            desired: Desired::Running,
            from_memory: request.with_memory() && source.desired == Desired::Running,
            snapshot: source.snapshot,
            // Each machine is where its source is, with what it starts from.
            elsewhere: source.stretch.as_ref().map(|stretch| stretch.elsewhere.clone()).unwrap_or_default(),
            extras: request.extras.clone(),
        };
        let mut clones = Vec::new();
        for name in &request.names {
            clones.push(self.create_clone(request, spec_of_clone(&source, name), &origins).await);
        }
        Ok(clones)
    }

    /// One clone, with the inside of its source or, as the exception, one of its own.
    async fn create_clone(
        &self,
        request: &CloneRequest,
        spec: EnvironmentSpec,
        origins: &Origins,
    ) -> Result<OperationRecord, Refusal> {
        if !request.customize {
            return self.create_from(spec, origins).await;
        }
        if let Some(controller) = spec.domain_controller() {
            return Err(Refusal::invalid(format!(
                "{} has a domain controller ({controller}), and its domain knows the machines by their names and addresses",
                request.source
            ))
            .hint("clone it without --customize: both halves work as they are"));
        }
        let environments = self.shared.records.list::<EnvironmentRecord>(EnvironmentRecord::PREFIX).await?;
        let subnets = environments.iter().flat_map(|environment| environment.spec.network.subnets.iter());
        let used = subnets.map(|subnet| subnet.net.trunc()).collect();
        let spec = customize::customized(&spec, &spec.name, &used);
        let inside = allocate::inside(&spec, || uuid::Uuid::new_v4().to_string()).map_err(exhausted)?;
        self.create_from(spec, &Origins { inside, ..origins.clone() }).await
    }
}

/// The same spec under another name. A port of the host can lead into one environment only, so chosen ones become
/// automatic; the fence, the gateway, the access lists and the exposures are what the source has *now*.
pub(super) fn spec_of_clone(source: &EnvironmentRecord, name: &EnvironmentName) -> EnvironmentSpec {
    let mut spec = source.spec.clone();
    spec.name = name.clone();
    spec.isolation.fence = source.fence;
    spec.isolation.gateway.clone_from(&source.gateway);
    source.acl.write_into(&mut spec);
    spec.isolation.expose = source.exposes();
    spec
}

pub(super) fn can_be_cut(source: &EnvironmentRecord) -> Result<(), Refusal> {
    let name = &source.name;
    match source.phase {
        EnvironmentPhase::Running | EnvironmentPhase::Degraded | EnvironmentPhase::Stopped => Ok(()),
        EnvironmentPhase::Pending | EnvironmentPhase::Cloning | EnvironmentPhase::Starting => {
            Err(Refusal::conflict(format!("{name} is still being set up, and half a machine helps nobody"))
                .hint(format!("wait until `wardian status {name}` says running")))
        }
        EnvironmentPhase::Stopping => Err(Refusal::conflict(format!("{name} is being stopped"))
            .hint("wait until it is stopped; then its disks can be cut")),
        EnvironmentPhase::Suspending | EnvironmentPhase::Suspended => {
            Err(Refusal::conflict(format!("{name} is suspended, and its memory belongs to its next start"))
                .hint(format!("start it first (`wardian start {name}`); it can be suspended again afterwards")))
        }
        EnvironmentPhase::Removing => Err(Refusal::conflict(format!("{name} is being removed"))),
        EnvironmentPhase::Failed { .. } => Err(Refusal::conflict(format!("{name} has failed")).hint(format!(
            "`wardian status {name}` says why; stop it (`wardian down {name}`) to clone its disks anyway"
        ))),
    }
}
