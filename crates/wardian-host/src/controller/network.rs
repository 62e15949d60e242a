//! Making and removing an environment's network.

use std::sync::Arc;

use wardian_model::{environment::EnvironmentRecord, id::EnvironmentId, name::EnvironmentName};
use wardian_plan::network;

use super::{Done, Made, RETRY};
use crate::{fault, refusal::problem, shared::Shared};

pub(super) async fn ensure(shared: Arc<Shared>, environment: EnvironmentRecord, before: Option<Box<Made>>) -> Done {
    let plan = network::environment(&environment, &shared.config.lab);
    let made = async {
        fault::point("network: begun");
        shared.network.ensure(&plan).await?;
        fault::point("network: made");
        match before {
            Some(before) => {
                before.services.update(&plan);
                Ok(before.services)
            }
            None => shared.network.serve(&plan).await,
        }
    };
    Done::Network(match made.await {
        Ok(services) => Ok(Some(Box::new(Made { plan, services }))),
        Err(error) => {
            let error: wardian_network::NetworkError = error;
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
    before: Option<Box<Made>>,
) -> Done {
    drop(before);
    loop {
        match shared.network.remove(id).await {
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
