//! Keeps the lab network as the records want it: its bridge, and the ports of the host that lead inside.

use std::sync::Arc;

use wardian_model::{
    environment::{EnvironmentRecord, Exposure},
    record::Record,
};
use wardian_plan::network::{self, LabPlan};
use wardian_store::Revision;

use crate::{host::OpenError, refusal::problem, shared::Shared};

/// What the records ask for.
pub(crate) struct Wanted {
    plan: LabPlan,
    exposures: Vec<Exposure>,
}

/// The plan the records ask for now, and the revision after which changes matter.
async fn plan(shared: &Shared) -> wardian_store::Result<(Wanted, Revision)> {
    let revision = shared.records.store().revision().await?;
    let environments = shared.records.list::<EnvironmentRecord>(EnvironmentRecord::PREFIX).await?;
    let exposures: Vec<Exposure> = environments.into_iter().flat_map(|e| e.exposed).collect();
    let plan = network::lab(&shared.config.lab, &exposures);
    Ok((Wanted { plan, exposures }, revision))
}

/// Makes the lab network once, at the daemon's start.
pub(crate) async fn make(shared: &Shared) -> Result<LabPlan, OpenError> {
    let (wanted, _) = plan(shared).await?;
    let _changes = shared.network.ensure_lab(&wanted.plan).await?;
    shared.applied.exposures(wanted.exposures);
    Ok(wanted.plan)
}

/// Follows the records from then on.
pub(crate) async fn keep(shared: Arc<Shared>, mut made: LabPlan) {
    loop {
        if let Err(error) = follow(&shared, &mut made).await {
            tracing::warn!(error = %problem(&error), "the lab network can't follow the records; trying again");
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    }
}

async fn follow(shared: &Shared, made: &mut LabPlan) -> wardian_store::Result<()> {
    let (wanted, revision) = plan(shared).await?;
    apply(shared, made, wanted).await;
    let mut changes = shared.records.store().watch(EnvironmentRecord::PREFIX, Revision(revision.0 + 1)).await?;
    loop {
        changes.next().await?;
        let (wanted, _) = plan(shared).await?;
        apply(shared, made, wanted).await;
    }
}

async fn apply(shared: &Shared, made: &mut LabPlan, wanted: Wanted) {
    if *made != wanted.plan {
        if let Err(error) = shared.network.ensure_lab(&wanted.plan).await {
            tracing::error!(error = %problem(&error), "the lab network is not as it should be");
            return;
        }
        *made = wanted.plan;
    }
    shared.applied.exposures(wanted.exposures);
}
