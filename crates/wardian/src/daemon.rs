//! The daemon: puts the host and the API together, and stops both when it is told to. Machines go on without it.

mod clocks;
mod cluster;
mod images;
mod joining;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use nix::{
    errno::Errno,
    sys::signal::kill,
    unistd::{Group, Pid},
};
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use wardian_api::{
    host_backend::{HostBackend, HostWhereabouts},
    peer::{self, Carrier},
    routes,
    server::{self, Allowed, BindError},
};
use wardian_host::{Ground, Host, HostConfig, OpenError, update::Updater};
use wardian_model::host;
use wardian_plan::network::LabConfig;

use crate::{
    cli::args,
    config::{Accelerator, Config},
};
use joining::Alone;

/// Ports for exposures that name none: the range Kubernetes made known for the same purpose.
const PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;

/// Only root, and the group that may use it, reach the socket.
const SOCKET_MODE: u32 = 0o660;

/// Why a daemon has ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was told to stop.
    Stopped,
    /// It has to be started again, to come into a cluster.
    Again,
}

/// Runs until it is told to stop, or to start again.
///
/// # Errors
/// When it can't start.
pub(crate) async fn run(flags: &args::Daemon, config: Config) -> anyhow::Result<Ended> {
    let group = socket_group(&config)?;
    std::fs::create_dir_all(&config.run_directory)
        .with_context(|| format!("can't make the run directory {}", config.run_directory.display()))?;
    // The socket first: if another daemon has it, nothing of that one's state may be touched.
    let listener = listen(&config, group).await?;
    let told = host_config(&config)?;
    let ground = Ground::prepare(&told).await.map_err(explain)?;
    let mut joined = match &config.cluster {
        Some(cluster) => Some(cluster::enter(cluster, &told, &ground).await?),
        None => None,
    };
    let (store, told) = match &joined {
        Some(joined) => (joined.store.clone(), as_member(told, joined)),
        None => (ground.own_records().await.map_err(explain)?, told),
    };
    let host = Host::open(told, ground, store.clone()).await.map_err(explain)?;
    let (stop, again) = (CancellationToken::new(), CancellationToken::new());
    let allowed = Allowed { gids: group.into_iter().collect(), ..Allowed::default() };
    let (router, peers) = match &mut joined {
        Some(joined) => {
            let backend = Arc::new(HostBackend::new(host.clone()));
            let carrier = Carrier::new(Arc::new(HostWhereabouts::new(host.clone())), joined.trust.clone());
            let router = routes::cluster_router(backend, carrier, stop.clone());
            let files = peer::router(router.clone(), host.vault().clone());
            let peers = joined.listener.take().map(|l| peer::serve(l, files, joined.trust.clone(), stop.clone()));
            (router, peers)
        }
        None => {
            let alone = Alone { flags: flags.clone(), config: config.clone(), store, again: again.clone() };
            (routes::router(Arc::new(HostBackend::alone(host.clone(), Arc::new(alone))), stop.clone()), None)
        }
    };
    let api = server::serve_router(listener, router, allowed, stop.clone());
    tokio::pin!(api);
    let among_others = async {
        match (&joined, peers) {
            (Some(joined), Some(peers)) => {
                tokio::join!(joined.keep(), peers);
            }
            _ => std::future::pending().await,
        }
    };
    let ready = || {
        tracing::info!(socket = %config.socket.display(), "ready");
        notify_ready();
    };
    let outcome = tokio::select! {
        ended = host.run(ready) => ended.map_err(explain).map(|()| Ended::Stopped),
        () = &mut api => Ok(Ended::Stopped),
        () = among_others => Ok(Ended::Stopped),
        () = told_to_stop() => Ok(Ended::Stopped),
        () = again.cancelled() => Ok(Ended::Again),
    };
    stop.cancel();
    if matches!(outcome, Ok(Ended::Again)) {
        // Who asked for it is told first.
        api.await;
        tracing::info!("starts again, to come into its cluster");
    }
    if let Some(joined) = &joined {
        joined.leave().await;
    }
    outcome
}

/// With what its cluster has given it.
fn as_member(told: HostConfig, joined: &cluster::Joined) -> HostConfig {
    let membership = joined.membership.clone();
    // The same on every host, for a machine's network does not change when it is somewhere else.
    let mtu = membership.encapsulation.guest_mtu(membership.mtu);
    let (host, underlay) = (Some(membership.lab_address), Some(membership.mtu));
    let lab = LabConfig { host, mtu, underlay, ..told.lab };
    HostConfig { lab, member: Some(membership), ..told }
}

/// A daemon that was killed a moment ago may have left a child that has yet to become another program, and holds the
/// socket for so long.
async fn listen(config: &Config, group: Option<u32>) -> Result<UnixListener, BindError> {
    let mut tries = 100;
    loop {
        match server::bind(&config.socket, SOCKET_MODE, group) {
            Err(BindError::SocketTaken { pid: Some(pid), .. }) if tries > 0 && is_gone(pid) => {
                tries -= 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Also this process itself is another daemon: the one that it was before it started again.
fn is_gone(pid: i32) -> bool {
    Pid::from_raw(pid) == Pid::this() || pid > 0 && kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)
}

fn socket_group(config: &Config) -> anyhow::Result<Option<u32>> {
    let Some(name) = &config.socket_group else { return Ok(None) };
    let group = Group::from_name(name).with_context(|| format!("the group {name} can't be looked up"))?;
    let group = group.with_context(|| format!("there is no group {name}; make it, or change socket-group"))?;
    Ok(Some(group.gid.as_raw()))
}

fn host_config(config: &Config) -> anyhow::Result<HostConfig> {
    Ok(HostConfig {
        state_directory: config.state_directory.clone(),
        run_directory: config.run_directory.clone(),
        lab: LabConfig { bridge: config.lab.bridge.clone(), prefix: config.lab.prefix, ..LabConfig::default() },
        aliases: config.lab.aliases.clone(),
        updater: config.dns_update.clone().map(Updater::new).transpose()?,
        accelerator: match config.accelerator {
            Accelerator::Auto => None,
            Accelerator::Kvm => Some(host::Accelerator::Kvm),
            Accelerator::Tcg => Some(host::Accelerator::Tcg),
        },
        qemu: find(&config.qemu),
        ports: PORTS,
        member: None,
    })
}

/// A path as it is; a name, looked up in `PATH`. One that isn't found is left as it is: opening the host says so.
fn find(program: &std::path::Path) -> PathBuf {
    if program.components().count() > 1 {
        return program.to_owned();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| program.to_owned())
}

/// Adds what to do about it, which the error itself leaves to its reader.
fn explain(error: OpenError) -> anyhow::Error {
    let hint = match &error {
        OpenError::State(state) => Some(state.hint()),
        OpenError::Moved { .. } => Some("put [cluster] back into the configuration"),
        OpenError::Qemu(_) => Some("install the packages qemu-system-x86 and qemu-utils (on Debian 12 from backports)"),
        _ => None,
    };
    let error = anyhow::Error::new(error);
    match hint {
        Some(hint) => anyhow::anyhow!("{error:#}; {hint}"),
        None => error,
    }
}

/// Tells the service manager, where there is one (sd_notify(3)).
fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let told = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| socket.send_to(b"READY=1", path));
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager was not told");
    }
}

async fn told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
