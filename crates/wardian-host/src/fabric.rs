//! Keeps this host's packet filter as the records of the cluster want it: who is where on the lab network, and in each subnet
//! that lies on several hosts.
//!
//! While the store can't be reached, the filter goes on with what it knows last; it is in the kernel, and needs no daemon.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use wardian_model::{cluster::HostRecord, environment::EnvironmentRecord, record::Record};
use wardian_network::{Underlay, UnderlayConfig};
use wardian_plan::fabric::{self, HostPolicy};
use wardian_store::Result;

use crate::{config::Membership, host::OpenError, refusal::problem, shared::Shared};

/// Between two attempts.
const RETRY: Duration = Duration::from_secs(1);

/// What the records want of this host's filter.
async fn wanted(shared: &Shared, member: &Membership) -> Result<HostPolicy> {
    let records = &shared.records;
    let environments = records.list::<EnvironmentRecord>(EnvironmentRecord::PREFIX).await?;
    let hosts = records.list::<HostRecord>(HostRecord::PREFIX).await?;
    let subnets = fabric::subnets(shared.config.lab.prefix, member.encapsulation, &hosts, &environments);
    Ok(fabric::compile(member.provider, &subnets))
}

/// Connects the lab network to that of the other hosts, at the daemon's start; the filter knows where everybody is before
/// anything goes by it. Nothing is done where this host is alone.
pub(crate) async fn open(shared: &Shared) -> std::result::Result<(), OpenError> {
    let Some(member) = &shared.config.member else { return Ok(()) };
    let config = UnderlayConfig {
        run_dir: shared.config.run_directory.clone(),
        instance: shared.network.config().instance.clone(),
        provider: member.provider,
        encapsulation: member.encapsulation,
        mtu: member.mtu,
    };
    let underlay = Underlay::open(config).await?;
    let changes = underlay.apply(&wanted(shared, member).await?).await?;
    underlay.connect_lab(&shared.config.lab.bridge).await?;
    tracing::info!(device = underlay.device(), provider = %member.provider, changes, "the lab network reaches other hosts");
    let _ = shared.underlay.set(underlay);
    Ok(())
}

/// Follows the records until it is dropped; ends at once where this host is alone.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let (Some(member), Some(underlay)) = (&shared.config.member, shared.underlay.get()) else { return };
    loop {
        if let Err(error) = follow(&shared, member, underlay).await {
            tracing::warn!(error = %problem(&error), "the packet filter can't follow the records; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn follow(shared: &Shared, member: &Membership, underlay: &Underlay) -> Result<()> {
    let store = shared.records.store();
    let from = store.revision().await?.next();
    let mut environments = store.watch(EnvironmentRecord::PREFIX, from).await?;
    let mut hosts = store.watch(HostRecord::PREFIX, from).await?;
    let mut applied = None;
    loop {
        let wanted = wanted(shared, member).await?;
        if applied.as_ref() != Some(&wanted) {
            match underlay.apply(&wanted).await {
                Ok(_) => applied = Some(wanted),
                Err(error) => tracing::error!(error = %problem(&error), "the packet filter is not as it should be"),
            }
        }
        tokio::select! {
            changed = environments.next() => drop(changed?),
            changed = hosts.next() => drop(changed?),
            () = tokio::time::sleep(RETRY), if applied.is_none() => {}
        }
        // Those that came with it.
        while let Some(more) = environments.next().now_or_never() {
            more?;
        }
    }
}
