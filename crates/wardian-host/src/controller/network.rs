//! Making and removing an environment's network.

use std::sync::Arc;

use wardian_model::{environment::EnvironmentRecord, id::EnvironmentId, name::EnvironmentName, vsid::Vsid};
use wardian_network::{NetworkError, UnderlayError};
use wardian_plan::network;

use super::{Done, Made, RETRY};
use crate::{fault, refusal::problem, shared::Shared};

/// Why a network can't be made or removed.
#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Underlay(UnderlayError),
}

pub(super) async fn ensure(shared: Arc<Shared>, environment: EnvironmentRecord, before: Option<Box<Made>>) -> Done {
    let plan = network::part(&environment, &shared.config.lab, shared.host().as_ref());
    let made = async {
        fault::point("network: begun");
        shared.network.ensure(&plan).await?;
        if let Some(underlay) = shared.underlay.get() {
            for (_, uplink) in plan.uplinks() {
                underlay.connect(uplink).await.map_err(MakeError::Underlay)?;
            }
        }
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
        let removed = async {
            if let Some(underlay) = shared.underlay.get() {
                for vsid in &vsids {
                    underlay.disconnect(*vsid).await.map_err(MakeError::Underlay)?;
                }
            }
            Ok::<_, MakeError>(shared.network.remove(id).await?)
        };
        match removed.await {
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
