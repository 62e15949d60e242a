//! Making and removing an environment's network.

use std::sync::Arc;

use wardian_model::{environment::EnvironmentRecord, id::EnvironmentId, name::EnvironmentName, vsid::Vsid};
use wardian_network::{NetworkError, UnderlayError};
use wardian_plan::network::{self, NetworkPlan};

use super::{Done, Made, RETRY};
use crate::{fault, refusal::problem, shared::Shared};

/// Why a network can't be made or removed.
#[derive(Debug, thiserror::Error)]
pub(super) enum MakeError {
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Underlay(UnderlayError),
}

/// Makes a network as planned, with its ways to other hosts. Where it has no such way any more, the filter forgets the
/// one it had before the link goes.
pub(super) async fn make(
    shared: &Shared,
    environment: &EnvironmentRecord,
    plan: &NetworkPlan,
) -> Result<(), MakeError> {
    let underlay = shared.underlay.get();
    if let Some(underlay) = underlay.filter(|_| plan.uplinks().next().is_none()) {
        for vsid in environment.vsids() {
            underlay.disconnect(vsid).await.map_err(MakeError::Underlay)?;
        }
    }
    shared.network.ensure(plan).await?;
    if let Some(underlay) = underlay {
        for (_, uplink) in plan.uplinks() {
            underlay.connect(uplink).await.map_err(MakeError::Underlay)?;
        }
    }
    Ok(())
}

/// Removes it.
pub(super) async fn unmake(shared: &Shared, id: EnvironmentId, vsids: &[Vsid]) -> Result<(), MakeError> {
    if let Some(underlay) = shared.underlay.get() {
        for vsid in vsids {
            underlay.disconnect(*vsid).await.map_err(MakeError::Underlay)?;
        }
    }
    Ok(shared.network.remove(id).await?)
}

pub(super) async fn ensure(shared: Arc<Shared>, environment: EnvironmentRecord, before: Option<Box<Made>>) -> Done {
    let plan = network::part(&environment, &shared.config.lab, shared.host().as_ref());
    let made = async {
        fault::point("network: begun");
        make(&shared, &environment, &plan).await?;
        fault::point("network: made");
        match before {
            Some(before) => {
                before.services.update(&plan);
                Ok(before.services)
            }
            None => Ok(shared.network.serve(&plan).await?),
        }
    };
    Done::Network(match made.await {
        Ok(services) => Ok(Some(Box::new(Made { plan, services }))),
        Err(error) => {
            let error: MakeError = error;
            let mut problem = problem(&error);
            problem.message = format!("the network of {} can't be made: {}", environment.name, problem.message);
            Err(problem.hint("mend that and try again with `wardian start`"))
        }
    })
}

pub(super) async fn remove(
    shared: Arc<Shared>,
    name: EnvironmentName,
    id: EnvironmentId,
    vsids: Vec<Vsid>,
    before: Option<Box<Made>>,
) -> Done {
    drop(before);
    loop {
        match unmake(&shared, id, &vsids).await {
            Ok(()) => {
                fault::point("network: removed");
                return Done::Network(Ok(None));
            }
            Err(error) => {
                tracing::warn!(environment = %name, error = %problem(&error), "network not removed yet");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
