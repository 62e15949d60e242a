//! What of the records is in effect in the kernel, so that a request can wait until what it asked for is.

use std::{collections::HashMap, time::Duration};

use tokio::sync::watch;
use wardian_model::{door::Door, id::EnvironmentId};
use wardian_plan::network::NetworkPlan;

/// What the controllers have made last.
#[derive(Debug, Default)]
pub(crate) struct Now {
    /// The host's own ports that lead inside.
    pub(crate) doors: Vec<Door>,
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

    pub(crate) fn doors(&self, doors: Vec<Door>) {
        self.0.send_modify(|now| now.doors = doors);
    }

    pub(crate) fn network(&self, environment: EnvironmentId, plan: Option<NetworkPlan>) {
        self.0.send_modify(|now| {
            match plan {
                Some(plan) => now.networks.insert(environment, plan),
                None => now.networks.remove(&environment),
            };
        });
    }

    /// Waits until `is_so`; false when it isn't within `limit`.
    pub(crate) async fn until(&self, limit: Duration, is_so: impl FnMut(&Now) -> bool) -> bool {
        let mut now = self.0.subscribe();
        tokio::time::timeout(limit, now.wait_for(is_so)).await.is_ok_and(|waited| waited.is_ok())
    }
}
