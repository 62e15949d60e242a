//! `wardian host join`: a look at everything that could keep this host out of the cluster its configuration names by
//! now. Then the daemon starts again and comes in as at any start ([`super::cluster::enter`]).

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use wardian_api::{host_backend::Joining, wire::JoinReport};
use wardian_cluster::{JoinError, Load, MoveError, check_join, check_records, hosts};
use wardian_host::{Ground, Refusal, RefusalKind};
use wardian_model::environment::Problem;
use wardian_plan::clocks::agree;
use wardian_store::{EtcdStore, Store};

use super::{clocks, cluster};
use crate::{
    cli::args,
    config::{Cluster, Config},
};

/// A daemon that is alone.
pub(super) struct Alone {
    /// How it was started.
    pub(super) flags: args::Daemon,
    /// As it was when it started.
    pub(super) config: Config,
    /// Its own records.
    pub(super) store: Arc<dyn Store>,
    /// Cancelled when it shall start again.
    pub(super) again: CancellationToken,
}

#[async_trait]
impl Joining for Alone {
    async fn check(&self) -> Result<JoinReport, Refusal> {
        let config = Config::load(&self.flags).map_err(|error| Refusal::new(RefusalKind::Invalid, error.into()))?;
        let Some(cluster) = &config.cluster else { return Err(self.no_cluster()) };
        self.same_place(&config)?;
        super::socket_group(&config).map_err(|error| conflict(&error))?;
        let told = super::host_config(&config).map_err(|error| conflict(&error))?;
        let ground = Ground::prepare(&told).await.map_err(|error| conflict(&super::explain(error)))?;
        let provider = ground.check_provider(cluster.provider, cluster.mtu, &told.lab.bridge).await;
        provider.map_err(|error| conflict(&super::explain(error)))?;
        // Free now is all that can be said; it is closed again at once.
        drop(cluster::listen(cluster).await.map_err(|error| conflict(&error))?);
        let report = self.at_store(cluster, &cluster::newcomer(cluster, &told, &ground)).await?;
        tracing::info!(host = report.host, "nothing is in the way to the cluster");
        Ok(report)
    }

    fn restart(&self) {
        self.again.cancel();
    }
}

impl Alone {
    async fn at_store(&self, cluster: &Cluster, me: &wardian_cluster::Newcomer) -> Result<JoinReport, Refusal> {
        let store = EtcdStore::open(cluster.etcd.clone()).await.map_err(|error| unreachable(&error))?;
        let kept_out = |error: JoinError| match &error {
            JoinError::Store(store) => unreachable(store),
            _ => Refusal::new(RefusalKind::Conflict, wardian_host::problem(&error).hint(error.hint())),
        };
        let foreseen = check_join(&store, me).await.map_err(kept_out)?;
        let trust = cluster::trust(cluster, &foreseen.cluster)
            .map_err(|error| Refusal::new(RefusalKind::Conflict, wardian_host::problem(&error).hint(error.hint())))?;
        let compared = clocks::compare(&store, &trust, &me.name).await.map_err(|error| unreachable(&error))?;
        agree(&compared.ahead).map_err(JoinError::Clock).map_err(kept_out)?;
        let load = check_records(&*self.store, &store, &me.name, foreseen.host.lab_address).await;
        let Load { environments, machines, images, snapshots } = load.map_err(|error| match &error {
            MoveError::To(store) => unreachable(store),
            MoveError::From(store) => store.clone().into(),
            _ => Refusal::new(RefusalKind::Conflict, wardian_host::problem(&error).hint(error.hint())),
        })?;
        let there = hosts(&store).await.map_err(|error| unreachable(&error))?;
        let others = there.into_iter().map(|standing| standing.host.name).filter(|name| *name != me.name);
        Ok(JoinReport {
            host: me.name.to_string(),
            hosts: others.map(|name| name.to_string()).collect(),
            lab_address: foreseen.host.lab_address.to_string(),
            environments,
            machines,
            images,
            snapshots,
        })
    }

    fn no_cluster(&self) -> Refusal {
        let path = self.flags.config.as_deref().unwrap_or(crate::config::DEFAULT_FILE.as_ref());
        Refusal::invalid(format!("the configuration {} has no [cluster]", path.display())).hint(
            "add it, with at least `endpoints` (of etcd) and `provider-address`; `wardian daemon --help` shows all",
        )
    }

    /// What this daemon has open is what the next one opens: records, machines and the lab network are brought along.
    fn same_place(&self, next: &Config) -> Result<(), Refusal> {
        let now = &self.config;
        let settings = [
            ("state-directory", now.state_directory.display().to_string(), next.state_directory.display().to_string()),
            ("run-directory", now.run_directory.display().to_string(), next.run_directory.display().to_string()),
            ("socket", now.socket.display().to_string(), next.socket.display().to_string()),
            ("[lab] bridge", now.lab.bridge.clone(), next.lab.bridge.clone()),
            ("[lab] prefix", now.lab.prefix.to_string(), next.lab.prefix.to_string()),
        ];
        let changed = settings.into_iter().filter(|(_, now, next)| now != next);
        let changed: Vec<_> =
            changed.map(|(key, now, next)| format!("{key} is {now} here and {next} in the file")).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let message = format!("the configuration has changed in more than [cluster]: {}", changed.join("; "));
        Err(Refusal::conflict(message)
            .hint("change that back, or end this daemon and start it again with it before it comes into a cluster"))
    }
}

/// Machines go on in any case; so that part of the store's own advice is left out.
fn unreachable(error: &wardian_store::Error) -> Refusal {
    use wardian_store::Error;
    let hint = match error {
        Error::Unreachable { .. } => {
            "see to it that etcd runs and can be reached from here ([cluster] endpoints); until then this host is alone"
        }
        Error::NoQuorum { .. } => {
            "see to it that more than half of etcd's members run and reach each other; until then this host is alone"
        }
        other => return other.clone().into(),
    };
    Refusal::new(RefusalKind::Unavailable, wardian_host::problem(error).hint(hint))
}

/// Something at this host, with its causes and what to do in one line.
fn conflict(error: &impl fmt::Display) -> Refusal {
    Refusal::new(RefusalKind::Conflict, Problem::new(format!("{error:#}")))
}
