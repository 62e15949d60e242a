//! What of the records is in effect in the kernel, so that a request can wait until what it asked for is.

use std::{collections::HashMap, time::Duration};

use tokio::sync::watch;
use wardian_model::{environment::Exposure, id::EnvironmentId};
use wardian_plan::network::NetworkPlan;

/// How long a change may take to be in effect. Usually it is some 20 ms.
const LIMIT: Duration = Duration::from_secs(10);

/// What the controllers have made last.
#[derive(Debug, Default)]
pub(crate) struct Now {
    /// The exposures that the host's own ports lead to.
    pub(crate) exposures: Vec<Exposure>,
    /// The networks that are there and served.
    pub(crate) networks: HashMap<EnvironmentId, NetworkPlan>,
}

/// Tells what is in effect, and when that changes.
#[derive(Debug)]
pub(crate) struct Applied(watch::Sender<Now>);

impl Applied {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Now::default()))
    }

    pub(crate) fn exposures(&self, exposures: Vec<Exposure>) {
        self.0.send_modify(|now| now.exposures = exposures);
    }

    pub(crate) fn network(&self, environment: EnvironmentId, plan: Option<NetworkPlan>) {
        self.0.send_modify(|now| {
            match plan {
                Some(plan) => now.networks.insert(environment, plan),
                None => now.networks.remove(&environment),
            };
        });
    }

    /// Waits until `is_so`; false when it isn't in time.
    pub(crate) async fn until(&self, is_so: impl FnMut(&Now) -> bool) -> bool {
        let mut now = self.0.subscribe();
        tokio::time::timeout(LIMIT, now.wait_for(is_so)).await.is_ok_and(|waited| waited.is_ok())
    }
}
