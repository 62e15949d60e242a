//! What time it is for the other hosts.

use std::{net::SocketAddrV4, time::Duration};

use async_trait::async_trait;
use futures::future::join_all;
use tokio::time::timeout;
use wardian_api::peer::{Trust, clock_ahead};
use wardian_cluster::hosts;
use wardian_host::Clocks;
use wardian_model::{environment::Problem, name::HostName};
use wardian_plan::clocks::{Ahead, Compared};
use wardian_store::Store;

use super::images::Peers;

/// A host that is there answers at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Compares the clock here with those of the hosts that are there.
pub(super) async fn compare(
    store: &dyn Store,
    trust: &Trust,
    own: &HostName,
) -> Result<Compared, wardian_store::Error> {
    let there = hosts(store).await?.into_iter().filter(|host| host.presence.is_some()).map(|host| host.host);
    let asked = there.filter(|host| host.name != *own).map(|host| ask(trust, host.name, host.peer));
    let mut compared = Compared::default();
    for said in join_all(asked).await {
        match said {
            Ok(ahead) => compared.ahead.push(ahead),
            Err(host) => compared.silent.push(host),
        }
    }
    Ok(compared)
}

/// Gives the host back that doesn't say it.
async fn ask(trust: &Trust, host: HostName, at: SocketAddrV4) -> Result<Ahead, HostName> {
    match timeout(PATIENCE, clock_ahead(trust, &host, at)).await {
        Ok(Ok(by)) => Ok(Ahead { host, by }),
        Ok(Err(error)) => {
            tracing::debug!(%host, %error, "its clock can't be read");
            Err(host)
        }
        Err(_) => Err(host),
    }
}

#[async_trait]
impl Clocks for Peers {
    async fn compare(&self) -> Result<Compared, Problem> {
        let compared = compare(&*self.store, &self.trust, &self.own).await;
        compared.map_err(|error| Problem::new(format!("the hosts can't be looked up: {error}")))
    }
}
