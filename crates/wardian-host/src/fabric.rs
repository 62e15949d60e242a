//! Keeps this host's packet filter as the records of the cluster want it: who is where on the lab network, and in each
//! subnet that lies on several hosts.
//!
//! All records are read once, and from then on only those that change ([`Policy`]). While the store can't be reached,
//! the filter goes on with what it knows last; it is in the kernel, and needs no daemon. A record that can't be read
//! leaves its environment where it was, and concerns no other.

use std::{sync::Arc, time::Duration};

use wardian_model::{cluster::HostRecord, environment::EnvironmentRecord, record::Record};
use wardian_network::{Underlay, UnderlayConfig, UnderlayError};
use wardian_plan::fabric::{Change, Policy};
use wardian_store::{Event, EventKind, Result, Revision};

use crate::{config::Membership, host::OpenError, refusal::problem, shared::Shared};

/// Between two attempts.
const RETRY: Duration = Duration::from_secs(1);

/// What the records want of this host's filter, and up to where they were read.
struct Wanted {
    policy: Policy,
    environments: Revision,
    hosts: Revision,
}

impl Wanted {
    async fn read(shared: &Shared, member: &Membership) -> Result<Self> {
        let environments = shared.records.readable::<EnvironmentRecord>(EnvironmentRecord::PREFIX).await?;
        let hosts = shared.records.readable::<HostRecord>(HostRecord::PREFIX).await?;
        let (prefix, encapsulation) = (shared.config.lab.prefix, member.encapsulation);
        let policy = Policy::new(member.provider, prefix, encapsulation, &hosts.records, &environments.records);
        Ok(Self { policy, environments: environments.revision, hosts: hosts.revision })
    }

    /// What an event changes for the filter.
    fn see(&mut self, event: &Event) -> Vec<Change> {
        let changes = match &event.kind {
            EventKind::Put(entry) if entry.key.starts_with(HostRecord::PREFIX) => {
                entry.decode().map(|record| self.policy.host(&record))
            }
            EventKind::Put(entry) => entry.decode().map(|record| self.policy.environment(&record)),
            EventKind::Delete { key } => Ok(self.forget(key)),
        };
        changes.unwrap_or_else(|error| {
            tracing::error!(error = %problem(&error), "the packet filter goes on with what that record was before");
            Vec::new()
        })
    }

    fn forget(&mut self, key: &str) -> Vec<Change> {
        if let Some(Ok(name)) = key.strip_prefix(HostRecord::PREFIX).map(str::parse) {
            return self.policy.without_host(&name);
        }
        match key.strip_prefix(EnvironmentRecord::PREFIX).map(str::parse) {
            Some(Ok(name)) => self.policy.without_environment(&name),
            _ => Vec::new(),
        }
    }
}

/// Connects the lab network to that of the other hosts, at the daemon's start; the filter knows where everybody is
/// before anything goes by it. Nothing is done where this host is alone.
pub(crate) async fn open(shared: &Shared) -> std::result::Result<(), OpenError> {
    let Some(member) = &shared.config.member else { return Ok(()) };
    let config = UnderlayConfig {
        run_dir: shared.config.run_directory.clone(),
        instance: shared.network.config().instance.clone(),
        provider: member.provider,
        encapsulation: member.encapsulation,
        decapsulation: member.decapsulation,
        mtu: member.mtu,
        rewrite_addresses: member.rewrite_addresses,
    };
    let underlay = Underlay::open(config).await?;
    let wanted = Wanted::read(shared, member).await?;
    let changes = underlay.apply(&wanted.policy.whole()).await?;
    underlay.connect_lab(&shared.config.lab.bridge).await?;
    let revision = wanted.environments.0;
    tracing::info!(
        device = underlay.device(),
        decapsulation = %underlay.decapsulation(),
        provider = %member.provider,
        changes,
        revision,
        "the lab network reaches other hosts"
    );
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
    let mut wanted = Wanted::read(shared, member).await?;
    let mut environments = store.watch(EnvironmentRecord::PREFIX, wanted.environments.next()).await?;
    let mut hosts = store.watch(HostRecord::PREFIX, wanted.hosts.next()).await?;
    let mut is_applied = is_done(underlay.apply(&wanted.policy.whole()).await).is_some();
    loop {
        let events = tokio::select! {
            events = environments.next() => events?,
            events = hosts.next() => events?,
            () = tokio::time::sleep(RETRY), if !is_applied => Vec::new(),
        };
        let changes: Vec<Change> = events.iter().flat_map(|event| wanted.see(event)).collect();
        let count = changes.len();
        if is_applied {
            is_applied = changes.is_empty() || is_done(underlay.change(changes).await) == Some(true);
        }
        // What a part of it has left is looked for.
        if !is_applied {
            is_applied = is_done(underlay.apply(&wanted.policy.whole()).await).is_some();
        }
        if let Some(last) = events.last().filter(|_| is_applied && count > 0) {
            tracing::info!(revision = last.revision.0, changes = count, "the packet filter knows where machines are");
        }
    }
}

/// What came of it, unless it failed.
fn is_done<T>(outcome: std::result::Result<T, UnderlayError>) -> Option<T> {
    outcome
        .inspect_err(|error| tracing::error!(error = %problem(error), "the packet filter is not as it should be"))
        .ok()
}
