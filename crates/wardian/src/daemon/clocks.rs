//! What time it is for the other hosts.

use std::{net::SocketAddrV4, time::Duration};

use async_trait::async_trait;
use futures::future::join_all;
use tokio::time::timeout;
use wardian_api::peer::{Trust, clock_ahead};
use wardian_cluster::hosts;
use wardian_host::Clocks;
use wardian_model::{environment::Problem, name::HostName};
use wardian_plan::clocks::Ahead;
use wardian_store::Store;

use super::images::Peers;

/// A host that is there answers at once; one that doesn't is left out.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far the clock here is ahead of those of the hosts that are there and answer.
pub(super) async fn ahead(
    store: &dyn Store,
    trust: &Trust,
    own: &HostName,
) -> Result<Vec<Ahead>, wardian_store::Error> {
    let there = hosts(store).await?.into_iter().filter(|host| host.presence.is_some()).map(|host| host.host);
    let asked = there.filter(|host| host.name != *own).map(|host| ask(trust, host.name, host.peer));
    Ok(join_all(asked).await.into_iter().flatten().collect())
}

async fn ask(trust: &Trust, host: HostName, at: SocketAddrV4) -> Option<Ahead> {
    match timeout(PATIENCE, clock_ahead(trust, &host, at)).await {
        Ok(Ok(by)) => Some(Ahead { host, by }),
        Ok(Err(error)) => {
            tracing::debug!(%host, %error, "its clock can't be read");
            None
        }
        Err(_) => None,
    }
}

#[async_trait]
impl Clocks for Peers {
    async fn ahead(&self) -> Result<Vec<Ahead>, Problem> {
        let ahead = ahead(&*self.store, &self.trust, &self.own).await;
        ahead.map_err(|error| Problem::new(format!("the hosts can't be looked up: {error}")))
    }
}
