//! Keeps the lab network's own name server as the records want it. Where another program has its port, environments do
//! without names until that program ends.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use wardian_model::{environment::EnvironmentRecord, record::Record};
use wardian_network::services::{LabDns, LabDnsConfig};
use wardian_plan::alias::{self, AliasRecord};
use wardian_store::Result;

use super::{changes, next};
use crate::{refusal::problem, shared::Shared};

/// Between two attempts.
const RETRY: Duration = Duration::from_secs(1);

/// What to do where the server doesn't start.
const HINT: &str =
    "environments run, without names; end the other name server, or keep it from the lab network's address";

/// Starts the server, at the daemon's start; nothing when it can't be started.
///
/// # Errors
/// When the records can't be read.
pub(crate) async fn start(shared: &Shared) -> Result<Option<LabDns>> {
    let mut server = None;
    turn(shared, &mut server).await?;
    Ok(server)
}

/// Follows the records from then on.
pub(crate) async fn keep(shared: Arc<Shared>, mut server: Option<LabDns>) {
    loop {
        if let Err(error) = follow(&shared, &mut server).await {
            tracing::warn!(error = %problem(&error), "the names of machines can't follow the records; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn follow(shared: &Shared, server: &mut Option<LabDns>) -> Result<()> {
    let mut changes = changes(&shared.records).await?;
    loop {
        turn(shared, server).await?;
        tokio::select! {
            changed = next(&mut changes) => changed?,
            () = tokio::time::sleep(RETRY), if server.is_none() => {}
        }
    }
}

async fn turn(shared: &Shared, server: &mut Option<LabDns>) -> Result<()> {
    let environments = shared.records.readable::<EnvironmentRecord>(EnvironmentRecord::PREFIX).await?.records;
    let desired = alias::records(&environments, &shared.config.aliases);
    if let Some(running) = server
        && running.is_running()
    {
        running.update(&desired);
    } else {
        // Its sockets first.
        *server = None;
        *server = open(shared, &desired);
    }
    Ok(())
}

/// Says once that it can't be started, and once that it can after all.
fn open(shared: &Shared, desired: &BTreeSet<AliasRecord>) -> Option<LabDns> {
    let lab = &shared.config.lab;
    let zone = shared.config.aliases.zone().clone();
    let config = LabDnsConfig { address: lab.address(), zone: zone.clone(), prefix: lab.prefix };
    let before = shared.names.borrow().own.is_some();
    match LabDns::start(config, desired) {
        Ok(server) => {
            tracing::info!(address = %lab.address(), %zone, "the names of machines are served");
            shared.names.send_modify(|standing| standing.own = None);
            Some(server)
        }
        Err(error) => {
            let problem = problem(&error).hint(HINT);
            if !before {
                tracing::warn!(hint = HINT, "{}", problem.message);
            }
            shared.names.send_modify(|standing| standing.own = Some(problem));
            None
        }
    }
}
