//! Keeps the lab network as the records want it: its bridge, and the ports of the host that lead inside.

use std::{sync::Arc, time::Duration};

use wardian_model::{
    door::Door,
    environment::{Desired, EnvironmentRecord},
    record::Record,
};
use wardian_plan::network::{self, LabPlan};
use wardian_store::Revision;

use crate::{host::OpenError, refusal::problem, shared::Shared};

/// Between two attempts.
const RETRY: Duration = Duration::from_secs(1);

/// What the records ask for.
pub(crate) struct Wanted {
    plan: LabPlan,
    doors: Vec<Door>,
}

/// The plan the records ask for now, and the revision after which changes matter.
async fn plan(shared: &Shared) -> wardian_store::Result<(Wanted, Revision)> {
    let environments = shared.records.readable::<EnvironmentRecord>(EnvironmentRecord::PREFIX).await?;
    let revision = environments.revision;
    // What is being removed is closed first: its records go only when nothing leads to it any more.
    let stays = environments.records.into_iter().filter(|e| e.desired != Desired::Removed && shared.is_home(e));
    let doors: Vec<Door> = stays.flat_map(|environment| environment.doors()).collect();
    let plan = network::lab(&shared.config.lab, &doors);
    Ok((Wanted { plan, doors }, revision))
}

/// Makes the lab network once, at the daemon's start.
pub(crate) async fn make(shared: &Shared) -> Result<LabPlan, OpenError> {
    let (wanted, _) = plan(shared).await?;
    let _changes = shared.network.ensure_lab(&wanted.plan).await?;
    shared.applied.doors(wanted.doors);
    Ok(wanted.plan)
}

/// Follows the records from then on.
pub(crate) async fn keep(shared: Arc<Shared>, mut made: LabPlan) {
    loop {
        if let Err(error) = follow(&shared, &mut made).await {
            tracing::warn!(error = %problem(&error), "the lab network can't follow the records; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn follow(shared: &Shared, made: &mut LabPlan) -> wardian_store::Result<()> {
    let revision = catch_up(shared, made).await?;
    let mut changes = shared.records.store().watch(EnvironmentRecord::PREFIX, Revision(revision.0 + 1)).await?;
    loop {
        changes.next().await?;
        catch_up(shared, made).await?;
    }
}

/// Applies what the records ask for, until it worked: requests and removals wait for it.
async fn catch_up(shared: &Shared, made: &mut LabPlan) -> wardian_store::Result<Revision> {
    loop {
        let (wanted, revision) = plan(shared).await?;
        if *made != wanted.plan {
            if let Err(error) = shared.network.ensure_lab(&wanted.plan).await {
                tracing::error!(error = %problem(&error), "the lab network is not as it should be; trying again");
                tokio::time::sleep(RETRY).await;
                continue;
            }
            *made = wanted.plan;
        }
        shared.applied.doors(wanted.doors);
        return Ok(revision);
    }
}
