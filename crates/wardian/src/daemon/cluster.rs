//! The daemon as a host among others: its records are in their etcd, and their daemons and this one answer for one
//! another.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{net::TcpListener, sync::watch};
use wardian_api::peer::{Credentials, PeerTls, Trust, TrustError};
use wardian_cluster::{JoinError, Member, Newcomer, Settings, Standing, check_join, move_records};
use wardian_host::{Ground, HostConfig, Membership};
use wardian_model::{cluster::ClusterRecord, encapsulation::Encapsulation, name::HostName};
use wardian_plan::clocks::agree;
use wardian_store::{EtcdStore, Store};

use super::{clocks, images::Peers};
use crate::config::Cluster;

/// A host that has come into its cluster.
pub(super) struct Joined {
    pub(super) store: Arc<dyn Store>,
    pub(super) trust: Trust,
    pub(super) membership: Membership,
    /// Where other hosts reach this daemon, until it is listened to.
    pub(super) listener: Option<TcpListener>,
    member: Member,
    leads: watch::Sender<bool>,
}

/// Comes in, with the records this host had for itself until now. They are given up last: until then, whatever fails or
/// whoever kills this, it can be repeated, and the host can be alone with them again.
pub(super) async fn enter(cluster: &Cluster, config: &HostConfig, ground: &Ground) -> anyhow::Result<Joined> {
    ground.check_provider(cluster.provider, cluster.mtu, &config.lab.bridge).await.map_err(super::explain)?;
    let listener = listen(cluster).await?;
    let store = EtcdStore::open(cluster.etcd.clone()).await.map_err(with_hint)?;
    let store: Arc<dyn Store> = Arc::new(store);
    let newcomer = newcomer(cluster, config, ground);
    let refused = |error: JoinError| {
        let hint = error.hint();
        explained(error, &hint)
    };
    let distrusted = |error: TrustError| {
        let hint = error.hint();
        explained(error, hint)
    };
    // Before anything is written, or done because it is time to.
    let foreseen = check_join(&*store, &newcomer).await.map_err(refused)?;
    let agreed = foreseen.cluster.clone();
    let mut known_by = trust(cluster, &agreed).map_err(distrusted)?;
    let compared = clocks::compare(&*store, &known_by, &cluster.name).await?;
    agree(&compared.ahead).map_err(JoinError::Clock).map_err(refused)?;
    let member = foreseen.join(store.clone()).await.map_err(refused)?;
    // Another host may have founded it meanwhile, with another secret.
    if *member.cluster() != agreed {
        known_by = trust(cluster, member.cluster()).map_err(distrusted)?;
    }
    bring_records(&cluster.name, ground, &*store).await?;
    let (leads, led) = watch::channel(false);
    let peers = Arc::new(Peers { own: cluster.name.clone(), store: store.clone(), trust: known_by.clone() });
    let membership = Membership {
        name: cluster.name.clone(),
        encapsulation: cluster.encapsulation,
        decapsulation: cluster.decapsulation,
        mtu: cluster.mtu,
        rewrite_addresses: cluster.rewrite_addresses,
        provider: cluster.provider,
        lab_address: member.host().lab_address,
        leads: led,
        images: peers.clone(),
        clocks: peers,
    };
    Ok(Joined { store, trust: known_by, membership, listener: Some(listener), member, leads })
}

/// Listens where other hosts reach this daemon.
pub(super) async fn listen(cluster: &Cluster) -> anyhow::Result<TcpListener> {
    let at = cluster.peer;
    TcpListener::bind(at).await.with_context(|| {
        format!("can't listen for other hosts at {at}; correct `provider-address` or `peer-port` in [cluster]")
    })
}

/// By what this host and the others of that cluster know one another.
pub(super) fn trust(cluster: &Cluster, agreed: &ClusterRecord) -> Result<Trust, TrustError> {
    let tls = cluster.etcd.tls.as_ref().and_then(|tls| {
        let identity = tls.identity.clone()?;
        Some(PeerTls { ca: tls.ca.clone(), certificate: identity.certificate, key: identity.key })
    });
    Trust::load(&Credentials { secret: agreed.secret.clone(), tls })
}

pub(super) fn newcomer(cluster: &Cluster, config: &HostConfig, ground: &Ground) -> Newcomer {
    Newcomer {
        name: cluster.name.clone(),
        instance: ground.instance.clone(),
        provider: cluster.provider,
        peer: cluster.peer,
        memory_mib: wardian_host::memory_total().unwrap_or_default() >> 20,
        cores: std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        qemu: ground.qemu.to_string(),
        encapsulations: Encapsulation::ALL.to_vec(),
        rewrite_addresses: cluster.rewrite_addresses,
        settings: Settings {
            lab: config.lab.prefix,
            zone: config.aliases.zone().to_string(),
            ports: (*config.ports.start(), *config.ports.end()),
            encapsulation: cluster.encapsulation,
            mtu: cluster.mtu,
        },
    }
}

/// Moves the records of a host that was alone. It has none of its own afterwards; machines run on meanwhile.
async fn bring_records(name: &HostName, ground: &Ground, to: &dyn Store) -> anyhow::Result<()> {
    let Some(own) = ground.records_to_bring().await.map_err(super::explain)? else { return Ok(()) };
    let moved = move_records(&*own, to, name).await.map_err(|error| {
        let hint = error.hint();
        explained(error, hint)
    })?;
    drop(own);
    ground.give_up_own_records().context("the records are in the cluster, and this host's own can't be put away")?;
    tracing::info!(
        copied = moved.copied,
        already = moved.already,
        left = moved.left,
        "its records are the cluster's now"
    );
    Ok(())
}

impl Joined {
    /// Shows that this host is there, and tells whether it leads, until it is dropped.
    pub(super) async fn keep(&self) {
        let standing = watch::Sender::new(Standing::new());
        let told = async {
            let mut seen = standing.subscribe();
            let mut was: Option<bool> = None;
            while seen.changed().await.is_ok() {
                let (leads, in_touch, problem) = {
                    let now = seen.borrow_and_update();
                    (now.leads(), now.in_touch, now.problem.clone())
                };
                self.leads.send_if_modified(|before| std::mem::replace(before, leads) != leads);
                if was != Some(in_touch) {
                    was = Some(in_touch);
                    match problem.filter(|_| !in_touch) {
                        Some(problem) => {
                            tracing::warn!(%problem, "out of touch with the cluster; machines and networks go on")
                        }
                        None if in_touch => tracing::info!("in touch with the cluster"),
                        None => {}
                    }
                }
            }
        };
        tokio::join!(self.member.keep(&standing), told);
    }

    /// Says that this host is gone, so that nobody waits until that shows.
    pub(super) async fn leave(&self) {
        let _ = tokio::time::timeout(Duration::from_secs(2), self.member.leave()).await;
    }
}

fn with_hint(error: wardian_store::Error) -> anyhow::Error {
    match error.hint() {
        Some(hint) => explained(error, hint),
        None => error.into(),
    }
}

fn explained(error: impl std::error::Error + Send + Sync + 'static, hint: &str) -> anyhow::Error {
    let error = anyhow::Error::new(error);
    anyhow::anyhow!("{error:#}; {hint}")
}
