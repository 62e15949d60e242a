//! `clone`: a new environment whose inside is another one's.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use wardian_model::{
    cut::{CutPhase, CutRecord},
    environment::{Desired, EnvironmentPhase, EnvironmentRecord, Origin},
    id::CutId,
    name::EnvironmentName,
    operation::{OperationKind, OperationRecord},
    spec::EnvironmentSpec,
};

use super::create::Origins;
use crate::{Host, Refusal};

impl Host {
    /// Makes environments with the same inside as `source`, from one consistent cut through its disks, and boots them.
    /// One answer per name, in order: an exhausted pool refuses the later ones only.
    ///
    /// # Errors
    /// When there is no such source, or it is not in a state to be cut.
    pub async fn clone_environment(
        &self,
        source: &EnvironmentName,
        names: &[EnvironmentName],
    ) -> Result<Vec<Result<OperationRecord, Refusal>>, Refusal> {
        let source = self.environment_record(source).await?;
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
            phase: CutPhase::Wanted,
        };
        let inside: IndexMap<_, _> = source.identities.iter().map(|(n, i)| (n.clone(), i.inside.clone())).collect();
        let origins = Origins {
            origin: Origin::Clone { name: source.name.clone(), id: source.id, cut: cut.id },
            inside,
            images,
            kind: OperationKind::Clone,
            cut: Some(cut),
            needs: BTreeSet::new(),
            desired: Desired::Running,
        };
        let mut clones = Vec::new();
        for name in names {
            clones.push(self.create_from(spec_of_clone(&source, name), &origins).await);
        }
        Ok(clones)
    }
}

/// The same spec under another name. A port of the host can lead to one machine only, so chosen ones become automatic;
/// the fence and the exposures are what the source has *now*.
fn spec_of_clone(source: &EnvironmentRecord, name: &EnvironmentName) -> EnvironmentSpec {
    let mut spec = source.spec.clone();
    spec.name = name.clone();
    spec.isolation.fence = source.fence;
    spec.isolation.expose = source
        .exposed
        .iter()
        .map(|e| wardian_model::spec::Expose {
            machine: e.machine.clone(),
            port: e.port,
            protocol: e.protocol,
            at: None,
        })
        .collect();
    spec
}

fn can_be_cut(source: &EnvironmentRecord) -> Result<(), Refusal> {
    let name = &source.name;
    match source.phase {
        EnvironmentPhase::Running | EnvironmentPhase::Degraded | EnvironmentPhase::Stopped => Ok(()),
        EnvironmentPhase::Pending | EnvironmentPhase::Cloning | EnvironmentPhase::Starting => {
            Err(Refusal::conflict(format!("{name} is still being set up, and a clone of half a machine helps nobody"))
                .hint(format!("wait until `wardian status {name}` says running")))
        }
        EnvironmentPhase::Stopping => Err(Refusal::conflict(format!("{name} is being stopped"))
            .hint("wait until it is stopped; then it can be cloned")),
        EnvironmentPhase::Removing => Err(Refusal::conflict(format!("{name} is being removed"))),
        EnvironmentPhase::Failed { .. } => Err(Refusal::conflict(format!("{name} has failed")).hint(format!(
            "`wardian status {name}` says why; stop it (`wardian down {name}`) to clone its disks anyway"
        ))),
    }
}
